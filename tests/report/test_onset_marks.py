"""The marks of onsets stand side by side around their size, and inside the frame."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from difgen_cli.report.figures import onset_scaling
from difgen_cli.report.plotting.facets import FacetPlan
from difgen_cli.report.plotting.paper import PAGE
from difgen_cli.report.study.curves import CurveAxis

SIZES = CurveAxis("data.size", ("16", "64", "256"), (16.0, 64.0, 256.0), True)


@pytest.mark.parametrize("levels", [1, 2, 5])
@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_all_marks_stand_inside_the_frame(levels: int, seeds: int) -> None:
    width = CurveAxis("model.width", tuple(map(str, range(levels))), tuple(map(float, range(levels))), True)
    runs = pd.DataFrame({"seed": range(seeds)}).merge(pd.DataFrame({"data.size": SIZES.levels}), how="cross")
    runs = runs.merge(pd.DataFrame({"model.width": width.levels}), how="cross")
    runs = runs.assign(tau_mem_lo=100.0, tau_mem=140.0, tau_mem_hi=200.0)
    planned = FacetPlan(SIZES, width, ())
    sheet, _ = onset_scaling._sheet(runs, pd.DataFrame(), ["tau_mem"], planned, PAGE)
    (ax,) = sheet.grid.flat
    marks = np.log(np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() in "osD^v<>pPX*h"]))
    assert len(np.unique(marks.round(9))) == 3 * levels * seeds
    low, high = np.log(ax.get_xlim())
    assert low + 0.02 * (high - low) < marks.min()
    assert marks.max() < high - 0.02 * (high - low)
