"""The rules behind an audit's answers: each sentence comes and goes with its numbers, and contradicts none of them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_findings import ALL_GREY, CLEAN, COPIES, LEANS

from difgen_cli.engine.plugins import Library
from difgen_cli.report.findings.answers import Answer, AuditedModel, Evidence, State
from difgen_cli.report.findings.answers import answered as every_answer
from difgen_cli.report.findings.answers.evidence import Checkpoint
from difgen_cli.report.findings.answers.generalising import POOR, SLIGHT
from difgen_cli.report.findings.numbers import Row
from difgen_cli.report.study import blind
from difgen_cli.report.study.copied import Copied
from difgen_cli.report.study.standing_out import StandingOut

YES, NOT_SHOWN, UNKNOWN = State.YES, State.NOT_SHOWN, State.UNKNOWN
COPY, MEMBER, WHICH, LEAST, GENERAL, BEGIN = (
    "Does it copy?", "Can one tell who was in?", "Which images?", "How much at least?", "Does it generalise?",
    "When did it begin?",
)  # fmt: skip
SUBJECT = AuditedModel("model/", "train/", 1000, held_out="test/", held_out_images=700, same_pool=True)
# Nothing is wrong with this model, and every measure could have seen it.
ROW: dict[str, Any] = CLEAN | {
    "gap_max": 0.02, "gap_max_lo": -0.01, "gap_max_hi": 0.04, "gap_null": 0.03, "gap_sigma": 0.4,
    "mia_auc_025": 0.51, "mia_auc_025_lo": 0.48, "mia_auc_025_hi": 0.54, "mia_images": 700,
    "fd_test": 4.5, "fd_test_lo": 4.0, "fd_test_hi": 5.0, "fd_floor": 2.5,
}  # fmt: skip
OPEN = {"gap_max": 0.45, "gap_max_lo": 0.4, "gap_max_hi": 0.52}
FOUND = {"mia_auc_025": 0.71, "mia_auc_025_lo": 0.68, "mia_auc_025_hi": 0.74}
COINS = {"eps_least": 1.67, "eps_most": 4.08, "eps_right": 160, "eps_guesses": 179}
DIFFER = {"blind_auc": 0.99, "blind_auc_lo": 0.97, "blind_auc_hi": 1.0}
ALIKE = {"blind_auc": 0.506, "blind_auc_lo": 0.48, "blind_auc_hi": 0.53}
NO_HELD_OUT = {
    name: None for name in ROW
    if name.startswith(("mem_frac_control", "aligned_control", "tile_copy_frac_control", "copy_tail", "mia_", "gap_",
                        "train_pref", "fd_", "aligned_smoothed_control"))
}  # fmt: skip
ELSEWHERE = replace(SUBJECT, same_pool=False)
WITHOUT = replace(SUBJECT, held_out=None, held_out_images=0)
IMAGES = pd.DataFrame({"place": [16, 3], "samples": [90, 10], "first": [4, 2], "ratio": [0.1, 0.2], "times": [3, 1]})
NONE = IMAGES.head(0)


def evidence(subject: AuditedModel = SUBJECT, copied: Copied | None = None, **changed: Any) -> Evidence:
    """Of the clean row with some values changed; the copied images are those of the copies in it."""
    row = ROW | changed
    if copied is None:
        copied = Copied(IMAGES if row.get("mem_frac") or row.get("mem_identical") else NONE, 300, 0.01)
    return Evidence(subject, Row(row), Row({"mem_frac": 1.0}), copied)


def answered(from_: Evidence) -> list[Answer]:
    """What is always asked; the last line says that nobody asked about a set of images, and how to."""
    *answers, last = every_answer(from_)
    command = from_.subject.command("--claim", "DIR")
    assert (last.state, last.text) == (State.NOT_ASKED, f"Not asked. ({command})")
    return answers


def of(from_: Evidence) -> dict[str, Answer]:
    return {answer.question: answer for answer in answered(from_)}


def states(from_: Evidence) -> tuple[State, ...]:
    return tuple(of(from_)[question].state for question in (COPY, MEMBER, WHICH, GENERAL))


@pytest.mark.parametrize(
    ("question", "subject", "changed", "state", "says"),
    [
        # Does it copy?
        (COPY, SUBJECT, {}, NOT_SHOWN, "None of 300 samples counts as a copy: at most 3 in 300 would"),
        (COPY, SUBJECT, {}, NOT_SHOWN, "A copy with noise of 0.1 a pixel would be seen in 97.0 % of cases."),
        (COPY, SUBJECT, {"mem_power": None}, NOT_SHOWN, "How many copies would have been missed was not measured."),
        (COPY, SUBJECT, COPIES, YES, "Yes. 100 of 300 samples [84, 117] are copies of 30 training images; of held-out "
         "images, 0 % [0 %, 0.550 %] would count as copies. The first copy is sample 2 of 300: on average one in 3.00 "
         "samples [2.56, 3.58] is one."),
        (COPY, SUBJECT, {"mem_frac": 0.9, "mem_frac_lo": 0.86, "mem_frac_hi": 0.93}, YES, "Yes, mostly. 270 of 300"),
        (COPY, SUBJECT, {"sample.count": 10000, "mem_frac": 0.008, "mem_frac_lo": 0.0064, "mem_frac_hi": 0.0099,
                         "mem_unique": 1}, YES, "Yes, rarely. 80 of 10,000 samples [64, 99] are copies of 1 training"),
        (COPY, SUBJECT, {"mem_frac": 0.01, "mem_frac_lo": 0.0034, "mem_frac_hi": 0.029}, NOT_SHOWN,
         "3 of 300 samples [1, 9] count as copies; of held-out images, 0 % [0 %, 0.550 %] do: the samples are not"),
        (COPY, SUBJECT, {"mem_identical": 100}, YES, "100 of 300 samples are identical to a training image"),
        (COPY, SUBJECT, {"mem_identical": 2, "sample_constant": 2}, NOT_SHOWN, "None of 300"),
        (COPY, SUBJECT, {"aligned_frac": 0.9, "aligned_frac_lo": 0.87, "aligned_shifted": 0.9}, YES,
         "changed copies: moved by a pixel (90.0 %)"),
        (COPY, SUBJECT, {"aligned_frac": 0.9, "aligned_frac_lo": 0.87, "aligned_shifted": 0.9, "aligned_control": 0.2,
                         "aligned_control_lo": 0.15, "aligned_control_hi": 0.25}, NOT_SHOWN, "None of 300"),
        (COPY, SUBJECT, {"tile_copy_frac": 1.0, "tile_copy_frac_lo": 0.98, "tile_copy_frac_hi": 1.0}, YES,
         "copies by parts"),
        (COPY, SUBJECT, {"copy_tail": 0.98, "copy_tail_lo": 0.95, "copy_tail_hi": 0.99}, YES, "understates"),
        (COPY, SUBJECT, ALL_GREY, UNKNOWN, "All samples are of a single colour."),
        (COPY, SUBJECT, {"mem_frac": None, "train_distinct": 1}, UNKNOWN, "a single distinct image"),
        (COPY, SUBJECT, {"mem_frac_control": 0.11, "mem_frac_control_lo": 0.08, "mem_frac_control_hi": 0.14}, UNKNOWN,
         "cannot distinguish copies here: it calls 11.0 % [8.00 %, 14.0 %]"),
        (COPY, SUBJECT, {"near_duplicates": 60, "train_distinct": None}, UNKNOWN, "score again"),
        (COPY, SUBJECT, COPIES | {"near_duplicates_held_out": 200}, UNKNOWN,
         "28.6 % of the 700 held-out images are themselves nearly the same as an image outside of them. Either images"),
        (COPY, SUBJECT, COPIES | {"near_duplicates_held_out": 100}, YES, "are copies of 30"),
        (COPY, WITHOUT, NO_HELD_OUT | COPIES, UNKNOWN, "nothing says how many unseen images would. There are no held-"),
        (COPY, WITHOUT, NO_HELD_OUT | COPIES, UNKNOWN, "difgen audit model/ --against train/ --held-out HELD_OUT"),
        (COPY, WITHOUT, NO_HELD_OUT, NOT_SHOWN, "There are no held-out images as a control."),
        (COPY, WITHOUT, NO_HELD_OUT | {"mem_identical": 5}, YES, "5 of 300 samples are identical"),
        (COPY, SUBJECT, NO_HELD_OUT | COPIES | {"near_duplicates_held_out": 700}, UNKNOWN,
         "All 700 held-out images are training images, or nearly the same."),
        (COPY, ELSEWHERE, DIFFER | COPIES, YES, "Held-out images that are of another kind are a weak control of this."),
        (COPY, SUBJECT, {"sample_distinct": 3}, UNKNOWN, "only 3 distinct images"),
        (COPY, SUBJECT, COPIES | {"sample_distinct": 3, "mem_unique": 1}, YES, "100 of 300 samples are copies of 1 "),
        (COPY, SUBJECT, COPIES | {"sample_distinct": 9, "mem_unique": 1}, UNKNOWN, "only 9 distinct images"),
        # Can one tell who was in?
        (MEMBER, SUBJECT, {}, NOT_SHOWN, "tells which is which in 51.0 % [48.0 %, 54.0 %] of cases, where chance gives "
         "50 %: chance is not excluded. Had it been above 54.0 %, it would have been seen"),
        (MEMBER, SUBJECT, FOUND, YES, "Yes. Of one training and one held-out image"),
        (MEMBER, SUBJECT, {"mia_auc_025": 0.55, "mia_auc_025_lo": 0.52, "mia_auc_025_hi": 0.58}, YES, "Yes, slightly"),
        (MEMBER, SUBJECT, FOUND | {"mia_tpr_1pct_025": 0.09, "mia_tpr_1pct_025_lo": 0.07, "mia_tpr_1pct_025_hi": 0.12},
         YES, "At 1 % of false alarms 9.00 % [7.00 %, 12.0 %] of the training images are found."),
        (MEMBER, SUBJECT, FOUND | {"mia_tpr_10fp": 0.2, "mia_tpr_10fp_lo": 0.17, "mia_tpr_10fp_hi": 0.23,
         "mia_tpr_10fp_rate": 0.0143}, YES, "At ten false alarms (1.43 % of the held-out images) 20.0 % [17.0 %, 23.0"),
        (MEMBER, SUBJECT, {"mia_auc_025": 0.4, "mia_auc_025_lo": 0.37, "mia_auc_025_hi": 0.43}, UNKNOWN,
         "denoised worse than the others"),
        (MEMBER, SUBJECT, {"mia_auc_025_lo": None, "mia_auc_025_hi": None}, UNKNOWN, "too few images"),
        (MEMBER, SUBJECT, {"mia_auc_025": None}, UNKNOWN, "was not measured. To settle it: difgen"),
        (MEMBER, ELSEWHERE, FOUND, UNKNOWN, "Nobody checked whether training and held-out images differ"),
        (MEMBER, ELSEWHERE, FOUND | dict.fromkeys(ALIKE), UNKNOWN, "too few images to check whether"),
        (MEMBER, SUBJECT, FOUND | {"mia_self_auc_025": 0.7, "mia_self_auc_025_lo": 0.6, "mia_self_auc_025_hi": 0.8},
         YES, "Its own samples are told from held-out images in 70.0 % [60.0 %, 80.0 %] of cases"),
        (MEMBER, ELSEWHERE, FOUND | ALIKE, YES, "and a classifier without the model 50.6 % [48.0 %, 53.0 %]"),
        (MEMBER, ELSEWHERE, FOUND | DIFFER, UNKNOWN, "in 99.0 % [97.0 %, 100 %] of pairs, where chance gives 50 %."),
        (MEMBER, ELSEWHERE, {"mia_auc_025": 0.55, "mia_auc_025_lo": 0.52, "mia_auc_025_hi": 0.58, "blind_auc": 0.53,
         "blind_auc_lo": 0.5, "blind_auc_hi": 0.56}, NOT_SHOWN, "not shown to add to what is told without it"),
        (MEMBER, WITHOUT, NO_HELD_OUT, UNKNOWN, "There are no held-out images"),
        (MEMBER, SUBJECT, NO_HELD_OUT | {"near_duplicates_held_out": 700}, UNKNOWN, "All 700 held-out images are"),
        # Which images?
        (WHICH, SUBJECT, {}, NOT_SHOWN, "No training image is shown to be copied."),
        (WHICH, SUBJECT, COPIES, YES, "2 training images. 1 of them stands twice or more in the training set. Most "
         "often: image 17 (90 samples, 3 times in it), image 4 (10 samples, 1 time in it)."),
        (WHICH, WITHOUT, NO_HELD_OUT | COPIES, UNKNOWN, "Whether it copies cannot be told."),
        # How much at least?
        (LEAST, SUBJECT, {}, UNKNOWN, "No lot decided which images were trained on, or nobody guessed it"),
        (LEAST, SUBJECT, COINS, YES, "An epsilon of at least 1.67 for one image. With 95 % confidence: 160 of 179 "
         "guesses of who was trained on are right. All of them right would show 4.08"),
        (LEAST, SUBJECT, COINS | {"eps_least": 0.0, "eps_right": 92}, NOT_SHOWN, "No epsilon above 0 is shown. 92 of "
         "179 guesses of who was trained on are right, which does not show that there is none. All of them right"),
        (LEAST, WITHOUT, NO_HELD_OUT | COINS, YES, "at least 1.67"),
        (LEAST, SUBJECT, COINS | {"eps_least": None}, UNKNOWN, "data.draw: coin"),
        # Does it generalise?
        (GENERAL, SUBJECT, {}, YES, "not shown to be larger than on training images: the largest difference is 2.00 % "
         "[−1.00 %, 4.00 %] (at noise of 0.400 times the images' spread)"),
        (GENERAL, SUBJECT, {}, YES, "they are 1.80 [1.60, 2.00] times as far from held-out images as real images are"),
        (GENERAL, SUBJECT, {"gap_max": 0.04, "gap_max_lo": 0.01, "gap_max_hi": 0.06}, YES,
         "4.00 % [1.00 %, 6.00 %] larger than on training images"),
        (GENERAL, SUBJECT, {"gap_max": 0.02, "gap_max_lo": 0.01}, YES, "not shown to be larger than on training "),
        (GENERAL, SUBJECT, {"gap_max": 0.04, "gap_max_hi": 0.07}, YES, "not shown to be larger than on training "),
        (GENERAL, SUBJECT, OPEN, NOT_SHOWN, "45.0 % [40.0 %, 52.0 %] larger than on training images"),
        (GENERAL, SUBJECT, {"gap_max": 2.1, "gap_max_lo": 1.9, "gap_max_hi": 2.4}, NOT_SHOWN, "3.10 [2.90, 3.40] "),
        (GENERAL, SUBJECT, LEANS, NOT_SHOWN, "lie nearer to the training images than held-out images do: 65.0 %"),
        (GENERAL, SUBJECT, COPIES, NOT_SHOWN, "It copies, as said above."),
        (GENERAL, SUBJECT, {"fd_test": 40.0, "fd_test_lo": 30.0, "fd_test_hi": 50.0}, NOT_SHOWN,
         "16.0 [12.0, 20.0] times as far from held-out images as real images are from one another, which is far."),
        (GENERAL, SUBJECT, {"train_pref_copycat": 0.05}, UNKNOWN, "cannot be decided: the value of an exact copier"),
        (GENERAL, SUBJECT, {"gap_null": None}, UNKNOWN, "was not measured. To settle it: difgen"),
        (GENERAL, SUBJECT, ALL_GREY, UNKNOWN, "All samples are of a single colour."),
        (GENERAL, WITHOUT, NO_HELD_OUT, UNKNOWN, "There are no held-out images"),
        (GENERAL, ELSEWHERE, DIFFER, UNKNOWN, "differ without the model"),
        (GENERAL, ELSEWHERE, ALIKE, YES, "Yes, as far as these measures see."),
    ],
)  # fmt: skip
def test_an_answer_follows_its_numbers(
    question: str, subject: AuditedModel, changed: dict[str, Any], state: State, says: str
) -> None:
    answer = of(evidence(subject, **changed))[question]
    assert (answer.state, says in answer.text) == (state, True), answer.text
    assert bool(answer.remedy) == (answer.state is UNKNOWN)


def test_samples_that_are_like_no_image_leave_the_questions_of_samples_open() -> None:
    noise = evidence(copied=Copied(NONE, 300, 0.97))
    assert states(noise) == (UNKNOWN, NOT_SHOWN, UNKNOWN, UNKNOWN)
    assert "97.0 % of them are farther from every training image than 99 %" in of(noise)[COPY].text
    assert states(evidence(copied=Copied(NONE, 300, 0.4)))[0] is NOT_SHOWN
    assert states(evidence(copied=Copied(IMAGES, 300, 0.97), **COPIES))[0] is YES  # what is found is there


def test_where_no_checkpoint_is_finished_every_answer_says_why() -> None:
    failed = Evidence(SUBJECT, Row({}), Row({}), absent="no such file")
    for answer in answered(failed):
        assert answer.state is UNKNOWN
        assert answer.sentences == ("No checkpoint was measured: no such file.",)


def test_a_metric_that_was_left_out_is_answered_with_its_reason() -> None:
    row = Row({name: value for name, value in ROW.items() if not name.startswith("mia_")})
    answer = of(replace(evidence(), row=row, left_out={"membership": "needs a denoiser"}))[MEMBER]
    assert answer.text.startswith("Cannot be told. What it needs was not measured: needs a denoiser. To settle it: ")


def test_a_remedy_is_a_command_that_can_be_typed() -> None:
    apart = replace(SUBJECT, model="a b/unet-{step}", held_out=None)
    assert apart.command() == "difgen audit 'a b/unet-{step}' --against train/ --hold-out 700"
    assert apart.command("--held-out", "x", held_out=False).endswith("--against train/ --held-out x")
    assert WITHOUT.command("--count", "9") == "difgen audit model/ --against train/ --count 9"


def test_copied_images_have_their_names_where_they_have_some() -> None:
    named = Copied(IMAGES.assign(name=["a cat.png", "dog.png"]), 300, 0.0)
    assert "a cat.png (90 samples, 3 times in it), dog.png" in of(evidence(copied=named, **COPIES))[WHICH].text


LISTED = pd.DataFrame({"place": range(120), "loss": 0.1, "hits": 0.0, "pool": "p", "cell": "c"})
STANDING = StandingOut(LISTED, 1000, 700)


def test_images_that_stand_out_are_counted_where_one_can_tell_who_was_in_and_convict_none() -> None:
    telling = replace(evidence(**FOUND), standing_out=STANDING)
    which = of(telling)[WHICH]
    assert which.state is NOT_SHOWN, "it is the state of copies"
    assert (
        "120 of 1,000 training images have a lower error than all but ten of the 700 held-out ones, where chance alone "
        "would give 14.3: this list has a reliability of 88.1 %, the share that is more than chance. It ranks images "
        "and convicts none" in which.text
    )
    assert "120 of 1,000 training images" in of(replace(evidence(**FOUND | COPIES), standing_out=STANDING))[WHICH].text
    for silent in (
        replace(evidence(), standing_out=STANDING),  # nothing tells who was in
        replace(evidence(ELSEWHERE, **FOUND | DIFFER), standing_out=STANDING),
        replace(telling, standing_out=replace(STANDING, images=LISTED.head(0))),
        replace(telling, standing_out=None),
    ):
        assert "convicts" not in of(silent)[WHICH].text


def test_of_a_list_that_is_no_longer_than_chance_nothing_is_more_than_chance() -> None:
    assert StandingOut(LISTED.head(10), 1000, 700).reliability == 0
    assert StandingOut(LISTED.head(20), 100, 100).reliability == pytest.approx(0.5)


# Several checkpoints -------------------------------------------------------------------------------------------------


def over_steps(*shares: float, least: float | None = None, censored: str = "") -> Answer:
    """The answer to when it began, of checkpoints at steps 100, 200, … with a share of copies each."""
    rows = []
    for share in shares:
        own = COPIES | {"mem_frac": share, "mem_frac_lo": 0.8 * share, "mem_frac_hi": 1.2 * share}
        rows.append(Row(ROW | (own if share else {})))
    points = tuple(Checkpoint(100 * (place + 1), row) for place, row in enumerate(rows))
    line = pd.Series({"step": least, "censored": censored}, dtype=object)
    return of(replace(evidence(), row=rows[-1], checkpoints=points, least_loss=line))[BEGIN]


def test_copying_begins_at_the_first_checkpoint_that_shows_copies() -> None:
    answer = over_steps(0, 0, 0.2, 0.4, least=200.0)
    assert answer.text == (
        "Copies are first shown at step 300. There, 60 of 300 samples [48, 72] count as copies. At step 200, the one "
        "before, they are not shown. The held-out error is least at step 200."
    )
    assert answer.state is YES
    first = over_steps(0.2, 0.4, censored="left")
    assert first.lead == "At step 100 or before"
    assert "The held-out error is least at the first checkpoint, so that its least may lie outside" in first.text
    assert "Not at every later one: at 1 of 2 copies are not shown." in over_steps(0.2, 0, 0.4).text
    none = over_steps(0, 0, 0, censored="right")
    assert none.state is NOT_SHOWN
    assert "At none of 3 checkpoints, from step 100 to 300, are copies shown." in none.text
    assert "least at the last checkpoint" in none.text


def test_without_a_control_no_checkpoint_says_when_it_began() -> None:
    rows = [Row(ROW | NO_HELD_OUT | COPIES), Row(ROW | NO_HELD_OUT)]
    points = (Checkpoint(1, rows[0]), Checkpoint(2, rows[1]))
    answer = of(replace(evidence(WITHOUT), row=rows[1], checkpoints=points))[BEGIN]
    assert answer.state is UNKNOWN
    assert BEGIN not in of(evidence())  # one checkpoint has no beginning


# No sentence contradicts its numbers ---------------------------------------------------------------------------------


@st.composite
def intervals(draw: st.DrawFn, lowest: float = 0.0, highest: float = 1.0) -> tuple[float | None, ...]:
    """A value inside its interval; at times without one, or nothing."""
    if draw(st.integers(0, 9)) == 0:
        return (None, None, None)
    lower, value, upper = sorted(draw(st.lists(st.floats(lowest, highest), min_size=3, max_size=3)))
    return (value, None, None) if draw(st.integers(0, 9)) == 0 else (value, lower, upper)


ANY = {
    "mem_frac": (0, 1), "mem_frac_control": (0, 0.3), "mia_auc_025": (0, 1), "blind_auc": (0.3, 1),
    "gap_max": (-0.1, 5),
    "train_pref_excess": (-0.5, 0.5), "train_pref_share": (-0.5, 1.5), "fd_test": (1, 60), "aligned_frac": (0, 1),
    "aligned_control": (0, 0.3), "tile_copy_frac": (0, 1), "tile_copy_frac_control": (0, 0.3), "copy_tail": (0, 1),
}  # fmt: skip


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    row = dict(ROW)
    for name, (lowest, highest) in ANY.items():
        if draw(st.booleans()):
            row |= dict(zip((name, f"{name}_lo", f"{name}_hi"), draw(intervals(lowest, highest)), strict=True))
    row["sample_distinct"] = draw(st.sampled_from([1, 3, 9, 150, 300]))
    row["sample_constant"] = draw(st.sampled_from([0, 0, 0, 2, 300]))
    row["mem_identical"] = draw(st.sampled_from([0, 0, 0, 1, 40]))
    row["mem_power"] = draw(st.none() | st.floats(0, 1))
    row["near_duplicates_held_out"] = draw(st.sampled_from([0, 0, 5, 300, 700]))
    copied = Copied(IMAGES if row["mem_frac"] else NONE, 300, draw(st.none() | st.floats(0, 1)))
    subject = draw(st.sampled_from([SUBJECT, ELSEWHERE, WITHOUT]))
    return replace(evidence(subject, copied), row=Row(row))


@given(evidences())
def test_no_answer_claims_what_its_numbers_do_not_carry(drawn: Evidence) -> None:
    row, answers = drawn.row, of(drawn)
    copy, member, which, general = (answers[name] for name in (COPY, MEMBER, WHICH, GENERAL))
    if copy.state is YES and not row["mem_identical"]:  # something lies beyond its control
        assert row.few or any(
            row.above(one, control) for one, control in (
                ("mem_frac", "mem_frac_control"), ("aligned_frac", "aligned_control"),
                ("tile_copy_frac", "tile_copy_frac_control"),
            )
        ) or (row["copy_tail_lo"] or 0) > 0.01  # fmt: skip
    if copy.state is not YES:
        assert not re.search(r"\bYes\b|are copies of", copy.text)
        assert which.state is not YES
        assert which.state is copy.state
    if member.state is YES:
        assert row.number("mia_auc_025_lo") > 0.5
        assert drawn.subject.same_pool or row.number("blind_auc_lo") <= blind.MOST
    if member.state is NOT_SHOWN:
        assert row.number("mia_auc_025_lo") <= max(0.5, row["blind_auc"] or 0)
    if general.state is YES:
        assert copy.state is NOT_SHOWN
        assert row.number("gap_max_lo") <= SLIGHT or row.number("gap_max") <= row.number("gap_null")
        assert row.number("train_pref_excess_lo") <= 0
        assert (row["fd_test_lo"] or 0) <= POOR * row.number("fd_floor")
    if not drawn.compared:
        assert member.state is general.state is UNKNOWN


@given(evidences())
def test_above_the_fold_there_is_no_name_of_a_column_and_each_open_question_has_a_remedy(drawn: Evidence) -> None:
    for answer in answered(drawn):
        words = set(re.findall(r"\w+", answer.text.partition("To settle it:")[0]))
        assert not words & COLUMNS
        assert "d1/d2" not in answer.text
        assert not re.search(r"\bnan\b|\bNone\b(?! of)", answer.text)
        assert bool(answer.remedy) == (answer.state is UNKNOWN)
        assert answer.sentences
        assert all(sentence.endswith(".") and (sentence[:1].isupper() or sentence[:1].isdigit())
                   for sentence in answer.sentences)  # fmt: skip


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.sampled_from([0.0055, 0.04, 0.3]))
def test_more_copies_never_take_a_yes_back(lowers: list[float], control: float) -> None:
    """Nor does any answer of yes lie below its control."""
    few, many = (
        of(evidence(mem_frac=max(low, 0.004), mem_frac_lo=low, mem_frac_hi=1.0, mem_frac_control_hi=control))[COPY]
        for low in sorted(lowers)
    )
    assert few.state is NOT_SHOWN or many.state is YES
    assert (many.state is YES) == (max(lowers) > control)


COLUMNS = {
    name for metric in Library().names("score")
    for name in Library().signature("score", metric).constants["COLUMNS"] if "_" in name
}  # fmt: skip


BESIDE = {"mia_reference_auc_025": 0.66, "mia_reference_auc_025_lo": 0.62, "mia_reference_auc_025_hi": 0.7}
NO_BETTER = {"mia_reference_auc_025": 0.52, "mia_reference_auc_025_lo": 0.49, "mia_reference_auc_025_hi": 0.55}


def test_a_reference_model_may_show_what_the_error_alone_does_not() -> None:
    assert of(evidence())[MEMBER].state == NOT_SHOWN
    shown = of(evidence(**BESIDE))[MEMBER]
    assert shown.state == YES
    assert "beside the reference model" in shown.text
    assert "66.0 % [62.0 %, 70.0 %]" in shown.text
    unseen = of(evidence(**NO_BETTER))[MEMBER]
    assert unseen.state == NOT_SHOWN
    assert "52.0 % [49.0 %, 55.0 %]" in unseen.text
    both = of(evidence(**FOUND, **NO_BETTER))[MEMBER]
    assert both.state == YES
    assert "52.0 % [49.0 %, 55.0 %]" in both.text
    assert of(evidence(ELSEWHERE, **DIFFER, **BESIDE))[MEMBER].state == UNKNOWN
    told_without = {"blind_auc": 0.5, "blind_auc_lo": 0.47, "blind_auc_hi": 0.53}
    assert of(evidence(ELSEWHERE, **told_without, **BESIDE))[MEMBER].state == YES


def test_the_command_that_would_settle_it_keeps_the_options_that_were_given() -> None:
    subject = replace(SUBJECT, options=(("--count", "50"), ("--mirrored",)))
    assert subject.command("--reference", "b").endswith("--held-out test/ --count 50 --mirrored --reference b")
    assert subject.command("--count", "80").endswith("--against train/ --held-out test/ --mirrored --count 80")


def test_without_training_images_nothing_is_told_and_what_samples_show_is_said() -> None:
    unknown = replace(SUBJECT, train="", train_images=0)
    again = {"clique_frac": 0.3, "clique_frac_lo": 0.25, "clique_frac_hi": 0.35, "clique_largest": 4}
    answers = answered(evidence(unknown, **again))
    assert {answer.state for answer in answers} == {UNKNOWN}
    assert all(answer.remedy.endswith("--against TRAIN") for answer in answers)
    assert "30.0 % [25.0 %, 35.0 %] of the samples are nearly the same as another sample" in answers[0].text
    assert "nearly the same" not in answers[1].text
    none = {"clique_frac": 0.0, "clique_frac_lo": 0.0, "clique_frac_hi": 0.02, "clique_largest": 1}
    assert (
        "No sample is nearly the same as another: the share is below 2.00 %"
        in answered(evidence(unknown, **none))[0].text
    )
