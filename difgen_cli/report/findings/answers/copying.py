"""Does it copy? The copies among samples, beside those that the same rule finds among unseen images."""

from __future__ import annotations

import numpy as np

from difgen_cli.report.findings import copies, cost, samples, spaces
from difgen_cli.report.findings.answers.evidence import ELSEWHERE, Answer, Evidence, State
from difgen_cli.report.findings.numbers import Row, count, counted, percent, share
from difgen_cli.report.study.seeds import Z2, wilson

QUESTION = "Does it copy?"
RARE, MOST = 0.01, 0.5


def does_it_copy(evidence: Evidence) -> Answer:
    """From the copies among the samples of the last checkpoint."""
    row, copier = evidence.row, evidence.copycat
    if evidence.absent or ("mem_frac" not in row):
        return evidence.not_measured(QUESTION, "memorization")
    if row.constant:
        return _unknown("All samples are of a single colour.", "check how the model is read and sampled")
    if shown := _shown(row, copier):
        natural = _natural(evidence, row)
        return _yes(evidence, shown) if natural is None else _repeats(evidence, natural)
    if old := samples.old_version(row, copier):
        return _unknown(old, evidence.subject.command())
    if blind := copies.ratio_is_blind(row, copier):
        return _unknown(blind, "look at its samples beside their nearest training images (difgen show)")
    if row["mem_frac"] and not row.has_values("mem_frac_control_hi"):
        named = f"{counted(row, 'mem_frac')} count as copies, and nothing says how many unseen images would."
        without = evidence.without_held_out(QUESTION)
        return Answer(QUESTION, State.UNKNOWN, (named, *without.sentences), remedy=without.remedy)
    if row.few:
        few = samples.few_distinct(row, copier) or ""
        return _unknown(few, "check how the model is sampled: nearly all samples are the same")
    if evidence.strange and evidence.copied is not None:
        far = percent(evidence.copied.far or 0.0)
        return _unknown(
            f"The samples are not like the images: {far} of them are farther from every training image than 99 % of "
            "the held-out images are, as noise is. What it would copy if it were sampled well is not known.",
            "check how the model is read, its noise levels, and the steps of the sampler",
        )
    return _not_shown(evidence)


def shows(evidence: Evidence, row: Row) -> bool:
    """Whether the samples of a checkpoint are shown to be copies, beyond what unseen images give."""
    return bool(_shown(row, evidence.copycat)) and _natural(evidence, row) is None


def _shown(row: Row, copier: Row) -> list[str]:
    """What shows copies, as sentences; none where nothing does."""
    if row.constant:
        return []
    shown = [_plain(row)] if copies.beyond_control(row, copier) or copies.few_copies(row, copier) else []
    if (row["mem_identical"] or 0) > (row["sample_constant"] or 0):
        shown += [copies.identical(row, copier) or ""]
    return [*shown, *copies.of_other_kinds(row, copier), *spaces.copied(row)]


def _yes(evidence: Evidence, shown: list[str]) -> Answer:
    row = evidence.row
    lead = "Yes"
    if copies.beyond_control(row, evidence.copycat):
        lower, upper = row.number("mem_frac_lo"), row.number("mem_frac_hi")
        lead = "Yes, rarely" if upper < RARE else "Yes, mostly" if lower > MOST else "Yes"
    sentences = [*shown]
    if at := cost.first(row, evidence.copycat):
        sentences.append(at)
    if evidence.differs:
        sentences.append("Held-out images that are of another kind are a weak control of this.")
    if row.few:
        sentences.append(samples.few_distinct(row, evidence.copycat) or "")
    return Answer(QUESTION, State.YES, (*sentences, *_power(row)), lead)


def _plain(row: Row) -> str:
    """`23 of 10,000 samples [15, 34] are copies of 11 training images; of unseen images …`."""
    unique = f" of {count(row.number('mem_unique'), 'training image')}" if row.has_values("mem_unique") else ""
    verb = "is a copy" if counted(row, "mem_frac").startswith("1 of") else "are copies"
    return (
        f"{counted(row, 'mem_frac', interval=not row.few)} {verb}{unique}; of held-out images, "
        f"{share(row, 'mem_frac_control')} would count as copies."
    )


def _natural(evidence: Evidence, row: Row) -> float | None:
    """The share of held-out images that nearly repeat an image of the pool, where samples are copies no more often."""
    total, repeated = evidence.subject.held_out_images, row["near_duplicates_held_out"]
    lower = row["mem_frac_lo"]
    if not total or not repeated or lower is None or repeated >= total:
        return None
    part = repeated / total
    return part if lower <= float(wilson(np.array(part), np.array(Z2 / total))[1]) else None


def _repeats(evidence: Evidence, natural: float) -> Answer:
    """As many held-out images repeat a training image: the collection does so itself, or the two sets overlap."""
    subject = evidence.subject
    sentences = (
        f"{counted(evidence.row, 'mem_frac')} count as copies, but {percent(natural)} of the "
        f"{subject.held_out_images:,} held-out images are themselves nearly the same as an image outside of them.",
        "Either images repeat in this collection, or the held-out images were taken from the training images.",
    )
    remedy = f"{subject.command('--held-out', ELSEWHERE, held_out=False)}, images of the same source, never shown"
    return Answer(QUESTION, State.UNKNOWN, sentences, remedy=remedy)


def _not_shown(evidence: Evidence) -> Answer:
    row = evidence.row
    n = row["sample.count"] or (evidence.copied.samples if evidence.copied is not None else None)
    if row["mem_frac"] == 0 and n:
        first = cost.none_yet(n)
    else:
        first = (
            f"{counted(row, 'mem_frac')} count as copies; of held-out images, {share(row, 'mem_frac_control')} do: "
            "the samples are not shown to be copies more often."
        )
    weak = "Copies that are changed more, such as rotated ones, can be missed."
    against = () if row.has_values("mem_frac_control_hi") else ("There are no held-out images as a control.",)
    return Answer(QUESTION, State.NOT_SHOWN, (first, *against, *_power(row), weak))


def _power(row: Row) -> tuple[str, ...]:
    if not row.has_values("mem_power"):
        return ("How many copies would have been missed was not measured.",)
    return (f"A copy with noise of 0.1 a pixel would be seen in {percent(row.number('mem_power'))} of cases.",)


def _unknown(reason: str, remedy: str) -> Answer:
    return Answer(QUESTION, State.UNKNOWN, (reason,), remedy=remedy)
