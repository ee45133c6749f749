"""Samples beside their controls, measure by measure: held-out images, resampled training images, the ideal denoiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from difgen_cli.engine.columns import Columns, ColumnSpec
from difgen_cli.report.page import parts
from difgen_cli.report.plotting import labels

if TYPE_CHECKING:
    from difgen_cli.report.study.curves import Curves

KINDS = {"model": "samples", "heldout": "held-out", "copycat": "copycat", "ideal": "ideal"}
MEANINGS = {
    "heldout": "held-out: real images that were not trained on, scored as if they were samples.",
    "copycat": "copycat: resampled training images, as a model that only copies would produce them.",
    "ideal": "ideal: samples of the denoiser in closed form, which can only copy.",
}
# on the page alone
MINOR = (
    "mem_frac_half", "mem_radius_q10", "extracted_frac", "extracted_cap", "tile_copy_frac", "tile_copy_frac_control",
    "near_duplicates", "near_duplicates_held_out", "train_pref_images", "fd_train", "fd_floor_expected", "fd_gap",
    "fd_se", "fd_copycat", "train_distinct", "sample_constant", "aligned_power", "aligned_shifted", "aligned_mirrored",
    "aligned_toned", "aligned_smoothed", "aligned_smoothed_control", "space_ratio_train", "space_near_train",
    "gl_control", "gl_train",
)  # fmt: skip
FIRST = (
    "mem_frac", "mem_frac_control", "mem_power", "mem_identical", "mem_unique", "aligned_frac", "aligned_control",
    "train_pref_excess", "fd_test", "fd_floor",
)  # fmt: skip

RowsByKind = Mapping[str, Mapping[str, Any]]  # the values of the samples and of each reference that was scored


@dataclass(frozen=True)
class MeasureLine:
    """One measure in words: its value for the samples and for each reference."""

    name: str
    words: dict[str, str]  # kind -> value with its interval
    meaning: str


def by_kind(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The first row of each kind that was scored, as values by column."""
    records = {kind: rows[rows["kind"] == kind].head(1).to_dict("records") for kind in KINDS}
    return {kind: {str(k): v for k, v in own[0].items()} for kind, own in records.items() if own}


def lines(rows: RowsByKind, metrics: Sequence[str], columns: Columns) -> list[MeasureLine]:
    """A line for each of the metrics, the main ones first."""
    order = [name for name in FIRST if name in metrics] + [name for name in metrics if name not in FIRST]
    specs = ((name, columns.get(name, ColumnSpec())) for name in order)
    return [
        MeasureLine(name, {kind: value(row, name, spec.unit) for kind, row in rows.items()}, spec.meaning)
        for name, spec in specs
    ]


def value(row: Mapping[str, Any], name: str, unit: str = "") -> str:
    """A value in words, with its interval where it has one: `0.31 [0.28, 0.34]`."""
    number = row.get(name)
    if number is None or pd.isna(number):
        return labels.NONE
    if unit == "images" or (abs(number) > 1 and float(number).is_integer()):
        return f"{number:.0f}"
    ends = [row.get(f"{name}{end}") for end in ("_lo", "_hi")]
    if any(end is None or pd.isna(end) for end in ends):
        return labels.number(float(number))
    low, high = (labels.number(float(str(end))) for end in ends)
    return f"{labels.number(float(number))} [{low}, {high}]"


def explained(rows: RowsByKind) -> str:
    """What the references are."""
    return " ".join(meaning for kind, meaning in MEANINGS.items() if kind in rows)


def for_terminal(title: str, rows: RowsByKind, curves: Curves, names: Sequence[str] | None = None) -> Table:
    """The main measures, or those of some names, for the terminal; without lines where there are none."""
    table = Table(title=Text(title), title_justify="left", caption=explained(rows), caption_justify="left")
    for name in ("", *(KINDS[kind] for kind in rows)):
        table.add_column(name, justify="right" if name else "left", no_wrap=not name)
    for line in lines(rows, curves.metrics, curves.columns):
        if line.name in names if names is not None else line.name not in MINOR:
            table.add_row(Text(line.name), *(Text(line.words[kind]) for kind in rows))
    return table


def for_page(rows: RowsByKind, curves: Curves) -> str:
    """Every measure with its meaning, as HTML."""
    head = "".join(f'<th scope="col">{escape(KINDS[kind])}</th>' for kind in rows)
    body = "".join(
        f'<tr><td class="word">{escape(line.name)}</td>'
        + "".join(f"<td>{escape(line.words[kind])}</td>" for kind in rows)
        + f'<td class="meaning">{escape(line.meaning)}</td></tr>'
        for line in lines(rows, curves.metrics, curves.columns)
    )
    space = parts.note(f"fd_*: {labels.frechet(curves.features)}.") if curves.features else ""
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr><th scope="col" class="word">measure</th>{head}'
        f'<th scope="col" class="word">meaning</th></tr></thead><tbody>{body}</tbody></table></div>'
        f"{parts.note(f'{explained(rows)} Intervals are 95 %, given this model and these images.')}{space}"
    )
