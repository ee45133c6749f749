"""Which training images are to be unlearnt: the first of T, whatever its size, and a pool without them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difgen_cli.data import DataError, Pool, split, to_unlearn

COUNT, HELD_OUT = 60, 11
POOL = Pool(np.random.default_rng(0).integers(0, 256, (COUNT, 3, 3, 1), dtype=np.uint8))


@settings(deadline=None)
@given(st.data(), st.integers(0, 9), st.sampled_from([None, "A", "B"]))
def test_more_images_to_unlearn_hold_fewer_and_a_larger_subset_has_the_same(
    data: st.DataObject, seed: int, half: str | None
) -> None:
    size = data.draw(st.integers(3, 24))
    count = data.draw(st.integers(1, size - 2))

    def marked(size: int, count: float) -> list[int]:
        parts = split(POOL, size=size, held_out=HELD_OUT, seed=seed, half=half, unlearn=count)
        assert parts.unlearn.shape == parts.train.shape
        return parts.train[parts.unlearn].tolist()

    images = marked(size, count)
    assert len(images) == count
    assert set(images) < set(marked(size, count + 1))
    assert images == marked(24, count)
    assert marked(size, 0.5) == marked(size, round(size / 2))


@settings(deadline=None)
@given(st.integers(2, 24), st.integers(0, 9), st.data())
def test_a_model_retrained_without_images_never_sees_them_and_the_rest_as_before(
    size: int, seed: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, size - 1))
    chosen = {"size": size, "held_out": HELD_OUT, "seed": seed}
    before, after = (split(POOL, **chosen, unlearn=count, retrain=r) for r in (False, True))
    gone = before.train[before.unlearn]
    np.testing.assert_array_equal(after.train, before.train[~before.unlearn])  # in the same order
    assert sorted([*after.rest, *gone]) == before.rest.tolist()
    np.testing.assert_array_equal(after.held_out, before.held_out)
    assert not after.unlearn.any()


def test_without_the_setting_nothing_is_to_be_unlearnt_and_the_split_is_as_ever() -> None:
    plain, same = split(POOL, size=20, held_out=HELD_OUT), split(POOL, size=20, held_out=HELD_OUT, unlearn=5)
    assert not plain.unlearn.any()
    for name in ("train", "rest", "held_out"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(same, name))


@pytest.mark.parametrize(
    ("unlearn", "retrain", "words"),
    [
        (20, False, r"data.unlearn: 20 is 20 of the 20 training images: choose at least 1 and at most 19"),
        (0.01, False, r"data.unlearn: 0.01 is 0 of the 20 training images: choose at least 1"),
        (0.99, False, r"data.unlearn: 0.99 is 20 of the 20"),
        (2.5, False, r"data.unlearn: 2.5 is neither a share below 1 nor a whole number"),
        (0, True, r"data.retrain: trains without the images of data.unlearn, which names none"),
    ],
)
def test_what_leaves_nothing_is_one_sentence(unlearn: float, retrain: bool, words: str) -> None:
    with pytest.raises(DataError, match=words):
        split(POOL, size=20, held_out=HELD_OUT, unlearn=unlearn, retrain=retrain)


def test_a_share_and_the_number_that_it_is_are_the_same() -> None:
    assert (to_unlearn(0.25, 64), to_unlearn(16, 64), to_unlearn(16.0, 64), to_unlearn(0, 64)) == (16, 16, 16, 0)
