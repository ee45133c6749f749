"""What changed between two run directories: a sentence, a table for the terminal, a figure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from difgen_cli.format import counted
from difgen_cli.report import table
from difgen_cli.report.plotting import captions, facets, labels
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import Paper
from difgen_cli.report.study import curves, seeds
from difgen_cli.report.study.comparison import Comparison
from difgen_cli.report.study.curves import STEPS, last_snapshot

if TYPE_CHECKING:
    from rich.console import Console

FIRST = ("mem_frac", "fd_test", "train_pref_excess", "gap_max")  # that the terminal and the figure show


def summary(comparison: Comparison) -> str:
    """How many cells are compared, and how many changes are larger than seeds explain."""
    bounded = comparison.changes.dropna(subset=["lo", "hi"])
    zero = np.where(bounded["scale"] == "ratio", 1.0, 0.0)
    moved = int(((bounded["lo"] > zero) | (bounded["hi"] < zero)).sum())
    by_chance = f"; about {len(bounded) / 20:.0f} would be by chance" if moved and len(bounded) >= 20 else ""
    intervals = (
        f"{moved} of {len(bounded)} changes have a 95 % interval without zero change{by_chance}"
        if len(bounded)
        else "no interval: one seed"
    )
    return f"{counted(comparison.matched, 'cell')} in both; {intervals}."


def shown(comparison: Comparison, width: int | None = None) -> Table:
    """The last snapshots that both have: A → B and the change with half its interval; columns dropped to `width`."""
    axes = [axis for axis in comparison.axes if axis.path != STEPS]
    last = at_last(comparison)
    keys = [axis.path for axis in axes]
    lines = list(curves.per_group(last, keys))
    columns = [
        table.Column(name, [str(key[i]) for key, _ in lines], right=axes[i].numeric)
        for i, name in enumerate(table.names(keys).values())
    ]
    for place, metric in enumerate(_first(comparison)):
        share = bool(seeds.whole(metric, comparison.a.read.columns))
        words = [_words(group[group["metric"] == metric], share=share) for _, group in lines]
        columns.append(table.Column(metric, words, drop=place))
    caption = " ".join(
        [
            summary(comparison),
            "Change: B − A ± half a 95 % t interval over seeds; × for a ratio B / A; [ ] the ends for a share.",
            captions.common(comparison.a.read) if comparison.a.read.seeds > 1 else "",
        ]
    ).strip()
    return table.fitted(columns, f"{comparison.a.name} → {comparison.b.name}", caption, width)


def _first(comparison: Comparison) -> list[str]:
    measured = list(dict.fromkeys(comparison.changes["metric"]))
    return [name for name in FIRST if name in measured] or measured[: len(FIRST)]


def at_last(comparison: Comparison) -> pd.DataFrame:
    """The changes at the last step of each group; all of them where steps do not vary."""
    if STEPS not in [axis.path for axis in comparison.axes] or comparison.changes.empty:
        return comparison.changes
    steps = comparison.changes.assign(step=pd.to_numeric(comparison.changes[STEPS].astype(str)), state="done")
    return last_snapshot(steps, [axis.path for axis in comparison.axes])


def _words(lines: pd.DataFrame, *, share: bool = False) -> str:
    """`0.53 → 0.51 (−0.02 ± 0.03)`, `4.9 → 5.6 (×1.14 ×/÷ 1.1)` or, of a share, `0.97 → 0.95 (−0.02 [−0.05, 0.01])`."""
    if lines.empty:
        return labels.NONE
    line = lines.iloc[0]
    ratio = line["scale"] == "ratio"
    moved = labels.number(line["mean"])
    if pd.notna(line["lo"]):
        moved = labels.interval(line["mean"], line["lo"], line["hi"], "ratio" if ratio else "share" if share else "")
    moved = f"×{moved}" if ratio else moved
    return f"{labels.number(line['a'])} → {labels.number(line['b'])} ({moved})"


def show(comparison: Comparison, console: Console) -> None:
    """Print the table, and what only one has."""
    if len(comparison.changes):
        console.print(shown(comparison, console.width if console.is_terminal else None), crop=False)
    else:
        console.print(Text("no cell is finished in both"), soft_wrap=not console.is_terminal)
    for note in comparison.notes:
        console.print(Text(note), soft_wrap=not console.is_terminal)


def draw(comparison: Comparison, paper: Paper) -> DrawnFigure | None:
    """The changes of the main metrics at the last snapshots against the first axis; None where nothing changed."""
    import matplotlib

    numbers = at_last(comparison)
    numbers = numbers[numbers["metric"].isin(_moved(comparison, numbers))]
    read = replace(comparison.a.read, axes=comparison.axes)
    order = [axis for axis in read.others() if axis.path != STEPS] or list(comparison.axes)
    if numbers.empty or not order:
        return None
    across = order[0]
    rows = [_row(comparison, name, bool((numbers.loc[numbers["metric"] == name, "scale"] == "ratio").all()))
            for name in _moved(comparison, numbers)]  # fmt: skip
    what = (
        f"Change from {comparison.a.name} to {comparison.b.name} of {', '.join(row.metric for row in rows)} against "
        f"{labels.setting(across.path)}{facets.plan(read, across).words}."
    )
    text = facets.Text("change", f"{comparison.a.name} → {comparison.b.name}", what)
    with matplotlib.rc_context(cast(Any, paper.rc)):
        drawn = facets.draw(read, numbers.assign(n=numbers["pairs"]), facets.plan(read, across), rows, text, paper)
    return replace(drawn, caption=_caption(comparison, numbers, what))


def _moved(comparison: Comparison, numbers: pd.DataFrame) -> list[str]:
    """The main metrics that changed anywhere."""
    none = np.where(numbers["scale"] == "ratio", 1.0, 0.0)
    moved = set(numbers.loc[numbers["mean"] != none, "metric"])
    return [name for name in _first(comparison) if name in moved]


def _row(comparison: Comparison, metric: str, ratio: bool) -> facets.FacetRow:
    name = comparison.a.read.label(metric)
    return facets.FacetRow(metric, f"{name}: B {'/' if ratio else '−'} A", marks=(float(ratio),), whole=True)


def _caption(comparison: Comparison, numbers: pd.DataFrame, what: str) -> str:
    """n, seeds, features, interval, and what only one has."""
    pairs = sorted(set(numbers["pairs"]))
    seeds = f"{pairs[0]} to {pairs[-1]}" if len(pairs) > 1 else f"{pairs[0]}"
    kinds = "; ".join(sorted({str(kind) for kind in numbers["interval"] if kind}))
    still = [name for name in _first(comparison) if name not in set(numbers["metric"])]
    features = dict.fromkeys(f for f in (comparison.a.read.features, comparison.b.read.features) if f)
    both = f"{counted(comparison.matched, 'cell')} in both"
    parts = [
        what,
        f"{both}, matched by settings, seed and step; {seeds} paired seeds at a point; bars are 95 % "
        f"intervals ({kinds})." if kinds else f"{both}; one seed: no intervals.",
        "Grey line: no change.",
        f"Changed nowhere and not drawn: {', '.join(still)}." if still else "",
        captions.common(comparison.a.read) if kinds else "",
        "At the last snapshot that both have." if STEPS in [axis.path for axis in comparison.axes] else "",
        f"Fréchet distances in {' / '.join(features)} features, as ratios." if features else "",
        summary(comparison),
        *(f"{note[:1].upper()}{note[1:]}." for note in comparison.notes),
    ]  # fmt: skip
    return " ".join(part for part in parts if part)
