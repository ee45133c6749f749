"""What a classifier sees of images without any model: their content coarsely, and the traces of their making."""

import numpy as np

from difgen_cli.neighbours import flat

COMPONENTS = 32
SIDE = 32  # pixels, to which larger images are averaged down before components are taken
BLOCK = 8  # pixels of a side that JPEG codes together
LEVELS, PHASES = 256, 16  # grey levels; they are counted by their remainder


def traces(images: np.ndarray) -> np.ndarray:
    """Features (n, f) float64 of images (n, H, W, C) in [−1, 1] or points (n, D), without labels.

    32 principal components of all of them together, then of each image mean, deviation and range, the mean size of
    first and second differences, and of its grey levels: how many there are, how many values lie at both ends, how many
    equal their neighbour, how the levels spread over 16 remainders, and how much larger differences are at the borders
    of blocks of 8 pixels. The last ones tell how a file was written.
    """
    content = _components(flat(_coarse(images)).astype(np.float64))
    if images.ndim != 4:
        return np.column_stack([content, _moments(images)])
    grey = np.clip(np.rint((images + 1) * np.float32(127.5)), 0, 255).astype(np.int16)
    return np.column_stack([content, _moments(images), _differences(grey), _levels(grey)])


def _components(x: np.ndarray) -> np.ndarray:
    """The largest principal components of rows (n, d), by the smaller of the two Gram matrices."""
    x = x - x.mean(axis=0)
    wide = x.shape[1] > x.shape[0]
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    largest = np.argsort(values)[::-1][:COMPONENTS]
    if wide:
        return np.asarray(vectors[:, largest] * np.sqrt(np.maximum(values[largest], 0)))
    return np.asarray(x @ vectors[:, largest])


def _coarse(images: np.ndarray) -> np.ndarray:
    """Images averaged over squares until no side is longer than 32 pixels; what is left over at the ends is cut."""
    if images.ndim != 4 or max(images.shape[1:3]) <= SIDE:
        return images
    n, height, width, channels = images.shape
    by = -(-max(height, width) // SIDE)
    rows, columns = max(1, height // by), max(1, width // by)
    tall, broad = min(by, height), min(by, width)
    cut = images[:, : rows * tall, : columns * broad]
    return np.asarray(cut.reshape(n, rows, tall, columns, broad, channels).mean(axis=(2, 4)))


def _moments(images: np.ndarray) -> np.ndarray:
    """Mean, deviation, least and largest value of each image; of colours, each one's mean and deviation."""
    x = flat(images)
    columns = [x.mean(axis=1), x.std(axis=1), x.min(axis=1), x.max(axis=1)]
    if images.ndim == 4 and images.shape[3] > 1:
        columns += [*images.mean(axis=(1, 2)).T, *images.std(axis=(1, 2)).T]
    return np.column_stack(columns)


def _differences(grey: np.ndarray) -> np.ndarray:
    """Of grey levels (n, H, W, C): differences along both sides, those of differences, and those between blocks."""
    columns = []
    for axis in (1, 2):
        size = np.abs(np.diff(grey, axis=axis)).mean(axis=(3 - axis, 3))  # (n, pairs of neighbours)
        if not size.shape[1]:
            continue
        columns.append(size.mean(axis=1))
        columns.append((np.diff(grey, axis=axis) == 0).mean(axis=(1, 2, 3)))
        if size.shape[1] > 1:
            columns.append(np.abs(np.diff(grey, n=2, axis=axis)).mean(axis=(1, 2, 3)))
        if size.shape[1] >= 2 * BLOCK:
            borders = np.arange(size.shape[1]) % BLOCK == BLOCK - 1
            columns.append(np.log((size[:, borders].mean(axis=1) + 1) / (size[:, ~borders].mean(axis=1) + 1)))
    return np.column_stack(columns) if columns else np.zeros((len(grey), 0))


def _levels(grey: np.ndarray) -> np.ndarray:
    """Of grey levels (n, ...): how many different ones there are, shares at both ends, and shares by remainder."""
    x = grey.reshape(len(grey), -1)
    counts = np.zeros((len(x), LEVELS))
    np.add.at(counts, (np.arange(len(x))[:, None], x), 1)
    shares = counts / x.shape[1]
    remainders = shares.reshape(len(x), LEVELS // PHASES, PHASES).sum(axis=1)
    return np.column_stack([(counts > 0).sum(axis=1), shares[:, 0], shares[:, -1], remainders])
