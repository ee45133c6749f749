"""Which cells' samples are shown with their nearest training images, and how."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import SIZE, STEPS, CurveAxis, Curves, last_snapshot

if TYPE_CHECKING:
    from difgen_cli.report import Gallery, Pair, Study

PAIRS = 8  # of a cell
CELLS = 48  # with pictures on a page
MOST_BYTES = 4_000_000  # of pictures on a page
REFERENCES = {
    "heldout": "Held-out images as if they were samples",
    "copycat": "Copycat: training images resampled",
    "ideal": "Ideal denoiser: the closed form that can only copy",
}


def chosen(curves: Curves) -> dict[str, str]:
    """Cell -> title: the highest and the lowest mem_frac, and the corners of the two main numeric axes."""
    done = last_snapshot(curves.cells, curves.paths)
    if done.empty:
        return {}
    titles: dict[str, list[str]] = {}
    lines = done.drop_duplicates("cell").set_index("cell", drop=False)
    if "mem_frac" in lines and lines["mem_frac"].notna().any():
        titles.setdefault(str(lines["mem_frac"].idxmax()), []).append("highest mem_frac")
        titles.setdefault(str(lines["mem_frac"].idxmin()), []).append("lowest mem_frac")
    for name, cell in _corners(curves, lines):
        titles.setdefault(cell, []).append(name)
    places = {cell: i for i, cell in enumerate(lines.index)}
    return {cell: _title(curves, lines.iloc[places[cell]], names) for cell, names in titles.items()}


def references(curves: Curves) -> dict[str, str]:
    """Cell -> title of the held-out images, the copycat and the ideal denoiser at the smallest data set size."""
    rows = curves.references
    if rows.empty or "cell" not in rows:
        return {}
    rows = rows[rows["state"] == "done"] if "state" in rows else rows
    rows = rows.sort_values(SIZE, kind="stable") if SIZE in rows else rows
    titles = {}
    for kind, name in REFERENCES.items():
        first = rows[rows["kind"] == kind].head(1)
        for _, row in first.iterrows():
            size = labels.text(row[SIZE]) if SIZE in rows else "none"
            at = f" (N = {size})" if size != "none" else ""
            titles[str(row["cell"])] = f"{name}{at}: {_measured(row)}"
    return titles


def pictured(study: Study, curves: Curves, first: Sequence[str]) -> dict[str, list[Pair]]:
    """The most copied samples of the cells `first`, then of others as far as `CELLS` and `MOST_BYTES` reach.

    Of the others the last snapshots come before earlier ones, and each group's first seed before its others.
    """
    last = last_snapshot(curves.cells, curves.paths)
    alike = last.loc[last["seed"] == last["seed"].min(), "cell"]
    every = max(1, -(-len(alike) // CELLS))  # of too many groups, some from all over the grid
    ranked = [alike.iloc[::every], last.sort_values("seed", kind="stable")["cell"], curves.done["cell"]]
    wanted = list(dict.fromkeys([*first, *pd.concat(ranked).astype(str)]))[: max(CELLS, len(first))]
    pairs_by_cell = study.gallery(wanted, PAIRS)
    kept: dict[str, list[Pair]] = {}
    size = 0
    for cell in wanted:
        pairs = pairs_by_cell.get(cell, [])
        size += sum(len(pair.sample_png) + len(pair.nearest_png) for pair in pairs)
        if size > MOST_BYTES:
            break
        if pairs:
            kept[cell] = pairs
    return kept


def section(cells: Mapping[str, str], pictures: Gallery, count: int = PAIRS) -> str:
    """The pairs of cells under their titles, as HTML."""
    parts = []
    pairs_by_cell = pictures(list(cells), count)
    for cell, title in cells.items():
        pairs = pairs_by_cell.get(cell, [])
        shown = "".join(_pair(pair) for pair in pairs)
        body = f'<div class="pairs">{shown}</div>' if pairs else '<p class="note">No samples are stored.</p>'
        parts.append(f"<h3>{escape(title)}</h3>{body}")
    return "".join(parts)


def _corners(curves: Curves, lines: pd.DataFrame) -> list[tuple[str, str]]:
    """Smallest and largest level of dataset size and width (else of the first two numeric axes)."""
    axes = [axis for axis in curves.others() if axis.numeric and axis.path != STEPS][:2]
    corners = []
    for picks in np.ndindex(*[2] * len(axes)):
        at = lines
        for axis, pick in zip(axes, picks, strict=True):
            at = at[at[axis.path] == axis.levels[-pick]]  # 0: the first level, 1: the last
        if len(at) and axes:
            name = ", ".join(_extreme(axis, pick) for axis, pick in zip(axes, picks, strict=True))
            corners.append((name, str(at["cell"].iloc[0])))
    return corners


def _extreme(axis: CurveAxis, pick: int) -> str:
    if axis.path == SIZE:
        return ("smallest data set", "largest data set")[pick]
    if axis.path == "model.width":
        return ("narrowest", "widest")[pick]
    return f"{('least', 'greatest')[pick]} {labels.setting(axis.path)}"


def _title(curves: Curves, row: pd.Series, names: list[str]) -> str:
    where = [labels.level(axis.path, str(row[axis.path])) for axis in curves.axes if axis.path != STEPS]
    step = [f"step {labels.text(row['step'])}"] if "step" in row and pd.notna(row["step"]) else []
    place = ", ".join([*where, *step, f"seed {labels.text(row['seed'])}"])
    name = "; ".join(names)
    return f"{name[:1].upper()}{name[1:]} ({place}): {_measured(row)}"


def _measured(row: pd.Series) -> str:
    parts = [
        f"{name} {labels.number(float(row[name]))}"
        for name in ("mem_frac", "fd_test")
        if name in row and pd.notna(row[name])
    ]
    return ", ".join(parts) or "not measured"


def _pair(pair: Pair) -> str:
    mark = "memorized" if pair.memorized or pair.identical else ""
    ratio = f"{labels.number(pair.ratio, 2)}{' copy' if pair.memorized else ''}"
    label = f", condition {pair.label}" if pair.label is not None else ""
    alt = f"sample {pair.seed}{label}"
    return (
        f'<figure class="pair {mark}"><div>{picture(pair.sample_png, alt)}'
        f"{picture(pair.nearest_png, f'nearest training image of sample {pair.seed}')}</div>"
        f"<figcaption>{escape('identical' if pair.identical else ratio)}</figcaption></figure>"
    )


def picture(png: bytes, alt: str) -> str:
    """An image of the page's own; words where there is none."""
    if not png:
        return '<span class="none">no image</span>'
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(alt)}">'
