"""From a grid to results: plan, submit what is missing, watch, and say how it ended."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from difgen_cli import config
from difgen_cli.engine import grid as grids
from difgen_cli.engine import launch
from difgen_cli.engine.cost import networks, sentences
from difgen_cli.engine.cost.forecast import Forecast, forecast
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.launch import submissions
from difgen_cli.engine.launch.launcher import Launcher, LaunchRequest, choose
from difgen_cli.engine.launch.reconciler import Reconciler, SubmissionStatus
from difgen_cli.engine.launch.submissions import LaunchTerms, Submission
from difgen_cli.engine.launch.worker_pool import WorkerPool, resolve_pool
from difgen_cli.engine.plan import Cell, Plan, pending, plan_table, planner
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plan.filters import filter_by
from difgen_cli.engine.plugins import Library, PluginError
from difgen_cli.engine.store import Store, StoreError
from difgen_cli.engine.store.files import locked, publish
from difgen_cli.format import counted

if TYPE_CHECKING:
    from rich.console import Console

LAST_SUBMISSIONS = 20  # from which a worker's start-up is known
LOOK_AGAIN = "the same command looks on, `difgen status` shows them, `difgen cancel` ends them"
ENDED = {"done": 0, "failed": 1, "refused": 3, "interrupted": 130}


@dataclass(frozen=True)
class Planned:
    """A grid held against the store."""

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
        with _nothing_collected():
            made = planner.build(read, library, finder)
            networks.check(made, finder.shapes(), library)
            made.warnings.extend(finder.notes)
            return Planned(made, survey(made, store, filter_by(made, only)), store, finder, plugins)
    except PluginError as error:
        raise GridError(str(error)) from None


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """A plan is many small objects, and none of them is garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def survey(
    made: Plan, store: Store, chosen: Callable[[Cell], bool], forgiven: frozenset[int] = frozenset()
) -> pending.Pending:
    """The plan held against the store, older results known as stale."""

    @cache
    def there() -> dict[tuple[str, str], set[str]]:  # read where something is missing
        from difgen_cli.engine.store import tables

        return tables.planned(store)

    return pending.survey(made, store, chosen, there, forgiven)


def foresee(planned: Planned, pool: WorkerPool) -> Forecast:
    """What is left to do on these workers: seconds and order of its units, from finished work like it."""
    from difgen_cli.engine.cost import history
    from difgen_cli.engine.cost.estimate import Estimator

    store, finder = planned.store, planned.finder
    measured = history.read(store, finder.library, pool.device, pool.threads)
    machine = networks.Machine(pool.kind, pool.device, pool.threads) if pool.device else None
    workloads = history.Workloads(finder.library)
    estimator = Estimator(planned.plan, store, workloads, measured, planned.plugins, machine, finder.shapes())
    overhead = history.overhead(submissions.last_worker_records(store, LAST_SUBMISSIONS), pool.kind)
    with _nothing_collected():
        return forecast(planned.state.work, estimator, pool.workers, overhead)


def hidden(options: Options) -> str | None:
    """A sentence on GPUs that are named here and cannot be used, which are hidden; None where workers run elsewhere."""
    return launch.hide_unusable() if choose(options.cluster)[1].here else None


def pool_of(planned: Planned, options: Options) -> WorkerPool:
    """The workers that a sweep with these options would get."""
    said = config.profile(options.profile, planned.plan.grid.file)
    return resolve_pool(options.cluster, options.workers, options.jobs_per_gpu or 1, said)


def failures(planned: Planned) -> dict[int, str]:
    """The cells of a plan that have failed by now, each with its cause."""
    return survey(planned.plan, planned.store, lambda _: True).causes


def retry_failed(planned: Planned, only: Sequence[str] = (), *, release: bool) -> Planned:
    """Plan what failed alone, of what --only names; `release`: and let workers try it again."""
    chosen = filter_by(planned.plan, only)
    failed = frozenset(i for i in planned.state.causes if chosen(planned.plan.cells[i]))
    if release:
        pending.release(planned.plan, planned.store, failed)
    state = survey(planned.plan, planned.store, lambda cell: cell.index in failed, failed)
    return Planned(planned.plan, state, planned.store, planned.finder, planned.plugins)


def record(planned: Planned) -> None:
    """Keep the grid as read and its plan beside the results."""
    planned.store.check_writable()
    planned.finder.save()
    text = planned.plan.grid.text
    publish(planned.folder / "grid.yaml", lambda p: _write(p, text))
    plan_table.write(planned.folder / "plan.parquet", planned.plan)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Options:
    """How to run: flags of `sweep` that are no part of a study."""

    cluster: str = "auto"
    workers: int | None = None
    jobs_per_gpu: int | None = 1  # None: as many as a probe finds best
    detach: bool = False
    profile: str | None = None
    anew: bool = False  # start workers even where some are at this very work: what failed is not theirs any more


def run(planned: Planned, options: Options, console: Console) -> str:
    """Submit the work and see it through; returns done, failed, refused, interrupted or detached."""
    from difgen_cli.engine.store import tables

    ended = _round(planned, options, console)
    if ended != "done":
        return ended
    tables.fold(planned.store)  # sets results aside that are cut short
    state = survey(planned.plan, planned.store, lambda cell: cell.index in planned.state.wanted)
    return _round(replace(planned, state=state), options, console) if state.work else ended


def _round(planned: Planned, options: Options, console: Console) -> str:
    """Submit what is missing and see it through; where workers of an earlier command are at all of it, only look on."""
    if note := hidden(options):
        console.print(f"note: {note}", style="yellow")
    pool, reconciler = pool_of(planned, options), Reconciler(lambda: submissions.every(planned.store))
    config.compiling()  # a word that no worker knows is refused here
    at_work = _at_work(planned, reconciler)
    if at_work is not None and not options.anew:
        console.print(f"workers are at it ({at_work.name}): looking on; Ctrl-C leaves them to it")
        return "detached" if options.detach else _watch(planned, at_work, reconciler, console, begun_here=False)
    planned = _settled(planned)
    if options.jobs_per_gpu is None and pool.launcher == "local":
        options = replace(options, jobs_per_gpu=_probed(planned, options, console))
        pool = pool_of(planned, options)
    found = foresee(planned, pool)
    console.print(f"to do: {sentences.expected(found)}")
    launcher = choose(pool.launcher)[1]
    submission = launcher.submit(_request(planned, found, options, console))
    if launcher.foreground:
        return _outcome(planned, _states(submission), submission, console)
    if options.detach:
        console.print(f"{counted(submission.said['workers'], 'worker')} left to it; {LOOK_AGAIN}")
        return "detached"
    return _watch(planned, submission, reconciler, console)


def _settled(planned: Planned) -> Planned:
    """The grid and its plan kept, then held against the store once more: what `gc` has removed since is made again,
    and from now on it removes nothing that this plan needs."""
    pending.set_aside(planned.store, planned.state)
    with locked(planned.store.counting_on):
        record(planned)
        return replace(planned, state=survey(planned.plan, planned.store, lambda c: c.index in planned.state.wanted))


def _at_work(planned: Planned, reconciler: Reconciler) -> Submission | None:
    """A living submission of this grid that has all that is left to do."""
    wanted = set(planned.state.work.steps())
    for standing in reconciler.look():
        submission = standing.submission
        ours = standing.known and standing.alive and submission.grid == planned.folder
        if ours and wanted <= set(submission.work.steps()):
            return submission
    return None


def _submit(planned: Planned, found: Forecast, terms: LaunchTerms) -> Submission:
    terms = replace(terms, expected=sentences.as_dict(found))
    return submissions.write(planned.store, planned.folder, found.work, planned.plugins, terms)


def _request(planned: Planned, found: Forecast, options: Options, console: Console) -> LaunchRequest:
    grid, profile = planned.plan.grid, config.profile(options.profile, planned.plan.grid.file)
    return LaunchRequest(
        grid.name, planned.folder, found, options.workers, options.jobs_per_gpu, profile,
        lambda terms: _submit(planned, found, terms), console.print,
    )  # fmt: skip


def _probed(planned: Planned, options: Options, console: Console) -> int:
    """How many workers share one GPU, by a probe of the plan's own training; 1 where there is no GPU."""
    from difgen_cli.engine.cost import packing

    gpus = launch.visible_gpus()
    if not gpus:
        return 1
    console.print(f"probing how many workers share one GPU: at most {packing.BUDGET_SECONDS:.0f} s")
    found = packing.jobs_per_device(planned.state.work, planned.store, planned.plugins, gpus, options.workers)
    console.print(f"{found.jobs} for each GPU: {found.why}")
    return found.jobs


def _states(submission: Submission) -> list[str]:
    """How the workers of a submission ended, by their own records."""
    return [str(record.get("state")) for record in submission.worker_records()]


def _lives(launcher: Launcher, submission: Submission) -> bool:
    """Whether workers of a submission are known to be alive."""
    return any(o.status.known and o.status.alive for o in launcher.poll([submission]))


def _watch(
    planned: Planned, submission: Submission, reconciler: Reconciler, console: Console, *, begun_here: bool = True
) -> str:
    """Look on until the work is done or its workers have ended; Ctrl-C asks those to save that this command began."""
    from difgen_cli import progress

    launcher = choose(submission.launcher)[1]

    def standing() -> SubmissionStatus | None:
        return next((s for s in reconciler.look() if s.submission.name == submission.name), None)

    try:
        progress.watch(planned.store, submission.work, console, standing)
        while launcher.here and _lives(launcher, submission):
            time.sleep(0.1)  # the last words of workers on this machine
    except KeyboardInterrupt:
        if not launcher.here or not begun_here:
            what = "workers" if launcher.here else "jobs"
            console.print(f"the {what} run on; {LOOK_AGAIN}")
            return "detached"
        console.print("asking the workers to save; Ctrl-C again leaves them to it")
        launcher.cancel([submission])
        with suppress(KeyboardInterrupt):
            while _lives(launcher, submission):
                time.sleep(0.1)
        return "interrupted"
    return _outcome(planned, _states(submission), submission, console)


def _outcome(planned: Planned, states: Sequence[str], submission: Submission, console: Console) -> str:
    """How a sweep ended, judged by the store, not by its workers."""
    left = survey(planned.plan, planned.store, lambda _: True)
    wanted = planned.state.wanted
    lacking = [
        c for c, mark in zip(planned.plan.cells, left.marks, strict=True) if mark != "done" and c.index in wanted
    ]
    if not lacking:
        took = sentences.beside(
            submission.said.get("expected") or {}, submission.worker_records(), len(submission.work)
        )
        console.print(*([took] if took else []))
        return "done"
    if any(left.marks[c.index] == "failed" for c in lacking):
        return "failed"
    if "interrupted" in states:
        return "interrupted"
    for worker_record in submission.worker_records():
        if cause := worker_record.get("cause"):
            raise StoreError(str(cause))
    raise launch.LaunchError(f"the workers ended before the work did: {submission.last_words()}")
