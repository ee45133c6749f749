"""Mean cosines with the nearest image of T and of H_N, of three kinds of images, with intervals over all of them.

The kinds: reconstructions of T, reconstructions of H_N, and samples. As many images of H as of T take part, so that
the nearest of more images is not nearer by that alone.

Which images are in T and H_N moves the nearest. How much is seen from random halves of them: what one half says less
what the other does varies four times as much as what both say together. Leaving out one image at a time would say too
much, by a factor of two in the variance: the second nearest is farther than the next draw's nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from difgen_cli.metrics._features import nearest_of
from difgen_cli.metrics._ranks import half_width

SEED = 11
FEWEST = 6  # images of each set, and samples, for an interval
SPLITS = 64  # random halves of each group
NEIGHBOURS = 8  # of which one is in a half but for once in 256
APART = 3.0  # standard errors above 0 from which on a difference may be divided by

SETS = ("t", "h")  # the images that are compared with
OWN = {"rt": "t", "rh": "h", "x": "x"}  # kind of images -> the group that they vary with
GROUPS = ("t", "h", "x")

Means = Mapping[str, np.ndarray]  # `rt_t` … `x_h` -> the mean cosine, one number or one for each half


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval and standard error; None where there are too few images."""

    value: float
    lower: float | None
    upper: float | None
    error: float | None


@dataclass(frozen=True)
class Nearest:
    """The cosines of each query with its nearest references, falling, and which ones these are; both (q, k)."""

    cosines: np.ndarray
    places: np.ndarray

    def among(self, halves: np.ndarray) -> np.ndarray:
        """The cosine with the nearest of each half, (splits, q), of halves (splits, n) bool."""
        first = halves[:, self.places].argmax(axis=2)
        return np.asarray(np.take_along_axis(self.cosines[None], first[..., None], axis=2)[..., 0])


@dataclass(frozen=True)
class Cosines:
    """The six means, and how they differ between halves of the images of T, of those of H_N and of the samples."""

    means: Means
    apart: Mapping[str, Means]  # group -> of each mean, (one half − the other)/2: (splits,); 0 where it does not vary
    sizes: Mapping[str, int]  # group -> images

    def interval(self, of: Callable[[Means], np.ndarray]) -> Interval:
        """A function of the means, with Student's t interval over the three groups, which are independent."""
        value, variances, degrees = float(of(self.means)), [], []
        for group, moved in self.apart.items():
            up, down = (of({name: mean + side * moved[name] for name, mean in self.means.items()}) for side in (1, -1))
            variance = float(np.square(up - down).mean() / 4)
            if variance == 0:  # nothing of this group is in it
                continue
            if self.sizes[group] < FEWEST:
                return Interval(value, None, None, None)
            variances.append(variance)
            degrees.append(1 / (1 / (self.sizes[group] - 1) + 1 / SPLITS))
        reach = half_width(variances, degrees)
        return Interval(value, value - reach, value + reach, float(np.sqrt(sum(variances))))


def nearest_cosines(sides: list[np.ndarray], references: np.ndarray) -> Nearest:
    """Of unit features (q, d), with those of their mirror images where there are two sides, in references (n, d)."""
    distances, places = nearest_of(sides, references, min(NEIGHBOURS, len(references)))
    return Nearest(1 - distances**2 / 2, places)


def cosines_of(found: Mapping[tuple[str, str], Nearest], images: int, draws: int) -> Cosines:
    """From the nearest of each kind in each set: `images` of T and of H_N, each with `draws` reconstructions in a row.

    A kind without images, as where nothing was sampled, has no means.
    """
    samples = next((len(near.places) for (kind, _), near in found.items() if kind == "x"), 0)
    sizes = {"t": images, "h": images, "x": samples}
    halves = {group: _halves(sizes[group], k) for k, group in enumerate(GROUPS)}
    means = {f"{kind}_{of}": np.asarray(near.cosines[:, 0].mean()) for (kind, of), near in found.items()}
    apart: dict[str, dict[str, np.ndarray]] = {group: dict.fromkeys(means, np.zeros(SPLITS)) for group in GROUPS}
    for (kind, of), near in found.items():
        own, name = OWN[kind], f"{kind}_{of}"
        origin = np.arange(len(near.places)) // (1 if kind == "x" else draws)
        if own == of:  # without an image there are neither its reconstructions nor itself
            one, other = (_mean(near.among(half), half[:, origin]) for half in (halves[of], ~halves[of]))
            apart[of][name] = (one - other) / 2
            continue
        one, other = (near.among(half).mean(axis=1) for half in (halves[of], ~halves[of]))
        apart[of][name] = (one - other) / 2
        one, other = (_mean(near.cosines[None, :, 0], half[:, origin]) for half in (halves[own], ~halves[own]))
        apart[own][name] = (one - other) / 2
    return Cosines(means, apart, sizes)


def _halves(count: int, stream: int) -> np.ndarray:
    """Which of `count` images are in a half: (SPLITS, count) bool, one half of them each, the same for all levels."""
    drawn = np.random.default_rng((SEED, stream)).random((SPLITS, count))
    return np.asarray(drawn.argsort(axis=1).argsort(axis=1) < count // 2)


def _mean(cosines: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Over those that are kept, (splits, q) bool, of cosines (splits or 1, q): (splits,); 0 of none."""
    return np.asarray((cosines * kept).sum(axis=1) / np.maximum(kept.sum(axis=1), 1))


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
