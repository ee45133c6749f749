"""What a gate looks at: the rows of one set of weights, what they were measured on, and what was measured beside them.

All settings in which these weights were sampled and measured count, and the worst of them decides: who could choose
among several would choose the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from difgen_cli.engine import select
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import recipes
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import RunFolder, Store, tables
from difgen_cli.engine.store.access import exists, parsed
from difgen_cli.gate import calibrated_columns, weights
from difgen_cli.gate.columns import DeclaredColumn
from difgen_cli.gate.policy import Policy
from difgen_cli.gate.weights import AuditedWeights
from difgen_cli.report import cell as cells

if TYPE_CHECKING:
    import pandas as pd

OF_DATA = ("data.name", "data.path")  # models of one pool of images are alternatives to one another


@dataclass(frozen=True)
class JudgedModel:
    """rows: of the weights, as they stand in the tables. references: by kind, of the first row. group_lines: by table.

    first: when the first result of any model of these data was finished. models: of these data, that were measured.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    references: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: AuditedWeights = field(default_factory=lambda: AuditedWeights(absent="nothing was measured"))
    folder: RunFolder | None = None
    recipe: Recipe | None = None
    first: datetime | None = None
    models: int = 0
    group_lines: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def row(self) -> Mapping[str, Any]:
        """The first of the rows; empty where there is none."""
        return self.rows[0] if self.rows else {}

    @property
    def is_trained_here(self) -> bool:
        """Whether difgen trained it, so that its training images are certain."""
        return self.recipe is not None and "weights" not in self.recipe.inputs


def gather(
    store: Store, words: Sequence[str], grid: str | None, policy: Policy, columns: Mapping[str, DeclaredColumn],
    library: Library,
) -> JudgedModel:  # fmt: skip
    """The weights that the words name, or the only ones that were measured. GridError where that is not one."""
    rows = tables.fold(store).to_pandas()
    models = rows[rows["kind"] == "model"] if "kind" in rows else rows
    if len(models) == 0:
        return JudgedModel()
    named = _named(store, models, words, grid) if words else _only(models, policy)
    if named.empty:
        return JudgedModel()
    own = _same(models, named.iloc[0], _of_weights(models))
    first = own.iloc[0]
    others = _same(models, first, [name for name in OF_DATA if name in models])
    folder = store.run_folder(str(first["home"]), str(first["slug"]))
    spec = folder.spec()
    recipe = recipes.load(spec["recipe"])[spec["key"]] if spec else None
    further = _calibrated(store, policy, set(own["cell"]))
    return JudgedModel(
        rows=[_plain(line) | further.get(str(line["cell"]), {}) for _, line in own.iterrows()],
        references={k: _plain(v) for k, v in cells.references(rows.assign(state="done"), first).items()},
        weights=weights.audited(store, library, folder, _plain(first), recipe),
        folder=folder,
        recipe=recipe,
        first=_first(store, set(others["cell"])),
        models=len(others.drop_duplicates(_of_weights(models))),
        group_lines=_group_lines(store, policy, columns, set(own["cell"])),
    )


def has_cell(store: Store, cell: str) -> bool:
    """Whether there is a row of a model with this whole key."""
    rows = tables.fold(store)
    if "cell" not in rows.column_names:
        return False
    pairs = zip(rows["kind"].to_pylist(), rows["cell"].to_pylist(), strict=True)
    return ("model", cell) in set(pairs)


def _named(store: Store, models: pd.DataFrame, words: Sequence[str], grid: str | None) -> pd.DataFrame:
    """The rows of a whole key, of whichever grid; else of the one cell of a grid that the words name."""
    if len(words) == 1 and len(whole := models[models["cell"] == words[0]]):
        return whole
    cell = select.one(store, words, grid)
    return models[(models["cell"] == cell.key) & (models["home"] == cell.trajectory)]


def _only(models: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """The rows of the only weights, or of those at the step that the policy names."""
    at = models if policy.weights.step is None else models[models["step"] == policy.weights.step]
    distinct = at.drop_duplicates(_of_weights(models))
    if len(distinct) == 1:
        return at
    if at.empty:
        steps = ", ".join(f"{step:,.0f}" for step in sorted(models["step"].dropna().unique())[:8])
        raise GridError(f"weights.step: there are no rows of step {policy.weights.step}; there are {steps}")
    raise GridError(
        f"RUNS: {len(distinct)} models were measured there; name one with --cell, such as --cell "
        f"{str(distinct.iloc[-1]['cell'])[:8]} or --cell step={distinct.iloc[-1]['step']:.0f}"
    )


def _of_weights(rows: pd.DataFrame) -> list[str]:
    """The columns by which weights differ."""
    return ["home", "step", *(str(name) for name in rows.columns if str(name).startswith("post_training."))]


def _same(rows: pd.DataFrame, row: pd.Series, names: Sequence[str]) -> pd.DataFrame:
    """The rows that agree with one in some columns; what is missing in both is the same."""
    for name in names:
        rows = rows[rows[name].isna() if _none(row[name]) else rows[name] == row[name]]
    return rows


def _first(store: Store, cells_of: set[str]) -> datetime | None:
    """When the first result of some cells was finished; None where one of them does not say it."""
    finished: list[str | None] = []
    for table in tables.metrics(store).values():
        pairs = zip(table["cell"].to_pylist(), table["finished_at"].to_pylist(), strict=True)
        finished += [at for cell, at in pairs if cell in cells_of]
    times = [datetime.fromisoformat(at) for at in finished if at]
    whole = len(times) == len(finished) and all(time.tzinfo is not None for time in times)
    return min(times) if times and whole else None


def _calibrated(store: Store, policy: Policy, cells_of: set[str]) -> dict[str, dict[str, Any]]:
    """By cell, what the models of all seeds say together; read only where the policy names a column of it."""
    named = {rule.column for rule in (*policy.rules, *policy.controls)}
    if not named & calibrated_columns.declared().keys():
        return {}
    lines = calibrated_columns.values(store, cells_of)
    return {cell: {k: None if _none(v) else v for k, v in line.items()} for cell, line in lines.items()}


def _group_lines(
    store: Store, policy: Policy, columns: Mapping[str, DeclaredColumn], cells_of: set[str]
) -> dict[str, list[dict[str, Any]]]:
    """The lines of the tables that have a rule's column group by group."""
    named = {table for rule in policy.rules if rule.column in columns for table in columns[rule.column].tables}
    lines: dict[str, list[dict[str, Any]]] = {}
    for name in sorted(named):
        path = store.tables / f"{name}.parquet"
        table = parsed(path, pq.read_table).to_pylist() if exists(path) else []
        lines[name] = [line for line in table if line["cell"] in cells_of]
    return lines


def _plain(line: pd.Series) -> dict[str, Any]:
    """A row as Python has it; what is missing is None."""
    pairs = ((str(name), value) for name, value in line.items())
    return {
        name: None if _none(value) else value.item() if hasattr(value, "item") and value.ndim == 0 else value
        for name, value in pairs
    }


def _none(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and value != value)
