"""The table `images`: which images of a pool the models of a grid know, one line per image over all of them.

It orders images and convicts none: with few seeds most of a gap is chance, which `gap_se` and `reliability` say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report import spreadsheet
from difgen_cli.report.study import calibrated
from difgen_cli.report.study.calibrated import Models
from difgen_cli.report.study.curves import Curves, last_snapshot

if TYPE_CHECKING:
    from difgen_cli.report.study.album import Album

NAME, CELLS = "images.csv", "images_cells.csv"
COLUMNS = [
    "data", "image", "name", "group", "group_size", "condition", "n_in", "n_out", "hits", "d1", "cell", "sample",
    "loss_in", "loss_out", "spacing", "score_in", "score_out", "gap", "gap_se", "gap_lo", "gap_hi", "reliability",
]  # fmt: skip
OF_CELL = [
    "data", "image", "name", "group", "group_size", "condition", "hits", "d1", "sample", "loss", "spacing",
    "train_distance", "score",
]  # fmt: skip
NOBODY_ASKED = (pd.DataFrame(), pd.DataFrame())  # both tables without lines
PERMUTATIONS = 8
LEVEL = 0.975


@dataclass(frozen=True)
class Ranked:
    """What a grid says of each image of its pools.

    lines: images.csv but for names and samples (`named`). by_chance: of each data set how many gaps would surely be
    above 0 if all subsets were drawn again. cells: the last snapshots that lines are of.
    """

    lines: pd.DataFrame
    by_chance: dict[str, float]
    cells: frozenset[str]

    @property
    def exposed(self) -> pd.DataFrame:
        """Those whose gap is above 0 with its 95 % interval."""
        return self.lines[self.lines["gap_lo"] > 0]


@dataclass(frozen=True)
class Gaps:
    """Of each image of some models, (n,): mean φ of those trained on it minus that of the others, and its error.

    NaN where all or none were trained on it; the error also where no image has two models on a side. freedom: degrees
    of freedom of the one spread that all errors are made of.
    """

    value: np.ndarray
    error: np.ndarray
    freedom: int


def read(curves: Curves) -> Ranked:
    """One line per image of each pool, the largest gap first; the last snapshot of each setting counts."""
    last = frozenset(last_snapshot(curves.cells, curves.paths).get("cell", pd.Series(dtype=str)))
    groups = [models for _, models in calibrated.groups(curves, once=False) if last.issuperset(models.cells)]
    if not groups:
        return Ranked(pd.DataFrame(columns=COLUMNS), {}, frozenset())
    pool_of = curves.exposure.drop_duplicates("cell").set_index("cell")["pool"].astype(str)
    by_pool: dict[str, list[Models]] = {}
    for models in groups:
        by_pool.setdefault(pool_of[models.cells[0]], []).append(models)
    frames = [_of_pool(own).assign(data=pool) for pool, own in sorted(by_pool.items())]
    frame = pd.concat(frames, ignore_index=True).merge(_facts(curves.exposure, last), on=["data", "image"], how="left")
    frame = frame.sort_values(["data", "gap", "image"], ascending=[True, False, True], kind="stable", ignore_index=True)
    cells = frozenset(cell for models in groups for cell in models.cells)
    return Ranked(frame, {pool: _by_chance(own) for pool, own in by_pool.items()}, cells)


def named(curves: Curves, names: Mapping[str, list[str]], album: Album | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """images.csv and images_cells.csv: what they may say where somebody asked for them, without lines where nothing is.

    images.csv: `data` (key of the data set), `image` (place in it, from 0), `name` where it has one, `group` (the first
    place of what near-duplicates join with it: trained on one is trained on all) and `group_size`, `condition` where it
    is the same in all cells; `n_in`, `n_out`: seeds with a model that was trained on it, and with one that was not;
    `hits`: samples that copy it or its group, missing where samples were not compared; `d1`, `cell`, `sample`: the
    nearest sample of a model that was trained on it; `loss_in`, `loss_out`: mean losses of models in and out;
    `spacing`: distance to the fifth nearest distinct image; `score_in`, `score_out`: mean shifted difference
    (`calibrated.csv`) of models in and out; `gap`: minus the log of the loss, in minus out, each model's mean over
    images that it was not trained on set to 0, a mean over settings; `gap_se`: its standard error, with one spread for
    all images, and as if settings were no new evidence; `gap_lo`, `gap_hi`: 95 %; `reliability`: the share of the
    variance of gaps that is not of such errors, the same for all lines of a data set.

    images_cells.csv: for each cell at its last snapshot and each image its `hits`, `d1` and `sample`, `loss`, and
    `train_distance`: to the nearest other image that the model was trained on; `score`: its shifted difference. Neither
    says who was trained on.
    """
    ranked = curves.images
    lines = curves.exposure
    if ranked.lines.empty:
        return ranked.lines, pd.DataFrame(columns=OF_CELL)
    lines = lines[lines["cell"].isin(ranked.cells) & ~lines["held_out"]].reset_index(drop=True)
    near = lines.assign(d1=np.nan, sample=np.nan)[["d1", "sample"]] if album is None else album.nearest_samples(lines)
    lines = lines.assign(data=lines["pool"].astype(str), cell=lines["cell"].astype(str), **near)
    best = lines[lines["trained"]].dropna(subset="d1").sort_values("d1", kind="stable")
    best = best.drop_duplicates(["data", "image"])[["data", "image", "d1", "cell", "sample"]]
    frame = ranked.lines.merge(best, on=["data", "image"], how="left")
    scores = [_lines(models)[["cell", "image", "score"]] for _, models in calibrated.groups(curves, once=False)
              if ranked.cells.issuperset(models.cells)]  # fmt: skip
    of_cells = lines.merge(pd.concat(scores, ignore_index=True), on=["cell", "image"], how="left")
    about = ["cell", *curves.paths, "seed"]
    of_cells = curves.done[about].drop_duplicates("cell").astype({"cell": str}).merge(of_cells, on="cell")
    parts = ((frame, COLUMNS), (of_cells, [*about, *OF_CELL]))
    whole, each = (_filled(table.assign(name=_names(table, names)), columns) for table, columns in parts)
    return whole, each


def write(frames: tuple[pd.DataFrame, pd.DataFrame], out: Path) -> list[Path]:
    """Both files into `out`, removed where they have no lines; returns what is there."""
    return spreadsheet.write_each(dict(zip((NAME, CELLS), frames, strict=True)), out)


def _filled(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """These columns, those that may have no value only where they have one."""
    maybe = {"name", "condition", "hits", "d1", "cell", "sample"}
    kept = [name for name in columns if name not in maybe or frame[name].notna().any()]
    whole = {name: "Int64" for name in ("sample", "condition") if name in kept}
    return frame[kept].astype(whole)


def _names(frame: pd.DataFrame, names: Mapping[str, list[str]]) -> pd.Series:
    pairs = zip(frame["data"], frame["image"], strict=True)
    called = [own[place] if place < len(own := names.get(pool, [])) else None for pool, place in pairs]
    return pd.Series(called, frame.index, dtype=object)


def gaps(phi: np.ndarray, trained: np.ndarray) -> Gaps:
    """phi, trained: (M, n). Each model's mean over images that it was not trained on is taken away first."""
    level = np.where(trained, 0.0, phi).sum(axis=1) / np.maximum((~trained).sum(axis=1), 1)
    centred = phi - level[:, None]
    counts, means, squares, freedom = [], [], 0.0, 0
    for among in (trained, ~trained):
        count = among.sum(axis=0)
        mean = np.where(among, centred, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares += float((np.where(among, centred - mean, 0.0) ** 2).sum())
        freedom += int(np.maximum(count - 1, 0).sum())
        counts.append(count)
        means.append(mean)
    both = (counts[0] > 0) & (counts[1] > 0)
    spread = np.sqrt(squares / freedom) if freedom else np.nan
    with np.errstate(divide="ignore"):
        error = spread * np.sqrt(1 / counts[0] + 1 / counts[1])
    return Gaps(np.where(both, means[0] - means[1], np.nan), np.where(both, error, np.nan), freedom)


def reliability(gap: np.ndarray, error: np.ndarray) -> float:
    """The share of the variance of gaps (n,) that is not of their errors (n,), from 0 to 1; NaN below three of them."""
    measured = ~np.isnan(gap) & ~np.isnan(error)
    if measured.sum() < 3 or not (variance := float(gap[measured].var(ddof=1))) > 0:
        return float("nan")
    return float(np.clip(1 - (error[measured] ** 2).mean() / variance, 0, 1))


def _lines(models: Models) -> pd.DataFrame:
    """One line for each model and image of a setting."""
    lines = []
    for m, seed in enumerate(models.seeds):
        score = calibrated.scores_of(models, m)
        about: dict[str, Any] = {
            "cell": models.cells[m], "seed": seed, "image": models.images, "trained": models.trained[m],
            "loss": np.exp(-models.phi[m]), "score": np.nan if score is None else score,
        }  # fmt: skip
        lines.append(pd.DataFrame(about))
    return pd.concat(lines, ignore_index=True)


def _of_pool(settings: list[Models]) -> pd.DataFrame:
    """One line for each image of a data set, from the models of some settings."""
    lines = pd.concat([_lines(models) for models in settings], ignore_index=True)
    columns: dict[str, pd.Series] = {}
    for inside, side in ((True, "in"), (False, "out")):
        of_side = lines[lines["trained"] == inside].groupby("image")
        means = {f"{name}_{side}": of_side[name].mean() for name in ("score", "loss")}
        columns |= {f"n_{side}": of_side["seed"].nunique(), **means}
    frame = pd.DataFrame(columns, index=np.unique(lines["image"])).rename_axis("image")
    frame = frame.fillna({"n_in": 0, "n_out": 0}).astype({"n_in": int, "n_out": int})
    frame = frame.join(_mean_gaps(settings)).reset_index()
    frame["reliability"] = reliability(frame["gap"].to_numpy(), frame["gap_se"].to_numpy())
    return frame


def _mean_gaps(settings: list[Models], permutation: int | None = None) -> pd.DataFrame:
    """`gap`, `gap_se` and the ends of its interval by image: means over settings. permutation: number of a drawing of
    all subsets again, as large as they are."""
    from scipy.special import stdtrit

    values, freedom = [], []
    for models in settings:
        trained = models.trained
        if permutation is not None:
            chance = np.random.default_rng((permutation, len(models.images)))
            trained = np.stack([chance.permutation(own) for own in trained])
        own = gaps(models.phi, trained)
        values.append(pd.DataFrame({"gap": own.value, "gap_se": own.error}, models.images))
        freedom.append(own.freedom)
    mean = pd.concat(values).groupby(level=0).mean()
    half = mean["gap_se"] * float(stdtrit(max(min(freedom), 1), LEVEL))
    return mean.assign(gap_lo=mean["gap"] - half, gap_hi=mean["gap"] + half)


def _by_chance(settings: list[Models]) -> float:
    """How many gaps are surely above 0 where all subsets are drawn again: a mean."""
    return float(np.mean([(_mean_gaps(settings, k)["gap_lo"] > 0).sum() for k in range(PERMUTATIONS)]))


def _facts(exposure: pd.DataFrame, cells: frozenset[str]) -> pd.DataFrame:
    """What is known of each image of each data set without its losses, over some cells."""
    of_pool = exposure[~exposure["held_out"] & exposure["cell"].isin(cells)]
    grouped = of_pool.groupby(["pool", "image"], observed=True)
    facts = grouped.agg(
        group=("group", "first"), group_size=("group_size", "first"), spacing=("spacing", "first"),
        condition=("condition", "first"), conditions=("condition", "nunique"),
        hits=("hits", lambda hits: hits.sum(min_count=1)),
    ).reset_index()  # fmt: skip
    facts["condition"] = facts["condition"].where(facts.pop("conditions") == 1)
    return facts.rename(columns={"pool": "data"}).astype({"data": str})
