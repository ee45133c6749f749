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

    from difgen_cli.show import Shown

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

    Metrics stand beside those of the references; samples are written as a picture.

    Example: difgen show data.size=64 train.steps=4000 seed=0
    """
    with errors():
        from difgen_cli import show as showing
        from difgen_cli.engine import select
        from difgen_cli.engine.store import Store

        store = Store(existing(runs))
        store.only_read()
        shown = showing.look(store, select.one(store, cell, grid))
        picture = showing.picture(store, shown, out)
        if json_:
            print_json(content(shown, picture))
        else:
            _print(shown, picture, output())


def content(shown: Shown, picture: Path | None) -> dict[str, Any]:
    """The cell for machines."""
    cell = shown.cell
    return {
        "cell": cell.key, "index": cell.index, "grid": cell.grid, "kind": cell.kind, "seed": cell.seed,
        "step": cell.step, "trajectory": cell.trajectory, "state": shown.state, "cause": shown.cause,
        "settings": cell.settings, "changed": {path: value for path, (value, _) in shown.changed.items()},
        "findings": shown.findings, "metrics": shown.values, "loss": shown.losses, "provenance": shown.provenance,
        "picture": None if picture is None else str(picture),
    }  # fmt: skip


def _print(shown: Shown, picture: Path | None, console: Console) -> None:
    """Print it; what is piped is never cut, and a narrow terminal gets fewer columns."""
    width = console.width if console.is_terminal else PIPED
    parts = [*_wrapped(heading(shown), width), *_sentences(shown, width), _settings(shown, width)]
    parts += _measures(shown, width)
    parts += _training(shown, width)
    parts.append(f"samples: {picture}" if picture else "samples: none stored as images")
    for part in parts:
        console.print(part, soft_wrap=True)


def heading(shown: Shown) -> str:
    """Which cell it is, and how it stands."""
    cell = shown.cell
    kind = "" if cell.kind == "model" else f" ({cell.kind})"
    at = f", step {cell.step:,}" if cell.step is not None else ""
    ending = f": {shown.cause}" if shown.cause else ""
    return f"cell {cell.index} of {cell.grid}{kind}, key {cell.key}, seed {cell.seed}{at}: {shown.state}{ending}"


def _sentences(shown: Shown, width: int) -> list[str]:
    return [line for sentence in shown.findings for line in _wrapped(sentence, width, 2)]


def _settings(shown: Shown, width: int) -> str:
    """What differs from the defaults, one setting a line."""
    from difgen_cli.report.plotting import labels

    names = max((len(path) for path in shown.changed), default=0)
    lines = ["settings that differ from their defaults:"]
    for path, (value, default) in shown.changed.items():
        was = "" if default is None else f"  (default {labels.text(default)})"
        lines += _wrapped(f"  {path.ljust(names)}  {labels.text(value)}{was}", width, names + 4)
    return "\n".join(lines)


def _measures(shown: Shown, width: int) -> list[str]:
    """Metrics by row; references by column, dropped from the last where there is no room, then the meanings."""
    if not shown.measures:
        return ["no metric yet"]
    kinds = list(shown.measures[0].words)
    while True:
        head = ["", *kinds]
        rows = [[measure.name, *(measure.words[kind] for kind in kinds)] for measure in shown.measures]
        wide = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
        total = sum(wide) + 2 * len(wide)
        if total <= width or len(kinds) == 1:
            break
        kinds = kinds[:-1]
    lines = [_line(head, wide)]
    left_out = [kind for kind in shown.measures[0].words if kind not in kinds]
    for measure, row in zip(shown.measures, rows, strict=True):
        line = _line(row, wide)
        room = width - total
        lines.append(f"{line}  {measure.meaning}" if measure.meaning and len(measure.meaning) <= room else line)
    said = [f"columns left out for width: {', '.join(left_out)}"] if left_out else []
    return ["\n".join(lines), "[ ]: 95 % intervals, given this model and these images", *said]


def _line(words: Sequence[str], wide: Sequence[int]) -> str:
    return "  ".join(
        [words[0].ljust(wide[0]), *(w.rjust(n) for w, n in zip(words[1:], wide[1:], strict=True))]
    ).rstrip()


def _training(shown: Shown, width: int) -> list[str]:
    """The loss along training, and what it took."""
    from difgen_cli.report.plotting import labels

    if shown.cell.kind != "model":
        return []
    about = shown.provenance
    took = [f"training: {duration(about['train_seconds'])}"] if "train_seconds" in about else []
    took += [f"{about['images_per_second']:,.0f} images/s"] if "images_per_second" in about else []
    took += [f"{about['roofline']:.0%} of the roofline, MFU {about['mfu']:.0%}"] if "roofline" in about else []
    took += [f"on {about[name]}" for name in ("device",) if name in about]
    took += [f"{name} {about[name]}" for name in ("difgen", "git_commit") if name in about]
    lines = _wrapped(", ".join(took), width) if took else []
    if not shown.losses:
        return [*lines, "loss: no reading was written down"]
    steps, values = zip(*shown.losses, strict=True)
    if len(values) == 1:
        return [*lines, f"loss: {labels.number(values[0])} at step {steps[0]:,}, the only reading"]
    curve = sparkline(values, min(SPARK_MOST, max(8, width - 30)))
    lines.append(f"loss: {labels.number(values[0])} {curve} {labels.number(values[-1])}")
    lines += _wrapped(f"  steps {steps[0]:,} to {steps[-1]:,}, {len(values):,} readings of one batch", width, 2)
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
