"""Grids: strict YAML becomes points, one for each combination of the axes; the planner says what a value means."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from difgen_cli.engine.grid import document, fork, refine
from difgen_cli.engine.grid.document import (
    GridError,
    Place,
    compose,
    items,
    mapping,
    scalar,
    suggest,
    within,
)
from difgen_cli.engine.grid.document import place as place_of
from difgen_cli.engine.grid.refine import Refine
from difgen_cli.engine.grid.sections import base_settings, check_path
from difgen_cli.engine.grid.values import Given, predicate
from difgen_cli.engine.grid.values import values as values_of
from difgen_cli.engine.plugins import GRID_PARTS

MOST_CELLS = 2_000_000


Meaning = Callable[[str, Any], Any]
Skip = tuple[tuple[str, Callable[[Any], bool], Place], ...]  # one line of `skip`: a cell is dropped where all hold
Assignments = tuple[tuple[str, Given], ...]  # dotted path -> value, e.g. (("model.width", Given(64)),)


@dataclass(frozen=True)
class Axis:
    """One direction of the grid: the settings that move along it together, and their values at each level."""

    paths: tuple[str, ...]
    levels: tuple[Assignments, ...]


@dataclass(frozen=True)
class Grid:
    """What a grid file says, flattened to dotted paths."""

    file: Path
    text: str
    question: str
    base: dict[str, Given]
    axes: tuple[Axis, ...]
    include: tuple[Assignments, ...]
    skip: tuple[Skip, ...]
    seeds: tuple[int, ...]
    changes: dict[str, Assignments] = field(default_factory=dict)  # level of the axis `fork.change` -> what it changes
    refine: Refine | None = None  # how results decide which values of an axis are run

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def hash(self) -> str:
        """Identity of the content: the same cells under another comment or layout have the same hash."""
        skip = re.sub(r"(?m)^\s*#.*$|\s+#.*$", "", self.text).split() if self.skip else []
        parts = [
            sorted((k, v.value) for k, v in self.base.items()),
            [[[(p, g.value) for p, g in level] for level in axis.levels] for axis in self.axes],
            [[(p, g.value) for p, g in extra] for extra in self.include],
            skip,
            self.seeds,
            *([self.refine.identity] if self.refine else []),
        ]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:8]

    @property
    def values(self) -> dict[str, list[Any]]:
        """Every axis path with its values in order, for figures."""
        return {p: [dict(level)[p].value for level in axis.levels] for axis in self.axes for p in axis.paths}

    def points(self, meaning: Meaning = lambda _, value: value) -> Iterator[tuple[int, ...]]:
        """The numbers of the levels of every cell of the product, but for those that `skip` drops.

        The last axis runs fastest. `meaning`: a setting's value as it is used, from its path and what the grid says.
        """
        dropped = [levels for skip in self.skip if (levels := self._dropped(skip, meaning)) is not None]
        for point in itertools.product(*(range(len(a.levels)) for a in self.axes)):
            if not any(all(point[i] in levels[i] for i in levels) for levels in dropped):
                yield point

    def idle(self, meaning: Meaning) -> list[Place]:
        """Where a line of `skip` stands that drops no cell."""
        return [skip[0][2] for skip in self.skip if self._dropped(skip, meaning) is None]

    def _dropped(self, skip: Skip, meaning: Meaning) -> dict[int, set[int]] | None:
        """A line of `skip` as axis -> its levels that match; None where it matches nothing."""
        tests: dict[int, set[int]] = {}
        for path, holds, place in skip:
            index = next((i for i, a in enumerate(self.axes) if path in a.paths), None)
            if index is not None:
                every = enumerate(self.axes[index].levels)
                levels = {k for k, level in every if holds(meaning(path, dict(level)[path].value))}
                tests[index] = tests.get(index, levels) & levels
            elif path not in self.base:
                raise GridError(
                    f"skip names {path}, which this grid does not set; use an axis or a base setting", place
                )
            elif not holds(meaning(path, self.base[path].value)):
                return None
        return tests if all(tests.values()) else None


def read(file: Path, overrides: Mapping[str, str] | None = None) -> Grid:
    """Read a grid file; `overrides` are `--set` values by dotted path. Raises GridError."""
    try:
        return _read(file, overrides or {})
    except GridError as error:
        error.file = error.file or file
        raise


def _read(file: Path, overrides: Mapping[str, str]) -> Grid:
    text = document.text(file)
    root = compose(text)
    if not isinstance(root, MappingNode):
        raise GridError("a grid is a map with base, axes and seeds; this file holds none", Place(1, 1))
    parts = mapping(root, "a grid")
    for name, (_, place) in parts.items():
        if name not in GRID_PARTS:
            words = f"({', '.join(GRID_PARTS)}){suggest(name, GRID_PARTS)}"
            raise GridError(f"{name}: unknown part of a grid {words}", place)
    base = base_settings(parts["base"][0]) if "base" in parts else {}
    axes = _axes(parts["axes"][0]) if "axes" in parts else []
    axes = _zip(axes, parts["zip"][0]) if "zip" in parts else axes
    refined = refine.read(parts["refine"][0], axes) if "refine" in parts else None
    for path, value in overrides.items():
        check_path(path, Place())
        given = Given(within(value, Place(), f"--set {path}={value}"), Place())
        axes = [left for a in axes if (left := _without(a, path)) is not None]
        base[path] = given
    refined = refined if refined and refined.axis not in overrides else None  # one value is left: nothing to choose
    at, changes = fork.read(parts["fork"][0]) if "fork" in parts else ([], {})
    forked = {fork.AT: at, fork.CHANGE: [given for given, _ in changes.values()]}
    axes += [Axis((path,), tuple(((path, given),) for given in listed)) for path, listed in forked.items() if listed]
    cells = math.prod(len(a.levels) for a in axes)
    if cells > MOST_CELLS:
        raise GridError(
            f"the axes multiply to {cells:,} cells, more than {MOST_CELLS:,}; shorten an axis", parts["axes"][1]
        )
    include = tuple(_flat(n) for n in items(parts["include"][0], "include")) if "include" in parts else ()
    skip = tuple(_skip(n) for n in items(parts["skip"][0], "skip")) if "skip" in parts else ()
    seeds = _seeds(parts["seeds"][0]) if "seeds" in parts else (0,)
    changed = {word: change for word, (_, change) in changes.items()}
    grid = Grid(file, text, question(text), base, tuple(axes), include, skip, seeds, changed, refined)
    if next(grid.points(), None) is None and not include:
        raise GridError("skip drops every cell: nothing is left to run", place_of(parts["skip"][0]))
    return grid


def question(text: str) -> str:
    """The comment that a grid starts with: the question that it answers."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.lstrip("\ufeff\n").splitlines())
    return " ".join(line.lstrip("# ").rstrip() for line in lines).strip()


def _axes(node: Node) -> list[Axis]:
    axes = []
    for path, (value, place) in mapping(node, "axes").items():
        check_path(path, place)
        levels = [((path, given),) for given in values_of(path, value)]
        axes.append(Axis((path,), tuple(levels)))
    return axes


def _zip(axes: list[Axis], node: Node) -> list[Axis]:
    """Join the named axes into one whose settings move together."""
    groups = items(node, "zip")
    groups = groups if groups and all(isinstance(g, SequenceNode) for g in groups) else [node]
    for group in groups:
        paths = [(scalar(n), place_of(n)) for n in items(group, "zip")]
        chosen = []
        for path, place in paths:
            axis = next((a for a in axes if path in a.paths), None)
            if axis is None:
                axis_paths = [p for a in axes for p in a.paths]
                raise GridError(f"zip: {path} is no axis of this grid{suggest(str(path), axis_paths)}", place)
            if axis in chosen or len(axis.paths) > 1:
                raise GridError(f"zip: {path} is zipped twice", place)
            chosen.append(axis)
        lengths = {len(a.levels) for a in chosen}
        if len(chosen) < 2 or len(lengths) != 1:
            counts = ", ".join(f"{a.paths[0]} has {len(a.levels)}" for a in chosen)
            raise GridError(f"zip: takes two or more axes of one length ({counts})", place_of(group))
        levels = tuple(sum(row, ()) for row in zip(*(a.levels for a in chosen), strict=True))
        joined = Axis(sum((a.paths for a in chosen), ()), levels)
        at = axes.index(chosen[0])
        axes = [joined if i == at else a for i, a in enumerate(axes) if i == at or a not in chosen]
    return axes


def _without(axis: Axis, path: str) -> Axis | None:
    """An axis without one of its settings; None where no other moves along it."""
    paths = tuple(p for p in axis.paths if p != path)
    levels = (tuple(pair for pair in level if pair[0] != path) for level in axis.levels)
    return Axis(paths, tuple(levels)) if paths else None


def _flat(node: Node) -> Assignments:
    out = []
    for path, (value, place) in mapping(node, "include").items():
        check_path(path, place)
        out.append((path, Given(scalar(value), place_of(value))))
    return tuple(out)


def _skip(node: Node) -> Skip:
    tests = []
    for path, (value, place) in mapping(node, "skip").items():
        if path == "seed":
            raise GridError("skip: seeds are not skipped; name those that are to run, such as `seeds: [0, 2]`", place)
        if path not in (fork.AT, fork.CHANGE):
            check_path(path, place)
        tests.append((path, predicate(scalar(value), place_of(value)), place))
    if not tests:
        raise GridError("skip: an empty condition would drop every cell", place_of(node))
    return tuple(tests)


def _seeds(node: Node) -> tuple[int, ...]:
    value = scalar(node)
    if type(value) is int and 1 <= value <= 10_000:
        return tuple(range(value))
    if (
        isinstance(value, tuple)
        and value
        and all(type(v) is int and 0 <= v < 2**63 for v in value)
        and len(set(value)) == len(value)
    ):
        return value
    raise GridError(
        f"seeds: {value!r} is neither a count of at least 1 nor a list of different whole numbers below 2^63",
        place_of(node),
    )
