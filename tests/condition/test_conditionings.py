"""Conditionings: which label each image has, and the shares that samples draw theirs from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from difgen_cli.condition import kmeans, labels, none, proportions, random, unique
from difgen_cli.data import scaled, split
from difgen_cli.data.digits import load

POOL = load()
SPLIT = split(POOL, size=64, held_out=300)
REST, HELD_OUT = scaled(POOL.images[SPLIT.rest]), scaled(POOL.images[SPLIT.held_out])
TRAIN = np.searchsorted(SPLIT.rest, SPLIT.train)


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def test_unconditional_is_zero_classes() -> None:
    found = none.fit(REST, HELD_OUT)
    assert found.classes == 0
    assert not found.rest.any()
    assert not found.held_out.any()
    assert (len(found.rest), len(found.held_out)) == (len(REST), len(HELD_OUT))


def test_own_labels_are_kept_and_missing_ones_reported() -> None:
    assert POOL.labels is not None
    found = labels.fit(POOL.labels[SPLIT.rest], POOL.labels[SPLIT.held_out])
    np.testing.assert_array_equal(found.rest, POOL.labels[SPLIT.rest])
    np.testing.assert_array_equal(found.held_out, POOL.labels[SPLIT.held_out])
    assert found.classes == 10
    with pytest.raises(ValueError, match="choose kmeans or none"):
        labels.fit(None, None)


def test_kmeans_is_scikit_learns_and_held_out_images_get_the_nearest_centre() -> None:
    found = kmeans.fit(REST, HELD_OUT, flat, clusters=7, seed=3)
    peer = KMeans(7, n_init=kmeans.STARTS, random_state=3).fit(flat(REST))
    np.testing.assert_array_equal(found.rest, peer.labels_)
    np.testing.assert_array_equal(found.held_out, peer.predict(flat(HELD_OUT)))
    assert found.classes == 7


def test_kmeans_clusters_in_the_feature_space_it_is_given() -> None:
    def brightness(images: np.ndarray) -> np.ndarray:
        return flat(images).mean(axis=1, keepdims=True)

    found = kmeans.fit(REST, HELD_OUT, brightness, clusters=2)
    values = brightness(REST)[:, 0]
    dark, bright = sorted((values[found.rest == k] for k in (0, 1)), key=np.mean)
    assert dark.max() < bright.min()


def test_empty_clusters_are_dropped_and_the_others_numbered_without_gaps() -> None:
    images = np.repeat(np.eye(3, 4, dtype=np.float32), 5, axis=0)  # 3 distinct points
    found = kmeans.fit(images, np.eye(3, 4, dtype=np.float32), flat, clusters=6)
    assert found.classes == 3
    assert sorted(set(found.rest)) == [0, 1, 2]
    np.testing.assert_array_equal(found.held_out, found.rest[::5])
    few = random.fit(images, images, np.arange(2), clusters=15, seed=0)
    assert sorted(set(few.rest)) == list(range(few.classes))
    assert few.classes < 15


@pytest.mark.parametrize("plugin", [kmeans, random])
def test_one_cluster_is_no_conditioning(plugin: object) -> None:
    assert plugin.canonical({"clusters": 1, "seed": 4}) == ("none", {})  # type: ignore[attr-defined]
    name, settings = plugin.canonical({"clusters": 10, "seed": 4})  # type: ignore[attr-defined]
    assert plugin.__name__.endswith(name)  # type: ignore[attr-defined]
    assert settings == {"clusters": 10, "seed": 4}


def test_more_clusters_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"condition\.clusters: 10 is more than the 4 images"):
        kmeans.fit(REST[:4], HELD_OUT, flat)
    with pytest.raises(ValueError, match=r"condition\.clusters: 10 is more than the 4 images"):
        random.fit(REST[:4], HELD_OUT, np.arange(4))


def test_random_labels_of_held_out_images_follow_the_subsets_proportions() -> None:
    held_out = np.zeros((20_000, 1), np.float32)
    found = random.fit(REST, held_out, TRAIN, clusters=5, seed=1)
    expected = proportions(found.rest[TRAIN], 5)
    shares = np.bincount(found.held_out, minlength=5) / len(held_out)
    np.testing.assert_allclose(shares, expected, atol=4 * np.sqrt(0.25 / len(held_out)))


def test_random_labels_of_images_do_not_depend_on_the_subset() -> None:
    one, other = (random.fit(REST, HELD_OUT, train, clusters=5) for train in (TRAIN, TRAIN[:10]))
    np.testing.assert_array_equal(one.rest, other.rest)


def test_unique_gives_each_training_image_its_own_label_and_others_the_nearest_ones() -> None:
    found = unique.fit(REST, HELD_OUT, TRAIN)
    np.testing.assert_array_equal(found.rest[TRAIN], np.arange(64))
    assert found.classes == 64
    subset = flat(REST[TRAIN]).astype(np.float64)
    for images, got in ((REST, found.rest), (HELD_OUT, found.held_out)):
        distances = np.linalg.norm(flat(images)[:, None] - subset, axis=2)
        np.testing.assert_array_equal(got, distances.argmin(axis=1))


def test_unique_tells_identical_training_images_apart() -> None:
    images = np.zeros((4, 2), np.float32)
    assert unique.fit(images, images[:0], np.array([2, 0])).rest[[2, 0]].tolist() == [0, 1]


@given(st.lists(st.integers(0, 5), min_size=1))
def test_generation_draws_from_the_subsets_empirical_proportions(drawn: list[int]) -> None:
    shares = proportions(np.array(drawn), 6)
    assert shares.dtype == np.float64
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares * len(drawn), [drawn.count(k) for k in range(6)])


def test_unconditional_samples_have_no_proportions() -> None:
    assert proportions(np.zeros(5, np.int64), 0).shape == (0,)
