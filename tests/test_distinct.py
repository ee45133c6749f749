"""Images without their repeats and near-duplicates, against brute force in float64."""

from __future__ import annotations

import numpy as np
import pytest

from difgen_cli.neighbours import NEAR_DUPLICATE, Repeats, distinct, groups, mirror, nearest, pairs, search

Found = tuple[np.ndarray, np.ndarray]


def rows(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float64)


def all_distances(queries: np.ndarray, references: np.ndarray, mirrored: bool) -> np.ndarray:
    """(n, m) in float64, each at the nearer of its sides where mirror images count."""
    sides = (queries, mirror(queries)) if mirrored else (queries,)
    each = [[np.sqrt(np.square(q - rows(references)).sum(axis=1)) for q in rows(side)] for side in sides]
    return np.asarray(np.min(np.array(each), axis=0))


def relation(images: np.ndarray, mirrored: bool) -> np.ndarray:
    """(n, n): which images are near-duplicates, each of itself too."""
    apart = all_distances(images, images, mirrored)
    return apart < NEAR_DUPLICATE * np.sqrt(images[0].size) if images.ndim == 4 else apart == 0


def brute_force(queries: np.ndarray, images: np.ndarray, mirrored: bool) -> Found:
    """The nearest image, and the nearest that is none of its near-duplicates."""
    apart, same = all_distances(queries, images, mirrored), relation(images, mirrored)
    first = apart.argmin(axis=1)
    others = np.where(same[first], np.inf, apart)
    second = np.where(np.isfinite(others.min(axis=1)), others.argmin(axis=1), -1)
    each = np.arange(len(queries))
    return np.stack([apart[each, first], others.min(axis=1)], axis=1), np.stack([first, second], axis=1)


def components(images: np.ndarray, mirrored: bool) -> np.ndarray:
    same = relation(images, mirrored)
    label = np.arange(len(images))
    for _ in label:
        label = np.array([label[near].min() for near in same])
    return label


def smooth(n: int, seed: int, shape: tuple[int, ...] = (16, 16, 3)) -> np.ndarray:
    """Images that vary slowly, as photographs do, (n, H, W, C) in about [−1, 1]."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (n, *shape)).cumsum(axis=1).cumsum(axis=2)
    return np.asarray(noise / (0.5 * np.sqrt(shape[0] * shape[1])), np.float32)


def off_by(images: np.ndarray, rms: float, seed: int) -> np.ndarray:
    """The images, each moved by so much."""
    noise = np.random.default_rng(seed).standard_normal(images.shape)
    noise *= rms / np.sqrt(np.square(noise).mean(axis=tuple(range(1, noise.ndim)), keepdims=True))
    return np.asarray(images + noise, np.float32)


def planted(world: str) -> np.ndarray:
    """80 images, in an order that tells nothing, of which some repeat others."""
    images = smooth(40, 1)
    more = {
        "none": smooth(40, 2),
        "all twice": images,
        "three times": np.concatenate([images[:10], images[:10], smooth(20, 2)]),
        "near": off_by(images, 0.02, 3),
        "at the limit": np.concatenate([off_by(images[:20], 0.0499, 3), off_by(images[20:], 0.0501, 4)]),
        "mirrored": np.concatenate([mirror(images)[:20], off_by(mirror(images)[20:], 0.02, 3)]),
        "a chain": images[0] + np.linspace(0, 1.6, 41, dtype=np.float32)[1:, None, None, None],
        "a cloud": off_by(images[[7] * 40], 0.03, 5),
        "one colour": np.linspace(-1, 1, 40, dtype=np.float32)[:, None, None, None] * np.ones_like(images),
    }[world]
    return np.concatenate([images, more])[np.random.default_rng(9).permutation(80)]


WORLDS = (
    "none", "all twice", "three times", "near", "at the limit", "mirrored", "a chain", "a cloud", "one colour"
)  # fmt: skip


@pytest.fixture(params=[False, True], ids=["whole", "in parts"])
def _parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        for name, value in (("ROWS", 16), ("COLUMNS", 24), ("SIFTED", 400)):
            monkeypatch.setattr(search, name, value)
        monkeypatch.setattr(pairs, "DOUBTFUL", 3)


@pytest.mark.usefixtures("_parts")
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("world", WORLDS)
def test_second_neighbours_groups_and_distances_within_equal_brute_force(world: str, mirrored: bool) -> None:
    images = planted(world)
    found = Repeats.of(images, mirrored)
    np.testing.assert_array_equal(found.group, components(images, mirrored))
    assert found.count == len(np.unique(found.group)) == len(distinct(images, mirrored))
    queries = np.concatenate([images[:25], off_by(images[25:50], 0.1, 6), mirror(images)[50:60], smooth(10, 7)])
    exact, places = brute_force(queries, images, mirrored)
    distances, indices = found.nearest(queries)
    np.testing.assert_allclose(distances, exact, rtol=1e-12, atol=1e-12)
    # An image and its mirror image, both in the set, are equally near but for rounding.
    np.testing.assert_array_equal(found.group[indices[:, 0]], found.group[places[:, 0]])
    np.testing.assert_array_equal(indices[:, 1] < 0, places[:, 1] < 0)
    apart = np.where(relation(images, mirrored), np.inf, all_distances(images, images, mirrored)).min(axis=1)
    np.testing.assert_allclose(found.apart(), apart, rtol=1e-12)
    within = nearest(images, images, 1, exclude_self=True, mirrored=mirrored)[0][:, 0]
    np.testing.assert_array_equal(Repeats.of(images, mirrored, within).group, found.group)
    np.testing.assert_array_equal(found.apart(within=within), found.apart())


@pytest.mark.parametrize("mirrored", [False, True])
def test_without_repeats_neighbours_are_those_of_the_search_to_the_last_bit(mirrored: bool) -> None:
    images, queries = planted("none"), smooth(50, 3)
    found = Repeats.of(images, mirrored)
    for own, plain in zip(found.nearest(queries), nearest(queries, images, mirrored=mirrored), strict=True):
        np.testing.assert_array_equal(own, plain)
    within = nearest(images, images, 1, exclude_self=True, mirrored=mirrored)[0][:, 0]
    np.testing.assert_array_equal(found.apart(), within)
    assert len(found.members) == 0


def test_points_repeat_one_another_where_they_are_equal_and_not_where_they_are_near() -> None:
    points = np.random.default_rng(0).standard_normal((60, 2)).astype(np.float32)
    points[40:50], points[50:60] = points[0], points[10:20] + np.float32(1e-6)
    points[7], points[8] = (0.0, 1.0), (-0.0, 1.0)
    found = Repeats.of(points)
    np.testing.assert_array_equal(found.group, components(points, False))
    assert found.count == 60 - 10 - 1
    np.testing.assert_array_equal(
        Repeats.of(points, within=nearest(points, points, 1, exclude_self=True)[0][:, 0]).group, found.group
    )
    exact, _ = brute_force(points, points, False)
    np.testing.assert_allclose(found.nearest(points)[0], exact, rtol=1e-12)
    assert (found.nearest(points)[0][:, 1] > 0).all()


@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_one_image_however_often_has_no_second_neighbour(points: bool, repeats: int) -> None:
    images = smooth(1, 0)[[0] * repeats]
    images = images.reshape(repeats, -1) if points else images
    found = Repeats.of(images)
    distances, places = found.nearest(images + 1)
    assert found.count == 1
    assert np.isinf(distances[:, 1]).all()
    assert (places == [0, -1]).all()
    assert np.isinf(found.apart()).all()
    assert distinct(images).tolist() == [0]


def test_none_of_no_images_are_distinct() -> None:
    assert distinct(smooth(1, 0)[:0]).shape == groups(smooth(1, 0)[:0]).shape == (0,)


def test_quarters_are_repeated_where_the_images_are_and_not_where_quarters_are() -> None:
    # Two images share a black corner, and one of them stands in the set twice.
    images = smooth(12, 1)
    images[:2, :8, :8] = -1
    images[5] = images[0]
    corner = images[:, :8, :8]
    distances, places = Repeats.of(images).neighbours([(corner, corner)])
    np.testing.assert_array_equal(places[[0, 1, 5]], [[0, 1]] * 3)
    assert (distances[[0, 1, 5]] == 0).all()


def test_thousands_of_repeats_of_one_image_take_little_more_than_none() -> None:
    images = smooth(4000, 1, (8, 8, 1))
    images[500:3500] = images[3]
    images[3500:] = off_by(images[[9] * 500], 0.03, 2)
    found = Repeats.of(images)
    exact, _ = brute_force(images[:12], images, False)
    np.testing.assert_allclose(found.nearest(images[:12])[0], exact, rtol=1e-12)
    assert found.count == 500
    assert np.isfinite(found.apart()).all()


def test_so_many_distinct_images_are_the_first_of_all_distinct_ones() -> None:
    images = smooth(300, 1)
    images[1:200] = images[0]
    expected = [0, *range(200, 300)]
    assert distinct(images).tolist() == expected
    for count in (1, 2, 50, 101, 500):
        assert distinct(images, count=count).tolist() == expected[:count]
