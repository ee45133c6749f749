"""A grid becomes a plan. Each distinct section is checked and hashed once: 100,000 cells plan in seconds.

Pure: reads signatures and facts about data, touches no result.
"""

from __future__ import annotations

from typing import Any

from difgen_cli.engine.grid import Grid
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Cell, Plan, Reference, audits, checks, controls, refinement
from difgen_cli.engine.plan.dependencies import Partners
from difgen_cli.engine.plan.derive import FactSource, RecipeBuilder
from difgen_cli.engine.plan.guidance import NONE, UNGUIDED
from difgen_cli.engine.plan.metric import FOLLOWING, Metric, result_keys
from difgen_cli.engine.plan.naming import condition_words, data_words, slug
from difgen_cli.engine.plan.notes import notes_on
from difgen_cli.engine.plan.points import Point, Points, visible
from difgen_cli.engine.plan.recipes import Operation, Recipe, apart, measured
from difgen_cli.engine.plan.runs import SnapshotRef, Trajectories
from difgen_cli.engine.plan.sections import is_pretrained
from difgen_cli.engine.plan.subsets import METRIC, Subsets
from difgen_cli.engine.plugins import Library

REFERENCES = ("heldout", "copycat", "ideal")
REFERENCE_VERSION = 1  # of how a worker makes the samples of reference rows


def build(grid: Grid, library: Library, facts: FactSource) -> Plan:
    """The plan of a grid. Raises GridError with its place."""
    try:
        return _Planner(grid, library, facts).plan()
    except GridError as error:
        error.file = error.file or grid.file
        raise


class _Planner:
    """One pass over the points of a grid: a cell for each, and the references beside it."""

    def __init__(self, grid: Grid, library: Library, facts: FactSource) -> None:
        self.points, self.derive = Points(grid, library), RecipeBuilder(library, facts, {})
        self.runs = Trajectories(self.points, self.derive)
        self.partners = Partners(self.points, self.runs)
        self.scorings: dict[tuple[Any, ...], dict[str, Metric]] = {}
        self.references: dict[str, Reference] = {}
        self.seen: set[tuple[Any, ...]] = set()
        self.cells: list[Cell] = []
        self.subsets = Subsets()

    def plan(self) -> Plan:
        audits.check_once(self.points.grid, self.points.axes, self.points.library)
        for point in self.points.all():
            self._add(point)
        trajectories, grid = self.runs.trajectories(), self.points.grid
        notes = [*notes_on(grid, trajectories, self.points.meaning), *self.subsets.notes(), *self.derive.notes]
        self._refuse_doubles()
        refinement.check(grid, [cell for cell in self.cells if cell.kind == "model"])
        return Plan(grid, self.cells, trajectories, self.references, self.derive.recipes, notes)

    def _refuse_doubles(self) -> None:
        """GridError where `include` brings a cell that is there: it would count twice."""
        earlier = set()
        for cell in (c for c in self.cells if c.kind == "model"):
            itself = (cell.samples, cell.seed, *cell.metrics.values(), *map(str, cell.guidance.columns.items()))
            if itself in earlier and len(cell.axes) > len(self.points.axes):
                settings = ", ".join(f"{path}: {given.value}" for path, given in cell.axes[-1])
                place = next((given.place for _, given in cell.axes[-1]), None)
                raise GridError(f"include: {{{settings}}} is a cell of this grid already; remove it", place)
            earlier.add(itself)

    def _add(self, point: Point) -> None:
        self.runs.check(point)
        weights, scoring = self.runs.at(point), self._scoring(point)
        audits.check_labels(self.points.resolved("condition", point), scoring, self.points.where(point))
        if weights.step is not None:
            checks.posterior_mean(self.points.resolved("objective", point), scoring, self.points.where(point))
        self.partners.check_asked(scoring, point, weights)
        if METRIC in scoring and not is_pretrained(self.points.resolved("model", point).signature):
            data = self.points.resolved("data", point)
            available = checks.rest(data.own, self.derive.facts_of(data, self.points.where(point)))
            self.subsets.add(weights.run.columns[0], weights.run.subset.key, available)
        sampler, guidance = self.points.resolved("sample", point), self.points.guidance(point)
        drawn = self.partners.drawn(weights, sampler, guidance, point)
        compared = self.partners.compared(point, scoring)
        if weights.step is not None:  # guidance has said before what it lacks
            condition, train = (self.points.resolved(section, point) for section in ("condition", "train"))
            checks.changed_condition(condition, train, self.points.where(point))
        inputs = {
            "denoiser": weights.snapshot, "guided": drawn.guided, "samples": drawn.samples,
            **dict.fromkeys(FOLLOWING, drawn.samples),
            "home": weights.run_key,
            **{name: partner.samples or partner.snapshot for name, partner in compared.items()},
        }  # fmt: skip
        metrics = result_keys(scoring, "model", weights.run.inputs | inputs)
        after = {} if weights.step is None else self.points.resolved("post_training", point).columns
        columns = (*weights.run.columns, after, sampler.columns, drawn.guidance.columns)
        self._append(
            "model", point, weights.run_key, drawn.samples, metrics, columns, step=weights.step,
            checkpoint=weights.run.checkpoint, snapshot=weights.snapshot, guidance=drawn.guidance,
            partners=compared | drawn.partners | weights.others,
        )  # fmt: skip
        for kind in REFERENCES:
            self._add_reference(kind, weights, point)

    def _append(
        self, kind: str, point: Point, run_key: str, samples: str, metrics: dict[str, str],
        columns: tuple[dict[str, Any], ...], **own: Any,
    ) -> None:  # fmt: skip
        """The next cell: what every kind has of its point, and fields of its own."""
        sampler, axes = self.points.resolved("sample", point), point.assignments
        if kind != "model":
            axes = tuple(visible(kind, assignments) for assignments in axes)
        self.cells.append(
            Cell(
                len(self.cells), kind, self.points.seed(point), run_key, samples, sampler, self._scoring(point),
                metrics, columns, axes=axes, **own,
            )
        )  # fmt: skip

    def _add_reference(self, kind: str, weights: SnapshotRef, point: Point) -> None:
        """Held-out images, resampled training images or the ideal denoiser, scored like the models, each once."""
        sampler, scoring, seed = self.points.resolved("sample", point), self._scoring(point), self.points.seed(point)
        run, (data, condition, *_), subset = weights.run, weights.run.columns, measured(weights.run.subset)
        mirrored, labels = "mirrored" in run.inputs, run.labels.key if kind == "ideal" else ""
        reference = (kind, subset.key, labels, mirrored, sampler, *scoring.values())
        if reference in self.seen or (kind == "heldout" and not subset.inputs["holdout"].settings["held_out"]):
            return
        self.seen.add(reference)
        if kind == "ideal":
            parents = {"subset": subset, "labels": run.labels}
            recipe = self.derive.keep(Recipe(_reference(kind, mirrored), parents))
            samples = self.partners.sampled(sampler, recipe.key, NONE, subset.inputs["holdout"])
            shown: tuple[dict[str, Any], ...] = (data, condition, sampler.columns, UNGUIDED.columns)
        else:
            drawn = {"count": sampler.own["count"], "seed": sampler.own["seed"]}
            recipe, samples = real_images(kind, subset, drawn, mirrored)
            self.derive.keep(recipe)
            shown = (data, {f"sample.{k}": v for k, v in drawn.items()})
        inputs = {
            "denoiser": recipe.key, "guided": recipe.key, "samples": samples, "home": recipe.key,
            **dict.fromkeys(FOLLOWING, samples),
        }  # fmt: skip
        metrics = result_keys(scoring, kind, run.inputs | inputs)
        if not metrics or (samples, *metrics.values(), seed) in self.seen:
            return
        self.seen.add((samples, *metrics.values(), seed))
        named = slug([kind, *data_words(data), *(condition_words(condition) if kind == "ideal" else ())])
        self.references.setdefault(recipe.key, Reference(recipe, named))
        snapshot = recipe.key if kind == "ideal" else None
        self._append(kind, point, recipe.key, samples, metrics, shown, snapshot=snapshot)

    def _scoring(self, point: Point) -> dict[str, Metric]:
        key = (*self.points.key("score", point), *self.points.key("data", point))
        if key not in self.scorings:
            data = self.points.resolved("data", point)
            given, where = self.points.given("score", point), self.points.where(point)
            alike = data.signature.constants.get("HELD_OUT_ALIKE", False)
            if self.derive.facts_of(data, where).holds_out and not alike:
                given, notes = controls.with_blind(given, self.points.library)
                self.derive.notes.update(dict.fromkeys(notes))
            self.scorings[key] = self.derive.scoring(given, data, where, self.points.compared)
        return self.scorings[key]


def real_images(kind: str, subset: Recipe, drawn: dict[str, Any], mirrored: bool = False) -> tuple[Recipe, str]:
    """Held-out images, or training images resampled, in place of a model; and the key of such samples."""
    inputs = {"subset": subset} | ({"held_out": apart(subset.inputs["holdout"])} if kind == "heldout" else {})
    recipe = Recipe(_reference(kind, mirrored), inputs)
    return recipe, Operation("samples", kind, REFERENCE_VERSION, drawn).key({"reference": recipe.key})


def _reference(kind: str, mirrored: bool) -> Operation:
    """A reference beside models whose training showed mirror images is scored as they are."""
    return Operation("reference", kind, REFERENCE_VERSION, {"flip": True} if mirrored else {})
