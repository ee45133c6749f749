"""The generalisation gap by noise level: known answers, its intervals, and degenerate inputs."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difgen_cli.data import scaled, sigma_data, split
from difgen_cli.data.circle import load as load_circle
from difgen_cli.data.digits import load as load_digits
from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import Result, gap, peak
from difgen_cli.metrics.gap import COLUMNS, TABLES, measure

Arrays = dict[str, np.ndarray]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


class Wiener(nn.Module):
    """The posterior mean of isotropic Gaussian data, times a factor."""

    def __init__(self, sigma_d: float, factor: float = 1.0) -> None:
        super().__init__()
        self.sigma_data, self.factor = sigma_d, factor

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        shrink = self.factor / (1 + (sigma / self.sigma_data) ** 2)
        return shrink.view(-1, *[1] * (x.dim() - 1)) * x


class ErrorProne(nn.Module):
    """Kaiser & Kollmann's y_δ: the ideal denoiser seen through additional noise of deviation δ."""

    def __init__(self, train: np.ndarray, delta: float) -> None:
        super().__init__()
        self.ideal, self.delta, self.sigma_data = IdealDenoiser(to_tensor(train), 1.0), delta, 1.0

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        d2, s2 = self.delta**2, sigma.square()[:, None]
        return (d2 * x + s2 * self.ideal(x, (s2[:, 0] + d2).sqrt())) / (s2 + d2)


def digit_parts(size: int, held_out: int = 512) -> tuple[np.ndarray, np.ndarray, float]:
    pool = load_digits()
    found = split(pool, size=size, held_out=held_out)
    return scaled(pool.images[found.train]), scaled(pool.images[found.held_out]), sigma_data(pool.images[found.rest])


def gaussian(n: int, seed: int, d: int = 8, sigma_d: float = 0.7) -> np.ndarray:
    return (sigma_d * np.random.default_rng((seed, n)).standard_normal((n, d))).astype(np.float32)


def run(denoiser: nn.Module, train: np.ndarray, held_out: np.ndarray, sigma_d: float, **settings: float) -> Result:
    return measure(denoiser, train, held_out, None, None, sigma_d, shared, **settings)  # type: ignore[arg-type]


def lines(result: Result, split: str) -> dict[str, np.ndarray]:
    table = result.tables["noise"]
    return {name: column[table["split"] == split] for name, column in table.items()}


def excess_training_loss(denoiser: nn.Module, train: np.ndarray, sigma_d: float) -> tuple[np.ndarray, np.ndarray]:
    """ideal_dev of the metric, and λ(E‖D − x₀‖² − E‖D* − x₀‖²)/d from its losses for both denoisers."""
    settings = {"sigmas": 5, "sigma_min": 0.1, "sigma_max": 3.0, "pairs": 20_000}
    ours = lines(run(denoiser, train, train, sigma_d, **settings), "train")
    best = lines(run(IdealDenoiser(to_tensor(train), sigma_d), train, train, sigma_d, **settings), "train")
    weight = (ours["sigma"] ** 2 + sigma_d**2) / (ours["sigma"] * sigma_d) ** 2
    return ours["ideal_dev"], weight * (ours["loss"] - best["loss"])


def test_the_ideal_denoiser_does_not_deviate_from_itself() -> None:
    train, held_out, sigma_d = digit_parts(8)
    table = lines(run(IdealDenoiser(to_tensor(train), sigma_d), train, held_out, sigma_d), "train")
    assert (table["ideal_dev"] == 0).all()


def test_ideal_deviation_equals_the_excess_training_loss_in_expectation() -> None:
    train, _, sigma_d = digit_parts(8)
    deviation, excess = excess_training_loss(Wiener(sigma_d), train, sigma_d)
    np.testing.assert_allclose(deviation, excess, rtol=0.03)


def test_the_error_prone_denoiser_has_the_gap_of_kaiser_and_kollmann() -> None:
    """Known answer 5, with the square of the error: 0.1628 at σ = 1.079 for δ = 2.2, N = 10."""
    points = load_circle(points=20, phase=0.01).images
    for delta, height, place in ((2.2, 0.1628, 1.079), (1.8, 0.4395, 1.075), (1.4, 1.221, 1.061)):
        settings = {"sigmas": 9, "sigma_min": 0.6, "sigma_max": 1.8, "pairs": 200_000, "resamples": 100}
        values = run(ErrorProne(points[::2], delta), points[::2], points[1::2], 1.0, **settings).values
        assert values["gap_max"] == pytest.approx(height, rel=0.02)
        assert values["gap_sigma"] == pytest.approx(place, rel=0.02)


def test_the_best_denoiser_of_the_distribution_has_no_gap() -> None:
    """Known answer 3: the Wiener denoiser of Gaussian data has the same loss everywhere, in closed form."""
    result = run(Wiener(0.7), gaussian(2000, 1), gaussian(2000, 2), 0.7, pairs=4000)
    for table in (lines(result, "train"), lines(result, "heldout")):
        expected = 0.7**2 * table["sigma_rel"] ** 2 / (1 + table["sigma_rel"] ** 2)
        np.testing.assert_allclose(table["loss"], expected, rtol=0.04)
    table = lines(result, "heldout")
    assert (table["gap_lo"] <= 0).all()
    assert (table["gap_hi"] >= 0).all()
    values = result.values
    assert values["gap_max_lo"] < values["gap_max"] < values["gap_max_hi"]  # type: ignore[operator]
    assert values["gap_max"] < 2 * values["gap_null"]  # type: ignore[operator]


def test_bands_cover_the_truth_at_all_noise_levels_together() -> None:
    """A model of Gaussian data has the gap 0 at every σ: bands that hold 95 % of the time at each would miss more."""
    repetitions, covered, below = 60, 0, 0
    for seed in range(repetitions):
        result = run(Wiener(0.7), gaussian(150, seed), gaussian(150, seed + 500), 0.7, pairs=150, resamples=200)
        table = lines(result, "train")
        covered += bool(((table["gap_lo"] <= 0) & (table["gap_hi"] >= 0)).all())
        below += result.values["gap_max"] <= result.values["gap_null"]  # type: ignore[operator]
    assert covered >= 0.85 * repetitions
    assert 0.75 * repetitions <= below


def test_a_memorizer_has_a_gap_far_above_its_null() -> None:
    points = load_circle(points=20).images
    values = run(ErrorProne(points[::2], 1.4), points[::2], points[1::2], 1.0).values
    assert values["gap_max_lo"] > values["gap_null"]  # type: ignore[operator]


def test_losses_are_means_over_the_bank_and_the_table_says_how_many() -> None:
    train, held_out, sigma_d = digit_parts(30, 100)
    result = run(Wiener(sigma_d), train, held_out, sigma_d, sigmas=3, pairs=64)
    assert {name: list(table) for name, table in result.tables.items()} == {n: list(t) for n, t in TABLES.items()}
    table = lines(result, "train")
    assert table["n_pairs"].tolist() == [90] * 3  # 3 draws of each of 30 images: at least 64
    assert lines(result, "heldout")["n_pairs"].tolist() == [64] * 3
    bank = gap.bank(train, None, 64, 0, torch.device("cpu"))
    x0 = train.reshape(30, 64).repeat(3, axis=0)
    noise = bank.noise.numpy().reshape(90, 64)
    for k, sigma in enumerate(table["sigma"]):
        error = (x0 + sigma * noise) / (1 + (sigma / sigma_d) ** 2) - x0
        per_image = (error**2).mean(axis=1).reshape(30, 3).mean(axis=1)
        assert table["loss"][k] == pytest.approx(per_image.mean(), rel=1e-5)
        assert table["loss_se"][k] == pytest.approx(per_image.std(ddof=1) / np.sqrt(30), rel=1e-4)
    both = table["loss"], lines(result, "heldout")["loss"]
    np.testing.assert_allclose(table["gap"], both[1] / both[0] - 1)
    weight = (table["sigma"] ** 2 + sigma_d**2) / (table["sigma"] * sigma_d) ** 2
    np.testing.assert_allclose(table["gap_excess"], weight * (both[1] - both[0]))
    np.testing.assert_allclose(table["sigma"], sigma_d * table["sigma_rel"])
    np.testing.assert_allclose(table["sigma_rel"], [0.02, np.sqrt(0.02 * 20), 20])


def test_noise_is_the_same_for_every_model_and_differs_between_splits() -> None:
    images = gaussian(50, 0)
    one, two, other = (gap.bank(images, None, 100, split, torch.device("cpu")) for split in (0, 0, 1))
    assert torch.equal(one.noise, two.noise)
    assert not torch.equal(one.noise, other.noise)
    assert one.noise.std().item() == pytest.approx(1, abs=0.1)


def test_the_peak_of_a_parabola_is_found_between_the_grid_points() -> None:
    x = np.linspace(-2, 3, 12)
    centres = np.array([-1.7, 0.03, 1.4, 2.7])
    heights, places = peak(5 - 3 * (x - centres[:, None]) ** 2, x)
    np.testing.assert_allclose(heights, 5)
    np.testing.assert_allclose(places, centres)


def test_a_peak_at_the_end_of_the_grid_is_the_end() -> None:
    x = np.linspace(0, 1, 6)
    assert [v.item() for v in peak(x**2, x)] == [1, 1]
    assert [v.item() for v in peak(-x, x)] == [0, 0]
    assert peak(np.zeros(6), x)[0] == 0


class OfLabel(nn.Module):
    """Denoises to the constant image of each label; refuses labels that it never saw."""

    def __init__(self) -> None:
        super().__init__()
        self.sigma_data = 1.0

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        assert labels.max() < 3
        return labels.view(-1, 1).float().expand_as(x) + 0.1


def test_labels_stay_with_their_images_and_unknown_conditions_are_left_out() -> None:
    labels = np.random.default_rng(0).integers(3, size=80)
    train = np.repeat(labels[:, None], 4, axis=1).astype(np.float32)
    held_out, of_held_out = np.concatenate([train[:40], train[:5] + 9]), np.concatenate([labels[:40], [7] * 5])
    result = measure(OfLabel(), train, held_out, labels, of_held_out, 1.0, shared, pairs=200)  # type: ignore[arg-type]
    for split_name, pairs in (("train", 240), ("heldout", 200)):
        table = lines(result, split_name)
        np.testing.assert_allclose(table["loss"], 0.01, rtol=1e-4)
        assert (table["n_pairs"] == pairs).all()
    np.testing.assert_allclose(lines(result, "train")["gap"], 0, atol=1e-6)


def test_conditionings_of_one_subset_do_not_share_their_ideal_denoiser() -> None:
    train, held_out, sigma_d = digit_parts(6)
    kept: dict[str, Arrays] = {}

    def remember(name: str, compute: Callable[[], Arrays]) -> Arrays:
        return kept.setdefault(name, compute())

    for labels in (None, np.arange(6), np.arange(6) % 2):
        of_held_out = None if labels is None else np.zeros(len(held_out), np.int64)
        ideal = IdealDenoiser(to_tensor(train), sigma_d, None if labels is None else torch.from_numpy(labels))
        result = measure(ideal, train, held_out, labels, of_held_out, sigma_d, remember)
        assert (lines(result, "train")["ideal_dev"] == 0).all()
    assert len(kept) == 3


def test_a_perfect_memorizer_has_no_finite_gap_but_a_finite_excess() -> None:
    train, held_out, sigma_d = digit_parts(8)
    result = run(IdealDenoiser(to_tensor(train), sigma_d), train, held_out, sigma_d)
    table = lines(result, "train")
    assert table["loss"][0] == 0
    assert np.isnan(table["gap"][0])
    assert result.values["gap_max"] is None
    assert result.values["gap_sigma"] is None
    assert np.isfinite(table["gap_excess"]).all()


@pytest.mark.parametrize(("size", "held_out"), [(1, 2), (1, 50), (2, 3), (3, 4)])
def test_few_images_give_values_or_none_and_never_nan(size: int, held_out: int) -> None:
    values = run(Wiener(0.7), gaussian(size, 1), gaussian(held_out, 2), 0.7, pairs=20).values
    assert set(values) == set(COLUMNS)
    assert all(value is None or np.isfinite(value) for value in values.values())  # type: ignore[arg-type]
    assert values["gap_max"] is not None
    assert (values["gap_max_lo"] is None) == (size == 1)
    assert (values["gap_null"] is None) == (held_out < 4)


def test_a_diverged_model_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="did the training diverge"):
        run(Wiener(0.7, np.nan), gaussian(5, 1), gaussian(5, 2), 0.7)


def test_what_cannot_be_measured_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="2 held-out images"):
        run(Wiener(0.7), gaussian(5, 1), gaussian(1, 2), 0.7)
    with pytest.raises(ValueError, match="below sigma_max"):
        run(Wiener(0.7), gaussian(5, 1), gaussian(5, 2), 0.7, sigma_min=3.0, sigma_max=3.0)
