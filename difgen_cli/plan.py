"""A grid becomes cells with keys: what each cell is, what it needs, and what all of them share.

Pure: reads signatures and facts about data, touches no result. Each distinct section is checked and hashed once,
so that a grid of 100,000 cells plans in seconds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from difgen_cli import places
from difgen_cli.document import GridError, Place
from difgen_cli.grid import Assignments, Axis, Given, Grid, number
from difgen_cli.plugins import SECTIONS, Library
from difgen_cli.recipes import Head, Recipe
from difgen_cli.sections import DEFAULT_SCORE, Section, resolve, resolve_metric

REFERENCES = ("heldout", "copycat", "ideal")
REFERENCE_VERSION = 1  # of how the worker makes the reference rows


@dataclass(frozen=True)
class Facts:
    """What planning must know of a data set without holding it."""

    content: str  # SHA-256 of the decoded images and labels
    images: int
    shape: tuple[int, ...]  # (H, W, C), or (D,) for points
    labelled: bool


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One line of the results: a model at a step with its sampler, or a reference scored the same way."""

    index: int
    kind: str  # model, heldout, copycat, ideal
    seed: int
    home: str  # key of the trajectory, or of the reference, under which its files lie
    step: int | None
    snapshot: str | None
    samples: str
    sampling: Section
    guidance: Section
    metrics: dict[str, str]  # metric -> key of its result; shared between cells of one kind only by equality
    scoring: Scoring
    columns: tuple[dict[str, Any], ...]  # settings by dotted path, section by section
    axes: tuple[Assignments, ...]  # what the grid says for this cell

    def settings(self) -> dict[str, Any]:
        """Every setting of the cell in canonical form, by dotted path."""
        scores = {f"score.{m}.{k}": v for m in self.metrics for k, v in self.scoring.sections[m].settings.items()}
        return {path: value for part in self.columns for path, value in part.items()} | scores

    def axis_values(self) -> dict[str, Any]:
        """Axis values as the grid says them (clusters 1, where the canonical setting is no condition)."""
        canonical = self.settings()
        return {path: canonical.get(path, number(given.value)) for stop in self.axes for path, given in stop}

    def identity(self) -> str:
        """Hash of kind and settings, whatever the versions of the code: to know a result of older code as stale."""
        settings = sorted((k, str(v)) for k, v in self.settings().items())
        return hashlib.sha256(json.dumps([self.kind, settings]).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Scoring:
    """The metrics of a cell: their sections and what they take."""

    sections: dict[str, Section]
    heads: dict[str, Head]
    features: dict[str, Recipe]  # metric -> its feature space

    def for_kind(self, kind: str) -> Iterator[str]:
        """The metrics that apply: real images have no denoiser."""
        for name, section in self.sections.items():
            if kind not in ("heldout", "copycat") or "denoiser" not in section.signature.inputs:
                yield name


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One training run, read at several steps."""

    recipe: Recipe
    slug: str
    steps: tuple[int, ...]
    batch: int
    columns: tuple[dict[str, Any], ...]

    @property
    def key(self) -> str:
        return self.recipe.key

    @property
    def images(self) -> int:
        """Training images that the longest run shows."""
        return max(self.steps) * self.batch


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything a grid asks for, by key."""

    grid: Grid
    cells: list[Cell]
    trajectories: dict[str, Trajectory]
    references: dict[str, tuple[str, Recipe]]  # home key -> (slug, recipe)
    recipes: dict[str, Recipe]
    pools: dict[str, Section]  # content -> how to load it
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def models(self) -> list[Cell]:
        """The cells without the reference rows."""
        return [c for c in self.cells if c.kind == "model"]

    @property
    def images_planned(self) -> int:
        """Training images to be shown: the longest run of each trajectory."""
        return sum(t.images for t in self.trajectories.values())

    @property
    def images_one_by_one(self) -> int:
        """What a run for each cell would show: the sum over cells of one sampler setting."""
        return sum(sum(t.steps) * t.batch for t in self.trajectories.values())


def build(grid: Grid, library: Library, facts: Callable[[Section], Facts]) -> Plan:
    """The plan of a grid. Raises GridError with its place."""
    try:
        return _Planner(grid, library, facts).plan()
    except GridError as error:
        error.file = error.file or grid.file
        raise


@dataclass(frozen=True, eq=False)
class _Trained:
    """What cells of one data, condition, model and train section share."""

    trajectory: Recipe
    subset: Recipe
    labels: Recipe
    inputs: dict[str, str]  # role of a metric's input -> key
    slug: str
    columns: tuple[dict[str, Any], ...]
    batch: int


class _Planner:
    """One pass over the points of a grid, with a cache for each thing that many cells share."""

    def __init__(self, grid: Grid, library: Library, facts: Callable[[Section], Facts]) -> None:
        self.grid, self.library, self.facts = grid, library, facts
        self.axes = (*grid.axes, _seed_axis(grid))
        self.plugins = {s: self._named(s) for s in SECTIONS}
        self.touching = {
            s: [i for i, a in enumerate(self.axes) if any(_section(p) == s for p in a.paths)] for s in SECTIONS
        }
        self.sections: dict[tuple[Any, ...], Section] = {}
        self.scorings: dict[tuple[Any, ...], Scoring] = {}
        self.trained: dict[tuple[Any, ...], _Trained] = {}
        self.recipes: dict[str, Recipe] = {}
        self.pools: dict[str, Section] = {}
        self.steps: dict[str, set[int]] = {}
        self.heads: dict[int, Head] = {}
        self.cells: list[Cell] = []
        self.references: dict[str, tuple[str, Recipe]] = {}
        self.seen: set[tuple[str, ...]] = set()

    def plan(self) -> Plan:
        for stops in self._points():
            self._add(stops)
        models = {t.trajectory.key: t for t in self.trained.values()}
        trajectories = {
            key: Trajectory(
                models[key].trajectory, models[key].slug, tuple(sorted(s)), models[key].batch, models[key].columns
            )
            for key, s in self.steps.items()
        }
        return Plan(
            self.grid, self.cells, trajectories, self.references, self.recipes, self.pools, self._warnings(trajectories)
        )

    def _points(self) -> Iterator[tuple[Assignments, ...]]:
        seeds = self.axes[-1].stops
        for point in self.grid.points():
            stops = tuple(axis.stops[k] for axis, k in zip(self.grid.axes, point, strict=True))
            for seed in seeds:
                yield (*stops, seed)
        for extra in self.grid.include:
            for seed in seeds:
                yield (*((),) * len(self.grid.axes), extra + seed)

    def _named(self, section: str) -> list[str]:
        path = f"{section}.name"
        given = [self.grid.base[path]] if path in self.grid.base else []
        stops = [stop for axis in self.axes for stop in axis.stops] + list(self.grid.include)
        given += [g for stop in stops for p, g in stop if p == path]
        return [str(g.value) for g in given if str(g.value) in self.library.names(section)]

    def _given(self, section: str, stops: tuple[Assignments, ...]) -> dict[str, Given]:
        prefix = section + "."
        given = {p.removeprefix(prefix): g for p, g in self.grid.base.items() if p.startswith(prefix)}
        given |= {p.removeprefix(prefix): g for stop in stops for p, g in stop if p.startswith(prefix)}
        return given

    def _at(self, section: str, stops: tuple[Assignments, ...]) -> tuple[Any, ...]:
        """What decides a section at a point: the stops of the axes that touch it."""
        if not stops[0] and len(stops) > 1:  # an included cell
            return (section, "include", id(stops[-1]))
        return (section, *(id(stops[i]) for i in self.touching[section]))

    def _resolved(self, kind: str, stops: tuple[Assignments, ...]) -> Section:
        at = self._at(kind, stops)
        if at not in self.sections:
            self.sections[at] = resolve(kind, self._given(kind, stops), self.library, self.plugins[kind])
        return self.sections[at]

    def _add(self, stops: tuple[Assignments, ...]) -> None:
        data, condition = self._resolved("data", stops), self._resolved("condition", stops)
        model, train = self._resolved("model", stops), self._resolved("train", stops)
        sample, guide = self._resolved("sample", stops), self._resolved("guide", stops)
        at = (
            *self._at("data", stops),
            *self._at("condition", stops),
            *self._at("model", stops),
            *self._at("train", stops),
        )
        if at not in self.trained:
            self.trained[at] = self._train(data, condition, model, train, stops)
        made = self.trained[at]
        scoring = self._scoring(data, stops)
        seed = next(g.value for p, g in stops[-1] if p == "seed")
        step = train.settings["steps"]
        self._check_horizon(train, stops)
        self.steps.setdefault(made.trajectory.key, set()).add(step)
        snapshot = self._head(train, "snapshot", {"step": step}).key({"trajectory": made.trajectory.key})
        guidance = self._head(guide, "guidance").key({})
        samples = self._head(sample, "samples").key({"snapshot": snapshot, "guidance": guidance})
        inputs = made.inputs | {"denoiser": snapshot, "samples": samples}
        columns = (*made.columns, sample.columns(), guide.columns())
        metrics = {m: self._metric(scoring, m, inputs) for m in scoring.sections}
        self._cell(
            "model",
            seed,
            made.trajectory.key,
            step,
            snapshot,
            samples,
            sample,
            guide,
            metrics,
            scoring,
            columns,
            stops,
        )
        self._reference_cells(made, sample, guide, scoring, seed, stops)

    def _cell(self, kind: str, seed: int, home: str, step: int | None, snapshot: str | None, samples: str, sample: Section,
              guidance: Section, metrics: dict[str, str], scoring: Scoring, columns: tuple[dict[str, Any], ...],
              stops: tuple[Assignments, ...]) -> None:  # fmt: skip
        identity = (kind, samples, *metrics.values(), str(seed))
        axes = stops if kind == "model" else tuple(_visible(kind, stop) for stop in stops)
        if kind != "model" and identity in self.seen:
            return
        self.seen.add(identity)
        self.cells.append(
            Cell(
                len(self.cells),
                kind,
                seed,
                home,
                step,
                snapshot,
                samples,
                sample,
                guidance,
                metrics,
                scoring,
                columns,
                axes,
            )
        )

    def _reference_cells(self, made: _Trained, sample: Section, guidance: Section, scoring: Scoring, seed: int,
                         stops: tuple[Assignments, ...]) -> None:  # fmt: skip
        """Held-out images, resampled training images and the ideal denoiser, scored like the models."""
        counts = {k: sample.own[k] for k in ("count", "seed")}
        for kind in REFERENCES:
            parents = {"subset": made.subset} | ({"labels": made.labels} if kind == "ideal" else {})
            recipe = self._keep(Recipe(Head("reference", kind, REFERENCE_VERSION, {}), parents))
            if kind == "ideal":
                samples = self._head(sample, "samples").key(
                    {"snapshot": recipe.key, "guidance": self._head(guidance, "guidance").key({})}
                )
            else:
                samples = Head("samples", kind, REFERENCE_VERSION, counts).key({"reference": recipe.key})
            names = list(scoring.for_kind(kind))
            if (kind, samples, *names) in self.seen or not names:
                continue
            self.seen.add((kind, samples, *names))
            inputs = made.inputs | {"denoiser": recipe.key, "samples": samples}
            metrics = {m: self._metric(scoring, m, inputs) for m in names}
            columns = (made.columns[0], *(made.columns[1:2] if kind == "ideal" else ()), sample.columns())
            slug = f"{kind}-{made.slug.split('-mdl')[0]}" if kind == "ideal" else f"{kind}-{made.slug.split('-')[0]}"
            self.references.setdefault(recipe.key, (slug, recipe))
            self._cell(kind, seed, recipe.key, None, recipe.key if kind == "ideal" else None, samples, sample, guidance,
                       metrics, scoring, columns, stops)  # fmt: skip

    def _metric(self, scoring: Scoring, metric: str, inputs: dict[str, str]) -> str:
        taken = {i: inputs[i] for i in scoring.sections[metric].signature.inputs if i in inputs}
        if metric in scoring.features:
            taken["embed"] = scoring.features[metric].key
        return scoring.heads[metric].key(taken)

    def _head(self, section: Section, kind: str, extra: dict[str, Any] | None = None) -> Head:
        """The head of a recipe whose settings are all of a section's, or `extra` alone."""
        at = hash((id(section), kind, *(extra or {}).items()))
        if at not in self.heads:
            settings = extra if extra is not None else section.changed() | section.changed_own()
            version: int | str = section.signature.version
            if section.own_signature and extra is None:
                version = f"{version}.{section.own_signature.version}"
            name = section.name
            self.heads[at] = Head(kind, name, version, settings)
        return self.heads[at]

    def _keep(self, recipe: Recipe) -> Recipe:
        return self.recipes.setdefault(recipe.key, recipe)

    def _train(
        self, data: Section, condition: Section, model: Section, train: Section, stops: tuple[Assignments, ...]
    ) -> _Trained:
        pool, facts = self._pool(data, stops)
        own, version = data.own, data.own_signature.version if data.own_signature else 0
        holdout = self._keep(Recipe(Head("holdout", "split", version, {"held_out": own["held_out"]}), {"pool": pool}))
        rest = self._check_subset(own, facts, stops)
        chosen = {k: v for k, v in data.changed_own().items() if k != "held_out"}
        subset = self._keep(Recipe(Head("subset", "split", version, chosen), {"holdout": holdout}))
        labels = self._labels(condition, holdout, subset, facts, rest, stops)
        network = self._keep(Recipe(self._head(model, "network"), {}))
        settings = {k: v for k, v in train.changed().items() if k != "steps" or self._has_horizon(train)}
        head = Head("trajectory", "train", train.signature.version, settings)
        trajectory = self._keep(Recipe(head, {"subset": subset, "labels": labels, "network": network}))
        inputs = {
            "train": subset.key, "shared": subset.key, "held_out": holdout.key, "sigma_data": holdout.key,
            "train_labels": labels.key, "held_out_labels": labels.key,
        }  # fmt: skip
        columns = (data.columns(), condition.columns(), model.columns(), train.columns())
        columns[0]["data.size"] = own["size"] or rest
        slug = _slug(data, condition, model, train, columns[0]["data.size"])
        return _Trained(trajectory, subset, labels, inputs, slug, columns, train.settings["batch"])

    def _pool(self, data: Section, stops: tuple[Assignments, ...]) -> tuple[Recipe, Facts]:
        place = self._place("data.path", stops) or self._place("data.name", stops)
        try:
            facts = self.facts(data)
        except ValueError as error:
            raise GridError(f"data.{'path' if 'path' in data.settings else 'name'}: {error}", place) from None
        self.pools[facts.content] = data
        return self._keep(Recipe(Head("pool", data.name, 0, {}), {}, content=facts.content[:16])), facts

    def _check_subset(self, own: dict[str, Any], facts: Facts, stops: tuple[Assignments, ...]) -> int:
        """Images there are for training; raises GridError where the settings ask for more."""
        rest: int = facts.images - own["held_out"]
        if rest < 1:
            raise GridError(
                f"data.held_out: {own['held_out']} of {facts.images} images leaves none to train on; hold out fewer",
                self._place("data.held_out", stops),
            )
        there: int = rest if own["half"] is None else (rest + (own["half"] == "A")) // 2
        if own["size"] is not None and own["size"] > there:
            half = f" in half {own['half']}" if own["half"] else ""
            raise GridError(
                f"data.size: {own['size']} images are more than the {there}{half} that {facts.images} images leave with "
                f"{own['held_out']} held out; use at most {there}",
                self._place("data.size", stops),
            )
        return there

    def _labels(self, condition: Section, holdout: Recipe, subset: Recipe, facts: Facts, rest: int,
                stops: tuple[Assignments, ...]) -> Recipe:  # fmt: skip
        takes = condition.signature.inputs
        clusters = condition.settings.get("clusters")
        if isinstance(clusters, int) and clusters > rest:
            raise GridError(
                f"condition.clusters: {clusters} clusters are more than the {rest} images that they are fitted on",
                self._place("condition.clusters", stops),
            )
        if condition.name == "labels" and not facts.labelled:
            raise GridError("condition.name: this data set has no labels; use kmeans, random or none",
                            self._place("condition.name", stops))  # fmt: skip
        inputs = {"subset": subset} if "train" in takes else {"holdout": holdout}
        if "embed" in takes:
            inputs["embed"] = self._features(condition, facts, holdout, self._place("condition.features", stops))
        return self._keep(Recipe(self._head(condition, "labels"), inputs if takes else {}))

    def _features(self, section: Section, facts: Facts, holdout: Recipe, place: Place | None) -> Recipe:
        """The feature space that a section names; `auto` is the embedded default for this kind of data."""
        name = section.settings["features"]
        if name == "auto":
            name = "pixels" if len(facts.shape) == 1 else "classifier" if facts.labelled else "random_conv"
        if name not in self.library.names("features"):
            known = ", ".join(self.library.names("features"))
            raise GridError(f"{section.kind}.features: no feature space is called {name!r} ({known})", place)
        signature = self.library.signature("features", name)
        if "labels" in signature.inputs and not facts.labelled:
            raise GridError(
                f"features {name} are trained on labels, and this data set has none; use random_conv", place
            )
        settings: dict[str, Any] = {}
        if "WEIGHTS" in signature.constants:
            settings["weights"] = _weights(signature.constants["WEIGHTS"], place)
        fitted = {"holdout": holdout} if {"images", "labels"} & set(signature.inputs) else {}
        return self._keep(Recipe(Head("features", name, signature.version, settings), fitted))

    def _scoring(self, data: Section, stops: tuple[Assignments, ...]) -> Scoring:
        at = (*self._at("score", stops), *self._at("data", stops))
        if at not in self.scorings:
            self.scorings[at] = self._score(data, stops)
        return self.scorings[at]

    def _score(self, data: Section, stops: tuple[Assignments, ...]) -> Scoring:
        given = self._given("score", stops) or {m: Given(True) for m in DEFAULT_SCORE}
        pool, facts = self._pool(data, stops)
        version = data.own_signature.version if data.own_signature else 0
        holdout = Recipe(Head("holdout", "split", version, {"held_out": data.own["held_out"]}), {"pool": pool})
        names = sorted({path.partition(".")[0] for path in given})
        sections: dict[str, Section] = {}
        heads: dict[str, Head] = {}
        spaces: dict[str, Recipe] = {}
        for metric in names:
            place = (
                given[metric].place
                if metric in given
                else next(g.place for p, g in given.items() if p.startswith(metric + "."))
            )
            own = {p.partition(".")[2]: g for p, g in given.items() if p.startswith(metric + ".")}
            section = resolve_metric(metric, own, self.library, place)
            needed = section.signature.constants.get("HELD_OUT_MIN", 0)
            if data.own["held_out"] < needed:
                raise GridError(
                    f"score.{metric}: needs at least {needed} held-out images, and data.held_out is {data.own['held_out']}",
                    place,
                )
            settings = {k: v for k, v in section.changed().items() if k != "features"}  # the space's key stands for it
            if "embed" in section.signature.inputs:
                spaces[metric] = self._features(
                    section, facts, holdout, own["features"].place if "features" in own else place
                )
                section.settings["features"] = spaces[metric].name
            sections[metric] = section
            heads[metric] = Head("metric", metric, section.signature.version, settings)
        return Scoring(sections, heads, spaces)

    def _has_horizon(self, train: Section) -> bool:
        return train.settings.get("schedule") in train.signature.constants.get("HORIZON", ())

    def _check_horizon(self, train: Section, stops: tuple[Assignments, ...]) -> None:
        axis = next((a for a in self.grid.axes if "train.steps" in a.paths), None)
        if self._has_horizon(train) and axis is not None and len(axis.stops) > 1:
            raise GridError(
                f"train.schedule: {train.settings['schedule']} ends at train.steps, so that several steps are several runs; "
                "use constant or inverse_sqrt, or a single value of train.steps",
                self._place("train.schedule", stops),
            )

    def _place(self, path: str, stops: tuple[Assignments, ...]) -> Place | None:
        said = {p: g for stop in stops for p, g in stop}
        given = said.get(path) or self.grid.base.get(path)
        return given.place if given else None

    def _warnings(self, trajectories: dict[str, Trajectory]) -> list[str]:
        notes = []
        values = {p: len(v) for p, v in self.grid.values.items()}
        if len(self.grid.seeds) == 1:
            notes.append("one seed: figures will show no interval over training runs; `seeds: 3` gives one")
        if values.get("sample.count", 1) > 1:
            notes.append("sample.count varies: Fréchet distances of differing counts must not be compared")
        if values.get("data.size", 1) > 1:
            sizes = [t.columns[0]["data.size"] for t in trajectories.values()]
            longest = max(t.images for t in trajectories.values())
            notes.append(
                f"steps are fixed while data.size varies: the longest runs see each image {longest // max(sizes):,} to "
                f"{longest // min(sizes):,} times"
            )
        for t in trajectories.values():
            ema = t.columns[3].get("train.ema", 0.0)
            if ema and 1 / (1 - ema) > min(t.steps):
                notes.append(
                    f"train.ema {ema} averages over {1 / (1 - ema):,.0f} steps, longer than the snapshot at {min(t.steps)}"
                )
                break
        return notes


def _weights(name: str, place: Place | None) -> str:
    """SHA-256 of a file of weights, which must be at hand before anything is submitted."""
    from difgen_cli import features

    try:
        features.find(name, places.weights_folders())
    except features.WeightsError as error:
        raise GridError(f"features: {error}", place) from None
    return features.WEIGHTS[name].sha256


def _section(path: str) -> str:
    return path.partition(".")[0]


def _seed_axis(grid: Grid) -> Axis:
    """Seeds as a last axis: subset, initialisation and training noise vary together; sampling noise stays common."""
    paths = ("seed", "data.seed", "train.seed")
    for path in paths[1:]:
        if len(grid.seeds) > 1 and any(path in a.paths for a in grid.axes):
            raise GridError(f"{path} is an axis and seeds are given too; use one of them")
    stops = []
    moved = [p for p in paths[1:] if not any(p in a.paths for a in grid.axes)]
    for seed in grid.seeds:
        start = {p: grid.base[p].value if p in grid.base else 0 for p in moved}
        bad = next((p for p, v in start.items() if type(v) is not int), None)
        if bad:
            raise GridError(f"{bad}: must be a whole number, not {start[bad]!r}", grid.base[bad].place)
        stops.append((("seed", Given(seed)), *((p, Given(start[p] + seed)) for p in moved)))
    return Axis(("seed", *moved), tuple(stops))


def _visible(kind: str, stop: Assignments) -> Assignments:
    """The axis values that mean something for a reference row."""
    sections = ("data", "sample", "score", "seed") + (("condition",) if kind == "ideal" else ())
    return tuple((p, g) for p, g in stop if _section(p) in sections)


def _slug(data: Section, condition: Section, model: Section, train: Section, size: int) -> str:
    """A readable name that says what differs from the defaults: `digits-n128-kmeans10-mdl-mlp-width64-seed1`."""
    parts = [data.name, f"n{size}"]
    if condition.name != "none":
        parts.append(condition.name + str(condition.settings.get("clusters", "")))
    parts += ["mdl", model.name, *(f"{k}{_short(v)}" for k, v in model.changed().items())]
    parts += [f"{k}{_short(v)}" for k, v in train.changed().items() if k not in ("steps", "batch", "seed")]
    if train.settings.get("seed"):
        parts.append(f"seed{train.settings['seed']}")
    text = "-".join(parts).lower()
    return "".join(c if (c.isalnum() and c.isascii()) or c in "-." else "_" for c in text)[:80].rstrip("-._")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else str(value)
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
