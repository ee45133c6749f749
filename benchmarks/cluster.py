"""5,000 trajectories in one run directory: submission to SLURM, status, cancel.

    python benchmarks/cluster.py [--trajectories 5000] [--runs 3]

Submits to the SLURM of this machine where there is one (tests/slurm/lab makes one), without letting a job start.
Results and attempts are made up, by writing their files: what is measured is the orchestration.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from difgen_cli import sweep
from difgen_cli.engine.launch import slurm
from difgen_cli.engine.plan.work import Training
from difgen_cli.engine.store.attempts import Claimant

GRID = """# How fast is a run directory of thousands of trajectories?
base: {data: {name: digits, held_out: 900}, model: {name: mlp}, score: [memorization, frechet]}
axes:
  model.width: {lin: [8, 800, 50]}
  data.size: [16, 64, 256, 768]
  train.steps: [100, 2000]
seeds: %d
"""


def timed(arguments: list[str], folder: Path, repeats: int) -> list[float]:
    """Wall seconds of a difgen command."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "difgen_cli", *arguments], cwd=folder, capture_output=True,
                              text=True, check=False)  # fmt: skip
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
    return seconds


def work_on(grid: Path, runs: Path) -> None:
    """Attempts as workers would leave them: most done, some running, some failed, some not begun."""
    planned = sweep.prepare(grid, runs, {})
    sweep.record(planned)
    for number, unit in enumerate([*planned.state.work.trainings, *planned.state.work.scorings]):
        if number % 10 == 9:
            continue
        reference = not isinstance(unit, Training) and unit.reference
        attempt = planned.store.run_folder(unit.run_key, unit.slug, reference=reference).claim(unit.unit, Claimant())
        assert attempt is not None
        if number % 10 == 8:
            attempt.end("failed", ending="error", cause="ValueError: made up")
        elif number % 100:
            attempt.end("done", step=2000, target=2000, batch=128, images_per_second=1e4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trajectories", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "grid.yaml").write_text(GRID % max(1, given.trajectories // 200))
        print(f"{'what':44} {'median':>8} {'worst':>8}")

        def show(what: str, seconds: list[float]) -> None:
            print(f"{what:44} {statistics.median(seconds):8.2f} {max(seconds):8.2f}", flush=True)

        if slurm.available():
            submit = ["sweep", "grid.yaml", "--cluster", "slurm", "--detach", "--workers", "4"]
            for k in range(given.runs):
                show("sweep --detach: plan, record, submit", timed([*submit, "--runs", f"fresh{k}"], folder, 1))
                show("cancel", timed(["cancel", f"fresh{k}", "--yes"], folder, 1))
                shutil.rmtree(folder / f"fresh{k}", ignore_errors=True)
        start = time.perf_counter()
        work_on(folder / "grid.yaml", folder / "runs")
        print(f"(making up the attempts took {time.perf_counter() - start:.0f} s)")
        show("status, nothing indexed", timed(["status", "runs"], folder, 1))
        show("status", timed(["status", "runs"], folder, given.runs))
        show("status --json", timed(["status", "runs", "--json"], folder, given.runs))


if __name__ == "__main__":
    main()
