"""`difgen report`: what to draw of which run directory, where it lies, and what it says on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli import report
from difgen_cli.display import as_json
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.store import Store
from difgen_cli.report import Study
from difgen_cli.report.study import loading

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.report.figures.custom import Choice
    from difgen_cli.report.plotting.layout import DrawnFigure
    from difgen_cli.report.plotting.paper import Paper


def folders(found: Sequence[Study], out: Path) -> list[tuple[Study, Path]]:
    """Each study and its folder: `out` for one alone."""
    return [(study, out / study.name if len(found) > 1 else out) for study in found]


def pages(found: Sequence[Study], out: Path, console: Console | None, say: Console, *, paper: bool = False) -> str:
    """Write a page for each study and print its table (without a console: not); returns the same for machines."""
    written = []
    for study, folder in folders(found, out):
        made = report.write(study, folder, paper=paper)
        written.append(
            {
                "grid": study.name,
                "page": str(made.page),
                "findings": report.sentences(study),
                "figures": [str(path) for path in made.figures],
            }
        )
        if console is not None:
            report.show(study, console)
        say.print(f"report of {study.name}: {made.page}", soft_wrap=True)
        if paper:
            say.print(f"for a paper: {folder / 'paper'}", soft_wrap=True)
    return as_json({"reports": written})


def chosen(found: Sequence[Study], choice: Choice, out: Path, say: Console) -> str:
    """Draw one figure of each study that has its columns; raises GridError where none has. For machines, its files."""
    from difgen_cli.report.figures import custom as drawing

    refused, written = {}, []
    for study, folder in folders(found, out):
        try:
            drawing.check(study, choice)
        except GridError as error:
            refused[study.name] = error
            continue
        files = _saved(partial(drawing.draw, study, choice), folder / "chosen")
        written.append({"grid": study.name, "figures": [str(path) for path in files]})
        _say_files(files, say)
    if refused and not written:
        raise next(iter(refused.values()))
    for why in refused.values():
        say.print(f"left out: {why}")
    return as_json({"reports": written})


def compared(runs: tuple[Path, Path], name: str | None, out: Path, console: Console | None, say: Console) -> str:
    """Compare each grid that both run directories have: table, figure, `changes.csv`. For machines, the same."""
    from difgen_cli.report import changes, spreadsheet
    from difgen_cli.report.study import comparison

    both = []
    for a, b in _pairs(runs, name):
        for sentence in stale((a, b)):
            say.print(f"note: {sentence}")
        made = comparison.compare((str(runs[0]), a), (str(runs[1]), b))
        folder = out / "compare" / a.name
        if console is not None:
            changes.show(made, console)
        spreadsheet.write(made.changes, folder / "changes.csv")
        files = _saved(partial(changes.draw, made), folder)
        _say_files([folder / "changes.csv", *files], say)
        both.append({"grids": [a.name, b.name], "cells": made.matched, "said": changes.said(made), "notes": made.notes,
                     "changes": str(folder / "changes.csv"), "figures": [str(path) for path in files]})  # fmt: skip
    return as_json({"comparisons": both})


def _pairs(runs: tuple[Path, Path], name: str | None) -> list[tuple[Study, Study]]:
    """Studies of one name; where each directory has a single one, those, whatever they are called."""
    left, right = ({study.name: study for study in loading.gather(Store(path), name)} for path in runs)
    if len(left) == len(right) == 1:
        return [(next(iter(left.values())), next(iter(right.values())))]
    shared = [known for known in left if known in right]
    if not shared:
        raise GridError(f"--compare: no grid was swept into both: {runs[0]} has {', '.join(left)}, {runs[1]} has "
                        f"{', '.join(right)}")  # fmt: skip
    return [(left[known], right[known]) for known in shared]


def incomparable(found: Sequence[Study], choice: Choice | None = None) -> list[str]:
    """What differs within one curve of each study although nobody varied it, in sentences."""
    from difgen_cli.report.figures import custom as drawing
    from difgen_cli.report.study import comparable, curves

    said = []
    for study in found:
        along = None if choice is None else drawing.along(study, choice)
        differences = comparable.differences(curves.read(study), along)
        said += [f"grid {study.name}: {difference.sentence}" for difference in differences]
    return said


def stale(found: Sequence[Study]) -> list[str]:
    """What does not count of each study, in a sentence."""
    return [f"grid {study.name}: {study.stale}" for study in found if study.stale]


def watched(store: Store, name: str | None, out: Path, say: Console) -> None:
    """Write pages again and again while workers are at it; says how it ended."""
    from difgen_cli.engine import status
    from difgen_cli.engine.store import index
    from difgen_cli.report.page.watching import Watch

    reconciler = status.reconciler(store, writes=False)
    watch = Watch(
        pulse=lambda: index.pulse(store),
        studies=lambda: folders(loading.gather(store, name), out),
        alive=lambda: any(standing.alive for standing in reconciler.look()),
    )
    complete = watch.run(lambda words: say.print(words, soft_wrap=True))
    ending = (
        "every cell is done" if complete else "nobody is at it any more: the same sweep goes on with what is missing"
    )
    say.print(ending)


def _saved(draw: Callable[[Paper], DrawnFigure | None], folder: Path) -> list[Path]:
    """A figure at both widths of a paper; its PNG files."""
    from difgen_cli.report.figures import listing
    from difgen_cli.report.plotting.paper import PAPERS

    made = [(paper, drawn) for paper in PAPERS if (drawn := draw(paper)) is not None]
    files = [path for paper, drawn in made for path in listing.put(drawn, folder / paper.name)]
    return [path for path in files if path.suffix == ".png"]


def _say_files(files: Sequence[Any], say: Console) -> None:
    for path in files:
        say.print(str(path), soft_wrap=True)
