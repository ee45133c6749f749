"""Basins: what the ideal denoiser and the distribution itself give back, the place where half return, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from denoisers import digit_parts

from difgen_cli.diffusion import DenoiserLike, IdealDenoiser, Mixture, MixtureDenoiser, to_tensor
from difgen_cli.metrics import basins
from difgen_cli.metrics._intervals import crossing
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, bank, unit_noise_like
from difgen_cli.neighbours import Repeats
from difgen_cli.sampling import heun, walks_from

CPU = torch.device("cpu")


def following(denoiser: DenoiserLike, shape: tuple[int, ...], **settings: object) -> basins.Walks:
    """The walks of a denoiser's sampler, as a worker gives them."""

    def walks(x: np.ndarray, sigma: float, labels: np.ndarray | None) -> np.ndarray:
        return walks_from(denoiser, heun.sample, shape, None, "cpu", begun=(x, labels), sigma=sigma, **settings)  # type: ignore[arg-type]

    return walks


def test_the_ideal_denoiser_gives_all_images_back_below_its_transition_and_one_in_n_above() -> None:
    train, held_out, _, sigma_d = digit_parts(32)
    walks = following(IdealDenoiser(to_tensor(train), sigma_d), (1, 8, 8))
    result = basins.measure(walks, train, held_out, None, None, sigma_d, sigmas=(0.1, 1.5, 3.0, 5.0, 40.0))
    low, *_, high = result.tables["basins"]["basin_return"]
    assert low == 1
    assert high <= 4 / 32, "one in 32, of 32 walks"
    assert (result.tables["basins"]["basin_control"] == 0).all(), "no image of H is ever given back"
    assert result.values["basin_walks"] == 32
    assert 1 < float(result.values["basin_sigma50"] or 0) < 4
    assert result.values["basin_sigma50_control"] is None


def test_above_its_transition_the_ideal_denoiser_gives_back_one_image_in_n() -> None:
    """Four points, many walks each: a share of one quarter, with its binomial error."""
    points = np.array([[3, 0], [-3, 0], [0, 3], [0, -3]], np.float32)
    ideal = IdealDenoiser(torch.from_numpy(points), 2.0)
    chance = np.random.default_rng(0)
    begun = np.repeat(points, 250, axis=0) + 200 * chance.standard_normal((1000, 2)).astype(np.float32)
    ends = following(ideal, (2,))(begun, 200.0, None)
    own = [
        basins.returned(ends[k::250], Repeats(points, np.arange(4))).mean() for k in range(250)
    ]  # each k: one walk of each point
    assert np.mean(own) == pytest.approx(0.25, abs=0.05)


def test_the_distribution_itself_gives_back_held_out_points_as_it_does_training_points() -> None:
    chance = np.random.default_rng(1)
    means, factors = torch.zeros(1, 8, dtype=torch.float64), torch.eye(8, dtype=torch.float64)[None]
    population = MixtureDenoiser(Mixture(torch.ones(1, dtype=torch.float64), means, factors, 0.0), 1.0)
    train, held_out = (chance.standard_normal((400, 8)).astype(np.float32) for _ in range(2))
    result = basins.measure(following(population, (8,)), train, held_out, None, None, 1.0, images=400)
    table = result.tables["basins"]
    assert table["basin_return"][0] > 0.8, "noise of an eighth does not change whose walk it is"
    assert table["basin_return"][-1] < 0.1
    assert table["basin_return"] == pytest.approx(table["basin_control"], abs=0.1)
    assert float(result.values["basin_excess_lo"] or 0) <= 0 <= float(result.values["basin_excess_hi"] or 0)


@pytest.mark.parametrize(("shares", "expected"), [((1, 0.75, 0.25), 2.0), ((1, 0.9, 0.6), None), ((0.4, 0.1, 0), None)])
def test_half_return_at_a_level_between_levels(shares: tuple[float, ...], expected: float | None) -> None:
    found = crossing(np.array([0.5, 1.0, 4.0]), np.array(shares))
    assert found == (None if expected is None else pytest.approx(expected))


def test_an_end_is_returned_by_the_nearest_and_the_ratio_and_missing_where_nobody_walked() -> None:
    candidates = Repeats(np.array([[0.0], [1.0], [10.0], [50.0]], np.float32), np.arange(4))
    ends = np.array([[0.1], [0.4], [6.0], [np.nan]])  # returned; nearest to another; its own, but no copy; missing
    np.testing.assert_array_equal(basins.returned(ends, candidates), [1, 0, 0, np.nan])


def test_the_noise_of_a_walk_is_that_of_the_bank() -> None:
    train, held_out, _, _ = digit_parts(6)
    for split, images in ((TRAIN, train), (HELD_OUT, np.repeat(held_out[:6], 3, axis=3))):
        tensor = bank(images, None, 1, split, CPU).noise.numpy()
        np.testing.assert_array_equal(unit_noise_like(images, split), tensor.transpose(0, 2, 3, 1))


def test_a_difference_of_shares_has_newcombes_interval() -> None:
    """His table II (1998): 56/70 − 48/80 is 0.2, from 0.0524 to 0.3339."""
    shares = (basins._share(np.r_[np.ones(a), np.zeros(n - a)]) for a, n in ((56, 70), (48, 80)))
    assert basins.difference(*shares) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_walks_go_on_where_the_sampler_would_have_been() -> None:
    """From its own state at one of its levels the sampler ends where it had ended, bit for bit."""
    train, _, _, sigma_d = digit_parts(8)
    ideal = IdealDenoiser(to_tensor(train), sigma_d)
    from difgen_cli.sampling import draw, states

    whole = draw(ideal, heun.sample, (1, 8, 8), None, count=20).x
    sigmas, x = states(ideal, heun.sample, (1, 8, 8), None, "cpu", at=(1.0,), count=20)
    np.testing.assert_array_equal(following(ideal, (1, 8, 8))(x[0], float(sigmas[0]), None), whole)


def test_what_cannot_be_walked_is_one_sentence() -> None:
    train, held_out, _, sigma_d = digit_parts(8)
    ideal = IdealDenoiser(to_tensor(train), sigma_d)
    with pytest.raises(ValueError, match="the levels of this sampler rise"):
        following(ideal, (1, 8, 8), levels=(0.1, 1.0))(train, 0.5, None)
    with pytest.raises(ValueError, match="basins: sigmas must be above 0"):
        basins.measure(following(ideal, (1, 8, 8)), train, held_out, None, None, sigma_d, sigmas=(0.0,))
    with pytest.raises(ValueError, match="needs 2 distinct images"):
        basins.measure(following(ideal, (1, 8, 8)), train[:1], held_out, None, None, sigma_d)

    def makes_noise(denoiser: DenoiserLike, noise: torch.Tensor, labels: torch.Tensor | None) -> None: ...

    with pytest.raises(ValueError, match="cannot begin from noisy images"):
        walks_from(ideal, makes_noise, (1, 8, 8), None, "cpu", begun=(train, None), sigma=1.0)
