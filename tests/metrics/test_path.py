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

    def made(levels: object) -> tuple[np.ndarray, np.ndarray]:
        chance = np.random.default_rng(2)
        sigmas = np.array(path.LEVELS) * SIGMA_DATA
        count = 2000
        own = chance.random(count) < share
        images = np.where(
            own[:, None, None, None],
            seen[chance.integers(len(seen), size=count)],
            contrast * unseen[chance.integers(len(unseen), size=count)],
        )
        return sigmas, np.stack([images + s * chance.standard_normal(images.shape) for s in sigmas])

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

    def walked(levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        return states(ideal, heun.sample, (1, 8, 8), None, "cpu", at=levels, count=1024)

    found = path.measure(walked, train, held_out, SIGMA_DATA)
    for name in ("050", "100", "200"):
        assert 0.9 < float(found.values[f"path_overlap_{name}"] or 0) < 1.25, found.values
    assert float(found.values["path_pref_050"] or 0) > 0.95


def test_where_noise_drowns_all_images_nothing_is_told(digits: tuple[np.ndarray, ...]) -> None:
    train, held_out, _ = digits

    def drowned(levels: object) -> tuple[np.ndarray, np.ndarray]:
        return np.array([200.0]), 200 * np.random.default_rng(0).standard_normal((1, 1000, 8, 8, 1))

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
