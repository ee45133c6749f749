"""Intervals of what metrics read off images: of means over images drawn, over noise on images given, by a jackknife."""

from itertools import combinations

import numpy as np

from difgen_cli.metrics._ranks import half_width

PARTS = 20  # random parts of the images, for a jackknife


def part_of(n: int) -> np.ndarray:
    """The part of each of n images, (n,): all parts as large, and at random."""
    return np.random.default_rng(n).permutation(n) % PARTS


def left_out(parts: int) -> np.ndarray:
    """Which of so many parts each set leaves out: none, then each, then each two, (1 + g + g (g - 1) / 2, g) bool."""
    chosen = [(), *combinations(range(parts), 1), *combinations(range(parts), 2)]
    return np.array([[part in out for part in range(parts)] for out in chosen])


def jackknife(values: np.ndarray) -> tuple[float, float]:
    """The variance of a statistic of n independent images, from its values without the sets of `left_out`, and the
    degrees of freedom with which it is known.

    The jackknife over parts counts what two parts make together twice; Efron & Stein (1981) estimate that from leaving
    out two, and it is taken off, as far as one half: more would be chance. Freedom is Satterthwaite's (1946) of the
    difference. values: (1 + g + g (g - 1) / 2,), g >= 3.
    """
    sets = left_out(round((np.sqrt(8 * len(values) - 7) - 1) / 2))
    g, whole = sets.shape[1], float(values[0])
    single, double = values[1 : g + 1], values[g + 1 :]
    of_two = sets[g + 1 :] @ single  # the two values without one of both
    plain = (g - 1) / g * float(((single - single.mean()) ** 2).sum())
    together = g * whole - (g - 1) * of_two + (g - 2) * double
    twice = min(float(((together - together.mean()) ** 2).sum()) / (g * (g - 1)), plain / 2)
    if not plain > 0:
        return plain, float(g - 1)
    return plain - twice, (plain - twice) ** 2 / (plain**2 / (g - 1) + twice**2 / (len(double) - 1))


def given_images(of_pair: np.ndarray, population: int) -> tuple[float, float, float]:
    """Mean, standard error, and half width of its 95 % interval, for the mean over all images of a given set.

    of_pair: (n, draws) numbers of the first n of `population` images, each with two draws of noise or more. Images that
    were not asked leave the mean open, and noise on those that were: two stages (Cochran 1977, 10.3). NaN where there
    is none: one image asked of several, or numbers that are missing.
    """
    n, draws = of_pair.shape
    asked, of_image = n / population, of_pair.mean(axis=1)
    variances = [0.0, asked * float(of_pair.var(axis=1, ddof=1).mean()) / (n * draws)]
    if asked < 1:
        variances[0] = (1 - asked) * float(of_image.var(ddof=1)) / n if n > 1 else np.nan
    if not np.isfinite(variances).all():
        return float(of_image.mean()), np.nan, np.nan
    half = half_width(variances, [max(n - 1, 1), n * (draws - 1)])
    return float(of_image.mean()), float(np.sqrt(sum(variances))), half


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
