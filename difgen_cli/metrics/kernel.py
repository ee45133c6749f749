"""The kernel distance of the samples to held-out images in a feature space (Bińkowski et al. 2018)."""

import numpy as np

from difgen_cli.metrics import Result, Shared
from difgen_cli.metrics._features import Embed, among, features_of, name_of, require_held_out

VERSION = 1
HELD_OUT_MIN = 2

COLUMNS = {
    "kd_test": (
        "float64",
        "",
        "unbiased squared MMD with the cubic kernel, samples against held-out images: 0 on average where both are "
        "alike, also negative; called KID only with the Inception weights of 2015-12-05",
    ),
    "kd_se": ("float64", "", "standard error of kd_test over the samples, the held-out images held fixed"),
    "kd_features": ("string", "", "the feature space"),
    "kd_n_gen": ("int64", "images", "samples"),
    "kd_n_ref": ("int64", "images", "held-out images"),
}

BLOCK = 2048  # rows and columns of the kernel held at once: 32 MiB


def measure(
    samples: np.ndarray,
    held_out: np.ndarray,
    embed: Embed,
    shared: Shared,
    *,
    features: str = "auto",
) -> Result:
    """The U-statistic over all samples and all held-out images, in float64, with k(x, y) = (x·y/d + 1)³.

    KID as it is usually printed is the mean of this over small random subsets: the same expectation, more noise, and a
    spread that is no standard error. Being unbiased, it may be compared between numbers of images. Fewer than 2 samples
    have no pair, and held-out images scored as samples no distance to themselves: None.

    features: the feature space; auto is the classifier where there are labels, and random_conv elsewhere.
    """
    require_held_out("kernel", held_out, HELD_OUT_MIN)
    values: dict[str, float | int | str | bool | None] = dict.fromkeys(COLUMNS)
    values |= {"kd_features": name_of(embed, features), "kd_n_gen": len(samples), "kd_n_ref": len(held_out)}
    if len(samples) < 2 or among(samples, held_out):
        return Result(values)
    reference = shared("held_out", lambda: _reference(features_of("kernel", embed, held_out)))
    generated = features_of("kernel", embed, samples)
    values["kd_test"], values["kd_se"] = distance(generated, reference["features"], float(reference["within"]))
    return Result(values)


def distance(x: np.ndarray, y: np.ndarray, within: float) -> tuple[float, float | None]:
    """MMD² of features x (m, d) to y (n, d), whose own kernel has the mean `within` over pairs; and its error.

    It is the mean over pairs of h(x, x') = k(x, x') − E_y k(x, y) − E_y k(x', y) + E k(y, y'). The error is the root of
    the unbiased variance of such a mean: with h centred, r its row sums and Σ over ordered pairs,
    (4 Σ r² − 2 Σ h²) / (m (m − 1)(m − 2)(m − 3)). None below 4 samples, and where few samples make it negative.
    """
    m = len(x)
    rows, squares = _pair_sums(x, _means_towards(x, y), within)
    mean = float(rows.sum() / (m * (m - 1)))
    if m < 4:
        return mean, None
    centred, spread = rows - (m - 1) * mean, squares - m * (m - 1) * mean**2
    variance = (4 * np.sum(centred**2) - 2 * spread) / (m * (m - 1) * (m - 2) * (m - 3))
    return mean, float(np.sqrt(variance)) if variance >= 0 else None


def mean_within(y: np.ndarray) -> float:
    """The mean of k(y, y') over pairs of different rows of y (n, d), n >= 2."""
    rows, _ = _pair_sums(y, np.zeros(len(y)), 0.0)
    return float(rows.sum() / (len(y) * (len(y) - 1)))


def _reference(held_out: np.ndarray) -> dict[str, np.ndarray]:
    return {"features": held_out, "within": np.array(mean_within(held_out))}


def _means_towards(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """E_y k(x, y) of each row of x: (m,)."""
    means = np.zeros(len(x))
    for i in _blocks(len(x)):
        means[i] = sum(_kernel(x[i], y[j]).sum(axis=1) for j in _blocks(len(y)))
    return means / len(y)


def _pair_sums(x: np.ndarray, towards: np.ndarray, within: float) -> tuple[np.ndarray, float]:
    """Row sums (m,) of h over all other rows, and the sum of h² over ordered pairs; half of the tiles do for both."""
    rows, squares = np.zeros(len(x)), 0.0
    for i in _blocks(len(x)):
        for j in _blocks(len(x)):
            if j.start < i.start:
                continue
            h = _kernel(x[i], x[j])
            h += within - towards[i, None] - towards[j]
            if i == j:
                np.fill_diagonal(h, 0.0)
            else:
                rows[j] += h.sum(axis=0)
            rows[i] += h.sum(axis=1)
            squares += (1 if i == j else 2) * float(np.einsum("ij,ij->", h, h))
    return rows, squares


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x·y/d + 1)³: (n, m) float64."""
    product = x.astype(np.float64) @ y.T.astype(np.float64) / x.shape[1] + 1
    return np.asarray(product * product * product)


def _blocks(count: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
