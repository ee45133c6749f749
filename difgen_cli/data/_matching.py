"""Images of another data set, in the size and the colours of this one."""

import numpy as np


def fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether what has a shape (H, W, C) or (D,) can be brought to another: any images, points of as many values."""
    return len(shape) == len(target) == 3 or shape == target


def matched(images: np.ndarray, target: tuple[int, ...]) -> np.ndarray:
    """Images (n, h, w, c) uint8 as (n, H, W, C) uint8, `target` being (H, W, C); points as they are.

    Grey becomes three equal channels, colour its luma (ITU-R 601, as Pillow's mode L); then the size, by Pillow's
    bicubic filter, antialiased where images shrink. ValueError for what does not fit.
    """
    if not fits(images.shape[1:], target):
        raise ValueError(f"data of shape {images.shape[1:]} cannot be brought to {target}")
    if images.shape[1:] == target:
        return images
    from PIL import Image

    height, width, channels = target
    mode, pixels = "L" if channels == 1 else "RGB", np.empty((len(images), *target), np.uint8)
    for i, image in enumerate(images):
        picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))
        resized = picture.convert(mode).resize((width, height), Image.Resampling.BICUBIC)
        pixels[i] = np.asarray(resized).reshape(target)
    return pixels
