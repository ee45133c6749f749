"""How samples look beside the data: saturation, contrast, and which classes they are of (Kaiser et al. 2024)."""

import numpy as np

from difgen_cli.metrics import Result, Shared, Value
from difgen_cli.metrics._features import Embed, among, features_of, name_of
from difgen_cli.metrics._histograms import distance, interval, reached_by_chance
from difgen_cli.metrics._logistic import Probe, fit
from difgen_cli.metrics._ranks import half_width

VERSION = 1

COLUMNS = {
    "saturation": (
        "float64",
        "",
        "mean over samples and pixels of the HSV saturation, (max - min)/max of the colours, from 0 to 1",
        {"label": "saturation"},
    ),
    "saturation_lo": ("float64", "", "lower end of its 95 % t interval over samples"),
    "saturation_hi": ("float64", "", "upper end of its 95 % t interval over samples"),
    "saturation_train": ("float64", "", "the same of T", {"label": "saturation of T"}),
    "contrast": (
        "float64",
        "",
        "mean over samples of the standard deviation of the luma of an image's pixels, from 0 to 0.5",
        {"label": "contrast"},
    ),
    "contrast_lo": ("float64", "", "lower end of its 95 % t interval over samples"),
    "contrast_hi": ("float64", "", "upper end of its 95 % t interval over samples"),
    "contrast_train": ("float64", "", "the same of T", {"label": "contrast of T"}),
    "class_tv": (
        "float64",
        "",
        "total variation between the classes of samples and of T, both as a linear probe sees them: 0 for the same "
        "shares, 1 for none in common",
        {"label": "total variation of classes", "scale": "share"},
    ),
    "class_tv_lo": (
        "float64",
        "",
        "lower end of its 95 % interval over samples, without the bias of few",
    ),
    "class_tv_hi": ("float64", "", "upper end of its 95 % interval over samples"),
    "class_tv_null": (
        "float64",
        "",
        "what 97.5 % of as many images, drawn from T, stay below: a class_tv up to it shows no difference",
        {"label": "total variation of as many images of T"},
    ),
    "class_score": (
        "float64",
        "classes",
        "exp of the information that a sample has of its class, by a linear probe of the data's own classes: the "
        "Inception score of Salimans et al. 2016 without Inception and ImageNet; from 1 to the number of classes",
        {"label": "class score", "scale": "ratio"},
    ),
    "class_score_lo": ("float64", "classes", "lower end of its 95 % interval over samples, the probe held fixed"),
    "class_score_hi": ("float64", "classes", "upper end of its 95 % interval over samples"),
    "class_score_heldout": (
        "float64",
        "classes",
        "the same of held-out images: what unseen real images score",
        {"label": "class score of held-out images", "scale": "ratio"},
    ),
    "appearance_features": ("string", "", "the feature space of the probe"),
}

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    train_classes: np.ndarray | None,
    embed: Embed,
    shared: Shared,
    *,
    features: str = "auto",
) -> Result:
    """Saturation and contrast of samples beside those of T, and the classes that a linear probe on T sees in them.

    Guidance raises saturation and contrast before a Fréchet distance shows it. Grey images have a saturation of 0.
    Points have no look, and data without classes, or with one, no probe: None. The probe knows T: it is surer of T, and
    of copies, than of unseen images, so that class_score is read beside class_score_heldout. Held-out images scored as
    samples have all but that.

    features: the feature space; auto is the classifier where there are labels, and random_conv elsewhere.
    """
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    values["appearance_features"] = name_of(embed, features)
    if not len(samples):
        return Result(values)
    if samples.ndim == 4:
        of_T = shared("look", lambda: {"saturation": saturation(train), "contrast": contrast(train)})
        for name, of_sample in (("saturation", saturation(samples)), ("contrast", contrast(samples))):
            values |= _mean(name, of_sample) | {f"{name}_train": float(of_T[name].mean())}
    if train_classes is None or len(np.unique(train_classes)) < 2:
        return Result(values)
    probe = fit(features_of("appearance", embed, train), train_classes)

    def seen(images: np.ndarray) -> np.ndarray:
        return probe.probabilities(features_of("appearance", embed, images))

    reference = shared("classes", lambda: {"train": shares(seen(train)), "held_out": _heldout(probe, embed, held_out)})
    generated = seen(samples)
    values |= _classes(shares(generated), reference["train"], len(samples)) | _score(generated)
    if len(held_out) and not among(samples, held_out):
        values["class_score_heldout"] = float(np.exp(informations(reference["held_out"]).mean()))
    return Result(values)


def saturation(images: np.ndarray) -> np.ndarray:
    """The mean HSV saturation of each image (n, H, W, C) in [−1, 1]: (n,) from 0 to 1; black and grey have 0."""
    colours = np.clip((images.astype(np.float64) + 1) / 2, 0, 1)
    most, least = colours.max(axis=-1), colours.min(axis=-1)
    return np.asarray(np.divide(most - least, most, out=np.zeros_like(most), where=most > 0).mean(axis=(1, 2)))


def contrast(images: np.ndarray) -> np.ndarray:
    """The standard deviation over pixels of each image's luma from 0 to 1: (n,)."""
    colours = np.clip((images.astype(np.float64) + 1) / 2, 0, 1)
    luma = colours @ np.array(LUMA) if colours.shape[-1] == 3 else colours[..., 0]
    return np.asarray(luma.std(axis=(1, 2)))


def shares(probabilities: np.ndarray) -> np.ndarray:
    """The share of images whose likeliest class is each one, from probabilities (n, classes): (classes,)."""
    return np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]) / len(probabilities)


def informations(probabilities: np.ndarray) -> np.ndarray:
    """KL(p(class | x) ‖ mean over x of it) of each image, in nats: (n,)."""
    mean = probabilities.mean(axis=0)
    ratio = np.divide(probabilities, mean, out=np.ones_like(probabilities), where=probabilities > 0)
    return np.asarray((probabilities * np.log(ratio)).sum(axis=1))


def _mean(name: str, of_image: np.ndarray) -> dict[str, Value]:
    """The mean over images with Student's t interval; none of a single one."""
    mean, n = float(of_image.mean()), len(of_image)
    if n < 2:
        return {name: mean}
    half = half_width([float(of_image.var(ddof=1)) / n], [n - 1])
    return {name: mean, f"{name}_lo": mean - half, f"{name}_hi": mean + half}


def _classes(of_samples: np.ndarray, of_T: np.ndarray, count: int) -> dict[str, Value]:
    lower, upper = interval(of_samples, of_T, count)
    return {
        "class_tv": distance(of_samples, of_T), "class_tv_lo": lower, "class_tv_hi": upper,
        "class_tv_null": reached_by_chance(of_T, count),
    }  # fmt: skip


def _score(probabilities: np.ndarray) -> dict[str, Value]:
    """exp of the mean information, whose influence is that of an image itself: the interval is one of its logarithm."""
    of_image = informations(probabilities)
    own = _mean("class_score", of_image)
    return {name: float(np.exp(value)) for name, value in own.items() if isinstance(value, float)}


def _heldout(probe: Probe, embed: Embed, held_out: np.ndarray) -> np.ndarray:
    """What the probe says of held-out images; none of none."""
    if not len(held_out):
        return np.zeros((0, len(probe.fitted.classes_)))
    return probe.probabilities(features_of("appearance", embed, held_out))
