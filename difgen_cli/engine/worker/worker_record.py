"""A worker's badge: who works at a place of a submission, how it is doing, and what it holds just now."""

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
        """Take the place; a worker that had it before, and may not know that it was given up, sees it."""
        about = {
            "owner": process_identity(),
            "token": secrets.token_hex(8),
            "device": device,
            "state": "starting",
            "at": None,
        }
        replace_json(path, about)
        return WorkerRecord(path, about)

    def show(self, **fields: Any) -> None:
        """Rewrite the badge with what is new, unless another wears it by now."""
        if self.mine():
            self.record |= fields
            replace_json(self.path, self.record)

    def hold(self, attempt: Attempt) -> None:
        """Say which unit is in hand, so that whoever finds the worker dead knows what it leaves."""
        home = attempt.path.parent.parent.name
        self.show(at={"home": home, "unit": attempt.unit, "attempt": attempt.number})

    def mine(self) -> bool:
        """Whether no other worker has taken the place: a task is started again while the lost one may live on."""
        current = read_json(self.path)
        return current is None or current.get("token") == self.record["token"]
