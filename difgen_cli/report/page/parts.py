"""The sections of a page that stand still: figures, references, what is missing, where it comes from."""

from __future__ import annotations

import base64
import io
import re
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from difgen_cli.report import table
from difgen_cli.report.page import files
from difgen_cli.report.plotting import labels
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.study.curves import STEPS, Curves

if TYPE_CHECKING:
    from difgen_cli.report import Study

LARGEST_SVG = 400_000  # characters; beyond it the page shows the PNG, which a browser draws at once


def chart(figure: DrawnFigure, *, scripts: bool = False) -> str:
    """A figure with its caption and its files. scripts: the page's own add further ones (figures.js)."""
    links = [files.csv(figure.data, f"{figure.name}.csv")]
    if not scripts:
        links.insert(0, files.binary("PNG", f"{figure.name}.png", figure.png, "image/png"))
    return (
        f'<figure class="chart" data-name="{escape(figure.name)}"><h3>{escape(figure.title)}</h3>'
        f'<div class="scroll drawing" tabindex="0" style="--wide:{_wide(figure):.0f}">{_inline(figure)}</div>'
        f'<figcaption>{escape(figure.caption)} <span class="files">{" ".join(links)}</span></figcaption></figure>'
    )


def _wide(figure: DrawnFigure) -> float:
    """The width of a drawing in points."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ', figure.svg)
    return float(box.group(1)) if box else 600.0


def _inline(figure: DrawnFigure) -> str:
    """The SVG as part of the page: ids of its own, colours as variables that dark mode can change, its alt text."""
    if len(figure.svg) > LARGEST_SVG:
        data = base64.b64encode(_light(figure.png)).decode()
        source = f"data:image/png;base64,{data}"
        return f'<img class="drawn" src="{source}" alt="{escape(figure.alt)}" loading="lazy" decoding="async">'
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", figure.svg, flags=re.DOTALL)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    wide, high = box.groups() if box else ("600", "400")
    inner = svg[svg.index(">", svg.index("<svg")) + 1 :]
    inner = re.sub(r'\bid="', f'id="{figure.name}-', inner)
    inner = re.sub(r'(url\(|xlink:href=")#', rf"\g<1>#{figure.name}-", inner)
    inner = re.sub(r"(fill|stroke): #([0-9a-f]{6})", r"\1: var(--c\2, #\2)", inner)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{escape(figure.alt)}" viewBox="0 0 {wide} {high}" '
        f'style="max-width:{float(wide) * 1.5:.0f}px;min-width:{min(640.0, float(wide)):.0f}px">{inner}'
    )


def _light(png: bytes) -> bytes:
    """The same picture in 192 colours, a third as large: lines and flat areas lose nothing that is seen."""
    from PIL import Image

    drawn = Image.open(io.BytesIO(png)).convert("RGB")
    few = drawn.quantize(192, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    file = io.BytesIO()
    few.save(file, "PNG")
    return file.getvalue()


def last_snapshots(curves: Curves) -> str:
    """The last snapshots over seeds, as in the terminal."""
    columns = table.columns(curves)
    head = "".join(f'<th scope="col">{escape(column.header)}</th>' for column in columns)
    lines = zip(*[column.words for column in columns], strict=True)
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{'' if column.right else ' class=word'}>{escape(word)}</td>"
            for column, word in zip(columns, line, strict=True)
        )
        + "</tr>"
        for line in lines
    )
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"{note(table.notes(curves))}"
        f'<p class="note">All metrics: {files.csv(curves.last, "last.csv", "last.csv")}. '
        "All cells: in the table of cells.</p>"
    )


def references(curves: Curves) -> str:
    """Means over seeds of the reference rows, by kind and data set size."""
    rows = curves.references
    if rows.empty:
        return note("No reference rows were scored.")
    by = ["kind", *(["data.size"] if "data.size" in rows else [])]
    shown = [name for name in table.HEADERS if name in curves.metrics and rows[name].notna().any()]
    means = rows.groupby(by, sort=False, dropna=False)[shown].mean().reset_index()
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in [*by, *shown])
    body = ""
    for line in means.itertuples(index=False):
        words = [labels.text(value) for value in line[: len(by)]]
        numbers = [labels.number(float(value)) for value in line[len(by) :]]
        body += f"<tr><td class=word>{'</td><td>'.join(escape(word) for word in [*words, *numbers])}</td></tr>"
    table_html = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table_html}</div>'


def absent(curves: Curves) -> str:
    """Every cell without numbers, by state and cause; the steps of one trajectory in one line."""
    cells = curves.cells[curves.cells["state"] != "done"]
    if cells.empty:
        return note("None: every planned cell is done.")
    cells = cells.assign(cause=cells["cause"].map(lambda cause: "" if pd.isna(cause) else str(cause)))
    by = [path for path in curves.paths if path != STEPS]
    parts = []
    for (state, cause), some in cells.groupby(["state", "cause"], sort=True):
        steps = some.groupby([*by, "seed"], observed=True, sort=True, dropna=False)["step"].agg(list)
        lines = "".join(
            f"<li>{escape(_place(by, key if isinstance(key, tuple) else (key,), at))}</li>" for key, at in steps.items()
        )
        reason = f": {cause}" if cause else ""
        summary = f"{len(some)} {state}{reason}"
        few = " open" if len(steps) <= 40 else ""
        parts.append(f"<details{few}><summary>{escape(summary)}</summary><ul>{lines}</ul></details>")
    return "".join(parts)


def _place(by: list[str], key: tuple[object, ...], steps: list[float]) -> str:
    where = [f"{path} = {word}" for path, word in zip(by, key[:-1], strict=True)]
    step_words = [labels.text(step) for step in sorted(step for step in steps if not pd.isna(step))]
    at = [f"steps {', '.join(step_words)}"] if step_words else []
    return "; ".join([*where, f"seed {labels.text(key[-1])}", *at])


def provenance(study: Study) -> str:
    """What produced the rows, and the grid itself."""
    lines = "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in study.provenance.items())
    return f"<dl>{lines}</dl>{_grid(study) if study.grid else ''}"


def _grid(study: Study) -> str:
    saved = files.text("Download", f"{study.name}.yaml", study.grid, "text/yaml")
    return (
        f'<details id="grid" open><summary>The grid: {escape(study.name)}.yaml</summary>'
        f'<p class="files">{saved}</p><pre tabindex="0">{escape(study.grid)}</pre></details>'
    )


def section(title: str, body: str) -> str:
    """A part of the page under its title."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def note(text: str, kind: str = "note") -> str:
    """A paragraph that explains, or warns."""
    return f'<p class="{kind}">{escape(text)}</p>'
