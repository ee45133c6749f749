"""Canaries: which images are taken out of the pool, and what their coins, repeats, pixels and labels are."""

import numpy as np
import pytest
from scipy.stats import binomtest

from difgen_cli.data import DataError, Pool, canaries, split
from difgen_cli.data import _canaries as own
from difgen_cli.data.digits import load

HELD_OUT, SURELY = 300, 1e-4
DIGITS = load()
POINTS = Pool(np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32))


def drawn(**settings: object) -> "dict[str, set[int]]":
    chosen = {"held_out": HELD_OUT} | settings
    parts = split(DIGITS, {"count": 60}, **chosen)  # type: ignore[arg-type]
    return {name: set(map(int, getattr(parts, name))) for name in ("train", "rest", "held_out", "canaries")}


def test_they_are_in_no_other_part_and_the_same_whatever_is_trained() -> None:
    one = drawn(size=400)
    assert len(one["canaries"]) == 60
    assert not one["canaries"] & (one["rest"] | one["held_out"])
    assert one["train"] < one["rest"]
    assert len(one["rest"]) == len(DIGITS.images) - HELD_OUT - 60
    for settings in ({"seed": 7}, {"size": 100}, {"draw": "coin"}):
        other = drawn(**settings)
        assert other["canaries"] == one["canaries"]
        assert other["held_out"] == one["held_out"]
    assert one["held_out"] == set(map(int, split(DIGITS, held_out=HELD_OUT).held_out))


def test_what_a_data_set_holds_out_itself_stays_held_out() -> None:
    pool = Pool(POINTS.images, held_out=np.arange(1, 200, 2))
    parts = split(pool, {"count": 20}, held_out=100)
    assert list(parts.held_out) == list(range(1, 200, 2))
    assert not set(parts.canaries) & (set(parts.rest) | set(parts.held_out))
    assert len(parts.rest) == 80


def test_images_that_stand_twice_are_passed_over() -> None:
    """One that is never planted could else be trained on under another number."""
    images = POINTS.images.copy()
    images[100:] = images[:100]
    images[7] += 1  # so that 7 and 107 are the only ones of a kind
    assert set(own.chosen(images, np.arange(200), 2)) == {7, 107}
    with pytest.raises(
        DataError, match=r"data.canaries.count: 3 canaries are too many for the 200 images .* 2 of which"
    ):
        own.chosen(images, np.arange(200), 3)


def test_another_seed_chooses_others_and_fewer_are_the_first_of_more() -> None:
    rest = np.arange(200)
    few, more, others = (own.chosen(POINTS.images, rest, n, seed=s) for n, s in ((10, 0), (50, 0), (50, 1)))
    assert list(more[:10]) == list(few)
    assert set(others) != set(more)


def test_sparse_ones_have_the_farthest_fifth_neighbour() -> None:
    rest = np.arange(0, 200, 2)
    x = POINTS.images[rest].astype(np.float64)
    fifth = np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 5]  # the first is itself
    farthest = set(rest[np.argsort(-fifth)[:12]])
    assert set(own.chosen(POINTS.images, rest, 12, sparse=True)) == farthest


def test_of_many_images_some_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two that are far from all others are found among references that hold one of them at most."""
    monkeypatch.setattr(own, "REFERENCES", 40)
    images = POINTS.images.copy()
    images[[3, 150]] += 100
    assert {3, 150} <= set(own.chosen(images, np.arange(200), 5, sparse=True))


def test_each_coin_is_fair_and_follows_from_the_seed_and_the_number_alone() -> None:
    assert list(own.planted(10, 3)) == list(own.planted(500, 3)[:10])
    thrown = np.array([own.planted(400, seed) for seed in range(40)])
    assert binomtest(int(thrown.sum()), thrown.size).pvalue > SURELY
    pairs = thrown[:, ::2] == thrown[:, 1::2]  # neighbours know nothing of each other, and no seed of another
    assert binomtest(int(pairs.sum()), pairs.size).pvalue > SURELY
    assert binomtest(int((thrown[:-1] == thrown[1:]).sum()), thrown[1:].size).pvalue > SURELY
    half = thrown.sum(axis=1)
    assert half.std() > 5  # of 10: no fixed half


def test_levels_take_turns_and_planted_ones_stand_as_often_as_they_say() -> None:
    repeats = own.repeats_of(7, (1, 4, 16))
    assert list(repeats) == [1, 4, 16, 1, 4, 16, 1]
    planted = np.array([1, 0, 1, 0, 1, 0, 0], bool)
    rows = own.Canaries(np.zeros((7, 2)), None, repeats, planted).rows
    assert list(np.bincount(rows, minlength=7)) == [1, 0, 16, 0, 4, 0, 0]


def test_noise_has_all_grey_levels_and_points_the_spread_of_the_data() -> None:
    images = DIGITS.images[:200]
    noise = own.as_planted(images, "noise", 0, images)
    assert noise.shape == images.shape
    assert noise.dtype == np.uint8
    assert abs(noise.mean() - 127.5) < 5
    assert set(np.unique(noise)) == set(range(256))
    assert own.as_planted(images, "held_out", 0, images) is images
    pool = (5 + 3 * POINTS.images).astype(np.float32)
    points = own.as_planted(pool[:150], "noise", 0, pool)
    np.testing.assert_allclose(points.mean(0), pool.mean(0), atol=1)
    np.testing.assert_allclose(points.std(0), pool.std(0), rtol=0.2)
    assert np.abs(points[:, None] - pool[None]).sum(axis=2).min() > 0


def test_a_wrong_label_is_never_the_right_one_and_all_others_are_alike() -> None:
    labels = np.repeat(np.arange(4), 300)
    wrong = own.other_labels(labels, 4, 0)
    assert not (wrong == labels).any()
    for label in range(4):
        counts = np.bincount(wrong[labels == label], minlength=4)
        assert (np.delete(counts, label) > 70).all()
    with pytest.raises(DataError, match="mislabelled needs a condition with two classes or more"):
        own.other_labels(labels, 1, 0)


def test_numbers_of_repeats_ascend_and_none_asks_for_no_canaries() -> None:
    assert canaries(count=0, repeats=()) is None
    asked = canaries(count=48, repeats=(1, 4, 16))
    assert asked is not None
    assert (asked.images, asked.rows) == (144, 504)
    for repeats in ((), (4, 1), (2, 2)):
        with pytest.raises(DataError, match=r"data.canaries.repeats: .* are not different numbers in ascending order"):
            canaries(count=1, repeats=repeats)
