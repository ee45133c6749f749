"""Where training would stop by its held-out loss, and what is copied there (Han et al.; Garnier-Brun 2026).

The step where the denoising loss on held-out images is least, at each noise level and weighted over all of them. Where
that is a run's first or last snapshot, the least is not known to lie inside the run: it is censored, without a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difgen_cli.report import spreadsheet
from difgen_cli.report.study.curves import STEPS, Curves, over_seeds
from difgen_cli.report.study.matched import PREFERENCES

TABLE, LEVEL, WEIGHTED = "noise", "level", "weighted"
NEEDED = {"cell", "split", "sigma", "sigma_rel", "loss"}
# ln σ/σ_d of EDM's training, normal: mean −1.2 at σ_d = 0.5, and deviation (Karras et al. 2022, table 1)
LAW_MEAN, LAW_DEVIATION = -1.2 + np.log(2), 1.2
SNAPSHOTS_LEAST = 3  # of a run: with two of them none is inside
COPIED = "mem_frac"
LOSSES = ("loss_train", "loss_heldout")


@dataclass(frozen=True)
class LeastLoss:
    """runs: a line per training run and level (`per_run`). over_seeds: one per setting and level (`summary`)."""

    runs: pd.DataFrame
    over_seeds: pd.DataFrame


def read(curves: Curves) -> LeastLoss:
    """The least held-out losses of a study; no lines where steps do not vary, or `gap` was not measured."""
    runs = per_run(curves)
    return LeastLoss(runs, summary(curves, runs) if len(runs) else pd.DataFrame())


def per_run(curves: Curves) -> pd.DataFrame:
    """least_loss_runs.csv: one line per training run (axes but the steps, and seed) and noise level.

    `level` is σ/σ_d, or `weighted`: the mean over the levels with the weight and the density of EDM's training,
    whatever the objective of the run. `snapshots`; `step` where the held-out loss is least (of equal ones the first),
    missing where that is the first or last snapshot, as `censored` (left, right) says; and there: `loss_heldout` (mean
    squared error; weighted: 1 for an untrained network), `gap` (L_H/L_T − 1), the memorized share and the preference
    for training images, as far as they were measured. `gap_at_weighted` is the gap of the level at the step of the
    weighted loss.
    """
    by = _axes(curves)
    noise = curves.tables.get(TABLE, pd.DataFrame())
    if len(by) == len(curves.paths) or "step" not in curves.done or not set(noise.columns) >= NEEDED:
        return pd.DataFrame()
    cells = curves.done.dropna(subset=["step"])
    shown = [name for name in read_there(curves) for name in (name, f"{name}_lo", f"{name}_hi") if name in cells]
    joined = cells[["cell", *by, "seed", "step", *shown]].merge(_losses(noise), on="cell")
    keys = [*by, "seed", LEVEL]
    means = joined.groupby([*keys, "step"], observed=True, dropna=False)[[*LOSSES, "sigma_rel", *shown]].mean()
    means = means.reset_index().dropna(subset=["loss_heldout"]).sort_values("step", kind="stable")
    means["gap"] = means["loss_heldout"] / means["loss_train"].where(means["loss_train"] > 0) - 1
    lines = [
        dict(zip(keys, key, strict=True)) | _least(run, ["loss_heldout", "gap", *shown])
        for key, run in means.groupby(keys, observed=True, sort=False, dropna=False)
        if len(run) >= SNAPSHOTS_LEAST
    ]
    if not lines:
        return pd.DataFrame()
    frame = _with_weighted_step(pd.DataFrame(lines), means, [*by, "seed"])
    for path in by:
        frame[path] = pd.Categorical(frame[path], categories=curves.axis(path).levels, ordered=True)
    return frame.sort_values([*by, "seed", "sigma_rel"], na_position="first", ignore_index=True)


def summary(curves: Curves, runs: pd.DataFrame) -> pd.DataFrame:
    """least_loss.csv: one line per setting and level, over seeds.

    `seeds`; `inside` (those with the least loss inside the run), `left`, `right` (at the first and last snapshot);
    `step_least`, `step_most` (over the seeds inside); and where all are inside, mean and 95 % interval over seeds of
    the gap, the memorized share and the preference at the step. Of fewer there is none: they would be chosen by the
    result.
    """
    by = [*_axes(curves), LEVEL]
    groups = runs.groupby(by, observed=True, sort=False)
    counted = groups.agg(
        sigma_rel=("sigma_rel", "first"), seeds=("seed", "nunique"), inside=("step", "count"),
        left=("censored", lambda words: int((words == "left").sum())),
        right=("censored", lambda words: int((words == "right").sum())),
        step_least=("step", "min"), step_most=("step", "max"),
    ).reset_index()  # fmt: skip
    whole = runs[groups["step"].transform("count") == groups["seed"].transform("nunique")]
    metrics = ["gap", "gap_at_weighted", *read_there(curves)]
    numbers = over_seeds(whole, by, metrics, curves.columns)
    for end, suffix in (("mean", ""), ("lo", "_lo"), ("hi", "_hi")):
        if len(numbers):
            wide = numbers.pivot(index=by, columns="metric", values=end).add_suffix(suffix)
            counted = counted.merge(wide.dropna(axis=1, how="all").reset_index(), on=by, how="left")
    ordered = [f"{name}{end}" for name in metrics for end in ("", "_lo", "_hi") if f"{name}{end}" in counted]
    frame = counted[[*(c for c in counted if c not in ordered), *ordered]]
    return frame.sort_values([*by[:-1], "sigma_rel"], na_position="first", ignore_index=True)


def write(tables: LeastLoss, out: Path) -> list[Path]:
    """least_loss.csv and least_loss_runs.csv into `out`, removed where they have no lines; returns what is there."""
    return spreadsheet.write_each({"least_loss.csv": tables.over_seeds, "least_loss_runs.csv": tables.runs}, out)


def read_there(curves: Curves) -> list[str]:
    """The metrics that are read at the step of the least loss, as far as they were measured."""
    measured = [name for name in (COPIED, *PREFERENCES) if name in curves.done and curves.done[name].notna().any()]
    return measured[:-1] if set(measured) >= set(PREFERENCES) else measured  # of two preferences the first


def weights(sigma_rel: np.ndarray) -> np.ndarray:
    """Weights of unweighted losses in units of σ_d² at ascending levels σ/σ_d, (L,): of the loss that EDM minimises.

    λ(σ) σ_d² = 1 + (σ_d/σ)², times the density of ln σ in training, by the trapezoid rule, which is made to sum to 1.
    """
    place = np.log(sigma_rel)
    density = np.exp(-(((place - LAW_MEAN) / LAW_DEVIATION) ** 2) / 2)
    share = density * (np.gradient(place) if len(place) > 1 else 1.0)
    share[[0, -1]] /= 2  # the trapezoid rule
    return np.asarray(share / share.sum() * (1 + sigma_rel**-2.0))


def _axes(curves: Curves) -> list[str]:
    return [path for path in curves.paths if path != STEPS]


def _losses(noise: pd.DataFrame) -> pd.DataFrame:
    """By cell and level: both losses, and σ/σ_d, missing where they are weighted over all levels."""
    once = noise.assign(sigma_rel=noise["sigma_rel"].round(9)).drop_duplicates(["cell", "split", "sigma_rel"])
    both = once.pivot(index=["cell", "sigma_rel"], columns="split", values="loss")
    both = both.reindex(columns=["train", "heldout"]).set_axis(list(LOSSES), axis=1)
    unit = once.drop_duplicates("cell").assign(unit=lambda lines: lines["sigma"] / lines["sigma_rel"])
    lines = both.reset_index().merge(unit[["cell", "unit"]], on="cell")
    each = lines.assign(**{LEVEL: lines["sigma_rel"].map("{:.4g}".format)})
    parts = [(cell, group) for cell, group in lines.groupby("cell", sort=False)]
    summed = pd.DataFrame([_weighted(group) for _, group in parts]).assign(
        cell=[cell for cell, _ in parts], sigma_rel=np.nan, **{LEVEL: WEIGHTED}
    )
    names = ["cell", LEVEL, "sigma_rel", *LOSSES]
    return pd.concat([each[names], summed[names]], ignore_index=True)


def _weighted(group: pd.DataFrame) -> dict[str, float]:
    """Both losses of one cell over all of its levels; missing where one level has none."""
    share = weights(group["sigma_rel"].to_numpy(float)) / group["unit"].to_numpy(float) ** 2
    return {name: float((group[name].to_numpy(float) * share).sum()) for name in LOSSES}


def _least(run: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """The least held-out loss of one run at one level, and what stands there; its steps ascend."""
    place = int(run["loss_heldout"].to_numpy(float).argmin())
    censored = "right" if place == len(run) - 1 else "left" if place == 0 else ""
    at = run.iloc[place]
    values = {name: np.nan if censored else float(at[name]) for name in names}
    return {
        "sigma_rel": float(at["sigma_rel"]), "snapshots": len(run),
        "step": np.nan if censored else float(at["step"]), "censored": censored, **values,
    }  # fmt: skip


def _with_weighted_step(frame: pd.DataFrame, means: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The lines with the gap of their level at the step where the run's weighted loss is least."""
    chosen = frame.loc[frame[LEVEL] == WEIGHTED, [*by, "step"]].dropna(subset=["step"])
    gaps = chosen.merge(means[[*by, "step", LEVEL, "gap"]], on=[*by, "step"], how="inner")
    gaps = gaps.drop(columns="step").rename(columns={"gap": "gap_at_weighted"})
    return frame.merge(gaps, on=[*by, LEVEL], how="left")
