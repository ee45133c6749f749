"""A sentence for membership that is calibrated by the models of the other seeds of a grid."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.findings.numbers import count
from difgen_cli.report.plotting import labels
from difgen_cli.report.study import blind
from difgen_cli.report.study.curves import STEPS, Curves, per_group

AREA, PLAIN, CONTROL = "cal_auc", "plain_auc", "cal_control_heldout"


def distinguishes_in_study(curves: Curves, _: pd.DataFrame) -> str | None:
    """In how many settings the calibrated loss surely tells training images from others of the pool; the control."""
    lines = curves.calibrated.over_seeds
    if lines.empty:
        return None
    lines = _last(curves, lines)
    surely = lines[lines[f"{AREA}_lo"] > 0.5]
    sentence = (
        f"Compared with the models of other seeds, image by image, the denoising loss at the last snapshots "
        f"distinguishes training images from others of the pool in {len(surely) or 'none'} of "
        f"{count(len(lines), 'setting')}"
    )
    if len(surely):
        most = surely.sort_values(AREA, kind="stable").iloc[-1]
        sentence += f" (most: AUROC {_number(most, AREA)}; the loss by itself {_number(most, PLAIN)})"
    failed = lines[_is_far_from_half(lines)] if CONTROL in lines else lines[:0]
    if len(failed):
        worst = failed.assign(far=(failed[CONTROL] - 0.5).abs()).sort_values("far", kind="stable").iloc[-1]
        sentence += (
            f". In {len(failed)} it also tells the others of the pool from held-out images, which it should not (AUROC "
            f"{_number(worst, CONTROL)}): there its numbers do not hold"
        )
    return f"{sentence}."


def _last(curves: Curves, lines: pd.DataFrame) -> pd.DataFrame:
    """The last step of each setting that has one."""
    if STEPS not in curves.paths:
        return lines
    by = [path for path in curves.paths if path != STEPS]
    return pd.concat([group.tail(1) for _, group in per_group(lines.sort_values(STEPS, kind="stable"), by)])


def _is_far_from_half(lines: pd.DataFrame) -> pd.Series:
    """By more than what is too little to matter: one shift for all images does not fit each of them."""
    return (lines[f"{CONTROL}_lo"] > blind.MOST) | (lines[f"{CONTROL}_hi"] < 1 - blind.MOST)


def _number(line: pd.Series, name: str) -> str:
    """`0.81 [0.76, 0.85]`."""
    value, lower, upper = (labels.number(float(line[f"{name}{end}"])) for end in ("", "_lo", "_hi"))
    return f"{value} [{lower}, {upper}]"
