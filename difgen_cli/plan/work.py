"""What is left to do: the plan minus the store, as units that a worker can claim.

A unit is a training run up to its furthest missing snapshot, or the sampling and scoring of one snapshot.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from difgen_cli.plan import Cell, Partner, Plan, recipes
from difgen_cli.plan.recipes import Recipe
from difgen_cli.plan.sections import Section
from difgen_cli.store import Home, Store

SCHEMA = 1


@dataclass(frozen=True)
class Call:
    """A plug-in and the settings to call it with; `own` are those of its package's function."""

    name: str
    settings: dict[str, Any]
    own: dict[str, Any]


@dataclass(frozen=True)
class Training:
    """A trajectory to be trained to its furthest wanted step."""

    home: str
    slug: str
    steps: tuple[int, ...]  # every wanted snapshot, those that are there too
    batch: int

    @property
    def unit(self) -> str:
        return "train"

    @property
    def cost(self) -> float:
        """Training images: longest first."""
        return float(max(self.steps) * self.batch)


@dataclass(frozen=True)
class Measure:
    """One metric to compute: where its result goes, and what it is called with."""

    key: str
    settings: dict[str, Any]
    embed: str | None  # key of its feature space
    against: str | None = None  # key of the other data set's images


@dataclass(frozen=True)
class Other:
    """A partner of a cell: the samples of another trajectory's snapshot."""

    home: str
    slug: str
    step: int
    snapshot: str
    samples: str


@dataclass(frozen=True)
class Scoring:
    """A snapshot, or a reference, to be sampled and measured."""

    kind: str
    home: str
    slug: str
    step: int | None
    snapshot: str | None
    samples: str
    weights: bool  # whether it cannot begin before the snapshot is there
    sampler: Call
    guidance: Call
    metrics: dict[str, Measure]
    partners: dict[str, Other] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        return f"score-{self.samples}"

    @property
    def reference(self) -> bool:
        return self.kind != "model"


@dataclass(frozen=True)
class Work:
    """Units for workers, self-contained: what a submission hands over."""

    trainings: list[Training] = field(default_factory=list)
    scorings: list[Scoring] = field(default_factory=list)
    recipes: dict[str, Recipe] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.trainings) + len(self.scorings)

    def steps(self) -> Iterator[tuple[str, str]]:
        """What will be there, one by one: each snapshot and each result, with its trajectory or reference."""
        for training in self.trainings:
            yield from ((training.home, str(step)) for step in training.steps)
        for scoring in self.scorings:
            yield from ((scoring.home, measure.key) for measure in scoring.metrics.values())

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "trainings": [asdict(t) for t in self.trainings],
                "scorings": [asdict(s) for s in self.scorings],
                "recipes": recipes.dump(self.recipes),
            },
            default=str,
        )

    @staticmethod
    def load(text: str) -> Work:
        """What `dump` wrote."""
        parts = json.loads(text)

        def scoring(s: dict[str, Any]) -> Scoring:
            calls = {
                k: Call(s[k]["name"], _tuples(s[k]["settings"]), _tuples(s[k]["own"])) for k in ("sampler", "guidance")
            }
            metrics = {m: Measure(**(v | {"settings": _tuples(v["settings"])})) for m, v in s["metrics"].items()}
            partners = {name: Other(**other) for name, other in s["partners"].items()}
            return Scoring(**(s | calls | {"metrics": metrics, "partners": partners}))

        trainings = [Training(**(t | {"steps": tuple(t["steps"])})) for t in parts["trainings"]]
        return Work(trainings, [scoring(s) for s in parts["scorings"]], recipes.load(parts["recipes"]))


def _tuples(settings: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


@dataclass(frozen=True)
class State:
    """How far a plan has come: a mark for each cell, the units that are left, and why."""

    marks: list[str]  # done, new, failed, stale; one per cell of the plan
    causes: dict[int, str]  # cell -> why it failed
    work: Work
    retrained: list[str]  # slugs of trajectories whose early snapshots were not kept

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.marks)


def survey(
    plan: Plan, store: Store, chosen: Callable[[Cell], bool] = lambda _: True, stale: frozenset[str] = frozenset()
) -> State:
    """Hold the plan against the store: one listing per trajectory, no file opened but those of failed units."""
    store.refresh()
    homes: dict[str, _Shelf] = {}
    scorings: dict[tuple[str, str], tuple[Cell, dict[str, Measure]]] = {}
    waiting: set[tuple[str, str]] = set()
    steps: dict[str, set[int]] = {}
    assigned: set[str] = set()
    marks: list[str] = []
    causes: dict[int, str] = {}
    for cell in plan.cells:
        shelf = homes.get(cell.home) or homes.setdefault(cell.home, _Shelf(_home(plan, store, cell)))
        missing = [m for m, key in cell.metrics.items() if key not in shelf.results]
        cause = shelf.failure(cell) if missing else None
        marks.append(
            "done" if not missing else "failed" if cause else "stale" if stale and cell.identity() in stale else "new"
        )
        if cause:
            causes[cell.index] = cause
        if not missing or cause or not chosen(cell):
            continue
        if cell.step is not None and _needs_snapshot(cell, missing, shelf):
            steps.setdefault(cell.home, set()).add(cell.step)
            waiting.add((cell.home, cell.samples))
        for partner in _needed_partners(cell, missing):
            if partner.home not in homes:
                homes[partner.home] = _Shelf(store.home(partner.home, plan.trajectories[partner.home].slug))
            if partner.samples not in homes[partner.home].sampled:
                steps.setdefault(partner.home, set()).add(partner.step)
        fresh = {m: _measure(cell, m) for m in missing if cell.metrics[m] not in assigned}
        assigned |= {m.key for m in fresh.values()}
        if fresh:
            scorings.setdefault((cell.home, cell.samples), (cell, {}))[1].update(fresh)
    trainings, retrained = _trainings(plan, steps, homes)
    ordered = [_scoring(plan, cell, metrics, at in waiting) for at, (cell, metrics) in scorings.items()]
    needed = plan.recipes if trainings or ordered else {}
    return State(marks, causes, Work(trainings, ordered, needed), retrained)


class _Shelf:
    """What lies in the folder of one trajectory or reference, listed once."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.results = home.results() if home.path.exists() else set()

    @cached_property
    def snapshots(self) -> set[int]:
        return self.home.snapshots()

    @cached_property
    def sampled(self) -> set[str]:
        return self.home.sampled()

    @cached_property
    def attempts(self) -> dict[str, dict[str, Any]]:
        return self.home.last_attempts()

    def failure(self, cell: Cell) -> str | None:
        """Why a cell without all its results failed, if its last attempt says so."""
        own, train = self.attempts.get(f"score-{cell.samples}", {}), self.attempts.get("train", {})
        for record, blocks in ((own, True), (train, cell.step not in self.snapshots)):
            if record.get("state") == "failed" and blocks:
                return str(record.get("cause", "unknown"))
        return None


def _needs_snapshot(cell: Cell, missing: Iterable[str], shelf: _Shelf) -> bool:
    inputs = {i for m in missing for i in cell.scoring.sections[m].signature.inputs}
    return bool({"denoiser", "states"} & inputs) or ("samples" in inputs and cell.samples not in shelf.sampled)


def _needed_partners(cell: Cell, missing: Iterable[str]) -> list[Partner]:
    inputs = {i for m in missing for i in cell.scoring.sections[m].signature.inputs}
    return [partner for name, partner in cell.partners.items() if name in inputs]


def _trainings(plan: Plan, steps: dict[str, set[int]], homes: dict[str, _Shelf]) -> tuple[list[Training], list[str]]:
    trainings, retrained = [], []
    for key, wanted in steps.items():
        lacking = wanted - homes[key].snapshots
        if not lacking:
            continue
        trajectory = plan.trajectories[key]
        if homes[key].snapshots and min(lacking) < max(homes[key].snapshots):
            retrained.append(trajectory.slug)
        trainings.append(Training(key, trajectory.slug, tuple(sorted(lacking)), trajectory.batch))
    return sorted(trainings, key=lambda t: (-t.cost, t.slug)), retrained


def _measure(cell: Cell, metric: str) -> Measure:
    space, other = cell.scoring.features.get(metric), cell.scoring.against.get(metric)
    settings = cell.scoring.sections[metric].changed
    return Measure(cell.metrics[metric], settings, space.key if space else None, other.images.key if other else None)


def _scoring(plan: Plan, cell: Cell, metrics: dict[str, Measure], weights: bool) -> Scoring:
    return Scoring(
        cell.kind,
        cell.home,
        plan.slug(cell),
        cell.step,
        cell.snapshot,
        cell.samples,
        weights,
        _call(cell.sampler),
        _call(cell.guidance),
        metrics,
        {
            name: Other(p.home, plan.trajectories[p.home].slug, p.step, p.snapshot, p.samples)
            for name, p in cell.partners.items()
            if any(name in cell.scoring.sections[m].signature.inputs for m in metrics)
        },
    )


@cache
def _call(section: Section) -> Call:
    return Call(section.name, section.changed, section.own)


def _home(plan: Plan, store: Store, cell: Cell) -> Home:
    return store.home(cell.home, plan.slug(cell), reference=cell.kind != "model")


def is_done(unit: Training | Scoring, home: Home) -> bool:
    """Whether all that a unit should leave is there."""
    if isinstance(unit, Training):
        return all(home.snapshot(s).exists() for s in unit.steps)
    return all(home.result(m.key).exists() for m in unit.metrics.values())


def release(plan: Plan, store: Store, state: State) -> int:
    """Let the failed units of a plan be tried again; returns how many."""
    released = set()
    for index in state.causes:
        cell = plan.cells[index]
        home = _home(plan, store, cell)
        for unit in ("train", f"score-{cell.samples}"):
            past = home.history(unit)
            if past and past[-1][1]["state"] == "failed":
                home.release(unit)
                released.add((cell.home, unit))
    return len(released)


def read(path: Path) -> Work:
    """The work of a submission."""
    return Work.load(path.read_text(encoding="utf-8"))
