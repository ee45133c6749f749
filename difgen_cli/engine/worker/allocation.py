"""What a launcher has given a worker: its place, until when it may run, why it is told to stop, how it comes back.

Time is counted on this machine's own clock from the start of the job: clocks of different machines are never compared.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from difgen_cli.engine.store.processes import SchedulerTask


@dataclass(frozen=True)
class Allocation:
    """Where a worker runs; outside a scheduler it has no end. A launcher with a scheduler extends it."""

    ends_at: float = math.inf  # on time.monotonic()
    notice_seconds: float = 0.0  # how long before its end it is told
    number: int = 0  # the worker's place in the submission
    log: Path | None = None  # the file that this process writes to
    task: SchedulerTask | None = None  # of the scheduler, where the worker is one

    def left_seconds(self) -> float:
        """Count the seconds of work until the scheduler's notice may come."""
        return self.ends_at - self.notice_seconds - time.monotonic()

    def ending(self, number: int | None) -> str:
        """Name why a signal came; None for no signal: the worker's own look at the time."""
        return "asked"

    def come_back(self, ending: str) -> None:
        """Return to the queue after all is saved, where the launcher has one."""

    def cancel_spares(self) -> None:
        """Take back the submission's tasks that still wait: there is nothing left for them."""
