"""Training subsets by coins: which images, however they are asked for, and as independent as coins are."""

import numpy as np
import pytest
from scipy.stats import chi2

from difgen_cli.data import DataError, Pool, split

COUNT, HELD_OUT = 61, 11
POOL = Pool(np.random.default_rng(0).integers(0, 256, (COUNT, 3, 3, 1), dtype=np.uint8))
SURELY = 1e-4  # chance that fair coins look like others


def drawn(seed: int, **settings: object) -> np.ndarray:
    """(COUNT,) bool, who is trained on."""
    chosen = {"held_out": HELD_OUT, "seed": seed, "draw": "coin"} | settings
    inside = np.zeros(COUNT, bool)
    inside[split(POOL, **chosen).train] = True  # type: ignore[arg-type]
    return inside


def worlds(seeds: int, **settings: object) -> np.ndarray:
    """(seeds, pool) bool of the images that are not held out."""
    rest = split(POOL, held_out=HELD_OUT).rest
    return np.array([drawn(seed, **settings) for seed in range(seeds)])[:, rest]


def test_an_image_has_the_same_coin_whoever_is_held_out() -> None:
    for seed in range(20):
        one, other = (split(POOL, held_out=11, held_out_seed=s, seed=seed, draw="coin") for s in (0, 7))
        in_both = np.intersect1d(one.rest, other.rest)
        np.testing.assert_array_equal(np.isin(in_both, one.train), np.isin(in_both, other.train))
        assert set(one.train) <= set(one.rest)


def test_fewer_expected_images_are_the_first_of_more() -> None:
    whole = split(POOL, size=49, held_out=HELD_OUT, draw="coin").train
    for size in range(10, 49):
        train = split(POOL, size=size, held_out=HELD_OUT, draw="coin").train
        np.testing.assert_array_equal(train, whole[: len(train)])
    assert sorted(whole) != whole.tolist()  # in random order


@pytest.mark.parametrize(("size", "share"), [(None, 0.5), (25, 0.5), (10, 0.2), (40, 0.8)])
def test_every_image_is_in_by_its_own_coin(size: int | None, share: float) -> None:
    """Chi-square of each image's count over seeds, of the number of images, and of every pair's agreement."""
    inside = worlds(1000, size=size)
    (seeds, pool), variance = inside.shape, share * (1 - share)
    of_image = ((inside.sum(0) - seeds * share) ** 2 / (seeds * variance)).sum()
    assert chi2.cdf(of_image, pool) == pytest.approx(0.5, abs=0.5 - SURELY)
    sizes = inside.sum(1)  # binomial: a sample of a fixed size would have the variance 0
    assert sizes.mean() == pytest.approx(pool * share, abs=4 * np.sqrt(pool * variance / seeds))
    assert chi2.cdf((seeds - 1) * sizes.var(ddof=1) / (pool * variance), seeds - 1) == pytest.approx(0.5, abs=0.4999)
    together = np.corrcoef(inside.T)[np.triu_indices(pool, 1)]
    pairs = seeds * (together**2).sum()
    assert chi2.cdf(pairs, len(together)) == pytest.approx(0.5, abs=0.5 - SURELY)
    one_after_another = np.corrcoef(inside[:-1].ravel(), inside[1:].ravel())[0, 1]
    assert abs(one_after_another) < 4 / np.sqrt((seeds - 1) * pool)


def test_half_of_an_odd_pool_is_by_fair_coins_whichever_half() -> None:
    pool = Pool(POOL.images[:51])
    halves = [split(pool, size=size, held_out=0, draw="coin").train for size in (25, 26, None)]
    for train in halves:
        np.testing.assert_array_equal(train, halves[0])
    assert len(split(pool, size=24, held_out=0, draw="coin").train) <= len(halves[0])


def test_a_sample_is_as_ever() -> None:
    parts = split(POOL, size=20, held_out=HELD_OUT, seed=3, draw="sample")
    np.testing.assert_array_equal(parts.train, np.random.default_rng(3).permutation(parts.rest)[:20])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"half": "A"}, "data.half: half A of the pool is chosen by its number"),
        ({"unlearn": 4}, "data.unlearn: is part of a training subset of a known number"),
        ({"size": 50}, "data.size: by data.draw: coin 50 of 50 images leave nothing to chance; use at most 49"),
    ],
)
def test_what_coins_cannot_decide_alone_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        drawn(0, **settings)


def test_coins_that_choose_nobody_are_one_sentence() -> None:
    pool = Pool(POOL.images[:3])

    def draw_often() -> None:
        for seed in range(40):
            split(pool, held_out=1, seed=seed, draw="coin")

    with pytest.raises(DataError, match=r"data.draw: by coins none of the 2 images"):
        draw_often()
