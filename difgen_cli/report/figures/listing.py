"""The figures of a study. A figure appears when its axis has at least two values and its metrics exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from difgen_cli.report import spreadsheet
from difgen_cli.report.figures import (
    denoisers,
    flow_field,
    gap_over_noise,
    matched,
    mem_vs_fid,
    metric_vs_axis,
    noise_map,
    onset_scaling,
    path_overlap,
    twins,
)
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study import onset
from difgen_cli.report.study.curves import SIZE, STEPS, Curves

ORDER = (SIZE, STEPS, "condition.clusters")
# metrics that have a figure of their own, and need no further panel where it is drawn: figure's name -> how they begin
OWN = {
    "path": ("path_",),
    "twins": ("twin_",),
    "membership": ("mia_auc_", "mia_twin_auc_"),
    "deviation": ("ideal_dev_", "wiener_dev_"),
}


def draw(curves: Curves, onsets: onset.Onsets | None = None, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Every figure that finished cells have the numbers for, the main one first. onsets: where they are known."""
    import matplotlib

    curves = curves.finished
    if not curves.metrics:
        return []
    ranked = sorted(curves.axes, key=lambda axis: ORDER.index(axis.path) if axis.path in ORDER else len(ORDER))
    with matplotlib.rc_context(cast(Any, paper.rc)):
        drawn = [mem_vs_fid.memorization_against_frechet(curves, paper)]
        drawn += [metric_vs_axis.metrics_against(curves, axis, paper) for axis in ranked]
        drawn.append(matched.figure(curves, paper=paper))
        drawn.append(onset_scaling.onsets_against_size(curves, onsets or onset.read(curves), paper))
        drawn += gap_over_noise.gap_over_noise(curves, paper)
        drawn.append(noise_map.gap_map(curves, paper))
        drawn.append(path_overlap.over_noise(curves, paper))
        drawn += [path_overlap.against(curves, axis, paper) for axis in ranked]
        drawn += [figure(curves, paper) for figure in (twins.against_size, denoisers.membership, denoisers.deviations)]
        drawn.append(flow_field.field(curves, paper))
        names = [figure.name.partition("-")[0] for figure in drawn if figure is not None]
        told = tuple(start for name in names for start in OWN.get(name, ()))
        drawn.append(metric_vs_axis.other_metrics(curves, told, paper))
    return [figure for figure in drawn if figure is not None]


def save(drawn: list[DrawnFigure], folder: Path) -> list[Path]:
    """Write each figure in its formats with its CSV and caption; returns the files, and removes other figures."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [path for figure in drawn for path in put(figure, folder)]
    for old in folder.iterdir():  # else figures of an earlier grid would look like this one's
        if old.suffix in (".png", ".svg", ".pdf", ".csv", ".txt") and old not in files:
            old.unlink()
    return files


def put(figure: DrawnFigure, folder: Path) -> list[Path]:
    """Write one figure in its formats, its CSV and its caption; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{figure.name}.txt"
    for ending, content in figure.files.items():
        path.with_suffix(f".{ending}").write_bytes(content)
    path.write_text(f"{figure.title}\n\n{figure.caption}\n", encoding="utf-8")
    spreadsheet.write(figure.data, path.with_suffix(".csv"))
    return [path.with_suffix(f".{ending}") for ending in (*figure.files, "csv", "txt")]
