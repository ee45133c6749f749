"""Sentences for membership: whether the denoising loss tells who was trained on, and where that cannot be told."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.findings.numbers import Row, count, value
from difgen_cli.report.plotting import labels
from difgen_cli.report.study import blind
from difgen_cli.report.study.curves import STEPS, Curves, last_snapshot, per_group

AREA = "mia_auc_025"  # at the noise level that was declared beforehand
LEVEL = "noise 0.25 σ_d"
INVERTED, EXCESS = "dire_auc", "basin_excess"
SELF = "mia_self_auc_025"
# What numbers that are held back are about, by the column that says whether they were asked for.
CLAIMS = {
    AREA: "membership",
    INVERTED: "membership by inversion",
    EXCESS: "how much farther training images are given back than held-out ones",
    "gap_max": "the gap between held-out and training losses",
    "train_pref_excess": "the preference for training images",
}


def refused(row: Row, _: Row) -> str | None:
    """What is not stated, and why."""
    why = blind.reason(row.values)
    return why and _refusal([words for name, words in CLAIMS.items() if name in row], why)


def direction(row: Row) -> int | None:
    """1 where the loss is surely lower on training images, −1 where it is surely larger, 0 where neither is shown.

    None without an interval, or where it must not be stated.
    """
    if not row.has_values(AREA, f"{AREA}_lo", f"{AREA}_hi") or blind.reason(row.values):
        return None
    return int(row.number(f"{AREA}_lo") > 0.5) - int(row.number(f"{AREA}_hi") < 0.5)


def is_of_own_samples(row: Row) -> bool:
    """Whether the model's own samples are not surely told from held-out images less often than training images are."""
    return row.has_values(f"{SELF}_hi", f"{AREA}_lo") and row.number(f"{SELF}_hi") >= row.number(f"{AREA}_lo")


def distinguishes(row: Row, _: Row) -> str | None:
    """Does the loss tell training from held-out images? With the two controls, where they were scored."""
    where = direction(row)
    if where is None:
        return None
    numbers = f"AUROC {value(row, AREA)} at {LEVEL}"
    if where < 0:
        return f"The denoising loss is larger on training images than on held-out images: {numbers}{_without(row)}."
    if where == 0:
        return f"The denoising loss was not found to distinguish training from held-out images: {numbers}."
    sentence = f"The denoising loss distinguishes training from held-out images: {numbers}{_without(row)}."
    if is_of_own_samples(row):
        sentence += (
            f" It does so for the model's own samples as well (AUROC {value(row, SELF)}): either they are copies, or "
            "the loss is low for all that the model makes, trained on or not."
        )
    return sentence


def inverts(row: Row, _: Row) -> str | None:
    """Does the error of a walk to noise and back tell training from held-out images?"""
    numbers, begun = f"AUROC {value(row, INVERTED)}" if row.has_values(INVERTED) else "", "The error of inversion"
    groups = "training images than on held-out images"
    return _by_ends(
        row, INVERTED, 0.5,
        above=f"{begun} is smaller on {groups}: {numbers}{_without(row)}.",
        below=f"{begun} is larger on {groups}: {numbers}{_without(row)}.",
        neither=f"{begun} was not found to distinguish training from held-out images: {numbers}.",
    )  # fmt: skip


def gives_back(row: Row, _: Row) -> str | None:
    """Is the sampler drawn back to training images from noise more often than to held-out ones?"""
    numbers = f"the difference of the shares is {value(row, EXCESS)}" if row.has_values(EXCESS) else ""
    begun = "From noise of σ_d the sampler"
    return _by_ends(
        row, EXCESS, 0.0,
        above=f"{begun} returns to training images more often than to held-out images: {numbers}.",
        below=f"{begun} returns to training images less often than to held-out images: {numbers}.",
        neither=f"{begun} was not found to return to training images more often than to held-out images: {numbers}.",
    )  # fmt: skip


def _by_ends(row: Row, name: str, null: float, *, above: str, below: str, neither: str) -> str | None:
    """What the interval of a column carries; None without one, and where the images differ without the model."""
    if not row.has_values(name, f"{name}_lo", f"{name}_hi") or blind.reason(row.values):
        return None
    return above if row.number(f"{name}_lo") > null else below if row.number(f"{name}_hi") < null else neither


def refused_in_study(curves: Curves, _: pd.DataFrame) -> str | None:
    """In how many cells nothing is stated, and why."""
    cells = curves.done
    lines = blind.refused(cells)
    why = blind.strongest(cells)
    if why is None:
        return None
    claims = [words for name, words in CLAIMS.items() if name in cells]
    some = "" if lines.all() else f"In {int(lines.sum())} of {count(len(cells), 'cell')}: "
    return f"{some}{_refusal(claims, why)}"


def told_in_study(curves: Curves, _: pd.DataFrame) -> str | None:
    """In how many settings the loss tells training from held-out images, in every seed."""
    cells = last_snapshot(curves.cells, curves.paths)
    if f"{AREA}_lo" not in cells:
        return None
    measured = cells.dropna(subset=[AREA, f"{AREA}_lo"])
    if measured.empty:
        return None
    by = [path for path in curves.paths if path != STEPS]
    groups = [lines for _, lines in per_group(measured, by)]
    surely = sum(bool((lines[f"{AREA}_lo"] > 0.5).all()) for lines in groups)
    seeds = "every seed" if curves.seeds > 1 else "the one seed"
    sentence = (
        f"At the last snapshots the denoising loss at {LEVEL} distinguishes training from held-out images in {seeds} "
        f"of {surely or 'none'} of {count(len(groups), 'setting')}"
    )
    if surely:
        means = sorted(float(lines[AREA].mean()) for lines in groups)
        sentence += f" (AUROC {labels.number(means[0])}"
        sentence += f" to {labels.number(means[-1])})" if len(means) > 1 else ")"
    return f"{sentence}."


def _refusal(claims: list[str], why: str) -> str:
    named = " and ".join([", ".join(claims[:-1]), claims[-1]] if len(claims) > 1 else claims)
    return f"{named[:1].upper()}{named[1:]} cannot be told: {why}." if named else f"{why[:1].upper()}{why[1:]}."


def _without(row: Row) -> str:
    """What the images alone give away, where that was asked."""
    if blind.AREA not in row:
        return ""
    if not row.has_values(blind.LOWER):
        return "; whether they differ without the model is not known, because there are too few images"
    return f"; without the model: {value(row, blind.AREA)}"
