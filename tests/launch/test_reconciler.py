"""Polling submissions: lost receipts, deaths with the scheduler's cause, submissions that are over."""

from __future__ import annotations

from pathlib import Path

import pytest

from difgen_cli.engine.launch import LaunchError
from difgen_cli.engine.launch.reconciler import Reconciler, SubmissionStatus, cancel
from difgen_cli.engine.launch.slurm.launcher import SlurmLauncher
from difgen_cli.engine.launch.slurm.poll import SlurmQueue, SlurmTask
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.store import Store
from difgen_cli.engine.store.attempts import Claimant, claim, history
from difgen_cli.engine.store.files import publish_json, replace_json
from difgen_cli.engine.store.processes import process_identity

NAME = "difgen-0123456789ab"
HOME = "digits-n16-0123456789abcdef"


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    """A submission to SLURM whose writer is gone."""
    folder = tmp_path / "grids" / "size-01234567" / "submissions" / "1"
    said = {"launcher": "slurm", "name": NAME, "runs": str(tmp_path), "owner": process_identity() | {"started": "0"},
            "submitted": "2026-11-21T10:00:00+00:00", "workers": 2}  # fmt: skip
    publish_json(folder / "submission.json", said)
    return Submission(folder)


class Told:
    """A poll that has been told what the queue is."""

    def __init__(self, queue: SlurmQueue | None) -> None:
        self.queue = queue

    def look(self, names: list[str], since: str) -> SlurmQueue | None:
        assert since <= "2026-11-20"
        return self.queue


def _look(submission: Submission, queue: SlurmQueue | None) -> SubmissionStatus:
    (standing,) = Reconciler(lambda: [submission], launchers={"slurm": SlurmLauncher(Told(queue))}).poll()  # type: ignore[arg-type]
    return standing


def _task(task: str, state: str = "RUNNING", restarts: int = 0, reason: str = "None") -> SlurmTask:
    return SlurmTask(NAME, "27", task, state, restarts, reason)


def _worker(submission: Submission, task: str, restart: int = 0) -> Path:
    """A worker in the middle of a unit; returns the attempts of its trajectory."""
    attempts = Store(Path(submission.intent["runs"])).root / "trajectories" / HOME / "attempts"
    held = claim(attempts, f"score-{task}", Claimant())
    assert held is not None
    who = process_identity() | {"job": "27", "task": task, "restart": restart}
    at = {"home": HOME, "unit": f"score-{task}", "attempt": 1}
    replace_json(submission.folder / "workers" / f"{task}.json", {"owner": who, "state": "running", "at": at})
    return attempts


def test_a_receipt_that_a_crash_swallowed_is_mended(submission: Submission) -> None:
    standing = _look(submission, SlurmQueue((_task("0"), _task("1", "PENDING", reason="Priority")), names={NAME: "27"}))
    assert (submission.receipt or {})["job"] == "27"
    assert (standing.running, standing.pending, standing.reasons) == (1, 1, {"Priority": 1})
    assert not submission.closed


def test_an_intent_that_never_reached_slurm_is_closed(submission: Submission) -> None:
    assert not _look(submission, SlurmQueue(())).alive
    assert submission.closed


def test_a_living_writer_keeps_its_intent_open(submission: Submission) -> None:
    replace_json(submission.folder / "submission.json", submission.intent | {"owner": process_identity()})
    mine = Submission(submission.folder)
    assert _look(mine, SlurmQueue(())).alive, "it may be waiting for sbatch"
    assert not mine.closed


def test_what_is_submitted_while_the_queue_is_asked_is_not_closed(submission: Submission) -> None:
    class Slow(Told):
        def look(self, names: list[str], since: str) -> SlurmQueue | None:
            submission.answer({"job": "27"})  # another command's sbatch, after the queue was read
            return SlurmQueue(())

    replace_json(submission.folder / "submission.json", submission.intent | {"owner": process_identity()})
    mine = Submission(submission.folder)
    (standing,) = Reconciler(lambda: [mine], launchers={"slurm": SlurmLauncher(Slow(None))}).poll()  # type: ignore[arg-type]
    assert standing.alive
    assert not mine.closed


def test_a_dead_workers_unit_is_given_free_with_the_accountings_word(submission: Submission) -> None:
    submission.answer({"job": "27"})
    attempts = _worker(submission, "0")
    _worker(submission, "1")
    queue = SlurmQueue((_task("0", restarts=1), _task("1")), runs={("27", "0"): ["NODE_FAIL", "RUNNING"]})
    assert _look(submission, queue).running == 2
    lost = history(attempts, "score-0")[-1][1]
    assert (lost["state"], lost["ending"], lost["by"]) == ("lost", "node_failure", "SLURM")
    assert history(attempts, "score-1")[-1][1]["state"] == "running", "its task runs"


def test_without_accounting_a_worker_whose_task_is_gone_counts_as_killed(submission: Submission) -> None:
    submission.answer({"job": "27"})
    attempts = _worker(submission, "0")
    assert not _look(submission, SlurmQueue(())).alive
    assert history(attempts, "score-0")[-1][1]["ending"] == "killed"
    assert submission.closed


def test_while_the_controller_is_away_no_death_is_recorded_and_nothing_closed(submission: Submission) -> None:
    submission.answer({"job": "27"})
    attempts = _worker(submission, "0")
    standing = _look(submission, None)
    assert (standing.alive, standing.is_known) == (True, False)
    assert history(attempts, "score-0")[-1][1]["state"] == "running"
    assert not submission.closed


def test_who_only_looks_learns_the_same_and_writes_nothing(submission: Submission) -> None:
    attempts = _worker(submission, "0")
    before = sorted(attempts.parents[2].rglob("*"))
    launchers = {"slurm": SlurmLauncher(Told(SlurmQueue(())))}  # type: ignore[arg-type]
    reconciler = Reconciler(lambda: [submission], launchers, writes=False)  # type: ignore[arg-type]
    (standing,) = reconciler.poll()
    assert not standing.alive
    assert reconciler.lost == {(HOME, "score-0", 1): "killed"}
    assert sorted(attempts.parents[2].rglob("*")) == before


def test_a_record_that_names_another_place_writes_nothing_there(submission: Submission, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "trajectories" / HOME / "attempts"
    elsewhere.mkdir(parents=True)
    _worker(submission, "0")
    replace_json(submission.folder / "submission.json", submission.intent | {"runs": str(tmp_path / "elsewhere")})
    before = sorted(tmp_path.rglob("*.ending.json"))
    for unit in ("../../../../outside", f"{tmp_path}/outside"):
        at = {"home": HOME, "unit": unit, "attempt": 1}
        Submission(submission.folder).record_death({"at": at}, "killed", "the test")
    Submission(submission.folder).record_death(
        {"at": {"home": HOME, "unit": "score-0", "attempt": 1}}, "killed", "the test"
    )
    (written,) = set(tmp_path.rglob("*.ending.json")) - set(before)
    assert written.parent == tmp_path / "trajectories" / HOME / "attempts"


@pytest.mark.parametrize("launcher", ["kubernetes", "", None])
def test_a_submission_of_an_unknown_launcher_is_unknown_and_stays_open(submission: Submission, launcher: str) -> None:
    attempts = _worker(submission, "0")
    replace_json(submission.folder / "submission.json", submission.intent | {"launcher": launcher})
    other = Submission(submission.folder)
    (status,) = Reconciler(lambda: [other]).poll()
    assert (status.is_known, status.alive) == (False, True)
    assert "not one of this version" in status.words
    assert not other.closed
    assert history(attempts, "score-0")[-1][1]["state"] == "running", "its unit is not given away"
    with pytest.raises(LaunchError, match="not one of this version"):
        cancel([status])
