"""The answers where nobody knows the training images: what samples alone show is a sign, and no answer."""

from __future__ import annotations

from difgen_cli.report.findings.answers import copying
from difgen_cli.report.findings.answers.evidence import Answer, Evidence, State
from difgen_cli.report.findings.cliques import SHARE, made_again
from difgen_cli.report.findings.numbers import percent

REASON = "The training images are not known, and nothing can be a copy of unknown images."


def cannot_be_told(question: str, evidence: Evidence) -> Answer:
    """The answer to any question; of copies, with how many samples the model makes again."""
    again = _again(evidence) if question == copying.QUESTION else None
    sentences = (REASON, *([again] if again else []))
    return Answer(question, State.UNKNOWN, sentences, remedy=evidence.subject.command("--against", "TRAIN"))


def _again(evidence: Evidence) -> str | None:
    """How many samples are made again, also where it is none."""
    row = evidence.row
    if row.has_values(SHARE) and not row[SHARE]:
        return f"No sample is nearly the same as another: the share is below {percent(row.number(f'{SHARE}_hi'))}."
    return made_again(row, evidence.copycat)
