"""What a study cannot conclude, why, and which further cells would settle it.

Each question follows from numbers that do not decide, and names what would: sizes between the last that copies and the
first that does not, longer training where nothing has set in, seeds or samples by a calculation of power.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd

from difgen_cli.engine.plan.rounds import NOT_NEEDED
from difgen_cli.report.findings import levels, setting_in
from difgen_cli.report.findings.numbers import between, count, percent
from difgen_cli.report.plotting import labels
from difgen_cli.report.study import extension, power
from difgen_cli.report.study.curves import SIZE, STEPS, Curves, absent_by_state, last_snapshot, per_group
from difgen_cli.report.study.extension import Extension
from difgen_cli.report.study.verdicts import ONSET, SHARE, CopyState, seen

SHOWN = 4  # questions that the sentence names
CLOSE = 1.5  # ratio of two sizes, from which on one between them is worth a training
BETWEEN_MOST, BRACKETS_MOST = 3, 2
LONGER, EARLIER = (2, 4), (2, 4)  # times the last step, and parts of the first one
FIRST_SEEDS = 3
SMALL = 0.05  # of a share: a change that is surely smaller is no open question


NOTHING = Extension()  # where more cells like these settle nothing


@dataclass(frozen=True)
class Question:
    """words: what is not known, after `it is not known`. why: the end of the sentence. extension: cells that decide."""

    words: str
    why: str
    extension: Extension = NOTHING


def questions(curves: Curves) -> list[Question]:
    """All that a study leaves open, the most important first."""
    possible = extension.possible(curves)
    return [question for rule in QUESTIONS for question in rule(curves, possible)]


def undecided(curves: Curves, _: pd.DataFrame) -> str | None:
    """The questions, numbered, so that the next sentence can name them."""
    asked = questions(curves)
    if not asked:
        return None
    parts = [f"({number}) {one.words}: {one.why}" for number, one in enumerate(asked[:SHOWN], 1)]
    more = f"; and {count(len(asked) - SHOWN, 'more question')}" if len(asked) > SHOWN else ""
    return f"It is not known {'; '.join(parts)}{more}."


def settle(curves: Curves, _: pd.DataFrame) -> str | None:
    """The cells that would settle them, and what they cost; None where more cells of this kind settle nothing."""
    asked = questions(curves)[:SHOWN]
    further = extension.joined(one.extension for one in asked)
    if not further:
        return None
    numbers = [f"({number})" for number, one in enumerate(asked, 1) if one.extension]
    needed = extension.cost(curves, further)
    trainings = f" in {count(needed.trainings, 'training')}" if needed.trainings else ""
    cells = f"{'' if needed.exact else 'About '}{count(needed.cells, 'new cell')}{trainings}"
    return (
        f"{cells} would settle {levels.listed(numbers)}: {described(further)}; "
        "`difgen report --settle FILE` writes them as a grid that keeps what there is."
    )


def wanted(curves: Curves) -> Extension:
    """The cells that settle the questions that `undecided` names."""
    return extension.joined(one.extension for one in questions(curves)[:SHOWN])


def described(further: Extension) -> str:
    """`N = 128; snapshots at step 8000 and 16000 at N from 128 to 768; 5 seeds`."""
    parts = [levels.named(SIZE, [str(size) for size in further.sizes])] if further.sizes else []
    for steps, low, high in (
        (further.earlier, -math.inf, further.earlier_to), (further.later, further.later_from, further.later_to)
    ):  # fmt: skip
        if steps:
            parts.append(f"snapshots at step {levels.listed([str(step) for step in steps])}{_within(low, high)}")
    parts += [f"{further.seeds} seeds"] if further.seeds else []
    parts += [f"{further.samples:,} samples of each"] if further.samples else []
    return "; ".join(parts)


def _within(low: float, high: float) -> str:
    """` at N from 64 to 256`; nothing without ends."""
    if low == high:
        return f" at N = {labels.text(low)}"
    if math.isfinite(low):
        return f" at N from {labels.text(low)} to {labels.text(high)}"
    return f" at N up to {labels.text(high)}" if math.isfinite(high) else ""


# The rules: what numbers leave open ----------------------------------------------------------------------------------


def absent(curves: Curves, _: frozenset[str]) -> Iterator[Question]:
    """Cells that are planned, needed and not done."""
    without = absent_by_state(curves.cells)
    failed, planned = without.pop("failed", 0), len(curves.cells) - without.pop(NOT_NEEDED, 0)
    missing = sum(without.values())
    if missing:
        yield Question("what the missing cells show", f"{missing} of {count(planned, 'cell')}; run the sweep again")
    if failed:
        yield Question(
            "what the failed cells show", f"{failed} of {count(planned, 'cell')}; sweep again with --retry failed"
        )


def where_it_stops(curves: Curves, possible: frozenset[str]) -> Iterator[Question]:
    """Neighbouring sizes of which the smaller has copies and the larger has none."""
    brackets = _brackets(curves)
    for low, high in brackets[:BRACKETS_MOST]:
        planned = curves.axis(SIZE).values
        sizes = tuple(size for size in _between(low, high) if "sizes" in possible and size not in planned)
        why = "no size between was trained"
        yield Question(
            f"where between N = {labels.text(low)} and {labels.text(high)} copying stops", why, Extension(sizes=sizes)
        )


def later(curves: Curves, possible: frozenset[str]) -> Iterator[Question]:
    """Settings where nothing has set in by the last snapshot."""
    none = curves.verdicts[(curves.verdicts["state"] == CopyState.NONE) & curves.verdicts["final"]]
    if none.empty or STEPS not in curves.paths or none["step"].isna().all():
        return
    last = int(none["step"].max())
    deciding = NOTHING
    if "steps" in possible and last == int(max(curves.axis(STEPS).values)):
        sizes = none[SIZE].astype(str).astype(float) if SIZE in curves.paths and curves.axis(SIZE).numeric else None
        low, high = (-math.inf, math.inf) if sizes is None else (float(sizes.min()), float(sizes.max()))
        deciding = Extension(later=tuple(last * times for times in LONGER), later_from=low, later_to=high)
    where = setting_in.place(curves, none)
    yield Question(f"whether copying sets in later{where}", f"training ended at step {last:,}", deciding)


def unseen(curves: Curves, _: frozenset[str]) -> Iterator[Question]:
    """Settings where the ratio rule cannot tell; more cells like these would not either."""
    reasons = {
        CopyState.UNSEEN: "no more are found than among held-out images, and the rule {}",
        CopyState.BLIND: "the rule calls up to {} of held-out images copies",
        CopyState.FEW: "the samples are a handful of distinct images",
    }
    for state, reason in reasons.items():
        settings = curves.verdicts[curves.verdicts["state"] == state]
        if settings.empty:
            continue
        caught = (
            f"catches only {between(settings['power'])} of copies with noise of 0.1 a pixel"
            if settings["power"].notna().any()
            else "was not tried on known copies"
        )
        number = caught if state == CopyState.UNSEEN else percent(float(settings["control"].max()))
        where = setting_in.place(curves, settings)
        yield Question(f"whether samples are copies{where}", reason.format(number))


def seeds_differ(curves: Curves, possible: frozenset[str]) -> Iterator[Question]:
    """Settings where some seeds have copies and others not: more samples, where they would decide; else more seeds."""
    settings = curves.verdicts[curves.verdicts["state"] == CopyState.DIFFER]
    if settings.empty:
        return
    seeds = int(settings["seeds"].max())
    samples = _samples(curves) if "samples" in possible else None
    deciding = Extension(samples=samples) if samples else NOTHING
    if not samples and "seeds" in possible and 2 * seeds <= power.MOST_SEEDS:
        deciding = Extension(seeds=2 * seeds)
    where = setting_in.place(curves, settings)
    yield Question(
        f"whether models copy{where}", f"in {int(settings['above'].sum())} of {int(settings['seeds'].sum())} trainings "
        "the rule finds more than among held-out images", deciding
    )  # fmt: skip


def one_seed(curves: Curves, possible: frozenset[str]) -> Iterator[Question]:
    if curves.seeds == 1 and curves.cells["seed"].nunique() == 1:
        deciding = Extension(seeds=FIRST_SEEDS) if "seeds" in possible else NOTHING
        other = "another subset or initialisation" if STEPS in curves.cells else "another subset"
        yield Question(f"how much {other} would differ", "there is one seed", deciding)


def no_slope(curves: Curves, possible: frozenset[str]) -> Iterator[Question]:
    """Sizes at which copying is there at the first snapshot: when it set in is not known, and neither is the slope."""
    runs = curves.onsets.runs
    if (
        SIZE not in curves.paths
        or not curves.axis(SIZE).numeric
        or f"{ONSET}_lo" not in runs
        or STEPS not in curves.paths
    ):
        return
    if len(curves.copying_slopes):
        return
    left = seen(curves, runs[(runs[f"{ONSET}_lo"] == 0) & runs[f"{ONSET}_hi"].notna()])
    if left.empty:
        return
    first = int(min(curves.axis(STEPS).values))
    steps = tuple(sorted({first // part for part in EARLIER} - {0})) if "steps" in possible else ()
    largest = float(left[SIZE].astype(str).astype(float).max())
    deciding = Extension(earlier=steps, earlier_to=largest) if steps else NOTHING
    yield Question(
        "how the step at which copying sets in grows with N",
        f"at {levels.among(curves.axis(SIZE), set(left[SIZE].astype(str)))} it is there at the first snapshot",
        deciding,
    )


def open_effects(curves: Curves, possible: frozenset[str]) -> Iterator[Question]:
    """Axes whose effect on copies has a wide interval that holds 0, with the seeds that an effect of its size needs."""
    planned = curves.cells["seed"].nunique()  # those that are to come may decide
    for effect in curves.effects:
        small = max(abs(effect.lo), abs(effect.hi)) <= SMALL  # then little is left to find
        if not effect.has_interval or effect.decided or effect.opposite or small:
            continue  # two signs are no question of more seeds
        if effect.metric != SHARE or effect.seeds < planned:
            continue
        needed = power.seeds_needed(effect.mean, effect.spread, effect.seeds) if effect.spread > 0 else None
        interval = f"{labels.number(effect.mean)} [{labels.number(effect.lo)}, {labels.number(effect.hi)}]"
        why = f"{interval} over {count(effect.seeds, 'seed')}; "
        if needed is None:
            why += f"a change of this size would need more than {power.MOST_SEEDS} seeds"
        else:
            why += f"a change of this size would show with {needed} in {percent(power.POWER)} of studies"
        deciding = Extension(seeds=needed) if needed and "seeds" in possible else NOTHING
        changed = " against ".join(labels.level(effect.axis, one) for one in (effect.level, effect.against))
        yield Question(f"whether {changed} changes {SHARE}", why, deciding)


def _brackets(curves: Curves) -> list[tuple[float, float]]:
    """Neighbouring sizes that are not close, the smaller with copies and the larger without; the widest pair first."""
    if SIZE not in curves.paths or not curves.axis(SIZE).numeric:
        return []
    axis, pairs = curves.axis(SIZE), set()
    values = dict(zip(axis.levels, axis.values, strict=True))
    others = [path for path in curves.paths if path not in (STEPS, SIZE)]
    for _, group in per_group(curves.verdicts, others):
        sized = group.assign(images=[values[str(size)] for size in group[SIZE]]).sort_values("images")
        states = sized[["images", "state", "final"]].itertuples(index=False)
        for (low, first, _), (high, second, final) in itertools.pairwise(states):
            if first == CopyState.COPIES and second == CopyState.NONE and final and high > CLOSE * low:
                pairs.add((low, high))
    return sorted(pairs, key=lambda pair: (-pair[1] / pair[0], pair))


def _between(low: float, high: float) -> tuple[int, ...]:
    """Whole sizes between two, evenly spaced on a log scale: about one for each doubling, at most three."""
    number = min(BETWEEN_MOST, max(1, round(math.log2(high / low)) - 1))
    sizes = {round(low * (high / low) ** (k / (number + 1))) for k in range(1, number + 1)}
    return tuple(sorted(size for size in sizes if low < size < high))


def _samples(curves: Curves) -> int | None:
    """Samples that decide every cell whose share is above its control's interval and its own interval is not."""
    cells = last_snapshot(curves.cells, curves.paths).dropna(subset=[SHARE, f"{SHARE}_lo", f"{SHARE}_control_hi"])
    close = cells[
        (cells[SHARE] > cells[f"{SHARE}_control_hi"]) & (cells[f"{SHARE}_lo"] <= cells[f"{SHARE}_control_hi"])
    ]
    needed = [
        power.samples_needed(float(row[SHARE]), float(row[f"{SHARE}_control_hi"]), int(row[extension.COUNT]))
        for row in close.to_dict("records")
    ]
    sufficient = [n for n in needed if n is not None]
    return max(sufficient) if needed and len(sufficient) == len(needed) else None


# in the order of importance
QUESTIONS: tuple[Callable[[Curves, frozenset[str]], Iterator[Question]], ...] = (
    absent,
    where_it_stops,
    seeds_differ,
    later,
    unseen,
    one_seed,
    open_effects,
    no_slope,
)
