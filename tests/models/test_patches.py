"""The patch denoiser: patch = image is the ideal denoiser to the bit, one pixel is by hand, and it is a reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from difgen_cli.data import scaled
from difgen_cli.data.digits import load
from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import deviation
from difgen_cli.models import patches

T = to_tensor(scaled(load().images[:20]))
NOISY = T[:7] + 0.8 * torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
SIGMA, LABELS = torch.linspace(0.2, 2, 7), torch.arange(20) % 3


@pytest.mark.parametrize("size", [8, 50])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_patches_as_large_as_the_image_are_the_ideal_denoiser_to_the_bit(
    size: int, labels: torch.Tensor | None
) -> None:
    given = None if labels is None else labels[:7]
    of_patches, ideal = patches.build(T, labels, 0.75, size=size), IdealDenoiser(T, 0.75, labels)
    assert torch.equal(of_patches(NOISY, SIGMA, given), ideal(NOISY, SIGMA, given))


def test_patches_of_one_pixel_know_nothing_but_that_pixel() -> None:
    denoised = patches.build(T, None, 0.75, size=1)(NOISY, SIGMA).double()
    values = T.double()[:, 0, 2, 5]
    for k in range(7):
        weights = np.exp(-((float(NOISY[k, 0, 2, 5]) - values.numpy()) ** 2) / (2 * float(SIGMA[k]) ** 2))
        assert float(denoised[k, 0, 2, 5]) == pytest.approx(float(weights @ values.numpy() / weights.sum()), rel=1e-5)


def test_a_pixel_is_the_mean_over_all_patches_that_hold_it() -> None:
    """Brute force with patches of three pixels on a colour image that is not square."""
    chance = torch.Generator().manual_seed(1)
    images, x = torch.randn(5, 3, 4, 6, generator=chance), torch.randn(1, 3, 4, 6, generator=chance)
    total, count = np.zeros((3, 4, 6)), np.zeros((4, 6))
    for r in range(2):
        for c in range(4):
            ours, theirs = x[0, :, r : r + 3, c : c + 3].numpy(), images[:, :, r : r + 3, c : c + 3].numpy()
            weights = np.exp(-np.square(theirs - ours).sum(axis=(1, 2, 3)) / 2)
            total[:, r : r + 3, c : c + 3] += np.tensordot(weights / weights.sum(), theirs, 1)
            count[r : r + 3, c : c + 3] += 1
    denoised = patches.build(images, None, 1.0, size=3)(x, torch.ones(1))
    np.testing.assert_allclose(denoised[0].numpy(), total / count, rtol=1e-4, atol=1e-5)


def test_deviation_from_patches_of_the_whole_image_is_that_from_the_ideal_denoiser() -> None:
    train = scaled(load().images[:20])
    denoiser = patches.build(T, None, 0.75, size=3)

    def measured(patch: int | None) -> dict[str, object]:
        result = deviation.measure(denoiser, train, None, train, 0.75, lambda _, compute: compute(), patch=patch)
        return {**result.values, "table": result.tables["deviation"]["local_dev"]}

    whole, own, none = (measured(patch) for patch in (8, 3, None))
    for word in ("025", "050", "100"):
        for end in ("", "_lo", "_hi"):
            assert whole[f"local_dev_{word}{end}"] == whole[f"ideal_dev_{word}{end}"]
            assert own[f"local_dev_{word}{end}"] == 0
            assert none[f"local_dev_{word}{end}"] is None
    assert float(str(whole["ideal_dev_100"])) > 0.01
    assert np.isnan(np.asarray(none["table"], float)).all()


def test_points_have_no_patches() -> None:
    with pytest.raises(ValueError, match=r"patches are of images: .* of shape \(5, 2\)"):
        patches.build(torch.zeros(5, 2), None, 1.0)
