"""Training subsets by coins: each image of the pool is trained on, or not, by a coin of its own."""

import numpy as np

from difgen_cli.data._errors import DataError

STREAM = 20_230_515  # of coins: apart from what draws H and the order of T


def fair(size: int | None, pool: int) -> bool:
    """Whether `size` of `pool` images are expected by fair coins: half of them, to the nearest whole number."""
    return size is None or abs(2 * size - pool) <= 1


def tossed(places: np.ndarray, size: int | None, count: int, seed: int) -> np.ndarray:
    """Those of `places` whose coins fall so, in random order: (n,) int64, of a smaller size the first of a larger one.

    The coin of an image follows from the seed and its place in the data set alone, whichever images are held out.

    places: (m,) within a data set of `count` images, apart from the held-out ones.
    size: how many of them are expected; None: half.
    """
    share = 0.5 if size is None or fair(size, len(places)) else size / len(places)
    thrown = np.random.default_rng((STREAM, seed)).random(count)[places]
    order = np.argsort(thrown, kind="stable")
    train: np.ndarray = places[order[: int((thrown < share).sum())]]
    if not len(train):
        raise DataError(
            f"data.draw: by coins none of the {len(places)} images is in the training subset; choose a larger "
            "data.size, or another data.seed"
        )
    return train


def check_coins(size: int | None, pool: int, half: str | None, unlearn: float) -> None:
    """DataError where coins cannot decide alone which of `pool` images are trained on."""
    if half is not None:
        raise DataError(
            f"data.half: half {half} of the pool is chosen by its number of images, and data.draw: coin by one coin "
            "for each image; use one of them"
        )
    if unlearn:
        raise DataError(
            "data.unlearn: is part of a training subset of a known number of images, and by data.draw: coin it has "
            "none; use one of them"
        )
    if size is not None and size >= pool:
        raise DataError(
            f"data.size: by data.draw: coin {size} of {pool} images leave nothing to chance; use at most {pool - 1}, "
            "or none for half of them"
        )
