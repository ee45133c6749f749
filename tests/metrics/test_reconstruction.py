"""Reconstructions against closed forms, brute force, the exact denoiser of the data, and the perfect memorizer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from denoisers import OfLabel, Wiener, digit_parts, gaussian
from torch import Tensor, nn

from difgen_cli import data, sampling
from difgen_cli.data import gaussians
from difgen_cli.diffusion import IdealDenoiser, Mixture, MixtureDenoiser, to_tensor
from difgen_cli.metrics import _cosines, flat, frechet, reconstruction
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, unit_noise
from difgen_cli.metrics._reconstructions import paired_distance, squared_mean_excess
from difgen_cli.neighbours import mirror
from difgen_cli.sampling import heun

D, SIGMA_D = 8, 0.7
EMPTY = np.empty((0, D), np.float32)


def itself(x: np.ndarray) -> np.ndarray:
    return flat(x)


def measured(
    denoiser: Any, T: np.ndarray, H: np.ndarray, samples: np.ndarray = EMPTY, sigma_d: float = SIGMA_D, **settings: Any
) -> Mapping[str, Any]:
    settings = {"sigmas": (), "resamples": 200} | settings
    return reconstruction.measure(denoiser, samples, T, H, None, None, itself, sigma_d, **settings).values


def interval(values: Mapping[str, Any], name: str) -> tuple[float, float]:
    return values[f"{name}_lo"], values[f"{name}_hi"]


def test_distance_and_error_of_the_best_denoiser_of_a_gaussian_are_the_closed_forms() -> None:
    """D = a(x₀ + σn), a = σ_d²/(σ_d² + σ²): covariance a σ_d², and error σ_d² σ²/(σ_d² + σ²) a feature."""
    T, H = gaussian(2000, 1), gaussian(2000, 2)
    result = reconstruction.measure(
        Wiener(SIGMA_D), EMPTY, T, H, None, None, itself, SIGMA_D, pairs=2000, resamples=100
    )
    for level, word in reconstruction.NAMED.items():
        a = 1 / (1 + level**2)
        for split in reconstruction.SPLITS:
            name = f"rfd_{split}_{word}"
            low, high = interval(result.values, name)
            # the intervals are for this many images, which adds what means and covariances of them differ by
            assert low / 1.1 < D * SIGMA_D**2 * (1 - a**0.5) ** 2 < high * 1.1
            assert result.values[name] == pytest.approx(D * SIGMA_D**2 * (1 - a**0.5) ** 2, rel=0.15)
    table = result.tables["reconstruction"]
    expected = SIGMA_D**2 * table["sigma_rel"] ** 2 / (1 + table["sigma_rel"] ** 2)
    np.testing.assert_allclose(table["feat_loss"], expected, rtol=0.05)


def test_the_interval_of_the_distance_is_as_wide_as_other_images_and_noise_make_it_vary() -> None:
    """Both sets move with an image: reconstructions alone would say too much."""

    def drawn(seed: int) -> tuple[float | None, ...]:
        x, noise = gaussian(300, 2 * seed), gaussian(300, 2 * seed + 1)
        return paired_distance(0.8 * (x + 0.5 * noise).astype(float), x.astype(float))

    values, low, high = (np.array(part, float) for part in zip(*map(drawn, range(100)), strict=True))
    width = np.log(high / low).mean() / (2 * 1.96 * np.log(values).std(ddof=1))
    assert 0.85 < width < 1.35, "somewhat wide near 0, where the distance bends"
    assert ((low <= values.mean()) & (values.mean() <= high)).mean() >= 0.92


def test_chance_in_the_shift_of_the_mean_counts_once() -> None:
    """‖m‖² of n normal rows varies by 4 μᵀΣμ/n + 2 tr Σ²/n²; their influences say 4 μᵀΣμ/n + 4 tr Σ²/n²."""
    chance, n, scale, mu = np.random.default_rng(0), 30, np.array([0.5, 1.0, 2.0]), np.array([0.1, 0.0, 0.2])
    drawn = [mu + scale * chance.standard_normal((n, 3)) for _ in range(2000)]
    excess = np.mean([squared_mean_excess(x) for x in drawn])
    naive = np.mean([np.var(2 * (x - x.mean(axis=0)) @ x.mean(axis=0), ddof=1) / n for x in drawn])
    linear, quadratic = 4 * (mu**2 * scale**2).sum() / n, 2 * (scale**4).sum() / n**2
    assert excess == pytest.approx(quadratic, rel=0.04)
    assert naive - excess == pytest.approx(linear + quadratic, rel=0.08)
    wide = chance.standard_normal((8, 3)) @ chance.standard_normal((3, 40))  # more values than rows: the same by hand
    covariance = np.cov(wide.T)
    by_hand = 49 / (6 * 9) * ((covariance**2).sum() - np.trace(covariance) ** 2 / 7)
    assert squared_mean_excess(wide) == pytest.approx(2 * by_hand / 64)


def test_without_noise_an_image_is_its_own_reconstruction() -> None:
    T, H = gaussian(60, 1), gaussian(60, 2)
    result = reconstruction.measure(Wiener(SIGMA_D), EMPTY, T, H, None, None, itself, SIGMA_D, sigmas=(1e-4,))
    table = {name: column[result.tables["reconstruction"]["sigma_rel"] == 1e-4] for name, column in
             result.tables["reconstruction"].items()}  # fmt: skip
    assert table["split"].tolist() == ["train", "heldout"]
    np.testing.assert_allclose(table["rfd"], 0, atol=1e-8)
    np.testing.assert_allclose(table["feat_loss"], 0, atol=1e-7)
    np.testing.assert_allclose([table["nn_cos_t"][0], table["nn_cos_h"][1]], 1, atol=1e-6)
    assert max(table["nn_cos_t"][1], table["nn_cos_h"][0]) < 0.95


def test_the_exact_denoiser_of_the_data_has_no_gap_however_few_training_images_there_are() -> None:
    pool = gaussians.load(components=4, dimension=5, points=4096)
    assert pool.population is not None
    known = pool.population
    parts = (torch.from_numpy(array) for array in (known.weights, known.means, known.factors))
    sigma_d = data.sigma_data(pool.images)
    exact = MixtureDenoiser(Mixture(*parts, known.noise), sigma_d)
    values = measured(exact, pool.images[:40], pool.images[1000:1900], pool.images[2000:2400], sigma_d)
    for name in ("feat_gap_025", "feat_gap_050", "feat_gap_100", "feat_gap_max", "nn_lead"):
        low, high = interval(values, name)
        assert low <= 0 <= high, name
    assert values["recon_images"] == 40
    values = measured(exact, pool.images[:500], pool.images[1000:1900], pool.images[2000:2400], sigma_d, sigma=0.05)
    low, high = interval(values, "nn_share")
    assert low <= values["nn_share_control"] <= high
    assert values["nn_share_control"] == pytest.approx(0.5, abs=0.1)


def test_a_perfect_memorizer_reconstructs_its_training_images_and_no_others() -> None:
    T, H, _, sigma_d = digit_parts(64)
    values = measured(IdealDenoiser(to_tensor(T), sigma_d), T, H, T[:40], sigma_d)
    assert values["feat_gap_050"] is None or values["feat_gap_050_lo"] > 100
    assert values["nn_cos_rt_t"] == pytest.approx(1, abs=1e-4)
    assert values["nn_cos_x_t"] == pytest.approx(1, abs=1e-6)
    assert values["nn_cos_rh_t"] > values["nn_cos_rh_h"], "it makes training images of unseen ones"
    assert values["rfd_heldout_050"] > 100 * values["rfd_train_050"]
    assert interval(values, "nn_lead")[0] > 0


def test_pictures_are_the_first_images_with_their_noise_and_what_the_denoiser_makes_of_it() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (30, 4, 5, 3)).astype(np.float32)
    T, H, sigma = images[:12], images[12:], 0.5 * SIGMA_D
    denoiser = IdealDenoiser(to_tensor(T), SIGMA_D)
    settings: dict[str, Any] = {"sigmas": (), "resamples": 100, "pairs": 30}
    result = reconstruction.measure(denoiser, images[:0], T, H, None, None, itself, SIGMA_D, **settings)
    table = result.tables["reconstruction_pictures"]
    assert set(table["sigma_rel"]) == {0.5}
    for split, clean, number in (("train", T, TRAIN), ("heldout", H, HELD_OUT)):
        x = to_tensor(clean[:3])
        noisy = x + sigma * torch.from_numpy(unit_noise(tuple(x.shape), number))
        expected = {"clean": x, "noisy": noisy, "reconstruction": denoiser(noisy, torch.full((3,), sigma), None)}
        some = table["split"] == split
        place = tuple(table[name][some] for name in ("image", "colour", "row", "column"))
        assert len(set(zip(*place, strict=True))) == 3 * 3 * 4 * 5
        for name, tensor in expected.items():
            np.testing.assert_allclose(table[name][some], tensor.numpy()[place], atol=1e-5)
    of_points = reconstruction.measure(
        Wiener(SIGMA_D), EMPTY, gaussian(30, 1), gaussian(30, 2), None, None, itself, SIGMA_D, **settings
    )
    assert set(of_points.tables) == {"reconstruction"}, "points have no pictures"
    wide = np.zeros((12, 2, 1, 1), np.float32) + images[:12, :2, :1, :1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconstruction, "PIXELS_MOST", 1)
        large = reconstruction.measure(Wiener(SIGMA_D), EMPTY, wide, wide, None, None, itself, SIGMA_D, **settings)
    assert set(large.tables) == {"reconstruction"}, "a line for each value of large images would be too many"


def cosine_means(made: dict[str, np.ndarray], T: np.ndarray, H: np.ndarray) -> dict[str, float]:
    """By all pairs."""

    def unit(x: np.ndarray) -> np.ndarray:
        return x.astype(float) / np.linalg.norm(x.astype(float), axis=1, keepdims=True)

    sets = {"t": T, "h": H}
    return {f"{k}_{of}": float((unit(x) @ unit(sets[of]).T).max(axis=1).mean()) for k, x in made.items() for of in sets}


def test_cosines_are_those_of_all_pairs_and_the_share_is_made_of_them() -> None:
    T, H, samples = gaussian(50, 1), gaussian(70, 2), gaussian(90, 3)
    values = measured(Wiener(SIGMA_D), T, H, samples, pairs=100, sigma=1.0)
    sigma = SIGMA_D
    noise = {
        split: [np.random.default_rng((4, split, j)).standard_normal((50, D), np.float32) for j in range(2)]
        for split in (0, 1)
    }
    made = {
        kind: np.concatenate([(x[:50] + sigma * n) / 2 for n in noise[split]])
        for kind, split, x in (("rt", 0, T), ("rh", 1, H))
    }
    expected = cosine_means(made | {"x": samples}, T, H[:50])
    assert {name: values[f"nn_cos_{name}"] for name in expected} == pytest.approx(expected, abs=1e-6)
    lean = {kind: expected[f"{kind}_t"] - expected[f"{kind}_h"] for kind in ("rt", "rh", "x")}
    assert values["nn_share"] == pytest.approx((lean["x"] - lean["rh"]) / (lean["rt"] - lean["rh"]), abs=1e-4)
    assert values["nn_apart"] == pytest.approx(lean["rt"] - lean["rh"], abs=1e-6)
    assert values["nn_lead"] == pytest.approx(expected["rt_t"] - expected["rh_h"], abs=1e-6)


def test_samples_that_copy_lie_with_reconstructions_of_training_images_and_unseen_ones_between() -> None:
    T, H = gaussian(200, 1), gaussian(200, 2)
    copies, unseen = T[:150] + gaussian(150, 5, sigma_d=0.05), gaussian(300, 6)
    of_copies, of_unseen = (measured(Wiener(SIGMA_D), T, H, x, sigma=0.25) for x in (copies, unseen))
    assert interval(of_copies, "nn_share")[0] > 0.8
    low, high = interval(of_unseen, "nn_share")
    assert low < 0.5 < high
    assert high - low < 0.3


def test_where_reconstructions_are_not_surely_apart_there_is_no_share() -> None:
    """At high noise they are all alike: each nearest image is chance."""

    class Constant(nn.Module):
        sigma_data = SIGMA_D

        def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
            return torch.ones_like(x)

    values = measured(Constant(), gaussian(60, 1), gaussian(60, 2), gaussian(60, 3))
    assert values["nn_share"] is values["nn_share_lo"] is values["nn_share_control"] is None
    assert values["nn_apart"] == 0
    assert values["feat_gap_050"] is not None


def test_samples_that_stop_early_are_as_far_from_clean_images_as_reconstructions_at_that_level() -> None:
    """The exact denoiser's walk at σ lies where noisy unseen images lie, so its estimates are reconstructions too."""
    denoiser, level = Wiener(SIGMA_D), 0.5
    levels = (*np.geomspace(80, level, 50).tolist(), 0.1, 0.0)
    drawn = sampling.draw(denoiser, heun.sample, (D,), None, count=4000, stop=level * (1 + 1e-9), levels=levels)
    clean = frechet.Moments(np.zeros(D), SIGMA_D * np.eye(D))
    stopped = frechet.distance(frechet.moments(drawn.x), clean)
    values = measured(denoiser, gaussian(1000, 1), gaussian(1000, 2), pairs=1000, resamples=100)
    assert stopped == pytest.approx(values["rfd_heldout_050"], rel=0.15)
    a = 1 / (1 + level**2)
    assert stopped == pytest.approx(D * SIGMA_D**2 * (1 - a**0.5) ** 2, rel=0.12)


def test_the_table_has_the_numbers_of_the_columns() -> None:
    T, H, samples = gaussian(100, 1), gaussian(100, 2), gaussian(100, 3)
    result = reconstruction.measure(Wiener(SIGMA_D), samples, T, H, None, None, itself, SIGMA_D, resamples=100)
    table, values = result.tables["reconstruction"], result.values
    assert set(table) == set(reconstruction.TABLES["reconstruction"])
    assert set(values) == set(reconstruction.COLUMNS)
    half = table["sigma_rel"] == 0.5
    assert table["rfd"][half].tolist() == [values["rfd_train_050"], values["rfd_heldout_050"]]
    assert table["feat_gap"][half].tolist() == [values["feat_gap_050"]] * 2
    assert table["nn_share_lo"][half].tolist() == [values["nn_share_lo"]] * 2
    assert table["nn_cos_h"][half].tolist() == [values["nn_cos_rt_h"], values["nn_cos_rh_h"]]
    loss = table["feat_loss"].reshape(2, -1)
    np.testing.assert_allclose(table["feat_gap"].reshape(2, -1), np.tile(loss[1] / loss[0] - 1, (2, 1)))
    assert table["feat_gap_lo"][half][0] <= values["feat_gap_050_lo"]  # type: ignore[operator]
    assert set(table["n_pairs"]) == {1100}


@pytest.mark.parametrize("size", [1, 2, 5, 6, 9])
def test_few_images_give_values_or_none_and_never_nan(size: int) -> None:
    values = measured(Wiener(SIGMA_D), gaussian(size, 1), gaussian(9, 2), gaussian(20, 3))
    assert all(np.isfinite(value) for value in values.values() if isinstance(value, float))
    assert (values["nn_lead_lo"] is None) == (size < _cosines.FEWEST)
    assert values["nn_cos_x_t"] is not None
    alone = measured(Wiener(SIGMA_D), gaussian(9, 1), gaussian(9, 2))
    assert alone["nn_cos_x_t"] is alone["nn_share"] is None
    assert alone["nn_lead"] is not None


def test_labels_stay_with_their_images_and_unknown_conditions_are_left_out() -> None:
    labels = np.arange(30) % 3
    T = np.tile(labels[:, None], (1, D)).astype(np.float32) + gaussian(30, 1, sigma_d=0.01)
    H = np.tile(np.arange(40)[:, None] % 4, (1, D)).astype(np.float32) + gaussian(40, 2, sigma_d=0.01)
    values = reconstruction.measure(
        OfLabel(), EMPTY, T, H, labels, np.arange(40) % 4, itself, 1.0, sigmas=(), resamples=100
    ).values
    assert values["recon_images"] == 30
    assert values["rfd_train_050"] == pytest.approx(0.1**2 * D, rel=0.1)
    assert abs(values["feat_gap_050"]) < 0.1  # type: ignore[arg-type]


def test_mirrored_copies_are_as_near_as_copies_where_training_showed_mirror_images() -> None:
    T, H, _, sigma_d = digit_parts(40)
    denoiser = IdealDenoiser(to_tensor(T), sigma_d)

    def near(mirrored: bool) -> float:
        result = reconstruction.measure(
            denoiser, mirror(T), T, H, None, None, itself, sigma_d, mirrored, sigmas=(), pairs=40, resamples=100
        )
        return float(str(result.values["nn_cos_x_t"]))

    assert near(True) == pytest.approx(1, abs=1e-6)
    assert near(False) < 0.9


def test_what_cannot_be_measured_is_one_sentence() -> None:
    T, H = gaussian(20, 1), gaussian(20, 2)
    with pytest.raises(ValueError, match="reconstruction needs 2 held-out images, there are 1"):
        measured(Wiener(SIGMA_D), T, H[:1])
    with pytest.raises(ValueError, match="sigmas must be above 0, not 0"):
        measured(Wiener(SIGMA_D), T, H, sigmas=(0.0,))
    with pytest.raises(ValueError, match="did the training diverge"):
        measured(Wiener(float("nan")), T, H)
    labels = np.zeros(20, np.int64)
    with pytest.raises(ValueError, match="of their conditions: there are none"):
        reconstruction.measure(OfLabel(), EMPTY, T, H, labels, labels + 1, itself, SIGMA_D)
