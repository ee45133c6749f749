"""The Jacobian of a denoiser: closed forms, brute force, every network that is listed, and the estimate's own error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from denoisers import digit_parts
from torch import Tensor, nn

from difgen_cli.data import molrg
from difgen_cli.data import sigma_data as deviation_of
from difgen_cli.diffusion import Denoiser, IdealDenoiser, Mixture, MixtureDenoiser, to_tensor
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.engine.plugins import Library
from difgen_cli.metrics import Result, jacobian
from difgen_cli.metrics._derivatives import jvp, vjp
from difgen_cli.metrics._spectrum import At
from difgen_cli.models import analytic, wiener

# Settings of the networks that are listed, small.
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"width": 16},
    "unet": {"width": 8, "depth": 1, "multipliers": (1, 2), "attention": (4,)},
    "ddpmpp": {"width": 16, "depth": 1, "multipliers": (1, 2), "attention": (4,)},
    "dit": {"width": 16, "depth": 1, "heads": 2, "patch": 2},
    "edm2": {"width": 16, "depth": 1, "multipliers": (1, 2), "attention": (4,), "head_channels": 16},
    "unet2d": {"block_out_channels": (16, 16), "layers_per_block": 1, "norm_num_groups": 4},
}
OF_FILES = ("given", "diffusers", "edm")  # whose networks are those of this list
LISTED = [name for name in Library().names("model") if name not in OF_FILES]


@pytest.fixture(params=LISTED)
def listed(request: pytest.FixtureRequest) -> tuple[Any, Tensor, Tensor | None]:
    """A denoiser of each model of the package, with noisy images and their labels."""
    train, _, _, sigma_d = digit_parts(12)
    name, T = request.param, to_tensor(train)
    x = T[:3] + 0.7 * torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(12) % 3
    inputs = set(Library().signature("model", name).inputs)
    build = Library().module("model", name).build
    if "population" in inputs:
        factors = torch.randn(3, 64, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        mixture = Mixture(torch.ones(3, dtype=torch.float64) / 3, torch.zeros(3, 64).double(), factors, 0.1)
        return build(mixture, sigma_d), x, None
    if "train" in inputs:
        return build(T, labels, sigma_d), x, labels[:3]
    network = initialise(lambda: build((1, 8, 8), 3, **SMALL[name]), 0)
    for parameter in network.parameters():  # last layers begin at zero
        nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    return Denoiser(network, sigma_d).eval(), x, labels[:3]


def run(denoiser: Any, train: np.ndarray, sigma_d: float, **settings: Any) -> Result:
    return jacobian.measure(denoiser, train, None, sigma_d, **settings)


def wiener_matrix(train: np.ndarray, sigma: float) -> np.ndarray:
    """Σ(Σ + σ²I)⁻¹ of T."""
    x = train.reshape(len(train), -1).astype(np.float64)
    covariance = np.cov(x.T, bias=True)
    return np.asarray(covariance @ np.linalg.inv(covariance + sigma**2 * np.eye(len(covariance))))


def test_the_wiener_filters_jacobian_is_its_matrix() -> None:
    train, _, _, sigma_d = digit_parts(300)
    result = run(wiener.build(to_tensor(train), None, sigma_d), train, sigma_d, images=3)
    place = np.stack(np.meshgrid(np.arange(8), np.arange(8), indexing="ij"), -1).reshape(-1, 2)
    distance = np.linalg.norm(place[:, None] - place[None], axis=2)
    for sigma, word in jacobian.NAMED.items():
        matrix = wiener_matrix(train, sigma * sigma_d)
        values = np.linalg.svd(matrix, compute_uv=False)
        rank = next(k for k in range(1, 65) if (values[:k] ** 2).sum() >= 0.99 * (values**2).sum())
        assert result.values[f"jac_rank_{word}"] == rank
        assert result.values[f"jac_top_{word}"] == pytest.approx(values[0], rel=1e-5)
        assert result.values[f"jac_asym_{word}"] == pytest.approx(0, abs=1e-6)
        expected = (distance * abs(matrix)).sum() / abs(matrix).sum()
        assert result.values[f"corr_range_{word}"] == pytest.approx(expected, rel=1e-4)
    assert result.values["jac_products"] == 64
    assert (result.tables["jacobian"]["jac_rank_error"] == 0).all()


def test_points_on_subspaces_have_their_dimension_as_rank() -> None:
    pool = molrg.load(points=400, dimension=24, rank=3, components=1, noise=0.0)
    assert pool.population is not None
    arrays = pool.population.arrays()
    weights, means, factors = (torch.from_numpy(arrays[name]) for name in ("weights", "means", "factors"))
    sigma_d = deviation_of(pool.images)
    result = run(MixtureDenoiser(Mixture(weights, means, factors, 0.0), sigma_d), pool.images, sigma_d, images=8)
    assert [result.values[f"jac_rank_{word}"] for word in ("025", "050", "100")] == [3, 3, 3]
    assert result.values["corr_range_050"] is None, "points have no distance between their coordinates"
    estimate = run(
        MixtureDenoiser(Mixture(weights, means, factors, 0.0), sigma_d), pool.images, sigma_d, images=32, exact=0
    )
    assert estimate.values["jac_rank_050"] == pytest.approx(3, abs=0.6)


@pytest.mark.parametrize("delta", [0.0, 0.5])
def test_denoisers_of_a_density_are_symmetric(delta: float) -> None:
    """D = x + σ² ∇ log p: its derivative is a Hessian, and that of the ideal denoiser is the posterior's covariance."""
    train, _, _, sigma_d = digit_parts(20)
    T = to_tensor(train)
    denoiser = analytic.build(T, None, sigma_d, delta=delta) if delta else IdealDenoiser(T, sigma_d)
    result = run(denoiser, train, sigma_d, images=6)
    for word in ("025", "050", "100"):
        value = result.values[f"jac_asym_{word}"]
        assert value is None or value == pytest.approx(0, abs=2e-6)  # None: of zeros at low noise
    if not delta:
        x, sigma = T[:1] + 0.9 * torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)), 0.9
        rows = At(denoiser, x, sigma, None).left(np.eye(64)[None])[0]
        images = train.reshape(20, 64).astype(np.float64)
        weights = np.exp(-((x.numpy().reshape(64) - images) ** 2).sum(1) / (2 * sigma**2))
        covariance = np.cov(images.T, aweights=weights, bias=True)
        np.testing.assert_allclose(rows, covariance / sigma**2, atol=1e-5)


class Linear(nn.Module):
    """D(x) = A x, whatever σ."""

    def __init__(self, matrix: np.ndarray) -> None:
        super().__init__()
        self.matrix, self.sigma_data = nn.Parameter(torch.from_numpy(matrix).float()), 1.0

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        return (x.flatten(1) @ self.matrix.T).view_as(x)


def test_a_rotation_is_no_gradient_and_a_shift_reaches_as_far_as_it_shifts() -> None:
    train = np.zeros((4, 8, 8, 1), np.float32)
    chance = np.random.default_rng(0)
    turned = chance.standard_normal((64, 64))
    turned -= turned.T  # J' = -J
    assert run(Linear(turned), train, 1.0).values["jac_asym_050"] == pytest.approx(1)
    half = np.triu(np.ones((64, 64)))  # a known asymmetry, of a matrix and its transpose
    expected = np.linalg.norm(half - half.T) / (2 * np.linalg.norm(half))
    for exact in (64, 0):
        values = run(Linear(half), train, 1.0, exact=exact, probes=8).values
        assert values["jac_asym_050"] == pytest.approx(expected, rel=1e-5 if exact else 0.1)
        assert values["jac_top_050"] == pytest.approx(np.linalg.norm(half, 2), rel=1e-4)
    shift = np.zeros((64, 64))
    for row in range(8):
        for column in range(8):
            shift[row * 8 + column, row * 8 + (column - 3) % 8] = 2.0
    distance = np.mean([abs(column - (column - 3) % 8) for column in range(8)])
    for exact in (64, 0):
        values = run(Linear(shift), train, 1.0, exact=exact).values
        assert values["corr_range_100"] == pytest.approx(distance, abs=1e-6 if exact else 0.4)
        assert values["jac_top_100"] == pytest.approx(2)
    assert run(Linear(shift), train, 1.0).values["jac_rank_100"] == 64  # 99 % of 64 equal values


def test_a_derivative_of_zeros_has_no_direction() -> None:
    for exact in (64, 0):
        values = run(Linear(np.zeros((64, 64))), np.zeros((2, 8, 8, 1), np.float32), 1.0, exact=exact).values
        assert (values["jac_rank_050"], values["jac_top_050"]) == (0, 0)
        assert values["jac_asym_050"] is None
        assert values["corr_range_050"] is None


def test_the_estimate_is_the_exact_one_within_the_error_that_it_states() -> None:
    train, _, _, sigma_d = digit_parts(200)
    chance = np.random.default_rng(1)
    matrix = wiener_matrix(train, 0.5 * sigma_d) + 0.02 * chance.standard_normal((64, 64))
    exact, estimate = (run(Linear(matrix), train, sigma_d, images=24, exact=k) for k in (64, 0))
    table, true = estimate.tables["jacobian"], exact.tables["jacobian"]
    for name in ("jac_rank", "jac_asym", "corr_range"):
        error = table[f"{name}_error"][0]
        assert 0 < error < 0.25 * true[name][0], name
        assert abs(table[name][0] - true[name][0]) < 3 * error / np.sqrt(24) + 0.02 * true[name][0], name
        spread = table[f"{name}_se"][0] * np.sqrt(24)  # between images of one J: of the estimate alone
        assert 0.5 < error / spread < 2, name
    assert table["jac_top"][0] == pytest.approx(true["jac_top"][0], rel=1e-3)


def test_products_from_both_sides_agree_with_one_another_and_with_differences(listed: Any) -> None:
    """⟨u, J v⟩ is the same by vjp and by jvp, and (D(x + εv) − D(x − εv))/2ε."""
    denoiser, x, labels = listed
    chance = torch.Generator().manual_seed(3)
    u, v = (torch.randn(x.shape, generator=chance) for _ in range(2))
    level, step = x.new_full((len(x),), 0.7), 1e-2
    forwards, backwards = jvp(denoiser, x, 0.7, labels, v), vjp(denoiser, x, 0.7, labels, u)
    assert forwards.abs().max() > 0
    left, right = ((a * b).flatten(1).double().sum(1) for a, b in ((u, forwards), (backwards, v)))
    torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        moved = (denoiser(x + step * v, level, labels) - denoiser(x - step * v, level, labels)) / (2 * step)
    scale = float(forwards.abs().max())
    torch.testing.assert_close(moved / scale, forwards / scale, rtol=0.02, atol=0.02)


def test_what_has_no_derivative_says_so() -> None:
    class Silent(Linear):
        def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
            with torch.no_grad():
                return super().forward(x, sigma, labels)

    train = np.zeros((2, 8, 8, 1), np.float32)
    with pytest.raises(ValueError, match="the denoiser has no derivative"):
        run(Silent(np.eye(64)), train, 1.0)
    with pytest.raises(ValueError, match="jacobian needs training images"):
        run(Linear(np.eye(64)), train[:0], 1.0)
    with pytest.raises(ValueError, match="did the training diverge"):
        run(Linear(np.full((64, 64), np.nan)), train, 1.0)


def test_the_plan_expects_as_many_evaluations_as_the_size_of_the_images_needs() -> None:
    """Exact up to 256 values: a product for each; else 57 for each of 4 probes. 32 images, 3 levels, three each."""
    settings = {name: s.default for name, s in Library().signature("score", "jacobian").settings.items()}
    assert jacobian.evaluations((1, 8, 8), settings) == 3 * 32 * 3 * 64
    assert jacobian.evaluations((3, 32, 32), settings) == 3 * 32 * 3 * 4 * 57
    assert jacobian.evaluations((1, 8, 8), settings | {"sigmas": (0.5, 3.0)}) == 3 * 32 * 4 * 64
    values = run(Linear(np.eye(64)), np.zeros((2, 8, 8, 1), np.float32), 1.0, exact=0).values
    assert values["jac_products"] == jacobian.products_of(64, 0, 4) == 4 * 57
