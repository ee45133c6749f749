"""The figure that a person asks for: any column across, any number up, any few values as colours."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from difgen_cli.engine.grid.document import GridError
from difgen_cli.report import Study
from difgen_cli.report.plotting import captions, facets, labels, layout, measures, scales, style
from difgen_cli.report.plotting.facets import FacetPlan, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import Paper
from difgen_cli.report.study import curves
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, last_snapshot, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HIDDEN = (
    "index",
    "results",
    "state",
    "cause",
    "cell",
    "trajectory",
    "identity",
    "slug",
    "kind",
)  # of a row, not of a cell
LEVELS_MOST = 20  # colours that can be told apart at all
SEED = "the seed"  # as a colour
SHOWN = 12  # columns that an error lists


@dataclass(frozen=True)
class Choice:
    """Columns by their names; by: None for the axis that a reader looks for first."""

    x: str
    y: str
    by: str | None = None

    @property
    def name(self) -> str:
        """The figure's file."""
        words = f"{self.y}-against-{self.x}" + (f"-by-{self.by}" if self.by else "")
        return re.sub(r"[^A-Za-z0-9_-]+", "-", words)


@dataclass(frozen=True)
class Roles:
    """What each axis of the study does. x: None where a number that is no axis runs across, along `walk`."""

    x: CurveAxis | None
    walk: CurveAxis | None
    colour: CurveAxis | None
    facets: tuple[CurveAxis, ...]

    @property
    def along(self) -> CurveAxis | None:
        """The axis that a line joins."""
        return self.x or self.walk

    @property
    def paths(self) -> list[str]:
        return [axis.path for axis in (*self.facets, self.colour, self.along) if axis]


def check(study: Study, choice: Choice) -> None:
    """Raises GridError where a column is not there, has no numbers, or says nothing."""
    rows = study.rows[(study.rows["kind"] == "model") & (study.rows["state"] == "done")]
    asked = {"--x": choice.x, "--y": choice.y} | ({"--by": choice.by} if choice.by else {})
    for option, name in asked.items():
        if name not in columns(rows):
            raise GridError(f"{option} {name}: grid {study.name} has no such column; {_near(name, columns(rows))}")
        if rows[name].isna().all():
            raise GridError(f"{option} {name}: no finished cell of grid {study.name} has a value there")
    if not _numeric(rows[choice.y]):
        raise GridError(
            f"--y {choice.y}: its values are words, such as {rows[choice.y].dropna().iloc[0]}; name a number"
        )
    words = {name: curves.worded(rows[name]).nunique() for name in asked.values()}
    if words[choice.x] == 1:
        value = labels.text(rows[choice.x].dropna().iloc[0])
        raise GridError(
            f"--x {choice.x}: it is {value} in every finished cell of grid {study.name}; choose what varies"
        )
    if choice.by and words[choice.by] > LEVELS_MOST:
        raise GridError(f"--by {choice.by}: {words[choice.by]:,} values; choose a column with at most {LEVELS_MOST}")


def columns(rows: pd.DataFrame) -> list[str]:
    """Columns that can be drawn: settings, clocks and metrics, not what names a row."""
    return [str(n) for n in rows.columns if n not in HIDDEN and not str(n).startswith(("result.", "axis."))]


def draw(study: Study, choice: Choice, paper: Paper) -> DrawnFigure:
    """`y` against `x`, one line per value of `by`, means and intervals over seeds; other axes stand side by side.

    Axes that move on purpose are never averaged over. Where `x` is no axis, lines run along the training steps (else
    the first numeric axis); where steps are neither x nor colour nor walked, each training run is read at its last one.
    """
    import matplotlib

    check(study, choice)
    read, roles = _roles(_by_seed(study.curves, choice), choice)
    cells = read.done if STEPS in roles.paths else last_snapshot(read.cells, read.paths)
    row = replace(measures.row(read, choice.y), label=_label(read, choice.y), marks=(), beside=_beside(choice, roles))
    names = [choice.y, *(name for name, _, _ in row.beside if name in read.metrics)]
    names = names if roles.x else [choice.x, choice.y]
    numbers = over_seeds(cells, roles.paths, list(dict.fromkeys(names)), read.columns)
    if numbers[numbers["metric"] == choice.y].empty:
        raise GridError(f"--y {choice.y}: no finished cell of grid {study.name} has both it and {choice.x}")
    with matplotlib.rc_context(cast(Any, paper.rc)):
        tiles = facets.tiles(roles.facets, numbers, roles.colour, paper, most=paper.panels_most)
        points = len(tiles.panels) * len(style.colours(roles.colour)) <= layout.CROWD
        notes = _draw_panels(tiles, numbers, roles, choice, row, points, read)
        what = _what(read, roles, choice)
        at = "" if STEPS in roles.paths else captions.snapshot(read, cells)
        own = [at, *dict.fromkeys(notes), captions.omitted(tiles.left_out)]
        caption = _caption(read, numbers, what, choice, own, points=points and roles.x is not None)
        text = Text(choice.name, f"{row.label} against {_label(read, choice.x)}", what)
        return facets.finished(read, numbers, text, tiles.sheet, roles.colour, caption=caption)


def _beside(choice: Choice, roles: Roles) -> tuple[tuple[str, str, Any], ...]:
    """What a metric means nothing without, such as a cosine of twins without its baseline and its ceiling."""
    return measures.CONTEXT[choice.y] if roles.x and choice.y in measures.NEVER_ALONE else ()


def _draw_panels(
    tiles: facets.Tiles, numbers: pd.DataFrame, roles: Roles, choice: Choice, row: FacetRow, points: bool, read: Curves
) -> list[str]:
    """Lines, scales and the legend; returns what a caption must say of the scales."""
    lines = facets.groups(numbers, roles.facets, roles.colour, roles.along)
    notes: list[str] = []
    used: dict[str, Any] = {}
    for ax, panel in tiles.panels:
        notes += _scales(ax, numbers, roles, choice, row, read, tiles.sheet.letters)
        if roles.x is not None:
            used |= facets.draw_panel(ax, lines, panel, FacetPlan(roles.x, roles.colour, ()), row, points=points)
        else:
            _walks(ax, lines, panel, roles, choice)
    tiles.sheet.name_axes(_label(read, choice.x), row.label)
    tiles.sheet.legend(roles.colour, style.colours(roles.colour), list(used.values()))
    return notes


def _caption(read: Curves, numbers: pd.DataFrame, what: str, choice: Choice, notes: list[str], *, points: bool) -> str:
    if choice.by != "seed":
        return captions.caption(read, numbers, what, *notes, points=points)
    parts = [what, "Each seed is a line of its own, without an interval.", captions.counts(read, numbers)]
    return " ".join(part for part in [*parts, captions.missing(read), *captions.moving(read), *notes] if part)


def along(study: Study, choice: Choice) -> list[CurveAxis]:
    """The axis that a line of the figure joins; none where nothing is joined."""
    check(study, choice)
    _, roles = _roles(_by_seed(study.curves, choice), choice)
    return [roles.along] if roles.along is not None and roles.along.numeric else []


def _by_seed(read: Curves, choice: Choice) -> Curves:
    """Where the seeds are the colours, each is a line of its own, and nothing is averaged."""
    if choice.by != "seed":
        return read
    return replace(read, cells=read.cells.assign(seed=0).assign(**{SEED: read.cells["seed"]}))


def _roles(read: Curves, choice: Choice) -> tuple[Curves, Roles]:
    """Who does what; a colour that is no axis of the study becomes one, in place of the axis that it moves with."""
    x = next((axis for axis in read.axes if choice.x == axis.path), None)
    if x is None and not _numeric(read.done[choice.x]):
        x = curves.axis_of(read.done, choice.x)
    by = SEED if choice.by == "seed" else choice.by
    candidates = [axis for axis in read.axes if x is None or (axis.path != x.path and x.path not in axis.along)]
    colour = next((axis for axis in candidates if axis.path == by), None)
    if by and colour is None:
        colour = curves.axis_of(read.done, by)
        candidates = [axis for axis in candidates if by not in axis.along]
    candidates = [axis for axis in candidates if axis is not colour]
    rank = [axis for axis in read.others() if axis in candidates]
    walk = None
    if x is None:
        walk = next((a for a in rank if a.path == STEPS), None) or next((a for a in rank if a.numeric), None)
    rest = [axis for axis in rank if axis is not walk and axis.path != STEPS]
    if colour is None and rest:
        colour, rest = rest[0], rest[1:]
    axes = [axis for axis in (x, colour) if axis is not None]
    return replace(read, cells=curves.coded(read.cells, axes)), Roles(x, walk, colour, tuple(rest))


def _walks(ax: Axes, lines: layout.Groups, panel: layout.Panel, roles: Roles, choice: Choice) -> None:
    """A number against another, joined along the walked axis."""
    for hue, shape, (x, y) in facets.levels(lines, panel, roles.colour, choice.x, choice.y):
        if x is not None and y is not None:
            ax.plot(x.mean, y.mean, color=hue, marker=shape, zorder=3, linestyle="-" if roles.walk else "none")
            thin: dict[str, Any] = {"color": hue, "linewidth": 0.8, "alpha": 0.45, "zorder": 2}
            ax.plot(*layout.bars(x.mean, y.lo, y.hi), **thin)
            ax.plot(*layout.bars(y.mean, x.lo, x.hi)[::-1], **thin)


def _scales(
    ax: Axes, numbers: pd.DataFrame, roles: Roles, choice: Choice, row: FacetRow, read: Curves, letters: float
) -> list[str]:
    """Both scales; returns what a caption must say of them."""
    remarks = [measures.scale(ax, numbers, row)]
    if roles.x is not None:
        scales.setting_scale(ax, "x", roles.x, letters)
        return remarks
    mine = numbers[numbers["metric"] == choice.x]
    values = layout.finite(mine[["mean", "lo", "hi"]].to_numpy())
    low, high = float(values.min()), float(values.max())
    if read.spec(choice.x).scale == "share":
        remarks.append(scales.share_scale(ax, "x", mine["mean"], read.samples(choice.x)))
    elif low > 0 and high / low >= 8:
        scales.log_scale(ax, "x", low, high, letters)
    else:
        reach = (high - low) or max(abs(high) * 0.1, 1e-3)
        ax.set_xlim(low - 0.05 * reach, high + 0.05 * reach)
        ax.locator_params(axis="x", nbins=max(2, min(6, int(letters / 6))))
    return remarks


def _what(read: Curves, roles: Roles, choice: Choice) -> str:
    parts = [f"{_label(read, choice.y)} against {_label(read, choice.x)}"]
    if roles.colour is not None:
        parts.append(f"one line per value of {labels.setting(roles.colour.path)}")
    if roles.walk is not None:
        parts.append(f"along a line {captions.walk_words(roles.walk)}")
    if roles.facets:
        parts.append(f"one panel per {captions.names(list(roles.facets))}")
    words = "; ".join(parts)
    return f"{words[:1].upper()}{words[1:]}."


def _label(read: Curves, name: str) -> str:
    if name in labels.SETTINGS or "." in name:
        return labels.setting(name)
    return read.label(name)


def _numeric(column: pd.Series) -> bool:
    words = column.dropna()
    if words.dtype == object:
        return bool(len(words)) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in words)
    return pd.api.types.is_numeric_dtype(words) and not pd.api.types.is_bool_dtype(words)


def _near(name: str, names: list[str]) -> str:
    """What may have been meant: a whole name, or the last part of one."""
    ends = {n.rpartition(".")[2]: n for n in reversed(names)}
    close = get_close_matches(name, names, 3) or [ends[e] for e in get_close_matches(name.rpartition(".")[2], ends, 3)]
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there are {', '.join(names[:SHOWN])}{' …' if len(names) > SHOWN else ''}"
