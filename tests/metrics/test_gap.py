"""The generalisation gap by noise level: known answers, its intervals, and degenerate inputs."""

import numpy as np
import pytest
from denoisers import CPU, ErrorProne, OfLabel, Wiener, digit_parts, gaussian
from torch import nn

from difgen_cli.data.circle import load as load_circle
from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import Result, gap_of, peak
from difgen_cli.metrics._noise import bank_of_pairs
from difgen_cli.metrics.gap import COLUMNS, TABLES, measure, noise_levels


def run(denoiser: nn.Module, train: np.ndarray, held_out: np.ndarray, sigma_d: float, **settings: float) -> Result:
    return measure(denoiser, train, held_out, None, None, sigma_d, **settings)  # type: ignore[arg-type]


def lines(result: Result, split: str) -> dict[str, np.ndarray]:
    table = result.tables["noise"]
    return {name: column[table["split"] == split] for name, column in table.items()}


def on_circle(size: int, delta: float, **settings: float) -> dict[str, float]:
    """Known answer 5, with its σ in absolute units."""
    points = load_circle(points=2 * size, phase=0.01).images
    settings = {"quadrature_nodes": 100, "resamples": 100, **settings}
    return run(ErrorProne(points[::2], delta), points[::2], points[1::2], 1.0, **settings).values  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("size", "delta", "height", "place"),
    [
        (10, 2.2, 0.0901, 1.184),
        (10, 1.8, 0.2306, 1.184),
        (10, 1.4, 0.5695, 1.184),
        (8, 1.6, 0.7383, 1.397),
        (10, 1.6, 0.3626, 1.184),
        (12, 1.6, 0.1769, 0.999),
    ],
)
def test_the_toy_of_kaiser_and_kollmann_with_their_norm(size: int, delta: float, height: float, place: float) -> None:
    """Their schedule of 120 levels: those around the peak, on the same grid."""
    schedule = noise_levels(120, 0.002, 80.0, 7.0)
    near = schedule[(schedule > 0.8) & (schedule < 1.7)]
    levels = {"sigmas": len(near), "sigma_min": near[0], "sigma_max": near[-1], "rho": 7.0}
    values = on_circle(size, delta, **levels)
    assert values["gap_norm_max"] == pytest.approx(height, abs=1e-4)
    assert values["gap_norm_sigma"] == pytest.approx(place, abs=6e-4)


@pytest.mark.parametrize(
    ("delta", "height", "place"), [(2.2, 0.1628, 1.079), (1.8, 0.4395, 1.075), (1.4, 1.221, 1.061)]
)
def test_the_toy_of_kaiser_and_kollmann_with_the_square(delta: float, height: float, place: float) -> None:
    values = on_circle(10, delta, sigmas=9, sigma_min=1.03, sigma_max=1.12, quadrature_nodes=60)
    assert values["gap_max"] == pytest.approx(height, rel=5e-4)
    assert values["gap_sigma"] == values["gap_sigma_absolute"] == pytest.approx(place, abs=6e-4)
    assert values["gap_images_needed"] is None  # nothing is left to chance
    assert values["gap_max_lo"] == pytest.approx(height, rel=1e-3)


def test_drawn_noise_gives_what_the_quadrature_gives() -> None:
    levels = {"sigmas": 5, "sigma_min": 0.6, "sigma_max": 1.8, "pairs": 100_000}
    drawn, exact = on_circle(10, 1.8, quadrature_nodes=0, **levels), on_circle(10, 1.8, **levels)
    for name in ("gap_max", "gap_norm_max"):
        assert 1 + drawn[name] == pytest.approx(1 + exact[name], rel=0.02)  # four standard errors
    assert drawn["gap_sigma"] == pytest.approx(exact["gap_sigma"], rel=0.02)


def test_levels_are_even_in_the_logarithm_or_are_the_samplers() -> None:
    np.testing.assert_allclose(noise_levels(4, 0.01, 10.0, None), [0.01, 0.1, 1, 10])
    k = np.arange(18)
    karras = (80.0 ** (1 / 7) + k / 17 * (0.002 ** (1 / 7) - 80.0 ** (1 / 7))) ** 7  # eq. 5
    np.testing.assert_allclose(noise_levels(18, 0.002, 80.0, 7.0), karras[::-1])


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


def test_as_many_images_as_are_said_to_be_needed_give_the_resolution() -> None:
    """Both where images differ and where the noise alone does."""
    for factor, resolution in ((1.0, 0.05), (0.5, 0.02)):
        model, settings = Wiener(0.7, factor), {"sigmas": 3, "sigma_min": 0.3, "sigma_max": 3.0}
        first = run(model, gaussian(800, 1), gaussian(800, 2), 0.7, resolution=resolution, **settings)
        needed = int(first.values["gap_images_needed"])  # type: ignore[arg-type]
        assert needed > 900
        result = run(model, gaussian(needed, 3), gaussian(needed, 4), 0.7, pairs=needed, **settings)
        table = lines(result, "train")
        k = table["gap"].argmax()
        half_width = np.log((1 + table["gap_hi"][k]) / (1 + table["gap_lo"][k])) / 2
        assert half_width == pytest.approx(np.log1p(resolution), rel=0.15)


def test_a_memorizer_has_a_gap_far_above_its_null() -> None:
    points = load_circle(points=20).images
    values = run(ErrorProne(points[::2], 1.4), points[::2], points[1::2], 1.0).values
    assert values["gap_max_lo"] > values["gap_null"]  # type: ignore[operator]


def test_losses_are_means_over_the_bank_and_the_table_says_how_many() -> None:
    train, held_out, _, sigma_d = digit_parts(30, 100)
    result = run(Wiener(sigma_d), train, held_out, sigma_d, sigmas=3, pairs=64)
    assert {name: list(table) for name, table in result.tables.items()} == {n: list(t) for n, t in TABLES.items()}
    table = lines(result, "train")
    assert table["n_pairs"].tolist() == [90] * 3  # 3 draws of each of 30 images: at least 64
    assert lines(result, "heldout")["n_pairs"].tolist() == [64] * 3
    bank = bank_of_pairs(train, None, 64, 0, CPU)
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


def test_the_peak_of_a_parabola_is_found_between_the_grid_points() -> None:
    x = np.linspace(-2, 3, 12)
    centres = np.array([-1.7, 0.03, 1.4, 2.7])
    heights, places = peak(5 - 3 * (x - centres[:, None]) ** 2, x)
    np.testing.assert_allclose(heights, 5)
    np.testing.assert_allclose(places, centres)


@pytest.mark.parametrize(("sigmas", "error", "shift"), [(16, 0.04, 0.06), (31, 0.0015, 0.005)])
def test_sixteen_noise_levels_find_the_toys_peak_within_a_few_percent(sigmas: int, error: float, shift: float) -> None:
    """Wherever they lie: the default's levels, moved by a quarter of a step at a time. Known answer 5."""
    levels = noise_levels(sigmas, 0.02 * 7.07, 20 * 7.07, None)
    step = levels[1] / levels[0]
    for height, place, delta in ((0.1628, 1.079, 2.2), (0.4395, 1.075, 1.8), (1.221, 1.061, 1.4)):
        for moved in (0, 0.25, 0.5, 0.75):
            ends = levels[[0, -1]] * step**moved
            settings = {"sigmas": sigmas, "sigma_min": ends[0], "sigma_max": ends[1], "quadrature_nodes": 40}
            values = on_circle(10, delta, **settings)
            assert values["gap_max"] == pytest.approx(height, rel=error), (delta, moved)
            assert values["gap_sigma"] == pytest.approx(place, rel=shift)


def test_the_peak_is_found_on_an_uneven_grid() -> None:
    x = np.array([-1.0, 0.0, 0.3, 1.5, 2.0])
    height, place = peak(2 - (x - 0.7) ** 2, x)
    assert (height, place) == (pytest.approx(2), pytest.approx(0.7))


def test_a_peak_at_the_end_of_the_grid_is_the_end() -> None:
    x = np.linspace(0, 1, 6)
    assert [v.item() for v in peak(x**2, x)] == [1, 1]
    assert [v.item() for v in peak(-x, x)] == [0, 0]
    assert peak(np.zeros(6), x)[0] == 0


def test_labels_stay_with_their_images_and_unknown_conditions_are_left_out() -> None:
    labels = np.random.default_rng(0).integers(3, size=80)
    train = np.repeat(labels[:, None], 4, axis=1).astype(np.float32)
    held_out, of_held_out = np.concatenate([train[:40], train[:5] + 9]), np.concatenate([labels[:40], [7] * 5])
    result = measure(OfLabel(), train, held_out, labels, of_held_out, 1.0, pairs=200)  # type: ignore[arg-type]
    for split_name, pairs in (("train", 240), ("heldout", 200)):
        table = lines(result, split_name)
        np.testing.assert_allclose(table["loss"], 0.01, rtol=1e-4)
        assert (table["n_pairs"] == pairs).all()
    np.testing.assert_allclose(lines(result, "train")["gap"], 0, atol=1e-6)


def test_a_perfect_memorizer_has_no_finite_gap_but_a_finite_excess() -> None:
    train, held_out, _, sigma_d = digit_parts(8)
    result = run(IdealDenoiser(to_tensor(train), sigma_d), train, held_out, sigma_d)
    table = lines(result, "train")
    assert table["loss"][0] == 0
    assert np.isnan(table["gap"][0])
    assert result.values["gap_max"] is None
    assert result.values["gap_sigma"] is None
    assert np.isfinite(table["gap_excess"]).all()
    assert result.values["gap_images_needed"] is result.values["gap_norm_max"] is None


def test_intervals_of_normal_losses_are_students() -> None:
    """At one level, where the losses of H are all the same: the mean of T ± t(0.975; 15) standard errors."""
    widths = []
    for seed in range(40):
        losses = 100 + np.random.default_rng(seed).standard_normal((16, 1))
        found = gap_of(losses, np.full((50, 1), 100.0), 2000)
        np.testing.assert_allclose(found.upper_alone, found.upper)
        widths.append((found.upper - found.lower)[0] / (2 * losses.std(ddof=1) / np.sqrt(16) / 100))
    assert np.mean(widths) == pytest.approx(2.131, rel=0.05)


def test_a_level_at_which_hardly_an_image_has_a_loss_has_no_band_and_the_others_have() -> None:
    losses = np.random.default_rng(0).exponential(size=(2, 16, 3))
    losses[0, 1:, 1] = 0
    found = gap_of(*losses, 200)
    assert np.isfinite(found.log_ratio).all()
    assert np.isnan(found.lower).tolist() == np.isnan(found.upper_alone).tolist() == [False, True, False]
    without = gap_of(*losses[:, :, [0, 2]], 200)
    np.testing.assert_allclose(found.upper[[0, 2]], without.upper)


@pytest.mark.parametrize(("size", "held_out"), [(1, 2), (1, 50), (2, 3), (3, 4), (4, 50), (50, 4), (5, 6)])
def test_few_images_give_values_or_none_and_never_nan(size: int, held_out: int) -> None:
    values = run(Wiener(0.7), gaussian(size, 1), gaussian(held_out, 2), 0.7, pairs=20).values
    assert set(values) == set(COLUMNS)
    assert all(value is None or np.isfinite(value) for value in values.values())  # type: ignore[arg-type]
    assert values["gap_max"] is not None
    assert (values["gap_max_lo"] is None) == (values["gap_images_needed"] is None) == (min(size, held_out) < 5)
    assert (values["gap_null"] is None) == (held_out < 4)


def test_a_diverged_model_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="did the training diverge"):
        run(Wiener(0.7, np.nan), gaussian(5, 1), gaussian(5, 2), 0.7)


def test_what_cannot_be_measured_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="2 held-out images"):
        run(Wiener(0.7), gaussian(5, 1), gaussian(1, 2), 0.7)
    with pytest.raises(ValueError, match="below sigma_max"):
        run(Wiener(0.7), gaussian(5, 1), gaussian(5, 2), 0.7, sigma_min=3.0, sigma_max=3.0)
    with pytest.raises(ValueError, match="one or two dimensions"):
        run(Wiener(0.7), gaussian(5, 1), gaussian(5, 2), 0.7, quadrature_nodes=9)


def test_images_that_are_all_the_same_give_values_or_none() -> None:
    same = np.full((20, 4), 0.5, np.float32)
    values = run(Wiener(0.7), same, same, 0.7, pairs=100).values
    assert all(value is None or np.isfinite(value) for value in values.values())  # type: ignore[arg-type]
    exact = run(IdealDenoiser(to_tensor(same), 0.7), same, same, 0.7).values  # no error at all on either side
    assert set(exact.values()) == {None}
