"""The losses that the metric `exposure` left, with who was trained on an image, and how many samples copy it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from difgen_cli.data import scaled
from difgen_cli.engine.plan import facts, recipes
from difgen_cli.engine.store import Store, nearest, pool_names
from difgen_cli.engine.store.access import exists, parsed
from difgen_cli.engine.store.lines import lines_of
from difgen_cli.neighbours import related
from difgen_cli.report.study import density

if TYPE_CHECKING:
    import pandas as pd

METRIC, TABLE = "exposure", "exposure"
COLUMNS = [
    "cell", "pool", "held_out", "image", "group", "group_size", "condition", "trained", "hits", "loss", "spacing",
    "train_distance"
]  # fmt: skip


@dataclass(frozen=True)
class _Training:
    """Places in the pool: what is not held out, what a model was trained on, and T as its samples are compared with.

    conditions: of each image that is not held out; None where the model has no conditions.
    """

    pool: str
    rest: np.ndarray
    trained: np.ndarray
    compared: np.ndarray
    mirrored: bool
    conditions: np.ndarray | None


def read(store: Store, rows: pd.DataFrame) -> pd.DataFrame | None:
    """One line per finished cell of a model and image, in COLUMNS; None where nothing was measured.

    `pool`: key of the data set. `held_out`; `image`: the place in the pool, of a held-out image among those held out.
    `group`: the first place in the pool of what near-duplicates join with it, `group_size` of them in all. `condition`
    of the model, NaN for none. `trained`: the model was trained on one of them. `hits`: samples of the cell that copy
    one of them, NaN where samples were not compared. `loss`. `spacing`: Euclidean distance to the fifth nearest
    distinct image of those that were asked about: small where images are dense. `train_distance`: to the nearest of
    them that is another one and that the model was trained on. Of held-out images both are NaN.
    """
    import pandas as pd

    path, key = store.tables / f"{TABLE}.parquet", f"result.{METRIC}"
    if key not in rows or not exists(path):
        return None
    cells = rows[(rows["kind"] == "model") & (rows["state"] == "done")].dropna(subset=key)
    table = lines_of(path, "key", cells[key])
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
    return _Training(
        holdout.inputs["pool"].key, whole.rest, trained, whole.train, recipes.mirrored(recipe),
        _conditions(store, recipe.inputs["labels"].key) if "labels" in recipe.inputs else None,
    )  # fmt: skip


def _conditions(store: Store, key: str) -> np.ndarray | None:
    """The fitted labels of the images that are not held out, where there are any."""
    path = store.shared(key) / "labels.npz"
    if not exists(path):
        return None
    fitted = parsed(path, lambda p: dict(np.load(p)))
    return fitted["rest"].astype(float) if int(fitted["classes"]) else None


def _of_pool(
    store: Store, pool: str, cells: pd.DataFrame, table: pd.DataFrame, key: str, trainings: dict[str, _Training]
) -> pd.DataFrame:
    """The lines of the cells whose data set is this one."""
    import pandas as pd

    by_result = {str(result): lines for result, lines in table.groupby("key", sort=False)}
    columns = (cells[name].astype(str) for name in ("cell", "trajectory", key))
    measured = [
        (cell, run, _placed(by_result[result], trainings[run]))
        for cell, run, result in zip(*columns, strict=True)
        if result in by_result
    ]
    if not measured:
        return pd.DataFrame(columns=COLUMNS)
    places = np.unique(np.concatenate([lines.loc[~lines["held_out"], "image"] for _, _, lines in measured]))
    mirrored = any(trainings[run].mirrored for _, run, _ in measured)
    images = facts.pool(store, pool).images
    near, label = related(lambda at: scaled(images[at]), len(images), places, mirrored)
    group_of = pd.Series(near[label], near)  # by place, of those alone that are nearly the same as one measured
    group = group_of.reindex(places).to_numpy()
    distances = density.apart(scaled(images[places]), group, mirrored)
    of_pool = pd.DataFrame(
        {"group": group, "group_size": group_of.map(group_of.value_counts()).reindex(places).to_numpy(),
         "spacing": density.spacing(distances)}, places,
    )  # fmt: skip
    of_run = {run: _of_training(trainings[run], of_pool, group_of, distances) for _, run, _ in measured}
    samples = nearest.neighbours(store, "cell", [cell for cell, _, _ in measured])
    samples_of = {str(cell): own for cell, own in samples.groupby("cell", sort=False)}
    parts = []
    for cell, run, lines in measured:
        inside = ~lines["held_out"]
        about = of_run[run].reindex(lines["image"].where(inside, -1)).set_index(lines.index)
        lines = lines.assign(**{str(name): about[name] for name in about})
        lines["group"] = lines["group"].where(inside, lines["image"]).astype(np.int64)
        lines["group_size"] = lines["group_size"].fillna(1).astype(np.int64)
        lines["trained"] = lines["trained"].where(inside, False).astype(bool)
        hits: Any = np.nan
        if cell in samples_of:
            hits = lines["group"].map(_copies(samples_of[cell], trainings[run], group_of)).fillna(0).where(inside)
        parts.append(lines.assign(cell=cell, pool=pool, hits=hits))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _of_training(
    training: _Training, of_pool: pd.DataFrame, group_of: pd.Series, distances: np.ndarray
) -> pd.DataFrame:
    """What is the same at all steps of a training, by place: that of the pool, and what it was trained on."""
    of_T = np.unique(group_of.reindex(training.trained).dropna().to_numpy(np.int64))
    among = np.isin(np.unique(of_pool["group"]), of_T)
    return of_pool.assign(trained=of_pool["group"].isin(of_T), train_distance=density.to_nearest(distances, among))


def _placed(lines: pd.DataFrame, training: _Training) -> pd.DataFrame:
    """The lines of a result with `held_out`, the places of the others in the pool, and their conditions."""
    held_out, image = lines["split"] == "heldout", lines["image"].to_numpy(np.int64, copy=True)
    inside, condition = ~held_out.to_numpy(), np.full(len(image), np.nan)
    if training.conditions is not None:
        condition[inside] = training.conditions[image[inside]]
    image[inside] = training.rest[image[inside]]
    return lines[["loss"]].assign(held_out=held_out, image=image, condition=condition)


def _copies(samples: pd.DataFrame, training: _Training, group_of: pd.Series) -> pd.Series:
    """Samples that copy an image of each group, by group."""
    copies = samples.loc[samples["memorized"] | samples["identical"], "nn_index"]
    counts: pd.Series = group_of.reindex(training.compared[copies.to_numpy(np.int64)]).dropna().value_counts()
    return counts
