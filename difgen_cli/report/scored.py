"""The report of samples that came from any model, compared with real images and with copies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.text import Text

from difgen_cli.report import Study, Written, controls, findings, publish, ratio_cdf, spreadsheet
from difgen_cli.report.figures import listing
from difgen_cli.report.page import gallery, parts, stamp
from difgen_cli.report.page.document import document
from difgen_cli.report.plotting import labels

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 24  # pairs in pictures
LISTED = 24  # pairs by name


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

    @cached_property
    def by_kind(self) -> dict[str, dict[str, Any]]:
        """The values of the samples, and of each reference that was scored."""
        return controls.by_kind(self.study.rows)


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
        parts.section("Measures", controls.for_page(scored.by_kind, scored.study.curves)),
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
    table = controls.for_terminal(scored.study.question, scored.by_kind, scored.study.curves)
    if table.row_count:
        console.print(table, crop=False)
    for sentence in [*scored.notes, *_left_out(scored)]:
        console.print(Text(sentence), soft_wrap=not console.is_terminal)


def sentences(scored: Scored) -> list[str]:
    """What the numbers say of the samples."""
    return findings.of_samples(scored.by_kind["model"], scored.by_kind.get("copycat"))


def _left_out(scored: Scored) -> list[str]:
    return [f"Not computed: {metric}: {why}." for metric, why in scored.left_out.items()]


def _header(scored: Scored) -> str:
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences(scored))
    causes = [f"{cause}" for cause in scored.study.rows["cause"].dropna().unique()]
    warnings = "".join(parts.note(text, "warning") for text in [*(f"Failed: {c}" for c in causes), *scored.notes])
    absent = "".join(parts.note(text) for text in _left_out(scored))
    return f"<header><div><h1>{escape(scored.study.question)}</h1>{paragraphs}{warnings}{absent}</div></header>"


def _pictures(scored: Scored) -> str:
    """The most copied samples, the same of the references, and the names of the files."""
    explained = parts.note(
        "Left: the sample. Right: its nearest training image. Below: d1/d2 (a copy below 1/3: Yoon et al. 2023). "
        "Identical ones come first, the others are sorted by the smaller of d1/d2 and d1 over the held-out images' "
        "median; pairs.csv, next to this page, has every sample."
    )
    cell = str(scored.by_kind["model"]["cell"])
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
