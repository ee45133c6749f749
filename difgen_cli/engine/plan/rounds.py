"""How far a store has come with what a grid refines: the rule, asked about the results that are there.

Workers ask which of their units are needed now; plan, sweep and report ask which cells are not needed. The answer
depends on results and failures alone, so that whoever asks the same store gets the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from difgen_cli.engine.plan import Cell, Plan, refinement
from difgen_cli.engine.plan.refine import ABOVE, BELOW, UNDECIDED, Course, Interval, Round, course, side
from difgen_cli.engine.plan.refinement import At, Curve, Refinement, SeedCell
from difgen_cli.engine.plan.work import Scoring, Training, awaited_weights, is_done
from difgen_cli.engine.store import RunFolder, Store
from difgen_cli.engine.store.access import exists
from difgen_cli.engine.store.files import check_schema, read_json, replace, replace_json

NOT_NEEDED = "not needed"  # the state of a cell whose value no round has asked for
SCHEMA = 1
REFINEMENT, DECISIONS = "refine.json", "decisions.parquet"  # in the folder of a grid
CURVES_MOST = 5  # of which a plan says how far they are
ENDS = ("no end of the axis is decided", "decided at one end alone", "neighbours on the axis bracket it")
SIDES = {ABOVE: "above", BELOW: "below", UNDECIDED: "undecided"}


@dataclass
class Rounds:
    """The curves of a refinement, and how far each is at this moment."""

    refinement: Refinement
    store: Store
    folder: Path | None = None  # of the grid, where decisions are written as they are taken
    courses: list[Course] = field(default_factory=list)
    intervals: dict[str, Interval | None] = field(default_factory=dict)  # key of a result that was read -> its interval

    def look(self) -> Rounds:
        """Ask the rule anew. Results are written once, and read once."""
        before = sum(len(path.rounds) for path in self.courses)
        self.courses = [self._course(curve) for curve in self.refinement.curves]
        if self.folder and sum(len(path.rounds) for path in self.courses) != before:
            write_decisions(self.folder, self)
        return self

    def _course(self, curve: Curve) -> Course:
        def read(place: int) -> int | None:
            intervals = []
            for cell in curve.cells[place]:
                done, interval = self._read(cell)
                if not done:
                    return None
                intervals.append(interval)
            return side(intervals, self.refinement.level)

        return course(len(curve.values), self.refinement.first, read)

    def _read(self, cell: SeedCell) -> tuple[bool, Interval | None]:
        """Whether a cell is done or failed, and its interval where it has one."""
        if cell.result not in self.intervals:
            folder = self.store.run_folder_now(cell.run_key, cell.slug)
            content = read_json(folder.result(cell.result))
            if not isinstance(content, dict) or "values" not in content:
                return self.failed(cell), None
            ends = [content["values"].get(f"{self.refinement.metric}_{end}") for end in ("lo", "hi")]
            self.intervals[cell.result] = None if None in ends else (float(ends[0]), float(ends[1]))
        return True, self.intervals[cell.result]

    def failed(self, cell: SeedCell) -> bool:
        """Whether no result will come, since the last attempt at something that the cell needs failed."""
        folder = self.store.run_folder_now(cell.run_key, cell.slug)
        own = [] if cell.step is None else [(folder, folder.snapshot(cell.step))]
        others = ((self.store.run_folder_now(o.run_key, o.slug), o) for o in cell.needs)
        weights = [*own, *((other, other.weights(o.step, whole=o.whole)) for other, o in others)]
        return folder.failed(f"score-{cell.samples}") or any(_will_not_come(f, path) for f, path in weights)

    def is_needed(self, at: At) -> bool:
        """Whether a value has been asked for, on any of the curves that something lies on."""
        return any(place in self.courses[curve].asked for curve, place in at)

    def may_be_needed(self, at: At) -> bool:
        """Whether a value that was not asked for may still be."""
        return any(self.courses[curve].may_ask(place) for curve, place in at)

    def not_needed(self, index: int) -> bool:
        """Whether no round has asked for a cell of the plan."""
        at = self.refinement.cells.get(index)
        return at is not None and not self.is_needed(at)

    def idle_weights(self) -> set[tuple[str, int]]:
        """Weights, by trajectory and step, that are planned for cells alone that no round has asked for."""
        wanted: dict[bool, set[tuple[str, int]]] = {True: set(), False: set()}
        for path, curve in zip(self.courses, self.refinement.curves, strict=True):
            for place, seeds in enumerate(curve.cells):
                wanted[place in path.asked].update((other.run_key, other.step) for c in seeds for other in c.needs)
        return wanted[False] - wanted[True]

    def why(self, index: int) -> str:
        """Why no round has asked for a cell of the plan: what its curve's last finished round says."""
        return self._why(self.refinement.cells[index][0][0])

    def _why(self, number: int) -> str:
        path = self.courses[number]
        if not path.rounds:
            return "no round is finished yet"
        return reason(self.refinement.curves[number].values, path.rounds[-1], self.refinement.level)

    def sentences(self) -> list[str]:
        """What is run at least and at most, then how far each curve is; of many curves the first."""
        numbers = range(len(self.courses))[:CURVES_MOST]
        curves = [": ".join(filter(None, (self.refinement.curves[k].words, self._why(k)))) for k in numbers]
        more = len(self.courses) - CURVES_MOST
        return [self.summary(), *curves, *([f"and {more:,} more"] if more > 0 else [])]

    def may_run(self, plan: Plan, chosen: Callable[[Cell], bool]) -> Callable[[Cell], bool]:
        """Which of the chosen cells are needed, or may be later: not where a round waits for others than these."""
        cells = plan.cells
        goes_on = [all(chosen(cells[cell.index]) for cell in self._awaited(k)) for k in range(len(self.courses))]

        def may_run(cell: Cell) -> bool:
            at = self.refinement.cells.get(cell.index)
            if not chosen(cell) or at is None or self.is_needed(at):
                return chosen(cell)
            return self.may_be_needed(tuple((curve, place) for curve, place in at if goes_on[curve]))

        return may_run

    def _awaited(self, number: int) -> Iterator[SeedCell]:
        """The cells that the open round of a curve waits for."""
        for place in self.courses[number].open:
            for cell in self.refinement.curves[number].cells[place]:
                if not self._read(cell)[0]:
                    yield cell

    def held(self, units: Sequence[Training | Scoring]) -> set[tuple[str, str]]:
        """Those of some units, by trajectory and name, that no round has asked for: scorings without a result that is
        needed, and trainings that are not done and whose weights none of the others waits for."""
        trainings = {unit.run_key: unit for unit in units if isinstance(unit, Training)}
        wanting: list[Training | Scoring] = [
            unit for unit in units if isinstance(unit, Scoring) and any(map(self._result_is_needed, unit.metrics))
        ]
        for unit in wanting:  # grows while it is read
            reference = isinstance(unit, Scoring) and unit.reference
            folder = self.store.run_folder_now(unit.run_key, unit.slug, reference=reference)
            for other, path in awaited_weights(unit, folder, self.store):
                if other.key in trainings and not exists(path):
                    wanting.append(trainings.pop(other.key))
        held = {(u.run_key, u.unit) for u in units} - {(u.run_key, u.unit) for u in wanting}
        ended = (u for u in trainings.values() if is_done(u, self.store.run_folder_now(u.run_key, u.slug)))
        return held - {(u.run_key, u.unit) for u in ended}

    def _result_is_needed(self, key: str) -> bool:
        """Whether a result is to be computed now; one that no curve decides about always is."""
        at = self.refinement.results.get(key)
        return at is None or self.is_needed(at)

    def trainings(self) -> tuple[int, int, int]:
        """How many trajectories will have been asked for at the end, at least and at most, and how many are planned.

        Curves that share trajectories, such as the snapshots of one training, count them once.
        """
        return _sums([self._trainings(group) for group in self._sharing()])

    def _trainings(self, numbers: list[int]) -> tuple[int, int, int]:
        planned, asked = set[str](), set[str]()
        least, further = 0, 0
        for number in numbers:
            keys = [self.refinement.trainings(number, k) for k in range(len(self.refinement.curves[number].values))]
            most_each = max(map(len, keys))
            fewest, most = self.courses[number].least_and_most()
            own = set[str]().union(*(keys[place] for place in self.courses[number].asked))
            planned, asked = planned.union(*keys), asked | own
            least = max(least, len(own) + (fewest - len(self.courses[number].asked)) * min(map(len, keys)))
            further += (most - len(self.courses[number].asked)) * most_each
        return max(least, len(asked)), min(len(planned), len(asked) + further), len(planned)

    def _sharing(self) -> list[list[int]]:
        """The curves in groups that have no trajectory in common."""
        groups: list[tuple[set[str], list[int]]] = []
        for number, curve in enumerate(self.refinement.curves):
            keys = {cell.run_key for seeds in curve.cells for cell in seeds}
            joined = [group for group in groups if group[0] & keys]
            groups = [group for group in groups if not group[0] & keys]
            groups.append((keys.union(*(g[0] for g in joined)), [n for g in joined for n in g[1]] + [number]))
        return [numbers for _, numbers in groups]

    def summary(self) -> str:
        """What is run at least and at most, in a sentence."""
        least, most, planned = self.trainings()
        curves = "1 curve" if len(self.courses) == 1 else f"{len(self.courses):,} curves"
        many = f"{least:,}" if least == most else f"at least {least:,} and at most {most:,}"
        return (
            f"refine: {self.refinement.axis} where {self.refinement.metric} crosses {self.refinement.level:g}, "
            f"{curves}: {many} of {planned:,} trainings are needed"
            f"{'' if least == most else '; expected times are those of all that may be needed'}"
        )

    def decisions(self) -> list[dict[str, Any]]:
        """One row for each finished round of each curve: what was run, on which side it lies, and what follows why."""
        rows = []
        for curve, path in zip(self.refinement.curves, self.courses, strict=True):
            for number, finished in enumerate(path.rounds, 1):
                by_side = {word: [curve.values[p] for p, s in sorted(finished.sides.items()) if s == at]
                           for at, word in SIDES.items()}  # fmt: skip
                zone = finished.zone
                ends = [zone.left, zone.right] if zone else [None, None]
                rows.append({
                    "curve": curve.words, "round": number, "values": [curve.values[p] for p in finished.values],
                    **by_side, "zone_from": None if ends[0] is None else curve.values[ends[0]],
                    "zone_to": None if ends[1] is None else curve.values[ends[1]],
                    "next": [curve.values[p] for p in zone.next()] if zone else [],
                    "why": reason(curve.values, finished, self.refinement.level),
                })  # fmt: skip
        return rows


def _will_not_come(folder: RunFolder, weights: Path) -> bool:
    return folder.failed("train") and not exists(weights)


def _sums(parts: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    least, most, planned = (sum(part[k] for part in parts) for k in range(3))
    return least, most, planned


def reason(values: tuple[float, ...], finished: Round, level: float) -> str:
    """Why the rule asks for what it asks for after a round, or for nothing more."""
    zone, run = finished.zone, sorted(finished.sides)
    if zone is None:
        return f"all {len(run)} values are {SIDES[finished.sides[run[0]]]} {level:g}: nothing is left to refine"
    left, right = SIDES[finished.sides[run[0]]], SIDES[finished.sides[run[-1]]]
    parts = [
        f"{left} {level:g} up to {values[zone.left]:g}" if zone.left is not None
        else f"undecided at the first value, {values[0]:g}",
        f"{right} {level:g} from {values[zone.right]:g} on" if zone.right is not None
        else f"undecided at the last value, {values[-1]:g}",
    ]  # fmt: skip
    follows = ", ".join(f"{values[place]:g}" for place in zone.next())
    if follows:
        return f"{', '.join(parts)}: {follows} next"
    low, high = zone.inner or (0, 0)
    where = f"at {values[low]:g}" if low == high else f"from {values[low]:g} to {values[high]:g}"
    inner = f", undecided {where}" if zone.inner else ""
    ends = sum(end is not None for end in (zone.left, zone.right))
    return f"{', '.join(parts)}{inner}: {ENDS[ends]}"


def of(plan: Plan, store: Store) -> Rounds | None:
    """How far the store has come with what the grid of a plan refines; None where it refines nothing."""
    refined = refinement.of(plan)
    return Rounds(refined, store).look() if refined else None


def record(folder: Path, plan: Plan, store: Store) -> None:
    """Keep what the grid of a plan refines in the grid's folder, for whoever reads it without planning."""
    if rounds := of(plan, store):
        replace_json(folder / REFINEMENT, {"schema": SCHEMA} | rounds.refinement.dump())
        write_decisions(folder, rounds)


def read(folder: Path, store: Store) -> Rounds | None:
    """How far the store has come with what the grid of a folder refines; None where it refines nothing."""
    content = read_json(folder / REFINEMENT) or {}
    check_schema(folder / REFINEMENT, content.get("schema"), SCHEMA)
    return Rounds(Refinement.load(content), store).look() if content else None


def write_decisions(folder: Path, rounds: Rounds) -> None:
    """Write a line for each decision so far. Derived: whoever writes it anew writes the same."""
    lists = {name: pa.list_(pa.float64()) for name in ("values", *SIDES.values(), "next")}
    types = {"curve": pa.string(), "round": pa.int64(), **lists, "zone_from": pa.float64(), "zone_to": pa.float64(),
             "why": pa.string()}  # fmt: skip
    rows = rounds.decisions()
    table = pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()})
    replace(folder / DECISIONS, lambda path: pq.write_table(table, path))
