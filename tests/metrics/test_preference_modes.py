"""Training preference where samples are few images, of one colour, or in groups, and where T holds images twice."""

from collections.abc import Callable

import numpy as np
import pytest
from test_preference import parts, shared, values_of

from difgen_cli.metrics import preference
from difgen_cli.metrics._contests import compete, draw_sides, spread
from difgen_cli.metrics.preference import constant, fieller, measure
from difgen_cli.neighbours import mirror

ENDS = ("train_pref_lo", "train_pref_hi", "train_pref_excess_lo", "train_pref_excess_hi", "train_pref_share_lo")


def by_hand(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> tuple[float, float]:
    """train_pref and its control by all distances in float64, as version 1 has them."""
    images = min(len(train), len(held_out) - max(1, len(held_out) // 8))

    def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([np.sqrt(((b.astype(np.float64) - one) ** 2).sum(axis=(1, 2, 3))) for one in a])

    def score(queries: np.ndarray, in_train: np.ndarray, in_held_out: np.ndarray) -> float:
        to_train, to_others = apart(queries, train[in_train]).min(axis=1), apart(queries, held_out[in_held_out])
        to_others.sort(axis=1)
        others = np.where(to_others[:, 0] == 0, to_others[:, 1], to_others[:, 0])
        return float(((np.sign(others - to_train) + 1) / 2).mean())

    sides = draw_sides(len(train), len(held_out), images, 5)
    own = [score(samples, *side) for side in sides]
    control = [score(np.delete(held_out, side[1], axis=0), *side) for side in sides]
    return float(np.mean(own)), float(np.mean(control))


@pytest.mark.parametrize(("size", "held_out"), [(40, 200), (150, 80)])
def test_without_repeats_the_values_are_those_of_version_1_to_the_last_bit(size: int, held_out: int) -> None:
    train, others, honest = parts(10, size, held_out, 60)
    samples = np.concatenate([honest, train[:20], others[:5]])
    values = values_of(samples, train, others)
    own, control = by_hand(samples, train, others)
    assert (values["train_pref"], values["train_pref_control"]) == (own, control)
    assert values["train_pref_excess"] == own - control


# Repeats -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0, 0.02])
def test_images_that_stand_twice_in_t_or_in_h_are_one(noise: float) -> None:
    """With all of T twice version 1 read .67 for copies, past its ceiling of one half."""
    train, held_out = parts(11, 60, 300)

    def twice(images: np.ndarray) -> np.ndarray:
        again = images + np.float32(noise) * np.random.default_rng(0).choice([-1, 1], images.shape).astype(np.float32)
        return np.concatenate([images, again])

    once = values_of(train, train, held_out)
    assert once["train_pref_images"] == 60
    assert values_of(train, twice(train), held_out) == once
    assert values_of(train, train, twice(held_out)) == once
    assert once["train_pref_excess"] == once["train_pref_copycat"] == pytest.approx(0.5, abs=0.1)


def test_mirror_images_in_t_are_one_image_where_training_showed_them() -> None:
    train, held_out = parts(12, 40, 200)
    both = np.concatenate([train, mirror(train)])
    found = [measure(train, both, held_out, shared, mirrored).values["train_pref_images"] for mirrored in (True, False)]
    assert found == [40, 80]


def test_repeats_that_leave_a_single_held_out_image_are_no_measure() -> None:
    train, held_out = parts(13, 20, 1)
    values = values_of(train, train, np.repeat(held_out, 30, axis=0))
    assert values["train_pref_images"] == 0
    assert values["train_pref"] is values["train_pref_control"] is None


# Few images ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0, 0.01])
@pytest.mark.parametrize("modes", [1, 3, 9])
def test_fewer_than_ten_images_among_the_samples_are_no_claim(modes: int, noise: float) -> None:
    """Version 1 gave intervals that held for 4 to 80 % of such samples."""
    train, held_out, honest = parts(14, 64, 400, modes)
    rng = np.random.default_rng(0)
    samples = np.repeat(honest, 900 // modes, axis=0)
    samples = samples + np.float32(noise) * rng.standard_normal(samples.shape).astype(np.float32)
    values = values_of(samples, train, held_out)
    assert values["train_pref_distinct"] == modes
    assert values["train_pref_winners"] <= modes + 1
    assert 0 <= values["train_pref"] <= 1
    assert all(values[name] is None for name in (*ENDS, "train_pref_excess", "train_pref_share"))
    assert values["train_pref_control_lo"] < 0.5 < values["train_pref_control_hi"]


def test_one_image_that_is_most_of_the_samples_is_no_claim() -> None:
    train, held_out, honest = parts(15, 64, 400, 100)
    samples = np.concatenate([honest, np.repeat(honest[:1], 900, axis=0)])
    values = values_of(samples, train, held_out)
    assert values["train_pref_distinct"] == 100
    assert values["train_pref_winners"] < 2
    assert all(values[name] is None for name in ENDS)
    assert values["train_pref_excess"] == values["train_pref"] - values["train_pref_control"]


def test_many_modes_make_a_claim_as_wide_as_their_number_allows() -> None:
    train, held_out, honest = parts(16, 128, 500, 400)
    few, many = (values_of(np.repeat(honest[:n], 1200 // n, axis=0), train, held_out) for n in (30, 400))
    assert (few["train_pref_distinct"], many["train_pref_distinct"]) == (30, 400)
    widths = [v["train_pref_excess_hi"] - v["train_pref_excess_lo"] for v in (few, many)]
    assert widths[0] > 2 * 1.96 * 0.05  # a coin for each of 30, averaged over five draws of H, has .06 to .09
    assert widths[1] < 0.6 * widths[0]
    assert few["train_pref_excess_lo"] < 0 < few["train_pref_excess_hi"]


def test_twelve_modes_that_all_copy_show_no_more_than_twelve_images_can() -> None:
    train, held_out = parts(17, 128, 500)
    values = values_of(np.repeat(train[:12], 80, axis=0), train, held_out)
    assert values["train_pref"] == values["train_pref_hi"] == 1
    assert values["train_pref_lo"] == pytest.approx(12 / (12 + 1.959964**2))  # Wilson's for twelve of twelve
    assert values["train_pref_excess_lo"] <= values["train_pref_lo"] - values["train_pref_control"] + 1e-12


# One colour ----------------------------------------------------------------------------------------------------------


def test_a_constant_image_is_one_colour_in_every_channel() -> None:
    images = np.zeros((4, 5, 5, 3), np.float32)
    images[1] = (0.1, 0.2, 0.3)
    images[2, 0, 0, 1] = 1e-3
    images[3, :, :, 2] = np.linspace(0, 1, 5)
    assert constant(images).tolist() == [True, True, False, False]
    assert not constant(np.zeros((3, 2), np.float32)).any()  # points have no colour
    assert not constant(np.zeros((3, 1, 1, 3), np.float32)).any()


def test_samples_of_one_colour_are_left_out_and_counted() -> None:
    """A constant grey image read "nearer to the training images" in version 1."""
    train, held_out, honest = parts(18, 64, 400, 200)
    grey = np.linspace(-1, 1, 100, dtype=np.float32)[:, None, None, None] * np.ones((1, *train.shape[1:]), np.float32)
    alone = values_of(grey, train, held_out)
    assert (alone["train_pref_constant"], alone["train_pref_distinct"]) == (100, 0)
    assert all(alone[name] is None for name in (*ENDS, "train_pref", "train_pref_excess", "train_pref_winners"))
    assert alone["train_pref_control_lo"] is not None
    mixed, without = values_of(np.concatenate([grey, honest]), train, held_out), values_of(honest, train, held_out)
    assert mixed == without | {"train_pref_constant": 100}


# The copycat ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "held_out"), [(60, 300), (400, 120)])
def test_the_copycat_is_what_t_itself_reads(size: int, held_out: int) -> None:
    train, others = parts(19, size, held_out)
    values = values_of(train, train, others)
    assert values["train_pref_copycat"] == pytest.approx(values["train_pref_excess"], abs=1e-12)
    assert values["train_pref_copycat"] == pytest.approx(0.5 * values["train_pref_images"] / size, abs=0.12)


def test_the_copycat_is_right_where_not_all_images_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    train, others = parts(19, 400, 120)
    whole = values_of(train, train, others, draws=60)["train_pref_copycat"]
    monkeypatch.setattr(preference, "OUTSIDE", 30)
    assert values_of(train, train, others, draws=60)["train_pref_copycat"] == pytest.approx(whole, abs=0.03)


@pytest.mark.parametrize(("size", "held_out"), [(60, 300), (300, 250)])
def test_the_share_is_one_for_copies_and_zero_for_unseen_images(size: int, held_out: int) -> None:
    train, others, honest = parts(27, size, held_out, 600)
    rng = np.random.default_rng(0)
    copies = train[rng.integers(size, size=600)] + np.float32(1e-3)
    shares = [values_of(g, train, others) for g in (copies, honest, np.concatenate([copies[:300], honest[:300]]))]
    for values, truth in zip(shares, (1, 0, 0.5), strict=True):
        assert values["train_pref_share"] == values["train_pref_excess"] / values["train_pref_copycat"]
        assert values["train_pref_share_lo"] <= truth + 1e-9 <= values["train_pref_share_hi"] + 2e-9
    assert shares[0]["train_pref_share_lo"] > shares[1]["train_pref_share_hi"]


def test_a_copycat_that_is_not_surely_above_0_gives_no_share() -> None:
    """As at 1,200 training and 256 held-out images, where an exact copier reads .05 [−.04, .14]."""
    train, others = parts(21, 1500, 60)
    values = values_of(train[:500], train, others)
    assert 0 < values["train_pref_copycat"] < 0.1
    assert values["train_pref_share"] is values["train_pref_share_lo"] is None
    assert values["train_pref_excess_lo"] is not None


def test_fieller_gives_the_ratios_that_are_not_refuted() -> None:
    over, under, variance, common, limit, t = 0.2, 0.4, 0.01, 0.004, 0.006, 2.1
    ratios = np.linspace(-1, 4, 500001)
    fits = abs(over - ratios * under) <= t * np.sqrt(variance - 2 * ratios * common + ratios**2 * limit)
    found = fieller(over, under, variance, common, limit, t)
    assert found == pytest.approx((ratios[fits].min(), ratios[fits].max()), abs=1e-4)
    assert fieller(over, 0.1, variance, common, limit, t) is None
    assert fieller(0.2, 0.5, 0.0, 0.0, 0.0, t) == pytest.approx((0.4, 0.4))


# Variances -----------------------------------------------------------------------------------------------------------


def test_the_variance_is_that_over_all_ways_of_dealing_images_out_to_t_and_h() -> None:
    train, held_out, honest = parts(22, 50, 50, 400)
    rng, everyone = np.random.default_rng(0), np.arange(50)
    unit, side = np.arange(400), [(everyone, everyone)]
    contests = compete(honest, unit, train, held_out, side)
    winners = contests[0].winner
    dealt = [(rng.permutation(100) < 50)[winners].mean() for _ in range(20_000)]
    found = spread(contests, side, 50, 50)
    assert found.added == pytest.approx(
        0, abs=1e-15
    )  # a sample and its winner are in one draw what they are in the other
    assert found.variance == pytest.approx(np.var(dealt), rel=0.15)


def test_units_add_what_the_images_that_decide_do_not_show() -> None:
    """Ten prompts of which each copies wholly or not at all: the share of copies is drawn for ten, not for 500."""
    rng = np.random.default_rng(0)
    train, held_out, honest = parts(23, 100, 600, 500)
    copies = np.repeat(np.arange(10) < 4, 50)
    samples = np.where(copies[:, None, None, None], train[rng.integers(100, size=500)] + np.float32(1e-3), honest)
    groups = np.repeat(np.arange(10), 50)
    grouped, plain = (measure(samples, train, held_out, shared, groups=g).values for g in (groups, None))
    widths = [v["train_pref_excess_hi"] - v["train_pref_excess_lo"] for v in (grouped, plain)]
    between = np.sqrt(0.4 * 0.6 / 10) / 2  # of a mean of ten that are 1 or about 1/2
    assert widths[0] > 2 * 1.96 * between > 1.5 * widths[1]
    for name in (
        "train_pref",
        "train_pref_excess",
        "train_pref_distinct",
        "train_pref_winners",
        "train_pref_control_lo",
    ):
        assert grouped[name] == plain[name]


@pytest.mark.parametrize(("groups", "told"), [(4, False), (5, True)])
def test_below_five_groups_there_is_no_interval(groups: int, told: bool) -> None:
    train, held_out, honest = parts(24, 64, 300, 300)
    values = measure(honest, train, held_out, shared, groups=np.arange(300) % groups * 7 + 3).values
    assert all((values[f"{name}_lo"] is not None) == told for name in ("train_pref", "train_pref_excess"))
    assert values["train_pref_control_lo"] is not None


def test_groups_of_samples_of_one_colour_do_not_count() -> None:
    train, held_out, honest = parts(25, 64, 300, 300)
    grey = np.zeros((200, *train.shape[1:]), np.float32)
    groups = np.concatenate([np.arange(300) % 4, 10 + np.arange(200)])
    values = measure(np.concatenate([honest, grey]), train, held_out, shared, groups=groups).values
    assert values["train_pref_excess_lo"] is None


def test_what_snapshots_share_is_computed_once_and_gives_the_same() -> None:
    kept: dict[str, dict[str, np.ndarray]] = {}

    def once(name: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return kept.setdefault(name, compute())

    train, held_out, honest = parts(26, 80, 300, 200)
    first = measure(honest, train, held_out, once).values
    assert all(isinstance(array, np.ndarray) for array in kept["preference"].values())
    assert measure(honest, train, held_out, lambda name, _: kept[name]).values == first
