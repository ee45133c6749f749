"""Images as networks want them: Pillow's own resize to the last bit, colours, edges and shapes."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from difgen_cli.data import scaled
from difgen_cli.features._images import IMAGENET, Preparation, embedded, resize

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


class Same(nn.Module):
    """Gives back what it is given, as rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def pillow(image: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), FILTERS[kernel]))


@pytest.mark.parametrize("kernel", list(FILTERS))
@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(8, 8, (224, 224)), (32, 32, (224, 224)), (28, 28, (288, 288)), (300, 517, (224, 224)), (64, 48, (298, 224)),
     (500, 400, (288, 288)), (224, 224, (224, 224)), (1, 3, (5, 7)), (7, 1, (3, 3))],
)  # fmt: skip
def test_resize_equals_pillows_bit_for_bit(height: int, width: int, size: tuple[int, int], kernel: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    extreme = np.where(noise < 128, 0, 255).astype(np.uint8)  # overshoots where it is bicubic
    for image in (noise, extreme):
        levels = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float64))
        ours = resize(levels, size, kernel)[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(ours, pillow(image, size, kernel))


def test_each_edge_and_channel_is_where_it_was() -> None:
    ramp = np.zeros((4, 4, 3), np.uint8)
    ramp[0, :, 0], ramp[:, 0, 1], ramp[3, :, 2] = 255, 255, 255  # red above, green at the left, blue below
    prepare = Preparation(8, "bilinear", "skew", *IMAGENET)
    x = embedded(Same(), prepare, scaled(ramp[None])).reshape(3, 8, 8)
    levels = x * np.array(IMAGENET[1])[:, None, None] + np.array(IMAGENET[0])[:, None, None]
    np.testing.assert_allclose(levels[0, 0], 1, atol=1e-6)
    np.testing.assert_allclose(levels[1, :, 0], 1, atol=1e-6)
    np.testing.assert_allclose(levels[2, 7], 1, atol=1e-6)
    np.testing.assert_allclose(levels[0, 7], 0, atol=1e-6)


def test_grey_images_are_their_coloured_copies() -> None:
    grey = scaled(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8))
    prepare = Preparation(12, "bicubic", "skew", *IMAGENET)
    np.testing.assert_array_equal(embedded(Same(), prepare, grey), embedded(Same(), prepare, grey.repeat(3, axis=3)))


def test_images_between_levels_are_rounded_to_them_first() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    prepare = Preparation(12, "bicubic", "skew", *IMAGENET)
    near = np.clip(scaled(levels) + np.float32(0.4 / 127.5), None, 1.2)  # and beyond white
    np.testing.assert_array_equal(embedded(Same(), prepare, near), embedded(Same(), prepare, scaled(levels)))


@pytest.mark.parametrize(
    ("shape", "size", "cut"),
    [("skew", (6, 6), None), ("keep", (6, 9), None), ("crop", (6, 9), (0, 2, 6, 6))],
)
def test_images_that_are_not_square_are_skewed_kept_or_cut(
    shape: str, size: tuple[int, int], cut: tuple[int, ...] | None
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    expected = pillow(image, size, "bicubic")
    if cut:
        top, left, height, width = cut
        expected = expected[top : top + height, left : left + width]
    x = embedded(Same(), Preparation(6, "bicubic", shape, (0, 0, 0), (1, 1, 1)), scaled(image[None]))  # type: ignore[arg-type]
    np.testing.assert_allclose(x.reshape(3, *expected.shape[:2]).transpose(1, 2, 0) * 255, expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(5, 2), (5, 8, 8, 2)])
def test_points_and_other_arrays_are_refused_in_one_sentence(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="grey or coloured images"):
        embedded(Same(), Preparation(8, "bicubic", "skew", *IMAGENET), np.zeros(shape, np.float32))
