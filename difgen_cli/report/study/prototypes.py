"""Do images in dense regions of the pool go first, or those in sparse ones? How much training raises each image's
score, against the distances to its neighbours: prototypes first (arXiv 2605.30642), sparse regions first (2606.14390).

The raise of an image in a model that was trained on it is minus the log of its loss, minus the mean of that over the
models of other seeds that were not trained on it: no shift is needed, and how easy an image is falls out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difgen_cli.metrics._intervals import PARTS, part_of
from difgen_cli.metrics._ranks import half_width, placements
from difgen_cli.report import spreadsheet
from difgen_cli.report.study import calibrated
from difgen_cli.report.study.calibrated import LEAST, PERMUTATIONS, Models
from difgen_cli.report.study.curves import Curves

NAME = "prototypes.csv"
RAISED, NEAR, COPIED = "spacing_rho", "train_distance_rho", "copies_rho"
PERMUTED = f"{RAISED}_permuted"


@dataclass(frozen=True)
class Surroundings:
    """Of images and models, all (M, n): distance to the fifth nearest image of the pool, the same for all models; to
    the nearest other one that the model was trained on; samples that copy it, NaN where none were compared."""

    spacing: np.ndarray
    train_distance: np.ndarray
    hits: np.ndarray

    def without(self, part: int) -> Surroundings:
        """As `Models.without`."""
        kept = part_of(self.spacing.shape[1]) != part
        return Surroundings(self.spacing[:, kept], self.train_distance[:, kept], self.hits[:, kept])


def read(curves: Curves) -> pd.DataFrame:
    """prototypes.csv: one line per setting and step, over its models; none where fewer than two seeds were compared.

    `seeds`; `images`: of T, with a model of another seed that was not trained on them, a mean over seeds. Rank
    correlations (Spearman), means over seeds: `spacing_rho` of the raise of T's images with their distance to the fifth
    nearest image of the pool, above 0 where sparse regions go first, below 0 where dense ones do; `train_distance_rho`
    with the distance to the nearest other image of T. Control: `spacing_rho_permuted`, with all subsets drawn again,
    about 0. `copies_rho`: of how many samples copy an image of T with its spacing, missing below 20 copied images in a
    seed; the ratio rule counts copies more readily where images are sparse. 95 % intervals are over images and seeds.
    """
    lines = []
    by_cell = dict(list(curves.exposure.groupby("cell", sort=False, observed=True))) if len(curves.exposure) else {}
    for key, models in calibrated.groups(curves):
        around = _around(models, by_cell)
        line = summary(models, around)
        lines += [dict(zip(curves.paths, key, strict=True)) | line] if line else []
    return calibrated.ordered(curves, lines)


def write(lines: pd.DataFrame, out: Path) -> list[Path]:
    """prototypes.csv into `out`, removed where it has no lines; returns what is there."""
    return spreadsheet.write_each({NAME: lines}, out)


def summary(models: Models, around: Surroundings) -> dict[str, Any]:
    """The columns of one line; none where no model has 20 images of T with a reference."""
    usable = [m for m in range(len(models.seeds)) if raised(models, m, models.trained)[1].sum() >= LEAST]
    if not usable:
        return {}
    line: dict[str, Any] = {
        "seeds": len(usable), "images": np.mean([raised(models, m, models.trained)[1].sum() for m in usable]),
    }  # fmt: skip
    for name in CORRELATIONS:
        if ends := over_seeds(models, around, usable, name):
            line |= dict(zip((name, f"{name}_lo", f"{name}_hi"), ends, strict=True))
    return line | {PERMUTED: _permuted(models, around, usable)}


def over_seeds(models: Models, around: Surroundings, usable: list[int], name: str) -> tuple[float, float, float] | None:
    """A correlation's mean over usable models with its 95 % interval over images and seeds; None where one has none."""
    own = [CORRELATIONS[name](models, around, m) for m in usable]
    single, images = (np.array(values) for values in zip(*own, strict=True))
    if not np.isfinite(single).all():
        return None
    left_out = [_without(models, around, part, usable, CORRELATIONS[name]) for part in range(PARTS)]
    return mean_rank(single, images, np.array(left_out))


def raised(models: Models, m: int, trained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The raise of each image in model m, (n,), and which of them count: those of T that a model of another subset was
    not trained on. trained: (M, n) bool.
    """
    level = np.where(trained, 0.0, models.phi).sum(axis=1) / np.maximum((~trained).sum(axis=1), 1)
    centred = models.phi - level[:, None]
    at = models.references(m)
    out = ~trained[at]
    count = out.sum(axis=0)
    mean = np.where(out, centred[at], 0.0).sum(axis=0) / np.maximum(count, 1)
    return centred[m] - mean, trained[m] & (count > 0)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, of values (n,) each, ties at their mean rank; NaN where one of them is constant, or below three."""
    if len(one) < 3:
        return float("nan")
    ranks = np.stack([placements(values, values) for values in (one, other)])
    if ranks.std(axis=1).min() == 0:
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def mean_rank(single: np.ndarray, images: np.ndarray, left_out: np.ndarray) -> tuple[float, float, float]:
    """The mean of correlations (M,) of `images` (M,) each, with a 95 % interval over images and seeds.

    left_out: (g,) the mean where one of g random parts of the images is left out of all models: the jackknife of these
    is the part over images. What seeds differ by beyond the chance of their own images is added with Student's t.
    """
    mean, parts, count = float(single.mean()), len(left_out), len(single)
    over_images = (parts - 1) / parts * float(((left_out - left_out.mean()) ** 2).sum())
    own = float(((1 + single**2 / 2) / np.maximum(images - 3, 1)).mean())  # Bonett and Wright 2000
    between = (float(single.var(ddof=1)) - own) / count if count > 1 else 0.0
    half = half_width([over_images, max(between, 0.0)], [parts - 1, max(count - 1, 1)])
    return mean, max(mean - half, -1.0), min(mean + half, 1.0)


def _of(chosen: Callable[[Surroundings], np.ndarray]) -> Callable[..., tuple[float, int]]:
    """The correlation of the raise with what surrounds an image, and of how many images."""

    def rho(models: Models, around: Surroundings, m: int, trained: np.ndarray | None = None) -> tuple[float, int]:
        values, counted = raised(models, m, models.trained if trained is None else trained)
        return _among(values, chosen(around)[m], counted)

    return rho


def _of_copies(models: Models, around: Surroundings, m: int) -> tuple[float, int]:
    """The correlation of copies with the spacing; NaN where 20 images are not copied."""
    of_T = models.trained[m]
    copied = int((around.hits[m][of_T] > 0).sum())
    return _among(around.hits[m], around.spacing[m], of_T) if copied >= LEAST else (float("nan"), 0)


def _among(one: np.ndarray, other: np.ndarray, counted: np.ndarray) -> tuple[float, int]:
    counted = counted & np.isfinite(one) & np.isfinite(other)
    return rank_correlation(one[counted], other[counted]), int(counted.sum())


CORRELATIONS: dict[str, Callable[..., tuple[float, int]]] = {
    RAISED: _of(lambda around: around.spacing),
    NEAR: _of(lambda around: around.train_distance),
    COPIED: _of_copies,
}


def _without(
    models: Models, around: Surroundings, part: int, usable: list[int], rho: Callable[..., tuple[float, int]]
) -> float:
    fewer, around = models.without(part), around.without(part)
    return float(np.nanmean([rho(fewer, around, m)[0] for m in usable]))


def _permuted(models: Models, around: Surroundings, usable: list[int]) -> float:
    """The mean of `spacing_rho` where every subset is as large as it is, and drawn again.

    A little below 0 where training raises images by very different amounts: few large values among small ones, and more
    of them where images are sparse, which ranks see.
    """
    chance, values = np.random.default_rng(len(models.images)), []
    for _ in range(PERMUTATIONS):
        drawn = np.stack([chance.permutation(own) for own in models.trained])
        values += [CORRELATIONS[RAISED](models, around, m, drawn)[0] for m in usable]
    return float(np.nanmean(values))


def _around(models: Models, by_cell: dict[Any, pd.DataFrame]) -> Surroundings:
    """The surroundings of the models' images, as the lines of their cells have them."""
    frames = [by_cell[cell][~by_cell[cell]["held_out"]].set_index("image") for cell in models.cells]
    parts = ([frame[name].reindex(models.images).to_numpy(float) for frame in frames] for name in
             ("spacing", "train_distance", "hits"))  # fmt: skip
    return Surroundings(*(np.stack(part) for part in parts))
