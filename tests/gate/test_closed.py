"""A gate is closed for each reason of its own: everything passes but one thing, and that one is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import rows_of_a_run as planted
from rows_of_a_run import BEFORE, FIRST, OTHER, POLICY, ROW, SHA, closed, judging

from difgen_cli.gate import checks, weights
from difgen_cli.gate.age import WrittenAt
from difgen_cli.gate.checks import Judging
from difgen_cli.gate.policy import CONTROLS, NamedWeights
from difgen_cli.gate.weights import AuditedWeights

COPY, TELL = "Does it copy?", "Can one tell who was in?"
WEIGHTS, AGE = "Are these the weights that will be released?", "Was the policy written before the results?"
CHOSEN, ROWS = "Was one model chosen among several?", "Do the rows count?"
Change = Callable[[], Judging]


def row(**values: Any) -> Change:
    """Some values of the row changed."""
    return lambda: judging(row=values)


def subject(**values: Any) -> Change:
    return lambda: judging(**values)


def of(**values: Any) -> Change:
    """Something else that is judged changed."""
    return lambda: replace(judging(), **values)


def text(old: str, new: str, **values: Any) -> Change:
    assert old in POLICY
    return lambda: judging(POLICY.replace(old, new), **values)


def few(**values: Any) -> Change:
    """A rule on a column that declares no number of what it is estimated from, of samples that are changed so."""
    tail = {"copy_tail": 0.0, "copy_tail_lo": 0.0, "copy_tail_hi": 0.002, "sample.count": 3000}
    enough = "at_most = 0.01\nleast_n = 900\nleast_power = 0.5"
    ruled = POLICY.replace(f'column = "mem_frac"\n{enough}', 'column = "copy_tail"\nat_most = 0.01')
    assert ruled != POLICY
    return lambda: judging(ruled, row=tail | values)


LATER = WrittenAt(FIRST + timedelta(days=1), "declared")
REASONS: dict[str, tuple[Change, str, str, str]] = {  # what is changed, the check that closes, its word, its sentence
    "no value": (row(mem_frac=None), COPY, "insufficient", "mem_frac has no value"),
    "NaN": (row(mem_frac=math.nan), COPY, "insufficient", "mem_frac has no value"),
    "infinite": (row(mem_frac=math.inf, mem_frac_hi=math.inf), COPY, "insufficient", "mem_frac has no value"),
    "one image": (few(sample_distinct=1), COPY, "insufficient", "the samples are only 1 distinct image"),
    "few images, of which the bad end would fail": (
        few(sample_distinct=9, copy_tail_hi=0.9), COPY, "insufficient", "the samples are only 9 distinct images",
    ),
    "one colour of many levels": (
        few(sample_distinct=3000, sample_constant=3000), COPY, "insufficient", "all samples are of a single colour",
    ),
    "few images, all of them near": (
        few(sample_distinct=2, copy_tail=1.0, copy_tail_lo=0.99, copy_tail_hi=1.0), COPY, "fail", "at the good end",
    ),
    "not measured": (
        subject(rows=[ROW | {"mia_auc_025": None, "mia_images": None} | dict.fromkeys(
            name for name, column in planted.declared().items() if column.metric == "membership"
        )]), TELL, "insufficient", "Nothing was measured: membership was not run",
    ),
    "no upper end": (row(mem_frac_hi=None), COPY, "insufficient", "mem_frac is 0.0010 without an interval"),
    "no lower end": (row(mem_frac_lo=math.nan), COPY, "insufficient", "mem_frac is 0.0010 without an interval"),
    "an interval of something else": (
        row(mem_frac_hi=0.0005), COPY, "insufficient", "mem_frac is 0.0010, outside of its own interval",
    ),
    "few samples": (
        row(sample_distinct=899.0), COPY, "insufficient", "estimated from 899 images, where the policy asks for 900",
    ),
    "samples that nobody counted": (row(sample_distinct=None), COPY, "insufficient", "from an unknown number"),
    "little power": (row(mem_power=0.49), COPY, "insufficient", "its power is 0.490, where the policy asks for 0.5"),
    "unknown power": (row(mem_power=math.nan), COPY, "insufficient", "its power is not known"),
    "the bad end": (row(mem_frac_hi=0.0101), COPY, "fail", "above 0.01 at the bad end"),
    "the good end": (
        row(mem_frac=0.3, mem_frac_lo=0.2, mem_frac_hi=0.4), COPY, "fail", "above 0.01, even at the good end",
    ),
    "the good end of few samples": (
        row(mem_frac=0.3, mem_frac_lo=0.2, mem_frac_hi=0.4, sample_distinct=9.0), COPY, "fail", "even at the good end",
    ),
    "the bad end below": (
        text("at_most = 0.6", "at_least = 0.49"), TELL, "fail", "0.510 [0.480, 0.540]: below 0.49 at the bad end",
    ),
    "sets that differ without the model": (
        row(blind_auc=0.51, blind_auc_lo=0.521, blind_auc_hi=0.6), TELL, "insufficient",
        "says nothing: training and held-out images differ without the model",
    ),
    "no blind control": (
        row(blind_auc=None, blind_auc_lo=None, blind_auc_hi=None, blind_images=None), CONTROLS["blind"],
        "insufficient", "Nothing was measured: blind was not run",
    ),
    "a blind control out of range": (
        text("at_most = 0.52", "at_most = 0.45"), CONTROLS["blind"], "fail", "above 0.45",
    ),
    "a blind control of few images": (row(blind_images=49.0), CONTROLS["blind"], "insufficient", "from 49 images"),
    "held-out images that count as copies": (
        row(mem_frac_control_hi=0.021), CONTROLS["held_out_copies"], "fail", "above 0.02 at the bad end",
    ),
    "held-out images that were not looked at": (
        row(mem_frac_control=None), CONTROLS["held_out_copies"], "insufficient", "has no value",
    ),
    "a copier that is not seen": (
        subject(references={"copycat": planted.COPYCAT | {"mem_frac_lo": 0.89}}), CONTROLS["copycat"], "fail",
        "below 0.9 at the bad end",
    ),
    "no copier": (subject(references={}), CONTROLS["copycat"], "insufficient", "Nothing was measured of copycat"),
    "stale rows": (row(stale=True), ROWS, "insufficient", "not checked; run the same sweep again"),
    "no row": (subject(rows=[]), ROWS, "insufficient", "There is no row of these weights"),
    "weights that nobody names": (of(named=NamedWeights()), WEIGHTS, "insufficient", "are not named; give --weights"),
    "other weights": (
        of(named=NamedWeights((OTHER,))), WEIGHTS, "insufficient", "The command names weights with SHA-256 bbbb",
    ),
    "other weights in the policy": (
        text("[[rules]]\nquestion = \"Does", f'[weights]\nsha256 = "{OTHER}"\n\n[[rules]]\nquestion = "Does'), WEIGHTS,
        "insufficient", "The policy names weights with SHA-256 bbbbbbbbbbbb…",
    ),
    "a part of the weights": (
        subject(weights=AuditedWeights((SHA, OTHER))), WEIGHTS, "insufficient", "names 1 of the 2 files",
    ),
    "more than the weights": (of(named=NamedWeights((SHA, OTHER))), WEIGHTS, "insufficient", "SHA-256 bbbbbbbbbbbb…"),
    "weights that are gone": (
        subject(weights=AuditedWeights(absent="their files are gone")), WEIGHTS, "insufficient", "their files are gone",
    ),
    "weights that were changed": (
        subject(weights=AuditedWeights((SHA,), transform="quantise bits=8")), WEIGHTS, "insufficient",
        "The rows are of weights after quantise bits=8, which no file of this run holds",
    ),
    "another step": (
        text("[[rules]]\nquestion = \"Does", '[weights]\nstep = 400\n\n[[rules]]\nquestion = "Does'), WEIGHTS,
        "insufficient", "The policy names step 400, and the rows are of step 300",
    ),
    "a policy of no date": (of(written=WrittenAt(why="nothing shows it")), AGE, "insufficient", "nothing shows it"),
    "a policy as old as the rows": (of(written=WrittenAt(FIRST, "git commit 1")), AGE, "insufficient", "is not older"),
    "a policy after the rows": (of(written=LATER), AGE, "insufficient", "the policy is not older than the rows"),
    "rows of no date": (subject(first=None), AGE, "insufficient", "No result says when it was finished"),
    "one of five snapshots": (subject(models=5), CHOSEN, "insufficient", "5 models of these data were measured"),
    "an attack that was not run": (
        text('"regurgitation"]', '"model inversion"]'), "Was it tried: model inversion?", "insufficient",
        "It was not run",
    ),
    "an attack without values": (
        text('["membership inference", "regurgitation"]', '["differential privacy lower bound"]'),
        "Was it tried: differential privacy lower bound?", "insufficient", "It was not run (one_run would do so)",
    ),
}  # fmt: skip


def test_all_passes_where_nothing_is_changed() -> None:
    made = checks.judged(judging())
    assert [check.sentence for check in made if check.outcome != "pass"] == []
    assert checks.verdict(made) == "pass"
    assert len(made) == 3 + 2 + 3 + 2  # the weights, the policy and the choice; rules, controls, attack classes


@pytest.mark.parametrize("case", REASONS)
def test_the_gate_is_closed_for_each_reason_and_names_it(case: str) -> None:
    change, question, outcome, sentence = REASONS[case]
    made = change()
    check = closed(made)[question]
    assert check.outcome == outcome
    assert sentence in check.sentence
    assert checks.verdict(checks.judged(made)) != "pass"


ALSO = {  # reasons that close another check as well
    "sets that differ without the model", "no row", "rows of no date", "a policy of no date", "held-out images that "
    "were not looked at", "weights that are gone", "not measured",
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(REASONS.keys() - ALSO))
def test_only_that_check_is_closed(case: str) -> None:
    change, question, *_ = REASONS[case]
    assert list(closed(change())) == [question]


def test_failing_outweighs_insufficient_and_both_are_named() -> None:
    made = judging(row={"mem_frac_hi": 0.5, "mia_images": 3.0})
    assert {check.outcome for check in closed(made).values()} == {"fail", "insufficient"}
    assert checks.verdict(checks.judged(made)) == "fail"


# Selection ------------------------------------------------------------------------------------------------------------


def test_a_choice_is_made_good_by_wider_intervals() -> None:
    corrected = POLICY.replace("[[rules]]", '[selection]\ncorrection = "bonferroni"\n\n[[rules]]', 1)
    made = judging(corrected, models=5)
    by_question = {check.question: check for check in checks.judged(made)}
    assert by_question[CHOSEN].outcome == "pass"
    copies = by_question[COPY]
    assert copies.level == pytest.approx(0.99)
    # z(.995)/z(.975) squared is 1.727: 0.001 + 1.727 × 0.005
    assert copies.hi == pytest.approx(0.009636, abs=1e-5)
    assert copies.outcome == "pass"
    wide = {check.question: check for check in checks.judged(judging(corrected, {"mem_frac_hi": 0.0065}, models=5))}
    assert wide[COPY].outcome == "fail"  # 0.0065 alone is below 0.01
    assert closed(judging(row={"mem_frac_hi": 0.0065})) == {}
    # a value without an interval cannot be widened
    assert by_question[CONTROLS["blind"]].outcome == "insufficient"
    assert "has no interval that could be corrected for 5 models" in by_question[CONTROLS["blind"]].sentence


@pytest.mark.parametrize(("at", "outcome"), [(BEFORE, "pass"), (FIRST, "insufficient")])
def test_a_model_that_the_policy_names_was_not_chosen_unless_the_policy_is_later(at: Any, outcome: str) -> None:
    named = POLICY.replace("[[rules]]", "[weights]\nstep = 300\n\n[[rules]]", 1)
    made = replace(judging(named, models=5), written=WrittenAt(at, "declared"))
    choice = next(check for check in checks.judged(made) if check.question == CHOSEN)
    assert choice.outcome == outcome


def test_of_several_settings_in_which_weights_were_sampled_the_worst_decides() -> None:
    worse = {"cell": "e" * 16, "mem_frac": 0.004, "mem_frac_lo": 0.002, "mem_frac_hi": 0.02}
    for rows in ([ROW, ROW | worse], [ROW | worse, ROW]):
        check = closed(judging(rows=rows))[COPY]
        assert (check.outcome, check.cell, check.hi) == ("fail", "e" * 16, 0.02)
    better = judging(rows=[ROW, ROW | worse | {"mem_frac_hi": 0.008}])
    made = next(check for check in checks.judged(better) if check.question == COPY)
    assert (made.outcome, made.hi) == ("pass", 0.008)


def test_what_post_training_did_is_named_with_its_settings() -> None:
    values = {"post_training.name": "quantise", "post_training.bits": 8.0, "post_training.per": "tensor"}
    assert weights._transform(values | {"post_training.share": math.nan}) == "quantise bits=8 per=tensor"
    assert weights._transform({"post_training.name": "none", "post_training.bits": None}) == weights.UNCHANGED
    assert weights._transform({}) == weights.UNCHANGED
