"""The noise bank: the same for all that ask, and integrals without chance."""

import numpy as np
import pytest
import torch
from denoisers import CPU, Wiener, gaussian

from difgen_cli.metrics._noise import Bank, bank, bank_of_pairs, denoise, losses, of_known_conditions, quadrature


def by_image(of: Bank) -> np.ndarray:
    return of.noise.numpy().reshape(-1, of.draws, *of.noise.shape[1:])


def test_noise_depends_on_split_image_and_draw_alone() -> None:
    images = gaussian(50, 0)
    whole, fewer = bank(images, None, 8, 0, CPU), bank(images[:20], None, 3, 0, CPU)
    np.testing.assert_array_equal(by_image(whole)[:20, :3], by_image(fewer))
    np.testing.assert_array_equal(by_image(bank_of_pairs(images[:20], None, 60, 0, CPU)), by_image(fewer))
    assert not np.array_equal(by_image(whole), by_image(bank(images, None, 8, 1, CPU)))


def test_noise_is_unit_gaussian_and_no_draw_repeats_another() -> None:
    noise = by_image(bank(gaussian(400, 0), None, 6, 0, CPU))
    assert noise.std() == pytest.approx(1, abs=0.02)
    correlation = np.corrcoef(noise.swapaxes(0, 1).reshape(6, -1))
    assert abs(correlation - np.eye(6)).max() < 0.08


def test_at_least_as_many_pairs_as_asked_and_every_image_has_as_many() -> None:
    for images, pairs, expected in ((30, 64, 90), (100, 64, 64), (64, 64, 64), (1, 5, 5)):
        made = bank_of_pairs(gaussian(images, 0), np.arange(images), pairs, 0, CPU)
        assert len(made.images) == len(made.noise) == expected
        assert made.labels is not None
        counts = np.bincount(made.labels.numpy())
        assert set(counts.tolist()) == {made.draws}


def test_images_channels_and_labels_stay_together() -> None:
    images = np.random.default_rng(0).random((5, 4, 3, 2), np.float32)
    made = bank(images, np.arange(5) + 10, 2, 0, CPU)
    np.testing.assert_array_equal(made.images.numpy()[::2], images.transpose(0, 3, 1, 2))
    assert torch.equal(made.images[::2], made.images[1::2])
    assert made.labels is not None
    assert made.labels.tolist() == [10, 10, 11, 11, 12, 12, 13, 13, 14, 14]


def test_the_quadrature_has_the_moments_of_a_unit_gaussian() -> None:
    nodes = quadrature(np.zeros((1, 2), np.float32), None, 60, CPU)
    x, y = nodes.noise.numpy().astype(np.float64).T
    for values, expected in ((x, 0), (x**2, 1), (x**4, 3), (x * y, 0), (x**2 * y**2, 1)):
        assert values @ nodes.weights == pytest.approx(expected, abs=1e-6)
    assert np.hypot(x, y) @ nodes.weights == pytest.approx(np.sqrt(np.pi / 2), abs=1e-3)  # its kink at 0


def test_losses_are_means_over_draws_of_the_error_its_square_and_its_root() -> None:
    images = gaussian(20, 1)
    made = bank(images, None, 3, 0, CPU)
    found = losses(Wiener(0.7), made, [0.5])
    noisy = images[:, None] + 0.5 * by_image(made)
    error = ((noisy / (1 + (0.5 / 0.7) ** 2) - images[:, None]) ** 2).mean(axis=2)
    for moment, expected in ((found.mean, error), (found.square, error**2), (found.root, np.sqrt(error))):
        np.testing.assert_allclose(moment[:, 0], expected.mean(axis=1), rtol=1e-5)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    made = bank(gaussian(50, 1), None, 3, 0, CPU)
    whole = denoise(Wiener(0.7), made, 0.3)
    monkeypatch.setattr("difgen_cli.metrics._noise.BLOCK_ELEMENTS", 7 * 8)
    assert torch.equal(denoise(Wiener(0.7), made, 0.3), whole)


def test_held_out_images_of_unknown_conditions_are_left_out() -> None:
    held_out, labels = gaussian(6, 0), np.array([0, 1, 2, 0, 7, 2])
    kept, of_kept = of_known_conditions(held_out, labels, np.array([0, 2]))
    assert of_kept is not None
    assert of_kept.tolist() == [0, 2, 0, 2]
    np.testing.assert_array_equal(kept, held_out[[0, 2, 3, 5]])
    assert of_known_conditions(held_out, labels, None)[1] is None
