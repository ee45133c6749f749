"""What is said of a forecast, and what stands beside it afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from difgen_cli.engine.cost.estimate import UNKNOWN, Seconds
from difgen_cli.engine.cost.forecast import Forecast, Part
from difgen_cli.engine.cost.sentences import as_dict, beside, expected
from difgen_cli.engine.plan.work import Work

SURE = Forecast(
    Work(), 2,
    (Part("training", 4, Seconds(600.0, 1.5)), Part("gap", 8, Seconds(60.0, 1.5)), Part("start-up", 2, Seconds(20.0))),
    Seconds(350.0, 1.5), Seconds(200.0), Part("gap", 1, Seconds(8.0)),
)  # fmt: skip
BLIND = Forecast(Work(), 1, (Part("training", 4, UNKNOWN),), UNKNOWN, UNKNOWN, Part("", 0, UNKNOWN))


def test_an_expectation_has_its_interval_its_workers_and_its_source():
    assert expected(SURE) == "about 5m50 on 2 workers (3m53 to 8m45), 11m20 of workers' time; measured"
    assert expected(BLIND) == (
        "how long it takes on 1 worker is not known: no training of this run directory was on this device"
    )


def test_json_has_the_same_numbers_and_none_for_what_is_not_known():
    said = as_dict(SURE)
    assert said["total"]["seconds"] == 680.0
    assert said["wall"]["seconds_lo"] == pytest.approx(350 / 1.5, abs=1e-3)
    assert as_dict(BLIND)["parts"][0]["seconds"] is None
    assert as_dict(BLIND)["wall"]["seconds_hi"] is None


def test_what_it_took_stands_beside_what_was_expected():
    clock = {"training": 310.0, "sampling": 0.0, "scoring": 35.0, "preparing": 5.0, "wall": 365.0, "waiting": 5.0}
    said = beside(as_dict(SURE), [{"seconds": clock, "units": 6}] * 2, 12)
    assert said == (
        "took 6m05, expected 5m50 (3m53 to 8m45); "
        "workers' time (expected): training 10m20 (10m00), sampling 0s (0s), scoring 1m10 (1m00), start-up 30s (20s)"
    )


def test_what_was_not_known_is_no_expectation_of_nothing():
    parts = (Part("training", 4, Seconds(600.0, 1.5)), Part("gap", 8, UNKNOWN), Part("path", 8, UNKNOWN))
    clock = {"training": 310.0, "sampling": 0.0, "scoring": 35.0, "wall": 365.0, "waiting": 5.0}
    guess = replace(SURE, parts=parts)
    assert "scoring 35s (not known), start-up 15s (0s)" in str(
        beside(as_dict(guess), [{"seconds": clock, "units": 6}], 6)
    )
    some = replace(guess, parts=(*parts, Part("copying", 8, Seconds(9.0))))
    assert "scoring 35s (9s)" in str(beside(as_dict(some), [{"seconds": clock, "units": 6}], 6))


@pytest.mark.parametrize(
    "worker_records", [[], [{"seconds": {"wall": 9.0, "waiting": 0.0}, "units": 3}], [{"units": 12}]]
)
def test_where_a_worker_was_lost_nothing_is_said(worker_records: list[dict[str, object]]):
    assert beside(as_dict(SURE), worker_records, 12) is None


def test_where_nothing_was_expected_nothing_is_said():
    clock = {"training": 1.0, "wall": 2.0, "waiting": 0.0}
    assert beside(as_dict(BLIND), [{"seconds": clock, "units": 12}], 12) is None
    assert beside({}, [{"seconds": clock, "units": 12}], 12) is None
