"""The live view: what workers do at this moment, the same for a sweep and for a run directory that is watched."""

from __future__ import annotations

import io
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from difgen_cli import sweep
from difgen_cli.cli import progress
from difgen_cli.cli.progress import Clock
from difgen_cli.engine import status
from difgen_cli.engine.launch import submissions
from difgen_cli.engine.launch.launcher import SubmissionStatus
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.progress import Progress, RunningUnit, Tracker
from difgen_cli.engine.store import Store
from difgen_cli.engine.store.attempts import Attempt, Claimant
from difgen_cli.engine.store.files import publish_json
from difgen_cli.engine.store.processes import process_identity

NAME = "digits-n64-kmeans10-mlp-depth1-width32-batch16-seed1"


@pytest.fixture
def submission(write_grid: Callable[..., Path], tmp_path: Path) -> Submission:
    """A submission of the tiny grid whose worker is this process."""
    planned = sweep.prepare(write_grid(), tmp_path / "runs", {})
    sweep.record(planned)
    written = submissions.write(planned.store, planned.folder, planned.state.work, None, "local", 1, 1)
    publish_json(written.folder / "launcher.json", {"owner": process_identity()})
    return written


def _tracker(submission: Submission, running: int = 1) -> Tracker:
    store = Store(submission.folder.parents[3])
    return Tracker(store, lambda: [SubmissionStatus(submission, True, running=running)])


def _claimed(submission: Submission, unit: Any) -> Attempt:
    store = Store(submission.folder.parents[3])
    attempt = store.run_folder_now(unit.run_key, unit.slug, make=True).claim(unit.unit, Claimant())
    assert attempt is not None
    return attempt


def test_what_a_worker_does_before_its_first_step_is_shown(submission: Submission) -> None:
    tracker = _tracker(submission)
    assert tracker.look().workers == Counter(starting=1), "it has no record yet: it imports torch"
    training = submission.work.trainings[0]
    attempt = _claimed(submission, training)
    for phase in ("loading data", "fitting labels", "timing compiled steps"):
        attempt.beat(phase=phase)
        now = tracker.look()
        assert [(unit.name, unit.activity, unit.target) for unit in now.running] == [(training.slug, phase, None)]
        assert now.activities == phase
    attempt.beat(phase=None, step=5, target=20, images_per_second=12.0, roofline=0.5)
    unit = RunningUnit(training.slug, "training", 5, 20, 12.0, 0.5)
    assert tracker.look().running == [unit]
    assert tracker.look().images_done == 5 * training.batch


def test_a_scoring_names_its_metric(submission: Submission) -> None:
    scoring = next(unit for unit in submission.work.scorings if not unit.reference)
    _claimed(submission, scoring).beat(metric="gap", step=1, target=2)
    name = f"{scoring.slug} step {scoring.step}"
    assert _tracker(submission).look().running == [RunningUnit(name, "scoring gap", 1, 2)]


PEEK = """
import json
from pathlib import Path

def peek(what):
    for path in Path("runs").glob("*/*/attempts/score-*.json"):
        record = json.loads(path.read_text())
        if record["state"] == "running":
            with open("peeks.jsonl", "a") as file:
                print(json.dumps([what, record.get("phase"), record.get("metric")]), file=file)
"""
SAMPLER = f"""\"\"\"Euler, and what the attempt at the cell has as its phase meanwhile.\"\"\"
from difgen_cli.sampling import euler
{PEEK}
VERSION = 1

def sample(denoiser, x, levels, labels):
    \"\"\"As Euler's.\"\"\"
    for state in euler.sample(denoiser, x, levels, labels):
        peek("sample")
        yield state
"""
FEATURES = f"""\"\"\"Pixels, and what the attempt at the cell has as its phase meanwhile.\"\"\"
import numpy as np
from difgen_cli.features import flat
{PEEK}
VERSION = 1

def fit(images: np.ndarray):
    \"\"\"Nothing to fit.\"\"\"
    peek("fit")
    return {{}}

def embed(images, state):
    \"\"\"The pixels.\"\"\"
    peek("embed")
    return flat(images)
"""
PEEKING = """\
# What does a worker do before it scores?
base:
  data:      {name: digits, held_out: 900, size: 16}
  model:     {name: mlp, width: 8, depth: 1}
  train:     {batch: 16, steps: 10}
  sample:    {name: peeking, steps: 3, count: 32}
  score:     {frechet: {features: peeked}}
seeds: 1
"""


def test_a_scoring_writes_its_phases_into_its_attempt(
    write_grid: Callable[..., Path], tmp_path: Path, difgen: Callable[..., Any]
) -> None:
    """A real sweep; its plug-ins read the attempts while they run."""
    for kind, name, text in (("sampling", "peeking", SAMPLER), ("features", "peeked", FEATURES)):
        (tmp_path / "plugins" / kind).mkdir(parents=True)
        (tmp_path / "plugins" / kind / f"{name}.py").write_text(text)
    done = difgen("sweep", write_grid(PEEKING), "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    peeks = {tuple(json.loads(line)) for line in (tmp_path / "peeks.jsonl").read_text().splitlines()}
    assert ("sample", "sampling", "frechet") in peeks
    assert {phase for what, phase, _ in peeks if what == "fit"} == {"fitting features peeked"}
    assert {phase for what, phase, _ in peeks if what == "embed"} == {"preparing frechet", None}
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/*/attempts/score-*.json")]
    assert {record["phase"] for record in records} == {None}, "the metric itself comes last"


def test_the_phase_of_a_scoring_is_shown(submission: Submission) -> None:
    scoring = next(unit for unit in submission.work.scorings if not unit.reference)
    attempt, store = _claimed(submission, scoring), Store(submission.folder.parents[3])
    attempt.beat(metric="gap", step=1, target=2, phase="sampling")
    now = _tracker(submission).look()
    assert [(unit.activity, unit.done, unit.target) for unit in now.running] == [("sampling", 1, 2)]
    assert now.activities == "sampling"
    standing = next(line for line in status.look(store, status.reconciler(store, writes=False)).lines if line.activity)
    assert (standing.state, standing.activity) == ("scoring", "sampling")
    attempt.beat(phase=None)
    assert _tracker(submission).look().activities == "scoring"


def test_a_view_ends_when_its_caller_has_what_it_waits_for(submission: Submission) -> None:
    polls: list[int] = []

    def poll() -> list[SubmissionStatus]:
        polls.append(0)
        return [SubmissionStatus(submission, True, running=1)] if len(polls) < 5 else []

    progress.watch(Console(file=io.StringIO()), _tracker(submission).store, poll, lambda: len(polls) == 3)
    assert len(polls) == 3


def test_a_failed_training_settles_what_waits_for_it(submission: Submission) -> None:
    training = submission.work.trainings[0]
    _claimed(submission, training).end("failed", cause="for the test")
    tracker = _tracker(submission)
    now = tracker.look()
    assert (now.failed, now.trained) == (1, 0)
    waiting = [s for s in submission.work.scorings if s.run_key == training.run_key]
    assert waiting
    assert len(tracker.open) == len(submission.work) - 1 - len(waiting)


def test_a_watched_run_directory_shows_the_same_as_the_sweep(submission: Submission) -> None:
    _claimed(submission, submission.work.trainings[0]).beat(phase="loading data")
    store = Store(submission.folder.parents[3])
    own, watching = (status.reconciler(store, writes=writes) for writes in (True, False))
    assert Tracker(store, own.poll).look() == Tracker(store, watching.poll).look()


def test_the_pace_counts_only_what_was_trained_since_the_view_began() -> None:
    clock = Clock(start=time.monotonic() - 10)
    assert clock.rate(Progress(images_done=1000, images_all=3000)) == 0
    assert clock.left(Progress(images_done=1000, images_all=3000)) == ""
    now = Progress(images_done=1500, images_all=3000)
    assert clock.rate(now) == pytest.approx(50, rel=0.01)
    assert clock.left(now) == "30s left"


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_view_fits_its_terminal_and_keeps_the_end_of_names(width: int, submission: Submission) -> None:
    running = [RunningUnit(NAME, "timing compiled steps"), RunningUnit(NAME, "training", 120, 60000, 31234.4, 0.553)]
    running += [RunningUnit(f"{NAME} step 2000", "scoring memorization", 1, 3)] * 30
    statuses = [SubmissionStatus(submission, True, running=40)]
    now = Progress(4, 20, 1, 2, 1, 5e5, 1e6, running, Counter(starting=3), statuses)
    out = io.StringIO()
    console = Console(file=out, width=width, height=24, force_terminal=False)
    console.print(progress.render(now, Clock(), width, 24))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 24
    text = out.getvalue()
    for words in ("trained 1 of 4", "scored 2 of 20", "1 failed", "3 workers starting", "120/60000", "more units"):
        assert words in text, text
    if width >= 60:
        assert "timing compiled steps" in text
        assert re.search(r"seed1 +training", text)


def test_watching_where_no_worker_is_running_is_the_status(submission: Submission, difgen: Callable[..., Any]) -> None:
    submission.close("for the test")
    watched: subprocess.CompletedProcess[str] = difgen("status", "--watch")
    assert (watched.returncode, watched.stderr) == (0, "")
    assert watched.stdout == difgen("status").stdout
