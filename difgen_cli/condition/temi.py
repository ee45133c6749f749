"""TEMI clusters of the images in a frozen feature space: near neighbours are taught to share theirs."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le

from difgen_cli.condition import Labels, without_gaps

VERSION = 1


def canonical(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """One cluster is no conditioning."""
    return ("none", {}) if settings.get("clusters") == 1 else ("temi", settings)


def fit(
    images: np.ndarray,
    held_out: np.ndarray,
    embed: Callable[[np.ndarray], np.ndarray],
    *,
    clusters: Annotated[int, Gt(0)] = 10,
    features: str = "pixels",
    neighbours: Annotated[int, Gt(0)] = 25,
    heads: Annotated[int, Gt(0)] = 8,
    steps: Annotated[int, Gt(0)] = 2000,
    batch: Annotated[int, Gt(0)] = 64,
    lr: Annotated[float, Gt(0)] = 5e-3,
    beta: Annotated[float, Gt(0), Le(1)] = 0.6,
    seed: Annotated[int, Ge(0)] = 0,
) -> Labels:
    """Adaloglou, Michels, Kalisch, Kollmann 2023: clusters of the rest, of which the subset is a part.

    Each head maps an image's features to shares of the clusters, and learns that an image and one of its nearest
    neighbours have the same; the head of lowest loss is kept, and an image gets its teacher's most probable cluster,
    held out or not. Clusters without an image of the rest are dropped and the others numbered without gaps: a held-out
    image gets the most probable of those. The confidence of an image is the share of its cluster. The same labels on
    every machine of one kind: one thread, of `seed` alone.

    ValueError for more clusters than images, and for fewer than two images.

    clusters: how many, at most.
    features: the feature space of the neighbours and of the heads.
    neighbours: nearest images of each, of which one at a time is its pair; all others where there are fewer.
    heads: trained side by side.
    steps: optimizer steps.
    batch: pairs a step.
    lr: peak learning rate of AdamW, after a warm-up of a tenth of the steps.
    beta: in (0, 1]; below 1 it keeps the clusters from being of very different sizes.
    seed: of weights and pairs.
    """
    if clusters > len(images):
        raise ValueError(f"condition.clusters: {clusters} is more than the {len(images)} images: choose fewer")
    if len(images) < 2:
        raise ValueError("condition.name: temi needs at least two images: choose none")
    from difgen_cli.condition import _temi

    points = embed(images)
    with _temi.one_thread():
        head = _temi.train(points, clusters, neighbours, heads, steps, batch, lr, beta, seed)
        shares = head(points)
        labels, used = without_gaps(shares.argmax(axis=1))
        asked = head(embed(held_out))[:, used].argmax(axis=1) if len(held_out) else np.zeros(0)
    return Labels(labels, np.asarray(asked, np.int64), len(used), shares.max(axis=1))
