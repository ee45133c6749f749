"""How a metric is drawn in every figure: the scale that it declares, and what it must be compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import labels, layout, scales, style
from difgen_cli.report.plotting.facets import DASHED, DOTTED, FacetRow
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# metric -> what it must be read beside: (metric, name in the legend, line)
CONTEXT: dict[str, tuple[tuple[str, str, Any], ...]] = {
    "mem_frac": (
        ("mem_power", "power: copies + 0.1\nnoise that are caught", DASHED),
        ("mem_frac_control", "control: held-out images", (0, (1, 3))),
    ),
    "fd_test": (
        ("fd_copycat", "copycat (training\nimages resampled)", (0, (4, 1.5, 1, 1.5))),
        ("fd_floor", style.FLOOR.replace(" (", "\n(", 1), DOTTED),
    ),
    **{
        name: (
            (f"{name}_control", "control: held-out images", (0, (1, 3))),
            (f"{name}_train", "training images\namong one another", (0, (4, 1.5, 1, 1.5))),
        )
        for name in ("space_ratio", "space_near", "gl")
    },
    "rp": (
        ("rp_ceiling", "ceiling: same half,\nother initial weights", DASHED),
        ("rp_baseline", "baseline: shuffled\npairs", DOTTED),
    ),
    "basin_sigma50": (("basin_sigma50_control", "control: held-out\nimages", DASHED),),
    "twin_cos": (
        ("twin_ceiling", "ceiling: same half,\nother initial weights", DASHED),
        ("twin_baseline", "baseline: shuffled\npairs", DOTTED),
    ),
}
NEVER_ALONE = ("twin_cos",)  # means nothing without its context, also in a figure that a person asks for
BESIDE = {name for entries in CONTEXT.values() for name, _, _ in entries}
LOG_FROM, GAIN_FROM = 3, 3  # ratio of values from which a log axis is logarithmic; value from which a gain's is


def row(curves: Curves, metric: str) -> FacetRow:
    """A row of panels for a metric as it declares itself."""
    spec = curves.spec(metric)
    marks = (0.0,) if spec.scale in ("difference", "gain") else ()
    context, samples = CONTEXT.get(metric, ()), curves.samples(metric)
    return FacetRow(metric, curves.label(metric), spec.scale, marks, context, shared=True, samples=samples)


def read_alone(curves: Curves) -> list[str]:
    """The metrics that have a row of their own."""
    return [name for name in curves.metrics if name not in BESIDE]


def over_axis(curves: Curves, axis: CurveAxis, metrics: list[str]) -> pd.DataFrame:
    """Metrics, and what they are compared with, over seeds: along the steps, else at the last snapshots."""
    beside = [name for metric in metrics for name, _, _ in CONTEXT.get(metric, ()) if name in curves.metrics]
    paths = [path for path in curves.paths if path != STEPS or axis.path == STEPS]
    return over_seeds(curves.along(axis), paths, [*metrics, *beside], curves.columns)


def scale(ax: Axes, numbers: pd.DataFrame, row: FacetRow) -> str:
    """The y axis of a metric, the same in every panel of its row; returns what a caption must say of it."""
    seeds = [name for name in numbers if str(name).startswith("seed_")]
    mine = numbers[numbers["metric"] == row.metric]
    if row.scale == "share":
        return scales.share_scale(ax, "y", mine["mean"], row.samples)
    beside = numbers[numbers["metric"].isin([name for name, _, _ in CONTEXT.get(row.metric, ())])]
    values = layout.finite(mine["mean"], mine[seeds].to_numpy(), beside["mean"])
    if row.scale == "log" and values.min() > 0 and values.max() / values.min() > LOG_FROM:
        scales.log_scale(ax, "y", float(values.min()), float(values.max()))
        return ""
    if row.scale in ("difference", "gain"):
        values = layout.finite(values, [0.0])
    if row.scale == "gain" and values.max() > GAIN_FROM:
        return scales.gain_scale(ax, float(values.min()), float(values.max()))
    reach = float(np.ptp(values)) or max(abs(float(values.max())) * 0.1, 1e-3)
    ax.set_ylim(float(values.min()) - 0.08 * reach, float(values.max()) + 0.12 * reach)
    return ""


def all_ranges(numbers: pd.DataFrame) -> str:
    """The same of every metric, by name."""
    return ranges(numbers, sorted(set(numbers["metric"])))


def ranges(numbers: pd.DataFrame, shown: list[str]) -> str:
    """`a from 1 to 2; b from 0 to 1.`: the means of metrics, for those who cannot see them."""
    spans = {str(name): means for name, means in numbers.groupby("metric")["mean"]}
    parts = [
        f"{name} from {labels.number(spans[name].min())} to {labels.number(spans[name].max())}"
        for name in shown
        if name in spans
    ]
    return f"{'; '.join(parts)}." if parts else ""
