"""From the rows of a grid to its curves, its table and one self-contained page.

Importing this package is cheap: pandas, matplotlib and rich are imported when something is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table


@dataclass(frozen=True)
class Pair:
    """A generated sample beside its nearest training image; `ratio` is d1/d2 of Yoon et al. 2023 (0 … 1)."""

    seed: int
    ratio: float
    memorized: bool
    sample_png: bytes
    nearest_png: bytes
    label: int | None


@dataclass(frozen=True)
class Study:
    """One grid and everything known of its cells.

    rows: one line per planned cell, also the missing and the failed ones: a column per setting (`data.size`),
    `kind` (model, heldout, copycat, ideal), `seed`, `step`, `cell`, `trajectory`, `state` (done, missing, failed),
    `cause`, and every metric. tables: by name (noise, path, deviation, field) lines per noise level or point with the
    same setting columns; a missing or an empty one is not drawn.
    units: metric column -> (unit, meaning). gallery: (cell, how many) -> the most copied samples first.
    """

    name: str
    question: str
    axes: dict[str, list[Any]]
    seeds: int
    rows: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    units: dict[str, tuple[str, str]]
    gallery: Callable[[str, int], list[Pair]]
    provenance: dict[str, str]


@dataclass(frozen=True)
class Written:
    """What `write` left: the page, and the figures' PNG files (SVG, CSV and caption lie beside each)."""

    page: Path
    figures: list[Path]


def write(study: Study, out: Path) -> Written:
    """Write `report.html`, `figures/*.{png,svg,csv,txt}`, `rows.csv`, `last.csv` and, where they exist, `onset.csv`,
    `slopes.csv` and `clusters.csv` into the folder `out`.

    Files of an earlier report of the same names are replaced; a figure whose axis is gone is removed.
    """
    from difgen_cli.report import clusters, curves, figures, onset, page, spreadsheet, table

    read = curves.read(study)
    folder = out / "figures"
    onsets = onset.read(read)
    drawn = figures.draw(read, onsets)
    written = figures.save(drawn, folder)
    spreadsheet.write(study.rows, out / "rows.csv")
    spreadsheet.write(table.last(read), out / "last.csv")
    onset.write(onsets, out)
    clusters.write(clusters.bounds(read), out)
    html = out / "report.html"
    html.write_text(page.compose(study, read, drawn), encoding="utf-8")
    return Written(html, written)


def summary(study: Study, *, width: int | None = None) -> Table:
    """The last snapshots, over seeds. `width`: columns of the terminal, to drop what does not fit; None: keep all."""
    from difgen_cli.report import curves
    from difgen_cli.report.table import table

    return table(curves.read(study), study.name, width)


def show(study: Study, console: Console) -> None:
    """Print `summary`: fitted to a terminal, and never cut when piped."""
    fitted = summary(study, width=console.width if console.is_terminal else None)
    console.print(fitted, crop=False)
