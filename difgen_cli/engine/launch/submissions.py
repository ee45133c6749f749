"""Submissions: a folder each, with the work, the intent that is written before anything starts, and what came of it.

work.json          the units, for the workers
submission.json    the intent: how to run, where the code lies, by whom, under which job name
receipt.json       what the scheduler answered: a job, or why not
workers/<k>.json   the record of each worker
closed.json        nothing of it lives any more
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from difgen_cli.engine.launch import CHECKPOINT_SECONDS, LaunchError, environment, keep_code
from difgen_cli.engine.plan import work
from difgen_cli.engine.plan.work import Work
from difgen_cli.engine.store import Store, code, submission_file
from difgen_cli.engine.store.access import names, status, text, tried
from difgen_cli.engine.store.attempts import LEASE_SECONDS
from difgen_cli.engine.store.files import locked, publish_json, publish_text
from difgen_cli.engine.store.processes import is_dead, now
from difgen_cli.engine.worker.submission_spec import SubmissionSpec


@dataclass(frozen=True)
class Submission:
    """One submission of a grid's work."""

    folder: Path

    @cached_property
    def intent(self) -> dict[str, Any]:
        """The intent; empty where its writer died before it was whole."""
        return submission_file.read_checked(self.folder)

    @property
    def name(self) -> str:
        """Its grid's folder and its number."""
        return f"{self.folder.parents[1].name}/{self.folder.name}"

    @property
    def job_name(self) -> str:
        """The name of its job in the scheduler, which no other submission has."""
        return str(self.intent.get("name", ""))

    @property
    def launcher(self) -> str:
        """The name of the launcher that started it."""
        return str(self.intent.get("launcher", ""))

    @property
    def grid(self) -> Path:
        """The folder of its grid."""
        return self.folder.parents[1]

    @property
    def work(self) -> Work:
        """The units that it was made for."""
        return work.read(self.folder / "work.json")

    @property
    def receipt(self) -> dict[str, Any] | None:
        """What the scheduler answered; None where that was never written down."""
        return submission_file.receipt(self.folder)

    @property
    def closed(self) -> bool:
        """Whether nothing of it lives any more, or nothing of it ever did."""
        return submission_file.is_closed(self.folder)

    @property
    def abandoned(self) -> bool:
        """Whether the process that made it is known to be gone."""
        return is_dead(self.intent.get("owner", {}))

    def worker_records(self) -> list[dict[str, Any]]:
        """What its workers last wrote of themselves."""
        return submission_file.worker_records(self.folder)

    def last_words(self) -> str:
        """The last line that a worker wrote, and where to read on."""
        folder = self.folder / "log"
        logs = [folder / name for name in names(folder) if name.endswith("_log.out")]
        newest = max(logs, key=lambda log: getattr(status(log), "st_mtime", 0.0), default=None)
        lines = text(newest).split("\n") if newest else []
        written = (line.strip() for line in reversed(lines) if line.strip() and not line.startswith("submitit "))
        return f"{next(written, 'nothing')[:300]} (all of it in {folder})"

    def answer(self, receipt: Mapping[str, Any]) -> None:
        """Write the receipt, once."""
        publish_json(self.folder / "receipt.json", {"schema": 1, **receipt, "answered": now()})

    def close(self, why: str) -> None:
        """Say that nothing of it lives any more."""
        publish_json(self.folder / "closed.json", {"why": why, "closed": now()})

    def record_death(self, worker_record: Mapping[str, Any], ending: str, by: str) -> None:
        """Write down how a worker ended, for the unit that it left in the middle."""
        at = worker_record.get("at") or {"home": ""}
        folder = Store(self.folder.parents[3]).named(str(at["home"])) if at["home"] else None
        if folder is not None and Path(str(at["unit"])).name == at["unit"]:  # no record leads out of the run directory
            folder.record_death(str(at["unit"]), int(at["attempt"]), ending, by)


def write(
    store: Store, grid: Path, todo: Work, plugins: Path | None, launcher: str, workers: int, threads: int, *,
    walltime_seconds: float | None = None, notice_seconds: float = 0.0, expected: Mapping[str, Any] | None = None,
) -> Submission:  # fmt: skip
    """A new submission below a grid's folder: the work, then how it is to run, as `SubmissionSpec` says it.

    `launcher`: its name in launcher.LAUNCHERS. `threads`: of each worker. `expected`: what it is expected to take.
    Raises LaunchError for a variable of the environment that is no time.
    """
    lease_seconds = _seconds("DIFGEN_LEASE_SECONDS", LEASE_SECONDS)
    checkpoint_seconds = _seconds("DIFGEN_CHECKPOINT_SECONDS", CHECKPOINT_SECONDS)
    with locked(store.counting_on):  # `gc` must not take the code for unused meanwhile
        copy = keep_code(store, plugins)
        folder = _next(grid)
        publish_text(folder / "work.json", todo.dump())
        SubmissionSpec(
            folder=folder,
            runs=store.root,
            plugins=copy / "plugins" if plugins else None,
            threads=threads,
            environment=environment(),
            lease_seconds=lease_seconds,
            checkpoint_seconds=checkpoint_seconds,
            walltime_seconds=walltime_seconds,
            notice_seconds=notice_seconds,
            code=copy,
            code_digest=code.digest(copy),
            launcher=launcher,
            job_name=f"difgen-{secrets.token_hex(6)}",
            workers=workers,
            expected=expected or {},
        ).write()
    return Submission(folder)


def every(store: Store) -> list[Submission]:
    """All submissions of a run directory that are not closed, oldest first."""
    submissions = [Submission(folder) for grid in store.grids() for folder in submission_file.folders(grid)]
    return [s for s in submissions if s.intent and not s.closed]


def last_worker_records(store: Store, most: int) -> list[dict[str, Any]]:
    """What the workers of the last submissions of each grid said of themselves in the end."""
    submissions = [Submission(folder) for grid in store.grids() for folder in submission_file.folders(grid)[-most:]]
    return [worker_record for submission in submissions[-most:] for worker_record in submission.worker_records()]


def _next(grid: Path) -> Path:
    """The folder of a grid's next submission, made."""
    number = max((int(folder.name) for folder in submission_file.folders(grid)), default=0)
    while True:
        number += 1
        place = grid / "submissions" / str(number)
        try:
            tried(place, partial(place.mkdir, parents=True), reading=False)
        except FileExistsError:
            continue
        return place


def _seconds(variable: str, default: float) -> float:
    """A time from the environment."""
    value = os.environ.get(variable)
    try:
        return default if value is None else max(0.1, float(value))
    except ValueError:
        raise LaunchError(f"${variable}: {value!r} is no number of seconds") from None
