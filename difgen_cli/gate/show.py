"""A verdict and its reasons on a terminal of any width, and in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from difgen_cli.format import counted
from difgen_cli.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.gate.verify import Verified

NARROW = 72  # columns, below which a check has lines of its own
STYLES = {"pass": "green", "fail": "bold red", "insufficient": "bold yellow"}


def summary(evidence: Mapping[str, Any]) -> str:
    """`passes the policy open-weights: all 9 checks hold`, or how many do not."""
    name, listed = printable(str(evidence["policy"]["name"])), evidence["checks"]
    count = {word: sum(check["outcome"] == word for check in listed) for word in STYLES}
    if evidence["verdict"] == "pass":
        return f"passes the policy {name}: all {counted(len(listed), 'check')} hold"
    of, lacking = f"of {counted(len(listed), 'check')}", count["insufficient"]
    are = "is" if lacking == 1 else "are"
    if evidence["verdict"] == "insufficient":
        return f"insufficient for the policy {name}: {lacking} {of} {are} insufficient"
    also = f", and {lacking} {are} insufficient" if lacking else ""
    return f"fails the policy {name}: {count['fail']} {of} {'fails' if count['fail'] == 1 else 'fail'}{also}"


def not_run(evidence: Mapping[str, Any]) -> str:
    """The attack classes that nothing was run for."""
    return ", ".join(one["attack_class"] for one in evidence["coverage"] if one["status"] == "not_run")


def show(evidence: Mapping[str, Any], console: Console) -> None:
    """Print the verdict, every check with its reason, and what was not run."""
    soft = not console.is_terminal
    console.print(Text(summary(evidence), STYLES[evidence["verdict"]]), soft_wrap=soft)
    lines = [(str(c["outcome"]), c["kind"], c["question"], c["rule"], c["sentence"]) for c in evidence["checks"]]
    if soft or console.width < NARROW:
        _print_lines(lines, console, soft)
    else:
        console.print(_table(lines))
    left_out = not_run(evidence)
    if left_out:
        console.print(Text(f"Not run: {left_out}. What was not run is not shown."), soft_wrap=soft)


def show_verified(verified: Verified, console: Console) -> None:
    """Print whether evidence is what the rows give, each difference, and what was not compared."""
    soft = not console.is_terminal
    if verified.differences:
        count = counted(len(verified.differences), "difference")
        console.print(Text(f"the evidence does not hold: {count}", STYLES["fail"]), soft_wrap=soft)
    else:
        written = summary(verified.document)
        console.print(Text(f"the evidence holds; it says: {written}"), soft_wrap=soft)
    for sentence in verified.differences:
        console.print(Text(f"- {printable(sentence)}"), soft_wrap=soft)
    for sentence in verified.unchecked:
        console.print(Text(f"Not compared: {printable(sentence)}."), soft_wrap=soft)


def _print_lines(lines: Sequence[tuple[str, ...]], console: Console, soft: bool) -> None:
    for outcome, kind, question, rule, sentence in lines:
        asked = f"{printable(question)}{' (control)' if kind == 'control' else ''}"
        limit = f" [{printable(rule)}]" if rule else ""
        text = Text.assemble((outcome.upper(), STYLES[outcome]), f"  {asked}{limit}  {printable(sentence)}")
        console.print(text, soft_wrap=soft)


def _table(lines: Sequence[tuple[str, ...]]) -> Table:
    """A line for each check: its outcome, what is asked with the rule below it, and the reason."""
    table = Table(show_header=False, pad_edge=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=2)
    table.add_column(overflow="fold", ratio=3)
    for outcome, kind, question, rule, sentence in lines:
        asked = f"{printable(question)}{' (control)' if kind == 'control' else ''}"
        below = Text(f"\n{printable(rule)}", "dim") if rule else Text()
        table.add_row(Text(outcome.upper(), STYLES[outcome]), Text(asked) + below, Text(printable(sentence)))
    return table
