"""Which images? The training images that are copied, how often each stands in the training set, and which stand out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from difgen_cli.report.findings.answers import copying, membership
from difgen_cli.report.findings.answers.evidence import Answer, Evidence, State
from difgen_cli.report.findings.numbers import count, percent
from difgen_cli.report.plotting import labels

QUESTION = "Which images?"
NAMED = 3  # copied images that the answer names; the page shows more


def which_images(evidence: Evidence) -> Answer:
    """The copied images, as far as copies are shown; beside them those that the model denoises best, which ranks them
    and shows nothing of any one: the state is that of copies."""
    answer = _copied(evidence)
    return replace(answer, sentences=(*answer.sentences, *standing_out(evidence)))


def standing_out(evidence: Evidence) -> tuple[str, ...]:
    """How many training images have a lower error than nearly all held-out ones, where one can tell who was in."""
    best = evidence.standing_out
    if best is None or best.images.empty or membership.can_one_tell(evidence).state is not State.YES:
        return ()
    total = len(best.images)
    return (
        f"{total:,} of {count(best.asked, 'training image')} {'has' if total == 1 else 'have'} a lower "
        f"error than all but ten of the {best.unseen:,} held-out ones, where chance alone would give "
        f"{labels.number(best.by_chance)}: this list has a reliability of {percent(best.reliability)}, the share "
        "that is more than chance.",
        "It ranks images and convicts none: those that are easy for any model come first.",
    )


def _copied(evidence: Evidence) -> Answer:
    if evidence.absent:
        return evidence.not_measured(QUESTION, "memorization")
    copied, answer = evidence.copied, copying.does_it_copy(evidence)
    if answer.state is State.UNKNOWN:
        return Answer(QUESTION, State.UNKNOWN, ("Whether it copies cannot be told.",), remedy=answer.remedy)
    if answer.state is State.NOT_SHOWN:
        return Answer(QUESTION, State.NOT_SHOWN, ("No training image is shown to be copied.",))
    if copied is None or copied.images.empty:
        reason = "Which training images the copies are of was not measured."
        return Answer(QUESTION, State.UNKNOWN, (reason,), remedy=evidence.subject.command())
    total = len(copied.images)
    repeated = "none of them stands" if not copied.repeated else (
        "all of them stand" if copied.repeated == total > 1 else f"{copied.repeated:,} of them "
        f"{'stands' if copied.repeated == 1 else 'stand'}"
    )  # fmt: skip
    if total == 1:
        repeated = "it stands" if copied.repeated else "it does not stand"
    sentences = [f"{repeated[:1].upper()}{repeated[1:]} twice or more in the training set."]
    most = [_named(line) for line in copied.images.head(NAMED).to_dict("records")]
    sentences.append(f"Most often: {', '.join(most)}." if total > 1 else f"It is {most[0]}.")
    sentences.append("Other images may be copied that these samples do not show.")
    return Answer(QUESTION, State.YES, tuple(sentences), lead=count(total, "training image"))


def _named(line: dict[Any, Any]) -> str:
    """`image 17 (5 samples, 2 times in it)`."""
    name = line.get("name") or f"image {line['place'] + 1:,}"
    return f"{name} ({count(line['samples'], 'sample')}, {count(line['times'], 'time')} in it)"
