"""How far expected times are from what work took: finished work is left out, and predicted from the rest.

    python benchmarks/estimate.py [RUNS ...] [--quick] [--json]

RUNS: run directories of finished sweeps on this processor; default: a small sweep of its own. Left out is one
trajectory at a time, of which others have trained the same network, or all trajectories of a network.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from measuring import Results, parser

from difgen_cli import sweep
from difgen_cli.engine.cost.device import processor
from difgen_cli.engine.launch.worker_pool import WorkerPool

GRID = """\
# How long does it take?
base:
  data:   {{name: digits, held_out: 900, size: 64}}
  model:  {{name: mlp}}
  sample: {{name: euler, steps: 8, count: 64}}
  score:  [memorization, gap]
axes:
  model.width: {widths}
  train.batch: [32, 128]
  train.steps: {steps}
seeds: 2
"""
LEFT_OUT = ("trajectory", "network")
Errors = list[tuple[float, bool]]  # predicted over measured seconds, and whether the range held what was measured


def swept(folder: Path, *, quick: bool) -> Path:
    """The run directory of a sweep in `folder`."""
    widths, steps = ([8, 64], [10]) if quick else ([16, 64, 256, 512], [100, 300])
    (folder / "grid.yaml").write_text(GRID.format(widths=widths, steps=steps))
    command = [sys.executable, "-m", "difgen_cli", "-q", "sweep", "grid.yaml", "--cluster", "local", "--workers", "1"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "runs"


def took(rows: pa.Table) -> dict[tuple[str, str], float]:
    """Seconds by trajectory and unit: its training up to the last snapshot; sampling and metrics of a cell."""
    seconds: dict[tuple[str, str], float] = {}
    metrics = [n for n in rows.column_names if n.endswith("_seconds") and n != "train_seconds"]
    for row in rows.filter(pc.equal(rows["kind"], "model")).sort_by("step").to_pylist():
        seconds[row["home"], "train"] = row["train_seconds"]
        seconds[row["home"], f"score-{row['cell']}"] = sum(row[name] or 0.0 for name in metrics)
    return seconds


def predictions(runs: Path, left_out: str) -> Iterator[tuple[str, float, bool]]:
    """Training or scoring, predicted over measured seconds, and whether the range holds it, for each unit left out."""
    rows = pq.read_table(runs / "tables" / "rows.parquet")
    names = ["home"] if left_out == "trajectory" else [n for n in rows.column_names if n.startswith("model.")]
    identities = [tuple(map(str, line.values())) for line in rows.select(names).to_pylist()]
    actual = took(rows)
    with tempfile.TemporaryDirectory() as name:
        beside = Path(name)
        (beside / "shared").symlink_to(runs.absolute() / "shared")
        for spec in runs.absolute().glob("trajectories/*/spec.json"):
            (beside / "trajectories" / spec.parent.name).mkdir(parents=True)
            (beside / "trajectories" / spec.parent.name / "spec.json").symlink_to(spec)
        (beside / "tables").mkdir()
        for identity in sorted(set(identities)):
            others = [other != identity for other in identities]
            pq.write_table(rows.filter(pa.array(others)), beside / "tables" / "rows.parquet")
            own = set(rows.filter(pa.array([not other for other in others]))["home"].to_pylist())
            for grid in runs.glob("grids/*/grid.yaml"):
                yield from _predicted(grid, beside, own, actual)


def _predicted(
    grid: Path, runs: Path, own: set[str], actual: dict[tuple[str, str], float]
) -> Iterator[tuple[str, float, bool]]:
    planned = sweep.prepare(grid, runs, {})
    forecast = sweep.foresee(planned, WorkerPool("local", 1, 1, "cpu", processor()))
    for unit, seconds in zip([*forecast.todo.trainings, *forecast.todo.scorings], forecast.seconds, strict=True):
        measured = actual.get((unit.run_key, unit.unit))
        if unit.run_key in own and measured and seconds.how in ("measured", "scaled"):
            held = seconds.low <= measured <= seconds.high
            yield unit.unit.partition("-")[0], seconds.value / measured, held


def main() -> None:
    options = parser(__doc__, 1)
    options.add_argument("runs", nargs="*", type=Path, metavar="RUNS")
    chosen = options.parse_args()
    columns = ("left_out", "unit", "predictions", "error_factor", "inside", "mean_log2")
    with tempfile.TemporaryDirectory() as folder, Results("estimate", chosen.json, columns) as results:
        folders = chosen.runs or [swept(Path(folder), quick=chosen.quick)]
        for left_out in LEFT_OUT:
            errors: dict[str, Errors] = defaultdict(list)
            for runs in folders:
                for unit, ratio, held in predictions(runs, left_out):
                    errors[unit].append((ratio, held))
            for unit, of_unit in errors.items():
                logs = [math.log2(ratio) for ratio, _ in of_unit]
                results.add(
                    left_out=left_out, unit=unit, predictions=len(of_unit),
                    error_factor=2 ** statistics.median(map(abs, logs)), inside=sum(held for _, held in of_unit),
                    mean_log2=statistics.mean(logs),
                )  # fmt: skip


if __name__ == "__main__":
    main()
