"""The copying test C_T (Meehan et al. 2020): are samples nearer to training images than held-out images are?"""

import warnings
from statistics import NormalDist
from typing import Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.metrics import Result, Shared, nearest
from difgen_cli.metrics._features import Embed, drawn, features_of, name_of, require_held_out, sides_of
from difgen_cli.metrics._ranks import auroc

VERSION = 2
HELD_OUT_MIN = 1

COLUMNS = {
    "ct": (
        "float64",
        "",
        "Mann-Whitney Z of the distances to T, samples against held-out images, averaged over cells: far below 0 for "
        "copies, but for samples of low contrast too",
    ),
    "ct_lo": ("float64", "", "lower end of its 95 % interval over samples and held-out images"),
    "ct_hi": ("float64", "", "upper end of its 95 % interval over samples and held-out images"),
    "ct_null_sd": ("float64", "", "standard deviation of ct where samples are distributed as held-out images"),
    "ct_shrunk": ("float64", "", "ct of the held-out images moved by a fifth towards the mean training image"),
    "ct_cells": ("int64", "cells", "k-means cells of the training images; fewer where T has fewer distinct images"),
    "ct_cells_used": ("int64", "cells", "those with enough samples and held-out images to count"),
    "ct_least": ("int64", "images", "samples, and held-out images, that a cell needs to count"),
    "ct_n": ("int64", "images", "held-out images: the statistic grows with the root of both numbers"),
    "ct_m": ("int64", "images", "samples"),
    "ct_features": ("string", "", "the feature space of cells and distances"),
}

SEED = 8
COUNTS = 500  # draws of how many images fall into each cell
STARTS = 4  # k-means++ initialisations, of which the best is kept
SHRINKAGE = np.float32(0.8)


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    embed: Embed,
    shared: Shared,
    mirrored: bool = False,
    *,
    cells: Annotated[int, Gt(0)] = 3,
    images: Annotated[int, Gt(0)] = 1000,
    least: Annotated[int, Gt(0)] = 20,
    features: str = "pixels",
) -> Result:
    """Z = (U − nm/2)/√(nm(n + m + 1)/12) in each cell, weighted by the cell's share of held-out images.

    U counts pairs in which the sample is farther from the cell's nearest training image than the held-out image is,
    ties one half. ct says that samples lie nearer to T than unseen images do, not why: images of lower contrast lie
    nearer to everything, and ct_shrunk shows how far that alone moves it, without a copy. Never read it alone:
    train_pref asks whether it is *training* images that are nearer. None where no cell has enough images. Without the
    continuity correction of one half that the authors' code adds to U. `mirrored`:
    training showed mirror images too, so that an image lies where the nearer of its sides does.

    cells: of k-means on the training images.
    images: held-out images, and samples, used at most, so that the statistic does not grow with what there is.
    least: samples, and held-out images, that a cell needs to count.
    features: the feature space of cells and distances.
    """
    require_held_out("copying", held_out, HELD_OUT_MIN)
    if not len(train):
        raise ValueError("copying needs training images, there are 0")
    real, queries = features_of("copying", embed, train), drawn(samples, images, (SEED, 0))
    reference = shared(
        "cells", lambda: _reference(train, real, drawn(held_out, images, (SEED, 1)), embed, cells, least, mirrored)
    )
    own = (
        _located(sides_of("copying", embed, queries, mirrored), real, reference) if len(queries) else reference["none"]
    )
    statistic, null, used = c_t(own, reference["held_out"], least)
    low, high = interval(own, reference["held_out"], least)
    shrunk = float(reference["shrunk"])
    return Result(
        {
            "ct": statistic,
            "ct_lo": low,
            "ct_hi": high,
            "ct_null_sd": null,
            "ct_shrunk": shrunk if np.isfinite(shrunk) else None,
            "ct_cells": len(reference["centres"]),
            "ct_cells_used": used,
            "ct_least": least,
            "ct_n": len(reference["held_out"]),
            "ct_m": len(queries),
            "ct_features": name_of(embed, features),
        }
    )


def c_t(samples: np.ndarray, held_out: np.ndarray, least: int) -> tuple[float | None, float | None, int]:
    """C_T, its deviation without copying, and the number of cells that count; of rows (cell, distance).

    Samples that follow the distribution of held-out images have a standard normal Z in each cell.
    """
    scores, weights = [], []
    for cell in np.unique(held_out[:, 0]):
        q, p = (rows[rows[:, 0] == cell, 1] for rows in (samples, held_out))
        if min(len(q), len(p)) >= least:
            scores.append(z_score(q, p))
            weights.append(len(p))
    if not scores:
        return None, None, 0
    share = np.array(weights) / np.sum(weights)
    return float(share @ scores), float(np.sqrt(np.sum(share**2))), len(scores)


def interval(samples: np.ndarray, held_out: np.ndarray, least: int) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval of C_T over samples and held-out images, T and its cells fixed; of rows (cell, distance).

    Under any alternative: Z is linear in U/nm, an AUROC, whose interval is after DeLong et al. 1988 on the logit scale.
    The cells' intervals are joined by the squares of their distances to Z, weighted like Z; to them is added how C_T
    moves with the numbers of images that fall into the cells. None where a cell has a single image, or none counts.
    """
    counted, below, above = [], 0.0, 0.0
    for cell in np.unique(held_out[:, 0]):
        q, p = (rows[rows[:, 0] == cell, 1] for rows in (samples, held_out))
        if min(len(q), len(p)) >= least:
            area, n, m = auroc(q, p), len(p), len(q)
            if area.lower is None or area.upper is None:
                return None, None
            scale = n * np.sqrt(12 * n * m / (n + m + 1))  # of Z by the AUROC, times the cell's weight
            below += (scale * (area.value - area.lower)) ** 2
            above += (scale * (area.upper - area.value)) ** 2
            counted.append((area.value - 0.5, n, m))
    if not counted:
        return None, None
    effect, n_of, m_of = np.array(counted, float).T
    centre, total = float(_by_counts(effect, n_of, m_of)), float(n_of.sum())
    reach = NormalDist().inv_cdf(0.975) * _spread_of_counts(effect, n_of, m_of, len(held_out), len(samples))
    lower, upper = (np.hypot(np.sqrt(squares) / total, reach) for squares in (below, above))
    return float(centre - lower), float(centre + upper)


def _by_counts(effect: np.ndarray, n: np.ndarray, m: np.ndarray) -> np.ndarray:
    """C_T from each cell's AUROC less one half and its numbers of images, (..., cells)."""
    weighted = n * effect * np.sqrt(12 * n * m / (n + m + 1))
    return np.asarray(weighted.sum(axis=-1) / n.sum(axis=-1))


def _spread_of_counts(effect: np.ndarray, n: np.ndarray, m: np.ndarray, held_out: int, samples: int) -> float:
    """The deviation of C_T where as many images fall into the cells at random, with their shares; by simulation."""
    chance = np.random.default_rng((SEED, 2))
    drawn = [
        chance.multinomial(total, [*(own / total), max(0.0, 1 - own.sum() / total)], size=COUNTS)[:, :-1]
        for own, total in ((n, held_out), (m, samples))
    ]
    return float(_by_counts(effect, *(np.maximum(counts, 1) for counts in drawn)).std())


def z_score(q: np.ndarray, p: np.ndarray) -> float:
    """Mann & Whitney's U of q over p, ties one half, in standard deviations from its mean for equal distributions."""
    ordered = np.sort(p)
    below, at_most = (np.searchsorted(ordered, q, side) for side in ("left", "right"))
    n, m = len(p), len(q)
    return float(((below + at_most).sum() / 2 - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))


def _reference(
    train: np.ndarray,
    real: np.ndarray,
    held_out: np.ndarray,
    embed: Embed,
    cells: int,
    least: int,
    mirrored: bool,
) -> dict[str, np.ndarray]:
    """What every snapshot of the subset shares: the cells, where held-out images lie, and C_T of shrunken ones.

    train: images, real: their features.
    """
    centres, labels = _partition(real, cells)
    arrays = {"centres": centres, "labels": labels, "none": np.zeros((0, 2))}
    arrays["held_out"] = _located(sides_of("copying", embed, held_out, mirrored), real, arrays)
    mean = train.mean(axis=0)
    shrunk = sides_of("copying", embed, mean + SHRINKAGE * (held_out - mean), mirrored)
    statistic, _, _ = c_t(_located(shrunk, real, arrays), arrays["held_out"], least)
    return arrays | {"shrunk": np.array(np.nan if statistic is None else statistic)}


def _partition(train: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres (k, d) of k-means, and each training image's cell (N,); cells without an image are dropped."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with warnings.catch_warnings(), threadpool_limits(1):  # one thread: sums in one order, the same cells everywhere
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct images than cells
        clustering = KMeans(min(cells, len(train)), n_init=STARTS, random_state=SEED).fit(train)
    used, labels = np.unique(clustering.labels_, return_inverse=True)
    return clustering.cluster_centers_[used], np.asarray(labels, np.int64)


def _located(queries: list[np.ndarray], train: np.ndarray, reference: dict[str, np.ndarray]) -> np.ndarray:
    """Of each query the side with the smaller distance: its cell, and that distance."""
    sides = np.stack([_side_located(side, train, reference) for side in queries])
    return np.asarray(sides[sides[:, :, 1].argmin(axis=0), np.arange(sides.shape[1])])


def _side_located(queries: np.ndarray, train: np.ndarray, reference: dict[str, np.ndarray]) -> np.ndarray:
    """Of each query its cell, that of the nearest centre, and its distance to the cell's nearest training image."""
    cell = nearest(queries, reference["centres"], 1)[1][:, 0]
    distance = np.zeros(len(queries))
    for label in np.unique(cell):
        inside = cell == label
        distance[inside] = nearest(queries[inside], train[reference["labels"] == label], 1)[0][:, 0]
    return np.column_stack([cell, distance])
