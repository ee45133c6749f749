"""Where copying has set in: for each setting (all axes but the steps) what its last snapshots carry.

A setting has copies where the ratio rule finds more than among held-out images in every seed, by intervals that hold
for all settings together (Bonferroni), since a reader looks for the largest size, or the first, among them. It has none
where no seed has more and the rule would have seen them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from difgen_cli.report.study import onset, seeds
from difgen_cli.report.study.curves import SIZE, STEPS, last_snapshot

if TYPE_CHECKING:
    from difgen_cli.report.study.curves import Curves

SHARE, ONSET = "mem_frac", "tau_mem"
CONTROL_MOST = 0.05  # of held-out images that a rule may call copies before it counts as blind
WEAK_POWER = 0.5  # below it the ratio rule misses most copies with a little noise
FEW = 10  # distinct images, below which shares and intervals over samples say little


class CopyState(StrEnum):
    """What may be said of the copies of a setting."""

    COPIES = "copies"
    NONE = "none"  # no more than among held-out images, and the rule would have seen them
    DIFFER = "differ"  # some seeds have copies, others not
    UNSEEN = "unseen"  # no more than among held-out images, and the rule would have missed most, or nobody knows
    BLIND = "blind"  # the rule calls held-out images copies
    FEW = "few"  # the samples are a handful of images
    OPEN = "open"  # nothing is measured yet


NUMBERS = ("step", "seeds", "above", SHARE, "lo", "hi", "control", "power")
SEEN = (CopyState.COPIES, CopyState.NONE, CopyState.DIFFER)  # what shares of copies may be compared of


def read(curves: Curves) -> pd.DataFrame:
    """One line per planned setting; none where no ratio rule was scored.

    Columns: the axes, `state`, `step`, `final` (whether all that is planned at its last step is done), `seeds`
    (measured), `above` (seeds with more copies than held-out images), `mem_frac` with `lo` and `hi` (over seeds; all
    lines together have 95 %), `control` and `power` (means over seeds, as in the table; null where not known for all).
    """
    by = [path for path in curves.paths if path != STEPS]
    if SHARE not in curves.cells or curves.cells[SHARE].isna().all():
        return pd.DataFrame(columns=[*by, *NUMBERS, "final", "state"])
    keys = by or ["#"]  # pandas groups by nothing in no way
    planned = curves.cells.assign(**{"#": 0})
    steps = planned["step"] if "step" in planned else pd.Series(np.nan, planned.index)
    last = steps.isna() | (steps == steps.groupby([planned[key] for key in keys], observed=True).transform("max"))
    unfinished = last & (planned["state"] != "done")
    final = ~unfinished.groupby([planned[key] for key in keys], observed=True).any()
    cells = last_snapshot(curves.cells, curves.paths).assign(**{"#": 0})
    frame = final.rename("final").to_frame().join(_numbers(cells, keys, len(final)))
    frame = frame.fillna({"seeds": 0, "above": 0}).astype({"seeds": int, "above": int})
    frame = frame.assign(state=_states(frame)).reset_index()
    return frame.drop(columns=["few", *([] if by else ["#"])])


def _numbers(cells: pd.DataFrame, keys: list[str], among: int) -> pd.DataFrame:
    """NUMBERS and `few`, of the settings that have any, by their axes."""
    ends = (SHARE, f"{SHARE}_lo", f"{SHARE}_hi", f"{SHARE}_control_hi")
    values = {name: _of(cells, name) for name in (*ends, f"{SHARE}_control", "mem_power", "sample_distinct", "step")}
    rows = cells[[*keys, "seed"]].assign(**values, above=_above(cells, among))
    rows = rows.dropna(subset=list(ends)).assign(unknown=lambda frame: frame["mem_power"].isna())
    means = dict.fromkeys(ends[:3], "mean")
    means |= {"mem_power": "mean", f"{SHARE}_control": "mean"}
    named = {"above": "all", "sample_distinct": "min", "step": "max", "unknown": "any"}
    each = rows.groupby([*keys, "seed"], observed=True).agg(means | named)
    each["inverse"] = 1 / seeds.counts(*(each[name].to_numpy(float) for name in ends[:3]))
    groups = each.groupby(keys, observed=True)
    n, share, unknown = groups[SHARE].count(), groups[SHARE].mean(), groups["unknown"].any()
    shares, many = share.to_numpy(float), n.to_numpy(float)
    spread = groups[SHARE].var(ddof=1).fillna(0.0).to_numpy(float)
    several = seeds.score_interval(shares, spread, many, many / groups["inverse"].mean().to_numpy(float), among)
    single = _widened(groups[list(ends[:3])].mean(), SHARE, among)
    lower, upper = (np.where(many > 1, own, other) for own, other in zip(several, single, strict=True))
    columns = {
        "step": groups["step"].max(), "seeds": n, "above": groups["above"].sum(), SHARE: share, "lo": lower,
        "hi": upper, "control": groups[f"{SHARE}_control"].mean(), "power": groups["mem_power"].mean().mask(unknown),
        "few": groups["sample_distinct"].min() < FEW,
    }  # fmt: skip
    return pd.DataFrame(columns, index=n.index)


def _states(frame: pd.DataFrame) -> pd.Series:
    """What may be said of each line; the first that applies."""
    unseen = ~(frame["power"] >= WEAK_POWER)  # null as well
    conditions = {
        CopyState.OPEN: frame["seeds"] == 0,
        CopyState.FEW: frame["few"].fillna(False).astype(bool),
        CopyState.BLIND: frame["control"] > CONTROL_MOST,
        CopyState.COPIES: frame["above"] == frame["seeds"],
        CopyState.DIFFER: frame["above"] > 0,
        CopyState.UNSEEN: unseen,
    }
    states = np.select([c.to_numpy(bool) for c in conditions.values()], list(map(str, conditions)), str(CopyState.NONE))
    return pd.Series(states, frame.index)


def seen(curves: Curves, cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of settings of which shares of copies may be compared."""
    verdicts = curves.verdicts
    by = [path for path in curves.paths if path != STEPS]
    kept = verdicts[verdicts["state"].isin(SEEN)]
    if not by or kept.empty:
        return cells if len(kept) else cells.iloc[:0]
    return cells.merge(kept[by], on=by)


def slopes(curves: Curves) -> pd.DataFrame:
    """The lines of slopes.csv for the onset of copying, fitted to the settings of which shares may be compared."""
    runs = curves.onsets.runs
    if SIZE not in curves.paths or runs.empty or f"{ONSET}_lo" not in runs:
        return pd.DataFrame()
    by = [path for path in curves.paths if path != STEPS]
    kept = runs.merge(curves.verdicts.loc[curves.verdicts["state"].isin(SEEN), by], on=by)
    lines = onset.slopes(kept, [path for path in by if path != SIZE])
    return lines[lines["onset"] == ONSET] if len(lines) else lines


def _above(group: pd.DataFrame, among: int) -> pd.Series:
    """Whether the share lies above that of held-out images, by intervals that hold for so many settings together."""
    lower = _widened(group, SHARE, among)[0]
    upper = _widened(group, f"{SHARE}_control", among)[1]
    return pd.Series(lower > upper, group.index)


def _widened(group: pd.DataFrame, name: str, among: int) -> tuple[np.ndarray, np.ndarray]:
    """The ends of a row's own interval, as wide as one of so many must be; its own where no width is known."""
    share, lower, upper = (_of(group, f"{name}{end}").to_numpy(float) for end in ("", "_lo", "_hi"))
    with np.errstate(invalid="ignore"):
        ends = seeds.wilson(share, seeds.squared_quantile(among) / seeds.counts(share, lower, upper))
    bottom, top = (np.where(np.isfinite(own), wide, own) for own, wide in zip((lower, upper), ends, strict=True))
    wider_bottom, wider_top = np.fmin(bottom, lower), np.fmax(top, upper)
    return wider_bottom, wider_top


def _of(group: pd.DataFrame, name: str) -> pd.Series:
    """A column as numbers; null where it was not scored."""
    column = group[name] if name in group else pd.Series(np.nan, group.index)
    return pd.to_numeric(column, errors="coerce").astype(float)
