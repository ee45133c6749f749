"""Figures are found by listing their folder: a file more is a figure more, in its place on the page."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.figure import Figure

from difgen_cli import report
from difgen_cli.engine.columns import SCALES, ColumnSpec
from difgen_cli.report import figures
from difgen_cli.report.figures import listing
from difgen_cli.report.plotting import measures
from difgen_cli.report.plotting.facets import FacetRow
from difgen_cli.report.study import curves

AXES = {"data.size": [32, 128]}
OWN = '''
"""A figure of one metric."""
from difgen_cli.report.plotting import facets, measures
from difgen_cli.report.plotting.facets import Text

ORDER = {order}
COVERS = ("ct",)

def draw(curves, paper):
    if "ct" not in curves.metrics:
        return []
    axis = curves.axes[0]
    text = Text("{name}", "A figure of one's own", "ct against N.")
    numbers, rows = measures.over_axis(curves, axis, ["ct"]), [measures.row(curves, "ct")]
    return [facets.draw(curves, numbers, facets.plan(curves, axis), rows, text, paper)]
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files are figures of the package too."""
    monkeypatch.setattr(figures, "__path__", [*figures.__path__, str(tmp_path / "more")])
    (tmp_path / "more").mkdir()
    return tmp_path / "more"


def test_adding_a_figure_is_adding_a_file(folder: Path, tmp_path: Path) -> None:
    study = synthetic.study(AXES, seeds=2)
    before = [path.stem for path in report.write(study, tmp_path / "before").figures]
    (folder / "added_first.py").write_text(OWN.format(order=15, name="added-first"), encoding="utf-8")
    (folder / "added_last.py").write_text(OWN.format(order=2000, name="added-last"), encoding="utf-8")
    (folder / "_shared.py").write_text("raise ValueError\n", encoding="utf-8")
    after = listing.draw(curves.read(study))
    assert [figure.name for figure in after] == [before[0], "added-first", *before[1:], "added-last"]
    files = listing.save(after, tmp_path / "after")
    assert {path.suffix for path in files if path.stem == "added-first"} == {".png", ".svg", ".csv", ".txt"}
    numbers = pd.read_csv(tmp_path / "after" / "added-first.csv")
    means = study.rows[study.rows["kind"] == "model"].groupby("data.size")["ct"].mean()
    assert np.allclose(numbers["mean"], means)


def test_what_a_drawn_figure_covers_is_not_among_the_other_metrics(folder: Path) -> None:
    read = curves.read(synthetic.study(AXES, seeds=2))

    def others() -> set[str]:
        (figure,) = (figure for figure in listing.draw(read) if figure.name == "other-metrics")
        return set(figure.data["metric"])

    before = others()
    assert {"ct", "auth_pct"} <= before
    (folder / "own_figure.py").write_text(OWN.format(order=15, name="own"), encoding="utf-8")
    assert others() == before - {"ct"}


def test_every_figure_of_the_package_says_where_it_stands_and_what_it_covers() -> None:
    modules = listing.modules()
    orders = [module.ORDER for module in modules]
    assert len(modules) >= 13
    assert orders == sorted(set(orders)), "no two figures share a place"
    assert all(isinstance(module.COVERS, tuple) for module in modules)
    covered = [name for module in modules for name in module.COVERS]
    declared = set(synthetic.declarations())
    for name in covered:
        known = {one for one in declared if one == name or (name.endswith("_") and one.startswith(name))}
        assert known, f"{name} covers no metric that any plug-in declares"


@pytest.mark.parametrize(
    ("scale", "values", "axis", "holds"),
    [
        ("linear", [50.0, 90.0], "linear", [50.0, 90.0]),
        ("ratio", [2.0, 90.0], "linear", [2.0, 90.0]),
        ("log", [2.0, 90.0], "log", [2.0, 90.0]),
        ("log", [2.0, 5.0], "linear", [2.0, 5.0]),
        ("log", [-2.0, 90.0], "linear", [-2.0, 90.0]),
        ("share", [0.06, 0.5], "linear", [0.0, 1.0]),
        ("share", [0.02, 0.5], "symlog", [0.0, 1.0]),
        ("share", [0.0, 0.02], "symlog", [0.0, 1.0]),
        ("difference", [2.0, 90.0], "linear", [0.0, 90.0]),
        ("gain", [0.2, 2.0], "linear", [0.0, 2.0]),
        ("gain", [0.2, 90.0], "symlog", [0.0, 90.0]),
    ],
)
def test_the_axis_of_a_metric_runs_as_it_declares(
    scale: str, values: list[float], axis: str, holds: list[float]
) -> None:
    assert scale in SCALES
    ax = Figure().add_subplot()
    numbers = pd.DataFrame({"metric": "mine", "mean": values, "seed_0": values})
    measures.scale(ax, numbers, FacetRow("mine", "mine", scale))
    assert ax.get_yscale() == axis
    low, high = ax.get_ylim()
    assert all(low <= value <= high for value in holds)
    if scale == "linear":
        assert low > 0, "an axis that need not hold 0 does not"


def test_a_metric_of_a_log_scale_is_averaged_there_and_said_to_be() -> None:
    study = synthetic.study(AXES, seeds=3, drop=[name for name in synthetic.UNITS if name != "auth_pct"])
    rows = study.rows.assign(auth_pct=10.0 ** (1 + study.rows["seed"].astype(float)))
    logged = dataclasses.replace(study, rows=rows, columns={"auth_pct": ColumnSpec("ms", "time", "time", "log")})
    (figure,) = (one for one in listing.draw(curves.read(logged)) if one.name == "against-data-size")
    assert np.allclose(figure.data["mean"], 100.0)
    assert "auth_pct on a log scale" in figure.caption
    assert figure.alt.startswith("Chart. Time against training images N")
    plain = dataclasses.replace(logged, columns={"auth_pct": ColumnSpec("ms", "time")})
    (figure,) = (one for one in listing.draw(curves.read(plain)) if one.name == "against-data-size")
    assert np.allclose(figure.data["mean"], 370.0)
    assert "log scale" not in figure.caption
    assert figure.alt.startswith("Chart. Auth_pct (ms) against")
