"""What a forecast of copying says, in sentences: the answer, how sure it is, and what it rests on."""

from __future__ import annotations

import math

from difgen_cli.format import counted
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.onset import CRITERIA
from difgen_cli.report.study.onset_forecast import CONFIDENCE, COPYING, OnsetForecast

NAMED = 3  # trajectories that a sentence names


def of_forecast(forecast: OnsetForecast) -> list[str]:
    """The sentences, the answer first."""
    rules = (_answer, _confidence, _interval, _short, _long, _outside, _exponents, _scatter, _used, _left_out)
    sentences = [sentence for rule in rules if (sentence := rule(forecast))]
    return [*sentences, f"Copying has set in: {CRITERIA[COPYING][0]}, at two consecutive snapshots."]


def _answer(f: OnsetForecast) -> str:
    where = ", ".join(f"{path} {labels.text(value)}" for path, value in f.at.items())
    if f.steps < 1:
        return f"At {where} no training is so short that copying has set in with a probability of at most {f.risk:.3g}."
    return (
        f"At {where} one may train for up to {counted(f.steps, 'step')}: the probability that copying has set in by "
        f"then is at most {f.risk:.3g}."
    )


def _confidence(f: OnsetForecast) -> str | None:
    if f.steps < 1:
        return None
    if f.steps_confident < 1:
        further = f"no training is so short that this has a confidence of {CONFIDENCE:.0%}"
    else:
        further = f"up to {counted(f.steps_confident, 'step')} it is {CONFIDENCE:.0%}"
    return (
        f"This is an average over what is not known of the regression: the confidence that no more than {f.risk:.1%} "
        f"of such trainings copy by then is {f.confidence:.0%}; {further}."
    )


def _interval(f: OnsetForecast) -> str:
    low, middle, high = (f"{round(value):,}" for value in (f.low, f.median, f.high))
    return f"Copying sets in after {middle} steps (median), between {low} and {high} (95 % prediction interval)."


def _short(f: OnsetForecast) -> str | None:
    if f.steps >= f.snapshots[0]:
        return None
    return f"That is before the first snapshot of these trainings, {f.snapshots[0]:,.0f} steps: nothing was seen there."


def _long(f: OnsetForecast) -> str | None:
    if f.high <= f.snapshots[1]:
        return None
    return f"The longest of these trainings has {f.snapshots[1]:,.0f} steps: no onset after that was ever seen."


def _outside(f: OnsetForecast) -> str | None:
    outside = f.outside()
    if not outside:
        return None
    parts = [
        f"{path} by a factor of {factor:.3g} (an onset was seen for {labels.text(f.data[path][0])} to "
        f"{labels.text(f.data[path][1])})"
        for path, factor in outside.items()
    ]
    return f"This lies outside the data: {' and '.join(parts)}; that the same power law goes on there is assumed."


def _exponents(f: OnsetForecast) -> str:
    parts = [
        f"{path} to the power {labels.number(middle)} [{labels.number(low)}, {labels.number(high)}]"
        for path, (middle, low, high) in f.exponents.items()
    ]
    return f"The onset goes as {' and as '.join(parts)}."


def _scatter(f: OnsetForecast) -> str:
    settings, seeds = (math.exp(one) for one in f.scatter)
    return f"Settings scatter about that by a factor of {settings:.2f}, seeds of one setting by {seeds:.2f}."


def _used(f: OnsetForecast) -> str:
    left, right = f.censored("left"), f.censored("right")
    between = len(f.trajectories) - left - right
    names = [one["name"] for one in f.trajectories]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    parts = [f"{between} with the onset between two snapshots"]
    parts += [f"{left} before the first snapshot"] if left else []
    parts += [f"{right} not until the last snapshot"] if right else []
    trajectories, settings = counted(len(names), "trajectory", "trajectories"), counted(f.settings, "setting")
    return f"From {trajectories} of grid {f.grid} in {settings}: {', '.join(parts)} ({', '.join(names[:NAMED])}{more})."


def _left_out(f: OnsetForecast) -> str | None:
    if not f.uninformative:
        return None
    those = "1 more trajectory says" if f.uninformative == 1 else f"{f.uninformative} more trajectories say"
    return f"{those} nothing of the onset (too few snapshots)."
