"""Mean cosines with the nearest image of T and of H_N, of three kinds of images, and what leaving one image out does.

The kinds: reconstructions of T, reconstructions of H_N, and samples. As many images of H as of T take part, so that
the nearest of more images is not nearer by that alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from difgen_cli.metrics._features import nearest_of
from difgen_cli.metrics._groups import freedom
from difgen_cli.metrics._ranks import half_width

FEWEST = 5  # images of each set, and samples, for an interval
APART = 3.0  # standard errors above 0 from which on a difference may be divided by

KINDS = ("rt", "rh", "x")  # reconstructions of T, of H_N, samples
SETS = ("t", "h")  # the images that are compared with
OWN = {"rt": "t", "rh": "h", "x": "x"}  # where the images of a kind come from

Means = Mapping[str, np.ndarray]  # `rt_t` … `x_h` -> the mean cosine; one number, or one for each image left out


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval; None for the ends where there are too few images."""

    value: float
    lower: float | None
    upper: float | None
    error: float | None  # its standard error


@dataclass(frozen=True)
class Nearest:
    """The cosine of each query (q,) with its nearest reference, with the second nearest, and which reference it is."""

    cosine: np.ndarray
    second: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class Cosines:
    """The six means, and the same without each image of T (n,), without each of H_N (n,), without each sample (m,).

    Without an image of T there are neither its reconstructions nor itself to be near to. The model stays.
    """

    means: Means
    without: Mapping[str, Means]  # "t", "h" and "x"

    def interval(self, of: Callable[[Means], np.ndarray]) -> Interval:
        """A function of the means, with the jackknife over the images of T, those of H_N and the samples.

        Three independent groups: the variances of leaving one out add, with Student's t of Satterthwaite's degrees.
        """
        value, variances, degrees = float(of(self.means)), [], []
        for means in self.without.values():
            left = of(means)
            if left.ndim == 0:  # nothing of this group is in it
                continue
            if len(left) < FEWEST:
                return Interval(value, None, None, None)
            moved = left - left.mean()
            variances.append((len(left) - 1) / len(left) * float((moved**2).sum()))
            degrees.append(freedom(moved))
        reach = half_width(variances, degrees)
        return Interval(value, value - reach, value + reach, float(np.sqrt(sum(variances))))


def nearest_cosines(sides: list[np.ndarray], references: np.ndarray) -> Nearest:
    """Of unit features (q, d), with those of their mirror images where there are two sides, in references (n, d)."""
    distances, places = nearest_of(sides, references, 2)
    cosines = 1 - distances**2 / 2  # −inf where there is no second reference
    return Nearest(cosines[:, 0], cosines[:, 1], places[:, 0])


def cosines_of(found: Mapping[tuple[str, str], Nearest], images: int, draws: int) -> Cosines:
    """From the nearest of each kind in each set: `images` of T and of H_N, each with `draws` reconstructions in a row.

    A kind without images, as where nothing was sampled, has no means.
    """
    means: dict[str, np.ndarray] = {}
    without: dict[str, dict[str, np.ndarray]] = {"t": {}, "h": {}, "x": {}}
    for (kind, of), near in found.items():
        name = f"{kind}_{of}"
        means[name] = np.asarray(near.cosine.mean())
        origin = np.arange(len(near.cosine)) // (1 if kind == "x" else draws)
        counts = {"t": images, "h": images, "x": len(near.cosine)}
        left = _left_out(near, origin, counts[OWN[kind]], images, OWN[kind] == of)
        for group, values in zip((OWN[kind], of), left, strict=False):
            without[group][name] = values
        for group in set(without) - {OWN[kind], of}:
            without[group][name] = means[name]
    return Cosines(means, without)


def _left_out(near: Nearest, origin: np.ndarray, origins: int, images: int, same: bool) -> list[np.ndarray]:
    """The mean without each of the `origins` of the queries, and without each of the `images` that are references.

    same: these are the same images, and one list is for both: without one, its queries fall away, and the others that
    it was the nearest of take their second.
    """
    total, count = near.cosine.sum(), len(near.cosine)
    loss = np.where(np.isfinite(near.second), near.cosine - near.second, 0.0)
    queries, own = np.bincount(origin, minlength=origins), np.bincount(origin, near.cosine, origins)
    if same:
        others = near.place != origin
        lost = np.bincount(near.place[others], loss[others], images)
        return [(total - own - lost) / np.maximum(count - queries, 1)]
    lost = np.bincount(near.place, loss, images)
    return [(total - own) / np.maximum(count - queries, 1), (total - lost) / count]


def lead(means: Means) -> np.ndarray:
    """How much nearer reconstructions of T are to T than those of H_N to H_N: 0 where T is as good as unseen."""
    return np.asarray(means["rt_t"] - means["rh_h"])


def leaning(means: Means, kind: str) -> np.ndarray:
    """How much nearer images of a kind are to T than to H_N."""
    return np.asarray(means[f"{kind}_t"] - means[f"{kind}_h"])


def apart(means: Means) -> np.ndarray:
    """How far the leanings of both reconstructions are from one another."""
    return leaning(means, "rt") - leaning(means, "rh")


def share(means: Means) -> np.ndarray:
    """Where samples lie between reconstructions of H_N (0) and of T (1)."""
    return (leaning(means, "x") - leaning(means, "rh")) / apart(means)


def share_control(means: Means) -> np.ndarray:
    """Where images lie that are as near to H_N as to T, as unseen ones are: one half if T has no lead."""
    return -leaning(means, "rh") / apart(means)
