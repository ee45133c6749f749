"""A worker's record: who works in a slot of a submission, how it is doing, and which unit it works on."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difgen_cli.engine.store.attempts import Attempt
from difgen_cli.engine.store.files import read_json, replace_json
from difgen_cli.engine.store.processes import process_identity


@dataclass
class WorkerRecord:
    """workers/<k>.json of a submission; rewritten by the worker alone."""

    path: Path
    record: dict[str, Any]

    @staticmethod
    def register(path: Path, device: str) -> WorkerRecord:
        """Take the slot; a worker that had it before, and was taken for dead, sees that it has lost it."""
        about = {
            "owner": process_identity(),
            "token": secrets.token_hex(8),
            "device": device,
            "state": "starting",
            "at": None,
        }
        replace_json(path, about)
        return WorkerRecord(path, about)

    def update(self, **fields: Any) -> None:
        """Rewrite the record with what is new, unless another worker has the slot by now."""
        if self.is_current():
            self.record |= fields
            replace_json(self.path, self.record)

    def set_unit(self, attempt: Attempt) -> None:
        """Write down which unit it works on, so that whoever finds the worker dead knows what it left unfinished."""
        run_key = attempt.path.parent.parent.name
        self.update(at={"home": run_key, "unit": attempt.unit, "attempt": attempt.number})

    def is_current(self) -> bool:
        """Whether no other worker has taken the slot: a task is started again while the lost one may live on."""
        current = read_json(self.path)
        return current is None or current.get("token") == self.record["token"]
