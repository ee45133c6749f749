"""Means over images with Student's t intervals: what metrics have in common that read one number off each image."""

import numpy as np


def standard_error(of_image: np.ndarray) -> np.ndarray:
    """Of the mean over the last axis, (..., n) -> (...); NaN for a single image."""
    n = of_image.shape[-1]
    if n < 2:
        return np.full(of_image.shape[:-1], np.nan)
    return np.asarray(of_image.std(axis=-1, ddof=1) / np.sqrt(n))


def mean_columns(name: str, of_image: np.ndarray, least: float = 0.0) -> dict[str, float | None]:
    """`name` with `_lo` and `_hi`: the mean of numbers (n,) and its 95 % interval, which ends at `least`.

    None where the numbers are missing (NaN), and for the interval of a single image.
    """
    from scipy.special import stdtrit

    mean, error = float(of_image.mean()), float(standard_error(of_image))
    columns: dict[str, float | None] = dict.fromkeys((name, f"{name}_lo", f"{name}_hi"))
    if np.isfinite(mean):
        columns[name] = mean
    if np.isfinite(error):
        half_width = float(stdtrit(len(of_image) - 1, 0.975)) * error
        columns |= {f"{name}_lo": max(least, mean - half_width), f"{name}_hi": mean + half_width}
    return columns
