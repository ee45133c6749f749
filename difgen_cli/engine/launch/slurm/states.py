"""What SLURM's word for a job's state means."""

from __future__ import annotations

_ENDINGS = {
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
    "PREEMPTED": "preempted",
    "CANCELLED": "cancelled",
    "REQUEUED": "cancelled",
    "REVOKED": "cancelled",
}


def ending(state: str) -> str | None:
    """Name the ending of a job's state (`CANCELLED by 1000`, `NODE_FAIL`); None for one that tells of none."""
    return _ENDINGS.get(state.split()[0].rstrip("+")) if state.split() else None
