"""Workers on this machine, through submitit's local executor, in a session of their own.

`start` begins a launcher process outside the terminal's process group, so that Ctrl-C reaches the workers as a request
to save. The launcher (this module, run as a script) starts them, starts dead ones again, and passes SIGTERM on.
submitit kills one second after SIGINT and gives two minutes by default: it is asked for a year, and never to cancel.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from difgen_cli.launch import Slots, worker_environment
from difgen_cli.store.attempts import owner
from difgen_cli.store.files import read_json, replace_json

POLL_SECONDS = 0.2
YEAR_MINUTES = 365 * 24 * 60
MOST_RESTARTS = 50  # of one worker; a unit that kills its workers is given up long before
MOST_STILLBORN = 3  # in a row: a worker that never gets to work will not the next time


def start(folder: Path, slots: Slots) -> subprocess.Popen[bytes]:
    """Begin the launcher of a submission; it outlives this process."""
    said = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
    replace_json(folder / "slots.json", {"devices": slots.devices})
    with (folder / "launcher.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "difgen_cli.launch.local", str(folder)],
            env=worker_environment(Path(said["code"]), slots.threads),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@dataclass
class Launcher:
    """Keeps one worker running in each slot until the work is done."""

    folder: Path
    devices: list[str | None]
    stopping: bool = False
    jobs: dict[int, Any] = field(default_factory=dict)
    restarts: dict[int, int] = field(default_factory=dict)
    stillborn: dict[int, int] = field(default_factory=dict)

    def run(self) -> None:
        import submitit

        for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(kind, self._stop)
        executor = submitit.LocalExecutor(folder=self.folder / "log")
        executor.update_parameters(timeout_min=YEAR_MINUTES, stderr_to_stdout=True)
        for number in range(len(self.devices)):
            self._submit(executor, number)
        asked = 0.0
        while self.jobs:
            time.sleep(POLL_SECONDS)
            if self.stopping and time.monotonic() - asked > 1:
                self._ask_to_save()
                asked = time.monotonic()
            for number in [n for n, job in self.jobs.items() if job.done()]:
                self._ended(executor, number)

    def _submit(self, executor: Any, number: int) -> None:
        from difgen_cli import worker

        (self.folder / "workers" / f"{number}.json").unlink(missing_ok=True)
        self.jobs[number] = executor.submit(worker.main, str(self.folder), number, self.devices[number])

    def _ended(self, executor: Any, number: int) -> None:
        job = self.jobs.pop(number)
        badge = read_json(self.folder / "workers" / f"{number}.json") or {}
        if badge.get("state") in ("done", "interrupted", "refused") or self.stopping:
            return
        worked = badge.get("state") == "running"
        self.restarts[number] = self.restarts.get(number, 0) + 1
        self.stillborn[number] = 0 if worked else self.stillborn.get(number, 0) + 1
        print(f"worker {number} (controller {job.job_id}) died", flush=True)
        if self.restarts[number] <= MOST_RESTARTS and self.stillborn[number] < MOST_STILLBORN:
            time.sleep(min(30.0, 0.1 * 2 ** self.restarts[number]))  # a machine in trouble is not hammered
            self._submit(executor, number)

    def _ask_to_save(self) -> None:
        for job in self.jobs.values():
            with suppress(ProcessLookupError):
                os.kill(int(job.job_id), signal.SIGTERM)  # submitit's controller passes it to its worker

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True


def main(folder: Path) -> None:
    """The launcher process."""
    devices = json.loads((folder / "slots.json").read_text(encoding="utf-8"))["devices"]
    (folder / "workers").mkdir(exist_ok=True)
    replace_json(folder / "launcher.json", {"owner": owner()})
    Launcher(folder, devices).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
