"""A training by any objective, killed at random moments and continued, ends with the bits of an undisturbed one.

The objectives are those that the package lists, so that a new one is among them; `SETTINGS` has what makes one keep
more from step to step: fixed noises, heads, a teacher whose weights it waits for, the momentum of SGD.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from comparing import assert_equal_content

from chaos.disturbed import CHECKPOINT_SECONDS, Sweep, read_json
from difgen_cli.engine.plugins import Library

SEED = int(os.environ.get("DIFGEN_CHAOS_SEED", str(random.randrange(10**6))))
KILLS = 2  # of each training
STEPS = 160  # so many that a training which brakes outlives its kills
LIFE_SECONDS = (0.5 * CHECKPOINT_SECONDS, 3 * CHECKPOINT_SECONDS)  # from a training's first step to a kill

GRID = f"""\
# Does a killed training go on as if nothing had been?
base:
  data:      {{name: digits, held_out: 900, size: 16, unlearn: 4}}
  condition: {{name: kmeans, clusters: 2}}
  model:     {{name: metered}}
  train:     {{batch: 16, steps: {STEPS}, flip: true, condition_dropout: 0.2}}
  sample:    {{name: euler, steps: 4, count: 16}}
  score:     [memorization]
axes:
  objective.name: [{", ".join(Library().names("objective"))}]
include:
"""
SETTINGS = [
    {"objective.name": "edm", "objective.noise_bank": 2},
    {"objective.name": "edm", "objective.target": "closed_form", "train.optimizer": "sgd"},
]


def test_killed_trainings_of_every_objective_end_with_the_bits_of_undisturbed_ones(
    tmp_path: Path, difgen_in: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    calm, killed = (_sweep(tmp_path / name) for name in ("calm", "killed"))
    run = difgen_in(calm.folder, "sweep", "chaos.yaml", "--cluster", "inline", **calm.own_environment())
    assert run.returncode == 0, run.stderr
    trainings = {p.parent.parent.name for p in calm.runs.glob("trajectories/*/snapshots/*")}
    assert len(trainings) == len(Library().names("objective")) + len(SETTINGS)
    kills = dict.fromkeys(trainings, 0)
    deadline = time.monotonic() + 300
    killed.brake(True)
    try:
        killed.start()
        while min(kills.values()) < KILLS:
            assert time.monotonic() < deadline, f"seed {SEED}: {kills}\n{killed.last_words()}"
            _kill_one(killed, kills)
        killed.brake(False)
        assert killed.process is not None
        assert killed.process.wait(300) == 0, killed.last_words()
    finally:
        killed.power_cut()
    assert_equal_content(killed.runs, calm.runs, f"seed {SEED}")
    for name in trainings:
        lives = _lives(killed.runs / "trajectories" / name)
        assert len(lives) > KILLS, name
        assert max(lives) > 0, f"seed {SEED}: {name} began anew each time, and never from a checkpoint"


def _sweep(folder: Path) -> Sweep:
    plugins = Path(__file__).parent / "plugins"
    shutil.copytree(plugins, folder / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    cells = [f"  - {{{', '.join(f'{k}: {v}' for k, v in cell.items())}}}\n" for cell in SETTINGS]
    (folder / "chaos.yaml").write_text(GRID + "".join(cells))
    (folder / "meters").mkdir()
    return Sweep(folder, folder / "runs", random.Random(SEED), None, number_of_workers=2)


def _kill_one(sweep: Sweep, kills: dict[str, int]) -> None:
    """Let a training that has begun, and was killed too seldom, live for a random time, and kill its worker."""
    time.sleep(0.05)
    for attempt in sweep.trainings():
        name = attempt.path.parent.parent.name
        if kills[name] < KILLS and "from_step" in attempt.record:
            time.sleep(sweep.chance.uniform(*LIFE_SECONDS))
            with suppress(ProcessLookupError):
                os.kill(attempt.pid, signal.SIGKILL)
                kills[name] += 1
            return


def _lives(folder: Path) -> list[int]:
    """The step from which each attempt at a training went on."""
    records = [read_json(path) for path in folder.glob("attempts/train.*.json")]
    return [record.get("from_step", 0) for record in records if record]
