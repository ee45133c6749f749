"""An interval that is wider than its panel is no band: its seeds stand there, and the panel and the caption say so."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from difgen_cli.report.plotting import intervals, layout, scales
from difgen_cli.report.plotting.layout import Series

SEEDS = np.array([[0.1, 0.2], [0.4, 0.6], [0.9, 0.7]])
INSIDE = Series(np.arange(3.0), SEEDS.mean(1), np.array([0.1, 0.3, 0.6]), np.array([0.2, 0.7, 0.95]), SEEDS)


def drawn(series: Series) -> tuple[float, list[float], bool]:
    """How far the band reaches across, the seeds that are drawn, and whether the panel says that one is too wide."""
    ax = Figure().add_subplot()
    ax.set_ylim(0, 1)
    layout.line(ax, series, "#0072b2", "o", band=True, joined=True, points=False)
    band = ax.collections[0].get_paths()
    (points,) = [line for line in ax.lines if line.get_marker() == "."]
    return sum(path.get_extents().width for path in band), list(points.get_ydata()), intervals.has_wide(ax.figure)


def test_a_band_that_fits_is_drawn_and_nothing_is_said() -> None:
    assert drawn(INSIDE)[1:] == ([], False)


@pytest.mark.parametrize("end", [(-0.5, 1.5), (0.0, 1.0)])
def test_where_an_interval_fills_the_panel_its_seeds_are_drawn(end: tuple[float, float]) -> None:
    lo, hi = INSIDE.lo.copy(), INSIDE.hi.copy()
    lo[1], hi[1] = end
    reach, seeds, said = drawn(Series(INSIDE.x, INSIDE.mean, lo, hi, SEEDS))
    assert seeds == [0.4, 0.6]
    assert said
    assert (reach, drawn(INSIDE)[0]) == (0, 2)  # no two neighbours are left


def test_an_interval_that_leaves_the_frame_at_one_side_alone_is_a_band() -> None:
    assert drawn(Series(INSIDE.x, INSIDE.mean, INSIDE.lo - 2, INSIDE.hi, SEEDS))[1:] == ([], False)


@pytest.mark.parametrize(
    ("shares", "samples", "start"),
    [
        ([0.0, 0.0], 1000, 0.0),  # nothing is above 0
        ([0.05, 0.9], 1000, 0.0),  # all can be told from 0
        ([0.0003, 0.9], 5000, 0.0002),  # one sample of 5,000
        ([0.0, 0.01], 250, 0.004),
        ([0.0, 0.01], float("nan"), 0.01),
        ([0.0, 0.01, np.nan], 10, 0.05),  # never above the least share that is seen anyway
    ],
)
def test_a_share_is_logarithmic_from_one_sample_where_it_is_small(
    shares: list[float], samples: float, start: float
) -> None:
    assert scales.resolution(shares, samples) == pytest.approx(start)
    ax = Figure().add_subplot()
    said = scales.share_scale(ax, "y", shares, samples)
    assert ax.get_yscale() == ("symlog" if start else "linear")
    assert bool(said) == bool(start)
    if start:
        places = ax.transData.transform([(0, 0), (0, start), (0, 10 * start)])[:, 1]
        assert places[1] - places[0] == pytest.approx(places[2] - places[1], rel=0.15)  # a decade each
