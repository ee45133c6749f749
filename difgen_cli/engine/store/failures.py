"""How attempts end: a name for each cause, told from an exception, from the last lines of a log, or from the scheduler.

The name decides what happens next: what the cluster or a person did to a worker is tried again as often as it takes,
what a unit did to its worker only while it gets further, and what its code or data did never by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What each means, as a sentence that goes on after the unit's name.
EXIT_REASONS = {
    "out_of_memory": "out of memory",
    "node_failure": "its node failed",
    "time_limit": "the time limit came",
    "preempted": "preempted by a job of higher priority",
    "cancelled": "its job was cancelled or requeued",
    "killed": "killed without a word: out of memory, or from outside",
    "silent": "gave no sign of life for the lease time",
    "error": "an error in the code",
    "bad_data": "data that cannot be used",
    "storage": "the run directory could not be read or written",
    "asked": "asked to stop",
    "weights_gone": "weights that it needs are gone; run the same `difgen sweep` again to train them",
}
# Never counted against a unit.
NOT_COUNTED = frozenset({"node_failure", "preempted", "cancelled", "storage", "asked", "weights_gone"})
WORDS = 12  # last lines of a log that are kept
_TAIL_BYTES = 8192

_SAID = (  # of schedulers, the kernel and torch, the most telling first
    ("out_of_memory", re.compile(r"oom[-_ ]kill|out[ -]of[ -]memory|exceeded (?:job |step )?memory limit", re.I)),
    ("node_failure", re.compile(r"DUE TO NODE FAILURE|NODE_FAIL")),
    ("time_limit", re.compile(r"DUE TO TIME LIMIT")),
    ("preempted", re.compile(r"DUE TO PREEMPTION")),
    ("cancelled", re.compile(r"\*\*\* (?:JOB|STEP) .* CANCELLED AT|DUE TO JOB REQUEUE")),
)


def cause(record: Mapping[str, Any]) -> str | None:
    """Why an attempt failed, from its record; None where it did not fail, or there is none (an empty record)."""
    return str(record.get("cause", "unknown")) if record.get("state") == "failed" else None


def of_exception(error: BaseException, root: Path | None = None) -> str:
    """The ending that an exception inside a unit means. Classes go by name, so that nothing heavy is imported.

    `root`: the run directory, whose files' errors are nobody's fault.
    """
    if root is not None and _of_storage(error, root):
        return "storage"
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    if kinds & {"OutOfMemoryError", "MemoryError"} or "can't allocate memory" in text or "CUDA out of memory" in text:
        return "out_of_memory"
    return "bad_data" if "DataError" in kinds else "error"


def _of_storage(error: BaseException, root: Path) -> bool:
    """Whether an exception, or what it came of, is the system's about a file of the run directory."""
    if isinstance(error, OSError) and error.errno is not None and isinstance(error.filename, str | Path):
        if Path(error.filename).absolute().is_relative_to(root):
            return True
    elif type(error).__name__ in ("StoreError", "NotWritableError", "DamagedError"):
        return True
    return error.__cause__ is not None and _of_storage(error.__cause__, root)


def of_log(lines: Sequence[str]) -> str | None:
    """The ending that the last lines of a worker's log tell of, or None."""
    text = "\n".join(lines)
    return next((name for name, pattern in _SAID if pattern.search(text)), None)


def sentence(ending: str, lines: Sequence[str]) -> str:
    """The ending as a sentence, with the last word of the log where it says more."""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return EXIT_REASONS[ending] + (f": {last[:300]}" if last and ending in ("killed", "error", "out_of_memory") else "")


def advice(ending: str, unit: str) -> str:
    """What to change where a unit ends so again and again; empty where nothing would help."""
    training = unit == "train"
    return {
        "out_of_memory": "lower train.batch or model.width" if training else "lower sample.count or model.width",
        "killed": "if it was memory, lower train.batch or model.width"
        if training
        else "if it was memory, lower sample.count",
        "time_limit": "raise walltime_minutes in the profile",
    }.get(ending, "") + (", or raise memory_gb in the profile" if ending in ("out_of_memory", "killed") else "")


def last_lines(path: Path, end: int | None = None) -> list[str]:
    """The last lines of a log, before byte `end` if it is given; empty where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2) if end is None else end
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read(min(size, _TAIL_BYTES)).decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-WORDS:]
