"""One self-contained HTML page: opens from a file, asks nothing of any network, runs no script but its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from difgen_cli.report import findings
from difgen_cli.report.page import block, exposed, gallery, head, parts
from difgen_cli.report.page.document import asset, document, running, scripts
from difgen_cli.report.plotting.layout import DrawnFigure

if TYPE_CHECKING:
    import pandas as pd

    from difgen_cli.report import Study


def compose(study: Study, figures: list[DrawnFigure], images: pd.DataFrame | None = None) -> str:
    """The whole page of a study with its figures. images: the lines of images.csv, where somebody asked for them.

    What stands still is written here; the rest is made by the page's scripts from its block of rows.
    """
    curves = study.curves
    titles = gallery.chosen(curves) | gallery.references(curves)
    pictures = gallery.pictured(study, curves, list(titles))
    allowed = scripts()
    of_images = exposed.section(curves, images, study.album)
    places = {
        "SCRIPTS": running(block.compose(study, curves, pictures, titles), allowed),
        "HEADER": head.header(study, curves, findings.of_study(curves)),
        "FIGURES": "".join(parts.chart(figure, scripts=True) for figure in figures)
        or parts.note("Nothing to draw yet."),
        "IMAGES_LINK": '<li><a href="#images">Images</a></li>\n  ' if of_images else "",
        "IMAGES": of_images,
        "LAST": parts.last_snapshots(curves),
        "REFERENCES": parts.references(curves),
        "ABSENT": parts.absent(curves),
        "PROVENANCE": parts.provenance(study),
    }
    body = asset("body.html")
    before, *rest = body.split("<!--")
    filled = [before]
    for piece in rest:  # each place is filled once: what a study says is never searched for places
        name, _, after = piece.partition("-->")
        filled += [places[name], after]
    return document(study.name, "".join(filled), figures, allowed)
