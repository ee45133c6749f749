"""Another data set's images in the size and colours of this one."""

import numpy as np
import pytest
from PIL import Image

from difgen_cli.data import fits, matched
from difgen_cli.data.digits import load

GREY = load().images[:6]
COLOUR = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3), np.uint8)


def test_what_has_the_shape_already_is_left_alone() -> None:
    assert matched(GREY, (8, 8, 1)) is GREY
    points = np.zeros((3, 5), np.float32)
    assert matched(points, (5,)) is points


@pytest.mark.parametrize("size", [(28, 28), (4, 6), (8, 8)])
@pytest.mark.parametrize("images", [GREY, COLOUR])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_what_pillow_makes_of_each(images: np.ndarray, size: tuple[int, int], channels: int) -> None:
    found = matched(images, (*size, channels))
    assert (found.shape, found.dtype) == ((len(images), *size, channels), np.uint8)
    for before, after in zip(images, found, strict=True):
        picture = Image.fromarray(before.squeeze()).convert("L" if channels == 1 else "RGB")
        expected = np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC)).reshape(*size, channels)
        np.testing.assert_array_equal(after, expected)


def test_grey_becomes_three_equal_channels_and_colour_its_luma() -> None:
    coloured = matched(GREY, (8, 8, 3))
    for channel in range(3):
        np.testing.assert_array_equal(coloured[..., channel], GREY[..., 0])
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])  # ITU-R 601
    np.testing.assert_allclose(matched(COLOUR, (12, 10, 1))[..., 0], luma, atol=1)


def test_a_constant_image_stays_constant_and_no_level_leaves_its_range() -> None:
    for level in (0, 77, 255):
        assert (matched(np.full((1, 5, 7, 1), level, np.uint8), (28, 28, 3)) == level).all()
    checkers = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.uint8)[None, ..., None]
    assert matched(checkers, (30, 30, 1)).max() == 255  # bicubic overshoots, and is clipped


def test_points_and_images_do_not_fit_each_other() -> None:
    assert fits((8, 8, 1), (32, 32, 3))
    assert fits((5,), (5,))
    assert not fits((5,), (6,))
    assert not fits((5,), (8, 8, 1))
    with pytest.raises(ValueError, match="cannot be brought"):
        matched(np.zeros((3, 5), np.float32), (6,))
