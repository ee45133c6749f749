"""Steps that measures in a feature space share: features that are finite, equal numbers of them, exact distances."""

from collections.abc import Callable
from functools import reduce

import numpy as np

from difgen_cli.neighbours import flat, mirror, nearer, nearest

Embed = Callable[[np.ndarray], np.ndarray]

LOST = 1e-5  # of the norms: below it, products have lost too many digits of a squared distance
PAIRS = 1 << 14  # of close rows whose differences are held at once


def require_held_out(metric: str, held_out: np.ndarray, least: int) -> None:
    """ValueError where there are fewer than `least` held-out images."""
    if len(held_out) < least:
        raise ValueError(f"{metric} needs {least} held-out images, there are {len(held_out)}: raise data.held_out")


def features_of(metric: str, embed: Embed, images: np.ndarray) -> np.ndarray:
    """(n, d), in the precision that the space has. ValueError where a feature is NaN or infinite."""
    features = np.asarray(embed(images))
    if not np.isfinite(features).all():
        raise ValueError(f"{metric}: the feature space gives NaN or infinite features: are the images finite?")
    return features


def sides_of(metric: str, embed: Embed, images: np.ndarray, mirrored: bool) -> list[np.ndarray]:
    """The images' features (n, d); where training showed mirror images, those of their mirror images too."""
    return [features_of(metric, embed, side) for side in ((images, mirror(images)) if mirrored else (images,))]


def unit(metric: str, features: np.ndarray) -> np.ndarray:
    """Features (n, d) at length 1, float32. ValueError for one that is 0 everywhere."""
    norms = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    if not norms.all():
        raise ValueError(f"{metric}: the features of an image are all 0, which have no direction: choose another space")
    return np.asarray(features / norms, np.float32)


def nearest_of(
    sides: list[np.ndarray], references: np.ndarray, k: int, *, exclude_self: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """`nearest` for images with these sides, each at the distance of its nearer one."""
    return reduce(nearer, (nearest(side, references, k, exclude_self=exclude_self) for side in sides))


def name_of(embed: Embed, setting: str) -> str:
    """The feature space's own name, `embed.name`, if it has one, else the setting that chose it."""
    return str(getattr(embed, "name", setting))


def drawn(images: np.ndarray, count: int, seed: tuple[int, ...]) -> np.ndarray:
    """`count` of the images at random, without replacement, since files may be sorted; all where there are no more."""
    if count >= len(images):
        return images
    return np.asarray(images[np.sort(np.random.default_rng(seed).permutation(len(images))[:count])])


def among(samples: np.ndarray, held_out: np.ndarray) -> bool:
    """Whether each sample is a held-out image, as in the reference row of real images."""
    rows = flat(held_out)
    if not (rows == flat(samples[:1])).all(axis=1).any():
        return False
    contents = {row.tobytes() for row in rows}
    return all(row.tobytes() in contents for row in flat(samples))


def squared_distances_to(references: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function from x (n, d) to ‖xᵢ − rⱼ‖² (n, m), float64, each right to ten digits.

    By a matrix product, and by the differences where that loses digits: a copy is at exactly 0.
    """
    centre = references.mean(axis=0, dtype=np.float64)
    b = references - centre
    norms = np.einsum("md,md->m", b, b)

    def squared(x: np.ndarray) -> np.ndarray:
        a = x - centre
        scale = np.einsum("nd,nd->n", a, a)[:, None] + norms
        squares = a @ b.T
        squares *= -2
        squares += scale
        scale *= LOST
        rows, columns = np.nonzero(squares <= scale)
        for start in range(0, len(rows), PAIRS):
            i, j = rows[start : start + PAIRS], columns[start : start + PAIRS]
            difference = x[i].astype(np.float64) - references[j]
            squares[i, j] = np.einsum("nd,nd->n", difference, difference)
        return np.asarray(squares)

    return squared
