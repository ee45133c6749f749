"""Trajectories and the steps at which they are read, whoever wants them: each is trained once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from difgen_cli.engine.grid import fork
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.grid.values import Given, check_changes
from difgen_cli.engine.plan import Dependency, Trajectory, beginnings, post_training, pretrained
from difgen_cli.engine.plan.derive import RecipeBuilder, RunRecipe
from difgen_cli.engine.plan.naming import condition_words, data_words, short, slug
from difgen_cli.engine.plan.operations import snapshot, state, trained_by
from difgen_cli.engine.plan.points import RESET, SHAPING, START, TEACHER, Point, Points
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plan.sections import Section, horizon, in_closed_form, is_pretrained, shaping, untrained, wants

# What a teacher may differ in: it must see images of the same shape, under the same labels.
MAY_TEACH = ("model.", "objective.", "train.", "data.size", "data.half", "data.seed")


@dataclass(frozen=True, eq=False)
class SnapshotRef:
    """The weights of a trajectory at a step, or a model that is not trained here."""

    run: RunRecipe
    slug: str  # of the trajectory
    step: int | None  # None: not trained here
    snapshot: str  # key of the weights that samples and metrics see
    others: dict[str, Dependency] = field(default_factory=dict)  # what these are made of beside their own snapshot

    @property
    def run_key(self) -> str:
        return self.run.trajectory.key

    def dependency(self, samples: str | None = None, partners: dict[str, Dependency] | None = None) -> Dependency:
        """These weights, or samples drawn with them, as what another cell needs."""
        return Dependency(self.run_key, self.slug, self.step, self.snapshot, samples, self.others | (partners or {}))


class Trajectories:
    """What is trained for a grid, with a cache for each thing that many cells share."""

    def __init__(self, points: Points, derive: RecipeBuilder) -> None:
        self.points, self.derive = points, derive
        self.trained: dict[tuple[Any, ...], RunRecipe] = {}
        self.runs: dict[tuple[Any, ...], RunRecipe] = {}
        self.slugs: dict[str, str] = {}
        self.snapshots: dict[tuple[str, int], str] = {}
        self.steps: dict[str, dict[int, RunRecipe]] = {}
        self.states: dict[str, dict[int, RunRecipe]] = {}  # steps at which others fork
        self.changed: dict[tuple[str, Section], SnapshotRef] = {}

    def at(self, point: Point) -> SnapshotRef:
        """The weights at a point, which from now on are wanted."""
        run, train = self._trained(point), self.points.resolved("train", point)
        return self._changed(self._wanted(run, train, train.settings["steps"] if run.batch else None), train, point)

    def check(self, point: Point) -> None:
        """GridError where one of the grid's own points is on a fork that changes something, and lies before it."""
        if point.change and (at := self.points.forks_at(point)) is not None:
            beginnings.check_past(self.points.resolved("train", point), at, self.points.where(point))

    def continued(self, point: Point, weights: SnapshotRef, changed: Mapping[str, Given]) -> SnapshotRef:
        """Those of a point trained on for a while, from their average on, with changed settings of the training."""
        if weights.step is None:
            raise ValueError("a model that is not trained here cannot be trained on")
        own, trajectory = self.points.resolved("train", point), weights.run.trajectory
        train = self.points.resolved("train", self.points.beside(point, changed))
        objective = self.points.resolved("objective", point)
        start = self.derive.keep(Recipe(snapshot(own, weights.step), {"trajectory": trajectory}))
        parts = {role: recipe for role, recipe in trajectory.inputs.items() if role != "fork"}
        recipe = self.derive.keep(Recipe(trained_by(train, objective, "continue"), parts | {"start": start}))
        run = replace(weights.run, trajectory=recipe, columns=(*weights.run.columns[:-1], train.columns))
        return self._changed(self._wanted(run, train, train.settings["steps"]), train, point)

    def trajectories(self) -> dict[str, Trajectory]:
        """All that is wanted, by key."""
        return {
            key: _trajectory(self.slugs[key], self.steps.get(key, {}), self.states.get(key, {}))
            for key in dict.fromkeys([*self.steps, *self.states])
        }

    def _wanted(self, run: RunRecipe, train: Section, step: int | None) -> SnapshotRef:
        run_key = self._name(run)
        self.steps.setdefault(run_key, {}).setdefault(step or 0, run)
        if step is None:
            return SnapshotRef(run, self.slugs[run_key], None, run_key)
        if (run_key, step) not in self.snapshots:
            self.snapshots[run_key, step] = snapshot(train, step).key({"trajectory": run_key})
        return SnapshotRef(run, self.slugs[run_key], step, self.snapshots[run_key, step])

    def _changed(self, weights: SnapshotRef, train: Section, point: Point) -> SnapshotRef:
        """Weights as samples and metrics see them at a point, after what `post_training` does to them."""
        change, where = self.points.resolved("post_training", point), self.points.where(point)
        if change.name == "none":
            return weights
        if weights.step is None:
            raise post_training.refuse(change, self.points.resolved("model", point), where)
        key, run = (weights.snapshot, change), weights.run
        if key not in self.changed:

            def at(step: int) -> SnapshotRef:
                before = step <= (self.points.forks_at(point) or 0)
                own = self._trained(self.points.trunk(point)) if before else run
                columns = (*own.columns[:-1], own.columns[-1] | {"train.steps": step})
                return self._wanted(replace(own, columns=columns), train, step)

            own = self.derive.keep(Recipe(snapshot(train, weights.step), {"trajectory": run.trajectory}))
            ends = horizon(train, self.points.resolved("objective", point))
            self.changed[key], recipe = post_training.changed(weights, own, change, at, ends, where)
            self.derive.keep(recipe)
        return self.changed[key]

    def _name(self, run: RunRecipe) -> str:
        """The key of a trajectory, which has a slug from now on."""
        run_key = run.trajectory.key
        if run_key not in self.slugs:
            self.slugs[run_key] = _slug(run)
        return run_key

    def _trained(self, point: Point) -> RunRecipe:
        key = self.points.key("weights", point)
        if key not in self.trained:
            at, train = self.points.forks_at(point), self.points.resolved("train", point)
            if at is None or untrained(self.points.resolved("model", point).signature):
                self.trained[key] = self._begun(point)
            else:
                past = point.change and train.settings["steps"] > at
                run = self._forked(point, at) if past else self._begun(self.points.trunk(point))
                words = {fork.AT: at, fork.CHANGE: self.points.change_words(point)}
                self.trained[key] = replace(run, columns=(*run.columns[:-1], run.columns[-1] | words))
        return self.trained[key]

    def _begun(self, point: Point) -> RunRecipe:
        """The training of a point from its first step on."""
        data, condition, model, objective, train = (self.points.resolved(section, point) for section in SHAPING)
        if is_pretrained(model.signature):
            return self._pretrained(point, data, condition, model, objective, train)
        self._check_horizon(train, objective, point)
        closed = in_closed_form(model.signature)
        teacher, start = (None, None) if closed else (self._teacher(point, objective), self._start(point))
        shaped = shaping(train, objective)  # all steps of one run share it
        shared = (data, condition, model, objective, shaped, teacher, start)
        if shared not in self.runs:
            where = self.points.where(point)
            self.runs[shared] = self.derive.trained(data, condition, model, objective, train, where, teacher, start)
            beginnings.check_held_out(self.runs[shared], where)
        return self._with_columns(self.runs[shared], train, point)

    def _pretrained(
        self, point: Point, data: Section, condition: Section, model: Section, objective: Section, train: Section
    ) -> RunRecipe:
        """Weights that somebody else trained, of the step that the grid says, if it says one."""
        step = train.settings["steps"] if "steps" in self.points.given("train", point) else None
        shared = (data, condition, model, objective, train.settings["flip"], step)
        if shared not in self.runs:
            where = self.points.where(point)
            self.runs[shared] = pretrained.run(self.derive, data, condition, model, objective, train, step, where)
        return self.runs[shared]

    def _forked(self, point: Point, at: int) -> RunRecipe:
        """The training of a point from the state of its trunk at a step on; the trunk's, where nothing is changed."""
        before = self.points.trunk(point)
        trunk, trained = self._trained(before), [self.points.resolved(s, before) for s in ("train", "objective")]
        data, condition, model, objective, train = (self.points.resolved(section, point) for section in SHAPING)
        self._check_horizon(train, objective, point)
        teacher, where = self._teacher(point, objective), self.points.where(point)
        start = trunk.trajectory.inputs.get("start")
        whole = Recipe(state(trained[0], at), {"trajectory": trunk.trajectory})
        shared = (data, condition, model, objective, shaping(train, objective), teacher, whole.key)
        if shared not in self.runs:
            run = self.derive.trained(data, condition, model, objective, train, where, teacher, start, whole)
            beginnings.check_fork(trunk, trained, run, train, at, where)
            self.runs[shared] = run
        run = self.runs[shared]
        if "fork" in run.trajectory.inputs:
            self.derive.keep(run.trajectory.inputs["fork"])
            self._name(trunk)
            self.states.setdefault(trunk.trajectory.key, {}).setdefault(at, trunk)
        return self._with_columns(run, train, point)

    def _with_columns(self, run: RunRecipe, train: Section, point: Point) -> RunRecipe:
        """With the settings of training at a point, for tables: steps share a run, and differ in these."""
        others = {
            f"{role}.{path}": given.value
            for role in (TEACHER, START)
            for path, given in self.points.role(role, point).items()
        }
        return replace(run, columns=(*run.columns[:-1], train.columns | others if run.batch else {}))

    def _teacher(self, point: Point, objective: Section) -> Recipe | None:
        """The weights that an objective learns from: those of this point by edm, but for what `teacher:` says."""
        changed = self.points.role(TEACHER, point)
        if not wants(objective, "teacher"):
            if changed:
                path, given = next(iter(changed.items()))
                raise GridError(f"objective.teacher.{path}: {objective.name} has no teacher; remove it", given.place)
            return None
        check_changes(TEACHER, changed, MAY_TEACH, "a teacher may differ in model, objective and train, and in "
                      "data.size, data.half and data.seed")  # fmt: skip
        return self._in_role(point, changed)

    def _start(self, point: Point) -> Recipe | None:
        """The weights that training begins with: those of this point by edm, but for what `start:` says."""
        changed = {path: given for path, given in self.points.role(START, point).items() if given.value is not None}
        if not changed:
            return None
        may_begin = tuple(f"{section}." for section in SHAPING)
        check_changes(START, changed, may_begin, f"a start may differ in {', '.join(SHAPING)}")
        start = self._in_role(point, changed)
        if start.operation.kind != "snapshot":
            place = self.points.where(point)(f"{START}.model.name")
            raise GridError(f"{START}: a model that is not trained here has no snapshot to begin with", place)
        return start

    def _in_role(self, point: Point, changed: Mapping[str, Given]) -> Recipe:
        """The weights of a trajectory that teaches, or that another begins with: a snapshot, or a closed form."""
        other = self.points.beside(point, changed, reset=RESET)
        weights = self.at(other)
        if weights.step is None:
            return weights.run.trajectory
        read = snapshot(self.points.resolved("train", other), weights.step)
        return self.derive.keep(Recipe(read, {"trajectory": weights.run.trajectory}))

    def _check_horizon(self, train: Section, objective: Section, point: Point) -> None:
        axis = next((a for a in self.points.grid.axes if "train.steps" in a.paths), None)
        ends = horizon(train, objective)
        if ends and axis is not None and len(axis.levels) > 1:
            path, value = ends
            others = "constant or inverse_sqrt" if path == "train.schedule" else "another value"
            raise GridError(
                f"{path}: {value} ends at train.steps, so that several steps are several runs; use {others}, or a "
                "single value of train.steps",
                self.points.where(point)(path),
            )


def _trajectory(slug: str, steps: dict[int, RunRecipe], states: dict[int, RunRecipe]) -> Trajectory:
    run = steps[max(steps)] if steps else states[max(states)]
    read = tuple(sorted(steps)) if run.batch else ()
    return Trajectory(run.trajectory, slug, read, run.batch or 0, _settings(run), tuple(sorted(states)))


def _settings(run: RunRecipe) -> dict[str, Any]:
    return {path: value for part in run.columns for path, value in part.items()}


def _slug(run: RunRecipe) -> str:
    """The readable name of a trajectory."""
    settings, recipe = _settings(run), run.trajectory
    start, trunk = recipe.inputs.get("start"), recipe.inputs.get("fork")
    words = [*data_words(settings), *condition_words(settings)]
    if "weights" in recipe.inputs:
        step = [] if run.checkpoint is None else [f"step{run.checkpoint}"]
        return slug([*words, recipe.inputs["weights"].name, *step])
    network = recipe.inputs["network"]
    words.append(network.name)
    words += [f"{k}{short(v)}" for k, v in network.settings.items()]
    words += [f"from{start.settings['step']}"] if start else []
    words += [f"fork{trunk.settings['step']}"] if trunk else []
    words += [f"{k}{short(v)}" for k, v in recipe.settings.items() if k not in ("steps", "seed")]
    if reading := network.inputs.get("reading"):
        words += [f"{k}{short(v)}" for k, v in reading.settings.items()]
    if objective := recipe.inputs.get("objective"):
        words += [objective.name, *(f"{k}{short(v)}" for k, v in objective.settings.items())]
        teacher = objective.inputs.get("teacher")
        words += [f"of{teacher.settings['step']}"] if teacher and teacher.operation.kind == "snapshot" else []
    seed = recipe.settings.get("seed", 0)
    return slug([*words, *([f"seed{seed}"] if seed else [])])
