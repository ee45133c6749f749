"""From a grid to results: plan, submit what is missing, watch, and say how it ended."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli import grid as grids
from difgen_cli import launch, places
from difgen_cli.grid.document import GridError
from difgen_cli.grid.values import filter_of
from difgen_cli.plan import Cell, Plan, ledger, planner, work
from difgen_cli.plan.facts import Finder
from difgen_cli.plugins import Library, PluginError
from difgen_cli.store import Store, StoreError
from difgen_cli.store.files import publish, read_json

if TYPE_CHECKING:
    from rich.console import Console

ENDED = {"done": 0, "failed": 1, "refused": 3, "interrupted": 130}


@dataclass(frozen=True)
class Planned:
    """A grid held against the store."""

    plan: Plan
    state: work.State
    store: Store
    finder: Finder
    plugins: Path | None

    @property
    def folder(self) -> Path:
        """The grid's folder in the run directory."""
        return self.store.grid(self.plan.grid.name, self.plan.grid.hash)


def prepare(file: Path, runs: Path, overrides: Mapping[str, str], only: Sequence[str] = ()) -> Planned:
    """Read and plan a grid; touches nothing. Raises GridError."""
    read = grids.read(file, overrides)
    folder = file.parent / "plugins"
    plugins = folder.absolute() if folder.is_dir() else None
    store, library = Store(runs), Library(plugins)
    finder = Finder(store, library, places.data_root())
    gc.disable()  # a plan is many small objects, and none of them is garbage
    try:
        made = planner.build(read, library, finder)
        return Planned(made, survey(made, store, _chosen(made, only)), store, finder, plugins)
    except PluginError as error:
        raise GridError(str(error)) from None
    finally:
        gc.enable()


def survey(made: Plan, store: Store, chosen: Callable[[Cell], bool]) -> work.State:
    """The plan held against the store, older results known as stale."""
    from difgen_cli.store import tables

    return work.survey(made, store, chosen, tables.stale(store) if store.tables.exists() else frozenset())


def _chosen(made: Plan, only: Sequence[str]) -> Callable[[Cell], bool]:
    """The filter that --only asks for: reference rows pass where they do not have the setting."""
    tests = [filter_of(text) for text in only]
    if not tests:
        return lambda _: True
    for path, _ in tests:
        if not any(path in cell.axis_values() or path in cell.settings() for cell in made.models):
            raise GridError(f"--only {path}: no cell of this grid has this setting")

    def chosen(cell: Cell) -> bool:
        values = cell.settings() | cell.axis_values() | {"seed": cell.seed}
        return all(path not in values or holds(values[path]) for path, holds in tests)

    if not any(chosen(cell) for cell in made.models):
        raise GridError("--only: no cell of this grid matches")
    return chosen


def retry_failed(planned: Planned, only: Sequence[str]) -> Planned:
    """Let failed units be tried again, and plan anew."""
    work.release(planned.plan, planned.store, planned.state)
    state = survey(planned.plan, planned.store, _chosen(planned.plan, only))
    return Planned(planned.plan, state, planned.store, planned.finder, planned.plugins)


def record(planned: Planned) -> None:
    """Keep the grid as read and its plan beside the results."""
    planned.store.check_writable()
    planned.finder.save()
    text = planned.plan.grid.text
    publish(planned.folder / "grid.yaml", lambda p: _write(p, text))
    ledger.write(planned.folder / "plan.parquet", planned.plan)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Options:
    """How to run: flags of `sweep` that are no part of a study."""

    cluster: str = "auto"
    workers: int | None = None
    jobs_per_gpu: int = 1
    detach: bool = False
    profile: str | None = None


def run(planned: Planned, options: Options, console: Console) -> str:
    """Submit the work and see it through; returns done, failed, refused, interrupted or detached."""
    cluster = options.cluster
    if cluster == "auto":
        from difgen_cli.launch import slurm

        cluster = "slurm" if slurm.available() else "local"
    profile = places.profile(options.profile, planned.plan.grid.file)
    record(planned)
    if cluster == "inline":
        return _inline(planned, options, console)
    return _slurm(planned, options, profile, console) if cluster == "slurm" else _local(planned, options, console)


def _inline(planned: Planned, options: Options, console: Console) -> str:
    from difgen_cli.launch import inline

    slots = launch.local_slots(1, 1)
    folder = launch.write_submission(
        planned.store, planned.folder, planned.state.work, planned.plugins, slots.threads, 1
    )
    ended = inline.run(folder, slots.devices[0], lambda line: console.print(line, highlight=False, markup=False))
    return _outcome(planned, [ended], folder)


def _local(planned: Planned, options: Options, console: Console) -> str:
    from difgen_cli import view
    from difgen_cli.launch import local

    todo = planned.state.work
    slots = launch.local_slots(options.workers, options.jobs_per_gpu)
    units = len(todo.trainings) + len(todo.scorings)
    slots = launch.Slots(slots.devices[:units], slots.threads)
    folder = launch.write_submission(
        planned.store, planned.folder, todo, planned.plugins, slots.threads, len(slots.devices)
    )
    process = local.start(folder, slots)
    if options.detach:
        console.print(f"{len(slots.devices)} workers run on; look again with the same command")
        return "detached"
    try:
        view.watch(planned.store, todo, console, lambda: process.poll() is None)
    except KeyboardInterrupt:
        console.print("asking the workers to save; Ctrl-C again leaves them to it", highlight=False)
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        with suppress(KeyboardInterrupt):
            process.wait()
        return "interrupted"
    badges = [read_json(p) or {} for p in (folder / "workers").glob("*.json")]
    return _outcome(planned, [b.get("state", "running") for b in badges], folder)


def _slurm(planned: Planned, options: Options, profile: dict[str, Any], console: Console) -> str:
    from difgen_cli import view
    from difgen_cli.launch import slurm

    todo, workers = planned.state.work, options.workers or 8
    workers = min(workers, len(todo.trainings) + len(todo.scorings))
    threads = int(profile.get("cpus", 1))
    folder = launch.write_submission(planned.store, planned.folder, todo, planned.plugins, threads, workers)
    code = Path(str((read_json(folder / "submission.json") or {})["code"]))
    ids = slurm.start(folder, workers, threads, profile, code, planned.plan.grid.name)
    console.print(f"submitted {len(ids)} workers as job {ids[0].partition('_')[0]}", highlight=False)
    if options.detach:
        return "detached"
    try:
        view.watch(planned.store, todo, console, lambda: slurm.pending(ids[0].partition("_")[0]))
    except KeyboardInterrupt:
        console.print("the jobs run on; look again with the same command", highlight=False)
        return "detached"
    return _outcome(planned, [], folder)


def _outcome(planned: Planned, states: Sequence[str], folder: Path) -> str:
    """How a sweep ended, judged by the store, not by its workers."""
    left = survey(planned.plan, planned.store, lambda _: True)
    wanted = {unit.samples for unit in planned.state.work.scorings}
    lacking = [
        c for c, mark in zip(planned.plan.cells, left.marks, strict=True) if mark != "done" and c.samples in wanted
    ]
    if not lacking:
        return "done"
    if any(left.marks[c.index] == "failed" for c in lacking):
        return "failed"
    if "interrupted" in states:
        return "interrupted"
    for path in (folder / "workers").glob("*.json"):
        if cause := (read_json(path) or {}).get("cause"):
            raise StoreError(str(cause))
    raise launch.LaunchError(f"the workers ended before the work did: {_last_words(folder)}")


def _last_words(folder: Path) -> str:
    """The last line that a worker wrote, and where to read on."""
    logs = sorted((folder / "log").glob("*_log.out"), key=lambda p: p.stat().st_mtime)
    lines = logs[-1].read_text(encoding="utf-8", errors="replace").split("\n") if logs else []
    said = next(
        (line.strip() for line in reversed(lines) if line.strip() and not line.startswith("submitit ")), "nothing"
    )
    return f"{said[:300]} (all of it in {folder / 'log'})"
