"""Static figures and the page's curves draw the same: markers, the order of axes, references and the floor."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from difgen_cli import report
from difgen_cli.report.figures import mem_vs_fid
from difgen_cli.report.plotting import references, style
from difgen_cli.report.study import curves

AXES = {"model.width": [64, 256], "data.size": [32, 128], "condition.clusters": [1, 10]}


@pytest.fixture(scope="module")
def study() -> report.Study:
    return synthetic.study(AXES, seeds=2)


@pytest.fixture(scope="module")
def block(study: report.Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    page = report.write(study, tmp_path_factory.mktemp("page")).page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    content: dict[str, Any] = json.loads(found.group(1))
    return content


@pytest.mark.parametrize(("marker", "corners", "height"), [("s", 4, 2), ("^", 3, 2), ("X", 12, 2), ("*", 10, 1.809)])
def test_a_marker_on_the_page_is_that_of_the_figures(marker: str, corners: int, height: float) -> None:
    outline = style.outline(marker)
    assert outline is not None
    assert len(outline) == corners
    assert np.ptp([y for _, y in outline]) == pytest.approx(height, abs=1e-3)
    if marker == "^":
        assert sum(y < 0 for _, y in outline) == 1  # the tip is above


def test_markers_and_order_are_handed_to_the_page(study: report.Study, block: dict[str, Any]) -> None:
    assert block["markers"] == json.loads(json.dumps([style.outline(marker) for marker in style.MARKERS]))
    assert block["order"] == [axis.path for axis in study.curves.others()] == [*AXES][1:2] + [*AXES][:1] + [*AXES][2:]
    shapes = {kind: style.MARKERS[one["shape"]] for kind, one in block["references"].items()}
    assert shapes == {kind: marker for kind, (marker, _) in style.REFERENCES.items()}


def test_reference_points_are_geometric_means_of_distances_and_means_of_shares(study: report.Study) -> None:
    rows = study.rows[study.rows["kind"] == "ideal"]
    twice = rows.assign(fd_test=4 * rows["fd_test"], mem_frac=0.5, seed=1)
    more = study.rows.__class__(list(study.rows.to_dict("records")) + twice.to_dict("records"))
    read = curves.read(report.Study(**{**study.content, "rows": more, "gallery": study.gallery}))
    points = references.points(read, "fd_test", "mem_frac")
    ideal = points[points["kind"] == "ideal"].set_index("data.size")
    for size, own in rows.groupby("data.size"):
        np.testing.assert_allclose(ideal.loc[str(size), "fd_test"], 2 * own["fd_test"].iloc[0])
        np.testing.assert_allclose(ideal.loc[str(size), "mem_frac"], (0.998 + 0.5) / 2)
    assert ideal["model.width"].isna().all()


def test_the_static_figure_has_every_reference_and_the_floor(study: report.Study) -> None:
    (figure,) = mem_vs_fid.draw(study.curves)
    for _, words in style.REFERENCES.values():
        assert words.partition(" (")[0] in figure.svg
        assert words.capitalize() in figure.caption or words in figure.caption
    assert style.FLOOR.partition(" (")[0] in figure.svg
    assert "hollow marks" in figure.caption.lower()


def test_the_first_line_of_the_page_is_what_was_found(study: report.Study, tmp_path: Path) -> None:
    page = report.write(study, tmp_path).page.read_text(encoding="utf-8")
    head = page[page.index("<header>") : page.index("</header>")]
    assert head.index("<h1>") < head.index('id="findings-title"') < head.index('class="counts"')
    assert "0</b> failed" not in head
