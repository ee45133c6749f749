"""Predictions against laws that are known: sums of terms are found again, and what is open is said to be open."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difgen_cli.engine.cost.estimate import Measured, Seconds, predict, products, total

FLOPS = products(("flops",))


def test_products_are_all_ways_to_grow():
    assert products(("count", "size")) == [(), ("count",), ("size",), ("count", "size")]


def test_a_start_and_so_much_an_operation_are_found_again_far_beyond_what_was_measured():
    known = [Measured({"flops": f}, 2.0 + 3e-3 * f) for f in (100.0, 400.0, 1600.0, 6400.0)]
    assert predict(known, FLOPS, {"flops": 100_000.0}).value == pytest.approx(302.0, rel=0.01)
    assert predict(known, FLOPS, {"flops": 10.0}).value == pytest.approx(2.03, rel=0.02)


PRICE, SIZE = st.floats(0.01, 10), st.floats(1, 50)


@given(PRICE, PRICE, PRICE, PRICE, SIZE, SIZE)
def test_any_law_of_two_sizes_is_found_within_what_was_measured(
    a: float, b: float, c: float, d: float, count: float, size: float
):
    def law(n: float, m: float) -> float:
        return a + b * n + c * m + d * n * m

    known = [Measured({"count": n, "size": m}, law(n, m)) for n in (1.0, 7.0, 50.0) for m in (1.0, 7.0, 50.0)]
    found = predict(known, products(("count", "size")), {"count": count, "size": size})
    assert found.value == pytest.approx(law(count, size), rel=0.05)
    assert found.low <= law(count, size) <= found.high


def test_one_measurement_says_nothing_of_growth_so_that_half_of_it_is_taken_to_grow():
    found = predict([Measured({"flops": 100.0}, 2.0, name="mlp width 64")], FLOPS, {"flops": 400.0})
    assert found.value == pytest.approx(2.0 * (1 + 4) / 2, rel=0.02)
    assert (found.how, found.source) == ("scaled", "mlp width 64")
    assert found.low < 4.0
    assert found.high > 6.0


def test_what_was_done_before_takes_what_it_took():
    known = [Measured({"flops": f}, s, like=("mlp", str(f))) for f, s in ((1.0, 5.0), (8.0, 3.0), (64.0, 70.0))]
    found = predict(known, FLOPS, {"flops": 8.0}, ("mlp", "8.0"))
    assert found.value == pytest.approx(3.0, rel=0.01)
    assert found.how == "measured"


def test_work_of_the_same_kind_counts_alone_where_there_is_any():
    known = [Measured({"flops": 10.0}, 1.0, ("mlp",)), Measured({"flops": 10.0}, 9.0, ("unet",))]
    assert predict(known, FLOPS, {"flops": 10.0}, ("unet",)).value == pytest.approx(9.0, rel=0.01)
    other = predict(known, FLOPS, {"flops": 10.0}, ("transformer",))
    assert other.how == "scaled"
    assert other.factor > 2.5, "nothing but the device agrees"


def test_the_nearest_counts_most():
    """A step from 1 s to 100 s at once, which no sum of terms follows: near the low end the low ones decide."""
    known = [Measured({"flops": f}, 1.0) for f in (1.0, 2.0, 4.0)] + [
        Measured({"flops": f}, 100.0) for f in (1e3, 2e3, 4e3)
    ]
    assert predict(known, FLOPS, {"flops": 2.0}).value < 2.0
    assert predict(known, FLOPS, {"flops": 2e3}).value > 50.0


def test_the_further_from_what_is_known_the_less_sure():
    known = [Measured({"flops": f}, 1e-3 * f) for f in (100.0, 200.0, 400.0)]
    factors = [predict(known, FLOPS, {"flops": f}).factor for f in (400.0, 1600.0, 25_600.0)]
    assert factors == sorted(factors)
    assert factors[0] < 1.5 < 2.5 < factors[2]


def test_the_interval_covers_what_is_measured_with_noise():
    """300 draws of a law with 10 % of noise, asked at four times what was measured: the truth lies in the interval."""
    draw, inside = random.Random(0), 0
    for _ in range(300):
        a, b = draw.uniform(0, 2), draw.uniform(0.1, 1)
        known = [Measured({"flops": f}, (a + b * f) * math.exp(draw.gauss(0, 0.1))) for f in (1.0, 3.0, 9.0)]
        found = predict(known, FLOPS, {"flops": 36.0})
        inside += found.low <= a + b * 36 <= found.high
    assert inside >= 285


def test_nothing_known_is_unknown_and_so_is_a_sum_with_it():
    nothing = predict([], FLOPS, {"flops": 1.0})
    assert nothing.how == "unknown"
    assert total([Seconds(2.0), nothing]).how == "unknown"


def test_a_sum_is_as_sure_as_errors_that_agree_allow():
    found = total([Seconds(10.0, 2.0), Seconds(30.0, 1.0, "scaled", "mlp width 8")])
    assert (found.value, found.how, found.source) == (40.0, "scaled", "mlp width 8")
    assert found.low <= 35.0
    assert found.high >= 50.0
