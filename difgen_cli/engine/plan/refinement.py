"""What `refine` decides on: the curves of a plan, the results that values are read from, and whom a decision concerns.

A curve is what runs along the refined axis while all other axes stand still, `train.steps` and its snapshots too; each
is refined on its own. A training is run where any of its curves needs it, and a result is computed where any cell does.
Cells of `include` belong to no curve, and always run. Reference rows go with the value whose images they show.

It is handed over to workers and readers as JSON, so that all of them ask the same rule about the same cells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from difgen_cli.engine.grid import Grid
from difgen_cli.engine.grid.document import GridError, suggest
from difgen_cli.engine.grid.refine import Refine
from difgen_cli.engine.plan import Cell, Dependency, Plan
from difgen_cli.engine.plan.metric import Metric
from difgen_cli.engine.plan.sections import as_text

SEEDED = ("seed", "data.seed", "train.seed")
At = tuple[tuple[int, int], ...]  # (curve, place along its axis)


@dataclass(frozen=True)
class NeededWeights:
    """Weights of another trajectory without which a cell has no result."""

    run_key: str
    slug: str
    step: int
    whole: bool  # the whole state of the training, and not the averaged weights


@dataclass(frozen=True)
class SeedCell:
    """One seed at one value of a curve, and where its result lies."""

    index: int  # of the cell in the plan
    run_key: str
    slug: str
    samples: str
    step: int | None
    result: str  # key
    needs: tuple[NeededWeights, ...] = ()


@dataclass(frozen=True)
class Curve:
    """The values of the refined axis at one combination of all the others, ascending, each with its seeds."""

    settings: dict[str, Any]  # of the other axes, by dotted path
    values: tuple[float, ...]
    cells: tuple[tuple[SeedCell, ...], ...]

    @property
    def words(self) -> str:
        """The settings as a person reads them; empty where this is the only curve."""
        return ", ".join(f"{path}={value}" for path, value in self.settings.items())


@dataclass(frozen=True)
class Refinement:
    """All that the rule is asked about."""

    axis: str
    metric: str  # a column, whose interval is the columns that end in _lo and _hi
    level: float
    first: int
    curves: tuple[Curve, ...]
    cells: dict[int, At]  # cell of the plan -> where it lies; cells that are no part of a curve are missing
    results: dict[str, At]  # key of a result that such cells alone want -> where they lie

    def trainings(self, curve: int, place: int) -> set[str]:
        """Keys of the trajectories at one value of a curve."""
        return {cell.run_key for cell in self.curves[curve].cells[place]}

    def dump(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @staticmethod
    def load(content: Mapping[str, Any]) -> Refinement:
        """What `dump` wrote."""

        def at(pairs: list[list[int]]) -> At:
            return tuple((curve, place) for curve, place in pairs)

        def seed_cell(c: dict[str, Any]) -> SeedCell:
            return SeedCell(**c | {"needs": tuple(NeededWeights(**needed) for needed in c["needs"])})

        curves = tuple(
            Curve(c["settings"], tuple(c["values"]), tuple(tuple(map(seed_cell, seeds)) for seeds in c["cells"]))
            for c in content["curves"]
        )
        cells = {int(index): at(pairs) for index, pairs in content["cells"].items()}
        results = {key: at(pairs) for key, pairs in content["results"].items()}
        scalars = {name: content[name] for name in ("axis", "metric", "level", "first")}
        return Refinement(**scalars, curves=curves, cells=cells, results=results)


def of(plan: Plan) -> Refinement | None:
    """What the grid of a plan refines; None where it refines nothing."""
    refine = plan.grid.refine
    if refine is None:
        return None
    number_of = next(i for i, axis in enumerate(plan.grid.axes) if refine.axis in axis.paths)
    members = _members(plan, refine, number_of).items()
    curves = tuple(_curve(plan, refine, settings, by_value) for settings, by_value in members)
    places = [{value: place for place, value in enumerate(curve.values)} for curve in curves]
    cells: dict[int, At] = {
        cell.index: ((number, place),)
        for number, curve in enumerate(curves) for place, seeds in enumerate(curve.cells) for cell in seeds
    }  # fmt: skip
    for reference in (c for c in plan.cells if c.kind != "model" and refine.axis.startswith("data.")):
        value = _value(refine, reference)
        at = tuple((number, places[number][value]) for number in range(len(curves)) if value in places[number])
        cells |= {reference.index: at} if at else {}
    return Refinement(refine.axis, refine.metric, refine.level, refine.first, curves, cells, _results(plan, cells))


def _members(plan: Plan, refine: Refine, number_of: int) -> dict[tuple[tuple[str, Any], ...], dict[Any, list[Cell]]]:
    """The cells of models by their settings along the other axes, then by their value along the refined one."""
    grid, members = plan.grid, defaultdict[Any, dict[Any, list[Cell]]](lambda: defaultdict(list))
    for cell in plan.models:
        if len(cell.axes) == len(grid.axes) + 1:  # the seeds' axis is the last; `include` brings one more
            others = (pair for i, level in enumerate(cell.axes) if i != number_of for pair in level)
            settings = tuple((path, as_text(given.value)) for path, given in others if path not in SEEDED)
            members[settings][_value(refine, cell)].append(cell)
    return members


def _value(refine: Refine, cell: Cell) -> Any:
    """The value of the refined axis at a cell; None for a reference row that has none."""
    return cell.axis_values().get(refine.axis)


def _curve(plan: Plan, refine: Refine, settings: tuple[tuple[str, Any], ...], by_value: dict[Any, list[Cell]]) -> Curve:
    values = sorted(by_value)
    several = {path for axis in plan.grid.axes if len(axis.levels) > 1 for path in axis.paths}
    shown = {path: value for path, value in settings if path in several}
    cells = tuple(tuple(_seed_cell(plan, refine, cell) for cell in by_value[value]) for value in values)
    return Curve(shown, tuple(values), cells)


def _seed_cell(plan: Plan, refine: Refine, cell: Cell) -> SeedCell:
    metric = check_metric(refine, cell.scoring)
    needs = tuple(
        NeededWeights(other.run_key, other.slug, other.step, other.whole)
        for other in {(o.run_key, o.step, o.whole): o for o in _behind(plan, cell)}.values()
        if other.step is not None
    )
    return SeedCell(
        cell.index, cell.run_key, plan.slug(cell), cell.samples, cell.step, cell.metrics[metric], needs
    )  # fmt: skip


def _behind(plan: Plan, cell: Cell) -> Iterator[Dependency]:
    """The weights of others that a cell may wait for, and theirs in turn."""
    for other in (o for partner in cell.partners.values() for o in partner.all()):
        yield other
        yield from (behind for _, behind in plan.behind(other.run_key))
    if cell.step is not None:
        yield from (behind for _, behind in plan.behind(cell.run_key))


def _results(plan: Plan, cells: Mapping[int, At]) -> dict[str, At]:
    """Keys of results -> where the cells lie that want them; without those that any other cell wants."""
    wanted: dict[str, At] = {}
    others: set[str] = set()
    for cell in plan.cells:
        for key in cell.metrics.values():
            if cell.index in cells:
                wanted[key] = tuple(dict.fromkeys((*wanted.get(key, ()), *cells[cell.index])))
            else:
                others.add(key)
    return {key: at for key, at in wanted.items() if key not in others}


def check(grid: Grid, models: list[Cell]) -> None:
    """GridError where the cells of a grid make no column that it could refine by."""
    if grid.refine:
        for scoring in {id(cell.scoring): cell.scoring for cell in models}.values():
            check_metric(grid.refine, scoring)


def check_metric(refine: Refine, scoring: Mapping[str, Metric]) -> str:
    """The metric whose column decides. GridError where there is none, or the column cannot decide."""
    specs = {name: metric.section.signature.constants.get("COLUMNS", {}) for name, metric in scoring.items()}
    intervals = [c for columns in specs.values() for c in columns if f"{c}_lo" in columns and f"{c}_hi" in columns]
    metric = next((name for name, columns in specs.items() if refine.metric in columns), None)
    place = refine.places["metric"]
    if metric is None:
        raise GridError(
            f"refine.metric: {refine.metric} is a column of none of the metrics of this grid ({', '.join(scoring)})"
            f"{suggest(refine.metric, intervals)}",
            place,
        )
    if refine.metric not in intervals:
        usable = f"; use {', '.join(intervals)}" if intervals else ""
        raise GridError(
            f"refine.metric: {refine.metric} has no interval by which a value could be decided "
            f"({refine.metric}_lo and {refine.metric}_hi){usable}",
            place,
        )
    _check_level(refine, specs[metric][refine.metric])
    return metric


def _check_level(refine: Refine, entry: Sequence[Any]) -> None:
    """`entry`: the column as its metric declares it."""
    if entry[1] == "share" and not 0 < refine.level < 1:
        raise GridError(
            f"refine.level: {refine.metric} is a share, so its level must lie between 0 and 1, not at {refine.level:g}",
            refine.places["level"],
        )
