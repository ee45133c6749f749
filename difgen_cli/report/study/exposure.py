"""The losses that the metric `exposure` left, with who was trained on an image, and how many samples copy it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from difgen_cli.data import scaled
from difgen_cli.engine.plan import facts, recipes
from difgen_cli.engine.store import Store, nearest, pool_names
from difgen_cli.engine.store.access import exists, parsed
from difgen_cli.neighbours import related

if TYPE_CHECKING:
    import pandas as pd

METRIC, TABLE = "exposure", "exposure"
COLUMNS = ["cell", "pool", "held_out", "image", "group", "trained", "hits", "loss"]


@dataclass(frozen=True)
class _Training:
    """Places in the pool: what is not held out, what a model was trained on, and T as its samples are compared with."""

    pool: str
    rest: np.ndarray
    trained: np.ndarray
    compared: np.ndarray
    mirrored: bool


def read(store: Store, rows: pd.DataFrame) -> pd.DataFrame | None:
    """One line per finished cell of a model and image, in COLUMNS; None where nothing was measured.

    `pool`: key of the data set. `held_out`; `image`: the place in the pool, of a held-out image among those held out.
    `group`: the first place in the pool of what near-duplicates join with it. `trained`: the model was trained on one
    of them. `hits`: samples of the cell that copy one of them, NaN where samples were not compared. `loss`.
    """
    import pandas as pd

    path, key = store.tables / f"{TABLE}.parquet", f"result.{METRIC}"
    if key not in rows or not exists(path):
        return None
    cells = rows[(rows["kind"] == "model") & (rows["state"] == "done")].dropna(subset=key)
    wanted = [("key", "in", sorted(set(cells[key])))]
    table: pd.DataFrame = parsed(path, lambda p: pq.read_table(p, filters=wanted)).to_pandas()
    if cells.empty or table.empty:
        return None
    trainings = {run: _training(store, str(run)) for run in cells["trajectory"].unique()}
    cells = cells[["cell", "trajectory", key]].drop_duplicates("cell")
    cells = cells.assign(pool=[trainings[run].pool for run in cells["trajectory"]])
    parts = [_of_pool(store, str(pool), own, table, key, trainings) for pool, own in cells.groupby("pool", sort=False)]
    lines = pd.concat(parts, ignore_index=True)
    return lines.astype({"cell": "category", "pool": "category"})


def names(store: Store, exposure: pd.DataFrame | None) -> dict[str, list[str]]:
    """What the images of the data sets are called, by the key of the data, where they have names."""
    pools = [] if exposure is None else [str(pool) for pool in exposure["pool"].cat.categories]
    return {pool: called for pool in pools if (called := pool_names.read(store, pool)) is not None}


def _training(store: Store, run: str) -> _Training:
    """Of a trajectory, by its key."""
    spec = store.run_folder(run, "").spec()
    recipe = recipes.load(spec["recipe"])[spec["key"]]
    subset = recipe.inputs["subset"]
    holdout = subset.inputs["holdout"]
    pool = facts.pool(store, holdout.inputs["pool"].key)
    whole = facts.split(pool, recipes.measured(subset))
    trained = facts.split(pool, subset).train
    return _Training(holdout.inputs["pool"].key, whole.rest, trained, whole.train, recipes.mirrored(recipe))


def _of_pool(
    store: Store, pool: str, cells: pd.DataFrame, table: pd.DataFrame, key: str, trainings: dict[str, _Training]
) -> pd.DataFrame:
    """The lines of the cells whose data set is this one."""
    import pandas as pd

    by_result = {str(result): lines for result, lines in table.groupby("key", sort=False)}
    columns = (cells[name].astype(str) for name in ("cell", "trajectory", key))
    measured = [
        (cell, trainings[run], _placed(by_result[result], trainings[run].rest))
        for cell, run, result in zip(*columns, strict=True)
        if result in by_result
    ]
    if not measured:
        return pd.DataFrame(columns=COLUMNS)
    places = np.unique(np.concatenate([lines.loc[~lines["held_out"], "image"] for _, _, lines in measured]))
    mirrored = any(training.mirrored for _, training, _ in measured)
    images = facts.pool(store, pool).images
    near, label = related(lambda at: scaled(images[at]), len(images), places, mirrored)
    group_of = pd.Series(near[label], near)  # by place, of those alone that are nearly the same as one measured
    samples = nearest.neighbours(store, "cell", [cell for cell, _, _ in measured])
    samples_of = {str(cell): own for cell, own in samples.groupby("cell", sort=False)}
    parts = []
    for cell, training, lines in measured:
        inside = ~lines["held_out"]
        group = lines["image"].where(~inside, lines["image"].map(group_of)).astype(np.int64)
        trained = inside & group.isin(group_of.reindex(training.trained).dropna())
        hits: Any = np.nan
        if cell in samples_of:
            hits = group.map(_copies(samples_of[cell], training, group_of)).fillna(0).where(inside)
        parts.append(lines.assign(cell=cell, pool=pool, group=group, trained=trained, hits=hits))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _placed(lines: pd.DataFrame, rest: np.ndarray) -> pd.DataFrame:
    """The lines of a result with `held_out`, and the places of the others in the pool."""
    held_out, image = lines["split"] == "heldout", lines["image"].to_numpy(np.int64, copy=True)
    image[~held_out] = rest[image[~held_out]]
    return lines[["loss"]].assign(held_out=held_out, image=image)


def _copies(samples: pd.DataFrame, training: _Training, group_of: pd.Series) -> pd.Series:
    """Samples that copy an image of each group, by group."""
    copies = samples.loc[samples["memorized"] | samples["identical"], "nn_index"]
    counts: pd.Series = group_of.reindex(training.compared[copies.to_numpy(np.int64)]).dropna().value_counts()
    return counts
