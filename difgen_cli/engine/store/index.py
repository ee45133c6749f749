"""What all trajectories are doing, from their attempts: only folders that have changed since the last look are opened.

What was seen of those where nothing runs is kept in a folder of the person who looks: to look writes nothing into a run
directory, and needs no right to.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from difgen_cli.engine.store import RunFolder, Store
from difgen_cli.engine.store.access import StoreError, status
from difgen_cli.engine.store.files import read_json, replace_text

SCHEMA = 4
FOLDERS = ("attempts", "snapshots", "states", "results")  # whose times tell that nothing has happened
KEPT = (  # of a record
    "state", "step", "target", "batch", "images_per_second", "roofline", "mfu", "loss", "attempt", "owner",
    "submission", "started", "ended", "ending", "cause", "metric", "phase", "values",
)  # fmt: skip

Entry = dict[str, Any]  # stamp, units (unit -> last record), snapshots and states (steps), results (keys)


def read(store: Store, kept: Path | None) -> dict[str, Entry]:
    """Every trajectory's folder name -> the last attempt at each of its units, its snapshots and its results.

    `kept`: a folder for what was seen, which may be deleted at any time; None: nothing is kept.
    """
    path = kept / f"attempts-{_digest(store.root)}.json" if kept else None
    cached = (path and read_json(path)) or {}
    earlier: dict[str, Entry] = cached.get("trajectories", {}) if cached.get("schema") == SCHEMA else {}
    entries, fresh = {}, False
    for folder in store.run_folders():
        if folder.path.parent.name != "trajectories":
            continue
        name, stamp = folder.path.name, _stamp(folder.path)
        entry = earlier.get(name)
        if entry is None or entry["stamp"] != stamp or _running(entry):
            entry, fresh = _entry(folder, stamp), True
        entries[name] = entry
    if path and (fresh or entries.keys() != earlier.keys()):
        with suppress(StoreError):  # a full disk: all is read anew the next time
            content = {"schema": SCHEMA, "trajectories": entries}
            replace_text(path, json.dumps(content, separators=(",", ":"), default=str))
    return entries


def _digest(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]


def _stamp(folder: Path) -> list[int]:
    """When each folder last changed, on the file server's clock: compared for equality alone."""
    return [_changed(folder / name) for name in FOLDERS]


def _changed(path: Path) -> int:
    facts = status(path)
    return facts.st_mtime_ns if facts else 0


def _running(entry: Entry) -> bool:
    return any(record["state"] == "running" for record in entry["units"].values())


def _entry(folder: RunFolder, stamp: list[int]) -> Entry:
    units = {u: {k: r[k] for k in KEPT if k in r} for u, r in folder.last_attempts().items()}
    snapshots, states, results = sorted(folder.snapshots()), sorted(folder.states()), sorted(folder.results())
    return {"stamp": stamp, "units": units, "snapshots": snapshots, "states": states, "results": results}
