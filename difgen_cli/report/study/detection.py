"""Does the accuracy of nearest neighbours in a feature space go with detection there (Adaloglou et al. 2023)?

Each feature space is one point: the accuracy of nearest neighbours on held-out images, and the AUROC with which they
are told from another data set. R² is the square of Pearson's correlation over the spaces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difgen_cli.report import spreadsheet
from difgen_cli.report.study.curves import STEPS, Curves, last_snapshot, per_group

ACCURACY, SPACE, NEIGHBOURS_SPACE = "ood_knn_acc", "ood_classes_features", "ood_features"
RULES = {
    "ood_auroc": "similarity",
    "ood_mahalanobis_auroc": "Mahalanobis",
    "ood_relative_mahalanobis_auroc": "relative Mahalanobis",
    "ood_probe_auroc": "linear probe",
}
SPACES_MIN = 3  # below it two points lie on a line
INTERVAL_MIN = 8  # spaces from which there is an interval: with fewer it would be nearly all of 0 to 1
Z = 1.959963984540054


def points(curves: Curves) -> pd.DataFrame:
    """A line for each setting, rule and space: `space`, `accuracy` and `auroc`, means over seeds; empty without both.

    A cell counts for the similarity only where that is measured in the same space.
    """
    done = last_snapshot(curves.cells, curves.paths)
    if not {ACCURACY, SPACE} <= set(done) or done[ACCURACY].isna().all():
        return pd.DataFrame()
    others = [path for path in curves.paths if path != STEPS and not path.endswith(".features")]
    parts = []
    for rule, words in RULES.items():
        if rule not in done:
            continue
        of_rule = done.dropna(subset=[ACCURACY, SPACE, rule])
        if rule == "ood_auroc":
            same = of_rule[NEIGHBOURS_SPACE].astype(str) == of_rule[SPACE].astype(str)
            of_rule = of_rule[same]
        for key, group in per_group(of_rule, others):
            means = group.groupby(SPACE, sort=True)[[ACCURACY, rule]].mean().reset_index()
            means.columns = pd.Index(["space", "accuracy", "auroc"])
            parts.append(means.assign(rule=words, **dict(zip(others, key, strict=True))))
    return (
        pd.concat(parts, ignore_index=True)[[*others, "rule", "space", "accuracy", "auroc"]]
        if parts
        else pd.DataFrame()
    )


def read(curves: Curves) -> pd.DataFrame:
    """detection.csv: a line for each setting and rule: `spaces`, `r2`, and from 8 spaces on `r2_lo` and `r2_hi`.

    The 95 % interval is Fisher's, on the z scale of the correlation, as if the spaces were drawn at random from a
    normal population of such: it is not over images or seeds. r2 is missing for fewer than 3 spaces, and where the
    spaces do not differ.
    """
    every = points(curves)
    if every.empty:
        return every
    others = [path for path in every if path in curves.paths]
    lines = []
    for key, group in per_group(every, [*others, "rule"]):
        r2, low, high = explained(group["accuracy"].to_numpy(float), group["auroc"].to_numpy(float))
        about = dict(zip([*others, "rule"], key, strict=True))
        lines.append(about | {"spaces": len(group), "r2": r2, "r2_lo": low, "r2_hi": high})
    return pd.DataFrame(lines)


def write(frame: pd.DataFrame, out: Path) -> list[Path]:
    """detection.csv into `out`, removed where it has no lines; returns what is there."""
    return spreadsheet.write_each({"detection.csv": frame}, out)


def explained(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """R² of paired numbers (n,) with its interval; NaN where there is none."""
    if len(x) < SPACES_MIN or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan, np.nan
    r = float(np.corrcoef(x, y)[0, 1])
    if len(x) < INTERVAL_MIN:
        return r**2, np.nan, np.nan
    centre, half = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)), Z / np.sqrt(len(x) - 3)
    low, high = np.tanh(centre - half), np.tanh(centre + half)
    return r**2, 0.0 if low < 0 < high else float(min(low**2, high**2)), float(max(low**2, high**2))


def sentence(line: dict[Any, Any]) -> str:
    """What a line of `read` says."""
    rule, n, r2, low, high = (line[name] for name in ("rule", "spaces", "r2", "r2_lo", "r2_hi"))
    if not np.isfinite(float(r2)):
        return f"{rule}: {n} feature spaces are too few for an R², or do not differ."
    shown = f"{rule}: R² = {float(r2):.2f} over {n} feature spaces"
    if not np.isfinite(float(low)):
        return f"{shown}, which are too few for an interval ({INTERVAL_MIN} are needed)."
    return f"{shown} [{float(low):.2f}, {float(high):.2f}]."
