"""The frame of a page: its head, its style, its scripts, and a policy that lets nothing else run or load."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib import resources
from importlib.metadata import distribution
from pathlib import Path

from difgen_cli.report.plotting import style
from difgen_cli.report.plotting.layout import DrawnFigure

# in this order: each file makes one name that the later ones use
SCRIPTS = (
    "dom.js",
    "words.js",
    "data.js",
    "state.js",
    "theme.js",
    "enlarge.js",
    "files.js",
    "scales.js",
    "groups.js",
    "lines.js",
    "shapes.js",
    "plot.js",
    "marks.js",
    "panel.js",
    "controls.js",
    "curves.js",
    "cell.js",
    "gallery.js",
    "csv.js",
    "filters.js",
    "table.js",
    "command.js",
    "figures.js",
    "main.js",
)
HEAD = '<html lang="en"><head>'
# No script, so that it works under every policy of the page; a browser keeps its place in a page that it loads again.
RELOAD = '<meta http-equiv="refresh" content="10">'


def document(title: str, body: str, figures: list[DrawnFigure], scripts: Sequence[str] = ()) -> str:
    """A page of its own, from its sections. scripts: those that are in the body, and may run."""
    return (
        f'<!doctype html>\n{HEAD}<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy(scripts), quote=False)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)} – difgen report</title><style>{asset('page.css')}"
        f"{asset('interactive.css') if scripts else ''}{_palette(figures)}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def reloading(page: str, *, on: bool) -> str:
    """A page that a browser loads again every 10 seconds; `on` False: the same page without that."""
    plain = page.replace(HEAD + RELOAD, HEAD, 1)
    return plain.replace(HEAD, HEAD + RELOAD, 1) if on else plain


def scripts() -> list[str]:
    """The plotting library and the page's own scripts, in the order in which they run."""
    return [_plots(), *(asset(name) for name in SCRIPTS)]


def running(data: str, scripts: Sequence[str]) -> str:
    """The block of rows, and the scripts that read it."""
    run = "".join(f"<script>{script}</script>\n" for script in scripts)
    return f'<script type="application/json" id="data">{data}</script>\n{run}'


def policy(scripts: Sequence[str]) -> str:
    """Nothing is loaded, and no script runs but these very ones, whatever a name in the grid says."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )


def asset(name: str) -> str:
    """A file of the page's own."""
    return resources.files("difgen_cli.report.page").joinpath("assets", name).read_text(encoding="utf-8")


def _plots() -> str:
    """BokehJS from the installed package: the core alone, without widgets, WebGL or MathJax."""
    file = Path(str(distribution("bokeh").locate_file("bokeh/server/static/js/bokeh.min.js")))  # nothing is imported
    script = file.read_text(encoding="utf-8").replace("\r\n", "\n")  # as a browser reads it, or the hash would differ
    if "</script" in script or "<!--" in script:
        raise ValueError(f"{file} cannot stand in a page: it holds the end of a script; install bokeh as pinned")
    return script


def _palette(figures: list[DrawnFigure]) -> str:
    """How each colour of the figures looks on a light page and on a dark one."""
    colours = dict(style.DARK)
    for figure in figures:
        colours |= figure.palette
    both = "".join(f"--c{light[1:]}:light-dark({light},{dark});" for light, dark in colours.items())
    return f":root{{{both}}}"
