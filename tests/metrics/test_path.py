"""Path overlap: planted mixtures give their share, unseen images nothing, and the perfect memorizer everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.datasets import load_digits

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import path
from difgen_cli.sampling import heun, states

SIGMA_DATA = 0.75
N = 128


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training images, held-out images, and images that are in neither."""
    images = (load_digits().images[..., None] / 8 - 1).astype(np.float32)
    order = np.random.default_rng(1).permutation(len(images))
    return images[order[:N]], images[order[N : N + 800]], images[order[N + 800 :]]


def planted(seen: np.ndarray, unseen: np.ndarray, share: float, contrast: float = 1.0) -> path.States:
    """States that are noisy training images with probability `share`, else noisy unseen ones."""

    def made(levels: object, estimates: object) -> tuple[np.ndarray, ...]:
        chance = np.random.default_rng(2)
        sigmas = np.array(path.LEVELS) * SIGMA_DATA
        count = 2000
        own = chance.random(count) < share
        images = np.where(
            own[:, None, None, None],
            seen[chance.integers(len(seen), size=count)],
            contrast * unseen[chance.integers(len(unseen), size=count)],
        )
        x = np.stack([images + s * chance.standard_normal(images.shape) for s in sigmas])
        return sigmas, x, sigmas[::-1], np.stack([images] * len(sigmas)), images

    return made


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_planted_share_is_found(digits: tuple[np.ndarray, ...], share: float) -> None:
    train, held_out, fresh = digits
    found = path.measure(planted(train, fresh, share), train, held_out, SIGMA_DATA)
    table = found.tables["path"]
    told = np.isfinite(table["path_overlap"])
    assert told.sum() >= 3
    assert table["path_overlap"][told] == pytest.approx(np.full(told.sum(), share), abs=0.1)
    assert found.values["path_overlap_100"] == pytest.approx(share, abs=0.06)
    low, high = found.values["path_overlap_100_lo"], found.values["path_overlap_100_hi"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low < share < high


def test_a_paler_unseen_image_is_no_copy(digits: tuple[np.ndarray, ...]) -> None:
    train, held_out, fresh = digits
    found = path.measure(planted(train, fresh, 0.0, contrast=0.8), train, held_out, SIGMA_DATA)
    assert found.values["path_overlap_100"] == pytest.approx(0, abs=0.12)


def test_the_perfect_memorizer_walks_where_noisy_training_images_lie(digits: tuple[np.ndarray, ...]) -> None:
    train, held_out, _ = digits
    ideal = IdealDenoiser(to_tensor(train), SIGMA_DATA)

    def walked(levels: Sequence[float], estimates: Sequence[float]) -> tuple[np.ndarray, ...]:
        return states(ideal, heun.sample, (1, 8, 8), None, "cpu", at=levels, estimates=estimates, count=1024)

    found = path.measure(walked, train, held_out, SIGMA_DATA)
    for name in ("050", "100", "200"):
        assert 0.9 < float(found.values[f"path_overlap_{name}"] or 0) < 1.25, found.values
    assert float(found.values["path_pref_050"] or 0) > 0.95
    assert float(found.values["x0_align_050_lo"] or 0) > 0.999, "below its transition D is that image"
    aligned, decided = found.tables["path"]["x0_align"], found.tables["path"]["decided"]
    assert aligned[-1] == decided[-1] == 1
    assert (np.diff(aligned) > -1e-6).all(), "descending levels: ever more"
    assert aligned[0] < 0.9
    assert decided[0] < 0.5 < decided[-2]
    middle = float(found.values["decided_sigma"] or 0)
    assert 0.5 < middle < 4
    assert float(found.values["decided_sigma_lo"] or 9) < middle < float(found.values["decided_sigma_hi"] or 0)


def test_where_noise_drowns_all_images_nothing_is_told(digits: tuple[np.ndarray, ...]) -> None:
    train, held_out, _ = digits

    def drowned(levels: object, estimates: object) -> tuple[np.ndarray, ...]:
        x = 200 * np.random.default_rng(0).standard_normal((1, 1000, 8, 8, 1))
        return np.array([200.0]), x, np.array([200.0]), x, x[0]

    found = path.measure(drowned, train, held_out, SIGMA_DATA)
    assert np.isnan(found.tables["path"]["path_overlap"]).all()
    assert found.values["path_overlap_100"] is None, "no level of the sampler is near"
    assert found.tables["path"]["path_power"][0] == pytest.approx(0.5, abs=0.1)


def test_the_density_is_that_of_brute_force() -> None:
    chance = np.random.default_rng(0)
    x, images, sigma = chance.standard_normal((7, 5)), chance.standard_normal((11, 5)) + 100, 0.01
    exact = [logsumexp([-((a - s) ** 2).sum() / (2 * sigma**2) for s in images]) - np.log(11) for a in x]
    np.testing.assert_allclose(path.log_density(x, images, sigma), exact, rtol=1e-9)


def test_overlap_and_power_are_those_of_brute_force() -> None:
    chance = np.random.default_rng(0)
    t, h, x = (
        chance.integers(low, low + 5, shape).astype(float) for low, shape in ((3, (3, 4)), (0, (2, 6)), (1, (1, 9)))
    )

    def beaten(others: np.ndarray) -> float:
        return float(np.mean([(p > q) + (p == q) / 2 for p in t.ravel() for q in others.ravel()]))

    found, power = path.overlap(t, h, x), beaten(h)
    assert found.power == pytest.approx(power)
    assert found.overlap == pytest.approx((power - beaten(x)) / (power - 0.5))


def test_a_single_training_image_and_identical_ones_give_numbers(digits: tuple[np.ndarray, ...]) -> None:
    train, held_out, fresh = digits
    for few in (train[:1], np.repeat(train[:1], 5, axis=0)):
        found = path.measure(planted(few, fresh, 1.0), few, held_out, SIGMA_DATA)
        assert found.values["path_overlap_100"] == pytest.approx(1, abs=0.1)


def test_repeats_count_once_in_the_training_set_and_in_both_halves_of_the_held_out_images(
    digits: tuple[np.ndarray, ...],
) -> None:
    train, held_out, fresh = (part[:100] for part in digits)
    walked = planted(train, fresh, 0.5)
    once = path.measure(walked, train, held_out, SIGMA_DATA)
    repeated = np.concatenate([train, train[:30], train[:30]]), np.concatenate([held_out, held_out + 0.01])
    assert path.measure(walked, *repeated, SIGMA_DATA).values == once.values
    with pytest.raises(ValueError, match="4 distinct held-out images, there are 2"):
        path.measure(walked, train, held_out[[0, 1, 1, 1, 0]], SIGMA_DATA)


def test_cosines_and_decisions_are_those_of_brute_force() -> None:
    chance = np.random.default_rng(0)
    T, ends, denoised = (chance.standard_normal(shape) for shape in ((6, 5), (9, 5), (4, 9, 5)))
    sigmas, cosines, decided = path.aligned(np.array([8.0, 4.0, 2.0, 1.0]), denoised, ends, T)
    assert sigmas.tolist() == [1, 2, 4, 8]
    for n, end in enumerate(ends):
        own = int(np.argmin(((T - end) ** 2).sum(1)))
        still = True
        for k in range(4):
            here, image = denoised[3 - k, n] - T.mean(0), T[own] - T.mean(0)
            assert cosines[k, n] == pytest.approx(here @ image / np.sqrt(here @ here * (image @ image)), abs=1e-6)
            still &= bool(np.argmin(((T - denoised[3 - k, n]) ** 2).sum(1)) == own)
            assert decided[k, n] == still
    assert 0 < decided[0].mean() < 1
