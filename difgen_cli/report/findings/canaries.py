"""Sentences for canaries: the largest bound of all that were looked at, corrected for that, and what is copied."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.findings.numbers import Row, count, percent
from difgen_cli.report.findings.one_run import NOT_SHOWN
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.canaries import REPEATS, settings
from difgen_cli.report.study.curves import STEPS, Curves, per_group

GROUP, ROW, MOST, RIGHT, GUESSES = (
    "canary_eps_group", "canary_eps_row", "canary_eps_most", "canary_right", "canary_guesses"
)  # fmt: skip


def shown(row: Row, _: Row) -> str | None:
    """What the canaries of one training show, for all numbers of repeats at once."""
    if not row.has_values(GROUP, ROW, MOST, RIGHT, GUESSES):
        return None
    numbers = f"{row.number(RIGHT):,.0f} of {row.number(GUESSES):,.0f} guesses of who was planted are right"
    if row.number(GROUP) <= 0:
        return f"The canaries of this training show no epsilon above 0, {NOT_SHOWN}: {numbers}."
    return (
        f"The canaries of this training show an epsilon of at least {labels.number(row.number(GROUP))} for all rows of "
        f"one together, and {labels.number(row.number(ROW))} for one row, with 95 % confidence: {numbers}, and all of "
        f"them could show {labels.number(row.number(MOST))}."
    )


def shown_in_study(curves: Curves, _: pd.DataFrame) -> str | None:
    """The largest bound of each setting over kinds, snapshots and numbers of repeats, corrected for their number."""
    lines = curves.canaries
    if lines.empty or "eps_least_all" not in lines:
        return None
    lines = lines.dropna(subset=["eps_least_all"])
    best = [_largest(group) for _, group in per_group(lines, settings(curves))]
    above = sorted(line["eps_least_all"] for line in best if line["eps_least_all"] > 0)
    if len(best) == 1:
        return _sentence(curves, best[0], lines)
    sentence = f"Canaries show an epsilon above 0 for all rows of one in {len(above) or 'none'} of "
    sentence += count(len(best), "setting")
    if not above:
        return f"{sentence}, {NOT_SHOWN}."
    sentence += f", at least {labels.number(above[0])}"
    sentence += f" to {labels.number(above[-1])}" if len(above) > 1 else ""
    bounds = int(best[0]["bounds"])
    sentence += ", each with 95 % confidence"
    sentence += f", the largest of its {bounds} bounds and corrected for that" if bounds > 1 else ""
    return f"{sentence}." if len(above) == len(best) else f"{sentence}; elsewhere nothing is shown, {NOT_SHOWN}."


def copied_in_study(curves: Curves, _: pd.DataFrame) -> str | None:
    """How many planted canaries are copied by number of repeats, at the last snapshots; beside those never planted."""
    lines = curves.canaries
    if lines.empty or not lines["examined"].sum():
        return None
    if STEPS in curves.paths:
        lines = lines[lines[STEPS] == lines[STEPS].max()]
    sums = lines.groupby(REPEATS)[["examined", "extracted", "examined_control", "extracted_control"]].sum()
    sums = sums[sums["examined"] > 0]
    repeats = _listed([str(int(k)) for k in sums.index])
    shares = _listed([percent(line["extracted"] / line["examined"]) for _, line in sums.iterrows()])
    sentence = f"Of canaries that are planted {repeats} times samples copy {shares} at the last snapshots"
    sentence += f" ({sums['examined'].sum():,.0f} canaries)"
    others, copies = sums["examined_control"].sum(), sums["extracted_control"].sum()
    return (
        f"{sentence}; of {others:,.0f} that were never planted {percent(copies / others)}."
        if others
        else f"{sentence}."
    )


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def _largest(lines: pd.DataFrame) -> pd.Series:
    """The line whose bound is the largest; of equal ones that with the fewest rows."""
    return lines.sort_values(["eps_least_all", REPEATS], ascending=[False, True], kind="stable").iloc[0]


def _sentence(curves: Curves, line: pd.Series, lines: pd.DataFrame) -> str:
    seeds, rows = int(line["trainings"]), int(line[REPEATS])
    who = f"{count(seeds, 'training')} with coins of {'its' if seeds == 1 else 'their'} own"
    show, bounds = "shows" if seeds == 1 else "show", int(line["bounds"])
    numbers = f"{line['right']:,.0f} of {line['guesses']:,.0f} guesses of who was planted are right"
    if line["eps_least_all"] <= 0:
        return f"Canaries: {who} {show} no epsilon above 0, {NOT_SHOWN}: at most {numbers}."
    paths = [path for path in curves.paths if path not in settings(curves)]
    where = [labels.level(path, str(line[path])) for path in paths]
    chosen = f", the largest of {bounds} bounds and corrected for that" if bounds > 1 else ""
    together = f" for the {rows} rows of a canary together" if rows > 1 else " for one row"
    single = f", and {labels.number(float(lines['eps_row_all'].max()))} for one row" if rows > 1 else ""
    at = f" (at {', '.join(where)})" if where else ""
    return (
        f"Canaries: {who} {show} an epsilon of at least {labels.number(line['eps_least_all'])}{together}{single}, with "
        f"95 % confidence{chosen}{at}: {numbers}, and all of them could show {labels.number(line['eps_most_all'])}."
    )
