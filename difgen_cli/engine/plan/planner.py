"""A grid becomes a plan. Each distinct section is checked and hashed once: 100,000 cells plan in seconds.

Pure: reads signatures and facts about data, touches no result.
"""

from __future__ import annotations

from typing import Any

from difgen_cli.engine.grid import Grid
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Cell, CellScoring, Plan, Reference
from difgen_cli.engine.plan.dependencies import Partners
from difgen_cli.engine.plan.derive import Known, RecipeBuilder
from difgen_cli.engine.plan.guidance import NONE, UNGUIDED
from difgen_cli.engine.plan.naming import condition_words, data_words, slug
from difgen_cli.engine.plan.notes import notes_on
from difgen_cli.engine.plan.points import Points, Stops, visible
from difgen_cli.engine.plan.recipes import Operation, Recipe, apart
from difgen_cli.engine.plan.runs import SnapshotRef, Trajectories
from difgen_cli.engine.plan.sections import Section
from difgen_cli.engine.plugins import Library

REFERENCES = ("heldout", "copycat", "ideal")
REFERENCE_VERSION = 1  # of how a worker makes the samples of reference rows


def build(grid: Grid, library: Library, facts: Known) -> Plan:
    """The plan of a grid. Raises GridError with its place."""
    try:
        return _Planner(grid, library, facts).plan()
    except GridError as error:
        error.file = error.file or grid.file
        raise


class _Planner:
    """One pass over the points of a grid: a cell for each, and the references beside it."""

    def __init__(self, grid: Grid, library: Library, facts: Known) -> None:
        self.points, self.derive = Points(grid, library), RecipeBuilder(library, facts, {})
        self.runs = Trajectories(self.points, self.derive)
        self.partners = Partners(self.points, self.runs)
        self.scorings: dict[tuple[Any, ...], CellScoring] = {}
        self.references: dict[str, Reference] = {}
        self.seen: set[tuple[Any, ...]] = set()
        self.cells: list[Cell] = []

    def plan(self) -> Plan:
        for stops in self.points.all():
            self._add(stops)
        trajectories, grid = self.runs.trajectories(), self.points.grid
        notes = [*notes_on(grid, trajectories, self.points.meaning), *self.derive.notes]
        self._refuse_doubles()
        return Plan(grid, self.cells, trajectories, self.references, self.derive.recipes, notes)

    def _refuse_doubles(self) -> None:
        """GridError where `include` brings a cell that is there: it would count twice."""
        known = set()
        for cell in (c for c in self.cells if c.kind == "model"):
            itself = (cell.samples, cell.seed, *cell.metrics.values(), *map(str, cell.guidance.columns.items()))
            if itself in known and len(cell.axes) > len(self.points.axes):
                said = ", ".join(f"{path}: {given.value}" for path, given in cell.axes[-1])
                place = next((given.place for _, given in cell.axes[-1]), None)
                raise GridError(f"include: {{{said}}} is a cell of this grid already; remove it", place)
            known.add(itself)

    def _add(self, stops: Stops) -> None:
        weights, scoring = self.runs.at(stops), self._scoring(stops)
        sampler, guidance = self.points.resolved("sample", stops), self.points.guidance(stops)
        drawn = self.partners.drawn(weights, sampler, guidance, stops)
        compared = self.partners.compared(stops, scoring)
        inputs = {
            "denoiser": weights.snapshot, "guided": drawn.guided, "samples": drawn.samples, "states": drawn.samples,
            "home": weights.home,
            **{name: partner.samples for name, partner in compared.items() if partner.samples},
        }  # fmt: skip
        metrics = scoring.keys("model", weights.made.inputs | inputs)
        seed, columns = self.points.seed(stops), (*weights.columns, sampler.columns, drawn.guidance.columns)
        self.cells.append(
            Cell(
                len(self.cells), "model", seed, weights.home, weights.step, weights.snapshot, drawn.samples, sampler,
                drawn.guidance, scoring, metrics, columns, stops, compared | drawn.partners,
            )
        )  # fmt: skip
        for kind in REFERENCES:
            self._add_reference(kind, weights, sampler, scoring, seed, stops)

    def _add_reference(
        self, kind: str, weights: SnapshotRef, sampler: Section, scoring: CellScoring, seed: int, stops: Stops
    ) -> None:
        """Held-out images, resampled training images or the ideal denoiser, scored like the models, each once."""
        made, (data, condition, *_) = weights.made, weights.columns
        mirrored, labels = "mirrored" in made.inputs, made.labels.key if kind == "ideal" else ""
        at = (kind, made.subset.key, labels, mirrored, id(sampler), id(scoring))
        if at in self.seen or (kind == "heldout" and not made.subset.inputs["holdout"].settings["held_out"]):
            return
        self.seen.add(at)
        if kind == "ideal":
            parents = {"subset": made.subset, "labels": made.labels}
            recipe = self.derive.keep(Recipe(_reference_head(kind, mirrored), parents))
            samples = self.partners.sampled(sampler, recipe.key, NONE)
            shown: tuple[dict[str, Any], ...] = (data, condition, sampler.columns, UNGUIDED.columns)
        else:
            drawn = {"count": sampler.own["count"], "seed": sampler.own["seed"]}
            recipe, samples = real_images(kind, made.subset, drawn, mirrored)
            self.derive.keep(recipe)
            shown = (data, {f"sample.{k}": v for k, v in drawn.items()})
        inputs = {
            "denoiser": recipe.key, "guided": recipe.key, "samples": samples, "states": samples, "home": recipe.key,
        }  # fmt: skip
        metrics = scoring.keys(kind, made.inputs | inputs)
        if not metrics or (samples, *metrics.values(), seed) in self.seen:
            return
        self.seen.add((samples, *metrics.values(), seed))
        named = slug([kind, *data_words(data), *(condition_words(condition) if kind == "ideal" else ())])
        self.references.setdefault(recipe.key, Reference(recipe, named))
        snapshot = recipe.key if kind == "ideal" else None
        axes = tuple(visible(kind, stop) for stop in stops)
        self.cells.append(
            Cell(
                len(self.cells), kind, seed, recipe.key, None, snapshot, samples, sampler, UNGUIDED, scoring, metrics,
                shown, axes,
            )
        )  # fmt: skip

    def _scoring(self, stops: Stops) -> CellScoring:
        at = (*self.points.at("score", stops), *self.points.at("data", stops))
        if at not in self.scorings:
            data = self.points.resolved("data", stops)
            given, where = self.points.given("score", stops), self.points.where(stops)
            self.scorings[at] = self.derive.scoring(given, data, where, self.points.compared)
        return self.scorings[at]


def real_images(kind: str, subset: Recipe, drawn: dict[str, Any], mirrored: bool = False) -> tuple[Recipe, str]:
    """Held-out images, or training images resampled, in place of a model; and the key of such samples."""
    inputs = {"subset": subset} | ({"held_out": apart(subset.inputs["holdout"])} if kind == "heldout" else {})
    recipe = Recipe(_reference_head(kind, mirrored), inputs)
    return recipe, Operation("samples", kind, REFERENCE_VERSION, drawn).key({"reference": recipe.key})


def _reference_head(kind: str, mirrored: bool) -> Operation:
    """A reference beside models whose training showed mirror images is scored as they are."""
    return Operation("reference", kind, REFERENCE_VERSION, {"flip": True} if mirrored else {})
