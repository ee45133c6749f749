"""Rows to curves: which axes a grid really has, and which cells are replicates of one another (see seeds.py)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.engine.columns import Columns, ColumnSpec
from difgen_cli.engine.plan.rounds import NOT_NEEDED
from difgen_cli.engine.plugins import COLUMN_SECTIONS
from difgen_cli.report.plotting import labels
from difgen_cli.report.plotting.labels import text
from difgen_cli.report.study import seeds
from difgen_cli.report.study.readings import Readings
from difgen_cli.report.study.seeds import over_seeds as over_seeds

if TYPE_CHECKING:
    from difgen_cli.report import Study
    from difgen_cli.report.study.album import Album

STEPS, SIZE = "train.steps", "data.size"
# columns with units that say how a row came about, not what was measured
CLOCKS = (
    "seed", "step", "images_seen", "epochs", "steps_per_image", "train_seconds", "images_per_second", "roofline", "mfu",
    "nfe", "nfe_area",
)  # fmt: skip
# of the engine: never drawn as measures
COUNTS = ("threads", "frozen_parameters", "peak_memory_bytes", "grad_norm", "weight_path")
# what a reader looks for first: dataset size, then capacity, then conditioning; others as the grid orders them
ABSENT = ("missing", "failed", "stale", NOT_NEEDED)  # the states of planned cells without numbers
PREFERRED = (SIZE, "model.width", "condition.clusters", STEPS)


@dataclass(frozen=True)
class CurveAxis:
    """An axis with at least two levels: their words, and where they stand on a drawn axis."""

    path: str
    levels: tuple[str, ...]
    values: tuple[float, ...]  # the numbers themselves; 0, 1, … where a level is a word
    numeric: bool
    along: tuple[str, ...] = ()  # settings that move together with this one (zip)

    @property
    def log(self) -> bool:
        return self.numeric and min(self.values) > 0 and max(self.values) / min(self.values) >= 8

    @property
    def of_models(self) -> bool:
        """Whether it changes models or samples, and not only how a metric measures them."""
        return not self.path.startswith("score.")


@dataclass(frozen=True)
class Curves(Readings):
    """A study made ready for drawing: axis columns of `cells` and `tables` are ordered categoricals of words."""

    axes: tuple[CurveAxis, ...]
    cells: pd.DataFrame  # every planned cell of the models, whatever its state
    references: pd.DataFrame  # held-out, copycat and ideal rows
    tables: dict[str, pd.DataFrame]  # of the models' finished cells, by name; never an empty one
    metrics: tuple[str, ...]  # numeric metric columns with at least one value, intervals left out
    columns: Columns  # what metrics declare of theirs
    features: str
    seeds: int  # most seeds that any finished group has
    replicate: str = "seed"  # the column of the study's rows that `seed` is in `cells` and `tables`
    exposure: pd.DataFrame = field(default_factory=pd.DataFrame)  # losses image by image: see `exposure.py`
    reference_tables: dict[str, pd.DataFrame] = field(default_factory=dict)  # of the references' cells, by name
    album: Album | None = None  # of the study's pictures
    covered: tuple[str, ...] = ()  # what figures before show: names of metrics, and beginnings that end with `_`

    @property
    def paths(self) -> list[str]:
        return [axis.path for axis in self.axes]

    @property
    def done(self) -> pd.DataFrame:
        return self.cells[self.cells["state"] == "done"]

    @cached_property
    def finished(self) -> Curves:
        """The same with those metrics alone that finished cells have: references, scored first, are not drawn alone."""
        done = self.done
        metrics = tuple(name for name in self.metrics if done[name].notna().any())
        return self if metrics == self.metrics else replace(self, metrics=metrics)

    def along(self, axis: CurveAxis) -> pd.DataFrame:
        """The finished cells that stand along an axis: all of them along the steps, else the last snapshots."""
        return self.done if axis.path == STEPS else last_snapshot(self.cells, self.paths)

    def spec(self, metric: str) -> ColumnSpec:
        """What a metric declares of a column; the defaults where nothing is declared."""
        return self.columns.get(metric, ColumnSpec())

    def samples(self, metric: str) -> float:
        """From how many samples a metric is estimated at most; NaN where that is not known."""
        column = self.spec(metric).n or "n_gen"
        return float(self.done[column].max()) if column in self.done else math.nan

    def label(self, metric: str) -> str:
        """The axis label of a metric."""
        return labels.metric(metric, self.features, self.columns)

    def axis(self, path: str) -> CurveAxis:
        return next(axis for axis in self.axes if axis.path == path)

    def others(self, *taken: CurveAxis | None) -> list[CurveAxis]:
        """The axes that are not taken, the ones a reader looks for first in front."""
        rest = [axis for axis in self.axes if axis not in taken]
        rank = {path: place for place, path in enumerate(PREFERRED)}
        return sorted(rest, key=lambda axis: rank.get(axis.path, len(rank)))


def read(study: Study) -> Curves:
    """Find the axes, sort rows into models and references, and code the axes' values."""
    rows = study.rows.reset_index(drop=True)
    cells = rows[rows["kind"] == "model"].reset_index(drop=True)
    axes, replicate = found_axes(cells, study.axes), seeds.of_replicates(cells)
    cells = cells.assign(seed=cells[replicate])
    cells = coded(cells, axes)
    metrics = [name for name, spec in study.columns.items() if spec.role == "metric" and _measured(rows, name)]
    spaces = [name for name, spec in study.columns.items() if spec.role == "features" and name in rows]
    names = dict.fromkeys(str(value) for name in spaces for value in rows[name].dropna().unique())
    done, references = cells[cells["state"] == "done"], rows[rows["kind"] != "model"]
    per_group = _grouped(done, [axis.path for axis in axes])["seed"].nunique() if len(done) else pd.Series([0])
    return Curves(
        axes=axes,
        cells=cells,
        references=references.reset_index(drop=True),
        tables=_tables(study.tables, done["cell"], axes, replicate),
        album=study.album,
        reference_tables=_tables(study.tables, references["cell"], axes, replicate),
        metrics=tuple(metrics),
        columns=study.columns,
        features=" / ".join(names),
        seeds=int(per_group.max()),
        replicate=replicate,
        exposure=pd.DataFrame() if study.exposure is None else study.exposure,
    )


def found_axes(cells: pd.DataFrame, values_by_path: dict[str, list[Any]]) -> tuple[CurveAxis, ...]:
    """The axes with two levels or more among the planned cells, those that move together joined into one.

    A setting that differs between cells of one group (an `include:`) is an axis too: else cells that are not
    the same would be averaged as if they were seeds. Seeds are no axis, whichever section they are of: cells that
    differ in nothing else are replicates.
    """
    if cells.empty:
        return ()
    candidates = [name for name in cells.columns if _is_setting(str(name))]
    values_by_path = {path: values for path, values in values_by_path.items() if not path.endswith("seed")}
    words = {path: worded(cells[path]) for path in {*values_by_path, *candidates} if path in cells.columns}
    chosen = [path for path in values_by_path if path in words and words[path].nunique() > 1]
    for path in sorted(set(words) - set(values_by_path)):
        if words[path].nunique() > 1 and _splits(pd.DataFrame({p: words[p] for p in chosen}), words[path]):
            chosen.append(path)
    axes: list[CurveAxis] = []
    for path in chosen:
        twin = next((i for i, axis in enumerate(axes) if _together(words[axis.path], words[path])), None)
        if twin is None:
            axes.append(_axis(path, cells[path], values_by_path.get(path, [])))
        else:
            axes[twin] = CurveAxis(**{**vars(axes[twin]), "along": (*axes[twin].along, path)})
    return tuple(axes)


def axis_of(cells: pd.DataFrame, path: str) -> CurveAxis:
    """Any column of the cells as an axis."""
    return _axis(path, cells[path], [])


def per_group(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The groups of a frame with their keys as tuples; the whole frame under () where `by` names nothing."""
    if not by:
        yield (), frame
        return
    for key, group in frame.groupby(list(by), observed=True, sort=False, dropna=False):
        yield key if isinstance(key, tuple) else (key,), group


def absent_by_state(cells: pd.DataFrame) -> dict[str, int]:
    """How many planned cells have no numbers, by state; states that no cell has are left out."""
    counts = cells["state"].value_counts()
    return {word: int(counts[word]) for word in ABSENT if counts.get(word, 0)}


def last_snapshot(frame: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """The finished cells at the last step that their group (all axes but the steps) has finished.

    All finished cells of a model in closed form, which has no steps.
    """
    done = frame[frame["state"] == "done"] if "state" in frame else frame
    if done.empty or "step" not in done or done["step"].isna().all():
        return done
    last = _grouped(done, [path for path in paths if path != STEPS])["step"].transform("max")
    final: pd.DataFrame = done[(done["step"] == last) | last.isna()]
    return final


def _grouped(frame: pd.DataFrame, paths: Sequence[str]) -> Any:
    keys: Any = list(paths) or np.zeros(len(frame), dtype=int)  # pandas refuses to group by nothing
    return frame.groupby(keys, observed=True, sort=False, dropna=False)


def _is_setting(name: str) -> bool:
    section, dot, setting = name.partition(".")
    return bool(dot) and section in COLUMN_SECTIONS and not setting.endswith("seed")


def _measured(rows: pd.DataFrame, name: str) -> bool:
    if name not in rows or name.endswith(("_lo", "_hi")) or name in CLOCKS or name in COUNTS:
        return False
    return bool(pd.api.types.is_numeric_dtype(rows[name]) and rows[name].notna().any())


def worded(column: pd.Series) -> pd.Series:
    """The column's values as words; each distinct value is written once."""
    if column.dtype == object:
        column = column.map(text)  # lists cannot be hashed
    codes, values = pd.factorize(column, use_na_sentinel=False)
    named = np.array([text(value) for value in values], dtype=object)
    return pd.Series(named[codes], index=column.index, dtype=object)


def _splits(groups: pd.DataFrame, words: pd.Series) -> bool:
    if groups.columns.empty:
        return True
    joint = groups.assign(**{"#": words}).drop_duplicates()
    return len(joint) > len(groups.drop_duplicates())


def _together(one: pd.Series, other: pd.Series) -> bool:
    pairs = pd.DataFrame({"a": one, "b": other}).drop_duplicates()
    return len(pairs) == one.nunique() == other.nunique()


def _axis(path: str, column: pd.Series, grid_values: list[Any]) -> CurveAxis:
    """Numbers ascend; words keep the order of the grid. A model in closed form has no place among the steps."""
    levels = {text(value): value for value in grid_values} | {
        text(value): value for value in column.drop_duplicates().tolist()
    }
    present = set(worded(column))
    levels = {word: value for word, value in levels.items() if word in present}
    if path == STEPS and len(levels) > 2:
        levels.pop("none", None)
    numeric = all(word not in ("none", "true", "false") and _is_number(v) for word, v in levels.items())
    order = sorted(levels, key=lambda word: float(levels[word])) if numeric else list(levels)
    values = [float(levels[word]) for word in order] if numeric else [float(i) for i in range(len(order))]
    return CurveAxis(path, tuple(order), tuple(values), numeric)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(np.isfinite(value))


def _tables(
    tables: dict[str, pd.DataFrame], cells: pd.Series, axes: Sequence[CurveAxis], replicate: str
) -> dict[str, pd.DataFrame]:
    """The lines of some cells; a table without any is left out."""
    kept = {name: table[table["cell"].isin(cells)] for name, table in tables.items() if len(table)}
    kept = {name: table.assign(seed=table[replicate]) for name, table in kept.items() if len(table)}
    return {name: coded(table.reset_index(drop=True), axes) for name, table in kept.items()}


def coded(frame: pd.DataFrame, axes: Sequence[CurveAxis]) -> pd.DataFrame:
    """The frame with its axes' columns as ordered categoricals of words; what is no level of an axis is missing."""
    words = {axis.path: (worded(frame[axis.path]), list(axis.levels)) for axis in axes if axis.path in frame}
    coded = {
        path: pd.Categorical(column.where(column.isin(levels)), categories=levels, ordered=True)
        for path, (column, levels) in words.items()
    }
    return frame.assign(**coded)
