"""What no row needs any more: found, sized and removed. Results, tables, grids and attempts are never garbage.

Nothing of a trajectory at which somebody works is touched, nothing behind a symbolic link, and nothing that bears no
name of ours. What a plan names is needed, whichever grid's plan it is: to forget a grid, delete its folder first.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from difgen_cli.engine.store import RunFolder, Store, submission_file
from difgen_cli.engine.store.access import tried
from difgen_cli.engine.store.files import StoreError, explain, locked, read_json, temporary_name
from difgen_cli.engine.store.processes import is_dead

OLD_SECONDS = 86_400.0  # by the disk's own clock; a heartbeat comes every few seconds, and a file is written in minutes
ROOMS = ("trajectories", "references")
NAMED = re.compile(r".*-([0-9a-f]{16})")
CODE = re.compile(r"code-[0-9a-f]{16}")
TEMPORARY = re.compile(r"\..*\.tmp|\.(?:probe|doctor)\..*|[^.].*\.broken")
PARTS = ("checkpoints", "snapshots", "states", "samples")  # of a run folder; results, attempts, descriptions stay


KINDS = {
    "temporary": "temporary and damaged files older than a day",
    "orphans": "weights and samples of trajectories and references that no plan names; their results stay",
    "checkpoints": "of finished trajectories, all but the last",
    "snapshots": "of steps that no plan names",
    "states": "of steps at which no plan forks",
    "samples": "of cells that no plan names",
    "code": "copies of the code, older than a day, whose workers have ended",
    "distrusted": "trajectories that an older difgen trained wrong, set aside when they were trained anew",
    "last checkpoints": "of finished trajectories: more steps would train from zero",
    "scored snapshots": "of which every result is there: a new metric would train again",
}
ON_DEMAND = {"last checkpoints", "scored snapshots"}  # since something that may be wanted again goes with them


@dataclass(frozen=True)
class Garbage:
    """One file or folder."""

    kind: str
    path: Path
    size_bytes: int


@dataclass
class Needs:
    """What plans and submissions want of one run folder."""

    results: dict[int | None, set[str]] = field(default_factory=lambda: defaultdict(set))  # step -> keys of its results
    samples: set[str] = field(default_factory=set)
    steps: set[int] = field(default_factory=set)
    states: set[int] = field(default_factory=set)  # steps at which others fork
    awaited: bool = False  # a submission whose workers may still come counts on what is there


def find(store: Store, over: Collection[Path] = ()) -> list[Garbage]:
    """All garbage of a run directory, by kind and path. Raises StoreError where a plan cannot be read.

    `over`: folders of submissions of which nothing lives, though none of their files says so.
    """
    root = store.root.resolve()
    living = [f for f in _submissions(root) if f not in over and _alive(f)]
    now, needs = disk_now(root), _needs(store, living)
    every = [RunFolder(path) for room in ROOMS for path in _folders(root, room) if NAMED.fullmatch(path.name)]
    at_work = {folder.path for folder in every if busy(folder, now)}
    idle = [folder for folder in every if folder.path not in at_work]
    garbage = list(_temporary(root, at_work, now))
    garbage += _orphans([folder for folder in idle if folder.key not in needs], every, needs)
    for folder in idle:
        if folder.key in needs:
            garbage += _of_folder(folder, needs[folder.key])
    garbage += _code(root, living, now)
    garbage += [_garbage("distrusted", path) for path in _folders(root, "distrusted")]
    order = list(KINDS)
    ours = {folder for folder in {w.path.parent for w in garbage} if folder.resolve() == folder}  # no link on the way
    return sorted((w for w in garbage if w.path.parent in ours), key=lambda w: (order.index(w.kind), str(w.path)))


def chosen(garbage: Iterable[Garbage], *, everything: bool) -> list[Garbage]:
    """What goes: with `everything` also what may be wanted again."""
    return [w for w in garbage if everything or w.kind not in ON_DEMAND]


def remove(store: Store, unwanted: Iterable[Garbage], over: Collection[Path] = ()) -> list[Garbage]:
    """Remove what is still garbage; returns what went. Raises StoreError where that is not allowed."""
    wanted, removed = {(w.kind, w.path) for w in unwanted}, []
    with locked(store.counting_on):  # no sweep plans with it meanwhile
        for item in find(store, over):
            if (item.kind, item.path) in wanted:
                _remove(item.path)
                removed.append(item)
    return removed


# -- what is needed


def _needs(store: Store, living: Iterable[Path]) -> dict[str, Needs]:
    """By key of trajectory or reference."""
    needs: dict[str, Needs] = defaultdict(Needs)
    for grid in store.grids():
        _read_plan(grid / "plan.parquet", needs)
    for folder in living:
        _read_work(folder / "work.json", needs)
    return dict(needs)


def _read_plan(path: Path, needs: dict[str, Needs]) -> None:
    try:
        table = tried(path, lambda: pq.read_table(path))
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path}: cannot be read ({type(error).__name__}), so nobody knows what it needs; "
                         "run the same `difgen sweep` again to write it") from None  # fmt: skip
    columns = [table[n].to_pylist() for n in table.column_names if n.startswith("result.")]
    lines = zip(*(table[n].to_pylist() for n in ("home", "step", "cell")), strict=True)
    for at, (key, step, cell) in enumerate(lines):
        need = needs[key]
        need.samples.add(cell)
        need.results[step].update(column[at] for column in columns if column[at] is not None)
        if step is not None:
            need.steps.add(step)
    for partner in json.loads((table.schema.metadata or {}).get(b"partners", b"[]")):  # what cells need of others
        needs[partner["home"]].samples.update({partner["samples"]} - {None})
        need = needs[partner["home"]]
        (need.states if partner.get("whole") else need.steps).add(partner["step"])


def _read_work(path: Path, needs: dict[str, Needs]) -> None:
    """What a submission's workers will look for."""
    work = read_json(path) or {}
    for unit in (*work.get("trainings", ()), *work.get("scorings", ())):
        need = needs[unit["home"]]
        need.awaited = True
        need.steps.update(unit.get("steps", ()))
        need.states.update(unit.get("states", ()))
        need.samples.update({unit["samples"]} if "samples" in unit else ())


def _submissions(root: Path) -> Iterator[Path]:
    for grid in _folders(root, "grids"):
        yield from _folders(grid, "submissions")


def _alive(folder: Path) -> bool:
    """Whether workers of a submission live, or may still be started."""
    if submission_file.is_closed(folder):
        return False
    working = (record.get("owner", {}) for record in submission_file.working(folder))
    launcher = read_json(folder / "launcher.json") or {}
    owners = (*working, submission_file.read(folder).get("owner"), launcher.get("owner"))
    return submission_file.receipt(folder) is not None or any(not is_dead(owner) for owner in owners if owner)


# -- what is garbage


def _of_folder(folder: RunFolder, need: Needs) -> Iterator[Garbage]:
    """In a trajectory or reference that is needed."""
    snapshots, results = folder.snapshots(), folder.results()
    scored = {step for step, keys in need.results.items() if step is not None and keys <= results}
    states = folder.states()
    if need.steps <= snapshots | scored and need.states <= states:
        steps = sorted(folder.checkpoints())
        yield from (_garbage("checkpoints", folder.checkpoint(s)) for s in steps[:-1])
        yield from (_garbage("last checkpoints", folder.checkpoint(s)) for s in steps[-1:])
    if need.awaited:
        return
    yield from (_garbage("snapshots", folder.snapshot(s)) for s in sorted(snapshots - need.steps))
    yield from (_garbage("states", folder.state(s)) for s in sorted(states - need.states))
    yield from (_garbage("scored snapshots", folder.snapshot(s)) for s in sorted(snapshots & scored))
    yield from (_garbage("samples", folder.samples(k)) for k in sorted(folder.sampled() - need.samples))


def _orphans(candidates: list[RunFolder], every: list[RunFolder], needs: dict[str, Needs]) -> Iterator[Garbage]:
    """Run folders that no plan names, and no named trajectory is made of: whole where there is no result, else the
    large parts, so that a plan that names it again finds it done."""
    inputs: set[str] = set()
    if candidates:
        inputs = {key for folder in every if folder.key in needs for key in folder.spec().get("recipe", {})}
    for folder in candidates:
        if folder.key in inputs:
            continue
        if not folder.results():
            yield _garbage("orphans", folder.path)
        else:
            yield from (_garbage("orphans", folder.path / part) for part in PARTS if (folder.path / part).is_dir())


def _temporary(root: Path, at_work: set[Path], now: float) -> Iterator[Garbage]:
    left_alone = set(map(str, at_work))
    for folder, folders, files in os.walk(root):
        if folder in left_alone:
            folders.clear()
            continue
        damaged = [name for name in (*folders, *files) if TEMPORARY.fullmatch(name)]
        folders[:] = [name for name in folders if name not in damaged]
        for path in (Path(folder) / name for name in damaged):
            if _age_seconds(path, now) > OLD_SECONDS:
                yield _garbage("temporary", path)


def _code(root: Path, living: Iterable[Path], now: float) -> Iterator[Garbage]:
    """Copies that no living submission names; a young one may belong to a submission that is being written."""
    used = {Path(str(submission_file.read(f).get("code", ""))).name for f in living}
    for path in _folders(root, "shared"):
        if CODE.fullmatch(path.name) and path.name not in used and _age_seconds(path, now) > OLD_SECONDS:
            yield _garbage("code", path)


def busy(folder: RunFolder, now: float) -> bool:
    """Whether somebody works in a run folder: an attempt that runs, whose owner is not known to be gone, and which has
    given a sign of life within a day."""
    if _age_seconds(folder.path / "attempts", now) > OLD_SECONDS:  # every sign of life puts a new file in its place
        return False
    running = ((u, r) for u, r in folder.last_attempts().items() if r["state"] == "running" and not is_dead(r["owner"]))
    return any(_age_seconds(folder.attempt(u, r.get("attempt", 0)), now) < OLD_SECONDS for u, r in running)


def _folders(parent: Path, room: str) -> list[Path]:
    """True folders below a room, which is a true folder itself."""
    folder = parent / room

    def act() -> list[Path]:
        if folder.is_symlink() or not folder.is_dir():
            return []
        with os.scandir(folder) as entries:
            inside = [e for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
        return sorted(Path(e.path) for e in inside)

    return tried(folder, act)


def _garbage(kind: str, path: Path) -> Garbage:
    return Garbage(kind, path, _size_bytes(path))


def _size_bytes(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return sum(_size_bytes(Path(folder, name)) for folder, _, files in os.walk(path) for name in files)
    try:
        return path.lstat().st_size
    except OSError:  # gone meanwhile
        return 0


def _age_seconds(path: Path, now: float) -> float:
    try:
        return now - path.lstat().st_mtime
    except OSError:
        return 0.0  # gone meanwhile


def disk_now(root: Path) -> float:
    """The time by the clock that stamps files here, which may not be this machine's."""
    try:
        with tempfile.NamedTemporaryFile(prefix=".probe.", dir=root) as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:
        return time.time()


def _remove(path: Path) -> None:
    """A folder takes another name first, so that nobody finds half of it."""
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            return
        aside = temporary_name(path)
        path.rename(aside)
        shutil.rmtree(aside)
    except OSError as error:
        raise explain(error, path) from error
