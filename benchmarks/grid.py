"""A grid swept by difgen beside the same cells run one by one, as a plain multirun would run them.

    python benchmarks/grid.py [--grid grids/size.yaml] [--workers 2] [--seeds N] [--share 0.1] [--json] [--quick]

One by one: each cell is a process of its own that trains from scratch, samples and scores, as many side by side as the
sweep has workers. It calls the project's own training, sampling and metrics, finds the decoded data and the fitted
feature space at hand, and scores no reference rows: what differs is that the sweep trains each trajectory once. With
`--share` part of those cells is run, evenly chosen among those of each number of steps, and the whole is estimated from
them; `--share 1` runs all (half an hour for grids/size.yaml). Images are counted by what was trained, exactly; the
bound is training, sampling and scoring by the workers' own clocks, divided by the workers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measuring import Results, parser

from difgen_cli import sweep
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.plan import Cell, Plan, pending
from difgen_cli.engine.store import Store
from difgen_cli.engine.worker import work_on
from difgen_cli.engine.worker.submission_spec import StopFlag, SubmissionSpec
from difgen_cli.sweep import Planned

GRIDS = Path(__file__).parent.parent / "grids"
EVENLY = """# What do ten evenly spaced snapshots of one run save?
base: {data: {name: digits, held_out: 900}, model: {name: mlp}, train: {batch: 128}}
axes:
  train.steps: {lin: [400, 4000, 10]}
  data.size: [16, 768]
"""
QUICK = """# Is a sweep cheaper than its cells one by one?
base:
  data:   {name: digits, held_out: 900, size: 8}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16}
  sample: {name: euler, steps: 3, count: 32}
  score:  [memorization, gap]
axes:
  train.steps: [10, 20, 30]
"""
COLUMNS = ("grid", "who", "cells", "cells_run", "images", "share_of_images", "wall_seconds", "share_of_wall",
           "bound_seconds", "wall_over_bound")  # fmt: skip
LEASE_SECONDS = CHECKPOINT_SECONDS = 60.0


def swept(grid: Path, runs: Path, workers: int) -> dict[str, Any]:
    """The grid by `difgen sweep`: images trained, wall seconds, and what the workers' clocks say of them."""
    command = [sys.executable, "-m", "difgen_cli", "sweep", str(grid), "--runs", str(runs), "--cluster", "local",
               "--workers", str(workers)]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=one_thread())
    wall = time.perf_counter() - start
    planned = sweep.prepare(grid, runs, {})
    worker_records = [
        b for k in sorted((planned.folder / "submissions").iterdir()) for b in Submission(k).worker_records()
    ]
    worked = sum(b["seconds"][what] for b in worker_records for what in ("training", "sampling", "scoring"))
    bound, cells = worked / workers, len(planned.plan.models)
    return {"who": "difgen sweep", "cells": cells, "cells_run": cells, "images": images_trained(planned.store),
            "wall_seconds": wall, "bound_seconds": bound, "wall_over_bound": wall / bound}  # fmt: skip


def one_by_one(grid: Path, folder: Path, workers: int, share: float, whole: int) -> dict[str, Any]:
    """The cells alone: images trained, and the wall seconds of all of them, estimated where `share` is below 1.

    `whole` is how many images all of them show.
    """
    planned = sweep.prepare(grid, folder / "runs", {})
    sweep.record(planned)  # decoded data, under shared
    strata = {steps: evenly(cells, share, workers) for steps, cells in by_steps(planned.plan).items()}
    chosen = [cell for cells in strata.values() for cell in cells]
    folders = {cell.index: give_out(planned, cell, folder / str(cell.index)) for cell in chosen}
    seconds: dict[int, float] = {}

    def run(cell: Cell) -> None:
        start = time.perf_counter()
        subprocess.run([sys.executable, __file__, "--cell", str(folders[cell.index])], check=True, env=one_thread(),
                       stdout=subprocess.DEVNULL)  # fmt: skip
        seconds[cell.index] = time.perf_counter() - start

    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, chosen))
    wall = time.perf_counter() - start
    complete = len(chosen) == len(planned.plan.models)
    if not complete:
        everything = by_steps(planned.plan)
        wall = sum(
            len(everything[steps]) * sum(seconds[c.index] for c in cells) / len(cells)
            for steps, cells in strata.items()
        ) / workers  # fmt: skip
    images = sum(images_trained(Store(at / "runs")) for at in folders.values()) if complete else whole
    return {"who": "one by one" if complete else "one by one (estimated)", "cells": len(planned.plan.models),
            "cells_run": len(chosen), "images": images, "wall_seconds": wall}  # fmt: skip


def by_steps(plan: Plan) -> dict[int | None, list[Cell]]:
    """The cells of each number of steps, in the order of the plan."""
    found: dict[int | None, list[Cell]] = {}
    for cell in plan.models:
        found.setdefault(cell.step, []).append(cell)
    return found


def evenly(cells: list[Cell], share: float, least: int) -> list[Cell]:
    """About a share of the cells, at least `least`, evenly spaced in their order."""
    count = min(len(cells), max(least, round(share * len(cells))))
    return [cells[(2 * k + 1) * len(cells) // (2 * count)] for k in range(count)]


def give_out(planned: Planned, cell: Cell, folder: Path) -> Path:
    """A folder with the work of one cell and a run directory of its own, which shares decoded data and features."""
    store = Store(folder / "runs")
    work = pending.survey(planned.plan, store, lambda other: other.index == cell.index).work
    store.root.mkdir(parents=True)
    (store.root / "shared").symlink_to(planned.store.root / "shared")
    (folder / "work.json").write_text(work.dump(), encoding="utf-8")
    return folder


def run_cell(folder: Path) -> None:
    """One cell, from scratch to its results, in this process."""
    spec = SubmissionSpec(folder, folder / "runs", None, 1, {}, LEASE_SECONDS, CHECKPOINT_SECONDS)
    (folder / "workers").mkdir()
    if work_on(spec, 0, "cpu", StopFlag()) != "done":
        raise SystemExit(f"{folder}: the cell did not end well")


def images_trained(store: Store) -> int:
    """Training images that all trainings of a run directory showed, by their attempts."""
    return sum(folder.last_attempts().get("train", {}).get("images", 0) for folder in store.run_folders())


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def compare(grid: Path, folder: Path, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The sweep, then its cells one by one, then what ten evenly spaced snapshots save."""
    plan = sweep.prepare(grid, folder / "none", {}).plan
    for k in range(given.repeats):
        ours = swept(grid, folder / f"sweep{k}", given.workers)
        theirs = one_by_one(grid, folder / f"cells{k}", given.workers, given.share, plan.images_one_by_one)
        ours["share_of_images"] = ours["images"] / theirs["images"]
        ours["share_of_wall"] = ours["wall_seconds"] / theirs["wall_seconds"]
        yield from ({"grid": grid.stem, "workers": given.workers, **row} for row in (ours, theirs))


def with_seeds(grid: Path, seeds: int, folder: Path) -> Path:
    """The same grid with another number of seeds, under its own name."""
    rest = [line for line in grid.read_text(encoding="utf-8").splitlines() if not line.startswith("seeds:")]
    changed = folder / grid.name
    changed.write_text("\n".join([*rest, f"seeds: {seeds}", ""]), encoding="utf-8")
    return changed


def evenly_spaced(folder: Path) -> dict[str, Any]:
    """Ten evenly spaced snapshots, by the plan."""
    file = folder / "evenly.yaml"
    file.write_text(EVENLY, encoding="utf-8")
    plan = sweep.prepare(file, folder / "none", {}).plan
    share = plan.images_planned / plan.images_one_by_one
    return {"grid": "ten evenly spaced snapshots", "who": "difgen plan", "cells": len(plan.models), "cells_run": 0,
            "images": plan.images_planned, "share_of_images": share}  # fmt: skip


def main() -> None:
    options = parser(__doc__, repeats=1)
    options.add_argument("--grid", type=Path, default=GRIDS / "size.yaml")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--seeds", type=int, help="in place of the grid's own")
    options.add_argument("--share", type=float, default=0.1, help="of the cells to run one by one (default: 0.1)")
    options.add_argument("--cell", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.cell:
        run_cell(given.cell)
        return
    with tempfile.TemporaryDirectory() as name, Results("grid", given.json, COLUMNS) as results:
        grid = given.grid
        if given.quick:
            grid, given.share, given.repeats = Path(name) / "quick.yaml", 1.0, 1
            grid.write_text(QUICK, encoding="utf-8")
        if given.seeds:
            grid = with_seeds(grid, given.seeds, Path(name))
        for row in compare(grid, Path(name), given):
            results.add(**row)
        results.add(**evenly_spaced(Path(name)))


if __name__ == "__main__":
    main()
