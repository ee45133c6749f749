"""Mean cosines with the nearest image of T and of H_N, of three kinds of images, with intervals over all of them.

The kinds: reconstructions of T, reconstructions of H_N, and samples. As many images of H as of T take part, so that
the nearest of more images is not nearer by that alone.

Queries that have the same nearest image share its luck, as reconstructions of one image do: variances are of sums over
such clusters, in two ways at once (Cameron, Gelbach & Miller 2011), each over what is left without it. Leaving out an
image, which a jackknife does, would say too much of other queries: copies would lose what they copy, and the second
nearest is farther than another draw's nearest. Of reconstructions of the same set it is right, and is what is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from difgen_cli.metrics._features import nearest_of
from difgen_cli.metrics._groups import freedom, quantile

FEWEST = 6  # images of each set, and samples, for an interval
APART = 3.0  # standard errors above 0 from which on a difference may be divided by

SETS = ("t", "h")  # the images that are compared with
KINDS = ("rt", "rh", "x")  # reconstructions of T, of H_N, samples

OF_SET = {"rt": "t", "rh": "h"}  # kinds that are made of the images of a set
LEAD = {"rt_t": 1.0, "rh_h": -1.0}  # 0 where T is reconstructed as unseen images are
APART_BY = {"rt_t": 1.0, "rt_h": -1.0, "rh_t": -1.0, "rh_h": 1.0}  # how much more those of T lean to T than those of H


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval and standard error; None where there are too few images."""

    value: float
    lower: float | None
    upper: float | None
    error: float | None


@dataclass(frozen=True)
class NearestCosine:
    """The cosine of each query with its nearest reference, which one that is, and the loss of the next: (q,)."""

    cosine: np.ndarray
    place: np.ndarray
    loss: np.ndarray


@dataclass(frozen=True)
class Cosines:
    """Cosines of all kinds, as `rt_t` … `x_h`, with the nearest of `images` of T and as many of H_N."""

    near: Mapping[str, NearestCosine]
    images: int
    draws: int  # reconstructions of each image, in a row

    @property
    def means(self) -> dict[str, float]:
        """A kind without images, as where nothing was sampled, has none."""
        return {name: float(near.cosine.mean()) for name, near in self.near.items()}

    def interval(self, weights: Mapping[str, float], value: float | None = None) -> Interval:
        """A weighted sum of the means; `value`: of a function of them, whose derivatives the weights are."""
        means = self.means
        value = sum(weight * means[name] for name, weight in weights.items()) if value is None else value
        sizes = [self.images, *(len(self.near[name].cosine) for name in weights if name.startswith("x"))]
        if min(sizes) < FEWEST:
            return Interval(value, None, None, None)
        variance, parts = 0.0, []
        both: dict[str, np.ndarray] = {}  # set -> what each origin adds
        for of in SETS:
            names = [name for name in weights if name.endswith(f"_{of}")]
            if not names:
                continue
            each = [self._parts(name, weights[name]) for name in names]
            influence, cluster, origin, rest = (np.concatenate(part) for part in zip(*each, strict=True))
            of_cluster = np.bincount(cluster, influence / rest, self.images)
            of_cluster += sum(self._as_reference(name, weights[name]) for name in names)
            of_origin = np.bincount(origin, influence, self._origins)
            joint, pairs = np.unique(cluster * self._origins + origin, return_inverse=True)
            of_both = np.bincount(pairs, influence, len(joint))
            variance += float((of_cluster**2).sum() + max(0.0, (of_origin**2).sum() - (of_both**2).sum()))
            parts.append(of_cluster)
            both[of] = of_origin
        if len(both) == 2:
            variance += 2 * float((both["t"] * both["h"]).sum())
        if variance <= 0:
            return Interval(value, value, value, 0.0)
        moved = np.concatenate(parts)
        error = float(np.sqrt(variance))
        reach = quantile(freedom(moved[moved != 0])) * error
        return Interval(value, value - reach, value + reach, error)

    @property
    def _origins(self) -> int:
        return 2 * self.images + max(
            (len(n.cosine) for name, n in self.near.items() if name.startswith("x")), default=0
        )

    def _parts(self, name: str, weight: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of each query its influence on the sum, the image whose luck it shares, what it was made of, and the share of
        the queries that do not share that luck: (q,)."""
        kind, of = name.split("_")
        near = self.near[name]
        influence = weight * (near.cosine - near.cosine.mean()) / len(near.cosine)
        first = {"rt": 0, "rh": self.images, "x": 2 * self.images}[kind]
        own = self._own(kind)
        cluster = own if OF_SET.get(kind) == of else near.place
        taken = np.bincount(cluster, minlength=self.images)[cluster] / len(cluster)
        return influence, cluster, first + own, np.maximum(1 - taken, 1 / len(cluster))

    def _as_reference(self, name: str, weight: float) -> np.ndarray:
        """What the others of the same set lose without each of its images, (images,); 0 of queries of other sets."""
        kind, of = name.split("_")
        near, own = self.near[name], self._own(kind)
        others = near.place != own if OF_SET.get(kind) == of else np.zeros(len(own), bool)
        return np.bincount(near.place[others], weight * near.loss[others] / len(own), self.images)

    def _own(self, kind: str) -> np.ndarray:
        """Of each query of a kind the image of its set, or the sample, that it is."""
        count = len(self.near[f"{kind}_t"].cosine)
        return np.arange(count) // (1 if kind == "x" else self.draws)

    def share(self) -> Interval | None:
        """Where samples lie between reconstructions of H_N (0) and of T (1), by how they lean to T.

        None without samples, and where the two reconstructions are not surely apart.
        """
        between = self.interval(APART_BY)
        if "x_t" not in self.near or between.error is None or between.value <= APART * between.error:
            return None
        value = (self.leaning("x") - self.leaning("rh")) / between.value
        slopes = {"x": 1.0, "rt": -value, "rh": value - 1}
        signs = {"t": 1.0, "h": -1.0}
        weights = {f"{kind}_{of}": slopes[kind] * signs[of] / between.value for kind in KINDS for of in SETS}
        return self.interval(weights, value)

    def share_control(self) -> float:
        """Where images lie that are as near to H_N as to T, as unseen ones are: one half if T has no lead."""
        return -self.leaning("rh") / (self.leaning("rt") - self.leaning("rh"))

    def leaning(self, kind: str) -> float:
        """How much nearer images of a kind are to T than to H_N."""
        return self.means[f"{kind}_t"] - self.means[f"{kind}_h"]


def nearest_cosines(sides: list[np.ndarray], references: np.ndarray) -> NearestCosine:
    """Of unit features (q, d), with those of their mirror images where there are two sides, in references (n, d)."""
    distances, places = nearest_of(sides, references, 2)
    cosines = 1 - distances**2 / 2
    return NearestCosine(cosines[:, 0], places[:, 0], np.where(places[:, 1] < 0, 0.0, cosines[:, 0] - cosines[:, 1]))
