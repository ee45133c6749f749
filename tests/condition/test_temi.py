"""TEMI: its loss against the paper's formula in loops, its clusters against k-means, and very few images."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from difgen_cli.condition import _temi, kmeans, temi
from difgen_cli.data import scaled, split
from difgen_cli.data.digits import load

POOL = load()
SPLIT = split(POOL, held_out=900)
REST, HELD_OUT = scaled(POOL.images[SPLIT.rest]), scaled(POOL.images[SPLIT.held_out])


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def blobs(count: int, per_blob: int, seed: int = 0) -> np.ndarray:
    """Points in well separated heaps, heap after heap: (count · per_blob, 6)."""
    rng = np.random.default_rng(seed)
    centres = 6 * np.eye(6)[:count]
    return (np.repeat(centres, per_blob, axis=0) + 0.3 * rng.standard_normal((count * per_blob, 6))).astype(np.float32)


def accuracy(labels: np.ndarray, classes: np.ndarray) -> float:
    """The share of images in the class that their cluster stands for, at the best matching (Hungarian method)."""
    table = np.zeros((labels.max() + 1, classes.max() + 1))
    np.add.at(table, (labels, classes), 1)
    rows, columns = linear_sum_assignment(-table)
    return float(table[rows, columns].sum() / len(labels))


@pytest.mark.parametrize("beta", [0.6, 1.0])
def test_the_loss_is_the_papers_formula(beta: float) -> None:
    heads, pairs, clusters = 3, 5, 4
    rng = np.random.default_rng(0)
    q = rng.dirichlet(np.ones(clusters), size=(4, heads, pairs))  # student of x, of x′, teacher of x, of x′
    prior = rng.dirichlet(np.ones(clusters), size=heads)
    expected = np.zeros(heads)
    for h in range(heads):
        for i in range(pairs):
            weight = sum(float(q[2, j, i] @ q[3, j, i]) for j in range(heads)) / heads
            there = sum((q[0, h, i, c] * q[3, h, i, c]) ** beta / prior[h, c] for c in range(clusters))
            back = sum((q[1, h, i, c] * q[2, h, i, c]) ** beta / prior[h, c] for c in range(clusters))
            expected[h] -= weight * (np.log(there) + np.log(back)) / 2 / pairs
    s1, s2, t1, t2 = torch.from_numpy(q)
    found = _temi.loss((s1, s2), (t1, t2), torch.from_numpy(prior), beta)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_without_beta_the_loss_is_least_for_certain_and_even_clusters() -> None:
    """−log C at w = 1: what the mutual information of C even clusters is."""
    clusters = 4
    certain = torch.eye(clusters, dtype=torch.float64)[None]  # one head, a pair in each cluster
    even = torch.full((1, clusters), 1 / clusters, dtype=torch.float64)
    found = _temi.loss((certain, certain), (certain, certain), even, 1.0)
    assert found.item() == pytest.approx(-np.log(clusters))


def test_heads_are_the_same_alone_and_side_by_side() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = _temi.begin(3, 6, 4, generator)
    points = torch.from_numpy(blobs(4, 5))
    together = _temi.assign(weights, points)
    for head in range(3):
        alone = _temi.assign([weight[head : head + 1] for weight in weights], points)
        torch.testing.assert_close(alone[0], together[head])
    torch.testing.assert_close(together.sum(-1), torch.ones(3, 20))


def test_neighbours_are_those_of_brute_force_and_never_oneself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_temi, "BLOCK", 7)
    points = blobs(4, 5)
    distances = np.linalg.norm(points[:, None].astype(np.float64) - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    found = _temi.nearest(torch.from_numpy(points), 3).numpy()
    np.testing.assert_array_equal(found, np.argsort(distances, axis=1)[:, :3])


def test_heaps_of_points_become_clusters_and_new_points_join_their_heap() -> None:
    points, new = blobs(4, 20), blobs(4, 10, seed=1)
    found = temi.fit(points, new, flat, clusters=4, neighbours=5, steps=300, batch=32)
    assert accuracy(found.rest, np.repeat(np.arange(4), 20)) == 1
    np.testing.assert_array_equal(found.held_out, np.repeat(found.rest[::20], 10))


def test_labels_are_of_the_seed_alone_whatever_the_threads() -> None:
    points = blobs(4, 20)
    torch.set_num_threads(2)
    try:
        first = temi.fit(points, points[:5], flat, clusters=6, steps=50)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    torch.manual_seed(7)
    again, other = (temi.fit(points, points[:5], flat, clusters=6, steps=50, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(first.rest, again.rest)
    np.testing.assert_array_equal(first.held_out, again.held_out)
    assert not np.array_equal(first.rest, other.rest)


def test_empty_clusters_are_dropped_and_held_out_images_get_one_that_is_left() -> None:
    points = np.repeat(np.eye(3, 4, dtype=np.float32), 5, axis=0)  # 3 distinct points
    found = temi.fit(points, 10 * np.random.default_rng(0).standard_normal((50, 4)), flat, clusters=9, steps=50)
    assert sorted(set(found.rest)) == list(range(found.classes))
    assert found.classes <= 3
    assert found.held_out.max() < found.classes


@pytest.mark.parametrize("points", [np.zeros((4, 3), np.float32), np.eye(2, 3, dtype=np.float32)])
def test_identical_and_very_few_images_are_clustered_without_a_warning(points: np.ndarray) -> None:
    found = temi.fit(points, points[:1], flat, clusters=2, steps=5)
    assert found.held_out[0] == found.rest[0]


def test_what_cannot_be_clustered_is_refused() -> None:
    with pytest.raises(ValueError, match=r"condition\.clusters: 10 is more than the 4 images"):
        temi.fit(REST[:4], HELD_OUT, flat)
    with pytest.raises(ValueError, match="at least two images"):
        temi.fit(REST[:1], HELD_OUT, flat, clusters=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_temi_finds_the_digits_better_than_kmeans_in_the_same_space(seed: int) -> None:
    """Settings were chosen by the accuracy on REST; of HELD_OUT nothing was looked at before this test."""
    assert POOL.labels is not None
    ours, theirs = (plugin.fit(REST, HELD_OUT, flat, seed=seed) for plugin in (temi, kmeans))
    classes, unseen = POOL.labels[SPLIT.rest], POOL.labels[SPLIT.held_out]
    assert accuracy(ours.rest, classes) > accuracy(theirs.rest, classes)
    assert accuracy(ours.held_out, unseen) > accuracy(theirs.held_out, unseen)
