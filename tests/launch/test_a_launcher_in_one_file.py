"""A launcher needs one file and one line in the registry: here a queue of `bash` tasks, each a file in a folder.

A file `<number>.queued` waits, `<number>.running` names the process. Run as a script, this file is a task's worker.
"""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from difgen_cli import sweep
from difgen_cli.engine import worker
from difgen_cli.engine.launch import reconciler, submissions, worker_environment
from difgen_cli.engine.launch.launcher import LAUNCHERS, LaunchRequest, SubmissionStatus
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.launch.worker_pool import WorkerPool
from difgen_cli.engine.store.processes import SchedulerTask
from difgen_cli.engine.worker.allocation import Allocation
from difgen_cli.engine.worker.submission_spec import SubmissionSpec

AT_A_TIME = 1
TASK = "DIFGEN_TEST_TASK"
PROCESSES: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class QueueAllocation(Allocation):
    def ending(self, number: int | None) -> str:
        return "cancelled" if number == signal.SIGTERM else "asked"


class QueueLauncher:
    """Each poll starts tasks that wait while fewer than AT_A_TIME run, as a scheduler would."""

    here = False
    foreground = False

    def available(self) -> bool:
        return True

    def pool(self, workers: int | None, jobs_per_gpu: int, profile: Mapping[str, Any]) -> WorkerPool:
        return WorkerPool("queue", workers or 1, 1, "cpu", None)

    def submit(self, request: LaunchRequest) -> Submission:
        submission = request.write("queue", request.forecast.workers, 1)
        folder = submission.folder / "queue"
        folder.mkdir()
        for number in range(request.forecast.workers):
            (folder / f"{number}.queued").touch()
        submission.answer({"job": "7"})
        request.print("queued")
        return submission

    def poll(self, submissions: Sequence[Submission]) -> list[SubmissionStatus]:
        return [self._observe(submission) for submission in submissions]

    def _observe(self, submission: Submission) -> SubmissionStatus:
        folder = submission.folder / "queue"
        for waiting in sorted(folder.glob("*.queued")):
            if len(list(folder.glob("*.running"))) < AT_A_TIME:
                self._start(submission, waiting)
        running, pending = len(list(folder.glob("*.running"))), len(list(folder.glob("*.queued")))
        over = None if running + pending else "its tasks have ended"
        reasons = {"Places": pending} if pending else {}
        return SubmissionStatus(submission, True, running, pending, reasons, over=over)

    def _start(self, submission: Submission, waiting: Path) -> None:
        running = waiting.with_suffix(".running")
        waiting.rename(running)
        command = shlex.join([sys.executable, __file__, str(submission.folder), waiting.stem])
        script = f"trap : TERM; {command}; rm {shlex.quote(str(running))}"
        environment = worker_environment(Path(submission.intent["code"]), 1) | {TASK: f"7 {waiting.stem}"}
        with (submission.folder / f"{waiting.stem}.log").open("ab") as log:
            task = subprocess.Popen(
                ["bash", "-c", script], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        PROCESSES.append(task)
        running.write_text(str(task.pid))

    def cancel(self, submissions: Sequence[Submission]) -> list[str]:
        for submission in submissions:
            for waiting in (submission.folder / "queue").glob("*.queued"):
                waiting.unlink()
            for running in (submission.folder / "queue").glob("*.running"):
                with suppress(ProcessLookupError):
                    os.killpg(int(running.read_text()), signal.SIGTERM)
        return [f"{submission.name}: its tasks are cancelled" for submission in submissions]

    def inside(self, spec: SubmissionSpec) -> Allocation:
        job, number = os.environ[TASK].split()
        return QueueAllocation(number=int(number), task=SchedulerTask(str(spec.job_name), job, number, 0))


LAUNCHER = QueueLauncher


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(LAUNCHERS, "queue", __name__)
    yield
    while PROCESSES:
        task = PROCESSES.pop()
        if task.poll() is None:
            os.killpg(task.pid, signal.SIGKILL)
        task.wait()


def test_a_sweep_runs_to_its_end_in_a_queue_of_bash(write_grid: Callable[..., Path], tmp_path: Path) -> None:
    planned = sweep.prepare(write_grid(), tmp_path / "runs", {})
    output = io.StringIO()
    options = sweep.Options(cluster="queue", workers=2)
    assert sweep.run(planned, options, Console(file=output, width=200)) == "done", output.getvalue()
    assert "queued" in output.getvalue()
    (submission,) = [Submission(folder) for folder in (planned.folder / "submissions").iterdir()]
    assert {record["owner"]["job"] for record in submission.worker_records()} == {"7"}
    _wait(lambda: not _look(planned))
    assert submission.closed


LONG = """\
# Does a training that is cancelled in the queue save and leave?
base:
  data:   {name: digits, held_out: 900, size: 64}
  model:  {name: mlp, width: 16}
  train:  {batch: 16, steps: 2000000}
  sample: {count: 16}
  score:  [memorization]
seeds: 2
"""


def test_what_waits_and_runs_in_the_queue_is_shown_and_cancelled(
    write_grid: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFGEN_COMPILE", "never")  # so long a training would first try whether compiling pays
    planned = sweep.prepare(write_grid(LONG), tmp_path / "runs", {})
    options = sweep.Options(cluster="queue", workers=2, detach=True)
    assert sweep.run(planned, options, Console(file=io.StringIO())) == "detached"
    (status,) = _look(planned)
    assert status.words == "1 worker, 1 task waits (1 Places)"
    _wait(lambda: bool(list(tmp_path.glob("runs/trajectories/*/progress.*"))))
    assert reconciler.cancel(_look(planned)) == [f"{status.submission.name}: its tasks are cancelled"]
    _wait(lambda: not any(s.alive for s in _look(planned)))
    (record,) = status.submission.worker_records()
    assert (record["state"], record["ending"]) == ("interrupted", "cancelled")


def _look(planned: sweep.Planned) -> list[SubmissionStatus]:
    return reconciler.Reconciler(lambda: submissions.every(planned.store)).poll()


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


if __name__ == "__main__":
    _spec = SubmissionSpec.read(Path(sys.argv[1]))
    worker.main(sys.argv[1], int(sys.argv[2]), None, QueueLauncher().inside(_spec))
