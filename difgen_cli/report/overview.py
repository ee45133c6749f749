"""One page over the reports of several grids: a line for each, with its first finding and its headline figure."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd

from difgen_cli import report
from difgen_cli.report import Study, Written, publish
from difgen_cli.report.page.document import document
from difgen_cli.report.study.curves import absent_by_state

NAME = "index.html"
HEADS = ("Grid", "First finding", "Cells", "Last result", "First figure")
PIXELS = 600  # width of a small picture


def write(reports: Sequence[tuple[Study, Written]], out: Path) -> Path:
    """Write `index.html` into the folder `out`, above the reports of its grids."""
    lines = "".join(_line(study, written, out) for study, written in reports)
    head = "".join(f'<th scope="col" class="word">{word}</th>' for word in HEADS)
    table = f'<table class="grids"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'
    body = f'<header><div class="lead"><h1>{len(reports)} grids</h1></div></header><main>{table}</main>'
    publish(out / NAME, document("Grids", body, []))
    return out / NAME


def _line(study: Study, written: Written, out: Path) -> str:
    link = escape(Path(os.path.relpath(written.page, out)).as_posix())
    question = escape(study.question.partition("\n")[0])
    finding = escape(next(iter(report.sentences(study)), "Nothing is found yet."))
    date = escape(str(study.provenance.get("finished_at", "–")).partition("T")[0])
    return (
        f'<tr><th scope="row" class="word"><a href="{link}">{escape(study.name)}</a><p class="note">{question}</p></th>'
        f'<td class="word">{finding}</td><td class="word">{_counts(study.rows)}</td><td class="word">{date}</td>'
        f"<td>{_picture(written, study.name)}</td></tr>"
    )


def _counts(rows: pd.DataFrame) -> str:
    """`23 done, 1 failed` of the models' cells."""
    models = rows[rows["kind"] == "model"]
    counts = {"done": int((models["state"] == "done").sum()), **absent_by_state(models)}
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def _picture(written: Written, name: str) -> str:
    """The first figure of the page, small; nothing where none is drawn."""
    if not written.figures:
        return ""
    from PIL import Image

    with Image.open(written.figures[0]) as whole:
        small = whole.convert("RGB")
    small.thumbnail((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.quantize(64).save(file, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return f'<img class="picture" src="{source}" alt="The first figure of {escape(name)}">'
