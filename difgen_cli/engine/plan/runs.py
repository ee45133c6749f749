"""Trajectories and the steps at which they are read, whoever wants them: each is trained once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan import Trajectory
from difgen_cli.engine.plan.derive import RecipeBuilder, RunRecipe
from difgen_cli.engine.plan.naming import condition_words, data_words, short, slug
from difgen_cli.engine.plan.points import SHAPING, Point, Points
from difgen_cli.engine.plan.recipes import Operation, Recipe
from difgen_cli.engine.plan.sections import Section, has_horizon, shaping

Columns = tuple[dict[str, Any], ...]  # settings by dotted path: of data, condition, model and train


@dataclass(frozen=True, eq=False)
class SnapshotRef:
    """The weights of a trajectory at a step, or a model in closed form."""

    run: RunRecipe
    columns: Columns
    step: int | None  # None: in closed form
    snapshot: str  # key

    @property
    def home(self) -> str:
        return self.run.trajectory.key


class Trajectories:
    """What is trained for a grid, with a cache for each thing that many cells share."""

    def __init__(self, points: Points, derive: RecipeBuilder) -> None:
        self.points, self.derive = points, derive
        self.trained: dict[tuple[Any, ...], tuple[RunRecipe, Columns]] = {}
        self.runs: dict[tuple[Any, ...], RunRecipe] = {}
        self.snapshots: dict[tuple[str, int], str] = {}
        self.steps: dict[str, dict[int, tuple[RunRecipe, Columns]]] = {}

    def at(self, point: Point) -> SnapshotRef:
        """The weights at a point, which from now on are wanted."""
        run, columns = self._trained(point)
        train = self.points.resolved("train", point)
        return self._wanted(run, columns, train, train.settings["steps"] if run.batch else None)

    def continued(self, point: Point, weights: SnapshotRef, changed: Mapping[str, Given]) -> SnapshotRef:
        """Those of a point trained on for a while, from their average on, with changed settings of the training."""
        if weights.step is None:
            raise ValueError("a model in closed form cannot be trained on")
        own = self.points.resolved("train", point)
        train = self.points.resolved("train", self.points.beside(point, changed))
        start = Recipe(_head(own, weights.step), {"trajectory": weights.run.trajectory})
        head = Operation("trajectory", "continue", train.signature.version, dict(shaping(train)))
        recipe = Recipe(head, weights.run.trajectory.inputs | {"start": self.derive.keep(start)})
        run = replace(weights.run, trajectory=self.derive.keep(recipe))
        return self._wanted(run, (*weights.columns[:3], train.columns), train, train.settings["steps"])

    def trajectories(self) -> dict[str, Trajectory]:
        """All that is wanted, by key."""
        return {key: _trajectory(steps) for key, steps in self.steps.items()}

    def _wanted(self, run: RunRecipe, columns: Columns, train: Section, step: int | None) -> SnapshotRef:
        home = run.trajectory.key
        self.steps.setdefault(home, {}).setdefault(step or 0, (run, columns))
        if step is None:
            return SnapshotRef(run, columns, None, home)
        if (home, step) not in self.snapshots:
            self.snapshots[home, step] = _head(train, step).key({"trajectory": home})
        return SnapshotRef(run, columns, step, self.snapshots[home, step])

    def _trained(self, point: Point) -> tuple[RunRecipe, Columns]:
        key = self.points.key("weights", point)
        if key not in self.trained:
            data, condition, model, train = (self.points.resolved(section, point) for section in SHAPING)
            self._check_horizon(train, point)
            run = (data, condition, model, shaping(train))  # all steps of one run share it
            if run not in self.runs:
                self.runs[run] = self.derive.trained(data, condition, model, train, self.points.where(point))
            recipe = self.runs[run]
            trained = train.columns if recipe.batch else {}
            columns = (data.columns | {"data.size": recipe.size}, condition.columns, model.columns, trained)
            self.trained[key] = (recipe, columns)
        return self.trained[key]

    def _check_horizon(self, train: Section, point: Point) -> None:
        axis = next((a for a in self.points.grid.axes if "train.steps" in a.paths), None)
        if has_horizon(train) and axis is not None and len(axis.levels) > 1:
            raise GridError(
                f"train.schedule: {train.settings['schedule']} ends at train.steps, so that several steps are several "
                "runs; use constant or inverse_sqrt, or a single value of train.steps",
                self.points.where(point)("train.schedule"),
            )


def _head(train: Section, step: int) -> Operation:
    """The head of the weights at a step."""
    return Operation("snapshot", "train", train.signature.version, {"step": step})


def _trajectory(steps: dict[int, tuple[RunRecipe, Columns]]) -> Trajectory:
    run, columns = steps[max(steps)]
    settings = {path: value for part in columns for path, value in part.items()}
    recipe = run.trajectory
    network, start = recipe.inputs["network"], recipe.inputs.get("start")
    words = [*data_words(settings), *condition_words(settings), network.name]
    words += [f"{k}{short(v)}" for k, v in network.settings.items()]
    words += [f"from{start.settings['step']}"] if start else []
    words += [f"{k}{short(v)}" for k, v in recipe.settings.items() if k not in ("steps", "seed")]
    seed = recipe.settings.get("seed", 0)
    named = slug([*words, *([f"seed{seed}"] if seed else [])])
    return Trajectory(recipe, named, tuple(sorted(steps)) if run.batch else (), run.batch or 0, settings)
