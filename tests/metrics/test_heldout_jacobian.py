"""The Jacobian at held-out images and the map of a pixel: the Wiener filter's matrix, and all of J by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from denoisers import digit_parts
from torch import Tensor

from difgen_cli.data import sigma_data as deviation_of
from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import heldout_jacobian, jacobian
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, unit_noise
from difgen_cli.models import wiener

WORDS = {0.25: "025", 0.5: "050", 1.0: "100"}


def test_of_a_linear_denoiser_it_is_that_at_training_images_and_the_map_is_a_row_of_its_matrix() -> None:
    train, held_out, _, sigma_d = digit_parts(300)
    denoiser = wiener.build(to_tensor(train), None, sigma_d)
    result = heldout_jacobian.measure(denoiser, train, held_out, None, None, sigma_d, images=3, maps=2)
    at_T = jacobian.measure(denoiser, train, None, sigma_d, images=3)
    x = train.reshape(len(train), -1).astype(np.float64)
    covariance, maps = np.cov(x.T, bias=True), result.tables["pixel_map"]
    for sigma, word in WORDS.items():
        assert result.values[f"corr_range_heldout_{word}"] == pytest.approx(at_T.values[f"corr_range_{word}"], rel=1e-5)
        matrix = covariance @ np.linalg.inv(covariance + (sigma * sigma_d) ** 2 * np.eye(64))
        for split in ("train", "heldout"):
            mine = (maps["sigma_rel"] == sigma) & (maps["split"] == split)
            for image in (0, 1):
                some = mine & (maps["image"] == image)
                place = maps["row"][some] * 8 + maps["column"][some]
                np.testing.assert_allclose(maps["derivative"][some], matrix[4 * 8 + 4][place], atol=1e-5)
    assert result.values["jac_heldout_images"] == 3


def test_of_coloured_images_it_is_what_torch_says_at_their_noise() -> None:
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (16, 4, 6, 3)).astype(np.float32)
    T, H, sigma_d = images[:10], images[10:], deviation_of(np.uint8(images * 127 + 128))
    denoiser = IdealDenoiser(to_tensor(T), sigma_d)
    result = heldout_jacobian.measure(denoiser, T, H, None, None, sigma_d, images=2)
    place = np.stack(np.meshgrid(np.arange(4), np.arange(6), indexing="ij"), -1).reshape(-1, 2)
    distance = np.tile(np.linalg.norm(place[:, None] - place[None], axis=2), (3, 3))
    ranges, tops = [], []
    for i in (0, 1):
        x, matrix = brute_force(denoiser, H, HELD_OUT, i, sigma_d)
        ranges.append((distance * abs(matrix)).sum() / abs(matrix).sum())
        tops.append(np.linalg.svd(matrix, compute_uv=False)[0])
        if i == 0:
            of_map(result.tables["pixel_map"], "heldout", x, matrix)
    of_map(result.tables["pixel_map"], "train", *brute_force(denoiser, T, TRAIN, 0, sigma_d))
    assert result.values["corr_range_heldout_100"] == pytest.approx(np.mean(ranges), rel=1e-5)
    table = result.tables["heldout_jacobian"]
    assert table["jac_top"][table["sigma_rel"] == 1.0] == pytest.approx(np.mean(tops), rel=1e-5)


def brute_force(
    denoiser: IdealDenoiser, images: np.ndarray, split: int, image: int, sigma: float
) -> tuple[Tensor, np.ndarray]:
    """The noisy image (C, H, W) and its J (d, d)."""
    clean = to_tensor(images)
    x = (clean + sigma * torch.from_numpy(unit_noise(tuple(clean.shape), split)))[image]

    def denoised(flat: Tensor) -> Tensor:
        return denoiser(flat.view(1, *x.shape), torch.full((1,), sigma), None).flatten()

    return x, torch.autograd.functional.jacobian(denoised, x.flatten()).double().numpy()


def of_map(table: dict[str, np.ndarray], split: str, x: Tensor, matrix: np.ndarray) -> None:
    """The map of σ_d against J: of the pixel in row 2 and column 3, by every pixel in all colours."""
    some = (table["sigma_rel"] == 1.0) & (table["split"] == split) & (table["image"] == 0)
    expected = matrix.reshape(3, 4, 6, 3, 4, 6)[:, 2, 3].mean(0).sum(0)
    row, column = table["row"][some], table["column"][some]
    assert len(row) == 24
    np.testing.assert_allclose(table["derivative"][some], expected[row, column], atol=1e-6)
    np.testing.assert_allclose(table["noisy"][some], x.mean(0).numpy()[row, column], atol=1e-6)


def test_images_of_conditions_that_nobody_learnt_are_left_out() -> None:
    train, held_out, _, sigma_d = digit_parts(12)
    denoiser = IdealDenoiser(to_tensor(train), sigma_d, torch.zeros(12, dtype=torch.int64))
    labels = np.array([1, 0, 1, *[1] * (len(held_out) - 3)])
    zeros = np.zeros(12, np.int64)
    mine = heldout_jacobian.measure(denoiser, train, held_out, zeros, labels, sigma_d, maps=0)
    assert mine.values["jac_heldout_images"] == 1
    assert set(mine.tables) == {"heldout_jacobian"}
    with pytest.raises(ValueError, match="held-out images of the conditions of T"):
        heldout_jacobian.measure(denoiser, train, held_out, zeros, np.ones_like(labels), sigma_d)


def test_points_have_neither_range_nor_map() -> None:
    points = np.random.default_rng(1).standard_normal((12, 2)).astype(np.float32)
    result = heldout_jacobian.measure(IdealDenoiser(to_tensor(points), 1.0), points, points[:4] + 1, None, None, 1.0)
    assert result.values["corr_range_heldout_050"] is None
    assert "pixel_map" not in result.tables
