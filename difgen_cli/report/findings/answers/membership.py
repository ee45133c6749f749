"""Can one tell who was in? By the denoising error at one level that is fixed beforehand, beside a blind classifier."""

from __future__ import annotations

from difgen_cli.report.findings.answers.evidence import Answer, Evidence, State
from difgen_cli.report.findings.membership import AREA, SELF, direction, is_of_own_samples
from difgen_cli.report.findings.numbers import Row, percent, share
from difgen_cli.report.study import blind

QUESTION = "Can one tell who was in?"
BESIDE = "mia_reference_auc_025"  # the same error over that of a reference model
FOUND, FOUND_AT_TEN = "mia_tpr_1pct_025", "mia_tpr_10fp"
SLIGHT = 0.65  # of pairs, at most: more than chance, and few of the training images are found


def can_one_tell(evidence: Evidence) -> Answer:
    """From the area under the curve: how often the error picks the training image of a pair."""
    row = evidence.row
    if evidence.absent or not evidence.compared:
        return evidence.not_measured(QUESTION, "membership")
    if answer := evidence.of_another_kind(QUESTION):
        return answer
    if not row.has_values(AREA):
        return evidence.not_measured(QUESTION, "membership")
    where = direction(row)
    if where is None:
        reason = "There are too few images to form an interval."
        return Answer(QUESTION, State.UNKNOWN, (reason,), remedy=_more(evidence))
    pairs = (
        "Of one training and one held-out image, the model's error tells which is which in "
        f"{share(row, AREA)} of cases, where chance gives 50 %"
    )
    without = row[blind.AREA]
    if without is not None:
        pairs += f" and a classifier without the model {share(row, blind.AREA)}"
    if where < 0:
        sentences = (f"{pairs}.", "The training images are denoised worse than the others: the two sets differ.")
        return Answer(QUESTION, State.UNKNOWN, sentences, remedy=_more(evidence))
    lower, upper = row.number(f"{AREA}_lo"), row.number(f"{AREA}_hi")
    if where > 0 and lower > (without or 0.0):
        lead = "Yes, slightly better than by chance" if upper <= SLIGHT else "Yes"
        return Answer(QUESTION, State.YES, (*_found(row), f"{pairs}.", *_own(row), *_beside(row)), lead)
    excluded = "the model is not shown to add to what is told without it" if where > 0 else "chance is not excluded"
    seen = f"Had it been above {percent(upper)}, it would have been seen; stronger attacks were not run."
    # Either is wrong in at most 2.5 % of models without a trace, so both together in at most 5 %.
    if row.has_values(BESIDE, f"{BESIDE}_lo") and row.number(f"{BESIDE}_lo") > max(0.5, without or 0.0):
        return Answer(QUESTION, State.YES, _beside(row), "Yes, beside the reference model")
    return Answer(QUESTION, State.NOT_SHOWN, (f"{pairs}: {excluded}.", *_beside(row), seen))


def _own(row: Row) -> tuple[str, ...]:
    """The control that scores the model's own samples as if they were training images."""
    if not is_of_own_samples(row):
        return ()
    return (
        f"Its own samples are told from held-out images in {share(row, SELF)} of cases: they are copies, or the error "
        "is low for all that the model makes.",
    )


def _beside(row: Row) -> tuple[str, ...]:
    """The same beside a reference model, where one was given."""
    if not row.has_values(BESIDE, f"{BESIDE}_lo", f"{BESIDE}_hi"):
        return ()
    return (f"As a share of the reference model's error, it tells which is which in {share(row, BESIDE)} of cases.",)


def _found(row: Row) -> tuple[str, ...]:
    """The share of training images that is found at few false alarms, where enough held-out images say so."""
    if row.has_values(FOUND):
        return (f"At 1 % of false alarms {share(row, FOUND)} of the training images are found.",)
    if row.has_values(FOUND_AT_TEN, f"{FOUND_AT_TEN}_rate"):
        rate, part = percent(row.number(f"{FOUND_AT_TEN}_rate")), share(row, FOUND_AT_TEN)
        return (f"At ten false alarms ({rate} of the held-out images) {part} of the training images are found.",)
    return ()


def _more(evidence: Evidence) -> str:
    command = evidence.subject.command("--held-out", "HELD_OUT", held_out=False)
    return f"{command}, more images of the same source"
