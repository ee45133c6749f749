"""From a grid to results: plan, submit what is missing, wait for it, and say how it ended."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from difgen_cli import config
from difgen_cli.engine import grid as grids
from difgen_cli.engine import launch
from difgen_cli.engine.cost import networks, sentences
from difgen_cli.engine.cost.forecast import Forecast, forecast
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.launch import submissions
from difgen_cli.engine.launch.launcher import LaunchRequest, SubmissionStatus, choose
from difgen_cli.engine.launch.reconciler import Reconciler
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.launch.worker_pool import WorkerPool, resolve_pool
from difgen_cli.engine.plan import Cell, Plan, pending, plan_table, planner, rounds
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plan.filters import filter_by
from difgen_cli.engine.plugins import Library, PluginError
from difgen_cli.engine.progress import Watch, wait
from difgen_cli.engine.store import Store, StoreError, notes
from difgen_cli.engine.store.files import locked, publish_text
from difgen_cli.format import counted

if TYPE_CHECKING:
    from rich.console import Console

LAST_SUBMISSIONS = 20  # from which a worker's start-up is known
ATTACH = "run the same command again to attach, `difgen status` shows them, `difgen cancel` ends them"
ENDED = {"done": 0, "failed": 1, "refused": 3, "interrupted": 130}


@dataclass(frozen=True)
class Planned:
    """A grid, its plan, and what of it the store lacks."""

    plan: Plan
    state: pending.Pending
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
    finder = Finder(store, library, config.data_root())
    try:
        with _garbage_collection_off():
            plan = planner.build(read, library, finder)
            networks.check(plan, finder.shapes(), library)
            plan.warnings.extend(finder.notes)
            return Planned(plan, survey(plan, store, filter_by(plan, only)), store, finder, plugins)
    except PluginError as error:
        raise GridError(str(error)) from None


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    """A plan is many small objects, and none of them is garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def survey(
    plan: Plan, store: Store, chosen: Callable[[Cell], bool], retried: frozenset[int] = frozenset()
) -> pending.Pending:
    """What of a plan the store lacks; older results count as stale. `retried`: cells whose failures are ignored."""

    @cache
    def earlier() -> dict[tuple[str, str], set[str]]:  # read only where something is missing
        from difgen_cli.engine.store import tables

        return tables.planned(store)

    return pending.survey(plan, store, chosen, earlier, retried)


def foresee(planned: Planned, pool: WorkerPool) -> Forecast:
    """The seconds and the order of the units that are left, on these workers, from finished work like it."""
    from difgen_cli.engine.cost import history
    from difgen_cli.engine.cost.estimate import Estimator

    store, finder = planned.store, planned.finder
    measured = history.read(store, finder.library, pool.device, pool.threads)
    workloads, kind = history.Workloads(finder.library), pool.kind if pool.device else None
    estimator = Estimator(planned.plan, store, workloads, measured, planned.plugins, kind, finder.shapes())
    overhead = history.overhead(submissions.last_worker_records(store, LAST_SUBMISSIONS), pool.kind)
    with _garbage_collection_off():
        return forecast(planned.state.work, estimator, pool.workers, overhead)


def hidden(options: Options) -> str | None:
    """Hide GPUs that are named here and cannot be used; a sentence on it, None where workers run elsewhere."""
    return launch.hide_unusable() if choose(options.cluster)[1].here else None


def pool_of(planned: Planned, options: Options) -> WorkerPool:
    """The workers that a sweep with these options would get."""
    profile = config.profile(options.profile, planned.plan.grid.file)
    return resolve_pool(options.cluster, options.workers, options.jobs_per_gpu or 1, profile)


def failures(planned: Planned) -> dict[int, str]:
    """The cells of a plan that have failed, each with its cause."""
    return survey(planned.plan, planned.store, lambda _: True).causes


def retry_failed(planned: Planned, only: Sequence[str] = (), *, release: bool) -> Planned:
    """Plan only what failed, of what --only names, and what that may decide; `release`: let workers try it again."""
    failed, tried = planned.state.to_retry(planned.plan, filter_by(planned.plan, only))
    if release:
        pending.release(planned.plan, planned.store, failed)
    return replace(planned, state=survey(planned.plan, planned.store, lambda cell: cell.index in tried, failed))


def forgiven(planned: Planned) -> Planned:
    """The same, with all that failed to be tried again."""
    if not planned.state.counts["failed"]:
        return planned
    pending.release(planned.plan, planned.store, planned.state.causes)
    return replace(planned, state=survey(planned.plan, planned.store, lambda _: True))


def record(planned: Planned) -> None:
    """Store the grid as it was read, and its plan, in the run directory."""
    planned.store.check_writable()
    planned.finder.save()
    publish_text(planned.folder / "grid.yaml", planned.plan.grid.text)
    rounds.record(planned.folder, planned.plan, planned.store)
    plan_table.write(planned.folder / "plan.parquet", planned.plan)


@dataclass(frozen=True)
class Options:
    """How to run: flags of `sweep` that are no part of a study."""

    cluster: str = "auto"
    workers: int | None = None
    jobs_per_gpu: int | None = 1  # None: as many as a probe finds best
    detach: bool = False
    profile: str | None = None
    anew: bool = False  # start workers even where others have this work: they do not try again what failed
    annotation: notes.Annotation | None = None  # what a person notes of this grid


def run(planned: Planned, options: Options, console: Console, watch: Watch = wait) -> str:
    """Submit the work and wait for it; returns done, failed, refused, interrupted or detached.

    `watch` returns when a submission has ended, and may show its progress until then.
    """
    from difgen_cli.engine.store import tables

    ended = _round(planned, options, console, watch)
    if ended != "done":
        return ended
    tables.fold(planned.store)  # sets results aside that are cut short
    state = survey(planned.plan, planned.store, lambda cell: cell.index in planned.state.wanted)
    options = replace(options, annotation=None)  # it is kept once
    return _round(replace(planned, state=state), options, console, watch) if state.work else ended


def _round(planned: Planned, options: Options, console: Console, watch: Watch) -> str:
    """Submit what is missing and wait for it; attach where workers of an earlier command have all of it."""
    if note := hidden(options):
        console.print(f"note: {note}", style="yellow")
    pool, reconciler = pool_of(planned, options), Reconciler(lambda: submissions.every(planned.store))
    config.compiling()  # an unknown value is refused here, before a worker meets it
    submission = _running(planned, reconciler)  # it also records dead workers, for the plan that follows
    if submission is not None and not options.anew:
        notes.add(planned.folder, options.annotation)
        if options.detach:
            console.print(f"workers are already running ({submission.name}); {ATTACH}")
            return "detached"
        console.print(f"workers are already running ({submission.name}): attached; Ctrl-C detaches, they continue")
        return _wait_for(planned, submission, reconciler, console, watch, started_here=False)
    planned = _recorded(planned)
    notes.add(planned.folder, options.annotation)
    if options.jobs_per_gpu is None and pool.launcher == "local":
        options = replace(options, jobs_per_gpu=_probed(planned, options, console))
        pool = pool_of(planned, options)
    expected = foresee(planned, pool)
    console.print(f"to do: {sentences.expected(expected)}")
    launcher = choose(pool.launcher)[1]
    submission = launcher.submit(_request(planned, expected, options, console))
    if launcher.foreground:
        return _outcome(planned, submission, console)
    if options.detach:
        console.print(f"detached: {counted(submission.intent['workers'], 'worker')} running; {ATTACH}")
        return "detached"
    return _wait_for(planned, submission, reconciler, console, watch)


def _recorded(planned: Planned) -> Planned:
    """Store grid and plan, then survey once more: what `gc` has removed meanwhile is made again, and from now on it
    removes nothing that this plan needs.
    """
    pending.set_aside(planned.store, planned.state)
    with locked(planned.store.counting_on):
        record(planned)
        return replace(planned, state=survey(planned.plan, planned.store, lambda c: c.index in planned.state.wanted))


def _running(planned: Planned, reconciler: Reconciler) -> Submission | None:
    """A living submission of this grid that has all that is left to do."""
    wanted = set(planned.state.work.steps())
    for status in reconciler.poll():
        submission = status.submission
        ours = status.is_known and status.alive and submission.grid == planned.folder
        if ours and wanted <= set(submission.work.steps()):
            return submission
    return None


def _request(planned: Planned, expected: Forecast, options: Options, console: Console) -> LaunchRequest:
    work = (planned.store, planned.folder, expected.work, planned.plugins)
    write = partial(submissions.write, *work, expected=sentences.as_dict(expected))
    grid, profile = planned.plan.grid, config.profile(options.profile, planned.plan.grid.file)
    return LaunchRequest(
        grid.name, planned.folder, expected, options.workers, options.jobs_per_gpu, profile, write, console.print
    )


def _probed(planned: Planned, options: Options, console: Console) -> int:
    """How many workers share one GPU, by a probe of the plan's own training; 1 where there is no GPU."""
    from difgen_cli.engine.cost import packing

    gpus = launch.visible_gpus()
    if not gpus:
        return 1
    console.print(f"probing how many workers share one GPU: at most {packing.BUDGET_SECONDS:.0f} s")
    probe = packing.jobs_per_device(planned.state.work, planned.store, planned.plugins, gpus, options.workers)
    console.print(f"{probe.jobs} for each GPU: {probe.why}")
    return probe.jobs


def _wait_for(
    planned: Planned, submission: Submission, reconciler: Reconciler, console: Console, watch: Watch, *,
    started_here: bool = True,
) -> str:  # fmt: skip
    """Wait until the work is done or its workers have ended; Ctrl-C asks workers to save that this command started."""
    launcher = choose(submission.launcher)[1]

    def alive() -> list[SubmissionStatus]:
        return [status for status in reconciler.poll() if status.submission.name == submission.name and status.alive]

    try:
        watch(planned.store, alive)
        while launcher.here and alive():
            time.sleep(0.1)  # the last words of workers on this machine
    except KeyboardInterrupt:
        if not launcher.here or not started_here:
            what = "workers" if launcher.here else "jobs"
            console.print(f"detached: the {what} continue; {ATTACH}")
            return "detached"
        console.print("asking the workers to save and stop; press Ctrl-C again to leave without waiting")
        launcher.cancel([submission])
        with suppress(KeyboardInterrupt):
            while alive():
                time.sleep(0.1)
        return "interrupted"
    return _outcome(planned, submission, console)


def _outcome(planned: Planned, submission: Submission, console: Console) -> str:
    """How a sweep ended, judged by the store, not by its workers."""
    left, wanted = survey(planned.plan, planned.store, lambda _: True), planned.state.wanted
    missing = [m for i, m in enumerate(left.marks) if m not in ("done", rounds.NOT_NEEDED) and i in wanted]
    records = submission.worker_records()
    if not missing:
        if took := sentences.beside(submission.intent.get("expected") or {}, records, len(submission.work)):
            console.print(took)
        return "done"
    if "failed" in missing:
        return "failed"
    if any(record.get("state") == "interrupted" for record in records):
        return "interrupted"
    if cause := next((record["cause"] for record in records if record.get("cause")), None):
        raise StoreError(str(cause))
    raise launch.LaunchError(f"the workers ended before the work was done: {submission.last_words()}")
