"""How commands answer at size: start-up, planning 100,000 cells, nothing to do, a report over 20,000 rows.

    python benchmarks/scale.py [--runs 3]

Results are made up here, by writing one result file for each metric of each planned cell: what is measured is the
orchestration, not the training.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from difgen_cli import sweep
from difgen_cli.engine.plan import plan_table
from difgen_cli.engine.store import RunFolder
from difgen_cli.engine.store.results import publish_result

HEAD = "base: {data: {name: digits, held_out: 900}, model: {name: mlp}, score: [memorization, frechet]}\n"
PLAN_100K = (
    HEAD
    + """axes:
  model.width: {lin: [8, 800, 100]}
  train.lr: {geom: [1e-4, 1e-2, 5]}
  train.steps: {lin: [100, 1000, 10]}
  data.size: [16, 64, 256, 512, 768]
  sample.steps: [4, 8, 16, 32]
"""
)
TRAJECTORIES_1000 = (
    HEAD
    + """axes:
  model.width: {lin: [8, 800, 50]}
  data.size: [16, 64, 256, 768]
  train.steps: {lin: [100, 2000, 20]}
seeds: 5
"""
)


def timed(arguments: list[str], folder: Path, repeats: int) -> tuple[float, float]:
    """Median wall seconds and peak MiB of a difgen command, from the system's own account of each process."""
    seconds, peak = [], 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "difgen_cli", *arguments], cwd=folder,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - start)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, arguments
        peak = max(peak, usage.ru_maxrss / 1024)
    return statistics.median(seconds), peak


def finish(grid: Path, runs: Path) -> int:
    """Write made-up results for every cell of a grid; returns how many rows there will be."""
    planned = sweep.prepare(grid, runs, {})
    sweep.record(planned)
    chance = random.Random(0)
    for cell in planned.plan.cells:
        folder: RunFolder = planned.store.run_folder(
            cell.run_key, planned.plan.slug(cell), reference=cell.kind != "model"
        )
        for metric, key in cell.metrics.items():
            declared = cell.scoring[metric].section.signature.constants
            plain = {"float64": chance.random(), "int64": 1, "string": "classifier", "bool": False}
            values = {name: plain[kind] for name, (kind, _, _) in declared["COLUMNS"].items()}
            context = {"metric": metric, "key": key, "version": 1, "kind": cell.kind, "home": cell.run_key,
                       "step": cell.step, "cell": cell.samples, "seconds": 0.1, "provenance": {}}  # fmt: skip
            publish_result(folder, key, context, values, {}, declared)
    plan_table.write(planned.folder / "plan.parquet", planned.plan)
    return len(planned.plan.cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    repeats = parser.parse_args().runs
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plan.yaml").write_text("# How fast is planning?\n" + PLAN_100K)
        (folder / "grid.yaml").write_text("# How fast is nothing?\n" + TRAJECTORIES_1000)
        print(f"{'what':44} {'seconds':>8} {'peak MiB':>9}")

        def show(what: str, arguments: list[str], times: int = repeats) -> None:
            seconds, peak = timed(arguments, folder, times)
            print(f"{what:44} {seconds:8.2f} {peak:9.0f}", flush=True)

        show("difgen --help", ["--help"], max(repeats, 5))
        rows = finish(folder / "grid.yaml", folder / "runs")
        show("sweep, nothing to do, 1,000 trajectories", ["sweep", "grid.yaml"])
        show(f"report, cold tables, {rows:,} rows", ["report", "runs"], 1)
        show(f"report, warm tables, {rows:,} rows", ["report", "runs"])
        show("status, 1,000 trajectories", ["status", "runs"])
        show("plan of 100,000 cells", ["plan", "plan.yaml"])


if __name__ == "__main__":
    main()
