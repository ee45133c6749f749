"""The figures of the package's folder: found by listing it, drawn in their order, and written."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

from difgen_cli.report import figures, spreadsheet
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves

OWN_NAME = __name__.rpartition(".")[2]


class FigureModule(Protocol):
    """A file of the folder."""

    ORDER: int
    COVERS: tuple[str, ...]

    def draw(self, curves: Curves, paper: Paper) -> list[DrawnFigure]: ...


def modules() -> list[FigureModule]:
    """The files of the folder in the order of the page; those of one ORDER by name."""
    names = [module.name for module in pkgutil.iter_modules(figures.__path__)]
    names = [name for name in names if name != OWN_NAME and not name.startswith("_")]
    files = [cast(FigureModule, importlib.import_module(f"{figures.__name__}.{name}")) for name in sorted(names)]
    return sorted(files, key=lambda file: file.ORDER)


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Every figure that finished cells have the numbers for, in the order of the page."""
    import matplotlib

    curves = curves.finished
    if not curves.metrics:
        return []
    drawn: list[DrawnFigure] = []
    with matplotlib.rc_context(cast(Any, paper.rc)):
        for module in modules():
            own = module.draw(curves, paper)
            if own and module.COVERS:
                curves = replace(curves, covered=(*curves.covered, *module.COVERS))
            drawn += own
    return drawn


def save(drawn: list[DrawnFigure], folder: Path) -> list[Path]:
    """Write each figure in its formats with its CSV and caption; returns the files, and removes other figures."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [path for figure in drawn for path in put(figure, folder)]
    for old in folder.iterdir():  # else figures of an earlier grid would look like this one's
        if old.suffix in (".png", ".svg", ".pdf", ".csv", ".txt") and old not in files:
            old.unlink()
    return files


def put(figure: DrawnFigure, folder: Path) -> list[Path]:
    """Write one figure in its formats, its CSV and its caption; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{figure.name}.txt"
    for ending, content in figure.files.items():
        path.with_suffix(f".{ending}").write_bytes(content)
    path.write_text(f"{figure.title}\n\n{figure.caption}\n", encoding="utf-8")
    spreadsheet.write(figure.data, path.with_suffix(".csv"))
    return [path.with_suffix(f".{ending}") for ending in (*figure.files, "csv", "txt")]
