"""From the store to studies: each grid's planned cells with their results, failures, noise tables and pictures."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from difgen_cli.engine.columns import ColumnSpec, declared
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import controls, plan_table, rounds
from difgen_cli.engine.plugins import COLUMN_SECTIONS, Library, PluginError
from difgen_cli.engine.store import (
    RunFolder,
    Store,
    failures,
    nearest,
    notes,
    sample_files,
    submission_file,
    tables,
    untrusted,
)
from difgen_cli.engine.store.access import exists, parsed
from difgen_cli.report import Pair, Study
from difgen_cli.report.study import blind, costs, exposure, first_copy
from difgen_cli.report.study.album import Album

if TYPE_CHECKING:
    import pandas as pd

# A column of tables with lines per noise level, number of repeats, or condition: those that figures are drawn from.
LEVELS = {"sigma_rel", "repeats", "confidence"}
SETTINGS = tuple(section for section in COLUMN_SECTIONS if section != "score")  # of a cell, and not of a metric
PROVENANCE = ("git_commit", "git_dirty", "difgen", "torch", "device", "train_way", "sample_way")


def gather(store: Store, name: str | None = None, folder: Path | None = None) -> list[Study]:
    """The studies of a run directory, newest plan of each grid; of one grid by its name, or by its very folder."""
    tables.fold(store)
    folders = newest(store)
    if name is not None and name not in folders:
        grid_names = ", ".join(sorted(folders)) or "none"
        raise GridError(f"--grid {name}: no such grid was swept into {store.root} ({grid_names})")
    chosen = [folder] if folder else [f for n, f in sorted(folders.items()) if name in (None, n)]
    metrics = tables.metrics(store)
    return [_study(store, f, metrics) for f in chosen]


def newest(store: Store) -> dict[str, Path]:
    """The folder of the newest plan of each grid, by the grid's name."""
    return {folder.name.rpartition("-")[0]: folder for folder in store.grids()}


def _study(store: Store, folder: Path, metrics: dict[str, pa.Table]) -> Study:
    plan = parsed(folder / "plan.parquet", pq.read_table)
    about = {k.decode(): v.decode() for k, v in plan.schema.metadata.items()}
    trajectories = {*plan["home"].to_pylist(), *(other["home"] for other in plan_table.partners(plan))}
    doubt = untrusted.find(store, trajectories)
    table = tables.joined(plan, metrics, doubt)
    library = library_of(store, folder)
    constants = {name: _constants(library, name) for name in metrics}
    claims = [name for own in constants.values() for name in own.get(controls.CLAIMS, ())]
    planned = _rows(store, table, rounds.read(folder, store))
    joined = first_copy.added(store, planned).copy()  # in one piece: columns were added one by one
    rows, held_back = blind.held_back(joined, claims)
    exposed = exposure.read(store, rows)
    return Study(
        name=about["grid"],
        question=about["question"],
        axes=json.loads(about["axes"]),
        seeds=int(about["seeds"]),
        rows=rows,
        tables={
            name: _table(store, rows, name, metric, claims)
            for metric, own in constants.items()
            for name, columns in own.get("TABLES", {}).items()
            if LEVELS & set(columns)
        },
        columns=_columns(metrics, constants) | {n: spec for n, spec in first_copy.COLUMNS.items() if n in rows},
        gallery=partial(pairs, store),
        provenance=_provenance(store, about["grid"], folder, rows),
        stale=doubt.sentence(sorted(trajectories)),
        held_back=held_back,
        exposure=exposed,
        image_names=exposure.names(store, exposed),
        album=Album(store, _trajectories(rows)),
        notes=notes.read(folder).sentences,
        grid=_grid(folder),
    )


def _grid(folder: Path) -> str:
    """The YAML that was swept; nothing where it is gone."""
    file = folder / "grid.yaml"
    return parsed(file, lambda path: path.read_text(encoding="utf-8", errors="replace")) if exists(file) else ""


def _trajectories(rows: pd.DataFrame) -> dict[str, str]:
    """Of each cell of a model, by their keys."""
    of_models = rows[rows["kind"] == "model"]
    return dict(zip(of_models["cell"].astype(str), of_models["trajectory"].astype(str), strict=True))


def _rows(store: Store, table: pa.Table, refined: rounds.Rounds | None) -> pd.DataFrame:
    """One line per planned cell: axis values as the grid says them, and its state: done, missing, failed, stale, or
    not needed, with the reason."""
    rows: pd.DataFrame = table.to_pandas()
    for column in [c for c in rows.columns if c.startswith("axis.")]:
        path = column.removeprefix("axis.")
        grid_values = rows.pop(column)
        rows[path] = grid_values.where(grid_values.notna(), rows[path]) if path in rows else grid_values
    wanted = rows[[c for c in rows.columns if c.startswith("result.")]].notna().sum(axis=1)
    rows["state"] = (rows["results"] >= wanted).map({True: "done", False: "missing"})
    rows.loc[rows.pop("stale").astype(bool) & (rows["results"] > 0), "state"] = "stale"
    rows["cause"] = None
    rows = rows.rename(columns={"home": "trajectory"})
    if refined:
        idle = {i: refined.why(i) for i in rows.loc[rows["state"] != "done", "index"] if refined.not_needed(i)}
        rows.loc[rows["index"].isin(idle), "state"] = rounds.NOT_NEEDED
        rows["cause"] = rows["index"].map(idle).astype(object)
    lacking = rows.index[rows["state"] == "missing"]
    last: dict[str, dict[str, dict[str, Any]]] = {}
    for index in lacking:
        line = rows.loc[index]
        if line["trajectory"] not in last:
            folder = store.run_folder(line["trajectory"], line["slug"], reference=line["kind"] != "model")
            last[line["trajectory"]] = folder.last_attempts()
        cause = _cause(last[line["trajectory"]], line["cell"])
        if cause:
            rows.loc[index, ["state", "cause"]] = ["failed", cause]
    return rows


def _cause(attempts: dict[str, dict[str, Any]], cell: str) -> str | None:
    causes = (failures.cause(attempts.get(unit, {})) for unit in (f"score-{cell}", "train"))
    return next((cause for cause in causes if cause is not None), None)


def _table(store: Store, rows: pd.DataFrame, name: str, metric: str, claims: list[str]) -> pd.DataFrame:
    """A metric's table with the settings of the cells that its lines belong to, without what must not be stated."""
    import pandas as pd

    path, key = store.tables / f"{name}.parquet", f"result.{metric}"
    if not exists(path) or key not in rows:
        return pd.DataFrame()
    lines_of = parsed(path, pq.read_table).drop_columns(["kind", "home", "step", "cell"]).to_pandas()
    settings = [c for c in rows.columns if c.partition(".")[0] in SETTINGS]
    control = [blind.LOWER] if blind.LOWER in rows else []
    lines = rows[[key, "kind", "seed", "step", "cell", "trajectory", *settings, *control]]
    lines = lines.rename(columns={key: "key"}).dropna(subset="key").merge(lines_of, on="key", how="inner")
    return blind.held_back(lines, claims)[0].drop(columns=["key", *control])


def library_of(store: Store, folder: Path) -> Library:
    """The package's plug-ins, and those next to the grid as its newest submission has stored them."""
    submissions = map(submission_file.read, reversed(submission_file.folders(folder)))
    codes = [Path(one["code"]).name for one in submissions if one.get("plugins") and one.get("code")]
    copies = (store.shared(code) / "plugins" for code in codes)
    return Library(next(filter(exists, copies), None))


def _constants(library: Library, metric: str) -> dict[str, Any]:
    """What a metric's file declares; nothing where the file is gone, or cannot be read any more."""
    try:
        return library.signature("score", metric).constants
    except PluginError:
        return {}


def _columns(metrics: dict[str, pa.Table], constants: dict[str, dict[str, Any]]) -> dict[str, ColumnSpec]:
    """Units and meanings as results hold them, and how columns are shown as their metrics declare it today."""
    specs = {}
    for metric, table in metrics.items():
        shown = declared(constants[metric].get("COLUMNS", {}))
        for field in (field for field in table.schema if field.metadata):
            unit, meaning = (field.metadata.get(name, b"").decode() for name in (b"unit", b"meaning"))
            specs[field.name] = replace(shown.get(field.name, ColumnSpec()), unit=unit, meaning=meaning)
    return specs | {name: ColumnSpec(unit) for name, unit in tables.UNITS.items()}


def _provenance(store: Store, name: str, folder: Path, rows: pd.DataFrame) -> dict[str, str]:
    """What produced the rows, several values all named; and the commands that make them and this report again."""
    provenance = {}
    for column in PROVENANCE:
        if column in rows:
            values = sorted({str(v) for v in rows[column].dropna()})
            if values:
                provenance[column] = ", ".join(values)
    if "finished_at" in rows and rows["finished_at"].notna().any():
        provenance["finished_at"] = str(rows["finished_at"].dropna().max())
    if spent := costs.words(rows):
        provenance["measuring"] = spent
    submissions = map(submission_file.read, submission_file.folders(folder))
    commands = [shlex.join(one["environment"]["command"]) for one in submissions if one]
    report = shlex.join(["difgen", "report", str(store.root), "--grid", name])
    return provenance | {"command": "\n".join(dict.fromkeys([*commands, report]))}


def pairs(store: Store, cells: Sequence[str], count: int) -> dict[str, list[Pair]]:
    """The most copied samples of cells, each with its nearest training image; none for points."""
    best = nearest.neighbours(store, "cell", cells).groupby("cell", sort=False).head(count)
    pairs_by_cell: dict[str, list[Pair]] = {}
    for (run_key, reference), some in best.groupby(["home", best["kind"] != "model"], sort=False):
        at = store.run_folder(str(run_key), "", reference=bool(reference))
        drawn = {str(cell): own for cell, own in some.groupby("cell", sort=False) if _has_images(at, str(cell))}
        if drawn:
            train = training_images(store, at)
            pairs_by_cell |= {cell: _pairs(at, cell, own, train) for cell, own in drawn.items()}
    return pairs_by_cell


def _has_images(folder: RunFolder, cell: str) -> bool:
    file = folder.samples(cell)
    return exists(file) and "image" in parsed(file, pq.read_schema).names


def _pairs(folder: RunFolder, cell: str, lines: pd.DataFrame, train: TrainingImages) -> list[Pair]:
    drawn = parsed(folder.samples(cell), pq.read_table)
    encoded = drawn["image"].combine_chunks().field("bytes")
    return [
        Pair(
            seed=line["seed"],
            ratio=line["ratio"],
            memorized=bool(line["memorized"]),
            identical=bool(line["identical"]),
            nearness=line["nearness"],
            sample_png=encoded[line["seed"]].as_py(),
            nearest_png=sample_files.png(train.images(line["nn_index"])),
            label=drawn["label"][line["seed"]].as_py(),
        )
        for line in lines.to_dict("records")
    ]


@dataclass(frozen=True)
class TrainingImages:
    """The training subset of a trajectory or reference, in the order that the neighbours table counts.

    pool: all images as the data are loaded, uint8, on disk. places: of each training image among them. mirrored:
    training showed mirror images too.
    """

    pool: np.ndarray
    places: np.ndarray
    mirrored: bool

    def images(self, which: Any) -> np.ndarray:
        """The images at some positions of the subset: a number, an array of them, or a slice."""
        return np.asarray(self.pool[self.places[which]])


def training_images(store: Store, folder: RunFolder) -> TrainingImages:
    """Read the training images from the copy of the data in the run directory."""
    from difgen_cli.engine.plan import facts, recipes

    spec = folder.spec()
    recipe = recipes.load(spec["recipe"])[spec["key"]]
    subset = recipes.measured(recipe.inputs["subset"])
    pool = facts.pool(store, subset.inputs["holdout"].inputs["pool"].key)
    return TrainingImages(pool.images, np.asarray(facts.split(pool, subset).train), recipes.mirrored(recipe))
