"""A sentence for which images go first: those in dense regions of the pool, its prototypes, or those in sparse ones."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.findings.numbers import count
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import STEPS, Curves, per_group
from difgen_cli.report.study.prototypes import PERMUTED, RAISED

TELLS = "cal_auc_lo"  # above one half: training shows in the calibrated loss


def which_first(curves: Curves, _: pd.DataFrame) -> str | None:
    """Read at the first snapshot of each setting at which its calibrated loss surely tells who was trained on."""
    lines = curves.prototypes
    if lines.empty or RAISED not in lines:
        return None
    first = _first(curves, lines.dropna(subset=[f"{RAISED}_lo"]))
    if first.empty:
        return None
    sparse, dense = first[first[f"{RAISED}_lo"] > 0], first[first[f"{RAISED}_hi"] < 0]
    where = "where training first shows in the loss"
    order = (
        "how much training raises an image's score has a rank correlation of {} with the distance to the fifth nearest "
        "image of the pool"
    )
    if all(path == STEPS for path in curves.paths):
        line, last = first.iloc[0], lines.dropna(subset=[f"{RAISED}_lo"]).iloc[-1]
        if STEPS in first:
            where += f", at step {line[STEPS]}"
        verdict = "in sparse regions of the pool are" if len(sparse) else "in dense regions of the pool are"
        verdict = verdict if len(sparse) + len(dense) else "neither in dense nor in sparse regions are shown to be"
        sentence = f"Images {verdict} exposed first: {where}, {order.format(_number(line, RAISED))}"
        if STEPS in first and last[STEPS] != line[STEPS]:
            sentence += f", and at step {last[STEPS]} of {_number(last, RAISED)}"
    else:
        sentence = (
            f"Images in sparse regions of the pool are exposed first in {len(sparse) or 'none'} of "
            f"{count(len(first), 'setting')}, those in dense regions in {len(dense) or 'none'}: {where}, "
            f"{order.format(_ends(first[RAISED]))}"
        )
    return f"{sentence}; with all training subsets drawn again it is {_ends(first[PERMUTED], 2)}."


def _ends(values: pd.Series, digits: int = 3) -> str:
    """`0.1 to 0.3`, or one number where they are the same."""
    return " to ".join(dict.fromkeys(labels.number(float(value), digits) for value in (values.min(), values.max())))


def _first(curves: Curves, lines: pd.DataFrame) -> pd.DataFrame:
    """The line of each setting at its first step where who was trained on is surely told; none where it never is."""
    over_seeds = curves.calibrated.over_seeds
    if over_seeds.empty or TELLS not in over_seeds:
        return lines[:0]
    if curves.paths:
        lines = lines.merge(over_seeds[[*curves.paths, TELLS]], on=curves.paths)
    else:
        lines = lines.assign(**{TELLS: over_seeds[TELLS].to_numpy()})
    lines = lines[lines[TELLS] > 0.5]
    if STEPS not in lines:
        return lines
    by = [path for path in curves.paths if path != STEPS]
    groups = [group.sort_values(STEPS, kind="stable").head(1) for _, group in per_group(lines, by)]
    return pd.concat(groups) if groups else lines


def _number(line: pd.Series, name: str) -> str:
    """`0.21 [0.10, 0.31]`."""
    value, lower, upper = (labels.number(float(line[f"{name}{end}"])) for end in ("", "_lo", "_hi"))
    return f"{value} [{lower}, {upper}]"
