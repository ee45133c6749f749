"""Workers: each claims one unit after another, longest first, and trains it, or samples and scores, and writes.

Interrupting is normal: SIGTERM, SIGINT and SIGUSR2 raise a flag, and the loop saves at the next step boundary.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli.engine.plan import work
from difgen_cli.engine.plan.rounds import Rounds
from difgen_cli.engine.plan.work import Scoring, Training
from difgen_cli.engine.plugins import PACKAGE, Library
from difgen_cli.engine.store import RunFolder, Store, StoreError, code, failures
from difgen_cli.engine.store.attempts import Attempt, Claimant
from difgen_cli.engine.store.processes import register_task
from difgen_cli.engine.worker.allocation import Allocation
from difgen_cli.engine.worker.queue import Queue
from difgen_cli.engine.worker.submission_spec import Interrupted, PhaseTimer, StopFlag, SubmissionSpec, Superseded
from difgen_cli.engine.worker.worker_record import WorkerRecord

if TYPE_CHECKING:
    from difgen_cli.engine.worker.context import WorkerContext

SCHEDULED = "scheduled"  # the device that the scheduler has put into CUDA_VISIBLE_DEVICES


def main(folder: str, number: int, device: str | None, allocation: Allocation | None = None) -> str:
    """Run a submitted worker. `device` is a GPU's name as CUDA_VISIBLE_DEVICES has it, None for the CPU."""
    if device != SCHEDULED:
        os.environ["CUDA_VISIBLE_DEVICES"] = device or ""  # before torch is imported
    spec = SubmissionSpec.read(Path(folder))
    if (wrong := _other_code(spec)) is not None:
        print(wrong, file=sys.stderr, flush=True)
        WorkerRecord.register(spec.folder / "workers" / f"{number}.json", "cpu").update(state="refused", cause=wrong)
        return "refused"
    log = _relative(allocation.log, spec.runs) if allocation else None
    return work_on(spec, number, "cuda" if device else "cpu", StopFlag(), None, log, allocation)


def work_on(
    spec: SubmissionSpec, number: int, device: str, flag: StopFlag, say: Callable[[str], None] | None = None,
    log: str | None = None, allocation: Allocation | None = None,
) -> str:  # fmt: skip
    """Work through a submission; returns how it ended: done, interrupted, refused or replaced."""
    start = time.monotonic()
    flag.listen()
    allocation = allocation or Allocation()
    if allocation.task is not None:
        register_task(allocation.task)
    worker_record = WorkerRecord.register(spec.folder / "workers" / f"{number}.json", device)
    todo = work.read(spec.folder / "work.json")

    _import_torch()
    from difgen_cli.engine.worker.context import DeviceError, WorkerContext

    claimant = Claimant(spec.lease_seconds, spec.name, log, flag.check)
    library = Library(spec.plugins)
    try:
        context = WorkerContext(
            Store(spec.runs), todo.recipes, library, device, spec, flag, PhaseTimer(), claimant, say or _print
        )
    except DeviceError as error:  # before anything is claimed: no unit is to blame
        print(error, file=sys.stderr, flush=True)
        worker_record.update(state="refused", cause=str(error))
        return "refused"
    rounds = Rounds(todo.refinement, context.store, spec.folder.parents[1]) if todo.refinement else None
    queue = Queue(context.store, todo.units, claimant, worker_record, allocation, rounds)
    worker_record.update(state="running")
    state, ending, cause, units = "done", "done", None, 0
    try:
        while (unit := queue.next(flag)) is not None:
            worker_record.set_unit(unit[2])
            began = time.monotonic()
            if _try(context, allocation, *unit):
                queue.learn(unit[0], time.monotonic() - began)
                units += 1
            else:
                queue.put_back(unit[0])
    except Interrupted:
        state, ending = "interrupted", allocation.ending(flag.signal)
    except StoreError as error:
        state, cause = "refused", str(error)
        print(cause, file=sys.stderr, flush=True)
    if state == "done" and queue.lost:
        state, cause = "refused", queue.lost
    if state == "done" and not worker_record.is_current():
        return "replaced"
    seconds = context.clock.seconds | {"wall": time.monotonic() - start, "waiting": queue.waited_seconds}
    with suppress(StoreError):  # on a full disk the sweep finds no live worker, and says so
        worker_record.update(state=state, at=None, ending=ending, cause=cause, seconds=seconds, units=units)
    if state == "done":
        allocation.cancel_spares()
    elif state == "interrupted":
        allocation.come_back(ending)
    return state


def _import_torch() -> None:
    """Import torch and all that work needs, a worker's first seconds, with no search for garbage in it.

    Later searches, one between two networks, leave it out too: it stays until the process ends.
    """
    if "torch" in sys.modules:
        return
    gc.disable()
    try:
        importlib.import_module("difgen_cli.engine.worker.context")
        gc.freeze()
    finally:
        gc.enable()


def _other_code(spec: SubmissionSpec) -> str | None:
    """What is wrong where this process does not run the code that was submitted; None where all is right.

    Where the copy is gone Python would go on with what is installed; where it was changed, with that.
    """
    again = "run the same `difgen sweep` again to make another copy"
    if spec.code is None or spec.code_digest is None:  # of 0.1.0
        return None
    if not PACKAGE.resolve().is_relative_to(spec.code.resolve()):
        return f"{spec.code}: the code that was submitted is gone; {again}"
    changed = code.digest(spec.code) != spec.code_digest
    return f"{spec.code}: the code is not what was submitted; {again}" if changed else None


def _relative(log: Path | None, runs: Path) -> str | None:
    """The log of this process relative to the run directory; None for one that lies elsewhere."""
    return str(log.relative_to(runs)) if log is not None and log.is_relative_to(runs) else None


def _print(line: str) -> None:
    print(line, flush=True)


def _try(
    context: WorkerContext, allocation: Allocation, unit: Training | Scoring, folder: RunFolder, attempt: Attempt
) -> bool:
    """Run a claimed unit and say how it ended; an error inside it is recorded, and the worker goes on.

    False where another worker has taken it over.
    """
    log = f"{unit.unit} of {unit.slug}"
    try:
        with attempt.beating():
            context.settle(unit.run_key)
            spent = _do(context, unit, folder, attempt)
        context.say(f"{log}: done")
        attempt.end("done", **spent)
    except Interrupted:
        ending = allocation.ending(context.flag.signal)
        context.say(f"{log}: saved ({failures.EXIT_REASONS[ending]})")
        attempt.end("interrupted", ending=ending, cause=failures.EXIT_REASONS[ending])
        raise
    except Superseded:
        context.say(f"{log}: taken over by another worker")
        return False
    except Exception as error:
        if failures.of_exception(error, context.store.root) == "storage":
            raise _spared(error, attempt) from error
        _failed_by(error, context, unit, attempt)
    return True


def _spared(error: Exception, attempt: Attempt) -> StoreError:
    """What to raise where the run directory could not be used: no unit's fault, and no other will do better."""
    cause = error if isinstance(error, StoreError) else StoreError(str(error))
    with suppress(StoreError):  # else the claim ages, and is taken over when there is room again
        attempt.end("interrupted", ending="storage", cause=str(cause))
    return cause


def _failed_by(error: Exception, context: WorkerContext, unit: Training | Scoring, attempt: Attempt) -> None:
    """Record an error inside a unit: the same would happen again, so it is not tried again by itself."""
    tail = traceback.format_exc()
    print(tail, file=sys.stderr, flush=True)
    context.say(f"{unit.unit} of {unit.slug}: failed: {error}")
    ending = failures.of_exception(error)
    remedy = failures.advice(ending, unit.unit)
    cause = f"{type(error).__name__}: {error}" + (f"; {remedy}" if remedy else "")
    attempt.end("failed", ending=ending, cause=cause, words=tail.splitlines()[-30:])


def _do(context: WorkerContext, unit: Training | Scoring, folder: RunFolder, attempt: Attempt) -> dict[str, Any]:
    """Do a claimed unit; returns what its attempt records at the end."""
    if isinstance(unit, Training):
        from difgen_cli.engine.worker.training import TrainingRun

        with context.clock.on("training"):
            return TrainingRun(context, unit, folder, attempt).run()
    from difgen_cli.engine.worker.scoring import ScoringRun

    return ScoringRun(context, unit, folder, attempt).run()
