"""Canaries measured: models of known epsilon, one that tells all, copies by repeats, and what must not matter."""

import numpy as np
import pytest
import torch
from denoisers import Wiener, gaussian
from scipy.stats import binom
from torch import Tensor, nn

from difgen_cli.data import Canaries, scaled, sigma_data, split
from difgen_cli.data._canaries import repeats_of
from difgen_cli.data.digits import load
from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics._epsilon import epsilon_of, least, least_gaussian, most
from difgen_cli.metrics.canaries import COLUMNS, TABLES, measure
from difgen_cli.metrics.memorization import measure as memorization
from difgen_cli.neighbours import mirror

REPEATS = (1, 4, 16)
NOTHING = np.zeros((1, 4), np.float32)


class Knowing(nn.Module):
    """Knows the images that it was told of, by their first value, and makes zeros of all others."""

    def __init__(self, images: np.ndarray, remembered: np.ndarray) -> None:
        super().__init__()
        self.sigma_data, self.images, self.remembered = 1.0, to_tensor(images), torch.from_numpy(remembered)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        nearest = (x[:, :1] - self.images[None, :, 0]).abs().argmin(1)
        return self.images[nearest] * self.remembered[nearest, None]


def numbered(count: int) -> np.ndarray:
    """(count, 4) points that noise of 0.25 does not confuse."""
    return np.repeat(100.0 * np.arange(1, count + 1)[:, None], 4, axis=1).astype(np.float32)


def planted(count: int, rng: np.random.Generator, images: np.ndarray | None = None) -> Canaries:
    x = numbered(count) if images is None else images
    return Canaries(x, None, repeats_of(count, REPEATS), rng.random(count) < 0.5)


def digits(seed: int, count: int = 90) -> tuple[Canaries, np.ndarray, float]:
    """Canaries among digits, T without them, σ_d."""
    pool = load()
    parts = split(pool, {"count": count}, held_out=1400, seed=seed)
    rng = np.random.default_rng(seed)
    return (
        planted(count, rng, scaled(pool.images[parts.canaries])), scaled(pool.images[parts.train]),
        sigma_data(pool.images[parts.rest]),
    )  # fmt: skip


def shown_with(canaries: Canaries, train: np.ndarray) -> np.ndarray:
    return np.concatenate([train, canaries.images[canaries.rows]])


def test_the_ideal_denoiser_finds_all_canaries_and_copies_the_planted_ones_alone() -> None:
    canaries, train, sigma_d = digits(1)
    denoiser = IdealDenoiser(to_tensor(shown_with(canaries, train)), sigma_d)
    result = measure(denoiser, shown_with(canaries, train), train, canaries, sigma_d, guesses=20)
    values, levels, each = result.values, result.tables["canary_levels"], result.tables["canaries"]
    assert set(values) == set(COLUMNS)
    assert {name: set(table) for name, table in result.tables.items()} == {k: set(v) for k, v in TABLES.items()}
    assert values["canary_right"] == values["canary_guesses"] == 60
    assert values["canary_eps_group"] == values["canary_eps_most"] == least(20, 20, level=1 - 0.05 / 3)
    assert values["canary_eps_row"] == values["canary_eps_group"]  # of those that are planted once
    assert list(levels["repeats"]) == list(REPEATS)
    assert list(levels["eps_least"]) == [most(20)] * 3
    np.testing.assert_allclose(levels["eps_row"], most(20) / np.array(REPEATS))
    np.testing.assert_allclose(levels["eps_gauss"], epsilon_of(least_gaussian(20, 20, 30), 1e-5))
    assert values["canary_extracted"] == 1
    assert values["canary_extracted_control"] == 0
    assert list(each["copied"]) == list(np.where(canaries.planted, canaries.repeats, 0))
    assert values["canary_rows"] == each["copied"].sum() == len(canaries.rows)
    low, high = each["score"][~canaries.planted].max(), each["score"][canaries.planted].min()
    assert low < high


def test_a_model_that_saw_no_canary_shows_nothing() -> None:
    """The same scores in every world of coins: epsilon 0 is covered, for all numbers of repeats at once."""
    images, rng, above = gaussian(90, 1), np.random.default_rng(0), 0
    for _ in range(80):
        values = measure(Wiener(0.7), NOTHING[:, :1], NOTHING[:, :1], planted(90, rng, images[:, :1]), 0.7).values
        above += values["canary_eps_group"] > 0  # type: ignore[operator]
    assert above <= 12  # 4 expected; P(more) < 2e-4


@pytest.mark.parametrize("epsilon", [1.0, 2.0])
def test_randomised_response_is_covered_for_all_repeats_at_once(epsilon: float) -> None:
    """A model that knows each coin with the truth of e^ε to 1, whatever the repeats: so large is a group's epsilon."""
    images, rng, bounds, rows = numbered(300), np.random.default_rng(7), list[float](), list[float]()
    for _ in range(40):
        canaries = planted(300, rng)
        honest = rng.random(300) < np.exp(epsilon) / (1 + np.exp(epsilon))
        model = Knowing(images, canaries.planted == honest)
        values = measure(model, NOTHING, NOTHING, canaries, 1.0, guesses=80).values
        bounds.append(float(values["canary_eps_group"] or 0))
        rows.append(float(values["canary_eps_row"] or 0))
    assert sum(bound > epsilon for bound in bounds) <= binom.isf(1e-3, 40, 0.05)
    assert 0.4 * epsilon < np.mean(bounds) < epsilon
    assert np.mean(rows) < np.mean(bounds)


def test_one_coin_for_eight_canaries_together_is_seen_to_fail() -> None:
    """The fault that one coin for each canary prevents: luck counts eight times."""
    images, rng, above = numbered(64), np.random.default_rng(3), 0
    for _ in range(60):
        together = np.repeat(rng.random(8) < 0.5, 8)
        honest = np.repeat(rng.random(8) < np.e / (1 + np.e), 8)
        canaries = Canaries(images, None, np.ones(64, np.int64), together)
        values = measure(Knowing(images, together == honest), NOTHING, NOTHING, canaries, 1.0, guesses=16).values
        above += values["canary_eps_group"] > 1  # type: ignore[operator]
    assert above > binom.isf(1e-4, 60, 0.05)  # about half of them


def test_copies_are_asked_of_canaries_and_training_images_alike() -> None:
    """A copy of T is none of a canary; one of a canary is none of T, and T is what memorization sees."""
    canaries, train, sigma_d = digits(2)
    model = Wiener(sigma_d)
    copies_of_T = measure(model, train[:50], train, canaries, sigma_d)
    assert copies_of_T.tables["canaries"]["copied"].sum() == 0
    one = measure(model, canaries.images[[5, 5, 8]], train, canaries, sigma_d)
    assert list(np.flatnonzero(one.tables["canaries"]["copied"])) == [5, 8]
    assert one.tables["canaries"]["copied"][5] == 2
    unseen = memorization(canaries.images, train, train[:10], lambda _, compute: compute()).values
    assert unseen["mem_frac"] == 0


def test_a_canary_that_is_nearly_a_training_image_counts_for_no_copy() -> None:
    canaries, train, sigma_d = digits(2)
    near = train.copy()
    near[:2] = canaries.images[:2] + np.float32(0.01)
    result = measure(Wiener(sigma_d), canaries.images, near, canaries, sigma_d)
    assert list(np.flatnonzero(~result.tables["canaries"]["apart"])) == [0, 1]
    levels = result.tables["canary_levels"]
    assert levels["examined"].sum() + levels["examined_control"].sum() == 88
    assert result.values["canary_extracted"] == result.values["canary_extracted_control"] == 1


def test_mirror_images_count_where_training_showed_them() -> None:
    canaries, train, sigma_d = digits(1)
    turned = mirror(canaries.images)
    plain, mirrored = (measure(Wiener(sigma_d), turned, train, canaries, sigma_d, m).values for m in (False, True))
    assert mirrored["canary_extracted"] == 1
    assert plain["canary_extracted"] == pytest.approx(0, abs=0.05)
    flipped = Canaries(turned, None, canaries.repeats, canaries.planted)
    sides = [measure(Wiener(sigma_d), train[:2], train, c, sigma_d, True) for c in (canaries, flipped)]
    np.testing.assert_allclose(*(side.tables["canaries"]["score"] for side in sides), rtol=1e-6)


def test_a_canary_is_scored_under_the_label_that_it_is_planted_with() -> None:
    class OwnLabel(nn.Module):
        sigma_data = 1.0

        def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
            assert labels is not None
            return 100.0 * labels[:, None].expand_as(x)

    labels, rng = np.arange(1, 31), np.random.default_rng(0)
    coins = rng.random(30) < 0.5
    canaries = Canaries(numbered(30), np.where(coins, labels, 40), np.ones(30, np.int64), coins)
    values = measure(OwnLabel(), NOTHING, NOTHING, canaries, 1.0, guesses=20).values  # type: ignore[arg-type]
    assert values["canary_right"] == 20


@pytest.mark.parametrize(("count", "given"), [(160, False), (280, True)])
def test_a_true_positive_rate_needs_a_hundred_that_were_never_planted(count: int, given: bool) -> None:
    images = numbered(count)
    coins = np.arange(count) % 2 == 0
    canaries = Canaries(images, None, np.ones(count, np.int64), coins)
    remembered = coins.copy()
    remembered[np.flatnonzero(~coins)[0]] = True  # one false alarm
    remembered[np.flatnonzero(coins)[-35:]] = False
    levels = measure(Knowing(images, remembered), NOTHING, NOTHING, canaries, 1.0).tables["canary_levels"]
    if not given:
        assert np.isnan(levels["tpr_1pct"]).all()
        return
    assert levels["tpr_1pct"] == pytest.approx((140 - 35) / 140)
    assert levels["tpr_1pct_lo"] < levels["tpr_1pct"] < levels["tpr_1pct_hi"]


def test_without_canaries_there_is_no_value_and_out_of_range_no_guess() -> None:
    assert set(measure(Wiener(0.7), NOTHING, NOTHING, None, 0.7).values.values()) == {None}
    canaries, train, sigma_d = digits(2)
    narrow = Wiener(sigma_d)
    narrow.sigma_range = (10.0, 20.0)  # type: ignore[assignment]
    result = measure(narrow, canaries.images, train, canaries, sigma_d)
    assert result.values["canary_eps_group"] is result.values["canary_right"] is None
    assert np.isnan(result.tables["canary_levels"]["right"]).all()
    assert result.values["canary_extracted"] == 1


def test_more_guesses_than_canaries_are_refused() -> None:
    with pytest.raises(ValueError, match="guesses: 11 are more than the 10 canaries of each number of repeats"):
        measure(Wiener(1.0), NOTHING, NOTHING, planted(30, np.random.default_rng(0)), 1.0, guesses=11)
