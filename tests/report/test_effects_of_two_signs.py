"""Where an axis does one thing at one level of another axis and the opposite at another, no average is named."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from test_first_findings import N, Share, planted, sentences

from difgen_cli.report.study import curves, effects

AXES = {"model.width": [64, 256], "data.size": [16, 64]}


def moved(by_size: dict[int, float]) -> Share:
    """0.5 at width 64, and so much more at width 256, a little more or less with each seed."""

    def share(at: dict[str, Any], seed: int) -> float:
        wide = at["model.width"] == 256
        return 0.5 + wide * by_size[at["data.size"]] + 0.005 * (seed - 1) * (1 + wide)

    return share


def told(by_size: dict[int, float], count: int = 3) -> str:
    return sentences(planted(AXES, moved(by_size), count)).get("effects", "")


def test_two_sure_signs_are_told_in_place_of_the_average() -> None:
    found = told({16: 0.2, 64: -0.1})
    width = (
        r"No average is given where the sign depends on another axis \(last snapshots, paired by seed\): "
        r"width 256 against width 64 raises mem_frac at N = 16 \(0\.200 \[0\.1\d+, 0\.2\d+\]\) and lowers it at N = 64 "
        r"\(−0\.100 \[−0\.1\d+, −0\.0\d+\]\) \(intervals hold for both levels together, 3 seeds\)\.$"
    )
    assert re.search(width, found)
    assert "width 256 against width 64" not in found.split("No average")[0]
    assert "N = 64 against N = 16 lowers mem_frac" in found  # 0 at width 64, −0.3 at 256: one sign, and averaged


@pytest.mark.parametrize(
    "by_size",
    [{16: 0.2, 64: 0.1}, {16: 0.2, 64: 0.0}, {16: 0.2, 64: -0.01}, {16: -0.2, 64: -0.1}],
    ids=["both up", "nothing at one", "not surely down", "both down"],
)
def test_one_sign_is_averaged(by_size: dict[int, float]) -> None:
    found = told(by_size)
    assert "averaged over the other axes, each with an interval of its own: " in found
    assert "width 256 against width 64 " in found
    assert "No average" not in found


def test_a_single_seed_has_no_signs() -> None:
    assert told({16: 0.2, 64: -0.1}, count=1) == ""


def test_only_two_signs_leave_the_sentence_of_averages_out() -> None:
    """Crossed: each axis has both signs at the levels of the other one."""

    def share(at: dict[str, Any], seed: int) -> float:
        return 0.5 + 0.2 * ((at["model.width"] == 256) == (at["data.size"] == 16)) + 0.005 * (seed - 1)

    found = sentences(planted(AXES, share))["effects"]
    assert found.startswith("No average is given")
    assert found.count(" raises mem_frac at ") == found.count(" and lowers it at ") == 2


def test_more_seeds_would_not_settle_an_average_of_two_signs() -> None:
    """The average over sizes is 0 with a wide interval, as the seeds differ: a question where both sizes rise alike."""

    def share(by_size: dict[int, float]) -> Share:
        return lambda at, seed: 0.5 + (at["model.width"] == 256) * (by_size[at["data.size"]] + 0.08 * (seed - 1))

    asked = "whether width 256 against width 64 changes mem_frac"
    assert asked in sentences(planted(AXES, share({16: 0.0, 64: 0.0})))["undecided"]
    crossed = sentences(planted(AXES, share({16: 0.4, 64: -0.4})))
    assert asked not in crossed.get("undecided", "")
    assert "width 256 against width 64 raises mem_frac at N = 16" in crossed["effects"]


def test_the_intervals_are_newcombes_for_all_levels_together() -> None:
    """By hand: two levels of one axis and three of another are looked at, so that z is of 1 − 0.025/5."""
    axes = {**AXES, "condition.name": ["none", "kmeans", "temi"]}
    study = planted(axes, lambda at, seed: moved({16: 0.2, 64: -0.2})({**at, "model.width": at["model.width"]}, 1))
    (effect,) = (one for one in effects.read(curves.read(study)) if one.axis == "model.width")
    assert effect.opposite is not None
    assert (effect.opposite.axis, effect.opposite.looked) == ("data.size", 5)
    total, z, ends = 3 * 3 * N, norm.ppf(1 - 0.025 / 5), {}
    for share in (0.5, 0.7):
        u = z**2 / total
        half = np.sqrt(u * share * (1 - share) + u * u / 4) / (1 + u)
        ends[share] = (share + u / 2) / (1 + u) - half, (share + u / 2) / (1 + u) + half
    below, above = np.hypot(0.7 - ends[0.7][0], ends[0.5][1] - 0.5), np.hypot(ends[0.7][1] - 0.7, 0.5 - ends[0.5][0])
    up = effect.opposite.up
    assert (up.mean, up.lo, up.hi) == pytest.approx((0.2, 0.2 - below, 0.2 + above))
