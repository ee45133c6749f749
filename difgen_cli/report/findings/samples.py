"""Sentences for one set of samples, compared with held-out images and an exact copier.

`RULES` are in the order in which a reader must hear them: first what makes the other numbers say little, then copies,
then the lean towards the training images, then what the measures could not have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from difgen_cli.report.findings import canaries, cliques, copies, cost, membership, one_run, spaces
from difgen_cli.report.findings.numbers import Row, count, percent, share, value
from difgen_cli.report.plotting import labels
from difgen_cli.report.study import blind

Rule = Callable[[Row, Row], str | None]  # the samples' row, an exact copier's (empty where it was not scored)


def of_samples(row: Mapping[str, Any], copycat: Mapping[str, Any] | None = None) -> list[str]:
    """The sentences for one row of samples; `copycat`: the row of resampled training images."""
    return [sentence for _, sentence in rules_that_speak(row, copycat)]


def rules_that_speak(row: Mapping[str, Any], copycat: Mapping[str, Any] | None = None) -> Iterator[tuple[str, str]]:
    """The name of each rule that has something to say, and its sentence."""
    samples, copier = Row(row), Row(copycat or {})
    for name, rule in RULES.items():
        sentence = rule(samples, copier)
        if sentence:
            yield name, sentence


# What the samples are ------------------------------------------------------------------------------------------------


def one_colour(row: Row, _: Row) -> str | None:
    constant = row["sample_constant"]
    if not constant:
        return None
    if row.constant:
        return "All samples are of a single colour: these measures say nothing about copying here."
    of = f" of {row['sample.count']:,.0f}" if row.has_values("sample.count") else ""
    verb = "is" if constant == 1 else "are"
    return f"{constant:,.0f}{of} samples {verb} of a single colour; the preference ignores them."


def few_distinct(row: Row, _: Row) -> str | None:
    distinct, n = row["sample_distinct"], row["sample.count"]
    if distinct is None or row.constant:
        return None
    if not row.few:
        many_repeat = n is not None and 2 * distinct <= n
        return f"The {n:,.0f} samples are {distinct:,.0f} distinct images." if many_repeat else None
    if distinct == 1:
        return "All samples are one image: a share of samples does not show how often the model copies."
    return (
        f"The samples are only {distinct:.0f} distinct images: a share of samples does not show how often the model "
        "copies, and intervals over samples are not valid."
    )


def old_version(row: Row, _: Row) -> str | None:
    """Rows of `memorization` before version 3 know nothing of repeats."""
    if not row["near_duplicates"] or row.has_values("train_distinct"):
        return None
    return (
        f"{count(row.number('near_duplicates'), 'training image')} have a near-duplicate among the others, and the "
        "version of memorization that computed these numbers misses copies of them: score again."
    )


# The lean towards the training images --------------------------------------------------------------------------------


class Lean(StrEnum):
    """Whether samples are nearer to training images than as many unseen images are."""

    NEARER = "nearer"
    FARTHER = "farther"
    NONE = "none"  # and an exact copier's value is outside of the interval
    UNDECIDED = "undecided"


def leaning(row: Row) -> tuple[Lean, str]:
    """Where the samples lean, and why where that cannot be decided."""
    if row["train_pref_images"] == 0:
        return Lean.UNDECIDED, "repeats leave too few distinct held-out images to compare with"
    if not row.has_values("train_pref_excess"):
        return Lean.UNDECIDED, f"too few distinct samples were compared ({row['train_pref_distinct'] or 0:.0f})"
    if not row.has_values("train_pref_excess_lo", "train_pref_excess_hi"):
        if row.has_values("train_pref_winners"):
            deciding = count(round(row.number("train_pref_winners")), "distinct image")
            return Lean.UNDECIDED, f"the answer depends on about {deciding}, too few"
        return Lean.UNDECIDED, "there are too few images to form an interval"
    if row.number("train_pref_excess_lo") > 0:
        return Lean.NEARER, ""
    upper, copier = row.number("train_pref_excess_hi"), row["train_pref_copycat"]
    if upper < 0:
        return Lean.FARTHER, ""
    if copier is not None and upper >= copier:
        return Lean.UNDECIDED, f"the value of an exact copier, {labels.number(copier)}, is within the interval"
    return Lean.NONE, ""


def lean(row: Row, _: Row) -> str | None:
    """Are samples nearer to training images than as many unseen images are? With what an exact copier would read."""
    if "train_pref_excess" not in row or row.constant or blind.reason(row.values):
        return None
    if not row.has_values("train_pref_excess") and row["train_pref_distinct"] is None:
        return None
    verdict, why = leaning(row)
    numbers = f"train_pref_excess {value(row, 'train_pref_excess')}" if row.has_values("train_pref_excess") else ""
    if verdict is Lean.UNDECIDED:
        numbers = f" ({numbers})" if row.has_values("train_pref_excess_lo", "train_pref_excess_hi") else ""
        return (
            "Whether the samples lie nearer to the training images than held-out images do cannot be decided: "
            f"{why}{numbers}."
        )
    if verdict is Lean.NEARER:
        part = f", {share(row, 'train_pref_share')} of an exact copier's value" if has_share(row) else ""
        return f"The samples lie nearer to the training images than held-out images do: {numbers}{part}."
    if verdict is Lean.FARTHER:
        return f"The samples lie nearer to the held-out images than other held-out images do: {numbers}."
    limit = ""
    if has_share(row):
        limit = f"; the interval ends at {percent(row.number('train_pref_share_hi'))} of an exact copier's value"
    return f"No preference of the samples for the training images was found: {numbers}{limit}."


# What could not have been seen ---------------------------------------------------------------------------------------


def repeats(row: Row, _: Row) -> str | None:
    if not row["near_duplicates"] or not row.has_values("train_distinct"):
        return None
    near, distinct = row.number("near_duplicates"), count(row.number("train_distinct"), "distinct image")
    return (
        f"{count(near, 'training image')} {'has a' if near == 1 else 'have'} near-duplicate{'' if near == 1 else 's'} "
        f"in the training set: repeats count as one image, which leaves {distinct}."
    )


def held_out_left_out(row: Row, _: Row) -> str | None:
    left_out = row["near_duplicates_held_out"]
    if not left_out:
        return None
    return (
        f"{count(left_out, 'held-out image was', 'held-out images were')} excluded: an image that may be trained on is "
        "nearly the same, as it is or mirrored."
    )


def nothing_found(row: Row, copier: Row) -> str | None:
    """Said only where every measure that was scored could see, and saw nothing; it is no proof of absence."""
    needed = ("mem_frac", "mem_frac_control_hi", "train_pref_excess", "train_pref_excess_lo", "train_pref_excess_hi")
    if not row.has_values(*needed) or row.few or row["sample_constant"] or copies.ratio_is_blind(row, copier):
        return None
    if blind.reason(row.values):
        return None
    of_copies = (copies.identical, copies.changed_copies, copies.copies_by_parts, copies.unusually_near)
    if any(rule(row, copier) for rule in (old_version, *of_copies)) or spaces.copied(row):
        return None
    if row.above("mem_frac", "mem_frac_control"):
        return None
    if not row.number("train_pref_excess_lo") <= 0 <= row.number("train_pref_excess_hi"):
        return None
    copycat = row["train_pref_copycat"]
    if copycat is not None and row.number("train_pref_excess_hi") >= copycat:
        return None
    weak = "weak copies and " if (row["mem_power"] or 0.0) < copies.SURE_POWER else ""
    return (
        "No measure here distinguishes the samples from images that were never trained on; "
        f"{weak}copies that are changed more (for example, rotated) can be missed."
    )


def has_share(row: Row) -> bool:
    return row.has_values("train_pref_share", "train_pref_share_lo", "train_pref_share_hi")


# name -> rule, in the order in which they are told
RULES: dict[str, Rule] = {
    "one_colour": one_colour,
    "few_distinct": few_distinct,
    "old_version": old_version,
    "refused": membership.refused,
    "ratio_is_blind": copies.ratio_is_blind,
    "identical": copies.identical,
    "ratio_copies": copies.ratio_copies,
    "changed_copies": copies.changed_copies,
    "copies_by_parts": copies.copies_by_parts,
    "unusually_near": copies.unusually_near,
    "ratio_silent": copies.ratio_silent,
    "power": copies.power,
    "first_copy": cost.first_copy,
    "in_a_space": spaces.in_a_space,
    "made_again": cliques.made_again,
    "lean": lean,
    "membership": membership.distinguishes,
    "pulled": spaces.pulled,
    "reproduced": spaces.reproduced,
    "inversion": membership.inverts,
    "basins": membership.gives_back,
    "one_run": one_run.shown,
    "canaries": canaries.shown,
    "repeats": repeats,
    "held_out_left_out": held_out_left_out,
    "nothing_found": nothing_found,
}
