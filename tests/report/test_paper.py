"""Figures for a paper: exact widths, letters at their printed size, nothing cut, the same bytes each time."""

import io
import itertools
import time

import matplotlib
import numpy as np
import pytest
import synthetic
from matplotlib.colors import to_rgb
from PIL import Image

from difgen_cli.report.figures import gap_over_noise, listing, mem_vs_fid, metric_vs_axis, noise_map, onset_scaling
from difgen_cli.report.plotting import layout, style
from difgen_cli.report.plotting.paper import COLUMN, PAGE, PAPERS, TEXT
from difgen_cli.report.study import curves

WIDE = {
    "train.steps": [250, 4000],
    "data.size": [32, 128, 512],
    "model.width": [64, 256, 1024],
    "condition.clusters": [1, 10, 100],
}
NAMED = {"model.name": ["mlp", "a-very-long-name-of-a-network"], "data.size": [32, 128]}


@pytest.fixture(scope="module")
def wide():
    return curves.read(synthetic.study(WIDE, seeds=2))


@pytest.fixture(scope="module", params=PAPERS, ids=lambda paper: paper.name)
def drawn(request, wide):
    return request.param, listing.draw(wide, paper=request.param)


def test_every_figure_is_as_wide_as_its_paper_and_no_higher_than_a_page(drawn):
    paper, made = drawn
    assert len(made) >= 8
    for figure in made:
        width, height = Image.open(io.BytesIO(figure.png)).size
        assert width == round(paper.wide_inches * paper.dots_per_inch), figure.name
        assert height <= paper.high_inches * paper.dots_per_inch, figure.name
        assert f'width="{paper.wide_inches * 72:g}pt"' in figure.svg


def test_every_figure_comes_as_png_svg_and_pdf_with_what_a_caption_must_say(drawn):
    _, made = drawn
    for figure in made:
        assert figure.files["png"].startswith(b"\x89PNG")
        assert figure.files["svg"].startswith(b"<svg")
        assert figure.files["pdf"].startswith(b"%PDF")
        assert b"/Type3" not in figure.files["pdf"], "publishers refuse such fonts"
        assert b"/FontFile2" in figure.files["pdf"], "TrueType, embedded"
        for words in ("2 seeds", "95 % t interval", "1000 generated samples; 512 reference images"):
            assert words in figure.caption, figure.name
        assert len(figure.data)


def test_what_does_not_fit_is_named_in_the_caption(drawn):
    paper, made = drawn
    combinations = 9  # of width and clusters
    assert ("3 more combinations of settings" in made[0].caption) == (paper.panels_most < combinations)


def test_figures_bear_no_date_and_are_the_same_a_second_later(wide):
    axis = wide.axis("data.size")
    with matplotlib.rc_context(COLUMN.rc):
        first = metric_vs_axis.against(wide, axis, COLUMN)
        time.sleep(1.1)  # dates in PDF and fonts count seconds
        second = metric_vs_axis.against(wide, axis, COLUMN)
    assert first.files == second.files
    assert b"CreationDate" not in first.files["pdf"]
    assert "<dc:date>" not in first.svg


@pytest.fixture(params=[(paper, axes) for paper in (PAGE, *PAPERS) for axes in (WIDE, NAMED)],
                ids=lambda param: f"{param[0].name}-{len(param[1])}")  # fmt: skip
def sheets(request, monkeypatch):
    """Every kind of figure on a paper, laid out and drawn, but not saved: (paper, sheets)."""
    paper, axes = request.param
    made = []
    render = layout.FigureSheet.render
    monkeypatch.setattr(layout, "_saved", lambda *_: b"")
    monkeypatch.setattr(layout.FigureSheet, "render", lambda sheet: made.append(sheet) or render(sheet))
    read = curves.read(synthetic.study(axes, seeds=1))
    with matplotlib.rc_context(paper.rc):
        mem_vs_fid.draw(read, paper)
        metric_vs_axis.draw(read, paper)
        gap_over_noise.draw(read, paper)
        if "train.steps" in axes:
            onset_scaling.draw(read, paper)
            noise_map.draw(read, paper)
        assert len(made) >= 4
        for sheet in made:
            sheet.figure.canvas.draw()
        yield paper, made


def test_nothing_is_cut_nothing_touches_and_every_letter_can_be_read(sheets):
    paper, made = sheets
    for sheet in made:
        renderer, frame = sheet.figure.canvas.get_renderer(), sheet.figure.bbox
        beyond = set(_beyond(sheet.figure))
        for text in sheet.figure.findobj(matplotlib.text.Text):
            hidden = text.axes is not None and not text.axes.get_visible()
            if not text.get_text() or not text.get_visible() or hidden or id(text) in beyond:
                continue
            assert text.get_fontsize() >= 0.8 * paper.points
            box = text.get_window_extent(renderer)
            assert min(box.x0 - frame.x0, frame.x1 - box.x1, box.y0 - frame.y0, frame.y1 - box.y1) >= -1, text
        for ax in (ax for ax in sheet.grid.flat if ax.get_visible()):
            shown = [label for label in ax.get_xticklabels() if label.get_text() and label.get_visible()]
            boxes = [label.get_window_extent(renderer) for label in shown if id(label) not in beyond]
            ordered = sorted(boxes, key=lambda box: box.x0)
            assert all(one.x1 < other.x0 for one, other in itertools.pairwise(ordered))


def _beyond(figure):
    """Labels of ticks outside the limits, which exist and are not drawn."""
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.majorTicks, *axis.minorTicks]:
            at = tick.label1.get_position()[axis.axis_name == "y"]
            if not low <= at <= high:
                yield from (id(tick.label1), id(tick.label2))


# Machado, Oliveira and Fernandes 2009, severity 1: what people without red or green cones see, in linear RGB
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("levels", [2, 4, 8])
def test_colours_are_told_apart_by_colour_blind_readers(kind, levels):
    words = curves.CurveAxis("model.name", tuple("abcdefgh"[:levels]), tuple(map(float, range(levels))), False)
    numbers = curves.CurveAxis("data.size", tuple(map(str, range(levels))), tuple(map(float, range(levels))), True)
    for axis in (words, numbers):
        seen = [_lab(np.clip(np.array(BLIND[kind]) @ _linear(to_rgb(c)), 0, 1)) for c in style.colours(axis).values()]
        nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
        assert nearest > 9, "a just noticeable difference is about 2.3; markers differ too"


def _linear(colour):
    colour = np.array(colour)
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def _lab(linear):
    """CIE L*a*b* 1976 of linear sRGB, white point D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    scaled = xyz / np.array([0.9505, 1.0, 1.089])
    f = np.where(scaled > (6 / 29) ** 3, np.cbrt(scaled), scaled / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_a_metric_that_never_varies_is_told_and_not_drawn():
    study = synthetic.study({"data.size": [32, 128]}, seeds=2)
    study.rows["auth_pct"] = 7.5
    made = listing.draw(curves.read(study), paper=TEXT)[-1]
    assert made.name == "other-metrics"
    assert "The same in every cell, and not drawn: auth_pct = 7.50." in made.caption
    assert "auth_pct" not in made.alt
    assert "auth_pct" in set(made.data["metric"])
