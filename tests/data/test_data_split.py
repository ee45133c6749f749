"""The split: held-out images first, subsets nested, halves disjoint; and the scale of the images."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difgen_cli.data import DataError, Pool, content, scaled, sigma_data, split, to_uint8
from difgen_cli.data.circle import load as load_circle
from difgen_cli.data.digits import load as load_digits


def pool_of(values: list[int]) -> Pool:
    """Images of one pixel."""
    return Pool(np.array(values, np.uint8).reshape(-1, 1, 1, 1))


POOLS = st.lists(st.integers(0, 255), min_size=2, max_size=60).map(pool_of)


@settings(deadline=None)
@given(POOLS, st.data())
def test_held_out_never_overlaps_any_subset_and_no_setting_moves_it(pool: Pool, data: st.DataObject) -> None:
    count = len(pool.images)
    held_out = data.draw(st.integers(0, count - 1))
    whole = split(pool, held_out=held_out)
    seed, half = data.draw(st.integers(0, 99)), data.draw(st.sampled_from([None, "A", "B"]))
    places = {None: count - held_out, "A": (count - held_out + 1) // 2, "B": (count - held_out) // 2}[half]
    if places == 0:
        with pytest.raises(DataError):
            split(pool, held_out=held_out, seed=seed, half=half)
        return
    size = data.draw(st.none() | st.integers(1, places))
    found = split(pool, size=size, held_out=held_out, seed=seed, half=half)
    np.testing.assert_array_equal(found.held_out, whole.held_out)
    np.testing.assert_array_equal(found.rest, whole.rest)
    assert len(found.rest) == count - held_out
    assert len(found.train) == (places if size is None else size)
    assert set(found.train) <= set(found.rest)
    assert len(set(found.train)) == len(found.train)
    images = pool.images.reshape(-1)
    assert not set(images[found.held_out]) & set(images[found.rest])  # by content, not only by place
    assert {array.dtype for array in (found.train, found.rest, found.held_out)} == {np.dtype(np.int64)}


@settings(deadline=None)
@given(POOLS, st.integers(0, 99), st.sampled_from([None, "A", "B"]))
def test_subsets_are_nested_and_halves_disjoint_for_any_sizes(pool: Pool, seed: int, half: str | None) -> None:
    places = len(pool.images) // 2
    large = split(pool, size=places, held_out=0, seed=seed, half=half).train
    for size in range(1, places + 1):
        np.testing.assert_array_equal(split(pool, size=size, held_out=0, seed=seed, half=half).train, large[:size])
    a, b = (split(pool, held_out=0, seed=seed, half=h).train for h in ("A", "B"))
    assert sorted([*a, *b]) == list(range(len(pool.images)))


def test_a_seed_of_their_own_draws_other_held_out_images_and_none_draws_those_of_always() -> None:
    digits, count = load_digits(), len(load_digits().images)
    found = {seed: split(digits, held_out=300, held_out_seed=seed) for seed in (0, 1, 2)}
    always = np.random.default_rng(20_150_205).permutation(count)[:300]  # as every version of difgen drew them
    np.testing.assert_array_equal(found[0].held_out, always)
    np.testing.assert_array_equal(split(digits, held_out=300).held_out, always)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shared = len(set(found[one].held_out) & set(found[other].held_out))
        assert 20 < shared < 85, "300 × 300/1797 = 50 on average"
    for parts in found.values():
        assert sorted([*parts.held_out, *parts.rest]) == list(range(count))
    larger = split(digits, held_out=400, held_out_seed=2).held_out
    np.testing.assert_array_equal(larger[:300], found[2].held_out)
    same = split(digits, held_out=300, held_out_seed=2, seed=5, half="B", size=40)
    np.testing.assert_array_equal(same.held_out, found[2].held_out)


def test_data_that_hold_images_out_themselves_refuse_a_seed_for_it() -> None:
    pool = load_circle(points=20)
    assert split(pool, held_out=10, held_out_seed=0).held_out.tolist() == list(range(1, 20, 2))
    with pytest.raises(DataError, match=r"data.held_out_seed: .* says which 10 of its 20 images .* leave the seed out"):
        split(pool, held_out=10, held_out_seed=1)


def test_only_identical_images_leave_the_held_out_split() -> None:
    digits = load_digits()
    assert len(split(digits).held_out) == 512  # no two digits are the same
    doubled = Pool(np.concatenate([digits.images, digits.images]))
    found = split(doubled, held_out=1000)
    pixels = doubled.images.reshape(len(doubled.images), -1)
    rest = {image.tobytes() for image in pixels[found.rest]}
    drawn = np.setdiff1d(np.arange(len(pixels)), found.rest)
    kept = [i for i in drawn if pixels[i].tobytes() not in rest]
    assert sorted(found.held_out) == kept
    assert 0 < len(kept) < 1000


def test_labels_stay_with_their_images_under_subsetting() -> None:
    count = 200
    labels = np.random.default_rng(0).integers(10, size=count)
    pool = Pool(np.repeat(labels, 16).reshape(count, 4, 4, 1).astype(np.uint8), labels, tuple("0123456789"))
    found = split(pool, size=50, held_out=40, seed=3, half="B")
    assert pool.labels is not None
    for indices in (found.train, found.rest, found.held_out):
        np.testing.assert_array_equal(pool.images[indices, 0, 0, 0], pool.labels[indices])


def test_seeds_choose_different_subsets() -> None:
    digits = load_digits()
    first, second = (set(split(digits, size=128, seed=seed).train) for seed in (0, 1))
    assert len(first & second) < 40  # 13 expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 1300, "held_out": 512}, ["data.size", "1300", "1285"]),
        ({"size": 700, "held_out": 512, "half": "A"}, ["data.size", "700", "643", "half A"]),
        ({"held_out": 1797}, ["data.held_out", "1797", "1796"]),
    ],
)
def test_too_much_asked_of_the_pool_is_named(settings: dict[str, object], words: list[str]) -> None:
    with pytest.raises(DataError) as error:
        split(load_digits(), **settings)  # type: ignore[arg-type]
    assert all(word in str(error.value) for word in words)


def test_content_changes_with_anything_that_matters() -> None:
    images, labels = np.zeros((2, 2, 2, 1), np.uint8), np.array([0, 1])
    pools = [
        Pool(images),
        Pool(images.reshape(2, 4, 1, 1)),
        Pool(images + np.uint8(1)),
        Pool(images, labels, ("a", "b")),
        Pool(images, labels[::-1].copy(), ("a", "b")),
        Pool(images, labels, ("a", "c")),
    ]
    assert len({content(pool) for pool in pools}) == len(pools)
    assert content(Pool(images.copy())) == content(pools[0])


def test_every_level_survives_scaling_and_rounding() -> None:
    levels = np.arange(256, dtype=np.uint8)
    x = scaled(levels)
    assert x.dtype == np.float32
    assert (x[0], x[255]) == (-1, 1)
    np.testing.assert_array_equal(to_uint8(x), levels)
    np.testing.assert_array_equal(to_uint8(np.array([-9.0, 9.0])), [0, 255])


def test_diverged_samples_are_not_rounded_to_anything() -> None:
    with pytest.raises(ValueError, match="NaN"):
        to_uint8(np.array([np.nan]))


MORE_THAN_AT_ONCE = np.random.default_rng(0).integers(0, 256, (1100, 32, 32, 1), np.uint8)
MORE_THAN_AT_ONCE[1024:] //= 8  # what comes last is darker


@pytest.mark.parametrize("images", [load_digits().images, load_circle(points=40).images, MORE_THAN_AT_ONCE])
def test_sigma_data_is_the_standard_deviation_over_all_values(images: np.ndarray) -> None:
    assert sigma_data(images) == pytest.approx(scaled(images).astype(np.float64).std(), rel=1e-6)


def test_digits_are_scikit_learns_with_sigma_data_of_three_quarters() -> None:
    pool = load_digits()
    assert pool.images.shape == (1797, 8, 8, 1)
    assert set(np.unique(pool.images)) == {round(level * 255 / 16) for level in range(17)}
    assert pool.classes == tuple("0123456789")
    assert sigma_data(pool.images[split(pool).rest]) == pytest.approx(0.75, abs=0.01)


def test_digits_are_the_same_where_scikit_learn_has_to_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from_file = load_digits()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    by_sklearn = load_digits()
    np.testing.assert_array_equal(from_file.images, by_sklearn.images)
    np.testing.assert_array_equal(from_file.labels, by_sklearn.labels)


def test_circle_is_the_toy_of_kaiser_and_kollmann() -> None:
    points = load_circle(points=20, phase=0.01).images
    angles = 2 * np.pi * (np.arange(20) / 20 + 0.01)
    np.testing.assert_allclose(points, 10 * np.c_[np.cos(angles), np.sin(angles)], rtol=1e-6)


@pytest.mark.parametrize(
    ("images", "labels", "classes", "word"),
    [
        (np.zeros((2, 2, 2, 2), np.uint8), None, (), "(2, 2, 2, 2)"),
        (np.zeros((2, 2, 2, 1), np.float32), None, (), "float32"),
        (np.zeros((0, 2, 2, 1), np.uint8), None, (), "nothing"),
        (np.array([[0], [np.inf]], np.float32), None, (), "point 1"),
        (np.zeros((2, 2, 2, 1), np.uint8), np.array([0, 2]), ("a", "b"), "label 2 of image 1"),
        (np.zeros((2, 2, 2, 1), np.uint8), np.array([0]), ("a",), "(1,)"),
    ],
)
def test_a_pool_that_breaks_its_promise_cannot_be_made(
    images: np.ndarray, labels: np.ndarray | None, classes: tuple[str, ...], word: str
) -> None:
    with pytest.raises(DataError) as error:
        Pool(images, labels, classes)
    assert word in str(error.value)
