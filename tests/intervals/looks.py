"""Worlds of what samples look like, of partitions, of detection by classes, and of rare images that are copied.

- class_tv, class_score, saturation: samples are drawn; T and the probe stay.
- clusters_*: images are drawn with a label and a class; the rule that labels them stays.
- ood_*: held-out images and those of the other data set are drawn; T, on which the rules are fitted, stays.
- minority_hits_corr: images are drawn with a score and their copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from drawing import Arrays, Ends, World, ends, unshared

from difgen_cli.metrics import appearance, cluster_classes, minority, ood_classes

FIXED, MANY = 10**7, 10**6


@dataclass(frozen=True)
class Looks:
    """400 samples of 10 colours whose shares of classes are so far from those of T."""

    distance: float
    count: int = 400

    def __str__(self) -> str:
        return f"appearance, {self.count} samples, classes {self.distance:g} apart"

    def truth(self) -> Arrays:
        values = _look(Looks(self.distance, 200_000), FIXED + 1)
        return {name: np.array(float(str(values[name]))) for name in self._names}

    def intervals(self, draw: int) -> Ends:
        return ends(_look(self, draw), *self._names)

    @property
    def _names(self) -> tuple[str, ...]:
        return ("saturation", "class_tv", "class_score")

    def shares(self) -> np.ndarray:
        own = np.full(10, 0.1)
        own[:5] += self.distance / 5
        own[5:] -= self.distance / 5
        return own


def _look(world: Looks, seed: int) -> Mapping[str, object]:
    train, classes = _colours(1000, FIXED, np.full(10, 0.1))
    samples, _ = _colours(world.count, seed, world.shares())
    return appearance.measure(samples, train, train[:0], classes, _mean_colours, unshared).values


def _colours(count: int, seed: int, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images of 2 × 1 pixels about the colour of their class, and the class."""
    chance = np.random.default_rng((seed, count))
    classes = chance.choice(10, count, p=shares)
    centres = np.random.default_rng(5).uniform(-0.8, 0.8, (10, 3))
    images = centres[classes][:, None, None] + 0.15 * chance.standard_normal((count, 2, 1, 3))
    return images.astype(np.float32), classes


def _mean_colours(images: np.ndarray) -> np.ndarray:
    return np.asarray(images.mean(axis=(1, 2)))


@dataclass(frozen=True)
class Partition:
    """Images with labels and classes that agree with so much probability, and at random otherwise."""

    agree: float
    labels: int
    classes: int
    count: int
    may_be_null: bool = True  # of the information: where many images are the only ones of their label and class

    def __str__(self) -> str:
        return f"partition, {self.labels} labels, {self.classes} classes, {self.count} images, {self.agree:g} agree"

    def truth(self) -> Arrays:
        counts = self._joint() * 1e9
        return {
            "clusters_acc": np.array(cluster_classes.matched(counts) / 1e9),
            "clusters_nmi": np.array(cluster_classes.mutual_information(counts).value),
            "clusters_ari": np.array(cluster_classes.rand_index(counts).value),
        }

    def intervals(self, draw: int) -> Ends:
        joint = self._joint()
        drawn = np.random.default_rng(draw).choice(joint.size, self.count, p=joint.ravel())
        values = cluster_classes.measure(*np.divmod(drawn, self.classes)).values
        return ends(values, "clusters_acc", "clusters_nmi", "clusters_ari", null=True)

    def _joint(self) -> np.ndarray:
        joint = np.full((self.labels, self.classes), (1 - self.agree) / (self.labels * self.classes))
        joint[np.arange(self.labels), np.arange(self.labels) % self.classes] += self.agree / self.labels
        return joint


@dataclass(frozen=True)
class Detection:
    """Two classes in 5 dimensions; 200 held-out images, and 200 others moved by so much across the classes' axis."""

    shift: float

    def __str__(self) -> str:
        return f"detection by classes, moved by {self.shift:g}"

    def truth(self) -> Arrays:
        return {name: np.array(float(str(value))) for name, value in _detected(self, FIXED, 20_000).items()}

    def intervals(self, draw: int) -> Ends:
        return ends(_measured(self, draw, 200), *self.names)

    @property
    def names(self) -> tuple[str, ...]:
        rules = ("mahalanobis", "relative_mahalanobis", "probe")
        return (*(f"ood_{rule}_auroc" for rule in rules), "ood_mahalanobis_fpr95", "ood_knn_acc")


@cache
def _detected(world: Detection, seed: int, count: int) -> dict[str, object]:
    values = _measured(world, seed, count)
    return {name: values[name] for name in world.names}


def _measured(world: Detection, seed: int, count: int) -> Mapping[str, object]:
    train, of_T = _two_classes(300, FIXED + 1)
    held_out, of_H = _two_classes(count, 2 * seed)
    others, _ = _two_classes(count, 2 * seed + 1)
    others += np.float32(world.shift) * np.eye(5, dtype=np.float32)[1] - np.float32(0.5) * others * np.eye(5)[0]
    found = ood_classes.measure(
        held_out[:0], train, held_out, of_T, of_H, others.astype(np.float32), _itself, unshared, images=count
    )
    return found.values


def _two_classes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng((seed, 5))
    classes = chance.integers(0, 2, count)
    x = chance.standard_normal((count, 5))
    x[:, 0] += 2 * (2 * classes - 1)
    return x.astype(np.float32), classes


def _itself(x: np.ndarray) -> np.ndarray:
    return x


@dataclass(frozen=True)
class Rare:
    """300 images; those with a high score are copied as often as a Poisson of mean `rate` · exp(`slope` · score)."""

    slope: float
    rate: float = 0.5

    def __str__(self) -> str:
        return f"minority, copies grow by exp({self.slope:g} score)"

    def truth(self) -> Arrays:
        return {"minority_hits_corr": np.array(minority.correlation(*self._drawn(MANY, FIXED)))}

    def intervals(self, draw: int) -> Ends:
        lower, upper = minority.interval(*self._drawn(300, draw))
        return {"minority_hits_corr": (np.array(lower), np.array(upper))}

    def _drawn(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        chance = np.random.default_rng((seed, 6))
        score = chance.standard_normal(count)
        return score, chance.poisson(self.rate * np.exp(self.slope * score))


LOOKS: tuple[World, ...] = (
    *(Looks(distance) for distance in (0.0, 0.05, 0.2)),
    Partition(0.6, 10, 10, 2000),
    Partition(0.9, 5, 10, 1000),
    Partition(0.4, 3, 4, 200),
    *(Detection(shift) for shift in (0.0, 2.0)),
    *(Rare(slope) for slope in (0.0, 0.7)),
)
