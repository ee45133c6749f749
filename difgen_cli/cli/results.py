"""What came of a grid, or of anybody's samples: report, score, show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.common import (
    CellWords,
    GridName,
    Json,
    Runs,
    RunsNamed,
    RunsToo,
    command,
    either,
    errors,
    existing,
    fail,
    output,
    settings,
    words,
    write,
)

if TYPE_CHECKING:
    from difgen_cli.report.figures.custom import Choice


@command()
def report(
    runs: RunsNamed = None,
    runs_: RunsToo = None,
    grid: Annotated[str | None, typer.Option(help="One grid's name; default: every grid.", metavar="NAME")] = None,
    out: Annotated[Path, typer.Option(help="The folder of the report.", metavar="FOLDER")] = Path("report"),
    paper: Annotated[bool, typer.Option("--paper", help="Also figures at a paper's widths: PNG, SVG, PDF.")] = False,
    x: Annotated[str | None, typer.Option("--x", help="One figure alone: the column across.", metavar="COLUMN")] = None,
    y: Annotated[str | None, typer.Option("--y", help="The column up.", metavar="COLUMN")] = None,
    by: Annotated[str | None, typer.Option("--by", help="The column that is coloured.", metavar="COLUMN")] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two run directories, side by side.", metavar="RUNS RUNS")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what should not be compared.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Write again as rows arrive.")] = False,
    json_: Json = False,
) -> None:
    """Draw the curves: figures, their numbers, a table and one page.

    Example: difgen report runs/

    Example: difgen report runs/ --x data.size --y mem_frac --by model.width
    """
    with errors():
        from difgen_cli.engine.grid.document import GridError

        _apart({"--x with --y": x or y or by, "--compare": compare, "--watch": watch})
        from difgen_cli.display import reports
        from difgen_cli.engine.store import Store
        from difgen_cli.report.study import loading

        if compare and any(str(path).startswith("-") for path in compare):
            raise GridError(f"--compare {compare[0]} {compare[1]}: name two run directories, such as runs/a runs/b")
        folder = either(runs, runs_)
        for path in compare or (folder,):
            existing(path)
        say, out_ = words(), None if json_ else output()
        if compare:
            content = reports.compared(compare, grid, out, out_, say)
        elif watch:
            reports.watched(Store(folder), grid, out, say)
            return
        else:
            choice_ = _choice(x, y, by)
            found = loading.gather(Store(folder), grid)
            for sentence in reports.stale(found):
                say.print(f"note: {sentence}")
            for sentence in (incomparable := reports.incomparable(found, choice_)):
                say.print(f"{'refused' if strict else 'note'}: {sentence}")
            if strict and incomparable:
                raise typer.Exit(1)
            if choice_:
                content = reports.chosen(found, choice_, out, say)
            else:
                content = reports.pages(found, out, out_, say, paper=paper)
        if json_:
            write(content + "\n")


@command()
def score(
    samples: Annotated[Path, typer.Argument(help="Images of any model: a folder, Parquet or .npz.", metavar="SAMPLES")],
    against: Annotated[
        Path, typer.Option(help="What the model was trained on: a folder, Parquet, .npz, or digits.", metavar="IMAGES")
    ],
    held_out: Annotated[
        Path | None, typer.Option(help="Images of the same kind, never trained on.", metavar="IMAGES")
    ] = None,
    hold_out: Annotated[
        int | None, typer.Option(min=1, help="Draw so many held-out images from --against.", metavar="N")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Names with commas; default: a sweep's and aligned.", metavar="NAMES")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A metric's setting.", metavar="METRIC.KEY=VALUE")
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="The feature space of every metric that uses one.", metavar="NAME")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Score so many of the samples; default: all.", metavar="N")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="What is drawn together: folder, label, or a file.", metavar="WHAT")
    ] = None,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Training showed mirror images too.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="The folder of the report; default: report/NAME.", metavar="FOLDER")
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Where results are kept.", metavar="FOLDER")] = Path("scores"),
    json_: Json = False,
) -> None:
    """Measure the copies among images that came from any model.

    Copies in every value, nearly so, by parts, and moved by a pixel, mirrored, toned or smoothed, beside real images
    and resampled training images. Repeats among the training images count as one image.

    Example: difgen score generated/ --against train/ --held-out test/
    """
    with errors():
        from difgen_cli import score as scoring
        from difgen_cli.display import scores

        named = tuple(name.strip() for name in metrics.split(",")) if metrics else ()
        request = scoring.Request(
            samples, against, held_out, hold_out, named, settings(set_), features, count, group, mirrored
        )
        prepared = scoring.prepare(request, runs)
        ended = scoring.run(prepared, words())
        if ended == "interrupted":
            fail("interrupted: everything so far is kept; the same command goes on", 130)
        found = scores.gather(prepared)
        written = scores.write(found, out)
        if json_:
            write(scores.content(found, written, prepared.planned.store.tables) + "\n")
        else:
            scores.show(found, written, output(), words())
        raise typer.Exit(scoring.ENDED[ended])


@command()
def show(
    cell: CellWords,
    runs: Runs = Path("runs"),
    grid: GridName = None,
    out: Annotated[Path, typer.Option(help="The folder of the picture.", metavar="FOLDER")] = Path("report/cells"),
    json_: Json = False,
) -> None:
    """Show one cell: its settings, metrics, loss and samples.

    Metrics stand beside those of the references; samples are written as a picture.

    Example: difgen show data.size=64 train.steps=4000 seed=0
    """
    with errors():
        from difgen_cli import show as showing
        from difgen_cli.display import cells as displayed
        from difgen_cli.engine import select
        from difgen_cli.engine.store import Store

        store = Store(existing(runs))
        store.only_read()
        shown = showing.look(store, select.one(store, cell, grid))
        picture = showing.picture(store, shown, out)
        if json_:
            write(displayed.content(shown, picture) + "\n")
        else:
            displayed.show(shown, picture, output())


def _choice(x: str | None, y: str | None, by: str | None) -> Choice | None:
    from difgen_cli.engine.grid.document import GridError
    from difgen_cli.report.figures.custom import Choice

    if not (x or y or by):
        return None
    if not (x and y):
        raise GridError("--x and --y: name both, such as --x data.size --y mem_frac")
    return Choice(x, y, by)


def _apart(asked: dict[str, Any]) -> None:
    """Options of which one alone makes sense."""
    from difgen_cli.engine.grid.document import GridError

    given = [name for name, value in asked.items() if value]
    if len(given) > 1:
        raise GridError(f"{' and '.join(given)}: choose one of them")
