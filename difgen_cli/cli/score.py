"""`difgen score`: measure the copies among images that came from any model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.app import command, errors, fail
from difgen_cli.cli.completion import metrics as metric_names
from difgen_cli.cli.format import messages, output, print_json
from difgen_cli.cli.options import Against, CopyFeatures, HeldOut, HoldOut, Json, Mirrored, ReportFolder, settings_of

if TYPE_CHECKING:
    from difgen_cli.report import Written
    from difgen_cli.report.scored import Scored
    from difgen_cli.score import Prepared

PAIRS_MAX = 20  # that JSON names


@command()
def score(
    samples: Annotated[Path, typer.Argument(help="Images of any model: a folder, Parquet or .npz.", metavar="SAMPLES")],
    against: Against,
    held_out: HeldOut = None,
    hold_out: HoldOut = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Metrics, separated by commas; default: a sweep's, and aligned.",
            metavar="NAMES",
            autocompletion=metric_names,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of a metric.", metavar="METRIC.KEY=VALUE")
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="The feature space of every metric that uses one.", metavar="NAME")
    ] = None,
    copy_features: CopyFeatures = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="How many of the samples to score; default: all.", metavar="N")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Groups of samples: folder, label, or a file.", metavar="WHAT")
    ] = None,
    mirrored: Mirrored = False,
    out: ReportFolder = None,
    runs: Annotated[Path, typer.Option("--runs", help="Where results are kept.", metavar="FOLDER")] = Path("scores"),
    json_: Json = False,
) -> None:
    """Measure the copies among images that came from any model.

    Exact, near and partial copies, and copies that are shifted by a pixel, mirrored, toned or smoothed, compared with
    real images and resampled training images. Repeats among the training images count as one image.

    Example: difgen score generated/ --against train/ --held-out test/
    """
    with errors():
        from difgen_cli import score as scoring
        from difgen_cli.cli import progress

        names = tuple(name.strip() for name in metrics.split(",")) if metrics else ()
        request = scoring.Request(
            samples=samples, against=against, held_out=held_out, hold_out=hold_out, metrics=names,
            settings=settings_of(set_), features=features, copy_features=copy_features, count=count, group=group,
            mirrored=mirrored,
        )  # fmt: skip
        prepared = scoring.prepare(request, runs)
        ended = scoring.run(prepared, messages(), partial(progress.watch, messages()))
        if ended == "interrupted":
            fail("interrupted: everything so far is kept; run the same command again to resume", 130)
        _report(prepared, out, json_=json_)
        raise typer.Exit(scoring.ENDED[ended])


def _report(prepared: Prepared, out: Path | None, *, json_: bool) -> None:
    """Write the report, by default into a folder of the samples' name, and print the table or JSON."""
    from difgen_cli import score as scoring
    from difgen_cli.report import scored
    from difgen_cli.report.study import loading

    planned = prepared.planned
    study = loading.gather(planned.store, planned.plan.grid.name, planned.folder)[0]
    result = scored.Scored(study, scoring.pairs(prepared), scoring.ratios(prepared), prepared.notes, prepared.left_out)
    written = scored.write(result, out or Path("report") / study.name)
    if json_:
        print_json(content(result, written, planned.store.tables))
    else:
        scored.show(result, output())
        messages().print(f"report: {written.page}", soft_wrap=True)


def content(result: Scored, written: Written, tables: Path) -> dict[str, Any]:
    """The result for machines: every value of every row, the most copied pairs, what is skipped and why."""
    from difgen_cli.report import scored

    rows = {kind: _values(row, result) for kind, row in result.by_kind.items()}
    return {
        "question": result.study.question, "findings": scored.sentences(result), "rows": rows,
        "pairs": result.pairs.head(PAIRS_MAX).to_dict("records"), "notes": result.notes, "left_out": result.left_out,
        "report": str(written.page), "tables": str(tables),
    }  # fmt: skip


def _values(row: dict[str, Any], result: Scored) -> dict[str, Any]:
    """The metrics of a row; what does not exist is null."""
    measured = [name for name, spec in result.study.columns.items() if spec.meaning and name in row]
    return {name: None if row[name] != row[name] else row[name] for name in measured}
