"""The figures of a study. A figure appears when its axis has at least two values and its metrics exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from difgen_cli.report import against, noise, plane, spreadsheet, style
from difgen_cli.report.canvas import Drawn
from difgen_cli.report.curves import SIZE, STEPS, Curves

ORDER = (SIZE, STEPS, "condition.clusters")


def draw(curves: Curves) -> list[Drawn]:
    """Every figure that this study has the numbers for, the main one first."""
    import matplotlib

    ranked = sorted(curves.axes, key=lambda axis: ORDER.index(axis.path) if axis.path in ORDER else len(ORDER))
    with matplotlib.rc_context(cast(Any, style.RC)):
        drawn = [plane.memorization_against_frechet(curves)]
        drawn += [against.metrics_against(curves, axis) for axis in ranked]
        drawn.append(noise.gap_over_noise(curves))
        drawn.append(against.other_metrics(curves))
    return [figure for figure in drawn if figure is not None]


def save(drawn: list[Drawn], folder: Path) -> list[Path]:
    """Write each figure as PNG and SVG with its CSV and caption; returns the PNG paths."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {figure.name for figure in drawn}
    for old in folder.iterdir():  # else figures of an earlier grid would look like this one's
        if old.suffix in (".png", ".svg", ".csv", ".txt") and old.stem not in kept:
            old.unlink()
    paths = []
    for figure in drawn:
        path = folder / f"{figure.name}.png"
        path.write_bytes(figure.png)
        path.with_suffix(".svg").write_text(figure.svg, encoding="utf-8")
        path.with_suffix(".txt").write_text(f"{figure.title}\n\n{figure.caption}\n", encoding="utf-8")
        spreadsheet.write(figure.data, path.with_suffix(".csv"))
        paths.append(path)
    return paths
