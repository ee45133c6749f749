"""Where copying has set in: for each setting (all axes but the steps) what its last snapshots carry.

A setting has copies where the ratio rule finds more than among held-out images in every seed, by intervals that hold
for all settings together (Bonferroni), since a reader looks for the largest size, or the first, among them. It has none
where no seed has more and the rule would have seen them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.study import seeds
from difgen_cli.report.study.curves import STEPS, last_snapshot, per_group

if TYPE_CHECKING:
    from difgen_cli.report.study.curves import Curves

SHARE = "mem_frac"
CONTROL_MOST = 0.05  # of held-out images that a rule may call copies before it counts as blind
WEAK_POWER = 0.5  # below it the ratio rule misses most copies with a little noise
FEW = 10  # distinct images, below which shares and intervals over samples say little


class State(StrEnum):
    """What may be said of the copies of a setting."""

    COPIES = "copies"
    NONE = "none"  # no more than among held-out images, and the rule would have seen them
    DIFFER = "differ"  # some seeds have copies, others not
    UNSEEN = "unseen"  # no more than among held-out images, and the rule would have missed most, or nobody knows
    BLIND = "blind"  # the rule calls held-out images copies
    FEW = "few"  # the samples are a handful of images
    OPEN = "open"  # nothing is measured yet


SEEN = (State.COPIES, State.NONE, State.DIFFER)  # what shares of copies may be compared of


def read(curves: Curves) -> pd.DataFrame:
    """One line per planned setting; none where no ratio rule was scored.

    Columns: the axes, `state`, `step`, `final` (whether all that is planned at its last step is done), `seeds`
    (measured), `above` (seeds with more copies than held-out images), `mem_frac` with `lo` and `hi` (over seeds; all
    lines together have 95 %), `control` and `power` (the worst of its seeds; null where not known).
    """
    by = [path for path in curves.paths if path != STEPS]
    if SHARE not in curves.cells or curves.cells[SHARE].isna().all():
        return pd.DataFrame(columns=[*by, *_line(None, 1), "final"])
    cells = last_snapshot(curves.cells, curves.paths)
    planned = curves.cells[by].drop_duplicates() if by else pd.DataFrame(index=[0])
    groups = {_hashable(key): group for key, group in per_group(cells, by)}
    lines = [
        _line(groups.get(_hashable(key)), len(planned)) | {"final": _is_final(group)}
        for key, group in per_group(curves.cells, by)
    ]
    frame = pd.concat([planned.reset_index(drop=True), pd.DataFrame(lines)], axis=1)
    return frame.sort_values(by, kind="stable", ignore_index=True) if by else frame


def seen(curves: Curves, cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of settings of which shares of copies may be compared."""
    verdicts = curves.verdicts
    by = [path for path in curves.paths if path != STEPS]
    kept = verdicts[verdicts["state"].isin(SEEN)]
    if not by or kept.empty:
        return cells if len(kept) else cells.iloc[:0]
    return cells.merge(kept[by], on=by)


def _hashable(key: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(map(str, key))


def _is_final(planned: pd.DataFrame) -> bool:
    """Whether the cells of a setting are done at the last step that is planned for it."""
    steps = planned["step"] if "step" in planned else pd.Series(np.nan, planned.index)
    last = planned[(steps == steps.max()) | steps.isna()]
    return bool((last["state"] == "done").all())


def _line(group: pd.DataFrame | None, among: int) -> dict[str, Any]:
    """The verdict on the last cells of one of so many settings."""
    names = (SHARE, f"{SHARE}_lo", f"{SHARE}_hi", f"{SHARE}_control_hi")
    nothing = {"state": State.OPEN, "step": np.nan, "seeds": 0, "above": 0, "mem_frac": np.nan, "lo": np.nan,
               "hi": np.nan, "control": np.nan, "power": np.nan}  # fmt: skip
    if group is None or any(name not in group for name in names):
        return nothing
    group = group.dropna(subset=list(names))
    if group.empty:
        return nothing
    above = (_above(group, among)).groupby(group["seed"].to_numpy()).all()
    control, power = _of(group, f"{SHARE}_control"), _of(group, "mem_power")
    worst = float(power.min()) if power.notna().all() else np.nan
    share, lower, upper = _over_seeds(group, among)
    return {
        "state": _state(group, above, float(control.max()), worst),
        "step": float(group["step"].max()) if "step" in group else np.nan,
        "seeds": len(above), "above": int(above.sum()),
        "mem_frac": share, "lo": lower, "hi": upper, "control": float(control.max()), "power": worst,
    }  # fmt: skip


def _state(group: pd.DataFrame, above: pd.Series, control: float, power: float) -> State:
    if (_of(group, "sample_distinct") < FEW).any():
        return State.FEW
    if control > CONTROL_MOST:
        return State.BLIND
    if above.all():
        return State.COPIES
    if above.any():
        return State.DIFFER
    return State.NONE if power >= WEAK_POWER else State.UNSEEN  # null as well


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


def _over_seeds(group: pd.DataFrame, among: int) -> tuple[float, float, float]:
    """The mean share over seeds and its interval, one of so many; a single seed has its own."""
    names = [SHARE, f"{SHARE}_lo", f"{SHARE}_hi"]
    each = group.groupby(group["seed"].to_numpy())[names].mean()
    share, lower, upper = (each[name].to_numpy(float) for name in names)
    if len(each) == 1:
        bottom, top = _widened(each, SHARE, among)
        return float(share[0]), float(bottom[0]), float(top[0])
    total = len(each) / float(np.mean(1 / seeds.counts(share, lower, upper)))
    values = (np.array([number]) for number in (share.mean(), share.var(ddof=1), len(each), total))
    bottom, top = seeds.score_interval(*values, among=among)
    return float(share.mean()), float(bottom[0]), float(top[0])


def _of(group: pd.DataFrame, name: str) -> pd.Series:
    """A column as numbers; null where it was not scored."""
    column = group[name] if name in group else pd.Series(np.nan, group.index)
    return pd.to_numeric(column, errors="coerce").astype(float)
