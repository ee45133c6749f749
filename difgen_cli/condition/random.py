"""Random labels: what clusters without any likeness do."""

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.condition import Labels, lent, without_gaps

VERSION = 1


def canonical(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """One cluster is no conditioning."""
    return ("none", {}) if settings.get("clusters") == 1 else ("random", settings)


def fit(
    images: np.ndarray,
    held_out: np.ndarray,
    train: np.ndarray,
    *,
    clusters: Annotated[int, Gt(0)] = 10,
    seed: Annotated[int, Ge(0)] = 0,
) -> Labels:
    """A label drawn for each image, all alike in probability; held-out images draw theirs from the subset's.

    Clusters without an image are dropped and the others numbered without gaps. `train` (n,): the subset's positions
    within `images`. ValueError for more clusters than images.

    clusters: how many, at most.
    seed: of the draw.
    """
    if clusters > len(images):
        raise ValueError(f"condition.clusters: {clusters} is more than the {len(images)} images: choose fewer")
    labels, used = without_gaps(np.random.default_rng((seed, 0)).integers(clusters, size=len(images)))
    return Labels(labels, lent(labels[train], len(held_out), (seed, 1)), len(used))
