"""Canaries over seeds: what the trainings of a setting show together, for each kind, snapshot and number of repeats.

Right guesses, guesses and canaries are summed over trainings whose coins differ. A reader may choose among all these
bounds of a setting, and the largest of several is no bound at 95 %: beside each stands one that is corrected for as
many as there are (Bonferroni), so that all of a setting's hold together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.metrics import epsilon_of, least_epsilon, least_gaussian, most_epsilon
from difgen_cli.metrics._ranks import clopper_pearson
from difgen_cli.report import spreadsheet

if TYPE_CHECKING:
    from difgen_cli.report.study.curves import Curves

TABLE, REPEATS = "canary_levels", "repeats"
KIND, COINS, DELTA = "data.canaries.kind", "data.seed", "score.canaries.delta"
OF_CANARIES = "data.canaries."  # beginning of settings that say what they are
STEPS, AT = "train.steps", 1e-5
LEVEL = 0.95
SUMS = ("canaries", "planted", "guesses", "right", "examined", "extracted", "examined_control", "extracted_control")


def read(curves: Curves) -> pd.DataFrame:
    """One line for each setting, kind, snapshot and number of repeats; no lines where `canaries` was not scored."""
    from difgen_cli.report.study.curves import per_group

    lines = curves.tables.get(TABLE, pd.DataFrame())
    if lines.empty:
        return pd.DataFrame()
    if DELTA in curves.cells:
        lines = lines.merge(curves.cells[["cell", DELTA]].drop_duplicates("cell"), on="cell", how="left")
    by, whole = [*curves.paths, REPEATS], []
    for _, setting in per_group(lines, settings(curves)):
        pooled = [dict(zip(by, key, strict=True)) | _pooled(group) for key, group in per_group(setting, by)]
        whole += [line | _corrected(line, sum(1 for one in pooled if one["guesses"])) for line in pooled]
    frame = pd.DataFrame(whole)
    for axis in curves.axes:
        frame[axis.path] = pd.Categorical(frame[axis.path], categories=list(axis.levels), ordered=True)
    return frame.sort_values(by, kind="stable").reset_index(drop=True)


def settings(curves: Curves) -> list[str]:
    """The axes between which nobody chooses the largest bound: all but snapshots, and what the canaries are."""
    return [path for path in curves.paths if path != STEPS and not path.startswith(OF_CANARIES)]


def write(lines: pd.DataFrame, out: Path) -> list[Path]:
    """canaries.csv into `out`, removed where there are no lines; returns what is there."""
    return spreadsheet.write_each({"canaries.csv": lines}, out)


def _pooled(group: pd.DataFrame) -> dict[str, Any]:
    """The sums of one training for each draw of the coins, and what they show by themselves."""
    once = group.drop_duplicates(COINS) if COINS in group else group.head(1)
    guessed = once.dropna(subset=["right"])  # a denoiser that is not for the noise level guesses nothing
    line: dict[str, Any] = {name: int(once[name].sum()) for name in SUMS}
    line |= {name: int(guessed[name].sum()) for name in ("canaries", "guesses", "right")}
    line["trainings"] = len(once)
    for end in ("", "_control"):
        line |= _share(f"extracted{end}_frac", line[f"extracted{end}"], line[f"examined{end}"])
    if not line["guesses"]:
        return line
    delta = float(once[DELTA].iloc[0]) if DELTA in once and once[DELTA].notna().any() else AT
    right, guesses, rows = line["right"], line["guesses"], int(once[REPEATS].iloc[0])
    mu = least_gaussian(right, guesses, line["canaries"])
    return line | {
        "eps_least": least_epsilon(right, guesses), "eps_row": least_epsilon(right, guesses, rows=rows),
        "eps_most": most_epsilon(guesses), "mu_least": mu, "eps_gauss": epsilon_of(mu, delta), "delta": delta,
    }  # fmt: skip


def _corrected(line: dict[str, Any], bounds: int) -> dict[str, Any]:
    """The bounds of a line that hold together with all `bounds` of its setting, at 95 %."""
    if not line["guesses"]:
        return {"bounds": bounds}
    level = 1 - (1 - LEVEL) / bounds
    every = least_epsilon(line["right"], line["guesses"], level=level)
    most = least_epsilon(line["guesses"], line["guesses"], level=level)
    return {
        "bounds": bounds, "eps_least_all": every, "eps_row_all": every / float(line[REPEATS]), "eps_most_all": most,
    }  # fmt: skip


def _share(name: str, count: int, total: int) -> dict[str, float]:
    lower, upper = clopper_pearson(count, total) if total else (np.nan, np.nan)
    return {name: count / total if total else np.nan, f"{name}_lo": lower, f"{name}_hi": upper}
