"""A sweep of four workers under random faults leaves what an undisturbed one leaves, at a bounded cost.

DIFGEN_CHAOS_FAULTS says how many faults (20; `make chaos`: 200), DIFGEN_CHAOS_SEED which. Every kind occurs: they are
dealt from a shuffled deck. The network brakes while faults come, so that they find training under way and so that the
images between two checkpoints are known. A fault comes after so many training images, not seconds, and the steps grow
with the number of faults: however fast the machine, the sweep is not over before the last one. What is left then is
done at full speed.

What a fault may cost is what the trainings at stake had done since their last checkpoint, an interval each (two for a
truncated checkpoint). What was spent is counted by the network itself, image by image, in meters that outlive their
processes: an attempt's record knows nothing of the steps after its last heartbeat, and faults destroy records.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pandas as pd
import pytest
from comparing import assert_equal_content

from chaos.disturbed import CHECKPOINT_SECONDS, LEASE_SECONDS, Sweep
from chaos.faults import COSTLY, KINDS, SKEW_SECONDS
from chaos.plugins.models.metered import PACE_SECONDS
from difgen_cli.engine.store import tables

HERE = Path(__file__).parent
FAULTS = int(os.environ.get("DIFGEN_CHAOS_FAULTS", "20"))
SEED = int(os.environ.get("DIFGEN_CHAOS_SEED", str(random.randrange(10**6))))
BATCH = 16
# Steps between two checkpoints, one that overshoots the time, and one that was computed but not finished.
INTERVAL_STEPS = int(CHECKPOINT_SECONDS / PACE_SECONDS) + 2
INTERVAL_IMAGES = INTERVAL_STEPS * BATCH
APART_INTERVALS = (0.5, 6.0)  # of training, over all workers, from one fault to the next
SHORT = (
    int(FAULTS * APART_INTERVALS[1] * INTERVAL_STEPS / 24) + 20
)  # steps; there is more to train than faults are apart
LONG = 8 * SHORT
IMAGES = (3 * LONG + SHORT) * BATCH

GRID = f"""\
# Does a sweep survive whatever is done to it?
base:
  data:      {{name: digits, held_out: 900}}
  condition: {{name: kmeans}}
  model:     {{name: metered, width: 16}}
  train:     {{batch: {BATCH}}}
  sample:    {{name: heun, steps: 4, count: 32}}
  score:
    memorization: {{}}
    frechet: {{features: pixels}}
    gap: {{sigmas: 4, pairs: 64, resamples: 100}}
axes:
  train.steps: [{SHORT}, {LONG // 2}, {LONG}]
  data.size:   [16, 64]
include:
  - {{train.steps: {LONG}, data.size: 16, condition.clusters: 4}}
  - {{train.steps: {SHORT}, data.size: 64, condition.clusters: 4}}
"""


@pytest.fixture(scope="module")
def skew(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The library that moves the wall clock, if it can be made here and does what it should."""
    library = tmp_path_factory.mktemp("skew") / "skew.so"
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, HERE / "skew.c", "-ldl"], check=True)
    asked = "import threading, time; threading.Event().wait(0.1); time.sleep(0.1); print(time.time(), time.monotonic())"
    start = time.time(), time.monotonic()
    environment = {**os.environ, "LD_PRELOAD": str(library), "SKEW_SECONDS": str(SKEW_SECONDS)}
    done = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    wall, monotonic = (float(said) - began for said, began in zip(done.stdout.split(), start, strict=True))
    return library if 0 <= wall - SKEW_SECONDS < 60 and 0 <= monotonic < 60 else None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of 64 MiB, where one can be mounted; a copy of it is left for whoever looks for what went wrong."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "difgen", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    yield folder
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("ballast"))
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_this_machine_can_cause_every_fault(small_disk: Path | None, skew: Path | None) -> None:
    if reasons := _left_out(small_disk, skew):
        pytest.skip("; ".join(f"left out of the chaos: {kind}: {why}" for kind, why in reasons.items()))


def _left_out(small_disk: Path | None, skew: Path | None) -> dict[str, str]:
    """Kinds of fault that cannot be caused on this machine, and why."""
    needs = {
        "disk full": (small_disk, "mounting a small file system needs root"),
        "a worker ten minutes off": (skew, "moving its clock needs a C compiler and a preloaded library"),
    }
    return {kind: why for kind, (means, why) in needs.items() if means is None}


def test_random_faults_change_no_row_and_cost_what_was_done_since_the_last_checkpoint(
    tmp_path: Path, small_disk: Path | None, skew: Path | None, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    calm = _sweep(tmp_path / "calm", tmp_path / "calm" / "runs", None, workers=2)
    _finish(calm)
    assert calm.images_spent() == IMAGES, "the meter counts every training image once"
    calm_seconds = time.monotonic() - started
    sweep = _sweep(tmp_path / "hurt", (small_disk or tmp_path) / "runs", skew)
    damage = Damage()
    try:
        _disturb(sweep, damage, [k for k in KINDS if k not in _left_out(small_disk, skew)])
        _finish(sweep)
        _assert_no_orphan(sweep)
    finally:
        sweep.power_cut()
        with capsys.disabled():
            print(
                f"\n{damage.report(sweep)}\nundisturbed {calm_seconds:.0f} s, in all {time.monotonic() - started:.0f} s"
            )
    assert_equal_content(sweep.runs, calm.runs, f"seed {SEED}")
    _assert_equal_metrics(sweep.runs, calm.runs)
    _assert_each_cell_once(sweep.runs)
    assert sweep.images_spent() <= damage.bound, damage.report(sweep)


@dataclass
class Damage:
    """The faults so far, and what they may cost."""

    given: Counter[str] = field(default_factory=Counter)
    intervals: int = 0
    start: float = field(default_factory=time.monotonic)

    def add(self, kind: str, intervals: int) -> None:
        print(f"{time.monotonic() - self.start:6.1f} s: {kind}, {intervals} at stake")
        self.given[kind] += 1
        self.intervals += intervals

    @property
    def bound(self) -> int:
        return IMAGES + self.intervals * INTERVAL_IMAGES

    def report(self, sweep: Sweep) -> str:
        kinds = ", ".join(f"{self.given[kind]} × {kind}" for kind in KINDS)
        spent = sweep.images_spent()
        return (
            f"{self.given.total()} faults, seed {SEED}, {sweep.starts} starts: {kinds}\n"
            f"{spent:,} training images, {spent / IMAGES:.4f} of an undisturbed run's {IMAGES:,}; "
            f"at most {self.bound:,} ({self.bound / IMAGES:.4f})"
        )


def _sweep(folder: Path, runs: Path, skew: Path | None, workers: int = 4) -> Sweep:
    shutil.copytree(HERE / "plugins", folder / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "chaos.yaml").write_text(GRID)
    (folder / "meters").mkdir()
    return Sweep(folder, runs, random.Random(SEED), skew, workers)


def _disturb(sweep: Sweep, damage: Damage, kinds: list[str]) -> None:
    """All the faults, each after some more training, while the training brakes."""
    chance, deadline, next_at = sweep.chance, time.monotonic() + 60 + 15 * FAULTS, 1.0
    deck = deque(islice(_dealt(kinds, chance), FAULTS))
    sweep.brake(True)
    while deck:
        assert time.monotonic() < deadline, f"{damage.report(sweep)}\n{sweep.last_words()}"
        sweep.keep_going()
        if sweep.images_spent() < next_at:
            time.sleep(0.05)
            continue
        kind = deck.popleft()
        intervals = KINDS[kind](sweep, chance)
        if intervals is None:  # nothing to hit as yet
            deck.append(kind)
            time.sleep(0.1)
            continue
        damage.add(kind, intervals)
        next_at = sweep.images_spent() + chance.uniform(*APART_INTERVALS) * INTERVAL_IMAGES
    _let_go(sweep)


def _let_go(sweep: Sweep) -> None:
    """No more faults: whoever lost a unit finds out while the training still brakes; then it goes on at full speed."""
    while sweep.stopped:
        sweep.wake(time.monotonic())
        time.sleep(0.1)
    time.sleep(LEASE_SECONDS + CHECKPOINT_SECONDS)
    sweep.brake(False)
    assert sweep.process is not None
    sweep.process.wait(300)


def _dealt(kinds: list[str], chance: random.Random) -> Iterator[str]:
    """Kinds of fault, each as often as any other in the long run, but for those that cost a start of everything."""
    whole = [kind for kind in kinds for _ in range(1 if kind in COSTLY else 2)]
    while True:
        yield from chance.sample(whole, len(whole))


def _finish(sweep: Sweep) -> None:
    """The same command again: a first time for what is missing, a second for what the first found cut short."""
    for _ in range(2):
        done = subprocess.run(
            sweep.command, cwd=sweep.folder, env=sweep.environment(), capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def _assert_no_orphan(sweep: Sweep) -> None:
    """Workers that joined leave by themselves when nothing is left."""
    deadline = time.monotonic() + 30
    while (alive := sweep.processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not alive, [Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in alive]


def _assert_equal_metrics(runs: Path, calm: Path) -> None:
    """The folded results too, but for times and provenance."""
    for path in sorted(calm.glob("tables/metrics/*.parquet")):
        pd.testing.assert_frame_equal(
            *(_results(root / path.relative_to(calm)) for root in (runs, calm)), obj=path.stem
        )


def _results(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path).sort_values("key").reset_index(drop=True)
    return table.drop(columns=[c for c in table if c == "seconds" or c in tables.PROVENANCE])


def _assert_each_cell_once(runs: Path) -> None:
    """One row for each line of the plan, and one for each result."""
    (plan,) = runs.glob("grids/*/plan.parquet")
    cells = ["kind", "home", "cell", "seed"]
    planned, rows = pd.read_parquet(plan), pd.read_parquet(runs / "tables" / "rows.parquet")
    assert sorted(map(tuple, rows[cells].astype(str).values)) == sorted(map(tuple, planned[cells].astype(str).values))
