"""The report of samples that came from any model, compared with real images and with copies."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from difgen_cli.report import Study, Written, findings, publish, ratio_cdf, spreadsheet
from difgen_cli.report.figures import listing
from difgen_cli.report.page import gallery, parts, stamp
from difgen_cli.report.page.document import document
from difgen_cli.report.plotting import labels

if TYPE_CHECKING:
    from rich.console import Console

KINDS = {"model": "samples", "heldout": "held-out", "copycat": "copycat"}
EXPLAINED = (
    "held-out: real images that were not trained on, scored as if they were samples. copycat: resampled training "
    "images, as a model that only copies would produce them."
)
SHOWN = 24  # pairs in pictures
LISTED = 24  # pairs by name
# on the page alone
MINOR = (
    "mem_frac_half", "mem_radius_q10", "extracted_frac", "extracted_cap", "tile_copy_frac", "tile_copy_frac_control",
    "near_duplicates", "near_duplicates_held_out", "train_pref_images", "fd_train", "fd_floor_expected", "fd_gap",
    "fd_se", "fd_copycat", "train_distinct", "sample_constant", "aligned_power", "aligned_shifted", "aligned_mirrored",
    "aligned_toned", "aligned_smoothed", "aligned_smoothed_control",
)  # fmt: skip
FIRST = (
    "mem_frac", "mem_frac_control", "mem_power", "mem_identical", "mem_unique", "aligned_frac", "aligned_control",
    "train_pref_excess", "fd_test", "fd_floor",
)  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """A study of one set of samples.

    pairs: `sample`, `nearest`, `d1`, `d2`, `ratio`, `copy` and `identical`, one line a sample, identical ones first.
    ratios: d1/d2 of all images of each kind.
    """

    study: Study
    pairs: pd.DataFrame
    ratios: dict[str, np.ndarray]
    notes: list[str]
    left_out: dict[str, str]  # metric -> why

    def row(self, kind: str) -> dict[str, Any]:
        """The values of the samples, or of a reference; empty where it was not scored."""
        rows = self.study.rows
        records = rows[rows["kind"] == kind].to_dict("records")
        return {str(k): v for k, v in records[0].items()} if records else {}


@dataclass(frozen=True)
class ScoredLine:
    """One measure in words: its value for the samples and for each reference."""

    name: str
    words: dict[str, str]  # kind -> value with its interval
    meaning: str


def write(scored: Scored, out: Path) -> Written:
    """Write `report.html`, `rows.csv`, `pairs.csv` and `figures/` into the folder `out`, unless all that is there."""
    digest = stamp.digest(scored.study.content, scored.pairs, scored.ratios, scored.notes, scored.left_out)
    files = stamp.kept(out, "page", digest)
    if files is None:
        files = _draw(scored, out)
        stamp.record(out, "page", digest, files)
    return Written(out / "report.html", [path for path in files if path.suffix == ".png"])


def _draw(scored: Scored, out: Path) -> list[Path]:
    """The page, its figure and the tables behind it; every file that was written."""
    drawn = [figure for figure in [ratio_cdf.figure(scored.ratios)] if figure is not None]
    files = listing.save(drawn, out / "figures")
    spreadsheet.write(scored.study.measured, out / "rows.csv")
    spreadsheet.write(scored.pairs, out / "pairs.csv")
    html = out / "report.html"
    sections = [
        parts.section("Measures", _measures(scored)),
        parts.section("Samples and their nearest training images", _pictures(scored)),
        parts.section("Nearness to the training images", "".join(map(parts.chart, drawn))) if drawn else "",
        parts.section("Provenance", parts.provenance(scored.study)),
    ]
    body = f"{_header(scored)}<main>{''.join(sections)}</main>"
    publish(html, document(scored.study.question, body, drawn))
    return [*files, out / "rows.csv", out / "pairs.csv", html]


def show(scored: Scored, console: Console) -> None:
    """Print what can be said, then the table of the main measures, then what cannot be said and why."""
    for sentence in sentences(scored):
        console.print(Text(sentence), soft_wrap=not console.is_terminal)
    table = Table(title=Text(scored.study.question), title_justify="left", caption=EXPLAINED, caption_justify="left")
    kinds = [kind for kind in KINDS if scored.row(kind)]
    for name in ("", *(KINDS[kind] for kind in kinds)):
        table.add_column(name, justify="right" if name else "left", no_wrap=not name)
    for line in lines(scored):
        if line.name not in MINOR:
            table.add_row(Text(line.name), *(Text(line.words[kind]) for kind in kinds))
    if table.row_count:
        console.print(table, crop=False)
    for sentence in [*scored.notes, *_left_out(scored)]:
        console.print(Text(sentence), soft_wrap=not console.is_terminal)


def lines(scored: Scored) -> list[ScoredLine]:
    """The measures that have a value, the main ones first."""
    metrics = scored.study.curves.metrics
    order = [name for name in FIRST if name in metrics] + [name for name in metrics if name not in FIRST]
    rows = {kind: row for kind in KINDS if (row := scored.row(kind))}
    return [
        ScoredLine(name, {kind: value(row, name, spec.unit) for kind, row in rows.items()}, spec.meaning)
        for name, spec in ((name, scored.study.columns[name]) for name in order)
    ]


def value(row: dict[str, Any], name: str, unit: str = "") -> str:
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


def sentences(scored: Scored) -> list[str]:
    """What the numbers say of the samples."""
    return findings.of_samples(scored.row("model"), scored.row("copycat"))


def _left_out(scored: Scored) -> list[str]:
    return [f"Not computed: {metric}: {why}." for metric, why in scored.left_out.items()]


def _header(scored: Scored) -> str:
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences(scored))
    causes = [f"{cause}" for cause in scored.study.rows["cause"].dropna().unique()]
    warnings = "".join(parts.note(text, "warning") for text in [*(f"Failed: {c}" for c in causes), *scored.notes])
    absent = "".join(parts.note(text) for text in _left_out(scored))
    return f"<header><div><h1>{escape(scored.study.question)}</h1>{paragraphs}{warnings}{absent}</div></header>"


def _measures(scored: Scored) -> str:
    kinds = [kind for kind in KINDS if scored.row(kind)]
    head = "".join(f'<th scope="col">{escape(KINDS[kind])}</th>' for kind in kinds)
    body = "".join(
        f'<tr><td class="word">{escape(line.name)}</td>'
        + "".join(f"<td>{escape(line.words[kind])}</td>" for kind in kinds)
        + f'<td class="meaning">{escape(line.meaning)}</td></tr>'
        for line in lines(scored)
    )
    features = scored.study.curves.features
    space = parts.note(f"fd_*: {labels.frechet(features)}.") if features else ""
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr><th scope="col" class="word">measure</th>{head}'
        f'<th scope="col" class="word">meaning</th></tr></thead><tbody>{body}</tbody></table></div>'
        f"{parts.note(f'{EXPLAINED} Intervals are 95 %, given this model and these images.')}{space}"
    )


def _pictures(scored: Scored) -> str:
    """The most copied samples, the same of the references, and the names of the files."""
    explained = parts.note(
        "Left: the sample. Right: its nearest training image. Below: d1/d2 (a copy below 1/3: Yoon et al. 2023). "
        "Identical ones come first, the others are sorted by the smaller of d1/d2 and d1 over the held-out images' "
        "median; pairs.csv, next to this page, has every sample."
    )
    cell = str(scored.row("model")["cell"])
    shown = gallery.section({cell: "Samples"}, scored.study.gallery, SHOWN)
    reference_pictures = gallery.section(gallery.references(scored.study.curves), scored.study.gallery)
    named = "".join(
        f'<tr><td class="word">{escape(str(line["sample"]))}</td><td class="word">{escape(str(line["nearest"]))}</td>'
        f"<td>{escape(labels.number(line['ratio']))}</td><td>{'copy' if line['copy'] else ''}</td></tr>"
        for line in scored.pairs.head(LISTED).to_dict("records")
    )
    head = '<th class="word">sample</th><th class="word">nearest training image</th><th>d1/d2</th><th></th>'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{named}</tbody></table>" if named else ""
    return f'{explained}{shown}<div class="scroll" tabindex="0">{table}</div>{reference_pictures}'


def _kind(line: dict[Any, Any]) -> str:
    """What a pair is called."""
    return "identical" if line.get("identical") else "copy" if line["copy"] else ""
