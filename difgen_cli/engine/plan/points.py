"""The points of a grid, and what each section says there: every distinct section is checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from difgen_cli.engine.grid import Assignments, Axis, Grid, fork
from difgen_cli.engine.grid.document import GridError, Place
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan import guidance
from difgen_cli.engine.plan.guidance import Guidance
from difgen_cli.engine.plan.sections import AGAINST, DEFAULT_PLUGIN, Section, meant, resolve
from difgen_cli.engine.plugins import SECTIONS, Library, Setting

SHAPING = ("data", "condition", "model", "objective", "train")  # the sections that shape the weights
FORK = "fork"
TEACHER, START = "objective.teacher", "train.start"  # what the trajectory that teaches, or is begun with, has otherwise
# What such a trajectory does not inherit: it has what its own settings say, else the defaults.
RESET = ("objective", "post_training", START, FORK)
KEPT = (*SHAPING, "post_training", FORK)  # what another trajectory inherits otherwise

Where = Callable[[str], Place | None]  # dotted path -> where this point of the grid says it


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One combination of settings: a level of each axis, or settings of its own."""

    levels: tuple[Assignments, ...]  # what each axis says here, the seeds' last; empty where it says nothing
    numbers: tuple[int, ...] = ()  # of these levels along their axes, where they are the axes' own
    own: Assignments | None = None  # settings that no axis brings: of `include`, or of another trajectory
    reset: tuple[str, ...] = ()  # sections, or parts of one, of which its own settings count, and not those of `base`
    change: Assignments = ()  # what is different from a fork's step on

    @property
    def assignments(self) -> tuple[Assignments, ...]:
        """All that is said here, axis by axis, its own settings last."""
        return self.levels if self.own is None else (*self.levels, self.own)

    def pairs(self) -> Iterator[tuple[str, Given]]:
        """Every dotted path with its value; what comes later counts."""
        yield from (pair for assignments in self.assignments for pair in assignments)
        yield from self.change


class Points:
    """The points of one grid, and what each section says at them."""

    def __init__(self, grid: Grid, library: Library) -> None:
        self.grid, self.library = grid, library
        self.axes = (*grid.axes, _seed_axis(grid))
        self.plugins = {
            s: [*self._named(f"{s}.name", s), *self._named(f"{START}.{s}.name", s), *self._unnamed(s)] for s in SECTIONS
        }
        self.compared = self._named(f"score.*.{AGAINST}.name", "data")  # plug-ins that metrics compare with
        forking = {s: (FORK,) if s in fork.MAY_CHANGE else () for s in SECTIONS}
        self.touching = {s: self._axes_of((s, *forking[s])) for s in SECTIONS}
        self.touching["weights"] = self._axes_of((*SHAPING, FORK))
        self.sections: dict[tuple[Any, ...], Section] = {}
        self.guidances: dict[tuple[Any, ...], Guidance] = {}

    def all(self) -> Iterator[Point]:
        """Every point with every seed, those of `include:` last."""
        seeds = list(enumerate(self.axes[-1].levels))
        for numbers in self.grid.points(self.meaning):
            levels = tuple(axis.levels[k] for axis, k in zip(self.grid.axes, numbers, strict=True))
            change = self._change(levels)
            for number, seed in seeds:
                yield Point((*levels, seed), (*numbers, number), change=change)
        for extra in self.grid.include:
            for _, seed in seeds:
                yield Point((*((),) * len(self.grid.axes), seed), own=extra)

    def seed(self, point: Point) -> int:
        """The seed of one of the grid's own points."""
        return int(dict(point.levels[-1])["seed"].value)

    def beside(self, point: Point, changed: Mapping[str, Given], reset: tuple[str, ...] = ()) -> Point:
        """Where another trajectory stands: the same settings that shape weights, or change them when they are read, but
        for those that are changed, and for sections, or parts of one, that begin at their defaults again."""
        pairs = (pair for assignments in point.assignments for pair in assignments)
        kept = (pair for pair in pairs if _section(pair[0]) in KEPT and not _below(pair[0], reset))
        same = (pair for pair in kept if pair[0] not in changed)
        change = () if FORK in reset else tuple(pair for pair in point.change if pair[0] not in changed)
        every = tuple(sorted({*point.reset, *reset}))
        return Point(((),) * len(self.axes), own=(*same, *changed.items()), reset=every, change=change)

    def trunk(self, point: Point) -> Point:
        """Where the trajectory stands that forks."""
        return self.beside(point, {}, reset=(FORK,))

    def forks_at(self, point: Point) -> int | None:
        """The step from which on a point is on a fork; None where it is on none."""
        given = next((given for path, given in point.pairs() if path == fork.AT), None)
        return None if given is None else int(given.value)

    def change_words(self, point: Point) -> str:
        """What a fork changes at a point, as the axis of the grid has it."""
        return fork.words(point.change)

    def given(self, section: str, point: Point) -> dict[str, Given]:
        """What base and a point say of a section, by setting."""
        prefix = section + "."
        base = (pair for pair in self.grid.base.items() if not _below(pair[0], point.reset))
        return {p.removeprefix(prefix): g for p, g in (*base, *point.pairs()) if p.startswith(prefix)}

    def role(self, role: str, point: Point) -> dict[str, Given]:
        """What the trajectory in a role, `TEACHER` or `START`, has otherwise at a point, by dotted path."""
        section, _, name = role.partition(".")
        given = self.given(section, point)
        return {p.removeprefix(f"{name}."): g for p, g in given.items() if p.startswith(f"{name}.")}

    def key(self, section: str, point: Point) -> tuple[Any, ...]:
        """What decides a section at a point: the levels of the axes that touch it."""
        if point.own is not None:
            return (section, point.levels[-1], point.own, point.reset, point.change)
        return (section, *(point.numbers[i] for i in self.touching[section]))

    def resolved(self, kind: str, point: Point) -> Section:
        """A section at a point, checked; raises GridError."""
        key = self.key(kind, point)
        if key not in self.sections:
            given = self.given(kind, point)
            own = {k: g for k, g in given.items() if not f"{kind}.{k}".startswith((f"{TEACHER}.", f"{START}."))}
            self.sections[key] = resolve(kind, own, self.library, self.plugins[kind])
        return self.sections[key]

    def guidance(self, point: Point) -> Guidance:
        """The terms of guidance at a point, checked; raises GridError."""
        key = self.key("guide", point)
        if key not in self.guidances:
            self.guidances[key] = guidance.resolve(self.given("guide", point), self.library, self.plugins["guide"])
        return self.guidances[key]

    def where(self, point: Point) -> Where:
        """Where a point of the grid says a setting."""

        def where(path: str) -> Place | None:
            given = dict(point.pairs()).get(path) or self.grid.base.get(path)
            return given.place if given else None

        return where

    def meaning(self, path: str, value: Any) -> Any:
        """A value of the grid as its setting takes it: what `skip` compares."""
        setting = self._setting(path)
        return value if setting is None else meant(setting, value)

    def _setting(self, path: str) -> Setting | None:
        """The setting of a dotted path, of the first plug-in that has it."""
        section, _, rest = path.partition(".")
        name, _, key = rest.rpartition(".")
        if section not in self.plugins:
            return None
        names = [name] if name else self.plugins[section] or [DEFAULT_PLUGIN.get(section, "")]
        plugins, shared = self.library.names(section), self.library.own(section)
        if shared and rest in shared.settings:  # also one of a map
            return shared.settings[rest]
        signatures = [shared, *(self.library.signature(section, n) for n in names if n in plugins)]
        return next((s.settings[key] for s in signatures if s and key in s.settings), None)

    def _named(self, path: str, kind: str) -> list[str]:
        """The plug-ins of a kind that any cell names at a path, which may hold wildcards."""
        values = (given.value for p, given in assignments(self.grid, self.axes) if fnmatchcase(p, path))
        words = (word for value in values for word in str(value).split("+"))  # terms of guidance are joined so
        plugins = self.library.names(kind)
        return [word for word in words if word in plugins]

    def _unnamed(self, kind: str) -> list[str]:
        """The plug-in of points that name none, where others do."""
        path = f"{kind}.name"
        everywhere = path in self.grid.base or any(path in axis.paths for axis in self.grid.axes)
        return [DEFAULT_PLUGIN[kind]] if kind in DEFAULT_PLUGIN and not everywhere else []

    def _change(self, levels: tuple[Assignments, ...]) -> Assignments:
        """What a fork changes at these levels of the axes."""
        words = (given.value for level in levels for path, given in level if path == fork.CHANGE)
        return self.grid.changes[next(words)] if self.grid.changes else ()

    def _axes_of(self, sections: tuple[str, ...]) -> list[int]:
        return [i for i, a in enumerate(self.axes) if any(_section(p) in sections for p in a.paths)]


def _section(path: str) -> str:
    return path.partition(".")[0]


def _below(path: str, parts: tuple[str, ...]) -> bool:
    """Whether a dotted path is one of these, or lies below it."""
    return any(path == part or path.startswith(f"{part}.") for part in parts)


def assignments(grid: Grid, axes: Sequence[Axis]) -> Iterator[tuple[str, Given]]:
    """All that a grid says anywhere: base, every level of the axes, `include`, and what forks change."""
    yield from grid.base.items()
    for axis in axes:
        for level in axis.levels:
            yield from level
    for extra in (*grid.include, *grid.changes.values()):
        yield from extra


def visible(kind: str, level: Assignments) -> Assignments:
    """The axis values that mean something for a reference row: it is not trained, and not guided."""
    sections = ("data", "sample", "score", "seed") + (("condition",) if kind == "ideal" else ())
    return tuple((p, g) for p, g in level if _section(p) in sections)


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
    levels = (
        (("seed", Given(seed)), *((p, Given(first[p].value + seed, first[p].place)) for p in moved))
        for seed in grid.seeds
    )
    return Axis(("seed", *moved), tuple(levels))
