"""Churn, ancestral sampling and DPM-Solver++ against closed forms and the papers' own equations; what `draw` begins."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from test_sampling import Wiener, gaussian, small_network  # noqa: F401  (a fixture)
from torch import Tensor

from difgen_cli.sampling import Randomness, Samples, ddpm, dpmpp, draw, euler, heun, levels_of, slope, states


def test_noise_on_the_way_is_the_same_whatever_the_count_and_unit_gaussian() -> None:
    few, many = Randomness(3, 0, 64), Randomness(3, 0, 128)
    later = Randomness(3, 64, 64)
    first = [r.normal(torch.zeros(r.count, 1, 8, 8)) for r in (few, many, later)]
    second = many.normal(torch.zeros(128, 1, 8, 8))
    assert torch.equal(first[0], first[1][:64])
    assert torch.equal(first[2], first[1][64:])
    values = torch.cat([first[1], second]).flatten(1).double()
    assert stats.kstest(values.flatten().numpy(), "norm").pvalue > 1e-3
    correlation = torch.corrcoef(values) - torch.eye(256)
    assert correlation.abs().max() < 0.75  # six deviations of 1/√64: neither samples nor draws share numbers


@pytest.mark.parametrize("sample", [partial(heun.sample, s_churn=8.0), ddpm.sample])
def test_the_first_64_of_128_random_samples_are_the_64(sample: object) -> None:
    few, many = (draw(small_network(), sample, (1, 4, 4), np.full(3, 1 / 3), count=n, steps=6) for n in (64, 128))  # type: ignore[arg-type]
    np.testing.assert_array_equal(few.x, many.x[:64])
    plain = draw(small_network(), heun.sample, (1, 4, 4), np.full(3, 1 / 3), count=64, steps=6)
    assert not np.allclose(few.x, plain.x)


def churned(denoiser: Wiener, noise: Tensor, levels: list[float], rng: Randomness) -> Tensor:
    """Algorithm 2 of Karras et al. 2022 as it is printed, with S_churn 12, S_tmin 0.1, S_tmax 10, S_noise 1.01."""
    x, number = noise * levels[0], len(levels) - 1

    def denoised(x: Tensor, t: float) -> Tensor:
        return denoiser(x, torch.full((len(x),), t, dtype=torch.float64))

    for i in range(number):
        gamma = min(12 / number, math.sqrt(2) - 1) if 0.1 <= levels[i] <= 10 else 0.0
        t_hat = levels[i] + gamma * levels[i]
        x_hat = x + math.sqrt(t_hat**2 - levels[i] ** 2) * 1.01 * rng.normal(x) if gamma else x
        d = (x_hat - denoised(x_hat, t_hat)) / t_hat
        x = x_hat + (levels[i + 1] - t_hat) * d
        if levels[i + 1] != 0:
            d_after = (x - denoised(x, levels[i + 1])) / levels[i + 1]
            x = x_hat + (levels[i + 1] - t_hat) * (d / 2 + d_after / 2)
    return x


def test_churn_is_the_papers_algorithm(gaussian: Wiener) -> None:  # noqa: F811
    noise = torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    levels, unit = levels_of(gaussian, steps=20, sigma_max=20.0), gaussian.sigma_data
    settings = {"s_churn": 12.0, "s_min": 0.1 / unit, "s_max": 10 / unit, "s_noise": 1.01}
    walk = heun.sample(gaussian, noise * levels[0], levels, None, Randomness(0, 0, 16), **settings)
    torch.testing.assert_close([x for _, x in walk][-1], churned(gaussian, noise, levels, Randomness(0, 0, 16)))


@pytest.mark.parametrize("settings", [{}, {"s_noise": 1.5, "s_max": 3.0}, {"s_churn": 8.0, "s_min": 1e9}])
def test_without_churn_heun_is_algorithm_1_to_the_bit(gaussian: Wiener, settings: dict) -> None:  # noqa: F811
    """Whatever the other settings of churn, and where churn begins above every level: nothing is drawn."""

    class Nothing:
        def normal(self, x: Tensor) -> Tensor:
            raise AssertionError("noise was drawn")

    levels = levels_of(gaussian, steps=20)
    x = levels[0] * torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    *_, (_, end) = heun.sample(gaussian, x, levels, None, Nothing(), **settings)  # type: ignore[arg-type]
    for sigma, after in pairwise(levels):
        start = slope(gaussian, x, sigma, None)
        following = x + (after - sigma) * start
        if after > 0:
            following = x + (after - sigma) / 2 * (start + slope(gaussian, following, after, None))
        x = following
    assert torch.equal(end, x)


def test_ddim_is_euler_and_ddpm_is_its_own_recursion_of_the_variance(gaussian: Wiener) -> None:  # noqa: F811
    plain, still = (
        draw(gaussian, s, (3,), None, count=64, steps=9).x for s in (euler.sample, partial(ddpm.sample, eta=0.0))
    )
    np.testing.assert_allclose(plain, still, rtol=1e-5, atol=1e-5)
    levels = levels_of(gaussian, steps=12)
    variance = torch.full((3,), levels[0] ** 2, dtype=torch.float64)
    for sigma, after in pairwise(levels):
        share = (after / sigma) ** 2  # of q(x′ | x, x₀): what is kept of x − x₀
        gain = gaussian.variance / (gaussian.variance + sigma**2)
        variance = (gain + share * (1 - gain)) ** 2 * variance + after**2 * (1 - share)
    found = draw(gaussian, ddpm.sample, (3,), None, count=20_000, steps=12).x
    assert found.var(0) == pytest.approx(variance.numpy(), rel=0.04)  # four deviations of a variance from 20,000


def test_ddpm_in_many_steps_keeps_the_mean_and_the_covariance_of_gaussian_data(gaussian: Wiener) -> None:  # noqa: F811
    found = draw(gaussian, ddpm.sample, (3,), None, count=8_000, steps=500).x
    assert found.mean(0) == pytest.approx(gaussian.mean.numpy(), abs=0.06)
    covariance, deviation = np.cov(found.T), gaussian.variance.sqrt().numpy()
    np.testing.assert_allclose(covariance / np.outer(deviation, deviation), np.eye(3), atol=0.065)


def test_levels_that_rise_are_refused_by_ddpm(gaussian: Wiener) -> None:  # noqa: F811
    with pytest.raises(ValueError, match="eta 0"):
        draw(gaussian, ddpm.sample, (3,), None, count=4, levels=(0.1, 1.0, 2.0))


def solver_of_the_paper(denoiser: Wiener, x: Tensor, sigmas: list[float]) -> Tensor:
    """DPM-Solver++(2M), Lu et al. 2022, algorithm 2, in its own variables: α² + σ² = 1, λ = ln(α/σ), x_t = α x."""
    alphas = [1 / math.sqrt(1 + s * s) for s in sigmas]
    noises = [s * a for s, a in zip(sigmas, alphas, strict=True)]
    lambdas = [math.log(a / s) for a, s in zip(alphas, noises, strict=True)]
    x = alphas[0] * x
    buffer: list[Tensor] = []
    for i in range(1, len(sigmas)):
        level = torch.full((len(x),), sigmas[i - 1], dtype=torch.float64)
        buffer.append(denoiser(x / alphas[i - 1], level))
        h = lambdas[i] - lambdas[i - 1]
        if i == 1:
            target = buffer[0]
        else:
            r = (lambdas[i - 1] - lambdas[i - 2]) / h
            target = (1 + 1 / (2 * r)) * buffer[i - 1] - 1 / (2 * r) * buffer[i - 2]
        x = noises[i] / noises[i - 1] * x - alphas[i] * math.expm1(-h) * target
    return x / alphas[-1]


@pytest.mark.parametrize("rising", [False, True])
def test_dpmpp_is_the_papers_algorithm(gaussian: Wiener, rising: bool) -> None:  # noqa: F811
    levels = levels_of(gaussian, steps=11, sigma_max=20.0)[:-1]
    levels = levels[::-1] if rising else levels
    x = levels[0] * torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = [y for _, y in dpmpp.sample(gaussian, x, levels, None)][-1]
    torch.testing.assert_close(found, solver_of_the_paper(gaussian, x, levels), rtol=1e-9, atol=1e-9)


# What draw begins with -----------------------------------------------------------------------------------------------

IMAGES = np.random.default_rng(0).standard_normal((5, 4, 4, 1)).astype(np.float32), np.array([0, 1, 2, 1, 0])


def begun(start: str, count: int = 7, **settings: object) -> tuple[Tensor, list[float], Tensor | None]:
    asked: list[tuple[Tensor, list[float], Tensor | None]] = []

    def sample(denoiser: object, x: Tensor, levels: list[float], labels: Tensor | None):  # type: ignore[no-untyped-def]
        asked.append((x, levels, labels))
        yield levels[0], x

    draw(
        small_network(),
        sample,
        (1, 4, 4),
        np.array([0.8, 0.1, 0.1]),
        images=IMAGES,
        count=count,
        start=start,
        **settings,
    )  # type: ignore[arg-type]
    return asked[0]


def test_samples_begin_from_images_in_their_order_with_their_labels() -> None:
    noise, levels, _ = begun("noise", levels=(2.0, 1.0, 0.0))
    x, same, labels = begun("train", levels=(2.0, 1.0, 0.0))
    assert labels is not None
    assert labels[:7].tolist() == [0, 1, 2, 1, 0, 0, 1]
    assert levels == same == pytest.approx([1.4, 0.7, 0.0])
    expected = torch.from_numpy(IMAGES[0].transpose(0, 3, 1, 2))[[0, 1, 2, 3, 4, 0, 1]]
    torch.testing.assert_close((x - noise)[:7], expected, rtol=0, atol=1e-5)


def test_a_uniform_prior_draws_all_labels_as_often() -> None:
    for prior, shares in (("empirical", [0.8, 0.1, 0.1]), ("uniform", [1 / 3, 1 / 3, 1 / 3])):
        _, _, labels = begun("noise", 256, prior=prior)
        assert labels is not None
        counts = np.bincount(labels.numpy(), minlength=3)
        assert stats.chisquare(counts, 256 * np.array(shares)).pvalue > 1e-3


def test_inversion_goes_up_and_comes_back(gaussian: Wiener) -> None:  # noqa: F811
    """Heun from data at low noise up, by the closed form: x − μ grows with √(s² + σ²)."""
    unit = gaussian.sigma_data
    rising = tuple(np.geomspace(0.02, 20, 400))
    images = (np.array([[0.5, -0.4, 1.0]], dtype=np.float32), None)
    start = draw(gaussian, heun.sample, (3,), None, images=images, count=16, start="train", levels=(0.02, 0.0200001)).x
    top = draw(gaussian, heun.sample, (3,), None, images=images, count=16, start="train", levels=rising).x
    scale = ((gaussian.variance + (20 * unit) ** 2) / (gaussian.variance + (0.02 * unit) ** 2)).sqrt().numpy()
    np.testing.assert_allclose(
        top - gaussian.mean.numpy(), (start - gaussian.mean.numpy()) * scale, rtol=2e-3, atol=1e-2
    )


class Limited(Wiener):
    """A denoiser that is for some noise levels alone, and refuses others."""

    sigma_range = (0.05, 10.0)

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        assert sigma.min() >= 0.05
        assert sigma.max() <= 10.0
        return super().__call__(x, sigma, labels)


@pytest.mark.parametrize("sample", [heun.sample, dpmpp.sample, ddpm.sample])
def test_a_walk_is_cut_to_the_denoisers_range_and_ends_at_zero(sample: object, gaussian: Wiener) -> None:  # noqa: F811
    limited = Limited(gaussian.mean, gaussian.variance)
    levels = levels_of(limited, steps=60)
    assert levels == [s for s in levels_of(gaussian, steps=60) if s == 0 or 0.05 <= s <= 10]
    assert (max(levels), levels[-1]) == (levels[0], 0.0)
    found: Samples = draw(limited, sample, (3,), None, count=64, steps=60)  # type: ignore[arg-type]
    assert np.isfinite(found.x).all()
    inside, outside = ([sigma / gaussian.sigma_data for sigma in ends] for ends in ((9.9, 0.051), (10.1, 0.049)))
    sigmas, _ = states(limited, sample, (3,), None, "cpu", at=inside, count=4, steps=60)  # type: ignore[arg-type]
    assert sigmas.tolist() == [levels[0], levels[-2]]
    sigmas, x = states(limited, sample, (3,), None, "cpu", at=outside, count=4, steps=60)  # type: ignore[arg-type]
    assert (len(sigmas), len(x)) == (0, 0)  # the denoiser is for neither: no other level stands for them
    with pytest.raises(ValueError, match="fewer than two"):
        draw(limited, sample, (3,), None, count=4, levels=(100.0, 50.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("levels", [(1.0,), (0.0, 1.0), (1.0, -1.0)])
def test_levels_that_are_none_are_refused(levels: tuple[float, ...], gaussian: Wiener) -> None:  # noqa: F811
    with pytest.raises(ValueError, match="levels: must be"):
        draw(gaussian, euler.sample, (3,), None, count=4, levels=levels)
