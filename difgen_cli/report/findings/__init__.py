"""What numbers say, in sentences: the one place where rows become claims, for the terminal, pages and JSON.

Each sentence is made by one rule (`samples.RULES`, `study.RULES`) from measured columns alone, and these are in the
order in which they are written: no other place sorts them. A rule claims no more than interval, control, power and the
number of distinct samples carry; of samples a measure that its own control shows to be blind says so before anything
else, and of a study no result is stated where it is. `tests/report/` holds a test for every rule.
"""

from __future__ import annotations

from difgen_cli.report.findings.numbers import Row
from difgen_cli.report.findings.samples import of_samples
from difgen_cli.report.findings.study import FIRST, of_study

__all__ = ["FIRST", "Row", "of_samples", "of_study"]
