"""How far drawn images are from expected shares of classes: total variation, with an interval without its bias.

The distance of n drawn images from the shares that they were drawn of is above 0, by half the mean error of a share for
each class. So the interval inverts tests, along the line from the expected shares through those that were drawn: it has
every distance on that line of which such a draw would be no surprise.
"""

import numpy as np

from difgen_cli.metrics._ranks import LEVEL

SEED = 11
DRAWS = 1000  # at each distance
PLACES = 30  # distances that are tried, evenly spaced
REACH = 0.15  # beyond twice the measured distance


def distance(drawn: np.ndarray, expected: np.ndarray) -> float:
    """½ Σ |drawn − expected| of two lists of shares (classes,): 0 … 1."""
    return float(np.abs(drawn - expected).sum() / 2)


def reached_by_chance(expected: np.ndarray, count: int) -> float:
    """The 97.5 % quantile of the distance of `count` images drawn of the expected shares."""
    return float(np.quantile(_distances(expected, expected, count), (1 + LEVEL) / 2))


def interval(drawn: np.ndarray, expected: np.ndarray, count: int) -> tuple[float, float]:
    """95 % interval of the distance of the shares that `count` images with the shares `drawn` were drawn of.

    Its lower end is 0 wherever as many images of the expected shares would be as far away in one of forty draws.
    """
    measured = distance(drawn, expected)
    if measured == 0:
        return 0.0, reached_by_chance(expected, count)  # the draw has no direction
    direction = (drawn - expected) / measured
    end = 1 / max(float((-direction / np.where(expected > 0, expected, 1)).max()), 1e-12)  # where a share is 0
    tried = np.linspace(0, min(end, 1.0, 2 * measured + REACH), PLACES)
    far = [_distances(expected + place * direction, expected, count) for place in tried]
    tail = (1 - LEVEL) / 2
    above = np.array([(one >= measured).mean() for one in far])  # ascending, but for the noise of the draws
    below = np.array([(one <= measured).mean() for one in far])
    first, last = int(np.argmax(above > tail)), int(PLACES - 1 - np.argmax(below[::-1] > tail))
    lower, upper = float(tried[first]), float(tried[last]) if below[last] > tail else 0.0
    if first > 0:
        lower = float(np.interp(tail, above[first - 1 : first + 1], tried[first - 1 : first + 1]))
    if below[last] > tail and last + 1 < PLACES:
        upper = float(np.interp(-tail, -below[last : last + 2], tried[last : last + 2]))
    return min(lower, measured), upper


def _distances(shares: np.ndarray, expected: np.ndarray, count: int) -> np.ndarray:
    """Of DRAWS draws of `count` images: the same random numbers for any shares."""
    positive = np.clip(shares, 0, None)
    drawn = np.random.default_rng(SEED).multinomial(count, positive / positive.sum(), size=DRAWS) / count
    return np.asarray(np.abs(drawn - expected).sum(axis=1) / 2)
