"""What a worker is doing now, in two or three words in the attempt at its unit: `loading data`, `sampling`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from difgen_cli.engine.store.attempts import Attempt


@dataclass
class Phases:
    """The phase of one worker; nothing is written before it has an attempt."""

    attempt: Attempt | None = None
    phase: str | None = None

    def show(self, phase: str | None, **fields: Any) -> None:
        """Write a phase, None for the unit's main work, and other fields into the attempt."""
        self.phase = phase
        if self.attempt is not None:
            self.attempt.beat(phase=phase, **fields)

    def leave(self) -> None:
        """Back to the unit's main work, where there was a phase."""
        if self.phase is not None:
            self.show(None)

    @contextmanager
    def on(self, phase: str) -> Iterator[None]:
        """The phase while the body runs, then the one before. An attempt that fails here keeps it."""
        before = self.phase
        self.show(phase)
        yield
        self.show(before)
