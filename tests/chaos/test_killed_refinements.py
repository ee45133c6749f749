"""A grid that refines, its command and its workers killed at random moments, runs the values of an undisturbed one."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from comparing import assert_equal_content
from test_refined_sweeps import GRID, NEEDED, PLANTED

from chaos.disturbed import Sweep

SEED = int(os.environ.get("DIFGEN_CHAOS_SEED", str(random.randrange(10**6))))
KILLS = int(os.environ.get("DIFGEN_CHAOS_KILLS", "3"))
SECONDS = 240  # within which a sweep that is not killed gets further


def test_a_refinement_that_is_killed_at_random_moments_runs_the_same_values(tmp_path: Path) -> None:
    calm = _sweep(tmp_path / "calm")
    calm.start()
    assert calm.process is not None
    assert calm.process.wait(300) == 0, calm.last_words()
    killed = _sweep(tmp_path / "killed")
    every = len(_published(calm))
    try:
        for moment in sorted(killed.chance.sample(range(every - 1), KILLS)):  # a number of files that are there
            killed.start()
            deadline = time.monotonic() + SECONDS
            while len(_published(killed)) <= moment:
                assert time.monotonic() < deadline, f"seed {SEED}: {killed.last_words()}"
                killed.keep_going()
                time.sleep(0.01)
            time.sleep(killed.chance.uniform(0, 0.3))
            killed.power_cut()
        killed.keep_going()
        assert killed.process is not None
        assert killed.process.wait(300) == 0, f"seed {SEED}: {killed.last_words()}"
    finally:
        killed.power_cut()
    assert_equal_content(killed.runs, calm.runs, f"seed {SEED}")
    sizes = {int(path.parents[1].name.split("-")[1].removeprefix("n")) for path in _published(killed)}
    assert sizes == NEEDED, f"seed {SEED}"


def _sweep(folder: Path) -> Sweep:
    metrics = folder / "plugins" / "metrics"
    metrics.mkdir(parents=True)
    (metrics / "planted.py").write_text(PLANTED, encoding="utf-8")
    (folder / "chaos.yaml").write_text(GRID, encoding="utf-8")
    (folder / "meters").mkdir()
    return Sweep(folder, folder / "runs", random.Random(SEED), None, number_of_workers=2)


def _published(sweep: Sweep) -> list[Path]:
    """Weights and results that are there."""
    kinds = ("snapshots/*.safetensors", "results/*.json")
    return [path for kind in kinds for path in sweep.runs.glob(f"trajectories/*/{kind}")]
