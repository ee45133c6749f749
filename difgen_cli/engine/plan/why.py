"""Why cells are not done: what differs from what the run directory has, and what is therefore made.

Each cell is compared with what is nearest to it: a new trajectory with the stored one that differs in the fewest
settings, new samples with those of the same weights, a new result with that of the same samples. Where no setting
differs, the recipe that the stored trajectory has kept, or the versions that its plan has, say what does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from difgen_cli.engine.plan import Cell, Plan, made_by
from difgen_cli.engine.plan.metric import FOLLOWING, inputs_of
from difgen_cli.engine.plan.pending import Pending, StoredRun, StoredRuns, needs
from difgen_cli.engine.plan.recipe_changes import Change, changes_of, settings_of
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plan.stored_plans import UNKNOWN, Line, StoredPlans, nearest, plain
from difgen_cli.engine.store import Store
from difgen_cli.engine.store.access import exists

TRAINED = ("data", "condition", "model", "objective", "train", "fork")  # sections that a trajectory is told by
DRAWN = ("post_training", "sample", "guide")  # and those that samples of it are
STEPS, SEEDS = "train.steps", {"data.seed", "train.seed"}
TRIES = 3  # to find a nearest trajectory of which something is there
CONTENT = ("content ", "weights ")  # beginnings of labels whose version is a content


@dataclass
class ReasonGroup:
    """Cells that are not done for the same reasons. cells: their indices. trained, continued: keys of trajectories.

    sampled: how many of the cells are drawn. reference: whether they are reference rows.
    """

    mark: str  # new, stale or failed; needed: trainings that other cells need
    reference: bool
    changes: tuple[Change, ...]
    cells: list[int] = field(default_factory=list)
    trained: set[str] = field(default_factory=set)
    continued: set[str] = field(default_factory=set)
    sampled: int = 0


def explain(plan: Plan, state: Pending, store: Store) -> list[ReasonGroup]:
    """The reasons of all cells that are to be made now, or have failed, in the order of the cells."""
    if state.stored is None or state.counts["done"] == len(plan.cells):
        return []
    reasons = _Reasons(plan, state, state.stored, StoredPlans(store), store)
    groups: dict[tuple[object, ...], ReasonGroup] = {}
    trainings = {training.run_key: training for training in state.work.trainings}
    for cell in reasons.cells:
        mark, reference, changes = state.marks[cell.index], cell.kind != "model", reasons.of_cell(cell)
        at = (mark, reference, *((change.kind, change.name) for change in changes))
        group = groups.setdefault(at, ReasonGroup(mark, reference, changes))
        group.changes = tuple(map(Change.joined, group.changes, changes))
        group.cells.append(cell.index)
        if mark == "failed":
            continue
        weights, drawn = reasons.work(cell)
        group.sampled += drawn
        if weights and (training := trainings.get(cell.run_key)):
            own = group.continued if training.first > plan.trajectories[cell.run_key].first else group.trained
            own.add(cell.run_key)
    others = set(trainings) - {key for group in groups.values() for key in group.trained | group.continued}
    needed = [ReasonGroup("needed", False, (), trained=others)] if others else []
    return [*groups.values(), *needed]


class _Reasons:
    """The reasons of one plan's cells, with a cache for what cells share."""

    def __init__(self, plan: Plan, state: Pending, stored: StoredRuns, plans: StoredPlans, store: Store) -> None:
        self.plan, self.state, self.stored, self.plans, self.store = plan, state, stored, plans, store
        self.folders = {folder.key for folder in store.run_folders()}
        self.words: dict[int, dict[str, str]] = {}
        self.settings: dict[tuple[str, str], dict[str, str]] = {}
        self.recipes: dict[tuple[object, ...], tuple[Change, ...]] = {}

    @cached_property
    def cells(self) -> list[Cell]:
        """Those that have a reason: what is wanted now, and what has failed."""
        return [c for c in self.plan.cells if c.index in self.state.wanted or c.index in self.state.causes]

    def work(self, cell: Cell) -> tuple[bool, bool]:
        """Whether a cell waits for weights that are not there, and whether its samples must be drawn."""
        run, missing = self.stored.of(cell), self._missing(cell)
        weights, _ = needs(cell, missing, run)
        asked = inputs_of(cell.scoring[m] for m in missing)
        drawn = bool(FOLLOWING & asked) or ("samples" in asked and cell.samples not in run.sampled)
        return weights and cell.step is not None and cell.step not in run.snapshots, drawn

    def of_cell(self, cell: Cell) -> tuple[Change, ...]:
        if cause := self.state.causes.get(cell.index):
            return (Change("failed", cause),)
        run, missing = self.stored.of(cell), self._missing(cell)
        if run.stale(cell.metrics[m] for m in missing):
            return (Change("distrusted", "difgen 0.1.0"),)
        if not self._has_something(run):
            not_yet = (Change("unfinished", "results" if cell.step is None else "training"),)
            return self._nearest.get(cell.run_key, not_yet)
        changes, lines = [], self.plans.cells.get(cell.samples, [])
        if self.work(cell)[0]:
            changes.append(self._of_step(cell, run))
        if lines:
            changes += [change for m in missing for change in self._of_metric(cell, m, lines)]
        else:
            beside = [one for one in self.plans.trajectories.get(cell.run_key, []) if one.value("step") == cell.at]
            changes += self._of_samples(cell, beside) if beside else []
        return tuple(dict.fromkeys(changes)) or (Change("unfinished", "samples"),)

    def _missing(self, cell: Cell) -> list[str]:
        results = self.stored.of(cell).results
        return [m for m, key in cell.metrics.items() if key not in results]

    def _has_something(self, run: StoredRun) -> bool:
        return run.key in self.folders and bool(run.results or run.snapshots or run.sampled)

    # Weights ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _nearest(self) -> dict[str, tuple[Change, ...]]:
        """For each trajectory or reference that no plan has named so far, how it differs from the nearest one."""
        fresh: dict[str, Cell] = {}
        for cell in self.cells:
            if cell.run_key not in fresh and cell.run_key not in self.plans.trajectories:
                fresh[cell.run_key] = cell
        changes: dict[str, tuple[Change, ...]] = {}
        for kind in dict.fromkeys(cell.kind for cell in fresh.values()):
            cells = [cell for cell in fresh.values() if cell.kind == kind]
            lines = [one[0] for key, one in self.plans.trajectories.items() if key in self.folders]
            near = self._near(cells, [line for line in lines if line.value("kind") == kind])
            changes |= {
                cell.run_key: self._of_run(cell, line) if line else (Change("empty", ""),)
                for cell, line in zip(cells, near, strict=True)
            }
        return changes

    def _near(self, cells: list[Cell], lines: list[Line]) -> list[Line | None]:
        """The nearest line of each cell of which something is stored; None where there is none."""
        words = [self._told_by(cell) for cell in cells]
        paths = list(dict.fromkeys(path for one in words for path in one))
        for _ in range(TRIES):
            if not lines:
                break
            chosen = [lines[at] for at in nearest(words, lines, paths)]
            homes = {str(line.value("home")): line for line in chosen}
            bare = {key for key, line in homes.items() if not self._is_stored(key, line)}
            if not bare:
                return [*chosen]
            lines = [line for line in lines if line.value("home") not in bare]
        return [None] * len(cells)

    def _is_stored(self, key: str, line: Line) -> bool:
        folder = self.store.run_folder(key, "", reference=line.value("kind") != "model")
        return bool(folder.results() or folder.snapshots())

    def _told_by(self, cell: Cell) -> dict[str, str]:
        """The settings by which a trajectory is told, or a reference, as words."""
        sections = TRAINED if cell.kind == "model" else (*TRAINED, *DRAWN)
        at = (cell.run_key, cell.samples if cell.kind != "model" else "")
        if at in self.settings:
            return self.settings[at]
        words: dict[str, str] = {}
        for part in cell.columns:
            if id(part) not in self.words:
                self.words[id(part)] = {path: plain(value) for path, value in part.items() if path != STEPS}
            words |= self.words[id(part)]
        self.settings[at] = {path: word for path, word in words.items() if path.partition(".")[0] in sections}
        return self.settings[at]

    def _of_run(self, cell: Cell, line: Line) -> tuple[Change, ...]:
        """How a trajectory or reference differs from the nearest: in settings, versions, and contents."""
        settings = [*_differing(self._told_by(cell), line)]
        if str(line.value("seed")) != str(cell.seed) and SEEDS & {change.name for change in settings}:
            settings = [change for change in settings if change.name not in SEEDS]
            settings.append(Change("seed", "seed", (str(cell.seed),), (str(line.value("seed")),)))
        settings = [self._with_others(change) for change in settings]
        others = self._of_recipe(cell, line, tuple(change.name for change in settings))
        return (*settings, *others) or (Change("inputs", "training"),)

    def _with_others(self, change: Change) -> Change:
        """The same, with whether any stored trajectory has the new value."""
        used = any(change.new[0] in plan.distinct(change.name) for plan in self.plans.plans)
        return Change(change.kind, change.name, change.new, change.stored, used)

    def _of_recipe(self, cell: Cell, line: Line, differing: tuple[str, ...]) -> tuple[Change, ...]:
        """Versions and contents; where no setting of the rows differs either, the settings of the recipes."""
        holder = self.plan.trajectories if cell.kind == "model" else self.plan.references
        recipe = holder[cell.run_key].recipe
        made_of = (*differing, *sorted({*_operations(recipe)}))
        if made_of not in self.recipes:
            folder = self.store.run_folder(str(line.value("home")), "", reference=cell.kind != "model")
            spec = folder.spec()
            table, key = spec.get("recipe", {}), str(spec.get("key"))
            changes = changes_of(recipe, table, key)
            self.recipes[made_of] = tuple(changes or (() if differing else settings_of(recipe, table, key)))
        return self.recipes[made_of]

    def _of_step(self, cell: Cell, run: StoredRun) -> Change:
        """Why a step of a stored trajectory has no weights."""
        beside = [one for one in self.plans.trajectories.get(cell.run_key, []) if one.value("step") == cell.step]
        if not beside:
            return Change("step", STEPS, (str(cell.step),), tuple(map(str, sorted(run.snapshots))))
        names = dict.fromkeys(n for one in beside for n in one.plan.table.column_names if n.startswith("result."))
        was = any(one.value("cell") in run.sampled or any(one.value(n) in run.results for n in names) for one in beside)
        broken = exists(run.folder.snapshot(cell.step or 0).with_suffix(".broken"))
        kind = "damaged" if broken else "missing" if was else "unfinished"
        return Change(kind, "snapshot" if kind != "unfinished" else "training", (str(cell.step),))

    # Samples and results ---------------------------------------------------------------------------------------------

    def _of_samples(self, cell: Cell, lines: list[Line]) -> list[Change]:
        """How samples differ from the nearest of the same weights."""
        words = {path: plain(v) for path, v in cell.settings().items() if path.partition(".")[0] in DRAWN}
        line = min(lines, key=lambda one: len([*_differing(words, one)]))
        settings = [self._with_others(change) for change in _differing(words, line)]
        versions = _versions(made_by.of_samples(cell.sampler, cell.guidance), line)
        return [*settings, *versions] or [Change("inputs", "samples")]

    def _of_metric(self, cell: Cell, metric: str, lines: list[Line]) -> list[Change]:
        """Why a result of samples that a plan has named is not there."""
        name, planned = f"result.{metric}", cell.scoring[metric]
        measured = [line for line in lines if line.value(name) is not None]
        if not measured:
            return [Change("metric", metric)]
        if any(line.value(name) == cell.metrics[metric] for line in measured):
            return [Change("unfinished", f"result of {metric}")]
        words = {f"score.{metric}.{k}": plain(value) for k, value in planned.settings().items()}
        settings = [self._with_others(change) for change in _differing(words, measured[0])]
        changes = [*settings, *_versions(made_by.of_metric(metric, planned), measured[0])]
        return changes or [Change("inputs", f"metric {metric}")]


def _differing(words: dict[str, str], line: Line) -> Iterator[Change]:
    """The settings that a line has otherwise; where a plug-in is another one, not those that come with it."""
    stored_words = {path: line.word(path) for path in words}
    differing = {path: stored for path, stored in stored_words.items() if stored not in (words[path], UNKNOWN)}
    renamed = {path.removesuffix("name") for path in differing if path.endswith(".name")}
    for path, stored in differing.items():
        if path.endswith(".name") or not any(path.startswith(section) for section in renamed):
            yield Change("setting", path, (words[path],), (stored,))


def _versions(current: dict[str, str], line: Line) -> Iterator[Change]:
    """The labels whose version or content a line's plan has otherwise."""
    for label, version in current.items():
        stored = line.plan.made_by.get(label, [])
        if stored and version not in stored:
            yield Change("content" if label.startswith(CONTENT) else "version", label, (version,), tuple(stored))


def _operations(recipe: Recipe) -> Iterable[str]:
    """What a recipe is made with, whatever the settings."""
    yield f"{recipe.operation.kind} {recipe.name} {recipe.operation.version} {recipe.content}"
    for part in recipe.inputs.values():
        yield from _operations(part)
