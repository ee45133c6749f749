"""k-means clusters of the images, in pixels or in another feature space."""

import warnings
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.condition import Labels, without_gaps

VERSION = 1
STARTS = 4  # k-means++ initialisations, of which the best is kept


def canonical(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """One cluster is no conditioning."""
    return ("none", {}) if settings.get("clusters") == 1 else ("kmeans", settings)


def fit(
    images: np.ndarray,
    held_out: np.ndarray,
    embed: Callable[[np.ndarray], np.ndarray],
    *,
    clusters: Annotated[int, Gt(0)] = 10,
    features: str = "pixels",
    seed: Annotated[int, Ge(0)] = 0,
) -> Labels:
    """Clusters of the rest, of which the subset is a part; held-out images get that of the nearest centre.

    The confidence of an image is 1 − d₁/d₂ of its distances to its own centre and to the nearest other one. Clusters
    without an image are dropped and the others numbered without gaps. ValueError for more clusters than
    images.

    clusters: how many, at most.
    features: the feature space of the distances.
    seed: of the initial centres.
    """
    if clusters > len(images):
        raise ValueError(f"condition.clusters: {clusters} is more than the {len(images)} images: choose fewer")
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import pairwise_distances_argmin
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    points = embed(images)
    with warnings.catch_warnings(), threadpool_limits(1):  # one thread: sums in one order, the same labels everywhere
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # fewer distinct images than clusters: empty ones are dropped
        clustering = KMeans(clusters, n_init=STARTS, random_state=seed).fit(points)
        labels, used = without_gaps(clustering.labels_)
        centres = clustering.cluster_centers_[used]
        margins = _margins(points, labels, centres)
        assigned = pairwise_distances_argmin(embed(held_out), centres) if len(held_out) else np.zeros(0)
    return Labels(labels, np.asarray(assigned, np.int64), len(used), margins)


def _margins(points: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """1 − d₁/d₂ of each point (n, D): the distance to its own centre over that to the nearest other one; (n,).

    1 at the centre and where there is no other one, 0 half-way to another one and beyond.
    """
    from sklearn.metrics import pairwise_distances

    margins = np.ones(len(points))
    if len(centres) < 2:
        return margins
    apart = pairwise_distances(points, centres)
    own = apart[np.arange(len(points)), labels].copy()
    apart[np.arange(len(points)), labels] = np.inf
    other = apart.min(axis=1)
    np.divide(own, other, out=margins, where=other > 0)
    return np.asarray(np.clip(1 - np.where(other > 0, margins, 1.0), 0.0, 1.0))
