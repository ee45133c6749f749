"""Sentences for a study: for each setting at its last snapshot, over seeds.

`RULES` are in the order in which a reader needs them: what was found, first what a grid was made for (canaries, forks,
unlearning), what the controls say, what is left open and what would settle it, then all else. What is found is never
said of settings that the measures could not see, so that it may stand before the sentence that names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from difgen_cli.report.findings import (
    axes,
    calibrated,
    canaries,
    efficiency,
    exposed,
    forks,
    membership,
    one_run,
    prototypes,
    setting_in,
    undecided,
    unlearning,
)
from difgen_cli.report.findings.numbers import between, count, percent
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import STEPS, Curves, last_snapshot
from difgen_cli.report.study.first_copy import EVERY
from difgen_cli.report.study.first_copy import FIRST as FIRST_COPY
from difgen_cli.report.study.least_loss import COPIED, WEIGHTED
from difgen_cli.report.study.verdicts import CONTROL_MOST, FEW, WEAK_POWER, seen

FIRST = 8  # sentences with which a report begins; the others stand below its table

Rule = Callable[[Curves, pd.DataFrame], str | None]  # the study, its last snapshots over seeds


def of_study(curves: Curves) -> list[str]:
    """The sentences for a study, the most important first."""
    return [sentence for _, sentence in rules_that_speak(curves)]


def rules_that_speak(curves: Curves) -> Iterator[tuple[str, str]]:
    """The name of each rule that has something to say, and its sentence."""
    for name, rule in RULES.items():
        if sentence := rule(curves, curves.last):
            yield name, sentence


def few_distinct(curves: Curves, _: pd.DataFrame) -> str | None:
    """Cells whose samples are a handful of images: their shares say nothing of how often a model copies."""
    cells = _last_cells(curves)
    if "sample_distinct" not in cells:
        return None
    few_cells = int((cells["sample_distinct"] < FEW).sum())
    if not few_cells:
        return None
    return (
        f"In {count(few_cells, 'cell')} the samples are fewer than {FEW} distinct images: there, a share of samples "
        "does not show how often the model copies."
    )


def blind(_: Curves, last: pd.DataFrame) -> str | None:
    """Settings where the ratio rule calls held-out images copies, or misses most copies with a little noise."""
    parts = []
    if "mem_frac_control" in last and (high := int((last["mem_frac_control"] > CONTROL_MOST).sum())):
        most = percent(float(last["mem_frac_control"].max()))
        parts.append(f"in {_of(high, last)} it calls held-out images copies (up to {most})")
    if "mem_power" in last and len(weak := last["mem_power"][last["mem_power"] < WEAK_POWER]):
        caught = f"copies with noise of 0.1 a pixel ({between(weak)})"
        parts.append(f"in {_of(len(weak), last)} it catches less than half of {caught}")
    return f"The ratio rule is unreliable in some settings: {'; '.join(parts)}." if parts else None


def controls(curves: Curves, last: pd.DataFrame) -> str | None:
    """What the controls say where the ratio rule is reliable everywhere."""
    if blind(curves, last) or "mem_frac_control" not in last or last["mem_frac_control"].isna().all():
        return None
    sentence = (
        f"Controls: the ratio rule calls at most {percent(float(last['mem_frac_control'].max()))} of held-out images "
        "copies"
    )
    if "mem_power" in last and last["mem_power"].notna().any():
        least = last.sort_values("mem_power", kind="stable").iloc[0]
        caught = percent(float(least["mem_power"]))
        sentence += f", and would catch {caught} or more of copies with noise of 0.1 a pixel"
        sentence += f" (least{_where(curves, least)})" if len(last) > 1 else ""
    return f"{sentence}."


def first_copies(curves: Curves, _: pd.DataFrame) -> str | None:
    """How many samples it takes until the first copy, where there are more than among held-out images."""
    cells, needed = seen(curves, _last_cells(curves)), (FIRST_COPY, "mem_frac_lo", "mem_frac_control_hi")
    if any(name not in cells for name in needed):
        return None
    more = cells[(cells["mem_frac_lo"] > cells["mem_frac_control_hi"]) & cells[FIRST_COPY].notna()]
    if more.empty:
        return None
    ends = dict.fromkeys(f"{number:,.0f}" for number in (more[FIRST_COPY].min(), more[FIRST_COPY].max()))
    return (
        f"In {count(len(more), 'cell')} with more copies than among held-out images the first copy is sample "
        f"{' to '.join(ends)}, and on average one in {_span(more[EVERY])} samples is one."
    )


def leaning(curves: Curves, last: pd.DataFrame) -> str | None:
    """In how many settings samples lie nearer to training images, by the interval over seeds."""
    name = "train_pref_excess"
    if f"{name}_lo" not in last or curves.seeds < 2:
        return None
    measured = last.dropna(subset=[name, f"{name}_lo"])
    if measured.empty:
        return None
    more = measured[measured[f"{name}_lo"] > 0]
    sentence = (
        "By the interval over seeds the samples lie nearer to the training images than held-out images do in "
        f"{len(more)} of {count(len(measured), 'setting')}"
    )
    if more.empty:
        return f"{sentence}."
    least = more.sort_values(name, kind="stable").iloc[0]
    return f"{sentence} (least: {name} {labels.number(float(least[name]))}{_where(curves, least)})."


def stopping(curves: Curves, last: pd.DataFrame) -> str | None:
    """In how many settings the weighted held-out loss is least inside the runs, and what share is memorized there."""
    settings = curves.least_loss.over_seeds
    if settings.empty:
        return None
    settings = settings[settings["level"] == WEIGHTED]
    inside = settings[settings["inside"] == settings["seeds"]]
    sentence = (
        f"In {len(inside) or 'none'} of {count(len(settings), 'setting')} the weighted held-out loss is least inside "
        f"the run in {'every seed' if curves.seeds > 1 else 'the one seed'}"
    )
    if len(inside):
        first, final = inside["step_least"].min(), inside["step_most"].max()
        sentence += f", at step {first:,.0f}" + (f" to {final:,.0f}" if final > first else "")
    if COPIED in inside and inside[COPIED].notna().any():
        by = [path for path in curves.paths if path != STEPS]
        ends = last.merge(inside[by]) if by else last
        sentence += f"; there mem_frac is {_span(inside[COPIED])}, and at their last snapshots {_span(ends[COPIED])}"
    for words, number in (("last", (settings["right"] > 0).sum()), ("first", (settings["left"] > 0).sum())):
        sentence += (
            f". In {number} it is least at the {words} snapshot of a seed: no step is known there" if number else ""
        )
    return f"{sentence}."


def repeats(curves: Curves, _: pd.DataFrame) -> str | None:
    """Near-duplicates in training sets, and whether the version of the measure knows of them."""
    cells = curves.cells
    if "near_duplicates" not in cells or not (cells["near_duplicates"] > 0).any():
        return None
    most = count(float(cells["near_duplicates"].max()), "training image")
    old = cells["train_distinct"].isna() if "train_distinct" in cells else pd.Series(True, cells.index)
    if (old & (cells["near_duplicates"] > 0)).any():
        return f"Up to {most} have near-duplicates, and a version that misses copies of them has computed some rows."
    return f"Up to {most} have near-duplicates in the training set: repeats count as one image."


def held_out_left_out(curves: Curves, _: pd.DataFrame) -> str | None:
    cells = curves.cells
    left_out = cells["near_duplicates_held_out"].max() if "near_duplicates_held_out" in cells else 0
    if not left_out > 0:
        return None
    words = count(float(left_out), "held-out image was", "held-out images were")
    return f"{words} excluded: an image that may be trained on is nearly the same."


def _last_cells(curves: Curves) -> pd.DataFrame:
    return last_snapshot(curves.cells, curves.paths)


def _of(number: int, last: pd.DataFrame) -> str:
    return f"{number} of {count(len(last), 'setting')}"


def _span(values: pd.Series) -> str:
    """`0.01 to 0.2`: from the least to the most."""
    ends = [labels.number(float(value)) for value in (values.min(), values.max())]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _where(curves: Curves, line: Any) -> str:
    """` at N = 16, width 64`: the levels of a line's axes."""
    named = [labels.level(axis.path, str(line[axis.path])) for axis in curves.axes if axis.path != STEPS]
    return f" at {', '.join(named)}" if named else ""


# name -> rule, the most important first
RULES: dict[str, Rule] = {
    "copying": setting_in.copying,
    "unlearnt": unlearning.unlearnt,
    "forked": forks.forked,
    "copied_canaries": canaries.copied_in_study,
    "canaries": canaries.shown_in_study,
    "one_run": one_run.shown_in_study,
    "prototypes": prototypes.which_first,
    "slope": setting_in.slope,
    "effects": axes.effects,
    "gap": axes.gap,
    "few_distinct": few_distinct,
    "refused": membership.refused_in_study,
    "blind": blind,
    "controls": controls,
    "undecided": undecided.undecided,
    "settle": undecided.settle,
    "first_copies": first_copies,
    "leaning": leaning,
    "membership": membership.told_in_study,
    "calibrated": calibrated.distinguishes_in_study,
    "exposed": exposed.stand_out,
    "stopping": stopping,
    "efficiency": efficiency.saved,
    "repeats": repeats,
    "held_out_left_out": held_out_left_out,
}
