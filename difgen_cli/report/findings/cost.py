"""Sentences for what a copy costs: how many samples it takes until the first one."""

from __future__ import annotations

from difgen_cli.report.findings import copies
from difgen_cli.report.findings.numbers import Row, count, percent
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.first_copy import ALPHA, CHANGED, EVERY, FIRST

MANY = 30  # from which on 3 in n is within 5 % of the bound


def first(row: Row, copier: Row) -> str | None:
    """`The first copy is sample 6 of 200: on average one in 6.67 samples [4.76, 9.52] is one.`, of copies that are
    shown to be more than among held-out images; of changed ones where no others are; None where there are none."""
    if not row.has_values("sample.count"):
        return None
    plain = copies.beyond_control(row, copier) or row["mem_identical"] or copies.few_copies(row, copier)
    if plain and row.has_values(FIRST, EVERY):
        ends = ""
        if row.has_values(f"{EVERY}_lo", f"{EVERY}_hi") and not row.few:
            ends = f" [{_number(row, f'{EVERY}_lo')}, {_number(row, f'{EVERY}_hi')}]"
        return f"The first copy is {_place(row, FIRST)}: on average one in {_number(row, EVERY)} samples{ends} is one."
    if row.has_values(CHANGED) and copies.changed_copies_are_shown(row, copier):
        return f"The first changed copy is {_place(row, CHANGED)}."
    return None


def none_yet(n: float) -> str:
    """What none among so many samples excludes."""
    return f"None of {count(n, 'sample')} counts as a copy: at most {most(n)} would, with 95 % confidence."


def most(n: float) -> str:
    """The largest share that goes with none among n, at 95 %: 1 − .05^(1/n), which is 3 in n where n is large."""
    return f"3 in {n:,.0f}" if n >= MANY else f"{percent(1 - ALPHA ** (1 / n))} of samples"


def first_copy(row: Row, copier: Row) -> str | None:
    """The first copy where copies are shown; what none excludes, where the rule can see and nothing else is found."""
    if FIRST not in row or row.constant:
        return None
    if row.has_values(FIRST) or row.has_values(CHANGED):
        return None if row.few else first(row, copier)
    seen = copies.ratio_is_blind(row, copier) or copies.of_other_kinds(row, copier)
    if row.few or seen or row["mem_frac"] != 0 or not row.has_values(f"{EVERY}_lo", "sample.count"):
        return None
    return none_yet(row.number("sample.count"))


def _place(row: Row, name: str) -> str:
    return f"sample {row.number(name):,.0f} of {row.number('sample.count'):,.0f}"


def _number(row: Row, name: str) -> str:
    return labels.number(row.number(name))
