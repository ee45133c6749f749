"""Real images for the planted worlds, and synthetic ones where no files are at hand."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

FOLDERS = {"fashion": "fashion_mnist", "cifar10": "cifar10"}
SEED = 11


@dataclass(frozen=True)
class Data:
    """Images (n, H, W, C) uint8, all different: of the training set, held out, and never seen by anyone."""

    name: str
    train: np.ndarray
    held_out: np.ndarray
    new: np.ndarray


def at_hand() -> list[str]:
    """The data sets that can be had here; the synthetic one always."""
    folder = os.environ.get("DIFGEN_TEST_DATA")
    there = [name for name, sub in FOLDERS.items() if folder and (Path(folder) / sub).is_dir()]
    return ["synthetic", *there]


@cache
def load(name: str, train: int, held_out: int, new: int, draw: int = 0) -> Data:
    """So many images of each kind, others in each draw, of one distribution: a data set's training split."""
    count = train + held_out + new
    images = (synthetic if name == "synthetic" else partial(_photographs, name))((draw + 1) * count)[draw * count :]
    return Data(name, *np.split(images, [train, train + held_out]))


def synthetic(count: int, side: int = 16) -> np.ndarray:
    """Smooth grey images, as unlike one another as photographs are: a few soft shapes over a smooth ground."""
    rng = np.random.default_rng(SEED)
    ground = gaussian_filter(rng.standard_normal((count, side, side)), (0, 2.5, 2.5), mode="wrap")
    rows, columns = np.mgrid[:side, :side]
    for _ in range(4):
        centre = rng.uniform(2, side - 2, (2, count, 1, 1))
        radius, height = rng.uniform(1.5, 4, (count, 1, 1)), rng.normal(0, 0.6, (count, 1, 1))
        ground += height * np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / radius**2)
    fine = gaussian_filter(rng.standard_normal((count, side, side)), (0, 0.6, 0.6), mode="wrap")
    scaled = 127.5 + 127.5 * np.tanh(1.4 * (ground + 0.15 * fine))
    return np.asarray(np.rint(scaled)[..., None], np.uint8)


def _photographs(name: str, count: int) -> np.ndarray:
    """The first distinct images of the training split, as they are stored."""
    import pyarrow.parquet as pq
    from PIL import Image

    images: dict[bytes, np.ndarray] = {}
    for file in sorted((Path(os.environ["DIFGEN_TEST_DATA"]) / FOLDERS[name]).glob("train-*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(512, columns=["image"]):
            for encoded in batch.column(0).field("bytes").to_pylist():
                image = np.asarray(Image.open(io.BytesIO(encoded)))
                images.setdefault(image.tobytes(), image.reshape(*image.shape[:2], -1))
                if len(images) == count:
                    return np.stack(list(images.values()))
    raise ValueError(f"{name}: fewer than {count} distinct images")


def changed(images: np.ndarray, how: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Images scaled to [−1, 1], changed, and back as uint8, cut off outside."""
    scaled = images.astype(np.float64) / 127.5 - 1
    return np.asarray(np.clip(np.rint((how(scaled) + 1) * 127.5), 0, 255), np.uint8)


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    return changed(images, lambda x: gaussian_filter(x, (0, sigma, sigma, 0), mode="nearest"))


def noisy(images: np.ndarray, sigma: float) -> np.ndarray:
    rng = np.random.default_rng(SEED)
    return changed(images, lambda x: x + sigma * rng.standard_normal(x.shape))


def shifted(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Moved, the edge repeated."""
    pad = max(abs(rows), abs(columns))
    wide = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    return wide[:, pad - rows : pad - rows + height, pad - columns : pad - columns + width]


def collages(images: np.ndarray, count: int) -> np.ndarray:
    """Each quarter from another image."""
    rng = np.random.default_rng(SEED)
    height, width = images.shape[1] // 2, images.shape[2] // 2
    made = np.empty((count, *images.shape[1:]), np.uint8)
    for vertical in (slice(None, height), slice(height, None)):
        for horizontal in (slice(None, width), slice(width, None)):
            part = rng.integers(len(images), size=count)
            made[:, vertical, horizontal] = images[part][:, vertical, horizontal]
    return made


def mixes(images: np.ndarray, count: int) -> np.ndarray:
    """Means of two different images."""
    rng = np.random.default_rng(SEED)
    pairs = np.stack([rng.permutation(len(images))[:2] for _ in range(count)])
    return np.asarray(np.rint(images[pairs].astype(np.float64).mean(axis=1)), np.uint8)
