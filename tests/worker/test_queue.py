"""Which unit a worker takes next: one that was lost to another worker is not forgotten."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from difgen_cli.engine.plan.work import Scoring, Training
from difgen_cli.engine.store import Store
from difgen_cli.engine.store.attempts import Claimant
from difgen_cli.engine.worker.queue import Queue
from difgen_cli.engine.worker.submission_spec import StopFlag
from difgen_cli.engine.worker.worker_record import WorkerRecord

LEASE_SECONDS = 0.2


@dataclass
class Overtaken(Queue):
    """A worker that another overtakes between its look at a unit and its claim."""

    def _needs_seconds(self, unit: Training | Scoring) -> float:  # asked between the two
        folder = self.store.run_folder_now(unit.run_key, unit.slug, make=True)
        if (other := folder.claim(unit.unit, self.claimant)) is not None:
            folder.snapshot(10).parent.mkdir(parents=True)
            folder.snapshot(10).write_bytes(b"weights")
            other.end("done")
        return 0.0


def queue(folder: Path, number: int, kind: type[Queue] = Queue) -> Queue:
    worker_record = WorkerRecord.register(folder / f"{number}.json", "cpu")
    return kind(Store(folder / "runs"), [Training("0" * 16, "x", (10,), 8)], Claimant(LEASE_SECONDS), worker_record)


def test_a_unit_lost_to_a_worker_that_leaves_it_too_is_taken_again(tmp_path: Path) -> None:
    """The first is silent for longer than the lease, the second takes over and meets a full disk."""
    first, second = queue(tmp_path, 1), queue(tmp_path, 2)
    unit, _, mine = first.next(StopFlag()) or (None, None, None)
    assert unit is not None
    assert mine is not None
    assert second._claim() is None  # the first look at the other's heartbeat
    time.sleep(2 * LEASE_SECONDS)
    _, _, theirs = second.next(StopFlag()) or (None, None, None)
    assert theirs is not None
    assert mine.superseded()
    first.put_back(unit)
    theirs.end("interrupted", ending="storage", cause="disk full")
    again = first.next(StopFlag())
    assert again is not None
    assert (again[0], again[2].number) == (unit, 3)


def test_a_unit_that_another_has_just_done_is_not_done_again(tmp_path: Path) -> None:
    overtaken = queue(tmp_path, 1, Overtaken)
    assert overtaken.next(StopFlag()) is None
    folder = overtaken.store.run_folder_now("0" * 16, "x")
    assert [record["state"] for _, record in folder.history("train")] == ["done"]
