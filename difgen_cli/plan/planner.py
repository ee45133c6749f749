"""A grid becomes a plan. Each distinct section is checked and hashed once: 100,000 cells plan in seconds.

Pure: reads signatures and facts about data, touches no result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from difgen_cli.grid import Assignments, Axis, Grid
from difgen_cli.grid.document import GridError
from difgen_cli.grid.values import Given
from difgen_cli.plan import PARTNERS, Cell, Partner, Plan, Reference, Scoring, Trajectory
from difgen_cli.plan.derive import Derivation, Known, Trained, Where, has_horizon, shaping
from difgen_cli.plan.naming import condition_words, data_words, short, slug
from difgen_cli.plan.notes import notes_on
from difgen_cli.plan.recipes import Head, Recipe, apart
from difgen_cli.plan.sections import AGAINST, Section, resolve
from difgen_cli.plugins import SECTIONS, Library

REFERENCES = ("heldout", "copycat", "ideal")
REFERENCE_VERSION = 1  # of how a worker makes the samples of reference rows
SHAPING = ("data", "condition", "model", "train")  # the sections that shape the weights

# What a metric's `twin` and `sibling` are trained with: the other half, or the same; initial weights of their own.
TWIN_SEED = 1000
TRAINED_WITH: dict[str, Callable[[str, int], dict[str, Any]]] = {
    "twin": lambda half, seed: {"data.half": "B" if half == "A" else "A", "train.seed": seed ^ TWIN_SEED},
    "sibling": lambda half, seed: {"data.half": half, "train.seed": seed ^ TWIN_SEED},
}

Stops = tuple[Assignments, ...]  # a point: what each axis says there


def build(grid: Grid, library: Library, facts: Known) -> Plan:
    """The plan of a grid. Raises GridError with its place."""
    try:
        return _Planner(grid, library, facts).plan()
    except GridError as error:
        error.file = error.file or grid.file
        raise


class _Planner:
    """One pass over the points of a grid, with a cache for each thing that many cells share."""

    def __init__(self, grid: Grid, library: Library, facts: Known) -> None:
        self.grid, self.library = grid, library
        self.derive = Derivation(library, facts, {})
        self.axes = (*grid.axes, _seed_axis(grid))
        self.plugins = {s: self._named(f"{s}.name", s) for s in SECTIONS}
        self.compared = self._named(f"score.*.{AGAINST}.name", "data")
        self.touching = {s: self._axes_of((s,)) for s in SECTIONS} | {"weights": self._axes_of(SHAPING)}
        self.sections: dict[tuple[Any, ...], Section] = {}
        self.scorings: dict[tuple[Any, ...], Scoring] = {}
        self.trained: dict[tuple[Any, ...], tuple[Trained, tuple[dict[str, Any], ...]]] = {}
        self.runs: dict[tuple[Any, ...], Trained] = {}
        self.heads: dict[tuple[int, int | None], Head] = {}
        self.guidances: dict[int, str] = {}
        self.snapshots: dict[tuple[str, int], str] = {}
        self.steps: dict[str, dict[int, tuple[Trained, tuple[dict[str, Any], ...]]]] = {}
        self.references: dict[str, Reference] = {}
        self.seen: set[tuple[Any, ...]] = set()
        self.cells: list[Cell] = []

    def plan(self) -> Plan:
        for stops in self._points():
            self._add(stops)
        trajectories = {key: _trajectory(steps) for key, steps in self.steps.items()}
        notes = notes_on(self.grid, trajectories)
        return Plan(self.grid, self.cells, trajectories, self.references, self.derive.recipes, notes)

    # Points and their sections -------------------------------------------------------------------------------------

    def _points(self) -> Iterator[Stops]:
        """Every point of the grid with every seed; an included cell stands at no stop, and brings its own."""
        seeds = self.axes[-1].stops
        for point in self.grid.points():
            stops = tuple(axis.stops[k] for axis, k in zip(self.grid.axes, point, strict=True))
            for seed in seeds:
                yield (*stops, seed)
        for extra in self.grid.include:
            for seed in seeds:
                yield (*((),) * len(self.grid.axes), seed, extra)

    def _named(self, path: str, kind: str) -> list[str]:
        """The plug-ins of a kind that any cell names at a path, which may hold wildcards."""
        stops = [stop for axis in self.axes for stop in axis.stops] + list(self.grid.include)
        said = [*self.grid.base.items(), *(pair for stop in stops for pair in stop)]
        known = self.library.names(kind)
        return [str(g.value) for p, g in said if fnmatchcase(p, path) and str(g.value) in known]

    def _axes_of(self, sections: tuple[str, ...]) -> list[int]:
        return [i for i, a in enumerate(self.axes) if any(_section(p) in sections for p in a.paths)]

    def _given(self, section: str, stops: Stops) -> dict[str, Given]:
        prefix = section + "."
        said = [*self.grid.base.items(), *(pair for stop in stops for pair in stop)]
        return {p.removeprefix(prefix): g for p, g in said if p.startswith(prefix)}

    def _at(self, section: str, stops: Stops) -> tuple[Any, ...]:
        """What decides a section at a point: the stops of the axes that touch it."""
        if len(stops) > len(self.axes):
            return (section, *stops[-2:])
        return (section, *(id(stops[i]) for i in self.touching[section]))

    def _resolved(self, kind: str, stops: Stops) -> Section:
        at = self._at(kind, stops)
        if at not in self.sections:
            self.sections[at] = resolve(kind, self._given(kind, stops), self.library, self.plugins[kind])
        return self.sections[at]

    def _where(self, stops: Stops) -> Where:
        def where(path: str) -> Any:
            said = dict(pair for stop in stops for pair in stop)
            given = said.get(path) or self.grid.base.get(path)
            return given.place if given else None

        return where

    # Cells ---------------------------------------------------------------------------------------------------------

    def _add(self, stops: Stops) -> None:
        made, columns = self._trained(stops)
        sampler, guidance = self._resolved("sample", stops), self._resolved("guide", stops)
        train, scoring = self._resolved("train", stops), self._scoring(stops)
        home = made.trajectory.key
        step = train.settings["steps"] if made.batch else None
        self.steps.setdefault(home, {})[step or 0] = (made, columns)
        snapshot = self._snapshot(home, train, step) if step else home
        samples = self._samples(sampler, guidance, snapshot)
        partners = self._partners(stops, scoring)
        inputs = {"denoiser": snapshot, "samples": samples, "states": samples, "home": home}
        inputs |= {name: partner.samples for name, partner in partners.items()}
        metrics = scoring.keys("model", made.inputs | inputs)
        seed = dict(stops[len(self.axes) - 1])["seed"].value
        columns = (*columns, sampler.columns, guidance.columns)
        self.cells.append(
            Cell(
                len(self.cells),
                "model",
                seed,
                home,
                step,
                snapshot,
                samples,
                sampler,
                guidance,
                scoring,
                metrics,
                columns,
                stops,
                partners,
            )
        )
        for kind in REFERENCES:
            self._add_reference(kind, made, sampler, guidance, scoring, seed, columns, stops)

    def _partners(self, stops: Stops, scoring: Scoring) -> dict[str, Partner]:
        """The other trajectories that a cell's metrics name; they are planned like its own, whoever else wants them."""
        named = {i: m for m, section in scoring.sections.items() for i in section.signature.inputs if i in PARTNERS}
        return {name: self._partner(name, metric, stops) for name, metric in sorted(named.items())}

    def _partner(self, name: str, metric: str, stops: Stops) -> Partner:
        data, train = self._resolved("data", stops), self._resolved("train", stops)
        half, seed = data.own["half"], train.settings.get("seed", 0)
        if half is None:
            raise GridError(
                f"score.{metric}: compares two disjoint halves; set data.half: A", self._where(stops)("data.name")
            )
        if "steps" not in train.settings or self._trained(stops)[0].batch is None:
            raise GridError(f"score.{metric}: compares trained networks", self._where(stops)("model.name"))
        changed = TRAINED_WITH[name](half, seed)
        own = tuple(pair for stop in stops for pair in stop if pair[0] not in changed)
        extra = (*own, *((path, Given(value)) for path, value in changed.items()))
        there: Stops = (*((),) * len(self.axes), extra)
        made, columns = self._trained(there)
        home, step = made.trajectory.key, train.settings["steps"]
        self.steps.setdefault(home, {}).setdefault(step, (made, columns))
        snapshot = self._snapshot(home, train, step)
        samples = self._samples(self._resolved("sample", stops), self._resolved("guide", stops), snapshot)
        return Partner(home, step, snapshot, samples)

    def _snapshot(self, home: str, train: Section, step: int) -> str:
        """The key of the weights of a trajectory at a step."""
        if (home, step) not in self.snapshots:
            self.snapshots[home, step] = self._head(train, step).key({"trajectory": home})
        return self.snapshots[home, step]

    def _add_reference(
        self, kind: str, made: Trained, sampler: Section, guidance: Section, scoring: Scoring, seed: int,
        columns: tuple[dict[str, Any], ...], stops: Stops,
    ) -> None:  # fmt: skip
        """Held-out images, resampled training images or the ideal denoiser, scored like the models, each once."""
        mirrored, labels = "mirrored" in made.inputs, made.labels.key if kind == "ideal" else ""
        at = (kind, made.subset.key, labels, mirrored, id(sampler), id(guidance), id(scoring))
        if at in self.seen or (kind == "heldout" and not made.subset.inputs["holdout"].settings["held_out"]):
            return
        self.seen.add(at)
        if kind == "ideal":
            parents = {"subset": made.subset, "labels": made.labels}
            recipe = self.derive.keep(Recipe(_reference_head(kind, mirrored), parents))
            samples = self._samples(sampler, guidance, recipe.key)
            shown = (columns[0], columns[1], *columns[4:])
        else:
            drawn = {"count": sampler.own["count"], "seed": sampler.own["seed"]}
            recipe, samples = real_images(kind, made.subset, drawn, mirrored)
            self.derive.keep(recipe)
            shown = (columns[0], {f"sample.{k}": v for k, v in drawn.items()})
        inputs = {"denoiser": recipe.key, "samples": samples, "states": samples, "home": recipe.key}
        metrics = scoring.keys(kind, made.inputs | inputs)
        if not metrics or (samples, *metrics.values(), seed) in self.seen:
            return
        self.seen.add((samples, *metrics.values(), seed))
        named = slug([kind, *data_words(columns[0]), *(condition_words(columns[1]) if kind == "ideal" else ())])
        self.references.setdefault(recipe.key, Reference(recipe, named))
        snapshot = recipe.key if kind == "ideal" else None
        axes = tuple(_visible(kind, stop) for stop in stops)
        self.cells.append(
            Cell(
                len(self.cells),
                kind,
                seed,
                recipe.key,
                None,
                snapshot,
                samples,
                sampler,
                guidance,
                scoring,
                metrics,
                shown,
                axes,
            )
        )

    def _trained(self, stops: Stops) -> tuple[Trained, tuple[dict[str, Any], ...]]:
        at = self._at("weights", stops)
        if at not in self.trained:
            data, condition, model, train = (self._resolved(section, stops) for section in SHAPING)
            self._check_horizon(train, stops)
            apart = (id(data), id(condition), id(model), shaping(train))  # the steps of one run share it
            if apart not in self.runs:
                self.runs[apart] = self.derive.trained(data, condition, model, train, self._where(stops))
            made = self.runs[apart]
            trained = train.columns if made.batch else {}
            columns = (data.columns | {"data.size": made.size}, condition.columns, model.columns, trained)
            self.trained[at] = (made, columns)
        return self.trained[at]

    def _scoring(self, stops: Stops) -> Scoring:
        at = (*self._at("score", stops), *self._at("data", stops))
        if at not in self.scorings:
            data = self._resolved("data", stops)
            given, where = self._given("score", stops), self._where(stops)
            self.scorings[at] = self.derive.scoring(given, data, where, self.compared)
        return self.scorings[at]

    def _samples(self, sampler: Section, guidance: Section, snapshot: str) -> str:
        if id(guidance) not in self.guidances:
            self.guidances[id(guidance)] = self._head(guidance).key({})
        return self._head(sampler).key({"snapshot": snapshot, "guidance": self.guidances[id(guidance)]})

    def _head(self, section: Section, step: int | None = None) -> Head:
        """The head of samples, of guidance, or of a snapshot at a step."""
        at = (id(section), step)
        if at not in self.heads:
            if step is not None:
                self.heads[at] = Head("snapshot", "train", section.signature.version, {"step": step})
            else:
                own = f".{section.own_signature.version}" if section.own_signature else ""
                settings = section.changed | section.changed_own
                version = f"{section.signature.version}{own}"
                self.heads[at] = Head(section.kind, section.name, version, settings)
        return self.heads[at]

    def _check_horizon(self, train: Section, stops: Stops) -> None:
        axis = next((a for a in self.grid.axes if "train.steps" in a.paths), None)
        if has_horizon(train) and axis is not None and len(axis.stops) > 1:
            raise GridError(
                f"train.schedule: {train.settings['schedule']} ends at train.steps, so that several steps are several "
                "runs; use constant or inverse_sqrt, or a single value of train.steps",
                self._where(stops)("train.schedule"),
            )


def real_images(kind: str, subset: Recipe, drawn: dict[str, Any], mirrored: bool = False) -> tuple[Recipe, str]:
    """Held-out images, or training images resampled, in place of a model; and the key of such samples."""
    inputs = {"subset": subset} | ({"held_out": apart(subset.inputs["holdout"])} if kind == "heldout" else {})
    recipe = Recipe(_reference_head(kind, mirrored), inputs)
    return recipe, Head("samples", kind, REFERENCE_VERSION, drawn).key({"reference": recipe.key})


def _reference_head(kind: str, mirrored: bool) -> Head:
    """A reference beside models whose training showed mirror images is scored as they are."""
    return Head("reference", kind, REFERENCE_VERSION, {"flip": True} if mirrored else {})


def _section(path: str) -> str:
    return path.partition(".")[0]


def _seed_axis(grid: Grid) -> Axis:
    """Seeds as a last axis: subset, initialisation and training noise vary together; sampling noise stays common."""
    paths = ("data.seed", "train.seed")
    for path in paths:
        if len(grid.seeds) > 1 and any(path in a.paths for a in grid.axes):
            raise GridError(f"{path} is an axis and seeds are given too; use one of them")
        if path in grid.base and type(grid.base[path].value) is not int:
            raise GridError(f"{path}: must be a whole number, not {grid.base[path].value!r}", grid.base[path].place)
    moved = [p for p in paths if not any(p in a.paths for a in grid.axes)]
    first = {p: grid.base[p] if p in grid.base else Given(0) for p in moved}
    stops = (
        (("seed", Given(seed)), *((p, Given(first[p].value + seed, first[p].place)) for p in moved))
        for seed in grid.seeds
    )
    return Axis(("seed", *moved), tuple(stops))


def _visible(kind: str, stop: Assignments) -> Assignments:
    """The axis values that mean something for a reference row."""
    sections = ("data", "sample", "score", "seed") + (("condition", "guide") if kind == "ideal" else ())
    return tuple((p, g) for p, g in stop if _section(p) in sections)


def _trajectory(steps: dict[int, tuple[Trained, tuple[dict[str, Any], ...]]]) -> Trajectory:
    made, columns = steps[max(steps)]
    settings = {path: value for part in columns for path, value in part.items()}
    recipe = made.trajectory
    network = recipe.inputs["network"]
    words = [*data_words(settings), *condition_words(settings), network.name]
    words += [f"{k}{short(v)}" for k, v in network.settings.items()]
    words += [f"{k}{short(v)}" for k, v in recipe.settings.items() if k not in ("steps", "seed")]
    seed = recipe.settings.get("seed", 0)
    named = slug([*words, *([f"seed{seed}"] if seed else [])])
    return Trajectory(recipe, named, tuple(sorted(steps)) if made.batch else (), made.batch or 0, settings)
