"""A policy, and rows of one model that hold it at every point: tests change one thing, and look at what closes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from difgen_cli.engine.plugins import Library
from difgen_cli.gate import calibrated_columns, checks, columns, reading
from difgen_cli.gate.age import WrittenAt
from difgen_cli.gate.checks import Check, Judging
from difgen_cli.gate.policy import NamedWeights, Policy
from difgen_cli.gate.subject import JudgedModel
from difgen_cli.gate.weights import AuditedWeights

SHA, OTHER = "a" * 64, "b" * 64
POLICY = """\
name = "planted"
release = "open-weights"
attacker = "weights"

[[rules]]
question = "Does it copy?"
column = "mem_frac"
at_most = 0.01
least_n = 900
least_power = 0.5

[[rules]]
question = "Can one tell who was in?"
column = "mia_auc_025"
at_most = 0.6
least_n = 400

[controls.blind]
column = "blind_auc_lo"
bound = "value"
at_most = 0.52
least_n = 50

[controls.held_out_copies]
column = "mem_frac_control"
at_most = 0.02

[controls.copycat]
column = "mem_frac"
kind = "copycat"
at_least = 0.9

[attacks]
required = ["membership inference", "regurgitation"]
"""
ROW: dict[str, Any] = {
    "kind": "model", "cell": "c" * 16, "home": "h" * 16, "seed": 0, "step": 300.0, "stale": False,
    "mem_frac": 0.001, "mem_frac_lo": 0.0002, "mem_frac_hi": 0.006, "sample_distinct": 1000.0, "mem_power": 0.7,
    "mem_frac_control": 0.0, "mem_frac_control_lo": 0.0, "mem_frac_control_hi": 0.008,
    "mia_auc_025": 0.51, "mia_auc_025_lo": 0.48, "mia_auc_025_hi": 0.54, "mia_images": 500.0,
    "blind_auc": 0.5, "blind_auc_lo": 0.46, "blind_auc_hi": 0.54, "blind_images": 500.0,
}  # fmt: skip
COPYCAT = {"kind": "copycat", "cell": "d" * 16, "mem_frac": 1.0, "mem_frac_lo": 0.996, "mem_frac_hi": 1.0}
BEFORE, FIRST = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


@cache
def declared() -> dict[str, columns.DeclaredColumn]:
    """What the package's metrics declare."""
    return columns.of_library(Library()) | calibrated_columns.declared()


def policy(text: str = POLICY, *others: str) -> Policy:
    """A policy of a text; further columns of the rows by name."""
    return reading.parsed(text, declared(), {"sample.count", *others})


def judging(text: str = POLICY, row: dict[str, Any] | None = None, **subject: Any) -> Judging:
    """All that passes, but for some values of the row and some fields of the subject."""
    given = JudgedModel(
        rows=[ROW | (row or {})], references={"copycat": COPYCAT}, weights=AuditedWeights((SHA,), averaging="ema"),
        first=FIRST, models=1,
    )  # fmt: skip
    named = NamedWeights((SHA,))
    written = WrittenAt(BEFORE, "declared")
    return Judging(policy(text), replace(given, **subject), declared(), Library(), named, written)


def closed(of: Judging) -> dict[str, Check]:
    """The checks that do not pass, by their question."""
    return {check.question: check for check in checks.judged(of) if check.outcome != "pass"}
