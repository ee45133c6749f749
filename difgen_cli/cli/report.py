"""`difgen report`: figures, their numbers, a table and one page; one figure only; two run directories compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli import browser
from difgen_cli.cli import settle as settling
from difgen_cli.cli.app import command, errors
from difgen_cli.cli.completion import columns
from difgen_cli.cli.format import messages, output, print_json
from difgen_cli.cli.options import EveryGrid, Json, RunsArgument, RunsOption, existing, run_directory

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.store import Store
    from difgen_cli.report import Study
    from difgen_cli.report.custom import Choice
    from difgen_cli.report.plotting.layout import DrawnFigure
    from difgen_cli.report.plotting.paper import Paper


@command()
def report(
    runs: RunsArgument = None,
    runs_: RunsOption = None,
    grid: EveryGrid = None,
    out: Annotated[Path, typer.Option(help="The folder of the report.", metavar="FOLDER")] = Path("report"),
    paper: Annotated[bool, typer.Option("--paper", help="Also figures at a paper's widths: PNG, SVG, PDF.")] = False,
    x: Annotated[
        str | None,
        typer.Option("--x", help="One figure only: the column of x.", metavar="COLUMN", autocompletion=columns),
    ] = None,
    y: Annotated[
        str | None, typer.Option("--y", help="The column of y.", metavar="COLUMN", autocompletion=columns)
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="The column of the colours.", metavar="COLUMN", autocompletion=columns)
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Compare two run directories.", metavar="RUNS RUNS")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Also which training images are exposed, with pictures: private.")
    ] = False,
    settle: Annotated[
        Path | None, typer.Option(help="Write the cells that would settle what is open as a grid.", metavar="FILE")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what should not be compared.")] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Draw again when rows change.")] = False,
    json_: Json = False,
) -> None:
    """Write figures, their numbers, a table and one page.

    Example: difgen report runs/

    Example: difgen report runs/ --x data.size --y mem_frac --by model.width
    """
    with errors():
        others = {"--settle": settle, "--x with --y": x or y or by, "--compare": compare, "--watch": watch}
        for option, value in {"--images": images, "--open": open_}.items():
            _check_exclusive({option: value, **others})
        from difgen_cli.engine.store import Store

        folder, choice = _folder(runs, runs_, compare), _choice(x, y, by)
        console, table = messages(), None if json_ else output()
        if watch:
            _watch(Store(folder), grid, out, console)
            return
        if settle:
            content = settling.settle(Store(folder), grid, settle, table, console)
        elif compare:
            content = _compared(compare, grid, out, table, console)
        else:
            studies = _studies(Store(folder), grid, choice, console, strict=strict)
            if choice:
                content = _one_figure(studies, choice, out, console)
            else:
                content = _pages(studies, out, table, console, paper=paper, images=images, opened=open_)
        if json_:
            print_json(content)


def _check_exclusive(options: dict[str, Any]) -> None:
    """Raise GridError where several options are given of which one alone makes sense."""
    from difgen_cli.engine.grid.document import GridError

    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise GridError(f"{' and '.join(given)}: choose one of them")


def _folder(runs: Path | None, runs_: Path | None, compare: tuple[Path, Path] | None) -> Path:
    """The run directory; GridError where it, or one of two to compare, is none."""
    from difgen_cli.engine.grid.document import GridError

    if compare and (any(str(p).startswith("-") for p in compare) or compare[0].resolve() == compare[1].resolve()):
        raise GridError(f"--compare {compare[0]} {compare[1]}: name two run directories, such as runs/a runs/b")
    folder = run_directory(runs, runs_)
    for path in compare or (folder,):
        existing(path)
    return folder


def _choice(x: str | None, y: str | None, by: str | None) -> Choice | None:
    if not (x or y or by):
        return None
    from difgen_cli.engine.grid.document import GridError
    from difgen_cli.report.custom import Choice

    if not (x and y):
        raise GridError("--x and --y: name both, such as --x data.size --y mem_frac")
    return Choice(x, y, by)


def _studies(store: Store, grid: str | None, choice: Choice | None, console: Console, *, strict: bool) -> list[Study]:
    """The studies of a run directory, with notes on what does not count and what should not be compared.

    `strict`: leave with exit code 1 for the latter.
    """
    from difgen_cli.report.study import loading

    studies = loading.gather(store, grid)
    _print_stale(studies, console)
    sentences = _incomparable(studies, choice)
    for sentence in sentences:
        console.print(f"{'refused' if strict else 'note'}: {sentence}")
    if strict and sentences:
        raise typer.Exit(1)
    return studies


def _print_stale(studies: Sequence[Study], console: Console) -> None:
    for study in studies:
        if study.stale:
            console.print(f"note: grid {study.name}: {study.stale}")


def _incomparable(studies: Sequence[Study], choice: Choice | None) -> list[str]:
    """What differs within one curve of each study although nobody varied it, in sentences."""
    from difgen_cli.report import custom
    from difgen_cli.report.study import comparable

    sentences = []
    for study in studies:
        along = None if choice is None else custom.along(study, choice)
        differences = comparable.differences(study.curves, along)
        sentences += [f"grid {study.name}: {difference.sentence}" for difference in differences]
    return sentences


def _folders(studies: Sequence[Study], out: Path) -> list[tuple[Study, Path]]:
    """Each study and its folder: `out` for one alone."""
    return [(study, out / study.name if len(studies) > 1 else out) for study in studies]


def _pages(
    studies: Sequence[Study], out: Path, table: Console | None, console: Console, *, paper: bool, images: bool,
    opened: bool,
) -> dict[str, Any]:  # fmt: skip
    """Write a page for each study and print its table (without a console for it: not); returns content for machines."""
    from difgen_cli import report as reporting
    from difgen_cli.report import overview

    reports, pages = [], []
    for study, folder in _folders(studies, out):
        written = reporting.write(study, folder, paper=paper, images=images)
        pages.append((study, written))
        reports.append(
            {
                "grid": study.name,
                "page": str(written.page),
                "findings": reporting.sentences(study),
                "figures": [str(path) for path in written.figures],
            }
        )
        if table is not None:
            reporting.show(study, table)
        lines = [f"report of {study.name}: {written.page}", *([f"for a paper: {folder / 'paper'}"] if paper else [])]
        console.print("\n".join(lines), soft_wrap=True)
    content: dict[str, Any] = {"reports": reports}
    first = pages[0][1].page
    if len(pages) > 1:
        first = overview.write(pages, out)
        content |= {"index": str(first)}
        console.print(f"all grids: {first}", soft_wrap=True)
    if opened and (remark := browser.show(first)):
        console.print(remark, soft_wrap=True)
    return content


def _one_figure(studies: Sequence[Study], choice: Choice, out: Path, console: Console) -> dict[str, Any]:
    """Draw one figure of each study that has its columns; GridError where none has. Its files, for machines."""
    from difgen_cli.engine.grid.document import GridError
    from difgen_cli.report import custom

    refused, drawn = {}, []
    for study, folder in _folders(studies, out):
        try:
            custom.check(study, choice)
        except GridError as error:
            refused[study.name] = error
            continue
        files = _saved(partial(custom.draw, study, choice), folder / "chosen")
        drawn.append({"grid": study.name, "figures": [str(path) for path in files]})
        _print_paths(files, console)
    if refused and not drawn:
        raise next(iter(refused.values()))
    for reason in refused.values():
        console.print(f"skipped: {reason}")
    return {"reports": drawn}


def _compared(
    runs: tuple[Path, Path], name: str | None, out: Path, table: Console | None, console: Console
) -> dict[str, Any]:
    """Compare each grid that both run directories have: table, figure, `changes.csv`. For machines, the same."""
    from difgen_cli.report import changes, spreadsheet
    from difgen_cli.report.study import comparison

    comparisons = []
    for a, b in _pairs(runs, name):
        _print_stale((a, b), console)
        compared = comparison.compare((str(runs[0]), a), (str(runs[1]), b))
        folder = out / "compare" / a.name
        if table is not None:
            changes.show(compared, table)
        spreadsheet.write(compared.changes, folder / "changes.csv")
        files = _saved(partial(changes.draw, compared), folder)
        _print_paths([folder / "changes.csv", *files], console)
        comparisons.append(
            {
                "grids": [a.name, b.name],
                "cells": compared.matched,
                "said": changes.summary(compared),
                "notes": compared.notes,
                "changes": str(folder / "changes.csv"),
                "figures": [str(path) for path in files],
            }
        )
    return {"comparisons": comparisons}


def _pairs(runs: tuple[Path, Path], name: str | None) -> list[tuple[Study, Study]]:
    """Studies of one name; where each directory has a single one, those, whatever they are called."""
    from difgen_cli.engine.grid.document import GridError
    from difgen_cli.engine.store import Store
    from difgen_cli.report.study import loading

    left, right = ({study.name: study for study in loading.gather(Store(path), name)} for path in runs)
    if len(left) == len(right) == 1:
        return [(next(iter(left.values())), next(iter(right.values())))]
    shared = [grid for grid in left if grid in right]
    if not shared:
        raise GridError(f"--compare: no grid was swept into both: {runs[0]} has {', '.join(left)}, {runs[1]} has "
                        f"{', '.join(right)}")  # fmt: skip
    return [(left[grid], right[grid]) for grid in shared]


def _watch(store: Store, name: str | None, out: Path, console: Console) -> None:
    """Show the live view, and draw the pages again when rows have changed; print how it ended."""
    from difgen_cli.cli import progress
    from difgen_cli.engine import status
    from difgen_cli.report.redraw import Redraw
    from difgen_cli.report.study import loading

    reconciler = status.reconciler(store, writes=False)

    def studies() -> list[tuple[Study, Path]]:
        return _folders(loading.gather(store, name), out)

    with Redraw(store, studies, partial(console.print, soft_wrap=True)) as redraw:
        if not redraw.if_changed():
            progress.watch(console, store, lambda: [s for s in reconciler.poll() if s.alive], redraw.if_changed)
            redraw.draw()
    console.print(
        "every cell is done" if redraw.complete else "no worker is running: run the same sweep again to resume"
    )


def _saved(draw: Callable[[Paper], DrawnFigure | None], folder: Path) -> list[Path]:
    """A figure at both widths of a paper; its PNG files."""
    from difgen_cli.report.figures import listing
    from difgen_cli.report.plotting.paper import PAPERS

    figures = [(paper, figure) for paper in PAPERS if (figure := draw(paper)) is not None]
    files = [path for paper, figure in figures for path in listing.put(figure, folder / paper.name)]
    return [path for path in files if path.suffix == ".png"]


def _print_paths(paths: Sequence[Path], console: Console) -> None:
    for path in paths:
        console.print(str(path), soft_wrap=True)
