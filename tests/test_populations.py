"""Data whose distribution is known, and denoisers made of it: scores, samples, gaps and transitions in closed form."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal

from difgen_cli import data, sampling
from difgen_cli.data import Pool, Population, gaussians, molrg
from difgen_cli.diffusion import Mixture, MixtureDenoiser
from difgen_cli.metrics import Result, frechet, gap
from difgen_cli.models import wiener
from difgen_cli.sampling import heun

POOLS = {
    "molrg": molrg.load(components=3, dimension=20, rank=4, points=4096),
    "molrg with noise": molrg.load(components=3, dimension=20, rank=4, points=4096, noise=0.2),
    "molrg that fills the space": molrg.load(components=2, dimension=8, rank=4, points=4096),
    "gaussians": gaussians.load(components=4, dimension=3, points=4096),
    "narrow gaussians": gaussians.load(components=2, dimension=6, points=4096, anisotropy=10.0, separation=0.3),
    "one gaussian": gaussians.load(components=1, dimension=5, points=4096, anisotropy=4.0),
}
pools = pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS.keys())


def exact(pool: Pool) -> MixtureDenoiser:
    assert pool.population is not None
    known = pool.population
    parts = (torch.from_numpy(array) for array in (known.weights, known.means, known.factors))
    return MixtureDenoiser(Mixture(*parts, known.noise), data.sigma_data(pool.images))


def density(population: Population, sigma: float, label: int | None = None) -> Distribution:
    """torch's own mixture with dense covariances, plus noise σ; or one of its components."""
    means, factors = torch.from_numpy(population.means), torch.from_numpy(population.factors)
    unit = torch.eye(means.shape[1], dtype=torch.float64)
    components = MultivariateNormal(means, factors @ factors.mT + (population.noise**2 + sigma**2) * unit)
    if label is not None:
        return MultivariateNormal(components.mean[label], components.covariance_matrix[label])
    return MixtureSameFamily(Categorical(torch.from_numpy(population.weights)), components)


def by_score(of: Distribution, x: Tensor, sigma: float) -> Tensor:
    """x + σ² ∇ log p(x; σ), Tweedie's formula, by automatic differentiation."""
    x = x.clone().requires_grad_()
    (score,) = torch.autograd.grad(of.log_prob(x).sum(), x)
    return (x + sigma**2 * score).detach()


@pools
@pytest.mark.parametrize("sigma", [0.03, 0.3, 1.0, 5.0])
def test_the_denoiser_is_the_score_of_the_density(pool: Pool, sigma: float) -> None:
    assert pool.population is not None
    noise = torch.randn(64, pool.images.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.from_numpy(pool.images[:64]).double() + sigma * noise
    levels, denoiser = torch.full((64,), sigma, dtype=torch.float64), exact(pool)
    expected = by_score(density(pool.population, sigma), x, sigma)
    torch.testing.assert_close(denoiser(x, levels), expected, rtol=1e-6, atol=1e-6)
    for label in range(len(pool.classes)):
        expected = by_score(density(pool.population, sigma, label), x, sigma)
        torch.testing.assert_close(denoiser(x, levels, torch.full((64,), label)), expected, rtol=1e-6, atol=1e-6)


def test_each_point_has_its_own_noise_level_and_label() -> None:
    denoiser, x = exact(POOLS["gaussians"]), torch.from_numpy(POOLS["gaussians"].images[:5])
    levels, labels = torch.tensor([0.1, 0.5, 1.0, 2.0, 9.0]), torch.tensor([0, 3, 1, 1, 2])
    for given in (None, labels):
        whole = denoiser(x, levels, given)
        assert whole.dtype == torch.float32
        for i in range(5):
            alone = denoiser(x[i : i + 1], levels[i : i + 1], None if given is None else given[i : i + 1])
            torch.testing.assert_close(whole[i : i + 1], alone)


@pools
def test_points_have_the_moments_that_the_population_says(pool: Pool) -> None:
    assert pool.population is not None
    assert pool.labels is not None
    for k, (mean, factor) in enumerate(zip(pool.population.means, pool.population.factors, strict=True)):
        x = pool.images[pool.labels == k].astype(np.float64)
        covariance = factor @ factor.T + pool.population.noise**2 * np.eye(len(mean))
        whole, n = np.trace(covariance), len(x)
        assert abs(n * len(pool.classes) / len(pool.images) - 1) < 0.15
        assert np.sum((x.mean(axis=0) - mean) ** 2) < 3 * whole / n
        # E‖S − Σ‖² = (‖Σ‖² + tr(Σ)²) / n for Gaussians
        assert np.sum((np.cov(x.T) - covariance) ** 2) < 2 * (np.sum(covariance**2) + whole**2) / n


def test_low_rank_components_lie_in_orthogonal_subspaces_of_unit_deviation() -> None:
    pool = POOLS["molrg"]
    assert pool.labels is not None
    ranks = [np.linalg.matrix_rank(pool.images[pool.labels == k], tol=1e-3) for k in range(3)]
    assert ranks == [4, 4, 4]
    a, b = (pool.images[pool.labels == k][:50] for k in (0, 1))
    np.testing.assert_allclose(a @ b.T, 0, atol=1e-5)
    noisy = POOLS["molrg with noise"].population
    assert noisy is not None
    covariance = noisy.factors[0] @ noisy.factors[0].T + noisy.noise**2 * np.eye(20)
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance), [0.04] * 16 + [1] * 4, atol=1e-12)


@pytest.mark.parametrize("load", [molrg.load, gaussians.load])
def test_fewer_points_are_the_first_of_more_and_another_draw_is_another_population(load: Callable[..., Pool]) -> None:
    few, many, other = load(points=50), load(points=90), load(points=50, draw=1)
    np.testing.assert_array_equal(few.images, many.images[:50])
    np.testing.assert_array_equal(few.labels, many.labels[:50])  # type: ignore[index]
    assert few.population is not None
    assert other.population is not None
    assert not np.allclose(few.population.arrays()["factors"].sum(), other.population.arrays()["factors"].sum()) or (
        not np.allclose(few.population.means, other.population.means)
    )


def test_the_population_is_part_of_the_datas_identity() -> None:
    pool = POOLS["gaussians"]
    assert data.content(pool) != data.content(Pool(pool.images, pool.labels, pool.classes))


def test_a_population_that_does_not_fit_its_points_or_itself_is_refused() -> None:
    known = POOLS["gaussians"].population
    assert known is not None
    with pytest.raises(data.DataError, match="of 3 values does not fit data of shape"):
        Pool(np.zeros((4, 2), np.float32), population=known)
    with pytest.raises(ValueError, match="do not fit"):
        Population(known.weights[:2], known.means, known.factors, 0.0)
    for weights, noise in ((known.weights * 2, 0.1), (-known.weights, 0.1), (known.weights, -0.1)):
        with pytest.raises(ValueError, match="sum to 1"):
            Population(weights, known.means, known.factors, noise)


def test_subspaces_that_do_not_fit_are_refused() -> None:
    with pytest.raises(data.DataError, match="5 orthogonal subspaces of 10 dimensions do not fit into 48"):
        molrg.load(components=5, rank=10)


# What the exact denoiser must do --------------------------------------------------------------------------------------


def distance(samples: np.ndarray, real: np.ndarray) -> float:
    return frechet.distance(frechet.moments(samples.astype(np.float64)), frechet.moments(real.astype(np.float64)))


@pytest.mark.parametrize("name", ["molrg with noise", "narrow gaussians"])
@pytest.mark.parametrize("conditional", [False, True])
def test_samples_of_the_exact_denoiser_are_at_the_floor(name: str, conditional: bool) -> None:
    """As far from 2,048 real points as 2,048 other real ones are: neither farther nor, as a copier's, nearer."""
    pool = POOLS[name]
    assert pool.population is not None
    shares = pool.population.weights if conditional else None
    samples = sampling.draw(exact(pool), heun.sample, pool.images.shape[1:], shares, "cpu", count=2048, steps=64).x
    floors = [distance(pool.population.draw(2048, seed)[0], pool.images[:2048]) for seed in range(100, 120)]
    assert min(floors) * 0.8 < distance(samples, pool.images[:2048]) < max(floors) * 1.2


def gap_of(denoiser: MixtureDenoiser, pool: Pool, size: int, labelled: bool, **settings: float) -> Result:
    parts = data.split(pool, size=size, held_out=2048)
    labels = [
        pool.labels[places] if labelled and pool.labels is not None else None
        for places in (parts.train, parts.held_out)
    ]
    images = [pool.images[places] for places in (parts.train, parts.held_out)]
    return gap.measure(denoiser, *images, *labels, denoiser.sigma_data, **settings)  # type: ignore[arg-type]


@pools
@pytest.mark.parametrize("labelled", [False, True])
def test_the_exact_denoiser_has_no_gap(pool: Pool, labelled: bool) -> None:
    values = gap_of(exact(pool), pool, 1024, labelled, resamples=300).values
    assert values["gap_max_lo"] <= 0  # type: ignore[operator]
    assert values["gap_max"] < 2 * values["gap_null"]  # type: ignore[operator]


def fitted(pool: Pool, size: int, labelled: bool, **settings: int) -> MixtureDenoiser:
    places = data.split(pool, size=size, held_out=2048).train
    labels = torch.from_numpy(pool.labels[places]) if labelled and pool.labels is not None else None
    return wiener.build(torch.from_numpy(pool.images[places]), labels, data.sigma_data(pool.images), **settings)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize(("components", "rank"), [(1, 6), (1, 16), (2, 6), (4, 6)])
def test_what_is_learnt_of_subspaces_sets_in_at_as_many_points_as_they_have_dimensions(
    components: int, rank: int, labelled: bool
) -> None:
    """Wang et al. 2024: principal components find a subspace from as many points as it has dimensions, and no fewer.

    At little noise what is lost is the variance off the span of T, of which there is none from then on. The gap falls
    by orders of magnitude where each component has its points (and one more, for its mean), wherever that is.
    """
    pool = molrg.load(components=components, dimension=32, rank=rank, points=4096)
    of_T = data.split(pool, held_out=2048).train
    assert pool.labels is not None
    counts = np.cumsum(pool.labels[of_T][:, None] == np.arange(components), axis=0)
    if labelled:
        enough = int((counts > rank).all(axis=1).argmax()) + 1  # each component has rank + 1
    else:
        enough = int((np.minimum(counts, rank).sum(axis=1) >= components * rank).argmax()) + 2
    assert components * rank < enough < 2.6 * components * rank

    def height(size: int) -> float:
        level = {"sigmas": 3, "sigma_min": 0.01, "sigma_max": 0.02}
        found = gap_of(fitted(pool, size, labelled), pool, size, labelled, resamples=100, pairs=2048, **level)
        return float(found.values["gap_max"])  # type: ignore[arg-type]

    assert height(enough - 2) > 30 > 3 > height(enough + components * 2)
    assert height(32 * components * rank) < 0.1


def test_the_fit_to_many_points_is_the_population() -> None:
    pool = POOLS["narrow gaussians"]
    x = torch.from_numpy(pool.images[:500]) + 0.3
    levels = torch.full((500,), 0.3)
    many = gaussians.load(components=2, dimension=6, points=200_000, anisotropy=10.0, separation=0.3)
    assert many.labels is not None
    found = wiener.build(torch.from_numpy(many.images), torch.from_numpy(many.labels), 1.0)
    torch.testing.assert_close(found(x, levels), exact(pool)(x, levels), atol=0.01, rtol=0)


def test_one_gaussian_of_any_images_is_the_wiener_filter_with_their_moments() -> None:
    x = torch.randn(30, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    flat, sigma = x.flatten(1).double(), 0.4
    mean, covariance = flat.mean(0), torch.cov(flat.T, correction=0)
    query = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    gain = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(48, dtype=torch.float64))
    expected = (mean + (query.flatten(1).double() - mean) @ gain.T).float().view_as(query)
    torch.testing.assert_close(wiener.build(x, None, 1.0)(query, torch.full((5,), sigma)), expected)
    assert (wiener.build(x, None, 1.0, rank=2).variances > 0).sum() == 2


def test_few_points_give_a_denoiser_and_a_condition_without_any_a_sentence() -> None:
    one = torch.tensor([[3.0, 4.0]])
    moved = wiener.build(one, None, 1.0)(one + 1, torch.ones(1))
    torch.testing.assert_close(moved, one)
    labels = torch.tensor([0, 2])
    gapped = wiener.build(one.repeat(2, 1), labels, 1.0)
    torch.testing.assert_close(gapped(one + 1, torch.ones(1), torch.tensor([2])), one)
    torch.testing.assert_close(gapped(one + 1, torch.ones(1)), one)
    for unknown in (1, 3):
        with pytest.raises(ValueError, match=f"label {unknown} has no component"):
            gapped(one, torch.ones(1), torch.tensor([unknown]))


# Through a grid -------------------------------------------------------------------------------------------------------

GRID = """\
# Has the exact denoiser a gap?
base:
  data:  {name: gaussians, dimension: 3, points: 1500, held_out: 500, size: 400}
  model: {name: population}
  sample: {count: 300}
  score: [gap, frechet, preference]
axes:
  condition.name: [none, labels]
include:
  - {model.name: wiener, condition.name: labels}
"""


def test_a_grid_plans_and_measures_models_that_are_not_trained(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    write_grid(GRID, "grid.yaml")
    done = difgen("sweep", "grid.yaml", "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    model = rows[rows.kind == "model"]
    assert sorted(model["model.name"]) == ["population", "population", "wiener"]
    known = model[model["model.name"] == "population"]
    assert (known.gap_max_lo <= 0).all()
    assert (known.fd_test < 3 * known.fd_floor_expected).all()
    assert (known.train_pref_excess.abs() < 0.15).all()
    assert "nothing to do" in difgen("sweep", "grid.yaml").stderr
    done = difgen("report", "runs", "--out", "report")
    assert done.returncode == 0, done.stderr
    assert "population" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
