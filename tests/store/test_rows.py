"""rows.parquet: one line a cell, whatever plans name it, and no two versions of one metric side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from difgen_cli import sweep
from difgen_cli.engine.plan import Cell
from difgen_cli.engine.store import tables
from difgen_cli.engine.store.results import publish_result
from difgen_cli.engine.store.together import together
from difgen_cli.sweep import Planned

GRID = """\
# How often does a cell stand in the table?
base:
  data:   {name: digits, held_out: 900, size: 8}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16}
  sample: {name: euler, steps: 2, count: 16}
  score:  [memorization]
axes:
  train.steps: [10, 20]
"""


@pytest.fixture
def recorded(tmp_path: Path, write_grid: Callable[..., Path]) -> Callable[..., Planned]:
    """Plan a grid, and keep its plan in the run directory."""

    def record(text: str = GRID, name: str = "first.yaml", **overrides: str) -> Planned:
        planned = sweep.prepare(write_grid(text, name), tmp_path / "runs", overrides)
        sweep.record(planned)
        return planned

    return record


def _score(planned: Planned, metric: str, value: float, also: float | None = None, key: str | None = None) -> None:
    """A result of a metric for every model cell."""
    for cell in planned.plan.models:
        _publish(planned, cell, metric, key or cell.metrics[metric], {"value": value, "also": also})


def _publish(planned: Planned, cell: Cell, metric: str, key: str, values: dict[str, Any]) -> None:
    home = planned.store.run_folder(cell.run_key, planned.plan.slug(cell))
    columns = {f"{metric[:3]}_{name}": ("float64", "", "") for name in values}
    context = {"metric": metric, "key": key, "kind": "model", "home": cell.run_key, "step": cell.step,
               "cell": cell.samples, "seconds": value_of(values), "provenance": {}}  # fmt: skip
    told = {f"{metric[:3]}_{name}": value for name, value in values.items()}
    publish_result(home, key, context, told, {}, {"COLUMNS": columns})


def value_of(values: dict[str, Any]) -> float:
    return float(values["value"])


def _rows(planned: Planned) -> pd.DataFrame:
    return tables.fold(planned.store).to_pandas().query("kind == 'model'").sort_values("step")


def test_one_more_metric_joins_the_row_that_is_there(recorded: Callable[..., Planned]) -> None:
    _score(recorded(), "memorization", 1.0)
    more = recorded(GRID.replace("[memorization]", "[memorization, gap]"))
    rows = _rows(more)
    assert rows["step"].tolist() == [10, 20]
    assert rows["mem_value"].tolist() == [1.0, 1.0]
    _score(more, "gap", 2.0)
    rows = _rows(more)
    assert rows["step"].tolist() == [10, 20]
    assert (rows["mem_value"].tolist(), rows["gap_value"].tolist()) == ([1.0, 1.0], [2.0, 2.0])


def test_a_grid_that_overlaps_another_names_no_cell_twice(recorded: Callable[..., Planned]) -> None:
    _score(recorded(), "memorization", 1.0)
    _score(recorded(GRID.replace("[10, 20]", "[10, 40]"), "second.yaml"), "memorization", 1.0)
    assert _rows(recorded(name="third.yaml", **{"train.steps": "40"}))["step"].tolist() == [10, 20, 40]


def test_the_newest_version_of_a_metric_counts_and_is_not_mixed_with_the_older(
    recorded: Callable[..., Planned],
) -> None:
    first = recorded()
    _score(first, "memorization", 1.0, also=5.0)
    text = GRID.replace("[memorization]", "{memorization: {}, gap: {}}")
    second = recorded(text, "second.yaml")
    newer = _versioned(second, "memorization")
    assert _rows(newer)["mem_value"].tolist() == [1.0, 1.0], "until the newer is there"
    _score(newer, "memorization", 2.0)
    rows = _rows(newer)
    assert rows["mem_value"].tolist() == [2.0, 2.0]
    assert rows["mem_also"].isna().all(), "of the older result"
    assert rows["memorization_seconds"].tolist() == [2.0, 2.0]


def _versioned(planned: Planned, metric: str) -> Planned:
    """The same plan as code of another version of a metric makes it."""
    for cell in planned.plan.cells:
        if metric in cell.metrics:
            cell.metrics[metric] = cell.metrics[metric][::-1]
    sweep.record(planned)
    return planned


def test_cells_that_share_samples_and_differ_in_a_metrics_setting_have_a_row_each(
    recorded: Callable[..., Planned],
) -> None:
    axes = GRID.replace("  train.steps: [10, 20]", "  score.gap.rho: [2.0, 4.0]")
    both = recorded(axes.replace("{batch: 16}", "{batch: 16, steps: 10}"))
    _score(both, "memorization", 1.0)
    assert sorted(_rows(both)["score.gap.rho"]) == [2.0, 4.0]


def test_a_missing_result_of_the_same_code_is_new_and_one_of_older_code_stale(
    recorded: Callable[..., Planned], tmp_path: Path
) -> None:
    planned = recorded(GRID.replace("[memorization]", "[memorization, gap]"))
    _score(planned, "memorization", 1.0)
    _score(planned, "gap", 1.0)
    _rows(planned)
    cell = planned.plan.models[0]
    planned.store.run_folder(cell.run_key, planned.plan.slug(cell)).result(cell.metrics["gap"]).unlink()
    again = sweep.prepare(tmp_path / "first.yaml", tmp_path / "runs", {})
    marks = dict(zip([(c.kind, c.step) for c in again.plan.cells], again.state.marks, strict=True))
    assert marks["model", 10] == "new", "interrupted, and of the same code"
    assert marks["model", 20] == "done"
    _versioned(again, "gap")
    state = sweep.survey(planned.plan, planned.store, lambda _: True)
    assert state.marks[cell.index] == "new", "nothing was ever measured by the other version"
    _score(again, "gap", 2.0)
    _rows(again)
    again = sweep.prepare(tmp_path / "first.yaml", tmp_path / "runs", {})
    assert again.state.counts["stale"] == 1


def test_a_setting_that_is_empty_in_one_grid_and_a_number_in_another_is_one_column(
    recorded: Callable[..., Planned],
) -> None:
    """As `objective.noise_bank`: a column without a value has no type that counts."""
    for name, objective in (
        ("first.yaml", "{name: edm}"),
        ("second.yaml", "{noise_bank: 4}"),
        ("third.yaml", "{noise_bank: 8}"),
    ):
        planned = recorded(GRID.replace("  score:", f"  objective: {objective}\n  score:"), name)
        _score(planned, "memorization", 1.0)
    tables.fold(planned.store)
    rows = pd.read_parquet(planned.store.tables / "rows.parquet")
    assert sorted(rows["objective.noise_bank"].dropna().unique()) == [4, 8]
    assert rows["objective.noise_bank"].isna().sum() == 2


def test_columns_of_several_kinds_are_text() -> None:
    parts = [
        pa.table({"x": [1, 2], "n": [1, 2]}), pa.table({"x": ["a", None], "n": [0.5, None]}),
        pa.table({"x": pa.nulls(1, pa.float64()), "y": [True]}),
    ]  # fmt: skip
    whole = together(parts)
    assert whole["x"].to_pylist() == ["1", "2", "a", None, None]
    assert whole["n"].to_pylist() == [1, 2, 0.5, None, None]
    assert whole["y"].to_pylist() == [None] * 4 + [True]
    assert together(parts[:1]) == parts[0]
