"""The plan of a grid: cells, the trajectories that they read, the recipes that they share, and what is not done yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from difgen_cli.engine.grid import Assignments, Grid
from difgen_cli.engine.grid.values import number
from difgen_cli.engine.plan.guidance import UNGUIDED, Guidance
from difgen_cli.engine.plan.metric import Metric
from difgen_cli.engine.plan.recipes import BEGINNINGS, Recipe
from difgen_cli.engine.plan.sections import Section


@dataclass(frozen=True)
class Facts:
    """What planning must know of a data set without holding it."""

    content: str  # SHA-256 of the decoded images and labels
    images: int
    shape: tuple[int, ...]  # (H, W, C), or (D,) for points
    labelled: bool
    population: bool = False  # whether the distribution that they were drawn from is known
    holds_out: bool = False  # whether the data set itself says which images are held out
    unlabelled: str = ""  # why labels that are there cannot be used
    notes: tuple[str, ...] = ()  # what a reader must know of the files
    classes: int = 0  # that have names
    sigma_data: float | None = None  # standard deviation over all values; None where an older plan did not keep it


def channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a network sees: (C, H, W) of images of (H, W, C), (D,) of points."""
    return (shape[-1], *shape[:-1])


# settings that plans of 0.1.0 do not have, and the default that stands for what they did
LATER = {
    "data.held_out_seed": 0, "data.unlearn": 0, "data.retrain": False, "data.draw": "sample",
    "data.canaries.count": 0, "data.canaries.repeats": (1, 4, 16), "data.canaries.kind": "held_out",
    "data.canaries.seed": 0,
    "model.prediction": "edm", "model.unit": None, "model.noise_input": "log", "model.schedule": None,
    "model.betas": (),
    "objective.name": "edm", "objective.law": "edm", "objective.p_mean": -1.2, "objective.p_std": 1.2,
    "objective.timesteps": 0, "objective.weight": "edm", "objective.noise_bank": None,
    "objective.target": "stochastic",
    "train.optimizer": "adam", "train.momentum": 0.95, "train.weight_path": False,
    "post_training.name": "none",
    "sample.levels": None, "sample.every": 1, "sample.start": "noise", "sample.prior": "empirical",
    "sample.s_churn": 0.0, "sample.s_min": 0.0, "sample.s_max": None, "sample.s_noise": 1.0,
    "score.deviation.patch": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dependency:
    """What a cell, or a unit of work, needs of another trajectory.

    Samples at the same step with the same sampler, that a metric compares with; or weights alone, that guidance steers
    away from and that a training begins with; or the whole state of a training, that a fork goes on from.
    """

    run_key: str
    slug: str
    step: int | None  # None: a model in closed form
    snapshot: str
    samples: str | None = None  # None: the weights alone
    partners: dict[str, Dependency] = field(default_factory=dict)  # what its own samples need
    whole: bool = False  # whether it is the whole state of the training, and not the averaged weights

    def all(self) -> Iterator[Dependency]:
        """Itself, and what it needs in turn."""
        yield self
        for other in self.partners.values():
            yield from other.all()

    def awaited(self, has_samples: Callable[[Dependency], bool]) -> Iterator[Dependency]:
        """Those whose weights must be there first: none where the samples are there.

        Itself, unless it is a model in closed form, and what its own samples need in turn.
        """
        if self.samples is not None and has_samples(self):
            return
        if self.step is not None:
            yield self
        for other in self.partners.values():
            yield from other.awaited(has_samples)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One line of the results: a model at a step with its sampler, or a reference scored the same way."""

    index: int
    kind: str  # model, heldout, copycat, ideal
    seed: int
    run_key: str  # key of the trajectory, or of the reference, under which its files lie
    samples: str  # key of snapshot, sampler and guidance: the cell's own
    sampler: Section
    scoring: dict[str, Metric]  # those that are asked for, also where this cell cannot have them
    metrics: dict[str, str]  # metric -> key of its result
    columns: tuple[dict[str, Any], ...]  # settings by dotted path, section by section
    step: int | None = None
    checkpoint: int | None = None  # the step of weights that somebody else trained, where it is known
    snapshot: str | None = None
    guidance: Guidance = UNGUIDED
    axes: tuple[Assignments, ...] = ()  # what the grid says for this cell
    # a metric's positional parameter, or `guide.` and a term -> what it stands for
    partners: dict[str, Dependency] = field(default_factory=dict)
    groups: str | None = None  # key of the groups that its samples come in

    @property
    def at(self) -> int | None:
        """The step of the weights, whoever trained them; None where it is not known, or they have none."""
        return self.checkpoint if self.step is None else self.step

    def settings(self) -> dict[str, Any]:
        """Every setting of the cell in canonical form, by dotted path."""
        scores = {f"score.{m}.{k}": v for m in self.metrics for k, v in self.scoring[m].settings().items()}
        return {path: value for part in self.columns for path, value in part.items()} | scores

    def axis_values(self) -> dict[str, Any]:
        """Axis values as the grid says them: clusters 1 where there is no condition, cfg where its weight is 0."""
        canonical = {path: value for path, value in self.settings().items() if not path.endswith(".name")}
        return {path: canonical.get(path, number(given.value)) for stop in self.axes for path, given in stop}

    def identity(self) -> str:
        """Hash of kind, metrics and settings, whatever the versions: to know a result of older code as stale.

        What older plans did not say is left out: settings that they did not have, at their default, and guidance
        without effect.
        """
        values = {k: v for k, v in self.settings().items() if k not in LATER or v != LATER[k]}
        if "guide.name" in values:
            values = {k: v for k, v in values.items() if not k.startswith("guide.")} | self.guidance.acting
        settings = sorted((k, str(v)) for k, v in values.items())
        return hashlib.sha256(json.dumps([self.kind, sorted(self.metrics), settings]).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One training run, read at several steps; or a model in closed form, with none."""

    recipe: Recipe
    slug: str
    steps: tuple[int, ...]
    batch: int
    settings: dict[str, Any]  # by dotted path
    states: tuple[int, ...] = ()  # steps at which others fork

    @property
    def key(self) -> str:
        return self.recipe.key

    @property
    def needs(self) -> dict[str, Recipe]:
        """What this one begins with, and is taught by: snapshots, models in closed form, or the state of its trunk."""
        inputs, objective = self.recipe.inputs, self.recipe.inputs.get("objective")
        both = {role: inputs.get(role) for role in BEGINNINGS}
        both["teacher"] = objective and objective.inputs.get("teacher")
        return {role: recipe for role, recipe in both.items() if recipe}

    @property
    def first(self) -> int:
        """The step of its trunk that it goes on from; 0 where it is no fork."""
        fork = self.recipe.inputs.get("fork")
        return int(fork.settings["step"]) if fork else 0

    @property
    def images(self) -> int:
        """Training images that the longest run shows, after its trunk's."""
        return (max((*self.steps, *self.states), default=self.first) - self.first) * self.batch


def weights_of(recipe: Recipe) -> tuple[Recipe, int | None]:
    """The trajectory and step of a snapshot or state; a model in closed form is itself, and has no step."""
    trained = recipe.operation.kind in ("snapshot", "state")
    return (recipe.inputs["trajectory"], recipe.settings["step"]) if trained else (recipe, None)


@dataclass(frozen=True, eq=False)
class Reference:
    """Held-out images, copies or the ideal denoiser, in place of a trajectory."""

    recipe: Recipe
    slug: str


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything a grid asks for, by key."""

    grid: Grid
    cells: list[Cell]
    trajectories: dict[str, Trajectory]
    references: dict[str, Reference]
    recipes: dict[str, Recipe]
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def models(self) -> list[Cell]:
        """The cells without the reference rows."""
        return [c for c in self.cells if c.kind == "model"]

    def slug(self, cell: Cell) -> str:
        """The readable name of the folder of a cell's files."""
        return self.trajectories[cell.run_key].slug if cell.kind == "model" else self.references[cell.run_key].slug

    def needs(self, trajectory: Trajectory) -> dict[str, Dependency]:
        """The weights of others that a training is given, by role."""
        needs = {}
        for role, snapshot in trajectory.needs.items():
            other, step = weights_of(snapshot)
            slug, whole = self.trajectories[other.key].slug, snapshot.operation.kind == "state"
            needs[role] = Dependency(other.key, slug, step, snapshot.key, whole=whole)
        return needs

    def behind(self, run_key: str) -> Iterator[tuple[str, Dependency]]:
        """What the training of a trajectory needs of others, by role, and what theirs need in turn."""
        for role, other in self.needs(self.trajectories[run_key]).items():
            yield role, other
            if other.step is not None:
                yield from self.behind(other.run_key)

    @property
    def images_planned(self) -> int:
        """Training images to be shown: the longest run of each trajectory."""
        return sum(t.images for t in self.trajectories.values())

    @property
    def images_one_by_one(self) -> int:
        """What one training for each snapshot would show."""
        return sum(sum(t.steps) * t.batch for t in self.trajectories.values())
