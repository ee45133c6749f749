"""Why cells are not done, as `difgen plan` says it: one sentence or two for all that have the same reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from difgen_cli.format import counted

if TYPE_CHECKING:
    from difgen_cli.engine.plan.recipe_changes import Change
    from difgen_cli.engine.plan.why import ReasonGroup

SHOWN = 6  # values that a sentence lists
DIGITS = 16  # of a content or of the hash of code, which say nothing to a person


def sentence(group: ReasonGroup) -> str:
    """The reasons of a group and what is made, in plain words."""
    if group.mark == "needed":
        more = "1 more training is" if len(group.trained) == 1 else f"{len(group.trained):,} more trainings are"
        return f"{more} for what cells compare with, begin with or steer away from."
    what = counted(len(group.cells), "reference row" if group.reference else "cell")
    head, _, noun = what.partition(" ")
    reasons = [_reason(change) for change in group.changes]
    if len(reasons) > 1:  # each with its own in brackets
        reasons = [f"{first} ({aside})" if aside else first for first, _, aside in (r.partition("; ") for r in reasons)]
    return f"{head} {group.mark} {noun}: {' and '.join(reasons)}. {_work(group)}"


def as_dict(group: ReasonGroup) -> dict[str, Any]:
    """A group for machines."""
    return {
        "mark": group.mark, "rows": "references" if group.reference else "cells", "cells": group.cells,
        "trained": sorted(group.trained), "continued": sorted(group.continued), "sampled": group.sampled,
        "changes": [
            {"kind": c.kind, "name": c.name, "new": list(c.new), "stored": list(c.stored)} for c in group.changes
        ],
        "sentence": sentence(group),
    }  # fmt: skip


def _reason(change: Change) -> str:
    new, stored = _listed(change.new), _listed(change.stored)
    several = len(change.new) > 1
    match change.kind:
        case "setting":
            how = "with these other settings" if change.used else "new"
            return f"{change.name} {new} {'are' if several else 'is'} {how}; nearest stored: {stored}"
        case "seed":
            return f"{'seeds' if several else 'seed'} {new} {'are' if several else 'is'} new; nearest stored: {stored}"
        case "step":
            have = f"stored are {stored}" if stored else "no step of it is stored"
            return f"{change.name} {new} {'are' if several else 'is'} new; {have}"
        case "version":
            if _is_hash(change.new) or _is_hash(change.stored):
                return f"the code of {change.name}, or a file that it reads, has changed"
            return f"{change.name} has version {new}; stored: {stored}"
        case "content":
            return f"the {change.name} {'are' if change.name.startswith(('labels', 'weights')) else 'is'} another one"
        case "metric":
            return f"the metric {change.name} is added"
        case "missing":
            return f"the {change.name} of step {new} is gone"
        case "damaged":
            return f"the {change.name} of step {new} was damaged, and is set aside"
        case "failed":
            return change.name.rstrip(".")
        case "distrusted":
            return "the weights were trained compiled by difgen 0.1.0, which did not check its gradients"
        case "unfinished":
            verb = "are" if change.name.endswith("s") else "is"
            return f"an earlier sweep planned this, and the {change.name} {verb} not there yet"
        case "empty":
            return "nothing like it is stored yet"
    return f"something that the {change.name} is made of is another one"


def _work(group: ReasonGroup) -> str:
    """What is made of them."""
    if group.mark == "failed":
        return "`difgen sweep --retry failed` tries again."
    parts = []
    for keys, how in ((group.trained, "trained"), (group.continued, "trained on from a checkpoint")):
        if keys:
            parts.append(f"{counted(len(keys), 'trajectory is', 'trajectories are')} {how}")
    cells = len(group.cells)
    if group.sampled == cells:
        parts.append(f"{'1 is' if cells == 1 else f'{cells:,} are'} sampled and scored")
    elif group.sampled:
        parts.append(f"{group.sampled:,} are sampled, all scored")
    else:
        parts.append(f"{'1 is' if cells == 1 else f'{cells:,} are'} {'' if parts else 'only '}scored")
    return f"{', '.join(parts)}."


def _listed(words: Sequence[str]) -> str:
    """Values in their order, the first of them if there are many."""
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return f"{', '.join(words[:SHOWN])}{more}"


def _is_hash(words: Sequence[str]) -> bool:
    """Whether a version is the hash of code or files, and no number that somebody wrote."""
    return any(len(word.partition("+")[0]) == DIGITS or "+" in word for word in words)
