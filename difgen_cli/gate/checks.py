"""The checks of a gate: each rule and control at the bad end of its interval, and what must hold beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from difgen_cli.engine.plugins import Library
from difgen_cli.gate import intervals
from difgen_cli.gate.age import WrittenAt
from difgen_cli.gate.columns import DeclaredColumn, attacks
from difgen_cli.gate.intervals import JudgedInterval, number
from difgen_cli.gate.policy import ATTACK_CLASSES, BONFERRONI, NO_CORRECTION, NamedWeights, Policy, Rule
from difgen_cli.gate.subject import JudgedModel
from difgen_cli.gate.weights import differs
from difgen_cli.report.plotting import labels
from difgen_cli.report.study import blind

BEFOREHAND = "chosen beforehand"  # in place of a correction: the policy names the weights, and is older than the rows
GROUP_COLUMNS = ("group", "condition", "label", "class", "kind_of", "repeats")  # what a line of a group is called


class Verdict(StrEnum):
    """The three words of a check, and of the verdict."""

    PASS = "pass"  # noqa: S105
    INSUFFICIENT = "insufficient"
    FAIL = "fail"


ORDER = (Verdict.PASS, Verdict.INSUFFICIENT, Verdict.FAIL)  # of several, the last decides


@dataclass(frozen=True)
class Check:
    """One reason to open the gate, or to leave it closed.

    kind: rule, control, weights, policy, selection, rows or attack class. level: of the interval. bound_used: lo, hi or
    value.
    """

    kind: str
    question: str
    outcome: Verdict
    sentence: str
    rule: str = ""
    column: str | None = None
    cell: str | None = None
    group: str | None = None
    value: float | None = None
    lo: float | None = None
    hi: float | None = None
    level: float | None = None
    n: float | None = None
    unit_of_n: str | None = None
    power: float | None = None
    control: float | None = None
    bound_used: str | None = None


@dataclass(frozen=True)
class Judging:
    """All that is judged: a policy, the rows, what metrics declare, and the weights that the command names."""

    policy: Policy
    subject: JudgedModel
    columns: Mapping[str, DeclaredColumn]
    library: Library
    named: NamedWeights
    written: WrittenAt

    @property
    def is_older(self) -> bool:
        """Whether the policy is shown to be older than the first result."""
        return self.written.time is not None and self.subject.first is not None and (
            self.written.time < self.subject.first
        )  # fmt: skip

    @property
    def correction(self) -> str:
        """How the choice among several models is made good; none where it is not."""
        names = self.policy.weights.content or self.policy.weights.step is not None
        return BEFOREHAND if names and self.is_older else self.policy.correction

    @property
    def chances(self) -> int:
        """By how many models an interval is corrected."""
        return max(1, self.subject.models) if self.correction == BONFERRONI else 1


def judged(judging: Judging) -> list[Check]:
    """Every check, in the order in which they are shown."""
    rules = [(rule, "rule") for rule in judging.policy.rules] + [(rule, "control") for rule in judging.policy.controls]
    return [
        _weights(judging), _age(judging), _selection(judging), *_stale(judging.subject),
        *(_worst([*_each(judging, rule, kind)]) for rule, kind in rules), *_attack_classes(judging),
    ]  # fmt: skip


def verdict(checks: Sequence[Check]) -> Verdict:
    """The last in ORDER of all outcomes."""
    return max((check.outcome for check in checks), key=ORDER.index, default=Verdict.INSUFFICIENT)


# What is not a column ------------------------------------------------------------------------------------------------


def _weights(judging: Judging) -> Check:
    question, subject = "Are these the weights that will be released?", judging.subject
    if not (judging.named.content or judging.policy.weights.content):
        sentence = "The weights that will be released are not named; give --weights FILE, or [weights] in the policy."
        return Check("weights", question, Verdict.INSUFFICIENT, sentence)
    for by, named in (("the command", judging.named), ("the policy", judging.policy.weights)):
        why = differs(named, subject.weights, subject.row.get("step"), judging.library, by)
        if why:
            return Check("weights", question, Verdict.INSUFFICIENT, f"{why[0].upper()}{why[1:]}")
    return Check("weights", question, Verdict.PASS, f"Their SHA-256 is {str(subject.weights.sha256)[:12]}….")


def _age(judging: Judging) -> Check:
    question, at, first = "Was the policy written before the results?", judging.written, judging.subject.first
    if at.time is None:
        return Check("policy", question, Verdict.INSUFFICIENT, f"That is not shown: {at.why}.")
    if first is None:
        return Check("policy", question, Verdict.INSUFFICIENT, "No result says when it was finished.")
    times = f"It was written at {_time(at.time)} ({at.by}), the first result is of {_time(first)}"
    if not judging.is_older:
        return Check("policy", question, Verdict.INSUFFICIENT, f"{times}: the policy is not older than the rows.")
    return Check("policy", question, Verdict.PASS, f"{times}.")


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _selection(judging: Judging) -> Check:
    question, seen = "Was one model chosen among several?", judging.subject.models
    if seen <= 1:
        sentence = "No other model of these data was measured in this run directory." if seen else "None was measured."
        return Check("selection", question, Verdict.PASS if seen else Verdict.INSUFFICIENT, sentence, n=seen)
    also = f"{seen} models of these data were measured in this run directory"
    if judging.correction == BEFOREHAND:
        sentence = f"{also}; the policy, which is older than the rows, names this one."
    elif judging.correction == BONFERRONI:
        sentence = f"{also}; each interval is widened for as many (Bonferroni)."
    else:
        sentence = (
            f"{also}, and to choose the best of them is selection: name the model in a policy that is older than the "
            f'rows, or write correction = "{BONFERRONI}".'
        )
    outcome = Verdict.INSUFFICIENT if judging.correction == NO_CORRECTION else Verdict.PASS
    return Check("selection", question, outcome, sentence, n=seen, unit_of_n="models")


def _stale(subject: JudgedModel) -> Iterator[Check]:
    question = "Do the rows count?"
    if not subject.rows:
        yield Check("rows", question, Verdict.INSUFFICIENT, "There is no row of these weights: nothing was measured.")
    if any(row.get("stale") for row in subject.rows):
        sentence = "The rows are of weights of difgen 0.1.0 that are not checked; run the same sweep again."
        yield Check("rows", question, Verdict.INSUFFICIENT, sentence)


def _attack_classes(judging: Judging) -> Iterator[Check]:
    for attack in judging.policy.required:
        question = f"Was it tried: {attack}?"
        ran = methods(judging, attack)
        if ran:
            yield Check("attack class", question, Verdict.PASS, f"By {', '.join(ran)}.")
        else:
            can = [metric for metric, classes in attacks(judging.library).items() if attack in classes]
            by = f" ({' or '.join(can)} would do so)" if can else ", and no metric here does so"
            yield Check("attack class", question, Verdict.INSUFFICIENT, f"It was not run{by}.")


def methods(judging: Judging, attack: str) -> list[str]:
    """The metrics with values that answer for an attack class."""
    tried = attacks(judging.library)
    return sorted({
        column.metric
        for name, column in judging.columns.items()
        if attack in tried.get(column.metric, ()) and column.spec.role == "metric"
        and any(number(row.get(name)) is not None for row in judging.subject.rows)
    })  # fmt: skip


def coverage(judging: Judging) -> Iterator[tuple[str, str, str, str]]:
    """Each attack class, where others ask for it, whether it was run, and by what or why not."""
    for attack, reference in ATTACK_CLASSES.items():
        ran = methods(judging, attack)
        reason = judging.policy.not_applicable.get(attack)
        status = "run" if ran else "not_applicable" if reason else "not_run"
        yield attack, reference, status, ", ".join(ran) or reason or "not run"


# Columns -------------------------------------------------------------------------------------------------------------


def _each(judging: Judging, rule: Rule, kind: str) -> Iterator[Check]:
    """A rule in every row that it can be looked up in, and in every group where its column is by group."""
    subject, empty = judging.subject, Check(kind, rule.question, Verdict.INSUFFICIENT, "", rule.words, rule.column)
    rows = subject.rows if rule.kind == "model" else [subject.references[rule.kind]] if (
        rule.kind in subject.references
    ) else []  # fmt: skip
    declared = judging.columns.get(rule.column)
    beside = {name for name, column in judging.columns.items() if declared and column.metric == declared.metric}
    measured = [row for row in rows if any(row.get(name) is not None for name in beside or {rule.column})]
    if not measured:
        what = f"{declared.metric} was not run" if declared else f"there is no {rule.column}"
        of = "" if rule.kind == "model" else f" of {rule.kind}"
        yield replace(empty, sentence=f"Nothing was measured{of}: {what}.")
    for row in measured:
        yield _column(judging, rule, row, replace(empty, cell=str(row.get("cell"))))
    for table in declared.tables if declared else ():
        lines = subject.group_lines.get(table, ())
        if not lines:
            yield replace(empty, sentence=f"The table {table} has no line of a group of it.")
        for line in lines:
            group = ", ".join(f"{k} {line[k]}" for k in GROUP_COLUMNS if line.get(k) is not None) or "one"
            yield _column(judging, rule, line, replace(empty, cell=str(line.get("cell")), group=group))


def _column(judging: Judging, rule: Rule, row: Mapping[str, Any], check: Check) -> Check:
    """A rule in one row: insufficient where something is missing or too little, fail or pass by the bad end."""
    declared = judging.columns.get(rule.column)
    name = f"{rule.column} ({check.group})" if check.group else rule.column
    if declared is not None and declared.foreign and (why := blind.reason(row)):
        return replace(check, sentence=f"{name} says nothing: {why}.")
    interval, why = intervals.of(rule, declared, row, judging.chances)
    if interval is None:
        return replace(check, value=number(row.get(rule.column)), sentence=f"{name} {why}.")
    check = _beside(rule, declared, row, judging.columns, _filled(check, interval))
    written = f"{name} is {_shown(interval)}"
    if beyond := interval.beyond(rule, good=True):
        return replace(check, outcome=Verdict.FAIL, sentence=f"{written}: {beyond}, even at the good end.")
    weak = _too_little(rule, check) or ("" if rule.control or not declared else declared.few_samples(row))
    if weak:
        return replace(check, sentence=f"{written}, and {weak}.")
    if beyond := interval.beyond(rule, good=False):
        return replace(check, outcome=Verdict.FAIL, sentence=f"{written}: {beyond} at the bad end.")
    return replace(check, outcome=Verdict.PASS, sentence=f"{written}.")


def _filled(check: Check, interval: JudgedInterval) -> Check:
    return replace(
        check, value=interval.value, lo=interval.lower, hi=interval.upper, level=interval.level,
        bound_used=interval.used,
    )  # fmt: skip


def _beside(
    rule: Rule, declared: DeclaredColumn | None, row: Mapping[str, Any], columns: Mapping[str, DeclaredColumn],
    check: Check,
) -> Check:  # fmt: skip
    """The check with how much was measured, the power, and the control of its column."""
    of_n, control = columns.get(rule.n_column), declared.spec.control if declared else ""
    return replace(
        check, n=number(row.get(rule.n_column)), unit_of_n=of_n.spec.unit if of_n else None,
        power=number(row.get(rule.power_column)), control=number(row.get(control)),
    )  # fmt: skip


def _too_little(rule: Rule, check: Check) -> str:
    """Why a value may not be judged, the end of a sentence; empty where it may."""
    unit = f" {check.unit_of_n}" if check.unit_of_n else ""
    if rule.least_n is not None and (check.n is None or check.n < rule.least_n):
        has = f"{check.n:,.0f}{unit}" if check.n is not None else "an unknown number"
        return f"it is estimated from {has}, where the policy asks for {rule.least_n:,}"
    if rule.least_power is not None and (check.power is None or check.power < rule.least_power):
        has = labels.number(check.power) if check.power is not None else "not known"
        return f"its power is {has}, where the policy asks for {rule.least_power:g}"
    return ""


def _shown(interval: JudgedInterval) -> str:
    written = labels.number(interval.value)
    if interval.lower is None or interval.upper is None:
        return written
    return f"{written} [{labels.number(interval.lower)}, {labels.number(interval.upper)}]"


def _worst(checks: Sequence[Check]) -> Check:
    """The check that decides: the last outcome in ORDER, and of several the one whose bad end is farthest."""
    last = max((check.outcome for check in checks), key=ORDER.index)
    same = [check for check in checks if check.outcome == last]

    def badness(check: Check) -> float:
        end = check.value if check.bound_used == "value" else check.lo if check.bound_used == "lo" else check.hi
        return -float("inf") if end is None else -end if check.bound_used == "lo" else end

    return max(same, key=badness)
