"""The short form of `make coverage`: one hard world for each metric, with fewer draws."""

from __future__ import annotations

import numpy as np
import pytest
from claiming import CLAIMS, ShareOfClaim, Unused
from controls import CONTROLS, MadeAgain, OfRepeats, Randomised, RandomSplit
from drawing import ends
from following import FOLLOWING, Depending, Forgetting, GivenImages, LeftOpen, WalkedBack
from further import FURTHER, Seeds
from looks import LOOKS, Partition, Rare
from reconstructing import RECONSTRUCTING, Reconstructing
from scipy.stats import binom
from seeds_of_a_pool import SEEDS_OF_A_POOL, SeedsOfAPool, SparseFirst
from simulate import LEAST, MOST, Coverage, coverages, draw
from worlds import WORLDS, Copies, Digits, Ends, Features, Grouped, Modes, Planted, Preferring, World

pytestmark = pytest.mark.long

DRAWS = 200
HARD = (
    *(Copies(0.1), Preferring(16, 0.4), Modes(100), Grouped(0.3, 0.5)),
    *(Digits(16, unseen=True), Features(1.6), Planted(0.3), Seeds(0.002, 0.001), Seeds(0.999)),
    *(RandomSplit(64), MadeAgain(1000, 1000), Randomised(1, 200), Randomised(2, 200, seeds=3)),
    *(Partition(0.4, 3, 4, 200), Rare(0.7)),
    *(SeedsOfAPool(3), SeedsOfAPool(3, 0.5), SparseFirst(3, 0.15)),
    OfRepeats(1, 40),
    *(Unused("twins"), Unused("copies"), Unused("images"), Unused("models", 4, 0.3), ShareOfClaim(0.5)),
    *(Forgetting(128, 0.5), WalkedBack(40), Depending(32), LeftOpen(32), GivenImages(128, 64)),
    Reconstructing(128, 0.3),
)
FEW = (Modes(1), Modes(3), Modes(10), Modes(300, most=0.9))  # images among the samples: no interval holds
ALARM = 0.001  # chance that an interval which covers 92 % or 98 % of the time fails


def bounds(draws: int) -> tuple[int, int]:
    """The counts that are too improbable below, and above, for a coverage within the range."""
    return int(binom.ppf(ALARM, draws, LEAST)), int(binom.isf(ALARM, draws, MOST))


@pytest.mark.parametrize("world", HARD, ids=repr)
def test_intervals_cover_what_they_are_for(world: World) -> None:
    assert world in (*WORLDS, *FURTHER, *CONTROLS, *SEEDS_OF_A_POOL, *LOOKS, *CLAIMS, *FOLLOWING, *RECONSTRUCTING)
    for found in coverages(world, draw(world, range(DRAWS))):
        least, most = bounds(found.told)
        assert least <= found.covered <= most, found
        assert found.null <= 0.1 * DRAWS, found


@pytest.mark.parametrize("world", FEW, ids=repr)
def test_samples_that_are_few_images_have_no_interval(world: World) -> None:
    assert world in WORLDS
    (found,) = coverages(world, draw(world, range(20)))
    assert (found.null, found.told) == (20, 0)
    assert found.honest


def test_a_test_over_images_of_one_kind_is_found_out() -> None:
    """It takes for use what all images of a kind have in common in one model."""
    (found,) = coverages(Unused("over images"), draw(Unused("over images"), range(DRAWS)))
    assert found.covered < bounds(DRAWS)[0]
    assert not found.honest


def test_an_interval_that_is_too_narrow_is_found_out() -> None:
    """Of a mean with known error: as it should be, and 0.7 times as wide."""

    class Means:
        def truth(self) -> dict[str, np.ndarray]:
            return {"mean": np.array([0.0])}

        def intervals(self, draw: int, half_width: float = 1.96) -> Ends:
            mean = np.random.default_rng(draw).standard_normal(1)
            return {"mean": (mean - half_width, mean + half_width)}

    def found(half_width: float) -> Coverage:
        (coverage,) = coverages(Means(), [Means().intervals(k, half_width) for k in range(2000)])
        assert coverage.covered + coverage.above + coverage.below == 2000
        return coverage

    assert found(1.96).honest
    assert not found(1.37).honest
    assert found(1.37).share == pytest.approx(0.83, abs=0.025)
    assert not found(2.8).honest


def test_a_band_covers_where_all_of_its_levels_do() -> None:
    class Band:
        def truth(self) -> dict[str, np.ndarray]:
            return {"gap": np.array([1.0, 2.0])}

        def intervals(self, draw: int) -> Ends:
            raise NotImplementedError

    ends = [(0, 0, 3, 3), (0, 2.5, 3, 3), (0, 0, 0.5, 3), (1.5, 0, 3, 1.5)]
    drawn: list[Ends] = [{"gap": (np.array(e[:2], float), np.array(e[2:], float))} for e in ends]
    (found,) = coverages(Band(), drawn)
    assert (found.covered, found.above, found.below) == (1, 2, 2)


def test_draws_without_an_interval_count_apart() -> None:
    class Refusing:
        may_be_null = True

        def truth(self) -> dict[str, np.ndarray]:
            return {"mean": np.array(0.0)}

        def intervals(self, draw: int) -> Ends:
            return ends(
                {"mean_lo": None, "mean_hi": None} if draw % 2 else {"mean_lo": -1, "mean_hi": 1}, "mean", null=True
            )

    (found,) = coverages(Refusing(), [Refusing().intervals(k) for k in range(20)])
    assert (found.draws, found.null, found.told, found.covered, found.share) == (20, 10, 10, 10, 1)
    with pytest.raises(ValueError, match="no interval for mean"):
        ends({"mean_lo": None, "mean_hi": None}, "mean")
