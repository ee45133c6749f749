"""Deviation from the ideal denoiser and from the Wiener filter: closed forms, brute force, and degenerate inputs."""

from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
import torch
from denoisers import CPU, Arrays, Wiener, digit_parts, gaussian, shared
from scipy import stats
from torch import Tensor, nn

from difgen_cli.diffusion import IdealDenoiser, to_array, to_tensor
from difgen_cli.metrics import Result, _noise
from difgen_cli.metrics._intervals import given_images
from difgen_cli.metrics._noise import bank_of_pairs
from difgen_cli.metrics.deviation import COLUMNS, TABLES, measure, principal

REFERENCES = ("ideal_dev", "wiener_dev", "wiener_dev_pool")  # without patches, which are not asked for


def run(denoiser: nn.Module, train: np.ndarray, rest: np.ndarray, sigma_d: float, **settings: object) -> Result:
    return measure(denoiser, train, None, rest, sigma_d, shared, **settings)  # type: ignore[arg-type]


class Filter(nn.Module):
    """μ + Σ(Σ + σ²I)⁻¹(x − μ), solved anew for each σ in float64."""

    def __init__(self, images: np.ndarray, sigma_d: float) -> None:
        super().__init__()
        self.shape, self.sigma_data = images.shape[1:], sigma_d
        x = images.reshape(len(images), -1).astype(np.float64)
        self.mean, self.covariance = x.mean(axis=0), np.cov(x.T, bias=True).reshape(x.shape[1], -1)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        centred = to_array(x).reshape(len(x), -1) - self.mean
        noise = float(sigma[0]) ** 2 * np.eye(len(self.mean))
        denoised = self.mean + centred @ np.linalg.solve(self.covariance + noise, self.covariance)
        return to_tensor(denoised.reshape(len(x), *self.shape))


def test_the_ideal_denoiser_does_not_deviate_from_itself() -> None:
    train, _, rest, sigma_d = digit_parts(8)
    result = run(IdealDenoiser(to_tensor(train), sigma_d), train, rest, sigma_d)
    assert (result.tables["deviation"]["ideal_dev"] == 0).all()
    assert result.values["ideal_dev_050"] == result.values["ideal_dev_050_hi"] == 0
    assert result.values["wiener_dev_050"] > 0.1  # type: ignore[operator]


def test_ideal_deviation_equals_the_excess_training_loss_in_expectation() -> None:
    """λ(E‖D − D*‖²)/d = λ(E‖D − x₀‖² − E‖D* − x₀‖²)/d: the cross term is 0, as D* is the mean of x₀ given x."""
    train, _, rest, sigma_d = digit_parts(8)
    result = run(Wiener(sigma_d), train, rest, sigma_d, pairs=20_000)
    table = result.tables["deviation"]
    pairs = bank_of_pairs(train, None, 20_000, 0, CPU)
    ideal, ours = IdealDenoiser(to_tensor(train), sigma_d), Wiener(sigma_d)
    for k, sigma in enumerate(table["sigma"][1:6], 1):
        x, level = pairs.images + sigma * pairs.noise, torch.full((len(pairs.images),), float(sigma))
        errors = [(d(x, level) - pairs.images).double().square().mean() for d in (ours, ideal)]
        excess = (sigma**-2 + sigma_d**-2) * float(errors[0] - errors[1])
        assert table["ideal_dev"][k] == pytest.approx(excess, rel=0.03)


@pytest.mark.parametrize("shape", [(5,), (3, 2, 2), (4, 4, 1)])
@pytest.mark.parametrize("size", [3, 40])
def test_the_wiener_filters_of_subset_and_pool_do_not_deviate_from_themselves(
    shape: tuple[int, ...], size: int
) -> None:
    rng = np.random.default_rng(0)
    rest = (rng.standard_normal((60, *shape)) @ rng.standard_normal((shape[-1], shape[-1]))).astype(np.float32) + 1
    train = rest[:size]
    for images, exact, other in ((train, "wiener_dev", "wiener_dev_pool"), (rest, "wiener_dev_pool", "wiener_dev")):
        table = run(Filter(images, 0.7), train, rest, 0.7).tables["deviation"]
        assert table[exact].max() < 1e-9
        assert table[other].min() > 1e-5


def test_the_gaussian_model_of_gaussian_data_is_the_wiener_filter() -> None:
    """Known answer 3: with many images the moments are the true ones, and the deviation tends to 0."""
    found = [run(Wiener(0.7), gaussian(n, 1), gaussian(2 * n, 2), 0.7).values for n in (30, 300, 3000)]
    for name in ("wiener_dev_050", "wiener_dev_pool_050"):
        values = [float(values[name]) for values in found]  # type: ignore[arg-type]
        assert values[0] > 3 * values[1] > 9 * values[2] > 0
    assert float(found[0]["ideal_dev_050"]) > 0.1  # type: ignore[arg-type]


def test_fewer_images_than_dimensions_have_the_moments_of_their_span() -> None:
    few = principal(gaussian(5, 0, d=30))
    x = gaussian(5, 0, d=30).astype(np.float64)
    covariance = (few["axes"].T * few["variances"]) @ few["axes"]
    np.testing.assert_allclose(covariance, np.cov(x.T, bias=True), atol=1e-12)
    assert len(few["variances"]) == 5


def test_columns_are_the_tables_lines_with_intervals_given_t() -> None:
    train, _, rest, sigma_d = digit_parts(50)
    result = run(Wiener(sigma_d), train, rest, sigma_d, sigmas=(3.0,), pairs=100)
    table = result.tables["deviation"]
    assert list(table) == list(TABLES["deviation"])
    assert set(result.values) == set(COLUMNS)
    assert table["sigma_rel"].tolist() == [0.25, 0.5, 1, 3]
    np.testing.assert_allclose(table["sigma"], sigma_d * table["sigma_rel"])
    assert (table["n_pairs"] == 100).all()
    for name in REFERENCES:
        for k, word in enumerate(("025", "050", "100")):
            value, half_width = (
                table[name][k],
                2.0086 * table[f"{name}_se"][k],
            )  # t of 50 degrees of freedom: two draws of each image
            assert result.values[f"{name}_{word}"] == value
            for end, sign in (("lo", -1), ("hi", 1)):
                expected = value * np.exp(sign * half_width / value)
                assert result.values[f"{name}_{word}_{end}"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("pairs", [80, 20], ids=["all of T", "a quarter of T"])
def test_intervals_cover_the_deviation_of_this_t_by_this_model(pairs: int) -> None:
    """Noise is drawn, and which images are asked; the truth is the mean over T with 250 draws of noise an image."""
    T, rest, model, name = gaussian(80, 7), gaussian(500, 0), Wiener(0.7, 0.5), "wiener_dev_pool_050"
    truth = run(model, T, rest, 0.7, sigmas=(), pairs=20_000).values[name]
    found = []
    for seed in range(200):
        with patch.object(_noise, "SEED", seed + 10**6):
            order = np.random.default_rng(seed).permutation(len(T))
            found.append(run(model, T[order], rest, 0.7, sigmas=(), pairs=pairs).values)
    lower, upper = (np.array([v[f"{name}{end}"] for v in found], float) for end in ("_lo", "_hi"))
    assert 0.9 <= ((lower <= truth) & (truth <= upper)).mean() <= 0.99


def test_the_interval_given_t_is_of_two_stages_by_hand() -> None:
    """Two of eight images, two draws each: means 2 and 5, variances within 2 and 8."""
    mean, error, half = given_images(np.array([[1.0, 3.0], [3.0, 7.0]]), 8)
    variances = 3 / 4 * 4.5 / 2, 1 / 4 * 5 / 4  # images not asked; noise on those that were
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 1 + variances[1] ** 2 / 2)
    assert (mean, error) == pytest.approx((3.5, np.sqrt(sum(variances))))
    assert half == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    assert given_images(np.array([[1.0, 3.0]]), 1)[1:] == pytest.approx((1.0, stats.t.ppf(0.975, 1)))
    assert np.isnan(given_images(np.array([[1.0, 3.0]]), 2)[1:]).all(), "one image of two says nothing of the other"


def test_conditionings_of_one_subset_do_not_share_their_ideal_denoiser() -> None:
    train, _, rest, sigma_d = digit_parts(6)
    kept: dict[str, Arrays] = {}

    def remember(name: str, compute: Callable[[], Arrays]) -> Arrays:
        return kept.setdefault(name, compute())

    for labels in (None, np.arange(6), np.arange(6) % 2):
        ideal = IdealDenoiser(to_tensor(train), sigma_d, None if labels is None else torch.from_numpy(labels))
        result = measure(ideal, train, labels, rest, sigma_d, remember)
        assert (result.tables["deviation"]["ideal_dev"] == 0).all()
    assert len(kept) == 5  # three ideal denoisers, the moments of T and those of the pool


@pytest.mark.parametrize("size", [1, 2, 3])
def test_few_images_give_values_or_none_and_never_nan(size: int) -> None:
    values = run(Wiener(0.7), gaussian(size, 1), gaussian(size, 1), 0.7, pairs=20).values
    assert set(values) == set(COLUMNS)
    for name, value in values.items():
        unasked = name.startswith("local_dev_")  # without a size of patches
        assert (value is None) == unasked, name
        assert value is None or np.isfinite(value)  # type: ignore[arg-type]


def test_images_that_are_all_the_same_are_their_own_ideal_and_filter() -> None:
    same = np.full((9, 4, 4, 1), 0.5, np.float32)
    values = run(IdealDenoiser(to_tensor(same), 0.7), same, same, 0.7).values
    assert max(float(value) for value in values.values() if value is not None) < 1e-12


def test_what_cannot_be_measured_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="did the training diverge"):
        run(Wiener(0.7, np.nan), gaussian(5, 1), gaussian(5, 2), 0.7)
    with pytest.raises(ValueError, match="needs training images and a pool"):
        run(Wiener(0.7), gaussian(5, 1)[:0], gaussian(5, 2), 0.7)
    with pytest.raises(ValueError, match="must be above 0"):
        run(Wiener(0.7), gaussian(5, 1), gaussian(5, 2), 0.7, sigmas=(0.0, 1.0))
