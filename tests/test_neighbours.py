"""Nearest neighbours against a brute-force search in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difgen_cli.neighbours import mirror, near_duplicates, nearest
from difgen_cli.neighbours import search as neighbours


def brute_force(queries: np.ndarray, references: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    q, r = (array.reshape(len(array), -1).astype(np.float64) for array in (queries, references))
    distances = np.sqrt(((q[:, None] - r) ** 2).sum(axis=2))
    order = distances.argsort(axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), order


@pytest.mark.parametrize("offset", [0, 100])
def test_distances_and_indices_equal_brute_force(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "ROWS", 16)  # several tiles
    monkeypatch.setattr(neighbours, "COLUMNS", 40)
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
    monkeypatch.setattr(neighbours, "ROWS", 9)
    monkeypatch.setattr(neighbours, "COLUMNS", 16)
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


def equal_to_brute_force(queries: np.ndarray, references: np.ndarray, k: int, *, exclude_self: bool = False) -> None:
    """Distances to the last digits, and the same references even where several are at the same distance."""
    distances, indices = nearest(queries, references, k, exclude_self=exclude_self)
    q, r = (array.reshape(len(array), -1).astype(np.float64) for array in (queries, references))
    every = np.sqrt(np.array([[np.einsum("d,d->", a - b, a - b) for b in r] for a in q]).reshape(len(q), len(r)))
    if exclude_self:
        np.fill_diagonal(every, np.inf)
    there = min(k, len(r) - exclude_self)
    order = every.argsort(axis=1, kind="stable")[:, :there]
    np.testing.assert_array_equal(indices[:, :there], order)
    np.testing.assert_allclose(distances[:, :there], np.take_along_axis(every, order, axis=1), rtol=1e-12, atol=0)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 3), st.integers(1, 5), st.booleans())
def test_of_images_at_the_same_distance_the_first_come_first(
    seed: int, references: int, values: int, k: int, itself: bool
) -> None:
    # Few values in few dimensions: most images have equals, and most distances tie.
    rng = np.random.default_rng(seed)
    r = rng.integers(0, values, (references, 3)).astype(np.float32)
    q = r if itself else rng.integers(0, values, (9, 3)).astype(np.float32)
    equal_to_brute_force(q, r, k, exclude_self=itself)


def test_images_that_products_cannot_tell_apart_are_told_apart() -> None:
    # Two far groups: centred on neither, float32 products of norm 500 cannot see differences of 1e-3.
    rng = np.random.default_rng(1)
    groups = np.repeat([[-1.0], [1.0]], 60, axis=0) * np.ones(512)
    r = (20 * groups + 1e-3 * rng.standard_normal((120, 512))).astype(np.float32)
    q = (20 * groups[::5] + 1e-3 * rng.standard_normal((24, 512))).astype(np.float32)
    centred = r - r.mean(axis=0)
    by_products = ((centred**2).sum(1) / 2 - (q - r.mean(axis=0)) @ centred.T).argmin(axis=1)
    exact = brute_force(q, r, 1)[1][:, 0]
    assert (by_products != exact).mean() > 0.5
    equal_to_brute_force(q, r, 3)
    equal_to_brute_force(r, r, 3, exclude_self=True)


def test_the_bound_on_what_products_lose_holds_and_is_not_idle() -> None:
    rng = np.random.default_rng(2)
    r, q = (rng.uniform(-1, 1, (n, 3072)).astype(np.float32) for n in (300, 50))
    search = neighbours.Search(r, 2)
    centred = q - search.centre
    scores = search.half_norms - centred @ search.centred.T
    true = q.astype(np.float64)[:, None] - r
    own = q.astype(np.float64) - search.centre
    error = abs(scores - (np.square(true).sum(2) / 2 - np.square(own).sum(1)[:, None] / 2)).max(axis=1)
    bound = search.worst(np.zeros(50), np.square(own).sum(1) / 2, 3072) + np.square(own).sum(1) / 2
    assert (error < bound).all()
    assert bound.max() < 0.5  # of half squared distances of about 1,000
    assert error.max() > 1e-5


@pytest.fixture
def sieve(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every search begins with a sieve of 24 axes; counts the queries that the whole search had all the same."""
    monkeypatch.setattr(neighbours, "AXES", 24)
    monkeypatch.setattr(neighbours, "WORTH", 0)
    monkeypatch.setattr(neighbours, "ROWS", 50)
    monkeypatch.setattr(neighbours, "COLUMNS", 70)
    monkeypatch.setattr(neighbours, "FEW", 4)
    handed_on: list[int] = []
    plain = neighbours.Search.__call__

    def counted(search: neighbours.Search, queries: np.ndarray, k: int, own: np.ndarray | None) -> object:
        handed_on.append(len(queries))
        return plain(search, queries, k, own)

    monkeypatch.setattr(neighbours.Search, "__call__", counted)
    return handed_on


def near_a_plane(n: int, seed: int, noise: float) -> np.ndarray:
    """(n, 120): of 10 dimensions and some noise in all, as photographs are."""
    plane = np.random.default_rng(0).standard_normal((10, 120))
    rng = np.random.default_rng((1, seed))
    return (rng.standard_normal((n, 10)) @ plane + noise * rng.standard_normal((n, 120))).astype(np.float32)


@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_sieve_of_few_dimensions_loses_nothing(k: int, offset: float, sieve: list[int]) -> None:
    r, q = (near_a_plane(n, n, 0.3) + np.float32(offset) for n in (331, 140))
    q[:20], r[40] = r[:20], r[60]  # copies, and a tie
    equal_to_brute_force(q, r, k)
    assert sum(sieve) < 14
    equal_to_brute_force(r, r, k, exclude_self=True)


def test_where_a_sieve_holds_nothing_back_the_whole_search_has_it(sieve: list[int]) -> None:
    r, q = (np.random.default_rng(n).standard_normal((n, 120)).astype(np.float32) for n in (331, 140))
    equal_to_brute_force(q, r, 2)
    assert sum(sieve) > 70


def test_shadows_are_never_farther_apart_than_what_casts_them() -> None:
    r = np.random.default_rng(5).standard_normal((2100, 1100)).astype(np.float32)
    search = neighbours.Search(r, 2)
    made = neighbours._Sieve(search)
    apart = ((made.shadows[:50, None].astype(np.float64) - made.shadows[None, :200]) ** 2).sum(axis=2)
    true = ((search.centred[:50, None].astype(np.float64) - search.centred[None, :200]) ** 2).sum(axis=2)
    assert (apart <= true * (1 + 1e-5) + 1e-3).all()
    assert np.allclose((made.shadows**2).sum(axis=1), 2 * search.half_norms, rtol=1e-5)


def test_equal_images_by_the_thousand_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    plain = neighbours.Search.distances

    def counted(search: neighbours.Search, queries: np.ndarray, positions: np.ndarray) -> np.ndarray:
        looked_at.append(positions.size * queries.shape[1])
        return plain(search, queries, positions)

    monkeypatch.setattr(neighbours.Search, "distances", counted)
    black = np.zeros((4000, 8, 8, 1), np.float32)
    black[7] = 1
    distances, indices = nearest(black, black, 2, exclude_self=True)
    np.testing.assert_array_equal(indices[[0, 1, 5, 7, 3999]], [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]])
    assert (distances[7] == 8).all()
    assert np.delete(distances, 7, axis=0).max() == 0
    assert sum(looked_at) < 10 * black.size


@pytest.mark.parametrize("itself", [False, True])
def test_mirrored_an_image_and_its_mirror_image_are_one(itself: bool) -> None:
    rng = np.random.default_rng(3)
    r = rng.uniform(-1, 1, (30, 4, 5, 3)).astype(np.float32)
    r[4] = mirror(r)[9]  # equal but for the mirror
    q = r if itself else np.concatenate([mirror(r[:3]), r[3:6], rng.uniform(-1, 1, (8, 4, 5, 3)).astype(np.float32)])
    distances, indices = nearest(q, r, 3, exclude_self=itself, mirrored=True)
    flat = [array.reshape(len(array), -1).astype(np.float64) for array in (q, r, mirror(r))]
    every = np.minimum(*(np.sqrt(np.square(flat[0][:, None] - side).sum(2)) for side in flat[1:]))
    if itself:
        np.fill_diagonal(every, np.inf)
    order = every.argsort(axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, np.take_along_axis(every, order, axis=1), rtol=1e-12)
    assert distances[4, 0] == 0
    assert indices[4, 0] == (9 if itself else 4)


def test_mirrored_with_fewer_images_than_are_asked_for() -> None:
    r = np.random.default_rng(4).uniform(-1, 1, (2, 3, 3, 1)).astype(np.float32)
    distances, indices = nearest(mirror(r), r, 4, mirrored=True)
    np.testing.assert_array_equal(indices, [[0, 1, -1, -1], [1, 0, -1, -1]])
    assert (distances[:, 0] == 0).all()
    assert np.isinf(distances[:, 2:]).all()


@pytest.mark.parametrize("references", [1, 2])
def test_one_or_two_identical_constant_images(references: int) -> None:
    r = np.full((references, 4, 4, 1), 0.3, np.float32)
    equal_to_brute_force(r + 0.5, r, 3)
    equal_to_brute_force(r, r, 3, exclude_self=True)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (18, 17, 3), (19, 20, 1)])
def test_planted_near_duplicates_are_found_and_no_others(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    others = rng.uniform(-1, 1, (60, *shape)).astype(np.float32).cumsum(axis=2) / np.sqrt(shape[1])
    images = rng.uniform(-1, 1, (40, *shape)).astype(np.float32).cumsum(axis=2) / np.sqrt(shape[1])
    noise = rng.standard_normal((6, *shape)).astype(np.float32)
    noise /= np.sqrt(np.square(noise).mean(axis=(1, 2, 3), keepdims=True))
    size = np.array([0, 0.02, 0.0499, 0.0501, 0.1, 0.3], np.float32)[:, None, None, None]
    images[:6] = others[10:16] + size * noise
    images[6:9] = mirror(others)[20:23] + size[1] * noise[:3]
    expected = [True] * 3 + [False] * 3 + [True] * 3 + [False] * 31
    assert near_duplicates(images, others).tolist() == expected


def test_points_and_empty_sets_have_no_near_duplicates() -> None:
    points = np.zeros((5, 2), np.float32)
    assert not near_duplicates(points, points).any()
    images = np.zeros((3, 8, 8, 1), np.float32)
    assert near_duplicates(images[:0], images).shape == (0,)
    assert not near_duplicates(images, images[:0]).any()
    assert near_duplicates(images, images).all()
