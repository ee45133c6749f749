"""How many samples are authentic: farther from their nearest training image than that is from the others."""

import numpy as np

from difgen_cli.metrics import Result, Shared, wilson
from difgen_cli.metrics._features import Embed, name_of, nearest_of, require_held_out, sides_of
from difgen_cli.neighbours import Repeats

VERSION = 2
HELD_OUT_MIN = 1

COLUMNS = {
    "auth_pct": (
        "float64",
        "%",
        "samples with d(g, t) > d(t, nearest other image of T), t the nearest training image: compare with its control",
    ),
    "auth_pct_lo": ("float64", "%", "lower end of its 95 % Wilson interval"),
    "auth_pct_hi": ("float64", "%", "upper end of its 95 % Wilson interval"),
    "auth_pct_control": ("float64", "%", "the same for held-out images in place of samples"),
    "auth_pct_control_lo": ("float64", "%", "lower end of its 95 % Wilson interval"),
    "auth_pct_control_hi": ("float64", "%", "upper end of its 95 % Wilson interval"),
    "auth_pct_excess": ("float64", "%", "auth_pct - auth_pct_control: 0 without memorization, negative for copies"),
    "auth_pct_excess_lo": ("float64", "%", "lower end of its 95 % interval (Newcombe 1998)"),
    "auth_pct_excess_hi": ("float64", "%", "upper end of its 95 % interval (Newcombe 1998)"),
    "auth_features": ("string", "", "the feature space of the distances"),
}


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    embed: Embed,
    shared: Shared,
    mirrored: bool = False,
    *,
    features: str = "pixels",
) -> Result:
    """The rule of Alaa et al. 2022 for samples, and for held-out images, which are authentic by construction.

    The rule is that of the paper's words, as dgm-eval (Stein et al. 2023) computes it; the code of the paper's authors
    differs by 2 to 31 points. The control says how it judges unseen images: 40 to 60 % pass on digits, above 90 % on
    CIFAR-10. Only the difference means something. Repeats and near-duplicates of a training image are one image: else a
    copy of an image that T holds twice, whose d(t, T without t) is 0, would be authentic. A single distinct training
    image has no other beside it, and without samples there is no share: None. `mirrored`: training showed mirror images
    too, so that an image is as near as the nearer of its sides.

    features: the feature space of the distances.
    """
    require_held_out("authenticity", held_out, HELD_OUT_MIN)
    values: dict[str, float | int | str | bool | None] = dict.fromkeys(COLUMNS)
    values["auth_features"] = name_of(embed, features)
    if len(train) < 2 or not len(samples):
        return Result(values)
    real = sides_of("authenticity", embed, train, mirrored)

    def reference() -> dict[str, np.ndarray]:
        return _reference(Repeats.of(train, mirrored), real, sides_of("authenticity", embed, held_out, mirrored))

    arrays = shared("within", reference)
    if not np.isfinite(arrays["within"]).all():
        return Result(values)
    own = _share(authentic(sides_of("authenticity", embed, samples, mirrored), real[0], arrays["within"]))
    control = _share(arrays["control"])
    groups = {"auth_pct": own, "auth_pct_control": control, "auth_pct_excess": _difference(own, control)}
    for name, (share, lower, upper) in groups.items():
        values |= {name: 100 * share, f"{name}_lo": 100 * lower, f"{name}_hi": 100 * upper}
    return Result(values)


def authentic(queries: list[np.ndarray], train: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Whether each query (n, d) is farther from its nearest training image than `within` (N,) says of that image."""
    distances, places = nearest_of(queries, train, 1)
    return np.asarray(distances[:, 0] > within[places[:, 0]])


def _reference(repeats: Repeats, train: list[np.ndarray], held_out: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What every snapshot of the subset shares: distances within T, and what the rule says of held-out images."""
    within = repeats.apart([(side, train[0]) for side in train])
    return {"within": within, "control": authentic(held_out, train[0], within)}


Share = tuple[float, float, float]  # and the ends of its interval


def _share(authentic_ones: np.ndarray) -> Share:
    return float(authentic_ones.mean()), *wilson(int(authentic_ones.sum()), len(authentic_ones))


def _difference(a: Share, b: Share) -> Share:
    """Of two independent shares, its interval joined from theirs (Newcombe 1998, method 10)."""
    difference = a[0] - b[0]
    below, above = np.hypot(a[0] - a[1], b[2] - b[0]), np.hypot(a[2] - a[0], b[0] - b[1])
    return difference, float(difference - below), float(difference + above)
