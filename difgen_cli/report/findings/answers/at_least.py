"""How much at least? The least epsilon that guesses of coins show, beside the most that they could have shown."""

from __future__ import annotations

from difgen_cli.report.findings.answers.evidence import Answer, Evidence, State
from difgen_cli.report.findings.one_run import GUESSES, LEAST, MOST, RIGHT
from difgen_cli.report.plotting import labels

QUESTION = "How much at least?"
REMEDY = (
    "a training in which a coin of its own decides for each image whether it is used: a grid with data.draw: coin and "
    "score: [one_run], or with data.canaries and score: [canaries]; difgen plan GRID says the most that it can show"
)


def how_much(evidence: Evidence) -> Answer:
    """From right guesses of who was trained on, where chance alone decided that."""
    if evidence.absent:
        return evidence.not_measured(QUESTION, "one_run")
    row = evidence.row
    if not row.has_values(LEAST, MOST, RIGHT, GUESSES):
        reason = (
            "No lot decided which images were trained on, or nobody guessed it: without that, no number is a lower "
            "bound of what the training gives away."
        )
        return Answer(QUESTION, State.UNKNOWN, (reason,), remedy=REMEDY)
    least, most = (labels.number(row.number(name)) for name in (LEAST, MOST))
    guessed = f"{row.number(RIGHT):,.0f} of {row.number(GUESSES):,.0f} guesses of who was trained on are right"
    limit = f"All of them right would show {most}, and no number of right guesses more."
    if row.number(LEAST) > 0:
        lead = f"An epsilon of at least {least} for one image"
        return Answer(QUESTION, State.YES, (f"With 95 % confidence: {guessed}.", limit), lead)
    seen = f"{guessed[:1].upper()}{guessed[1:]}, which does not show that there is none."
    return Answer(QUESTION, State.NOT_SHOWN, ("No epsilon above 0 is shown.", seen, limit))
