"""The answers of an audit: for each question of a stranger one of three states, in plain words, with intervals.

Yes, with its numbers; not shown, with what would have been seen; or cannot be told, with the reason and what would
settle it. Whether something is shown is decided by the rules of `findings`; here are questions and words, without names
of columns.
"""

from __future__ import annotations

from collections.abc import Callable

from difgen_cli.report.findings.answers import (
    at_least,
    checkpoints,
    claims,
    copying,
    generalising,
    images,
    membership,
    unknown_train,
)
from difgen_cli.report.findings.answers.evidence import Answer, AuditedModel, Evidence, State

__all__ = ["NOT_TESTED", "NOT_TESTED_IS_NOT_SAFE", "Answer", "AuditedModel", "Evidence", "State", "answered"]

# What others ask of a model before its release (EDPB opinion 28/2024, paragraph 55), and no audit of difgen runs
NOT_TESTED = (
    "model inversion",
    "attribute inference",
    "extraction by guided or conditioned sampling",
)
NOT_TESTED_IS_NOT_SAFE = "What is not tested is not shown to be safe."

QUESTIONS: tuple[Callable[[Evidence], Answer], ...] = (
    copying.does_it_copy,
    membership.can_one_tell,
    images.which_images,
    at_least.how_much,
    generalising.does_it_generalise,
)


def answered(evidence: Evidence) -> list[Answer]:
    """The answers, in the order of the page; when copying began only where there are several checkpoints."""
    if not evidence.subject.train:
        modules = (copying, membership, images, at_least, generalising)
        answers = [unknown_train.cannot_be_told(module.QUESTION, evidence) for module in modules]
        return [*answers, *claims.were_they_used(evidence)]
    answers = [question(evidence) for question in QUESTIONS]
    if len(evidence.checkpoints) > 1:
        answers.append(checkpoints.when_did_it_begin(evidence))
    return [*answers, *claims.were_they_used(evidence)]
