"""What is left to do: the plan minus the store, as units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from difgen_cli.engine.plan import Cell, Dependency, Plan, post_training, rounds, trainings
from difgen_cli.engine.plan.metric import FOLLOWING, inputs_of
from difgen_cli.engine.plan.rounds import NOT_NEEDED, Rounds
from difgen_cli.engine.plan.sections import Section
from difgen_cli.engine.plan.work import Call, MetricSpec, Scoring, Work
from difgen_cli.engine.store import RunFolder, Store, failures, untrusted
from difgen_cli.engine.store.access import exists
from difgen_cli.engine.store.untrusted import Distrusted, Rest

OlderResults = Mapping[tuple[str, str], set[str]]  # (identity of a cell, metric) -> keys of its results


@dataclass(frozen=True)
class Pending:
    """How far a plan has come: a mark for each cell, the units that are left, and why."""

    marks: list[str]  # done, new, failed, stale, not needed; one per cell of the plan
    causes: dict[int, str]  # cell -> why it failed
    work: Work
    retrained: list[str]  # what was trained and is trained again, since it was not kept: a sentence each
    wanted: frozenset[int] = frozenset()  # the cells that the work is for
    distrusted: Distrusted = field(default_factory=Distrusted)  # what lies there and does not count
    stored: StoredRuns | None = None  # what the plan was held against
    rounds: Rounds | None = None  # how far it is refined, where its grid refines

    @property
    def counts(self) -> Counter[str]:
        """How many cells have each mark."""
        return Counter(self.marks)

    def to_retry(self, plan: Plan, chosen: Callable[[Cell], bool]) -> tuple[frozenset[int], frozenset[int]]:
        """The chosen cells that failed; these, and the chosen ones that may be needed once they have not failed."""
        failed = frozenset(index for index in self.causes if chosen(plan.cells[index]))
        held = (i for i, mark in enumerate(self.marks) if mark == NOT_NEEDED and chosen(plan.cells[i]))
        return failed, failed.union(held)


def survey(
    plan: Plan,
    store: Store,
    chosen: Callable[[Cell], bool] = lambda _: True,
    older_results: Callable[[], OlderResults] = dict,
    forgiven: frozenset[int] = frozenset(),
) -> Pending:
    """Hold the plan against the store: one listing and one small file per trajectory, and those of failed units.

    `older_results`: results of whichever code, asked for where something is missing. `forgiven`: cells that failed and
    are to be tried again.
    """
    store.refresh()
    refined = rounds.of(plan, store)
    may_run = refined.may_run(plan, chosen) if refined else chosen
    stored = StoredRuns(plan, store, untrusted.find(store, plan.trajectories, lambda: _rests(plan)))
    scorings: dict[tuple[str, str], tuple[Cell, dict[str, MetricSpec]]] = {}
    needed: dict[tuple[str, str], set[str]] = {}
    waiting: set[tuple[str, str]] = set()
    steps: dict[str, set[int]] = {}
    assigned: set[str] = set()
    wanted: set[int] = set()
    marks: list[str] = []
    causes: dict[int, str] = {}
    for cell in plan.cells:
        run, at = stored.of(cell), (cell.run_key, cell.samples)
        missing = [m for m, key in cell.metrics.items() if key not in run.results]
        weights, partners = needs(cell, missing, run) if missing else (False, [])
        others = [(name, other) for name in partners for other in stored.awaited(cell.partners[name])]
        idle = bool(missing and refined and refined.not_needed(cell.index))
        tried = missing and cell.index not in forgiven and not idle
        untrained = weights and cell.step is not None and cell.step not in run.snapshots
        behind = plan.behind(cell.run_key) if untrained else ()
        cause = (run.failure(cell) or stored.failure([*others, *behind])) if tried else None
        marks.append(NOT_NEEDED if idle else _mark(cell, run, missing, cause, older_results))
        if cause:
            causes[cell.index] = cause
        if not missing or cause or not may_run(cell):
            continue
        wanted.add(cell.index)
        if cell.step is not None and weights:
            steps.setdefault(cell.run_key, set()).add(cell.step)
            waiting.add(at)
        needed.setdefault(at, set()).update(partners)
        for _, other in others:
            steps.setdefault(other.run_key, set()).add(other.step or 0)
        fresh = {cell.metrics[m]: _measure(cell, m) for m in missing if cell.metrics[m] not in assigned}
        assigned |= set(fresh)
        if fresh:
            scorings.setdefault(at, (cell, {}))[1].update(fresh)
    lacking, retrained = trainings.lacking(plan, steps, stored)
    ordered = [_scoring(plan, cell, metrics, at in waiting, needed[at]) for at, (cell, metrics) in scorings.items()]
    refinement = refined.refinement if refined else None
    work = Work(lacking, ordered, plan.recipes, refinement) if lacking or ordered else Work()
    return Pending(marks, causes, work, retrained, frozenset(wanted), stored.distrusted, stored, refined)


def _mark(
    cell: Cell, run: StoredRun, missing: list[str], cause: str | None, older_results: Callable[[], OlderResults]
) -> str:
    if not missing:
        return "done"
    if cause:
        return "failed"
    if run.stale(cell.metrics[m] for m in missing):
        return "stale"
    identity, older = cell.identity(), older_results()
    old = any(older.get((identity, metric), set()) - {cell.metrics[metric]} for metric in missing)
    return "stale" if old else "new"


def _rests(plan: Plan) -> Iterator[Rest]:
    """What of a plan's cells rests on the weights of others."""
    for cell in (c for c in plan.cells if c.partners):
        guided = {o.run_key for name, p in cell.partners.items() if name.startswith("guide.") for o in p.all()}
        for name, key in cell.metrics.items():
            metric = cell.scoring[name]
            beside = {o.run_key for role, p in cell.partners.items() if role in metric.inputs for o in p.all()}
            steered = ({"samples"} | FOLLOWING) & set(metric.inputs) or metric.guided
            yield Rest(cell.run_key, frozenset({key}), frozenset(), frozenset(beside | guided if steered else beside))
        yield Rest(cell.run_key, frozenset(), frozenset({cell.samples}), frozenset(guided))
        for other in (o for p in cell.partners.values() for o in p.all() if o.partners and o.samples):
            others = frozenset(o.run_key for o in other.all()) - {other.run_key}
            yield Rest(other.run_key, frozenset(), frozenset({other.samples or ""}), others)


class StoredRuns:
    """The folders of a plan's trajectories and references."""

    def __init__(self, plan: Plan, store: Store, distrusted: Distrusted) -> None:
        self.plan, self.store, self.distrusted = plan, store, distrusted
        self.runs: dict[str, StoredRun] = {}

    def of(self, cell: Cell) -> StoredRun:
        return self.runs.get(cell.run_key) or self._stored(cell.run_key, _run_folder(self.plan, self.store, cell))

    def trajectory(self, key: str) -> StoredRun:
        """The folder of a trajectory, by its key."""
        return self.runs.get(key) or self._stored(key, self.store.run_folder(key, self.plan.trajectories[key].slug))

    def _stored(self, key: str, folder: RunFolder) -> StoredRun:
        return self.runs.setdefault(key, StoredRun(key, folder, self.distrusted))

    def awaited(self, other: Dependency) -> Iterator[Dependency]:
        """Whose weights are needed first: none where the samples are there."""
        return other.awaited(lambda o: o.samples in self.trajectory(o.run_key).sampled)

    def failure(self, others: Iterable[tuple[str, Dependency]]) -> str | None:
        """Why weights that a cell waits for will not come, if their last attempt says so."""
        for name, other in others:
            run = self.trajectory(other.run_key)
            cause = run.cause("train") if other.step not in run.weights(whole=other.whole) else None
            if cause is not None:
                return f"{name}: {cause}"
        return None


class StoredRun:
    """What lies in the folder of one trajectory or reference, and counts; listed once."""

    def __init__(self, key: str, folder: RunFolder, distrusted: Distrusted) -> None:
        self.key, self.folder, self.distrusted = key, folder, distrusted
        self.whole = key not in distrusted.folders
        self.left_out = distrusted.results(key) if distrusted else set()
        self.results = folder.results() - self.left_out if self.whole and exists(folder.path) else set()

    def stale(self, keys: Iterable[str]) -> bool:
        """Whether any of these results is there, or could be, of weights that do not count."""
        return not self.whole or not self.left_out.isdisjoint(keys)

    @cached_property
    def snapshots(self) -> set[int]:
        return self.folder.snapshots() if self.whole else set()

    @cached_property
    def states(self) -> set[int]:
        return self.folder.states() if self.whole else set()

    def weights(self, *, whole: bool) -> set[int]:
        """The steps whose state is here, or whose averaged weights are."""
        return self.states if whole else self.snapshots

    @cached_property
    def sampled(self) -> set[str]:
        return self.folder.sampled() - self.distrusted.samples(self.key) if self.whole else set()

    @cached_property
    def attempts(self) -> dict[str, dict[str, Any]]:
        return self.folder.last_attempts() if self.whole else {}

    def checkpoint_before(self, steps: Iterable[int], states: Iterable[int]) -> int:
        """The furthest checkpoint from which snapshots and states can be made; 0 where there is none.

        A checkpoint at the very step of a state is that state.
        """
        last = min((*(step - 1 for step in steps), *states))
        return max((s for s in self.folder.checkpoints() if s <= last), default=0) if self.whole else 0

    def failure(self, cell: Cell) -> str | None:
        """Why a cell without all its results failed, if its last attempt says so."""
        cause = self.cause(f"score-{cell.samples}")
        return self.cause("train") if cause is None and cell.step not in self.snapshots else cause

    def cause(self, unit: str) -> str | None:
        """Why the last attempt at a unit failed; None where it did not."""
        return failures.cause(self.attempts.get(unit, {}))


def needs(cell: Cell, missing: Iterable[str], run: StoredRun) -> tuple[bool, list[str]]:
    """Whether missing results ask for the weights, and for which partners: those of guidance where it is followed."""
    metrics = [cell.scoring[m] for m in missing]
    inputs = inputs_of(metrics)
    drawn = bool(FOLLOWING & inputs) or ("samples" in inputs and cell.samples not in run.sampled)
    guided, weights = drawn or any(metric.guided for metric in metrics), drawn or "denoiser" in inputs
    by_section = {"guide": guided, post_training.KIND: weights}
    partners = [name for name in cell.partners if by_section.get(name.partition(".")[0], name in inputs)]
    return weights, partners


def _measure(cell: Cell, metric: str) -> MetricSpec:
    planned = cell.scoring[metric]
    keys = (recipe.key if recipe else None for recipe in (planned.features, planned.against, planned.unlearn))
    return MetricSpec(metric, cell.metrics[metric], planned.section.changed, *keys)


def _scoring(plan: Plan, cell: Cell, metrics: dict[str, MetricSpec], weights: bool, needed: set[str]) -> Scoring:
    return Scoring(
        cell.kind,
        cell.run_key,
        plan.slug(cell),
        cell.step,
        cell.snapshot,
        cell.samples,
        weights,
        _call(cell.sampler),
        {name: _call(section) for name, section in cell.guidance.terms.items()},
        metrics,
        {name: other for name, other in cell.partners.items() if name in needed},
        cell.groups,
    )


@cache
def _call(section: Section) -> Call:
    return Call(section.name, section.changed, section.own)


def _run_folder(plan: Plan, store: Store, cell: Cell) -> RunFolder:
    return store.run_folder(cell.run_key, plan.slug(cell), reference=cell.kind != "model")


def set_aside(store: Store, state: Pending) -> None:
    """Move what does not count out of the way of the work that makes it anew."""
    untrusted.set_aside(store, state.distrusted, {unit.run_key for unit in state.work.units})


def release(plan: Plan, store: Store, failed: Iterable[int]) -> int:
    """Let the failed units of some cells be tried again; returns how many."""
    released = set()
    for index in failed:
        cell = plan.cells[index]
        own = _run_folder(plan, store, cell)
        units = [(own, "train"), (own, f"score-{cell.samples}")]
        others = [other for partner in cell.partners.values() for other in partner.all()]
        others += [other for _, other in plan.behind(cell.run_key)] if cell.step is not None else []
        units += [(store.run_folder(o.run_key, o.slug), "train") for o in others]
        for folder, unit in units:
            if folder.failed(unit):
                folder.release(unit)
                released.add((folder.path, unit))
    return len(released)
