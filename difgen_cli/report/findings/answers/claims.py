"""Was set X used? For each set of images that somebody claims: shown, not shown, or cannot be told. Never "not used".

Random twins and copies are evidence of use. Reference models show it as far as they are alike in all else. Control
images alone give no more than an indication, since images are not independent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from difgen_cli.report.findings import cost
from difgen_cli.report.findings.answers.evidence import Answer, Evidence, State
from difgen_cli.report.findings.numbers import Row, count, percent
from difgen_cli.report.plotting import labels
from difgen_cli.text import printable

SET_X = "Was set X used?"  # where nobody asked about one
LEVEL = 0.01  # of the corrected p-value below which use is shown
LEAST = 5  # images, and controls, below which no test is run
TWINS, COPIES, MODELS, IMAGES = 1, 2, 3, 4
BY = {TWINS: "random twins", COPIES: "copies among its samples", MODELS: "reference models", IMAGES: "control images"}
SHARE_WORDS = "The share of it that was used is"


def were_they_used(evidence: Evidence) -> list[Answer]:
    """One answer for each claim; that nobody asked, where there is none."""
    if not evidence.subject.claims:
        remedy = f"({evidence.subject.command('--claim', 'DIR')})"
        return [Answer(SET_X, State.NOT_ASKED, (remedy,))]
    lines = {int(row.number("claim")): row for row in evidence.claims}
    return [_answer(evidence, name, lines.get(place)) for place, name in enumerate(evidence.subject.claims)]


def _answer(evidence: Evidence, name: str, row: Row | None) -> Answer:
    question = printable(f"Was {name.rstrip('/')} used?")
    if row is None:
        return evidence.not_measured(question, "claim")
    rung = row["claim_rung"]
    if rung is None:
        return _untested(evidence, question, row)
    corrected = [] if row["claim_capped"] and rung == IMAGES else _corrected(evidence, row)
    sentences = [*WORDS[int(rung)](row), *corrected]
    also = _by_both(row)
    stronger = _stronger(int(rung))
    p, shown = _p(row), row.number("claim_p_holm") <= LEVEL
    if shown and rung != IMAGES:
        lead = f"Trained on: shown ({p}, by {BY[int(rung)]})"
        return Answer(question, State.YES, (*sentences, *also, *_share(row), *_cautious(int(rung))), lead)
    if int(rung) == IMAGES:
        return _indication(evidence, question, row, (*sentences, *also), shown)
    seen = _seen(row)
    if seen is None:
        reason = f"Trained on: cannot be told, because {_too_few(row)}"
        return Answer(question, State.UNKNOWN, (*also, *_share(row), stronger), reason)
    lead = f"Trained on: not shown ({p}, by {BY[int(rung)]})"
    return Answer(question, State.NOT_SHOWN, (*sentences, seen, *also, *_share(row), stronger), lead)


# What each test says -------------------------------------------------------------------------------------------------


def _by_twins(row: Row) -> tuple[str, ...]:
    pairs, right = row.number("claim_n"), row.number("claim_right")
    return (
        f"In {right:,.0f} of {count(pairs, 'pair')} the published twin is known better to the model than the one that "
        "a coin kept back; without use it would be half of them.",
    )


def _by_copies(row: Row) -> tuple[str, ...]:
    n, samples = row.number("claim_n"), row.number("claim_samples")
    first = f"; the first is sample {row.number('claim_first_copy'):,.0f}" if row.has_values("claim_first_copy") else ""
    return (
        f"{samples:,.0f} samples copy {row.number('claim_copies'):,.0f} of its {count(n, 'image')}, and "
        f"{row.number('claim_control_copies'):,.0f} of as many control images at most{first}.",
    )


def _by_models(row: Row) -> tuple[str, ...]:
    used, given = row.number("claim_references"), row.number("claim_references_given")
    out = f"; {given - used:,.0f} more were trained on too many of these images" if given > used else ""
    return (
        f"Its error on these {count(row.number('claim_n'), 'image')} is {_factor(row.number('claim_effect'))} what "
        f"{count(used, 'other model')} lead to expect, each by images that it did not see, beside "
        f"{row.number('claim_control'):,.0f} control images{out}. The test is over models, not over images.",
    )


def _by_images(row: Row) -> tuple[str, ...]:
    beside = ", beside a reference model" if row["claim_calibrated"] else ""
    return (
        f"Its error on these {count(row.number('claim_n'), 'image')} is {_factor(row.number('claim_effect'))} that on "
        f"{row.number('claim_control'):,.0f} control images{beside}.",
    )


WORDS: dict[int, Callable[[Row], tuple[str, ...]]] = {
    TWINS: _by_twins, COPIES: _by_copies, MODELS: _by_models, IMAGES: _by_images,
}  # fmt: skip


def _indication(evidence: Evidence, question: str, row: Row, sentences: tuple[str, ...], shown: bool) -> Answer:
    """The answer of the last test, which shows nothing by itself."""
    alone = "Images are not independent, so that this is no evidence."
    blind = row["claim_blind_auc"]
    if blind is None:
        control = "Below 50 images of each, nothing checks whether they differ without the model."
    else:
        control = f"Without the model, claim and control are told apart in {percent(blind)} of pairs"
        control += ": p is not stated below 0.1." if row["claim_capped"] else "."
    if shown:
        lead = f"Trained on: cannot be told, because only control images were given; an indication ({_p(row)})"
        return Answer(question, State.UNKNOWN, (*sentences, alone, control), lead, _remedy(evidence))
    lead = f"Trained on: not shown ({_p(row)}, by control images)"
    if row["claim_capped"]:
        why = "claim and control differ without the model"
        if blind is None:
            why = "claim and control are too few to check that they are alike"
        lead = f"Trained on: cannot be told, because {why}"
        return Answer(question, State.UNKNOWN, (*sentences, alone, control), lead, _remedy(evidence))
    seen = f"An error of {_factor(row.number('claim_seen'))} it would have been an indication in 80 % of cases."
    return Answer(question, State.NOT_SHOWN, (*sentences, seen, alone, control, _stronger(IMAGES)), lead)


def _seen(row: Row) -> str | None:
    """What would have been shown, from the audit's own numbers; None where nothing could have been."""
    rung = row["claim_rung"]
    if rung == TWINS and row.has_values("claim_needed", "claim_seen"):
        return (
            f"From {row.number('claim_needed'):,.0f} pairs on it would have been shown: in 80 % of cases where the "
            f"published twin is known better in {percent(row.number('claim_seen'))} of such pairs."
        )
    if rung == COPIES and row.has_values("claim_copies_needed"):
        return f"{_copied_needed(row)}"
    if rung == MODELS and row.has_values("claim_seen"):
        seen = (
            f"An error of {_factor(row.number('claim_seen'))} the expected one would have been shown in 80 % of cases"
        )
        if row.has_values("claim_power", "claim_shift"):
            seen += (
                f"; {_factor(row.number('claim_shift'))}, as the reference models have it on images that they saw, in "
                f"{percent(row.number('claim_power'))}"
            )
        return f"{seen}."
    return None


def _too_few(row: Row) -> str:
    n = row.number("claim_n")
    return f"{count(n, 'pair')} are too few" if row["claim_rung"] == TWINS else f"{count(n, 'image')} are too few"


def _copied_needed(row: Row) -> str:
    needed = row["claim_copies_needed"]
    if needed is None:
        return "So few images show nothing by copies."
    return f"{needed:,.0f} copied images of it, and none of the control, would have been shown."


def _by_both(row: Row) -> tuple[str, ...]:
    """What the search for copies adds, where another test decided."""
    if row["claim_rung"] == COPIES or not row.has_values("claim_copies_p", "claim_samples"):
        return ()
    n, samples = row.number("claim_copies"), row.number("claim_samples")
    if not n:
        return (
            f"None of {count(samples, 'sample')} copies an image of it: at most {cost.most(samples)} would, with 95 % "
            f"confidence. {_copied_needed(row)}",
        )
    others = row.number("claim_control_copies")
    return (
        f"{count(n, 'image')} of it, and {others:,.0f} of the control, {'is' if n == 1 else 'are'} copied; the first "
        f"by sample {row.number('claim_first_copy'):,.0f}. {_copied_needed(row)}",
    )


def _share(row: Row) -> tuple[str, ...]:
    """The share that was used, with its interval or not at all."""
    names = ("claim_share", "claim_share_lo", "claim_share_hi")
    if not row.has_values(*names):
        return ()
    value, lower, upper = (percent(row.number(name)) for name in names)
    return (f"{SHARE_WORDS} {value} [{lower}, {upper}].",)


def _corrected(evidence: Evidence, row: Row) -> list[str]:
    """For what p was corrected."""
    parts = [f"{row.number('claim_tests'):,.0f} tests"] if row.number("claim_tests") > 1 else []
    parts += [f"{len(evidence.subject.claims)} claims"] if len(evidence.subject.claims) > 1 else []
    return [f"p is corrected for {' and '.join(parts)}."] if parts else []


def _cautious(rung: int) -> tuple[str, ...]:
    if rung == MODELS:
        return (
            "That rests on the reference models being alike in all but what they were trained on; random twins and "
            "copies do not.",
        )
    return ("This is evidence of use.",)


def _untested(evidence: Evidence, question: str, row: Row) -> Answer:
    """The answer where no test could be run."""
    n, control = row.number("claim_n"), row.number("claim_control")
    if n < LEAST:
        why = f"{count(n, 'distinct image')} {'is' if n == 1 else 'are'} too few"
    elif not control:
        why = "there are no control images"
    else:
        why = f"{count(control, 'control image')} {'is' if control == 1 else 'are'} too few"
    return Answer(question, State.UNKNOWN, (), f"Trained on: cannot be told, because {why}", _remedy(evidence))


def _remedy(evidence: Evidence) -> str:
    given = evidence.subject.command("--control", "CONTROL") if "--control" not in _flags(evidence) else ""
    command = given or evidence.subject.command("--references", "RUNS")
    return f"{command}. {_stronger(IMAGES)}"


def _flags(evidence: Evidence) -> set[str]:
    return {option[0] for option in evidence.subject.options}


def _stronger(rung: int) -> str:
    """What the tests above would need."""
    needs = {
        MODELS: "two or more models of the trainer that were not trained on these images (--references RUNS)",
        COPIES: "more samples (--count), to find copies",
        TWINS: "twins that coins chose before publication (difgen claim prepare)",
    }
    above = [needs[one] for one in (MODELS, COPIES, TWINS) if one < rung]
    if not above:
        return "No test is stronger; more pairs would show a weaker trace."
    return f"Stronger would be {', or '.join(above)}."


def _p(row: Row) -> str:
    p = row.number("claim_p_holm")
    return f"p = {labels.number(p)}" if p >= 1e-4 else f"p = {p:.0e}"


def _factor(effect: float) -> str:
    """An effect on the log of the error as a factor: `0.83 times`."""
    return f"{labels.number(float(np.exp(-effect)))} times"
