"""How far training images are from held-out ones without any model: the Fréchet distances that samples are read beside.

Kaiser & Kollmann (2026) show both for several data sets. In random halves of one set only chance differs.
"""

import numpy as np

from difgen_cli.metrics import Result, Shared
from difgen_cli.metrics._features import Embed, features_of, name_of, require_held_out
from difgen_cli.metrics.frechet import DRAWS, distance, moments

VERSION = 1
HELD_OUT_MIN = 2

COLUMNS = {
    "fd_halves": (
        "float64",
        "features²",
        "Fréchet distance of two random halves of T: what chance alone makes of fd_halves_heldout",
        {"label": "Fréchet distance of two halves of T", "scale": "ratio"},
    ),
    "fd_halves_heldout": (
        "float64",
        "features²",
        "Fréchet distance of a half of T to as many held-out images",
        {"label": "Fréchet distance of half of T to held-out images", "scale": "ratio"},
    ),
    "fd_halves_features": ("string", "", "the feature space", {"role": "features"}),
    "fd_halves_images": ("int64", "images", "on each side of both distances", {"role": "count"}),
}

SEED = 14


def measure(train: np.ndarray, held_out: np.ndarray, embed: Embed, shared: Shared, *, features: str = "auto") -> Result:
    """Both distances at equal numbers of images, so that they differ by where H comes from alone: means of five draws.

    A half has as many images as half of T, or of H where that is smaller: fewer than 2 have no covariance, and give
    None. There is no interval: T and H are fixed. They are the same for every model of one T.

    features: the feature space; auto is the classifier where there are labels, and random_conv elsewhere.
    """
    require_held_out("halves", held_out, HELD_OUT_MIN)
    half = min(len(train), len(held_out)) // 2
    values: dict[str, float | int | str | bool | None] = dict.fromkeys(COLUMNS)
    values |= {"fd_halves_features": name_of(embed, features), "fd_halves_images": half}
    if half < 2:
        return Result(values)

    def compute() -> dict[str, np.ndarray]:
        of_T, of_H = features_of("halves", embed, train), features_of("halves", embed, held_out)
        chance, pairs = np.random.default_rng(SEED), []
        for _ in range(DRAWS):
            first, second = np.split(chance.permutation(len(of_T))[: 2 * half], 2)
            others = chance.permutation(len(of_H))[:half]
            one = moments(of_T[first])
            pairs.append([distance(one, moments(other)) for other in (of_T[second], of_H[others])])
        return {"distances": np.mean(pairs, axis=0)}

    within, across = shared("halves", compute)["distances"]
    return Result(values | {"fd_halves": float(within), "fd_halves_heldout": float(across)})
