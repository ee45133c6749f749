"""The marks of onsets stand side by side around their size, and inside the frame."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from difgen_cli.report.figures import onset_scaling
from difgen_cli.report.plotting import scales
from difgen_cli.report.study.curves import CurveAxis


@pytest.mark.parametrize("levels", [1, 2, 5])
@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_all_marks_stand_inside_the_frame(levels: int, seeds: int) -> None:
    size = CurveAxis("data.size", ("16", "64", "256"), (16.0, 64.0, 256.0), True)
    runs = pd.DataFrame({"seed": range(seeds)}).merge(pd.DataFrame({"data.size": size.levels}), how="cross")
    places = [onset_scaling._beside(runs, runs, size, place, levels)["x"] for place in range(levels)]
    figure, ax = plt.subplots()
    room = onset_scaling._step(runs, size, levels) * (onset_scaling._slots(runs, levels) - 1) / 2
    scales.setting_scale(ax, "x", size, 36.0, log=True, room=room)
    low, high = np.log(ax.get_xlim())
    plt.close(figure)
    marks = np.log(pd.concat(places))
    assert low + 0.02 * (high - low) < marks.min()
    assert marks.max() < high - 0.02 * (high - low)
