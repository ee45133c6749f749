"""Accuracy of nearest neighbours beside detection of other data, a point for each feature space."""

from __future__ import annotations

from typing import Any

import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout, style
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study import detection
from difgen_cli.report.study.curves import Curves, per_group

ORDER = 97
COVERS: tuple[str, ...] = ()
ROWS_MOST = 4


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """A row of panels for each setting and one for each rule, with R² in the caption."""
    points, lines = detection.points(curves), detection.read(curves)
    if points.empty or points["space"].nunique() < 2:
        return []
    others = [path for path in points if path in curves.paths]
    settings = [key for key, _ in per_group(points, others)]
    shown, rules = settings[:ROWS_MOST], list(dict.fromkeys(points["rule"]))
    spaces = sorted(points["space"].unique())
    marks, hues = style.MARKERS, (*style.WORDS, *style.WORDS)
    sheet = layout.lattice(paper, len(shown), len(rules), None)
    for axes, key in zip(sheet.grid, shown, strict=True):
        own = _at(points, others, key)
        words = [labels.level(path, str(level)) for path, level in zip(others, key, strict=True)]
        for ax, rule in zip(axes, rules, strict=True):
            for place, space in enumerate(spaces):
                one = own[(own["rule"] == rule) & (own["space"] == space)]
                ax.plot(one["accuracy"], one["auroc"], marks[place % len(marks)], color=hues[place % len(hues)])
            ax.set_title(sheet.title(", ".join([rule, *words])))
    sheet.name_axes("accuracy of nearest neighbours on held-out images", "AUROC, held-out images against other data")
    _legend(sheet, spaces, hues, marks)
    stated = " ".join(_stated(others, line) for line in lines.to_dict("records"))
    what = (
        "Accuracy of nearest neighbours in a feature space, and how well held-out images are told from another data "
        f"set there, a point for each of {len(spaces)} spaces; means over seeds. {stated} Intervals of R² take the "
        "spaces as drawn at random; spaces that are settings of one kind are less than that."
    )
    text = Text("detection", "Do spaces that know the classes also know what is foreign?", what)
    left_out = captions.omitted((len(settings) - len(shown)) * len(rules))
    caption = " ".join(filter(None, [what, captions.missing(curves), left_out]))
    return [facets.finished(curves, points, text, sheet, None, caption=caption)]


def _at(points: pd.DataFrame, others: list[str], key: tuple[object, ...]) -> pd.DataFrame:
    for path, level in zip(others, key, strict=True):
        points = points[points[path] == level]
    return points


def _stated(others: list[str], line: dict[Any, Any]) -> str:
    at = ", ".join(labels.level(path, str(line[path])) for path in others)
    return f"{at}, {detection.sentence(line)}" if at else detection.sentence(line)


def _legend(sheet: layout.FigureSheet, spaces: list[str], hues: tuple[str, ...], marks: tuple[str, ...]) -> None:
    from matplotlib.lines import Line2D

    sheet.key([
        Line2D([], [], color=hues[place % len(hues)], marker=marks[place % len(marks)], ls="none", label=space)
        for place, space in enumerate(spaces)
    ], "feature space")  # fmt: skip
