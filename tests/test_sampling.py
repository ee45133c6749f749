"""Samplers against the solution of the probability-flow ODE; draws against the subset property."""

import functools
import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from difgen_cli import sampling
from difgen_cli.diffusion import Denoiser, IdealDenoiser, to_array
from difgen_cli.models import mlp, unet
from difgen_cli.sampling import (
    Randomness,
    Walk,
    dpmpp,
    draw,
    euler,
    heun,
    labels_of,
    levels_of,
    noise_levels,
    starting_points,
    states,
)

Sample = Callable[..., Tensor]


class Wiener:
    """The exact denoiser of Gaussian data N(mean, diag(variance)): μ + s²/(s² + σ²) (x − μ), dimension by dimension."""

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        self.mean, self.variance = mean, variance
        self.sigma_data = variance.mean().sqrt().item()

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        gain = self.variance / (self.variance + sigma.square()[:, None])
        return self.mean + gain * (x - self.mean)

    def solution(self, x: Tensor, sigma: float) -> Tensor:
        """x at σ = 0 of the ODE through x at `sigma`: x(σ) − μ grows with √(s² + σ²)."""
        return self.mean + (x - self.mean) * (self.variance / (self.variance + sigma**2)).sqrt()


@pytest.fixture
def gaussian() -> Wiener:
    return Wiener(
        torch.tensor([0.3, -1.0, 0.0], dtype=torch.float64), torch.tensor([0.01, 0.5, 2.0], dtype=torch.float64)
    )


def last(sample: Sample, denoiser: object, noise: Tensor, **even: float) -> Tensor:
    """x at the end of a walk from `noise`, as `draw` begins it."""
    levels, rng = levels_of(denoiser, **even), [Randomness(0, 0, 16)] if sample is heun.sample else []  # type: ignore
    return [x for _, x in sample(denoiser, noise * levels[0], levels, None, *rng)][-1]


def error(sample: Sample, denoiser: Wiener, steps: int) -> float:
    """Largest distance to the closed form at a σ_min that is far below what it is compared with."""
    noise = torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings = {"sigma_min": 1e-5, "sigma_max": 20.0}
    x = last(sample, denoiser, noise, steps=steps, **settings)
    first = noise_levels(steps, 7.0, 1e-5, 20.0, denoiser.sigma_data)[0]
    return (x - denoiser.solution(noise * first, first)).abs().max().item()


@pytest.mark.parametrize(("sample", "order"), [(euler.sample, 1), (heun.sample, 2), (dpmpp.sample, 2)])
def test_samplers_converge_to_the_closed_form_at_their_order(sample: Sample, order: int, gaussian: Wiener):
    errors = [error(sample, gaussian, steps) for steps in (128, 256, 512)]
    observed = [math.log2(a / b) for a, b in pairwise(errors)]
    assert observed == pytest.approx([order, order], abs=0.2)


def test_samples_of_gaussian_data_have_its_moments(gaussian: Wiener):
    drawn = draw(gaussian, heun.sample, (3,), None, count=20_000, steps=100).x
    assert drawn.mean(0) == pytest.approx(gaussian.mean.numpy(), abs=0.03)
    assert drawn.var(0) == pytest.approx(gaussian.variance.numpy(), rel=0.03)


def test_the_default_steps_of_heun_widen_gaussian_data_by_a_few_per_cent(gaussian: Wiener):
    """What 24 steps cost: the deviation comes out 3 to 6 per cent large, whatever the network."""
    drawn = draw(gaussian, heun.sample, (3,), None, count=20_000).x
    ratio = drawn.std(0) / gaussian.variance.sqrt().numpy()
    assert ratio.min() > 1.0
    assert ratio.max() < 1.08


@pytest.mark.parametrize("sample", [euler.sample, heun.sample])
def test_the_ideal_denoiser_of_eight_images_yields_those_images(sample: Sample):
    train = 0.7 * torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    drawn = draw(IdealDenoiser(train, 0.7), sample, (1, 8, 8), None, count=256).x
    distances = np.abs(drawn[:, None] - to_array(train)[None]).max(axis=(2, 3, 4))
    assert distances.min(1).max() < 1e-3
    hits = np.bincount(distances.argmin(1), minlength=8)
    assert stats.chisquare(hits).pvalue > 1e-3


def test_the_conditional_ideal_denoiser_yields_images_of_the_label():
    train = 0.7 * torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    ideal = IdealDenoiser(train, 0.7, torch.arange(8) % 2)
    drawn = draw(ideal, heun.sample, (4,), np.array([0.25, 0.75]), count=64)
    nearest = np.abs(drawn.x[:, None] - train.numpy()[None]).max(2).argmin(1)
    assert drawn.labels is not None
    np.testing.assert_array_equal(nearest % 2, drawn.labels)


def test_noise_levels_are_even_in_their_seventh_root_and_end_at_zero():
    levels = noise_levels(5, 7.0, 0.004, 160.0, 0.5)
    assert levels[0] == pytest.approx(80.0)
    assert levels[-2:] == pytest.approx([0.002, 0.0])
    roots = np.array(levels[:-1]) ** (1 / 7)
    np.testing.assert_allclose(np.diff(roots), np.diff(roots)[0])


def test_one_step_goes_from_the_highest_noise_to_the_denoiser_output(gaussian: Wiener):
    noise = torch.ones(2, 3, dtype=torch.float64)
    first = 160 * gaussian.sigma_data
    expected = gaussian(noise * first, torch.full((2,), first, dtype=torch.float64))
    for sample in (heun.sample, euler.sample):
        torch.testing.assert_close(last(sample, gaussian, noise, steps=1), expected)


def test_noise_levels_in_the_wrong_order_are_refused(gaussian: Wiener):
    with pytest.raises(ValueError, match="sigma_min must lie below sigma_max"):
        last(heun.sample, gaussian, torch.ones(1, 3), sigma_min=2.0, sigma_max=1.0)


def counted(gaussian: Wiener, sample: Sample) -> int:
    calls = 0

    def denoiser(x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        nonlocal calls
        calls += 1
        return gaussian(x, sigma, labels)

    denoiser.sigma_data = gaussian.sigma_data  # type: ignore[attr-defined]
    last(sample, denoiser, torch.ones(1, 3, dtype=torch.float64), steps=10)
    return calls


def test_heun_evaluates_the_denoiser_twice_a_step_but_the_last_and_euler_once(gaussian: Wiener):
    assert counted(gaussian, heun.sample) == 19
    assert counted(gaussian, euler.sample) == 10


def small_network() -> IdealDenoiser:
    images = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    return IdealDenoiser(images, 0.7, torch.arange(6) % 3)


def test_the_first_128_of_512_samples_are_the_128_samples():
    sample = functools.partial(draw, steps=5)
    few, many = (
        sample(small_network(), heun.sample, (1, 4, 4), np.array([0.2, 0.3, 0.5]), count=count, seed=7)
        for count in (128, 512)
    )
    np.testing.assert_array_equal(few.x, many.x[:128])
    assert few.labels is not None
    assert many.labels is not None
    np.testing.assert_array_equal(few.labels, many.labels[:128])


@pytest.mark.parametrize("count", [1, 20, 100, 200, 300])
@pytest.mark.parametrize("build", [lambda: mlp.build((1, 8, 8), 0), lambda: unet.build((1, 8, 8), 0, width=8, depth=1)])
def test_a_network_draws_the_same_samples_whatever_the_count_and_hardly_more(
    count: int, build: Callable[[], torch.nn.Module]
):
    """To the bit, though the last block is smaller: 200 samples take 208 evaluations, not 256."""
    torch.manual_seed(0)
    denoiser = Denoiser(build(), 0.7).eval()
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    sample = functools.partial(draw, steps=2)
    few, many = (sample(denoiser, heun.sample, (1, 8, 8), None, count=n) for n in (count, 512))
    np.testing.assert_array_equal(few.x, many.x[:count])
    assert count <= sampling.drawn_together(count, "cpu") < count + 16
    assert sampling.drawn_together(count, "cuda") % 256 == 0


@pytest.mark.parametrize("count", [1, 16, 17, 200, 255, 256, 257, 1000])
@pytest.mark.parametrize("shape", [(2,), (1, 8, 8), (3, 32, 32)])
def test_blocks_are_about_even_and_hold_what_is_drawn(count: int, shape: tuple[int, ...]):
    found = sampling.blocks(count, shape, "cpu")
    assert sum(found) == sampling.drawn_together(count, "cpu")
    assert max(found) <= (64 if shape == (3, 32, 32) else 256)
    assert max(found) - min(found) in (0, 16)
    assert all(block % 16 == 0 for block in found)
    assert set(sampling.blocks(count, shape, "cuda")) == {256}


def test_samples_do_not_depend_on_the_size_of_the_blocks(monkeypatch: pytest.MonkeyPatch):
    sample = functools.partial(draw, steps=5)
    whole = sample(small_network(), heun.sample, (1, 4, 4), np.full(3, 1 / 3), count=100)
    monkeypatch.setattr(sampling, "BLOCK", 33)
    blocks = sample(small_network(), heun.sample, (1, 4, 4), np.full(3, 1 / 3), count=100)
    np.testing.assert_array_equal(whole.labels, blocks.labels)
    np.testing.assert_allclose(whole.x, blocks.x, atol=1e-4)


def test_states_are_those_that_the_sampler_passes_and_end_where_it_does(gaussian: Wiener):
    """By the closed form: the state at σ is that of the same noise after an exact walk down to σ."""
    sigmas, x = states(gaussian, heun.sample, (3,), None, "cpu", at=[1.0, 0.1], count=300, steps=200)
    noise = torch.from_numpy(starting_points((3,), 0, 0, 300)[0]).double()
    first = 160 * gaussian.sigma_data
    assert sigmas / gaussian.sigma_data == pytest.approx([1.0, 0.1], rel=0.05)
    for sigma, state in zip(sigmas, x, strict=True):
        scale = ((gaussian.variance + sigma**2) / (gaussian.variance + first**2)).sqrt()
        exact = gaussian.mean + scale * (noise * first - gaussian.mean)
        np.testing.assert_allclose(state, exact.numpy(), atol=0.02 * sigma)


def test_stopping_early_takes_the_denoisers_estimate_there(gaussian: Wiener):
    (sigma,), (state,) = states(gaussian, heun.sample, (3,), None, "cpu", at=[0.5], count=64, steps=200)
    stop = sigma / gaussian.sigma_data * 1.0001
    stopped = draw(gaussian, heun.sample, (3,), None, count=64, steps=200, stop=stop).x
    expected = gaussian(torch.from_numpy(state).double(), torch.full((64,), sigma, dtype=torch.float64))
    np.testing.assert_allclose(stopped, expected.numpy(), atol=1e-5)


def test_no_state_lies_below_where_the_walk_stops(gaussian: Wiener):
    sigmas, _ = states(gaussian, heun.sample, (3,), None, "cpu", at=[5.0, 0.5, 0.01], count=4, stop=0.3)
    assert sigmas.min() > 0.3 * gaussian.sigma_data


def test_conditional_and_unconditional_cells_start_from_the_same_noise():
    seen: list[Tensor] = []

    def sample(denoiser: object, noise: Tensor, labels: Tensor | None) -> Walk:
        seen.append(noise)
        yield 0.0, noise

    ideal = small_network()
    draw(ideal, sample, (1, 4, 4), None, count=1)
    draw(ideal, sample, (1, 4, 4), np.array([0.5, 0.5]), count=1)
    assert torch.equal(seen[0], seen[1])


def test_starting_points_are_unit_gaussian_and_uniform_and_differ_between_samples_and_seeds():
    noise, uniform = starting_points((1, 8, 8), 0, 0, 500)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    other, _ = starting_points((1, 8, 8), 1, 0, 500)
    correlations = np.corrcoef(np.concatenate([noise, other]).reshape(1000, -1)) - np.eye(1000)
    assert np.abs(correlations).max() < 0.75  # six deviations of 1/√64


def test_labels_follow_the_proportions():
    proportions = np.array([0.1, 0.0, 0.25, 0.6, 0.05])
    labels = labels_of(starting_points((1,), 0, 0, 20_000)[1], proportions)
    assert labels is not None
    counts = np.bincount(labels, minlength=5)
    assert counts[1] == 0
    assert stats.chisquare(counts[counts > 0], 20_000 * proportions[proportions > 0]).pvalue > 1e-3


def test_a_uniform_next_to_one_gets_the_last_label_that_has_a_share():
    thirds = np.array([1 / 3, 1 / 3, 1 / 3, 0.0])
    assert labels_of(np.array([0.0, np.nextafter(1, 0)]), thirds).tolist() == [0, 2]  # type: ignore[union-attr]


@pytest.mark.parametrize("proportions", [[0.5, 0.4], [1.5, -0.5]])
def test_proportions_that_are_none_are_refused(proportions: list[float]):
    with pytest.raises(ValueError, match="sum to 1"):
        labels_of(np.array([0.5]), np.array(proportions))
