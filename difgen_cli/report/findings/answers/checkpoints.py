"""When did it begin? The first checkpoint at which copies are shown, and that of the least held-out loss."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.findings import copies
from difgen_cli.report.findings.answers import copying
from difgen_cli.report.findings.answers.evidence import Answer, Evidence, State
from difgen_cli.report.findings.numbers import Row, count, counted

QUESTION = "When did it begin?"


def when_did_it_begin(evidence: Evidence) -> Answer:
    """From the same rule for copies at each checkpoint."""
    measured = [point for point in evidence.checkpoints if point.row.has_values("mem_frac")]
    if len(measured) < 2:
        return evidence.not_measured(QUESTION, "memorization")
    steps = [point.step for point in measured]
    copying_at = [point.step for point in measured if copying.shows(evidence, point.row)]
    stop = _least_loss(evidence)
    if not copying_at:
        if not any(_can_see(evidence, point.row) for point in measured):
            reason = "At no checkpoint can it be told whether samples are copies."
            remedy = copying.does_it_copy(evidence).remedy
            return Answer(QUESTION, State.UNKNOWN, (reason, *stop), remedy=remedy)
        reach = f"{count(len(measured), 'checkpoint')}, from step {steps[0]:,} to {steps[-1]:,}"
        return Answer(QUESTION, State.NOT_SHOWN, (f"At none of {reach}, are copies shown.", *stop))
    first = copying_at[0]
    later = [step for step in steps if step > first]
    missing = [step for step in later if step not in copying_at]
    sentences = [_at(next(point.row for point in measured if point.step == first))]
    if missing:
        sentences.append(f"Not at every later one: at {len(missing)} of {len(later)} copies are not shown.")
    if first == steps[0]:
        sentences.append("There is no earlier checkpoint, so that the beginning may be earlier.")
        return Answer(QUESTION, State.YES, (*sentences, *stop), lead=f"At step {first:,} or before")
    before = max(step for step in steps if step < first)
    sentences.append(f"At step {before:,}, the one before, they are not shown.")
    return Answer(QUESTION, State.YES, (*sentences, *stop), lead=f"Copies are first shown at step {first:,}")


def _at(row: Row) -> str:
    return f"There, {counted(row, 'mem_frac')} count as copies."


def _can_see(evidence: Evidence, row: Row) -> bool:
    blind = copies.ratio_is_blind(row, evidence.copycat) or row.constant or row.few
    return not blind and row.has_values("mem_frac_control_hi")


def _least_loss(evidence: Evidence) -> tuple[str, ...]:
    """Where training would have stopped by its held-out loss."""
    line = evidence.least_loss
    if line is None or evidence.differs:
        return ()
    if pd.notna(line["step"]):
        return (f"The held-out error is least at step {line['step']:,.0f}.",)
    end = "last" if line["censored"] == "right" else "first"
    return (f"The held-out error is least at the {end} checkpoint, so that its least may lie outside of them.",)
