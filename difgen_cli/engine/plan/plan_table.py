"""A plan as a table: one line per cell, kept with its grid, from which rows and reports are joined."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from difgen_cli.engine.plan import Plan, made_by, rounds
from difgen_cli.engine.plan.sections import as_text
from difgen_cli.engine.store import Store
from difgen_cli.engine.store.access import ANSWERS, DamagedError, parsed
from difgen_cli.engine.store.files import check_schema, replace

SCHEMA = b"1"


def write(path: Path, plan: Plan) -> None:
    """Write what each cell is, its settings, its axis values as the grid says them, and the keys of its results."""
    cells = plan.cells
    columns: dict[str, Any] = {
        "index": [c.index for c in cells],
        "kind": [c.kind for c in cells],
        "seed": [c.seed for c in cells],
        "step": [c.at for c in cells],
        "home": [c.run_key for c in cells],
        "slug": [plan.slug(c) for c in cells],
        "cell": [c.samples for c in cells],
        "identity": [c.identity() for c in cells],
    }
    columns |= _spread([c.settings() for c in cells])
    axis_values = [c.axis_values() for c in cells]
    columns |= _spread([{f"axis.{k}": v for k, v in values.items()} for values in axis_values])
    columns |= _spread([{f"result.{m}": k for m, k in c.metrics.items()} for c in cells])
    steps = {"step": pa.array(columns["step"], pa.int64())}  # also where no cell has one
    table = pa.table({name: _column(values) for name, values in columns.items()} | steps)
    about = {
        "schema": SCHEMA,
        "grid": plan.grid.name.encode(),
        "question": plan.grid.question.encode(),
        "axes": json.dumps({path: _distinct(path, axis_values) for path in plan.grid.values}).encode(),
        "seeds": str(len(plan.grid.seeds)).encode(),
        "partners": json.dumps(_partners(plan)).encode(),
        "made_by": json.dumps(made_by.of_plan(plan)).encode(),
    }
    replace(path, lambda p: pq.write_table(table.replace_schema_metadata(about), p))


def _distinct(path: str, axis_values: list[dict[str, Any]]) -> list[Any]:
    """The values of an axis in the order of the cells."""
    return list(dict.fromkeys(as_text(values[path]) for values in axis_values if path in values))


def _partners(plan: Plan) -> list[dict[str, Any]]:
    """The snapshots and samples of others that cells and trainings need, which need not be cells themselves."""
    of_cells = (other for cell in plan.cells for p in cell.partners.values() for other in p.all())
    of_trainings = (other for trajectory in plan.trajectories.values() for other in plan.needs(trajectory).values())
    named = (*of_cells, *of_trainings)
    distinct = {(p.snapshot, p.samples): p for p in named if p.step is not None}  # what is in closed form lies nowhere
    return [
        {"home": p.run_key, "slug": p.slug, "step": p.step, "snapshot": p.snapshot, "samples": p.samples}
        | ({"whole": True} if p.whole else {})
        for p in distinct.values()
    ]


def partners(plan: pa.Table) -> list[dict[str, Any]]:
    """home, slug, step, snapshot and samples (None: weights alone) of each, from a plan as it was read.

    `whole` is there, and true, where it is the whole state at that step.
    """
    content: list[dict[str, Any]] = json.loads((plan.schema.metadata or {}).get(b"partners", b"[]"))
    return content


@dataclass
class Expected:
    """What the grids of a run directory want of one trajectory."""

    slug: str
    results: set[str] = field(default_factory=set)  # keys
    steps: set[int] = field(default_factory=set)  # snapshots that others need
    states: set[int] = field(default_factory=set)  # steps at which others fork
    needed: bool = False  # whether anything of it is, where grids refine


def expected(store: Store) -> dict[str, Expected]:
    """The trajectories that any grid of a run directory names, by key."""
    by_home: dict[str, Expected] = {}
    for folder in store.grids():
        try:
            plan = read(folder / "plan.parquet")
        except DamagedError:
            continue  # the next sweep writes it anew
        refined = rounds.read(folder, store)
        idle = refined.idle_weights() if refined else set()
        results = [n for n in plan.column_names if n.startswith("result.")]
        columns = (plan[n].to_pylist() for n in ("index", "kind", "home", "slug", *results))
        for index, kind, run_key, slug, *keys in zip(*columns, strict=True):
            if kind == "model":
                trajectory = by_home.setdefault(run_key, Expected(slug))
                if not (refined and refined.not_needed(index)):
                    trajectory.needed = True
                    trajectory.results.update(k for k in keys if k is not None)
        for partner in partners(plan):
            wanted = by_home.setdefault(partner["home"], Expected(partner["slug"]))
            if (partner["home"], partner["step"]) not in idle:
                wanted.needed = True
                (wanted.states if partner.get("whole") else wanted.steps).add(partner["step"])
    return by_home


def _spread(lines: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Dictionaries as columns; what a line lacks is None."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    return {name: [line.get(name) for line in lines] for name in names}


def _column(values: list[Any]) -> pa.Array:
    """A typed column of settings: whole numbers, numbers, words; lists as JSON."""
    plain = [as_text(v) for v in values]
    kinds = {type(v) for v in plain if v is not None}
    if kinds <= {int, float} and float in kinds:
        return pa.array(plain, pa.float64())
    if len(kinds) > 1:
        return pa.array([None if v is None else str(v) for v in plain], pa.string())
    return pa.array(plain) if kinds else pa.array(plain, pa.string())


def read(path: Path) -> pa.Table:
    """What `write` wrote. Raises StoreError where it cannot be read, or is a newer difgen's."""
    try:
        plan = parsed(path, pq.read_table)
    except (*ANSWERS, DamagedError) as error:
        raise DamagedError(f"{path}: is missing or damaged; run the same `difgen sweep` again to write it") from error
    check_schema(path, (plan.schema.metadata or {}).get(b"schema"), int(SCHEMA))
    return plan
