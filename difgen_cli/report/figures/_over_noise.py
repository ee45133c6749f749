"""A figure of a metric's table over noise levels: a row of panels for each measure, at the last snapshots."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from difgen_cli.report.plotting import captions, facets, measures, noise_levels
from difgen_cli.report.plotting.facets import FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import Paper
from difgen_cli.report.study.curves import Curves, last_snapshot


def drawn(
    curves: Curves, paper: Paper, table_name: str, rows: Sequence[FacetRow], text: Text, positive: bool = False
) -> list[DrawnFigure]:
    """The rows that the table has numbers of, over σ/σ_d; nothing where it has none.

    text: what it says, without the words for lines and a full stop; its first note goes on with the number of pairs.
    positive: numbers of 0 are left out, which a logarithmic axis does not have.
    """
    table = curves.tables.get(table_name, pd.DataFrame())
    beside = [metric for row in rows for metric, _, _ in row.beside]
    measured = noise_levels.by_sigma(curves, table, [*(row.metric for row in rows), *beside])
    if measured is None:
        return []
    numbers, sigma = measured
    numbers = numbers[numbers["mean"] > 0] if positive else numbers.dropna(subset=["mean"])
    if numbers.empty:
        return []
    planned = facets.plan(curves, sigma, present=list(table.columns))
    last = last_snapshot(table, [path for path in curves.paths if path in table])
    pairs = captions.each(last, "n_pairs", "pairs of image and noise") if "n_pairs" in last else ""
    first, *more = text.notes
    notes = [f"{first}{pairs}.", *more, captions.snapshot(curves, last)]
    stated = Text(text.name, text.title, f"{text.what}{planned.words}.", notes, measures.all_ranges)
    return [facets.draw(curves, numbers, planned, rows, stated, paper)]
