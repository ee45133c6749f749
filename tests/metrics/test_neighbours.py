"""Nearest neighbours against a brute-force search in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difgen_cli.metrics import _neighbours, nearest


def brute_force(queries: np.ndarray, references: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    q, r = (array.reshape(len(array), -1).astype(np.float64) for array in (queries, references))
    distances = np.sqrt(((q[:, None] - r) ** 2).sum(axis=2))
    order = distances.argsort(axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), order


@pytest.mark.parametrize("offset", [0, 100])
def test_distances_and_indices_equal_brute_force(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_neighbours, "TILE", 2000)  # several tiles
    rng = np.random.default_rng(0)
    references = (rng.standard_normal((150, 4, 4, 3)) + offset).astype(np.float32)
    queries = (rng.standard_normal((40, 4, 4, 3)) + offset).astype(np.float32)
    distances, indices = nearest(queries, references, 3)
    expected, places = brute_force(queries, references, 3)
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)


def test_an_exact_duplicate_is_at_distance_zero_and_a_near_one_at_its_own() -> None:
    # The product trick alone gives up to 0.07 for the first and loses the second.
    references = np.random.default_rng(0).uniform(-1, 1, (500, 3072)).astype(np.float32)
    queries = references[:50].copy()
    queries[25:, 7] += np.float32(1e-4)
    distances, indices = nearest(queries, references)
    np.testing.assert_array_equal(indices[:, 0], np.arange(50))
    assert (distances[:25, 0] == 0).all()
    np.testing.assert_allclose(distances[25:, 0], 1e-4, rtol=1e-2)


def test_no_image_is_its_own_neighbour_when_searching_within_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_neighbours, "TILE", 300)
    points = np.random.default_rng(0).standard_normal((70, 5)).astype(np.float32)
    points[3] = points[50]
    distances, indices = nearest(points, points, 1, exclude_self=True)
    expected, places = brute_force(points, points, 2)
    assert (indices[:, 0] != np.arange(70)).all()
    assert (indices[3, 0], indices[50, 0], distances[3, 0]) == (50, 3, 0)
    others = np.arange(70)[~np.isin(np.arange(70), [3, 50])]
    np.testing.assert_array_equal(indices[others, 0], places[others, 1])
    np.testing.assert_allclose(distances[others, 0], expected[others, 1], rtol=1e-12)


@settings(deadline=None)
@given(st.integers(0, 6), st.integers(1, 7), st.integers(1, 4), st.booleans())
def test_missing_neighbours_are_infinitely_far(queries: int, references: int, k: int, itself: bool) -> None:
    r = np.arange(references, dtype=np.float32)[:, None] ** 2
    q = r if itself else np.zeros((queries, 1), np.float32)
    distances, indices = nearest(q, r, k, exclude_self=itself)
    there = min(k, references - itself)
    assert distances.shape == indices.shape == (len(q), k)
    assert np.isfinite(distances[:, :there]).all()
    assert np.isinf(distances[:, there:]).all()
    assert (indices[:, there:] == -1).all()
    assert (np.diff(distances[:, :there], axis=1) >= 0).all()
