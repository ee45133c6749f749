"""Units that a worker can claim, and what it must know of them: all that a submission hands over.

A unit is a training run up to its furthest missing snapshot, or the sampling and scoring of one snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from difgen_cli.engine.plan import Dependency, recipes
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plan.refinement import Refinement
from difgen_cli.engine.store import RunFolder, Store, StoreError
from difgen_cli.engine.store.access import exists, text
from difgen_cli.engine.store.files import check_schema

SCHEMA = 1
ON_DISK = {"run_key": "home"}  # the name of a field in files, as 0.1.0 wrote it
T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """A plug-in and the settings to call it with; `own` are those of its package's function."""

    name: str
    settings: dict[str, Any]
    own: dict[str, Any]


@dataclass(frozen=True)
class Training:
    """A trajectory to be trained to its furthest wanted step."""

    run_key: str
    slug: str
    steps: tuple[int, ...]  # of the wanted snapshots
    batch: int
    needs: dict[str, Dependency] = field(default_factory=dict)  # by role: `start`, `fork` and `teacher`
    first: int = 0  # the step of the checkpoint, or of its trunk, that it goes on from, when it was planned
    states: tuple[int, ...] = ()  # at which others fork
    seconds: float | None = None  # what it will take, as far as that is known
    rank: float = 0.0  # seconds until what waits for it is done too: the highest first

    @property
    def unit(self) -> str:
        """The name under which it is claimed."""
        return "train"

    @property
    def last(self) -> int:
        """The furthest wanted step."""
        return max((*self.steps, *self.states))

    @property
    def cost(self) -> float:
        """Training images."""
        return float(self.last * self.batch)


@dataclass(frozen=True)
class MetricSpec:
    """One metric to compute: where its result goes, and what it is called with."""

    metric: str
    key: str
    settings: dict[str, Any]
    embed: str | None  # key of its feature space
    against: str | None = None  # key of the other data set's images
    unlearn: str | None = None  # key of the choice of training images to be unlearnt


@dataclass(frozen=True)
class Scoring:
    """A snapshot, or a reference, to be sampled and measured."""

    kind: str
    run_key: str
    slug: str
    step: int | None
    snapshot: str | None
    samples: str
    weights: bool  # whether it cannot begin before the snapshot is there
    sampler: Call
    guidance: dict[str, Call]  # its terms by name
    metrics: dict[str, MetricSpec]  # by key: cells may share samples and differ in a metric's settings
    partners: dict[str, Dependency] = field(default_factory=dict)
    groups: str | None = None  # key of the groups that its samples come in
    seconds: float | None = None  # what it will take, as far as that is known
    rank: float = 0.0  # seconds until what waits for it is done too: the highest first

    @property
    def unit(self) -> str:
        """The name under which it is claimed."""
        return f"score-{self.samples}"

    @property
    def reference(self) -> bool:
        """Whether it is real images or a model in closed form in place of a trained one."""
        return self.kind != "model"


@dataclass(frozen=True)
class Work:
    """Units for workers, self-contained: what a submission hands over."""

    trainings: list[Training] = field(default_factory=list)
    scorings: list[Scoring] = field(default_factory=list)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    refinement: Refinement | None = None  # what decides which of the units are needed; None: all are

    def __len__(self) -> int:
        return len(self.trainings) + len(self.scorings)

    @property
    def units(self) -> list[Training | Scoring]:
        """All of them, the highest rank first; where none is known, trainings before scorings, as they stand."""
        return sorted([*self.trainings, *self.scorings], key=lambda unit: -unit.rank)

    def steps(self) -> Iterator[tuple[str, str]]:
        """What will be there, one by one: each snapshot and each result, with its trajectory or reference."""
        for training in self.trainings:
            yield from ((training.run_key, str(step)) for step in training.steps)
            yield from ((training.run_key, f"state {step}") for step in training.states)
        for scoring in self.scorings:
            yield from ((scoring.run_key, measure.key) for measure in scoring.metrics.values())

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "trainings": [asdict(t, dict_factory=_on_disk) for t in self.trainings],
                "scorings": [asdict(s, dict_factory=_on_disk) for s in self.scorings],
                "recipes": recipes.dump(self.recipes),
            }
            | ({"refine": self.refinement.dump()} if self.refinement else {}),
            default=str,
        )

    @staticmethod
    def load(content: str, path: Path = Path("work.json")) -> Work:
        """What `dump` wrote; fields that are not known are left out. StoreError where its layout is a newer one."""
        parts = json.loads(content)
        check_schema(path, parts.get("schema"), SCHEMA)

        def call(c: dict[str, Any]) -> Call:
            return Call(c["name"], tuples(c["settings"]), tuples(c["own"]))

        def metric(m: dict[str, Any]) -> MetricSpec:
            return _made(MetricSpec, m | {"settings": tuples(m["settings"])})

        def dependency(d: dict[str, Any]) -> Dependency:
            return _made(Dependency, d | {"partners": {name: dependency(p) for name, p in d["partners"].items()}})

        def training(t: dict[str, Any]) -> Training:
            needs = t["needs"] if "needs" in t else {"start": t["start"]} if t["start"] else {}  # as 0.1.0 wrote it
            others = {name: dependency(d) for name, d in needs.items()}
            states = tuple(t.get("states", ()))
            return _made(Training, t | {"steps": tuple(t["steps"]), "needs": others, "states": states})

        def scoring(s: dict[str, Any]) -> Scoring:
            loaded = {
                "sampler": call(s["sampler"]),
                "guidance": {name: call(term) for name, term in s["guidance"].items()},
                "metrics": {key: metric(m) for key, m in s["metrics"].items()},
                "partners": {name: dependency(d) for name, d in s["partners"].items()},
            }
            return _made(Scoring, s | loaded)

        trainings, scorings = map(training, parts["trainings"]), map(scoring, parts["scorings"])
        refined = Refinement.load(parts["refine"]) if "refine" in parts else None
        return Work(list(trainings), list(scorings), recipes.load(parts["recipes"]), refined)


def _made(kind: Callable[..., T], content: dict[str, Any]) -> T:
    """An instance of a dataclass, of the fields that it has."""
    named = {f.name: ON_DISK.get(f.name, f.name) for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{field_name: content[name] for field_name, name in named.items() if name in content})


def _on_disk(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {ON_DISK.get(name, name): value for name, value in pairs}


def tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where settings have tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def made_by(training: Training, folder: RunFolder) -> list[Path]:
    """The files that a training leaves for others, there or not."""
    return [*map(folder.snapshot, training.steps), *map(folder.state, training.states)]


def is_done(unit: Training | Scoring, folder: RunFolder) -> bool:
    """Whether all that a unit should leave is there."""
    if isinstance(unit, Training):
        return all(map(exists, made_by(unit, folder)))
    return all(exists(folder.result(m.key)) for m in unit.metrics.values())


def awaited_weights(unit: Training | Scoring, folder: RunFolder, store: Store) -> Iterator[tuple[RunFolder, Path]]:
    """The weights without which a unit cannot begin, there or not: its own, and those of others."""

    def folder_of(other: Dependency) -> RunFolder:
        return store.run_folder_now(other.run_key, other.slug)

    if isinstance(unit, Training):
        others = list(unit.needs.values())
    else:
        others = list(unit.partners.values())
        if unit.weights and unit.step is not None:
            yield folder, folder.snapshot(unit.step)
    for other in others:
        for needed in other.awaited(lambda o: exists(folder_of(o).samples(str(o.samples)))):
            other_folder = folder_of(needed)
            yield other_folder, other_folder.weights(int(needed.step or 0), whole=needed.whole)


def read(path: Path) -> Work:
    """The work of a submission. Raises StoreError where it cannot be read, or is a newer difgen's."""
    try:
        return Work.load(text(path), path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: is no work that this difgen can read ({type(error).__name__}: {error})") from error
