"""How many clusters a study's images bear: the bound of Adaloglou et al. 2025 over the numbers that were tried."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from difgen_cli.report import spreadsheet
from difgen_cli.report.study.curves import STEPS, Curves, per_group

CLUSTERS, USED = "condition.clusters", "clusters_used"
UTILISED = 0.96  # least share of the clusters that must not be empty


def bounds(curves: Curves) -> pd.DataFrame:
    """clusters.csv: one line per seed and level of the other axes but the steps, which labels do not know.

    Columns: those axes, `seed`, `clusters_bound` (the largest number of clusters tried of which a share of 0.96 or more
    is in use; missing where there is none) and `clusters_bound_next` (the next larger one; missing: there is none). A
    conditioning without a number of clusters has no line: it has none, or more labels than clusters were asked for.
    Empty where the number of clusters is no numeric axis, or `clusters` was not measured.
    """
    if CLUSTERS not in curves.paths or USED not in curves.done or not curves.axis(CLUSTERS).numeric:
        return pd.DataFrame()
    by = [path for path in curves.paths if path not in (CLUSTERS, STEPS)]
    measured = curves.done.dropna(subset=[USED])
    lines = []
    for key, group in per_group(measured, [*by, "seed"]):
        used = group.groupby(CLUSTERS, observed=True)[USED].max().sort_index()
        asked, share = _tried(used)
        if len(asked) and share.max() <= 1:
            lines.append((*key, *_bound(asked, share)))
    frame = pd.DataFrame(lines, columns=[*by, "seed", "clusters_bound", "clusters_bound_next"])
    for path in by:
        frame[path] = pd.Categorical(frame[path], categories=curves.axis(path).levels, ordered=True)
    return frame.sort_values([*by, "seed"], ignore_index=True)


def write(frame: pd.DataFrame, out: Path) -> list[Path]:
    """clusters.csv into `out`, removed where it has no lines; returns what is there."""
    path = out / "clusters.csv"
    if len(frame):
        spreadsheet.write(frame, path)
        return [path]
    path.unlink(missing_ok=True)
    return []


def _tried(used: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of clusters above 1, ascending, and the share of each that is in use."""
    asked = used.index.astype(str).to_numpy(dtype=float)
    several = asked > 1
    return asked[several], used.to_numpy(float)[several] / asked[several]


def _bound(asked: np.ndarray, share: np.ndarray) -> tuple[float, float]:
    enough = np.flatnonzero(share >= UTILISED)
    last = int(enough[-1]) if len(enough) else -1
    padded = [np.nan, *asked, np.nan]
    return float(padded[last + 1]), float(padded[last + 2])
