"""How many samples are copies: the ratio of the distances to the nearest and second nearest training image."""

import numpy as np

from difgen_cli.metrics import Result, Shared, Value, _ranks, flat, nearest
from difgen_cli.metrics._groups import share_interval
from difgen_cli.neighbours import Repeats, distinct, mirror

VERSION = 3
ATTACKS = (
    "regurgitation",
    "reproduction of protected works",
)  # that its columns answer for, as `difgen gate` names them

COLUMNS = {
    "mem_frac": (
        "float64",
        "share",
        "samples with d1/d2 < 1/3, distances to the two nearest distinct training images",
        {
            "label": "memorized share of samples",
            "scale": "share",
            "n": "sample_distinct",
            "power": "mem_power",
            "control": "mem_frac_control",
        },
    ),
    "mem_frac_lo": ("float64", "share", "lower end of the 95 % Wilson interval of mem_frac"),
    "mem_frac_hi": ("float64", "share", "upper end of the 95 % Wilson interval of mem_frac"),
    "mem_frac_control": (
        "float64",
        "share",
        "the same rule for held-out images in place of samples",
        {"label": "memorized share, held-out images"},
    ),
    "mem_frac_control_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "mem_frac_control_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "mem_frac_half": ("float64", "share", "samples with d1/d2 < 1/2", {"scale": "share"}),
    "mem_identical": ("int64", "samples", "equal to a training image in every value; mirrored too where training was"),
    "mem_power": (
        "float64",
        "share",
        "training images plus noise of 0.1 a pixel that the rule catches",
        {"label": "power of the rule"},
    ),
    "mem_radius_q10": (
        "float64",
        "rms",
        "10 % quantile over T of d(t, nearest distinct other) / (4 sqrt d): displaced copies are surely found below it",
    ),
    "mem_radius_q50": ("float64", "rms", "median over T of the same"),
    "copy_auc": ("float64", "", "AUROC of d1/d2, samples against held-out images: 0.5 without copies, 1 for copies"),
    "copy_auc_lo": ("float64", "", "lower end of its 95 % interval over images, DeLong's on the logit scale"),
    "copy_auc_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "copy_tail": (
        "float64",
        "share",
        "samples whose d1/d2 is below the held-out images' 1 % quantile: 0.01 without copies",
    ),
    "copy_tail_lo": ("float64", "share", "lower end of its 95 % interval, the quantile's own uncertainty included"),
    "copy_tail_hi": ("float64", "share", "upper end of its 95 % interval, the quantile's own uncertainty included"),
    "mem_unique": ("int64", "images", "distinct training images nearest to memorized samples"),
    "extracted_frac": ("float64", "share", "mem_unique over train_distinct"),
    "extracted_cap": ("float64", "share", "what extracted_frac can reach: 1 - exp(-samples/train_distinct)"),
    "tile_copy_frac": (
        "float64",
        "share",
        "samples of which each quarter is a copy by the rule: patch collages too",
        {"n": "sample_distinct", "control": "tile_copy_frac_control"},
    ),
    "tile_copy_frac_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "tile_copy_frac_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "tile_copy_frac_control": ("float64", "share", "the same for held-out images"),
    "tile_copy_frac_control_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "tile_copy_frac_control_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "train_distinct": ("int64", "images", "training images, repeats and near-duplicates (0.05 rms) counted once"),
    "near_duplicates": ("int64", "images", "training images with another within 0.05 rms, which count as one image"),
    "near_duplicates_held_out": (
        "int64",
        "images",
        "held-out images excluded, since an image outside H is within 0.05 rms, as it is or mirrored",
    ),
    "sample_distinct": ("int64", "images", "samples, repeats and near-duplicates (0.05 rms) counted once"),
    "sample_constant": ("int64", "samples", "of a single colour: each channel the same at every pixel"),
}

TABLES = {
    "neighbours": {
        "seed": ("int64", "", "number of the sample"),
        "d1": ("float64", "distance", "Euclidean distance in pixels to the nearest training image"),
        "d2": ("float64", "distance", "to the nearest one that is no near-duplicate of that; missing where none is"),
        "nn_index": ("int64", "", "place of the nearest training image in the subset"),
        "memorized": ("bool", "", "d1/d2 < 1/3"),
        "identical": ("bool", "", "d1 is 0"),
        "nearness": (
            "float64",
            "",
            "the smaller of d1/d2 and d1 over the held-out images' median d1 (else the median distance within T): the "
            "order of pairs; 0 for identical ones",
        ),
    }
}

THRESHOLD, HALF = 1 / 3, 1 / 2  # Yoon et al. 2023; Gu et al. 2023
PROBE_NOISE = 0.1  # a pixel, on images in [-1, 1]
PROBES = 4096  # training images that mem_power is measured on, at most
PROBE_SEED = 1
TAIL = 0.01


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    shared: Shared,
    mirrored: bool = False,
    left_out: int | None = None,
    groups: np.ndarray | None = None,
) -> Result:
    """The share of copies by the ratio rule, what the rule can see at this size, and threshold-free companions.

    Yoon et al. 2023 and Gu et al. 2023; `extracted_cap` after Carlini et al. 2023. Repeats and near-duplicates of a
    training image are one image: the second nearest is none of the first one's, else its copies would have d1/d2 = 1,
    though what is repeated is copied first (Carlini et al. 2023). With a single distinct training image there is no
    second one, and what rests on the ratio is None; without held-out images, what compares with them is. `mirrored`:
    training showed mirror images too, so that an image and its mirror image count as one. `left_out`: how many held-out
    images were, for an image outside H that is nearly the same. `groups`: (n,) of samples that come in such, as the
    images of a prompt, over which the intervals of their shares are then.
    """
    if not (len(samples) and len(train)):
        raise ValueError(f"memorization needs samples and training images: there are {len(samples)} and {len(train)}")
    reference = shared("memorization", lambda: _reference(train, held_out, mirrored))
    repeats = Repeats(train, reference["group"], mirrored)
    size, images = repeats.count, train.ndim == 4
    distances, indices = repeats.nearest(samples)
    ratios = ratio(distances)
    memorized, identical = (ratios < THRESHOLD) & (size > 1), distances[:, 0] == 0
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    values |= {
        "mem_identical": int(identical.sum()),
        "extracted_cap": float(-np.expm1(-len(samples) / size)),
        "train_distinct": size,
        "near_duplicates": len(repeats.members) if images else None,
        "near_duplicates_held_out": left_out,
        "sample_distinct": len(distinct(samples, mirrored)),
        "sample_constant": int((samples == samples[:, :1, :1]).all(axis=(1, 2, 3)).sum()) if images else None,
    }
    if size > 1:
        values |= (
            _shares(ratios, reference, groups)
            | _copies(ratios, reference["ratios"], groups)
            | _radius(reference["within"], flat(train).shape[1])
        )
        unique = len(np.unique(repeats.group[indices[memorized, 0]]))
        values |= {"mem_unique": unique, "extracted_frac": unique / size}
        tiled = tile_ratio(samples, repeats)
        if tiled is not None:
            values |= _counted("tile_copy_frac", tiled, groups) | _counted(
                "tile_copy_frac_control", reference["tile_ratios"]
            )
    table = {
        "seed": np.arange(len(samples)),
        "d1": distances[:, 0],
        "d2": np.where(np.isfinite(distances[:, 1]), distances[:, 1], np.nan),
        "nn_index": indices[:, 0],
        "memorized": memorized,
        "identical": identical,
        "nearness": _nearness(distances, float(reference["typical"])),
    }
    return Result(values, {"neighbours": table})


def ratio(distances: np.ndarray) -> np.ndarray:
    """d1/d2 in [0, 1] of distances (n, 2); 1 where both are 0: of two equal quarters neither is *the* source."""
    d1, d2 = distances[:, 0], distances[:, 1]
    return np.asarray(np.divide(d1, d2, out=np.ones_like(d1), where=d2 > 0))


def tile_ratio(images: np.ndarray, train: Repeats) -> np.ndarray | None:
    """The largest d1/d2 among an image's 4 quarters, each against the same quarter of T; None for points and lines.

    Where T counts mirror images each against the same quarter of those too. A middle column is in the right half. The
    second nearest quarter is of an image that is no near-duplicate of the nearest quarter's. Images that share a
    quarter alone, as a black corner, are two images, neither of which is *the* source of it: its ratio is 1.
    """
    if images.ndim != 4 or min(images.shape[1:3]) < 2:
        return None
    rows, columns = images.shape[1] // 2, images.shape[2] // 2
    sides = (train.images, mirror(train.images)) if train.mirrored else (train.images,)
    worst = np.zeros(len(images))
    for vertical in (slice(None, rows), slice(rows, None)):
        for horizontal in (slice(None, columns), slice(columns, None)):
            tile = (slice(None), vertical, horizontal)
            distances, _ = train.neighbours([(images[tile], side[tile]) for side in sides])
            np.maximum(worst, ratio(distances), out=worst)
    return worst


def auroc(low: np.ndarray, high: np.ndarray) -> float:
    """P(low < high), ties one half: 1 where every `low` lies below every `high`."""
    ordered = np.sort(high)
    above = len(high) - np.searchsorted(ordered, low, "right")
    level = np.searchsorted(ordered, low, "right") - np.searchsorted(ordered, low, "left")
    return float((above + level / 2).mean() / len(high))


def copy_tail(ratios: np.ndarray, control: np.ndarray, groups: np.ndarray | None = None) -> dict[str, float | None]:
    """The share of `ratios` below the 1 % quantile of `control`, and its interval; None below 99 control values.

    Weibull's quantile, the p (n + 1)-th value, has on average exactly the share p of the population below it. The
    interval joins two of 97.5 %: the quantile's between order statistics, and that of the share below each end, over
    `groups` (n,) where the samples come in such.
    """
    if len(control) + 1 < 1 / TAIL:
        return dict.fromkeys(("copy_tail", "copy_tail_lo", "copy_tail_hi"))
    from scipy.special import bdtr

    ordered = np.sort(control)
    at_most = bdtr(np.arange(len(ordered)), len(ordered), TAIL)  # P(as many control values below the true quantile)
    below, above = np.searchsorted(at_most, [0.0125, 0.9875])
    lowest = ordered[below - 1] if below else -np.inf
    highest = ordered[min(int(above), len(ordered) - 1)]
    return {
        "copy_tail": float((ratios < np.quantile(ordered, TAIL, method="weibull")).mean()),
        "copy_tail_lo": share_interval(ratios < lowest, groups, 0.975)[0],
        "copy_tail_hi": share_interval(ratios <= highest, groups, 0.975)[1],
    }


def _reference(train: np.ndarray, held_out: np.ndarray, mirrored: bool = False) -> dict[str, np.ndarray]:
    """What every snapshot of the subset shares: distances of held-out, of noisy and of training images to T."""
    nearest_other = nearest(train, train, 1, exclude_self=True, mirrored=mirrored)[0][:, 0]
    repeats = Repeats.of(train, mirrored, nearest_other)
    to_train, _ = repeats.nearest(held_out)
    within = repeats.apart(within=nearest_other)
    probes = train[:PROBES]
    noise = np.random.default_rng(PROBE_SEED).standard_normal(probes.shape, np.float32)
    probed, _ = repeats.nearest(probes + np.float32(PROBE_NOISE) * noise)
    tiles = tile_ratio(held_out, repeats)
    return {
        "group": repeats.group,
        "ratios": ratio(to_train),
        "within": within,
        "probe_ratios": ratio(probed),
        "tile_ratios": np.zeros(0) if tiles is None else tiles,
        "typical": np.array(np.median(to_train[:, 0] if len(held_out) else within)),
    }


def _nearness(distances: np.ndarray, typical: float) -> np.ndarray:
    """The order of pairs (n,): a copy is near by the ratio, or nearer than unseen images are; 0 for identical ones.

    typical: such a distance; infinite or 0 where there is none to compare with.
    """
    compared = distances[:, 0] / typical if 0 < typical < np.inf else np.full(len(distances), np.inf)
    by_ratio = np.where(np.isfinite(distances[:, 1]), ratio(distances), np.inf)
    nearness = np.minimum(by_ratio, compared)
    nearness = np.where(distances[:, 0] == 0, 0.0, nearness)
    return np.where(np.isfinite(nearness), nearness, np.nan)


def _share(ratios: np.ndarray, threshold: float = THRESHOLD) -> float:
    return float((ratios < threshold).mean())


def _counted(name: str, ratios: np.ndarray, groups: np.ndarray | None = None) -> dict[str, Value]:
    """The share of copies and its interval, over groups (n,) where there are such; nothing of no images."""
    if not len(ratios):
        return {}
    lower, upper = share_interval(ratios < THRESHOLD, groups)
    return {name: _share(ratios), f"{name}_lo": lower, f"{name}_hi": upper}


def _shares(ratios: np.ndarray, reference: dict[str, np.ndarray], groups: np.ndarray | None) -> dict[str, Value]:
    values: dict[str, Value] = {"mem_frac_half": _share(ratios, HALF), "mem_power": _share(reference["probe_ratios"])}
    return values | _counted("mem_frac", ratios, groups) | _counted("mem_frac_control", reference["ratios"])


def _copies(ratios: np.ndarray, control: np.ndarray, groups: np.ndarray | None) -> dict[str, Value]:
    if not len(control):
        return {}
    area = _ranks.auroc(np.sort(control), np.sort(ratios))  # the same to the last bit in whatever order they come
    values: dict[str, Value] = {"copy_auc": auroc(ratios, control)}
    ends = {"copy_auc_lo": area.lower, "copy_auc_hi": area.upper} if groups is None else {}  # no interval over groups
    return values | ends | copy_tail(ratios, control, groups)


def _radius(within: np.ndarray, dimensions: int) -> dict[str, float]:
    """A copy displaced by r has d1 <= r and d2 >= d(t, nearest distinct other) - r: r below a quarter is surely caught.

    So it is where near-duplicates of t are near-duplicates of one another; else t stands for the nearest of them.
    """
    q10, q50 = np.quantile(within / (4 * np.sqrt(dimensions)), [0.1, 0.5])
    return {"mem_radius_q10": float(q10), "mem_radius_q50": float(q50)}
