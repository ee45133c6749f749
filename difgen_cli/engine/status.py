"""The state of a run directory: of each trajectory, and of each submission."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from difgen_cli.engine import progress
from difgen_cli.engine.cost import cache
from difgen_cli.engine.launch import submissions
from difgen_cli.engine.launch.reconciler import Reconciler, SubmissionStatus
from difgen_cli.engine.plan import plan_table, rounds
from difgen_cli.engine.plan.plan_table import Expected
from difgen_cli.engine.plan.rounds import NOT_NEEDED
from difgen_cli.engine.store import Store, access, failures, index, notes, untrusted
from difgen_cli.engine.store.notes import Notes
from difgen_cli.engine.store.processes import is_dead

# The states of a trajectory, the most urgent first.
STATES = ("failed", "lost", "interrupted", "training", "scoring", "waiting", "stale", "done", NOT_NEEDED)


@dataclass(frozen=True)
class TrajectoryStatus:
    """One trajectory."""

    trajectory: str
    key: str
    state: str
    step: int | None = None
    target: int | None = None
    images_per_second: float | None = None
    roofline: float | None = None  # that speed as a share of what the machine allows the network
    mfu: float | None = None  # and of its matrix rate
    left_seconds: float | None = None
    snapshots: Sequence[int] = ()
    results: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)  # of the snapshot scored last, one for each metric
    worker: str | None = None  # host and job of the one that has it now, or had it last
    activity: str | None = None  # what that worker does now: loading data, training, sampling, scoring and the metric
    ending: str | None = None
    cause: str | None = None


@dataclass(frozen=True)
class GridStatus:
    """One grid of a run directory: of one name there may be several, which differ in their folders."""

    folder: Path
    planned: str  # when it was swept last with anything to do, an ISO time in UTC
    cells: int  # of models
    notes: Notes
    refined: Sequence[str] = ()  # how far it is refined, in sentences; none where it refines nothing

    @property
    def name(self) -> str:
        return self.folder.name.rpartition("-")[0]


@dataclass(frozen=True)
class Status:
    """A run directory at one moment."""

    lines: list[TrajectoryStatus]
    submissions: list[SubmissionStatus]  # those that are alive
    grids: list[GridStatus] = field(default_factory=list)  # oldest first

    @property
    def counts(self) -> Counter[str]:
        return Counter(line.state for line in self.lines)


def reconciler(store: Store, *, writes: bool = True) -> Reconciler:
    """The reconciler of the open submissions of a run directory; `writes`: it records what it learns."""
    return Reconciler(lambda: submissions.every(store), writes=writes)


def look(store: Store, submitted: Reconciler) -> Status:
    """The state at this moment."""
    alive = [status for status in submitted.poll() if status.alive]  # first, since it finds the dead workers
    expected = plan_table.expected(store)
    entries = index.read(store, cache.folder())
    for (name, unit, attempt), ending in submitted.lost.items():
        record = entries.get(name, {}).get("units", {}).get(unit, {})
        if record.get("attempt") == attempt and record["state"] == "running":
            record |= {"state": "lost", "ending": ending, "cause": failures.EXIT_REASONS[ending]}
    seen = {name.rpartition("-")[2]: (name.rpartition("-")[0], entry) for name, entry in entries.items()}
    lines = [_line(slug, key, entry, expected.get(key)) for key, (slug, entry) in seen.items()]
    wrong = untrusted.find(store).folders
    lines = [replace(line, state="stale") if line.state == "done" and line.key in wrong else line for line in lines]
    lines += [
        TrajectoryStatus(wanted.slug, key, "waiting" if wanted.needed else NOT_NEEDED)
        for key, wanted in expected.items() if key not in seen
    ]  # fmt: skip
    return Status(sorted(lines, key=lambda line: line.trajectory), alive, grids(store))


def grids(store: Store) -> list[GridStatus]:
    """The grids that were swept here, oldest first; those whose plan cannot be read are left out."""
    every = []
    for folder in store.grids():
        path = folder / "plan.parquet"
        try:
            kinds = access.parsed(path, lambda file: pq.read_table(file, columns=["kind"])["kind"])
            moment = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
        except (*access.ANSWERS, access.DamagedError):
            continue  # the next sweep writes it anew
        cells = pc.sum(pc.equal(kinds, "model")).as_py() or 0
        refined = rounds.read(folder, store)
        every.append(GridStatus(folder, moment, cells, notes.read(folder), refined.sentences() if refined else ()))
    return every


def _line(slug: str, key: str, entry: dict[str, Any], expected: Expected | None) -> TrajectoryStatus:
    train = entry["units"].get("train", {})
    scores = [r for u, r in entry["units"].items() if u != "train"]
    complete = expected is not None and (
        expected.results <= set(entry["results"])
        and expected.steps <= set(entry["snapshots"])
        and expected.states <= set(entry["states"])
    )
    state = _state(train, scores, complete)
    scored: dict[str, Any] = max((r for r in scores if r.get("values")), key=lambda r: str(r.get("ended")), default={})
    decisive = next((r for r in (train, *scores) if state == r.get("state")), train if state == "lost" else {})
    at = next((r for r in (train, *scores) if r.get("state") == "running"), decisive)
    rate, step, target = train.get("images_per_second"), train.get("step"), train.get("target")
    doing = progress.activity(at, training=at is train) if state in ("training", "scoring") else None
    left = (target - step) * train["batch"] / rate if state == "training" and rate and target else None
    return TrajectoryStatus(
        slug, key, state, step, target, rate, train.get("roofline"), train.get("mfu"), left, entry["snapshots"],
        len(entry["results"]), scored.get("values", {}), _worker(at.get("owner", {})), doing,
        decisive.get("ending"), decisive.get("cause"),
    )  # fmt: skip


def _state(train: dict[str, Any], scores: list[dict[str, Any]], complete: bool) -> str:
    """Its state: what exists counts before what attempts have recorded."""
    lost = False
    for record in (train, *scores):
        if record.get("state") == "running" and not is_dead(record["owner"]):
            return "training" if record is train else "scoring"
        lost |= record.get("state") in ("running", "lost")
    states = {r.get("state") for r in (train, *scores)}
    if complete or "failed" in states:
        return "done" if complete else "failed"
    return "lost" if lost else "interrupted" if "interrupted" in states else "waiting"


def _worker(who: dict[str, Any]) -> str | None:
    if not who:
        return None
    job = f" job {who['job']}_{who['task']}" if who.get("job") and who.get("task") else ""
    return f"{who['host']}{job}"


def lost(store: Store) -> Callable[[], Mapping[tuple[str, str, int], str]]:
    """A function that finds attempts whose workers have died without a record; it writes nothing."""
    submitted = reconciler(store, writes=False)

    def look() -> Mapping[tuple[str, str, int], str]:
        submitted.poll()
        return submitted.lost

    return look


def over(store: Store, *, writes: bool) -> frozenset[Path]:
    """The folders of submissions whose workers have all ended, though it was not recorded yet."""
    standings = reconciler(store, writes=writes).poll()
    return frozenset(s.submission.folder.resolve() for s in standings if not s.alive)
