"""The table `images`: which images of a pool the models of a grid know, one line per image over all of them.

It orders images and convicts none: with few seeds most of a gap is chance, which `gap_se` and `reliability` say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difgen_cli.report import spreadsheet
from difgen_cli.report.study import calibrated
from difgen_cli.report.study.calibrated import Models
from difgen_cli.report.study.curves import Curves, last_snapshot

NAME = "images.csv"
COLUMNS = [
    "data", "image", "name", "group", "n_in", "n_out", "copies", "score_in", "score_out", "gap", "gap_se", "reliability"
]  # fmt: skip


@dataclass(frozen=True)
class Gaps:
    """Of each image of some models, (n,): mean φ of those trained on it minus that of the others, and its error.

    NaN where all or none were trained on it; the error also where no image has two models on a side.
    """

    value: np.ndarray
    error: np.ndarray


def read(curves: Curves, names: Mapping[str, list[str]]) -> pd.DataFrame:
    """images.csv: one line per image of the pool, the largest gap first; the last snapshot of each setting counts.

    `data` (key of the data set), `image` (place in it, from 0), `name` where it has one, `group` (the first place of
    what near-duplicates join with it: trained on one is trained on all); `n_in`, `n_out`: seeds with a model that was
    trained on it, and with one that was not; `copies`: samples that copy it or its group, missing where samples were
    not compared; `score_in`, `score_out`: mean shifted difference (`calibrated.csv`) of models in and out; `gap`: minus
    the log of the loss, in minus out, each model's mean over images that it was not trained on set to 0, a mean over
    settings; `gap_se`: its standard error, with one spread for all images, and as if settings were no new evidence;
    `reliability`: the share of the variance of gaps that is not of such errors, the same for all lines of a data set.
    """
    last = set(last_snapshot(curves.cells, curves.paths).get("cell", pd.Series(dtype=str)))
    parts = [_lines(models) for _, models in calibrated.groups(curves, once=False) if set(models.cells) <= last]
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    pool_of = curves.exposure.drop_duplicates("cell").set_index("cell")["pool"]
    every = pd.concat(parts, ignore_index=True)
    every["data"] = every["cell"].map(pool_of).astype(str)
    frames = [_of_pool(str(pool), own, names.get(str(pool))) for pool, own in every.groupby("data", sort=True)]
    frame = pd.concat(frames, ignore_index=True).merge(_facts(curves.exposure, last), on=["data", "image"], how="left")
    frame = frame.sort_values(["data", "gap", "image"], ascending=[True, False, True], kind="stable", ignore_index=True)
    return frame[[name for name in COLUMNS if name != "name" or frame[name].notna().any()]]


def write(frame: pd.DataFrame, out: Path) -> list[Path]:
    """images.csv into `out`, removed where it has no lines; returns what is there."""
    path = out / NAME
    if len(frame):
        spreadsheet.write(frame, path)
        return [path]
    path.unlink(missing_ok=True)
    return []


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
    return Gaps(np.where(both, means[0] - means[1], np.nan), np.where(both, error, np.nan))


def reliability(gap: np.ndarray, error: np.ndarray) -> float:
    """The share of the variance of gaps (n,) that is not of their errors (n,), from 0 to 1; NaN below three of them."""
    measured = ~np.isnan(gap) & ~np.isnan(error)
    if measured.sum() < 3 or not (variance := float(gap[measured].var(ddof=1))) > 0:
        return float("nan")
    return float(np.clip(1 - (error[measured] ** 2).mean() / variance, 0, 1))


def _lines(models: Models) -> pd.DataFrame:
    """One line for each model and image of a setting."""
    own = gaps(models.phi, models.trained)
    lines = []
    for m, seed in enumerate(models.seeds):
        score = calibrated.scores_of(models, m)
        about: dict[str, Any] = {
            "cell": models.cells[m],
            "seed": seed,
            "image": models.images,
            "trained": models.trained[m],
        }
        about |= {"score": np.nan if score is None else score, "gap": own.value, "gap_se": own.error}
        lines.append(pd.DataFrame(about))
    return pd.concat(lines, ignore_index=True)


def _of_pool(pool: str, lines: pd.DataFrame, names: list[str] | None) -> pd.DataFrame:
    """One line for each image of a data set, from those of all models."""
    columns: dict[str, pd.Series] = {}
    for inside, side in ((True, "in"), (False, "out")):
        of_side = lines[lines["trained"] == inside].groupby("image")
        columns |= {f"n_{side}": of_side["seed"].nunique(), f"score_{side}": of_side["score"].mean()}
    per_image = lines.groupby("image")[["gap", "gap_se"]].mean()
    frame = per_image.assign(**columns).reset_index().assign(data=pool)
    frame = frame.fillna({"n_in": 0, "n_out": 0}).astype({"n_in": int, "n_out": int})
    frame["reliability"] = reliability(frame["gap"].to_numpy(), frame["gap_se"].to_numpy())
    frame["name"] = (
        None if names is None else [names[place] if place < len(names) else None for place in frame["image"]]
    )
    return frame


def _facts(exposure: pd.DataFrame, cells: set[Any]) -> pd.DataFrame:
    """Group and copies of each image of each data set, over some cells."""
    of_pool = exposure[~exposure["held_out"] & exposure["cell"].isin(cells)]
    grouped = of_pool.groupby(["pool", "image"], observed=True)
    facts = grouped.agg(group=("group", "first"), copies=("hits", lambda hits: hits.sum(min_count=1))).reset_index()
    return facts.rename(columns={"pool": "data"}).astype({"data": str})
