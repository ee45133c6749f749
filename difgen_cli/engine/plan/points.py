"""The points of a grid, and what each section says there: every distinct section is checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from difgen_cli.engine.grid import Assignments, Axis, Grid
from difgen_cli.engine.grid.document import GridError, Place
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan import guidance
from difgen_cli.engine.plan.guidance import Guidance
from difgen_cli.engine.plan.sections import AGAINST, DEFAULT_PLUGIN, Section, meant, resolve
from difgen_cli.engine.plugins import SECTIONS, Library, Setting

SHAPING = ("data", "condition", "model", "train")  # the sections that shape the weights

Stops = tuple[Assignments, ...]  # a point: what each axis says there
Where = Callable[[str], Place | None]  # dotted path -> where this point of the grid says it


class Points:
    """The points of one grid. A point that is none of the grid's own stands at no stop, and brings its own settings."""

    def __init__(self, grid: Grid, library: Library) -> None:
        self.grid, self.library = grid, library
        self.axes = (*grid.axes, _seed_axis(grid))
        self.plugins = {s: self._named(f"{s}.name", s) for s in SECTIONS}
        self.compared = self._named(f"score.*.{AGAINST}.name", "data")  # plug-ins that metrics compare with
        self.touching = {s: self._axes_of((s,)) for s in SECTIONS} | {"weights": self._axes_of(SHAPING)}
        self.sections: dict[tuple[Any, ...], Section] = {}
        self.guidances: dict[tuple[Any, ...], Guidance] = {}

    def all(self) -> Iterator[Stops]:
        """Every point with every seed, those of `include:` last."""
        seeds = self.axes[-1].stops
        for point in self.grid.points(self.meaning):
            stops = tuple(axis.stops[k] for axis, k in zip(self.grid.axes, point, strict=True))
            for seed in seeds:
                yield (*stops, seed)
        for extra in self.grid.include:
            for seed in seeds:
                yield (*((),) * len(self.grid.axes), seed, extra)

    def seed(self, stops: Stops) -> int:
        """The seed of one of the grid's own points."""
        return int(dict(stops[len(self.axes) - 1])["seed"].value)

    def beside(self, stops: Stops, changed: Mapping[str, Given]) -> Stops:
        """Where another trajectory stands: the same settings that shape weights, but for those that are changed."""
        own = (pair for stop in stops for pair in stop if _section(pair[0]) in SHAPING and pair[0] not in changed)
        return (*((),) * len(self.axes), (*own, *changed.items()))

    def given(self, section: str, stops: Stops) -> dict[str, Given]:
        """What base and stops say of a section, by setting."""
        prefix = section + "."
        said = [*self.grid.base.items(), *(pair for stop in stops for pair in stop)]
        return {p.removeprefix(prefix): g for p, g in said if p.startswith(prefix)}

    def at(self, section: str, stops: Stops) -> tuple[Any, ...]:
        """What decides a section at a point: the stops of the axes that touch it."""
        if len(stops) > len(self.axes):
            return (section, *stops[-2:])
        return (section, *(id(stops[i]) for i in self.touching[section]))

    def resolved(self, kind: str, stops: Stops) -> Section:
        """A section at a point, checked; raises GridError."""
        at = self.at(kind, stops)
        if at not in self.sections:
            self.sections[at] = resolve(kind, self.given(kind, stops), self.library, self.plugins[kind])
        return self.sections[at]

    def guidance(self, stops: Stops) -> Guidance:
        """The terms of guidance at a point, checked; raises GridError."""
        at = self.at("guide", stops)
        if at not in self.guidances:
            self.guidances[at] = guidance.resolve(self.given("guide", stops), self.library, self.plugins["guide"])
        return self.guidances[at]

    def where(self, stops: Stops) -> Where:
        """Where a point of the grid says a setting."""

        def where(path: str) -> Place | None:
            said = dict(pair for stop in stops for pair in stop)
            given = said.get(path) or self.grid.base.get(path)
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
        names = [name] if name else self.plugins[section] or [DEFAULT_PLUGIN.get(section, "")]
        known = self.library.names(section)
        signatures = [self.library.own(section), *(self.library.signature(section, n) for n in names if n in known)]
        return next((s.settings[key] for s in signatures if s and key in s.settings), None)

    def _named(self, path: str, kind: str) -> list[str]:
        """The plug-ins of a kind that any cell names at a path, which may hold wildcards."""
        stops = [stop for axis in self.axes for stop in axis.stops] + list(self.grid.include)
        said = [*self.grid.base.items(), *(pair for stop in stops for pair in stop)]
        given = [g for p, g in said if fnmatchcase(p, path)]
        words = (word for g in given for word in str(g.value).split("+"))  # terms of guidance are joined so
        known = self.library.names(kind)
        return [word for word in words if word in known]

    def _axes_of(self, sections: tuple[str, ...]) -> list[int]:
        return [i for i, a in enumerate(self.axes) if any(_section(p) in sections for p in a.paths)]


def _section(path: str) -> str:
    return path.partition(".")[0]


def visible(kind: str, stop: Assignments) -> Assignments:
    """The axis values that mean something for a reference row: it is not trained, and not guided."""
    sections = ("data", "sample", "score", "seed") + (("condition",) if kind == "ideal" else ())
    return tuple((p, g) for p, g in stop if _section(p) in sections)


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
