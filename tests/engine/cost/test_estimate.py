"""Predictions against known answers: medians, scaling by size and FLOPs, and ranges that hold the truth."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difgen_cli.engine.cost.estimate import Seconds, predict, total
from difgen_cli.engine.cost.history import Workload

Measured = dict[Workload, list[float]]


def of_network(network: str, *rates: float) -> Measured:
    return {of_mlp(network): list(rates)}


def of_mlp(network: str) -> Workload:
    return Workload(1.0, "mlp", network, name=network)


def of_size(size: float, *seconds: float) -> Measured:
    return {Workload(size): list(seconds)}


def test_the_same_work_takes_the_median_of_what_it_took_and_the_range_holds_all_of_it():
    expected = predict(of_size(10.0, 3.0, 4.0, 4.0, 9.0, 4.5), Workload(10.0))
    assert (expected.value, expected.how) == (4.0, "measured")
    assert expected.low <= 3.0
    assert expected.high >= 9.0


def test_equal_measurements_all_count():
    assert predict(of_size(1.0, 5.0, 5.0, 50.0), Workload(1.0)).value == 5.0


@given(st.floats(1e-3, 1e3), st.floats(1, 1e6), st.floats(1, 1e6))
def test_time_grows_in_proportion_to_the_size(rate: float, before: float, asked: float):
    expected = predict(of_size(before, rate * before), Workload(asked))
    assert expected.value == pytest.approx(rate * asked)
    assert expected.how == ("measured" if before == asked else "scaled")


def test_the_nearest_sizes_count_alone():
    measured = {Workload(size): [5.0 + size * 1e-3] for size in (1.0, 1.5, 1e5)}
    assert predict(measured, Workload(1e5)).value == pytest.approx(105.0)
    assert predict(measured, Workload(1.2)).value == pytest.approx(5.0, rel=0.3)


def test_work_of_the_same_kind_counts_alone_where_there_is_any():
    measured = {Workload(10.0, "mlp", "narrow"): [1.0], Workload(10.0, "unet", "wide"): [9.0]}
    assert predict(measured, Workload(10.0, "unet", "wide")).value == pytest.approx(9.0)
    other = predict(measured, Workload(10.0, "transformer", "deep"))
    assert other.how == "scaled"
    assert other.factor > 2.5, "nothing but the device agrees"


def test_the_same_network_counts_before_the_same_settings_and_those_before_the_device_alone():
    here, batch = Workload(1.0, "mlp", "small", "batch 10"), "batch 20"
    others = [Workload(1.0, "mlp", "small", batch), Workload(1.0, "mlp", "large", "batch 10"),
              Workload(1.0, "unet", "deep", batch)]  # fmt: skip
    flops = dict.fromkeys(("small", "large", "deep"), 1.0)
    measured = [(workload, [seconds]) for workload, seconds in zip(others, (1.0, 2.0, 3.0), strict=True)]
    found = [predict(dict(measured[k:]), here, lambda: flops) for k in range(3)]
    assert [f.value for f in found] == [1.0, 2.0, 3.0]
    assert [f.factor / found[1].factor for f in found] == [2.0, 1.0, 4.0]
    assert {f.how for f in found} == {"scaled"}


def test_another_network_is_scaled_by_flops_and_the_range_reaches_from_no_growth_to_growth_in_proportion():
    flops = {"small": 100.0, "large": 1600.0}
    expected = predict(of_network("small", 2.0), of_mlp("large"), lambda: flops)
    assert (expected.value, expected.how, expected.source) == (pytest.approx(2.0 * 4), "scaled", "small")
    assert expected.low <= 2.0
    assert expected.high >= 2.0 * 16


def test_of_several_networks_the_nearest_in_flops_counts():
    flops = {"small": 100.0, "middle": 1000.0, "large": 1600.0}
    measured = of_network("small", 1.0) | of_network("middle", 8.0, 10.0, 30.0)
    expected = predict(measured, of_mlp("large"), lambda: flops)
    assert (expected.value, expected.source) == (pytest.approx(10 * math.sqrt(1.6)), "middle")


def test_flops_are_not_counted_where_the_network_itself_has_run():
    expected = predict(of_network("small", 2.0), of_mlp("small"), lambda: pytest.fail("counted"))
    assert (expected.value, expected.how) == (2.0, "measured")


def test_a_network_that_cannot_be_counted_takes_what_others_took_with_a_wide_range():
    expected = predict(of_network("small", 2.0), of_mlp("odd"), lambda: {"small": 100.0})
    assert (expected.value, expected.how) == (2.0, "scaled")
    assert expected.factor > 4


def test_the_further_from_what_has_run_the_less_sure():
    flops = {"small": 100.0, "a": 400.0, "b": 25_600.0}
    factors = [predict(of_network("small", 1.0), of_mlp(n), lambda: flops).factor for n in flops]
    assert factors == sorted(factors)
    assert factors[0] < 1.5 < 2.5 < factors[2]
    assert predict(of_size(1.0, 1.0), Workload(100.0)).factor > predict(of_size(1.0, 1.0), Workload(10.0)).factor


@pytest.mark.parametrize("count", [1, 3, 30])
def test_the_range_covers_what_is_measured_with_noise(count: int):
    """300 draws with 10 % of noise: a start-up and so much an operation, asked for at four times the FLOPs."""
    draw, inside, flops = random.Random(0), 0, {"small": 9.0, "large": 36.0}
    for _ in range(300):
        start, rate = draw.uniform(0, 2), draw.uniform(0.1, 1)
        seconds = [(start + rate * 9) * math.exp(draw.gauss(0, 0.1)) for _ in range(count)]
        expected = predict(of_network("small", *seconds), of_mlp("large"), lambda: flops)
        inside += expected.low <= start + rate * 36 <= expected.high
    assert inside >= 285


def test_nothing_measured_is_unknown_and_so_is_a_sum_with_it():
    nothing = predict({}, Workload(1.0))
    assert nothing.how == "unknown"
    assert total([Seconds(2.0), nothing]).how == "unknown"


def test_a_sum_is_as_sure_as_errors_that_agree_allow():
    found = total([Seconds(10.0, 2.0), Seconds(30.0, 1.0, "scaled", "mlp width 8")])
    assert (found.value, found.how, found.source) == (40.0, "scaled", "mlp width 8")
    assert found.low <= 35.0
    assert found.high >= 50.0
