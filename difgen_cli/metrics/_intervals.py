"""Means over images with Student's t intervals: what metrics have in common that read one number off each image."""

import numpy as np


def standard_error(of_image: np.ndarray) -> np.ndarray:
    """Of the mean over the last axis, (..., n) -> (...); NaN for a single image."""
    n = of_image.shape[-1]
    if n < 2:
        return np.full(of_image.shape[:-1], np.nan)
    return np.asarray(of_image.std(axis=-1, ddof=1) / np.sqrt(n))


def mean_columns(name: str, of_image: np.ndarray, least: float = 0.0, most: float = np.inf) -> dict[str, float | None]:
    """`name` with `_lo` and `_hi`: the mean of numbers (n,) and its 95 % interval, within `least` and `most`.

    None where the numbers are missing (NaN), and for the interval of a single image.
    """
    from scipy.special import stdtrit

    mean, error = float(of_image.mean()), float(standard_error(of_image))
    columns: dict[str, float | None] = dict.fromkeys((name, f"{name}_lo", f"{name}_hi"))
    if np.isfinite(mean):
        columns[name] = mean
    if np.isfinite(error):
        half_width = float(stdtrit(len(of_image) - 1, 0.975)) * error
        columns |= {f"{name}_lo": max(least, mean - half_width), f"{name}_hi": min(most, mean + half_width)}
    return columns


def crossing_columns(name: str, levels: np.ndarray, shares: np.ndarray) -> dict[str, float | None]:
    """`name` with `_lo` and `_hi`: the noise level at which shares that fall with it pass one half.

    shares: value, lower and upper end at each of the rising levels, (L, 3). The ends of the interval are where those of
    the shares pass one half; None where one does not within the levels.
    """
    return {f"{name}{end}": crossing(levels, shares[:, k]) for k, end in enumerate(("", "_lo", "_hi"))}


def crossing(relative: np.ndarray, shares: np.ndarray) -> float | None:
    """The level at which shares, at rising levels, first fall below one half, linear in ln σ; None where they do not,
    or are below at the first level."""
    below = np.flatnonzero(shares < 0.5)
    if not len(below) or below[0] == 0:
        return None
    k = below[0]
    part = (shares[k - 1] - 0.5) / (shares[k - 1] - shares[k])
    return float(np.exp(np.log(relative[k - 1]) + part * np.log(relative[k] / relative[k - 1])))
