"""Workers on this machine, through submitit's local executor, in a session of their own.

`start` begins a launcher process outside the terminal's process group, so that Ctrl-C reaches the workers as a request
to save. The launcher (this module, run as a script) starts them, starts dead ones again, and passes SIGTERM on.
submitit kills one second after SIGINT and gives two minutes by default: it is asked for a year, and never to cancel.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from difgen_cli.engine.launch import LaunchError, local_devices, task, threads_each, worker_environment
from difgen_cli.engine.launch.launcher import Launcher, LaunchRequest, SubmissionStatus, observe_processes
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.launch.worker_pool import WorkerPool, local_pool
from difgen_cli.engine.store.files import StoreError, read_json, remove, replace_json
from difgen_cli.engine.store.processes import command_line, is_dead, is_here, process_identity

POLL_SECONDS = 0.2
YEAR_MINUTES = 365 * 24 * 60
MOST_EARLY_DEATHS = 3  # in a row: a worker that never claims a unit will not the next time
LONG_LIFE_SECONDS = 10.0  # after which a death is the first again


def start(submission: Submission, devices: Sequence[str | None]) -> subprocess.Popen[bytes]:
    """Begin the launcher of a submission; it outlives this process, and is known from now on."""
    folder, intent = submission.folder, submission.intent
    with (folder / "launcher.log").open("ab") as log:
        launcher = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "difgen_cli.engine.launch.local",
                str(folder),
                *(device or task.CPU for device in devices),
            ],
            env=worker_environment(Path(intent["code"]), intent["threads"]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # The launcher says so itself, but only when it has started: a command that comes before would close the submission
    # as one whose submitter has ended.
    replace_json(folder / "launcher.json", {"owner": process_identity(launcher.pid)})
    return launcher


def alive(submission: Submission) -> bool | None:
    """Whether anything of a local submission lives; None on another machine than its own."""
    if submission.launcher != "local":
        return False
    started = read_json(submission.folder / "launcher.json")
    if started is None:  # not up yet, or never
        return not submission.abandoned
    return bool(_processes(submission)) if is_here(started["owner"]) else None


def stop(submission: Submission) -> bool:
    """Ask a submission's workers to save and leave; False where none is to be reached from here.

    Raises LaunchError where they are another user's.
    """
    reached = [pid for pid in _processes(submission) if _is_of(submission, pid)]
    for pid in [p for p in _launcher(submission) if p in reached] or reached:  # the launcher passes it on
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            continue
        except PermissionError:
            raise LaunchError(f"{submission.name}: its workers are another user's, who alone can cancel them") from None
    return bool(reached)


def _processes(submission: Submission) -> list[int]:
    """The launcher, if it lives, then the workers, which go on without it."""
    owners = [b["owner"] for b in submission.worker_records() if b.get("state") in ("starting", "running")]
    return _launcher(submission) + [int(o["pid"]) for o in owners if is_here(o) and not is_dead(o)]


def _launcher(submission: Submission) -> list[int]:
    who = (read_json(submission.folder / "launcher.json") or {}).get("owner", {})
    return [int(who["pid"])] if is_here(who) and not is_dead(who) else []


def _is_of(submission: Submission, pid: int) -> bool:
    """Whether a process was started for a submission: a record may name any, and it is about to be asked to end."""
    named = f"{submission.grid.name}/submissions/{submission.folder.name}"
    return any(f"{word}/".partition(named)[2][:1] == "/" for word in command_line(pid) or ())


class LocalLauncher(Launcher):
    """Workers are processes of this machine, kept alive by a process of their own."""

    here = True
    foreground = False

    def pool(self, workers: int | None, jobs_per_gpu: int, profile: Mapping[str, Any]) -> WorkerPool:
        return local_pool("local", local_devices(workers, jobs_per_gpu))

    def submit(self, request: LaunchRequest) -> Submission:
        devices = local_devices(request.workers, request.jobs_per_gpu or 1)
        used = devices[: len(request.forecast.todo)]
        submission = request.write("local", len(used), threads_each(devices))
        start(submission, used)
        return submission

    def poll(self, submissions: Sequence[Submission]) -> list[SubmissionStatus]:
        return [observe_processes(s, alive(s)) for s in submissions]

    def cancel(self, submissions: Sequence[Submission]) -> list[str]:
        done, refusals = [], []
        for submission in submissions:
            try:
                elsewhere = f"runs on {submission.intent.get('owner', {}).get('host')}; cancel it there"
                words = "its workers were asked to save and leave" if stop(submission) else elsewhere
                done.append(f"{submission.name}: {words}")
            except LaunchError as error:
                refusals.append(str(error))
        if refusals and not done:
            raise LaunchError("; ".join(refusals))
        return done + refusals


LAUNCHER = LocalLauncher


@dataclass
class Slot:
    """One worker's place, and how its workers fared."""

    number: int
    device: str | None
    job: Any = None
    since: float = 0.0
    again_at: float = math.inf  # when the next worker is to start, on time.monotonic()
    deaths: int = 0  # in a row, each soon after its start
    early_deaths: int = 0  # in a row, before any work


@dataclass
class LocalWorkers:
    """Keeps one worker running in each slot until the work is done."""

    submission: Submission
    slots: list[Slot]
    stopping: bool = False
    memory_kills: int = field(default_factory=lambda: memory_kills())

    def run(self) -> None:
        for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(kind, self._stop)
        for slot in self.slots:
            self._submit(slot)
        asked = 0.0
        while any(slot.job is not None or slot.again_at < math.inf for slot in self.slots):
            time.sleep(POLL_SECONDS)
            if self.stopping and time.monotonic() - asked > 1:
                self._ask_to_save()
                asked = time.monotonic()
            for slot in self.slots:
                if slot.job is not None and slot.job.done():
                    self._ended(slot)
                elif time.monotonic() > slot.again_at:
                    self._submit(slot)
        with suppress(StoreError):  # the next command closes it
            self.submission.close("its workers have ended")

    def _submit(self, slot: Slot) -> None:
        import submitit

        from difgen_cli.engine import worker

        slot.since, slot.again_at = time.monotonic(), math.inf
        try:
            remove(self._record_path(slot))
            executor = submitit.LocalExecutor(
                folder=self.submission.folder / "log", python=task.command(slot.device, slot.number)
            )
            executor.update_parameters(timeout_min=YEAR_MINUTES, stderr_to_stdout=True)
            slot.job = executor.submit(worker.main, str(self.submission.folder), slot.number, slot.device)
        except (
            OSError,
            StoreError,
        ) as error:  # a full disk, or no process left: the other slots' workers are looked after meanwhile
            _say(f"worker {slot.number} could not be started: {error}")
            slot.deaths += 1
            slot.again_at = time.monotonic() + _pause_seconds(slot.deaths)

    def _record_path(self, slot: Slot) -> Path:
        return self.submission.folder / "workers" / f"{slot.number}.json"

    def _ended(self, slot: Slot) -> None:
        """A worker has ended: if it died, write down how, and let another follow."""
        pid, slot.job = slot.job.job_id, None
        try:
            worker_record = read_json(self._record_path(slot)) or {}
        except StoreError as error:  # what its worker said is not known: another looks what is left to do
            _say(str(error))
            worker_record = {}
        if worker_record.get("state") in ("done", "interrupted", "refused"):
            return
        kills, ending = memory_kills(), "killed"
        if kills > self.memory_kills:
            self.memory_kills, ending = kills, "out_of_memory"
        with suppress(StoreError):  # the next command records it
            self.submission.record_death(worker_record, ending, "the launcher")
        if self.stopping:
            return
        _say(f"worker {slot.number} (controller {pid}) died")
        slot.early_deaths = 0 if worker_record.get("at") else slot.early_deaths + 1
        slot.deaths = 0 if time.monotonic() - slot.since > LONG_LIFE_SECONDS else slot.deaths + 1
        if slot.early_deaths < MOST_EARLY_DEATHS:
            slot.again_at = time.monotonic() + _pause_seconds(slot.deaths)

    def _ask_to_save(self) -> None:
        for slot in self.slots:
            slot.again_at = math.inf
            if slot.job is None:
                continue
            with suppress(ProcessLookupError):
                os.kill(int(slot.job.job_id), signal.SIGTERM)  # submitit's controller passes it to its worker

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True


def _say(line: str) -> None:
    """Into the launcher's log, which lies on the disk that may be full: no reason to leave the workers alone."""
    with suppress(OSError):
        print(line, flush=True)


def _pause_seconds(deaths: int) -> float:
    """Before another start after so many deaths in a row: a machine in trouble is not hammered."""
    return min(30.0, 0.1 * 2.0**deaths)


def memory_kills(process: Path = Path("/proc/self"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """How often the kernel has killed for want of memory in this process's own control group; 0 where it does not tell.

    What it has killed elsewhere on a machine that many share says nothing of a worker here.
    """
    try:
        mine = (process / "cgroup").read_text(encoding="utf-8").splitlines()
        path_of = {names: place for _, names, place in (line.split(":", 2) for line in mine)}
        if "" in path_of:  # version 2
            file = groups / path_of[""].lstrip("/") / "memory.events"
        else:
            file = groups / "memory" / path_of.get("memory", "").lstrip("/") / "memory.oom_control"
        lines = file.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def main(folder: Path, devices: list[str | None]) -> None:
    """The launcher process."""
    (folder / "workers").mkdir(exist_ok=True)
    replace_json(folder / "launcher.json", {"owner": process_identity()})
    LocalWorkers(Submission(folder), [Slot(k, device) for k, device in enumerate(devices)]).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), [None if device == task.CPU else device for device in sys.argv[2:]])
