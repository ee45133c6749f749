"""Encoded images as arrays: what of a file is applied, what is converted where that is asked for, what is counted."""

import io
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from difgen_cli.data._errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION = 0x0112  # the tag of EXIF
MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}  # modes of image files, and what they are read as
CONVERTIBLE = frozenset({*MODES, "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA", "RGBA", "RGBX"})  # 8 bits a channel
TARGETS = {"rgb": "RGB", "grey": "L"}
UNREAD = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"})  # need other programs, or are no pixels
FREQUENT = ("PNG", "JPEG", "WEBP")  # tried first: each that is tried takes time
STANDARD_GAMMA = 0.45455  # of a PNG whose values are sRGB's
POINTER = b"version https://git-lfs"  # how a file begins that Git has not fetched
SAID = {
    "frames": "{} of the images {} more frames than one: only the first of each is read",
    "transparent": "{} of the images {} transparent pixels: transparency is dropped",
    "profile": "{} of the images {} a colour profile that is not applied: values are taken as they are stored",
}
BROKEN = (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, struct.error, zlib.error)


@dataclass(frozen=True)
class Conversion:
    """What is done to each image where a person asks for it.

    mode: rgb or grey (luma, ITU-R 601); transparency is dropped. None: as it is.
    resize: pixels of the sides of the square that each is brought to, whatever its shape. None: as it is.
    resize_filter: Pillow's, antialiased where images shrink.
    """

    mode: str | None = None
    resize: int | None = None
    resize_filter: str = "bicubic"

    def shape(self, of: tuple[int, ...]) -> tuple[int, int, int]:
        """What an image (H, W, C) becomes; an alpha channel is dropped."""
        height, width, channels = of
        plain = {2: 1, 4: 3}.get(channels, channels)
        return self.resize or height, self.resize or width, {"rgb": 3, "grey": 1}.get(self.mode or "", plain)

    def resized(self, image: "Image") -> "Image":
        """The image in the size that is asked for."""
        from PIL.Image import Resampling

        if self.resize is None or image.size == (self.resize, self.resize):
            return image
        return image.resize((self.resize, self.resize), Resampling[self.resize_filter.upper()])


AS_STORED = Conversion()


def decode(
    files: Iterable[bytes | Path], count: int, name: Callable[[int], str], conversion: Conversion = AS_STORED,
    seen: Counter[str] | None = None,
) -> np.ndarray:  # fmt: skip
    """Encoded images, as bytes or as paths, as one array (n, H, W, C) uint8, upright as their EXIF says.

    Palettes are read as RGB; an alpha channel is dropped where every pixel is opaque. `seen` counts what is not
    applied, for `notes`. DataError for an image that cannot be read, or differs from the first in size or mode;
    `name(i)` says which.
    """
    images, seen = np.empty((0,), np.uint8), Counter() if seen is None else seen
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged metadata, which no pixel needs
        for i, file in enumerate(files):
            image = _decode_one(file, name(i), conversion, seen)
            if i == 0:
                images = np.empty((count, *image.shape), np.uint8)
            elif image.shape != images.shape[1:]:
                raise DataError(
                    f"{name(i)}: this image is {size(image.shape)}, the first ({name(0)}) is {size(images.shape[1:])}: "
                    f"give all images the same size and mode, or {remedy(image.shape, images.shape[1:])}"
                )
            images[i] = image
    return images


def converted(
    images: np.ndarray, name: Callable[[int], str], conversion: Conversion, seen: Counter[str]
) -> np.ndarray:  # fmt: skip
    """Images (n, H, W, 1 to 4 channels) uint8 as `decode` would give them, of files that hold the same."""
    shape = conversion.shape(images.shape[1:])
    if images.shape[1:] == shape:
        return images
    from PIL import Image

    pixels = np.empty((len(images), *shape), np.uint8)
    for i, image in enumerate(images):
        picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))
        pixels[i] = np.asarray(conversion.resized(_in_mode(picture, name(i), conversion, seen))).reshape(shape)
    return pixels


def notes(seen: Counter[str]) -> tuple[str, ...]:
    """What `decode` counted, in sentences."""
    return tuple(SAID[what].format(f"{n:,}", "has" if n == 1 else "have") for what, n in sorted(seen.items()) if n)


def size(shape: tuple[int, ...]) -> str:
    """The shape of an image for a person: `32 × 32 pixels RGB`."""
    return f"{shape[1]} × {shape[0]} pixels {'grey' if shape[2] == 1 else 'RGB'}"


def remedy(*shapes: tuple[int, ...], to: tuple[int, ...] | None = None) -> str:
    """The settings that bring images (H, W, C) of several shapes to one, in words; `to` is one that cannot change."""
    every = [*shapes, *([to] if to else [])]
    sides = {side for shape in ([to] if to else shapes) for side in shape[:2]}
    mode = "grey" if to and to[2] == 1 else "rgb"
    options = [f"--set data.resize={min(sides)}"] if len({shape[:2] for shape in every}) > 1 else []
    options += [f"--set data.mode={mode}"] if len({shape[2] for shape in every}) > 1 else []
    return f"convert them by {' '.join(options)}"


@cache
def suffixes() -> frozenset[str]:
    """How the names of files end that are read as images, in lower case."""
    from PIL import Image

    kinds = Image.registered_extensions()  # this imports every plug-in of Pillow's
    return frozenset(suffix for suffix, kind in kinds.items() if kind in {*_formats(), "MPO"})


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return (*FREQUENT, *sorted(set(Image.OPEN) - UNREAD - set(FREQUENT)))


def _decode_one(file: bytes | Path, name: str, conversion: Conversion, seen: Counter[str]) -> np.ndarray:
    from PIL import Image

    if isinstance(file, Path) and file.exists() and not file.is_file():
        raise DataError(f"{name}: this is no file but a pipe or a device, which may never end: remove it")
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=_formats()) as image:
            array = np.asarray(conversion.resized(_in_mode(_upright(image), name, conversion, seen)))
            seen.update(_unapplied(image))
    except DataError:
        raise
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise DataError(f"{name}: this is {_cause(file, error)}: replace or remove it") from error
    return array.reshape(*array.shape[:2], -1)


def _cause(file: bytes | Path, error: Exception) -> str:
    if "cannot identify" not in str(error):
        return f"a broken image ({error})"
    with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as opened:
        pointer = opened.read(len(POINTER)) == POINTER
    return "a pointer of Git LFS, and not an image (`git lfs pull` fetches it)" if pointer else "not an image"


def _unapplied(image: "Image") -> Counter[str]:
    """What of a file changes how it looks, and is not applied."""
    several = True
    with suppress(*BROKEN):  # of a later frame, which is none the less there
        several = getattr(image, "n_frames", 1) > 1
    profile, gamma = image.info.get("icc_profile") or b"", image.info.get("gamma", STANDARD_GAMMA)
    other = profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile
    odd_gamma = "srgb" not in image.info and abs(gamma - STANDARD_GAMMA) > 0.005
    return Counter(frames=int(several), profile=int(bool(other or odd_gamma)))


def _upright(image: "Image") -> "Image":
    """The image turned as its EXIF says; metadata that cannot be read turn nothing."""
    from PIL import ImageOps

    try:
        turned = image.getexif().get(ORIENTATION, 1) != 1
    except BROKEN:
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _in_mode(image: "Image", name: str, conversion: Conversion, seen: Counter[str]) -> "Image":
    """The image as L or RGB. DataError for what has no lossless way there, and no conversion was asked for."""
    wanted = TARGETS.get(conversion.mode or "")
    if image.mode not in (CONVERTIBLE if wanted else MODES) and image.mode not in ("LA", "PA", "RGBA"):
        raise DataError(f"{name}: images of mode {image.mode} are not supported: {_remedy(image.mode)}")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            if wanted is None and image.mode not in ("L", "RGB"):  # there a key colour alone is transparent
                what = image.mode if image.mode != "P" else "P with transparency"
                raise DataError(f"{name}: images of mode {what} are not supported: {_remedy(image.mode)}")
            seen["transparent"] += 1
        wanted = wanted or ("L" if image.mode in ("L", "LA") else "RGB")
    target = wanted or MODES[image.mode]
    return image if image.mode == target else _converted(image, target)


def _converted(image: "Image", target: str) -> "Image":
    if target == "L" and image.mode not in ("1", "LA", "RGB"):
        image = image.convert("RGB")
    if target == "RGB" and image.mode == "PA":
        image = image.convert("RGBA")
    image.info.pop("transparency", None)  # which Pillow would turn into a key colour
    return image.convert(target)


def _remedy(mode: str) -> str:
    """What to do about a mode that is not read."""
    plain = "convert them to 8-bit L or RGB"
    return f"{plain}, or use --set data.mode=rgb" if mode in CONVERTIBLE else plain


def counted(items: Iterable[Any]) -> str:
    """Things with how often they occur, the most frequent first: `3 .txt, 1 .json`."""
    return ", ".join(f"{n:,} {item}" for item, n in Counter(items).most_common())
