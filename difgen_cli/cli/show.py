"""`difgen show`: the settings, metrics, loss and samples of one cell."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import output, print_json
from difgen_cli.cli.options import CellWords, GridName, Json, Runs, existing
from difgen_cli.format import duration

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.report.cell import CellReport

BARS = "▁▂▃▄▅▆▇█"
SPARK_MOST = 60  # columns of a sparkline
PIPED = 10_000  # columns: nothing is cut


@command()
def show(
    cell: CellWords,
    runs: Runs = Path("runs"),
    grid: GridName = None,
    out: Annotated[Path, typer.Option(help="The folder of the picture.", metavar="FOLDER")] = Path("report/cells"),
    json_: Json = False,
) -> None:
    """Show one cell: its settings, metrics, loss and samples.

    Metrics are compared with those of the references; samples are written as a picture.

    Example: difgen show data.size=64 train.steps=4000 seed=0
    """
    with errors():
        from difgen_cli.engine import select
        from difgen_cli.engine.store import Store
        from difgen_cli.report import cell as cells

        store = Store(existing(runs))
        store.only_read()
        report = cells.gather(store, select.one(store, cell, grid))
        picture = cells.picture(store, report, out)
        if json_:
            print_json(content(report, picture))
        else:
            _print(report, picture, output())


def content(report: CellReport, picture: Path | None) -> dict[str, Any]:
    """The cell for machines."""
    cell = report.cell
    return {
        "cell": cell.key, "index": cell.index, "grid": cell.grid, "kind": cell.kind, "seed": cell.seed,
        "step": cell.step, "trajectory": cell.trajectory, "state": report.state, "cause": report.cause,
        "settings": cell.settings, "changed": {path: value for path, (value, _) in report.changed.items()},
        "findings": report.findings, "metrics": report.values, "loss": report.losses, "provenance": report.provenance,
        "picture": None if picture is None else str(picture),
    }  # fmt: skip


def _print(report: CellReport, picture: Path | None, console: Console) -> None:
    """Print it; what is piped is never cut, and a narrow terminal gets fewer columns."""
    width = console.width if console.is_terminal else PIPED
    parts = [*_wrapped(heading(report), width), *_sentences(report, width), _settings(report, width)]
    parts += _measures(report, width)
    parts += _training(report, width)
    parts.append(f"samples: {picture}" if picture else "samples: none stored as images")
    for part in parts:
        console.print(part, soft_wrap=True)


def heading(report: CellReport) -> str:
    """Which cell it is, and its state."""
    cell = report.cell
    kind = "" if cell.kind == "model" else f" ({cell.kind})"
    at = f", step {cell.step:,}" if cell.step is not None else ""
    ending = f": {report.cause}" if report.cause else ""
    return f"cell {cell.index} of {cell.grid}{kind}, key {cell.key}, seed {cell.seed}{at}: {report.state}{ending}"


def _sentences(report: CellReport, width: int) -> list[str]:
    return [line for sentence in report.findings for line in _wrapped(sentence, width, 2)]


def _settings(report: CellReport, width: int) -> str:
    """What differs from the defaults, one setting a line."""
    from difgen_cli.report.plotting import labels

    names = max((len(path) for path in report.changed), default=0)
    lines = ["settings that differ from their defaults:"]
    for path, (value, default) in report.changed.items():
        was = "" if default is None else f"  (default {labels.text(default)})"
        lines += _wrapped(f"  {path.ljust(names)}  {labels.text(value)}{was}", width, names + 4)
    return "\n".join(lines)


def _measures(report: CellReport, width: int) -> list[str]:
    """Metrics in rows, references in columns; a narrow terminal skips the last columns and the meanings."""
    if not report.measures:
        return ["no metric yet"]
    kinds = list(report.measures[0].words)
    while True:
        head = ["", *kinds]
        rows = [[measure.name, *(measure.words[kind] for kind in kinds)] for measure in report.measures]
        wide = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
        total = sum(wide) + 2 * len(wide)
        if total <= width or len(kinds) == 1:
            break
        kinds = kinds[:-1]
    lines = [_line(head, wide)]
    skipped = [kind for kind in report.measures[0].words if kind not in kinds]
    for measure, row in zip(report.measures, rows, strict=True):
        line = _line(row, wide)
        room = width - total
        lines.append(f"{line}  {measure.meaning}" if measure.meaning and len(measure.meaning) <= room else line)
    notes = [f"columns skipped, because the terminal is narrow: {', '.join(skipped)}"] if skipped else []
    return ["\n".join(lines), "[ ]: 95 % intervals, given this model and these images", *notes]


def _line(words: Sequence[str], wide: Sequence[int]) -> str:
    return "  ".join(
        [words[0].ljust(wide[0]), *(w.rjust(n) for w, n in zip(words[1:], wide[1:], strict=True))]
    ).rstrip()


def _training(report: CellReport, width: int) -> list[str]:
    """The loss along training, and its time and speed."""
    from difgen_cli.report.plotting import labels

    if report.cell.kind != "model":
        return []
    about = report.provenance
    took = [f"training: {duration(about['train_seconds'])}"] if "train_seconds" in about else []
    took += [f"{about['images_per_second']:,.0f} images/s"] if "images_per_second" in about else []
    took += [f"{about['roofline']:.0%} of the roofline, MFU {about['mfu']:.0%}"] if "roofline" in about else []
    took += [f"on {about[name]}" for name in ("device",) if name in about]
    took += [f"{name} {about[name]}" for name in ("difgen", "git_commit") if name in about]
    lines = _wrapped(", ".join(took), width) if took else []
    if not report.losses:
        return [*lines, "loss: no value was recorded"]
    steps, values = zip(*report.losses, strict=True)
    if len(values) == 1:
        return [*lines, f"loss: {labels.number(values[0])} at step {steps[0]:,}, the only value"]
    curve = sparkline(values, min(SPARK_MOST, max(8, width - 30)))
    lines.append(f"loss: {labels.number(values[0])} {curve} {labels.number(values[-1])}")
    lines += _wrapped(f"  steps {steps[0]:,} to {steps[-1]:,}, {len(values):,} values, each of one batch", width, 2)
    return lines


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as bars from the lowest to the highest; each column the mean of its share of them."""
    columns = min(width, len(values))
    edges = [round(i * len(values) / columns) for i in range(columns + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, reach = min(means), max(means) - min(means)
    return "".join(BARS[min(7, int(8 * (mean - low) / reach)) if reach else 0] for mean in means)


def _wrapped(line: str, width: int, indent: int = 0) -> list[str]:
    """Lines that a terminal holds; what follows the first begins further right."""
    if len(line) <= width:
        return [line]
    return textwrap.wrap(line, max(20, width), subsequent_indent=" " * indent, break_on_hyphens=False)
