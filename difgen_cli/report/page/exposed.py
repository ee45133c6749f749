"""The images that the models of a grid know best, beside the nearest samples: only where somebody asked for them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from difgen_cli.report.findings import exposed
from difgen_cli.report.page import gallery, parts
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import Curves

if TYPE_CHECKING:
    from difgen_cli.report.study.album import Album

SHOWN = 24  # images on the page
ASKED = (
    "Which images these are is as private as the images: difgen report --images shows them here with their nearest "
    "samples, and writes images.csv and images_cells.csv next to this page."
)
EXPLAINED = (
    "Gap: by how much minus the log of the denoising loss is higher in models that were trained on the image than in "
    "those that were not. It has a colour only where its 95 % interval is above 0. In, out: seeds with and without it. "
    "Copies: samples that count as one. d1: distance to the nearest sample of a model that was trained on it. Spacing: "
    "distance to the fifth nearest image. All images are in images.csv, which counts those without names from 0, and "
    "cell by cell in images_cells.csv."
)
HEADS = ("image", "nearest sample", "gap", "in", "out", "copies", "d1", "spacing", "name")
WORDS = ("image", "nearest sample", "name")  # of them: columns without numbers


def section(curves: Curves, lines: pd.DataFrame | None, album: Album | None) -> str:
    """The part of the page; nothing where no images were compared. lines: of images.csv, None where nobody asked."""
    if curves.images.lines.empty:
        return ""
    about = parts.note(f"{exposed.order(curves)}.")
    if lines is None:
        body = about + parts.note(ASKED)
    else:
        rows = "".join(_line(line, album) for line in lines.dropna(subset="gap").head(SHOWN).to_dict("records"))
        head = "".join(f'<th scope="col"{" class=word" if word in WORDS else ""}>{word}</th>' for word in HEADS)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        body = f'{about}{parts.note(EXPLAINED)}<div class="scroll" tabindex="0">{table}</div>'
    title = '<h2 id="images-title">The most exposed images</h2>'
    return f'<section id="images" aria-labelledby="images-title">{title}{body}</section>'


def _line(line: dict[Any, Any], album: Album | None) -> str:
    name = str(line["name"]) if pd.notna(line.get("name")) else f"image {line['image']}"
    ends = [float(line[f"gap{end}"]) for end in ("", "_lo", "_hi")]
    gap, lower, upper = (labels.number(value) for value in ends)
    between = "" if pd.isna(ends[1]) else f" [{lower}, {upper}]"
    numbers = [
        *(f"{line[f'n_{side}']}" for side in ("in", "out")),
        "–" if pd.isna(line.get("hits")) else f"{line['hits']:,.0f}",
        *(labels.number(line.get(column)) for column in ("d1", "spacing")),
    ]
    pictures = ["", ""]
    if album is not None:
        pictures[0] = gallery.picture(album.image(str(line["data"]), int(line["image"])), f"training image {name}")
        if pd.notna(line.get("sample")):
            png = album.sample(str(line["cell"]), int(line["sample"]))
            pictures[1] = gallery.picture(png, f"nearest sample of {name}")
    shown = "".join(f'<td class="word">{picture}</td>' for picture in pictures)
    coloured = ' class="exposed"' if ends[1] > 0 else ""
    counted = "".join(f"<td>{word}</td>" for word in numbers)
    return f'<tr>{shown}<td{coloured}>{gap}{between}</td>{counted}<td class="word">{escape(name)}</td></tr>'
