"""Shares of the roofline by hand."""

from __future__ import annotations

import pytest

from difgen_cli.engine.cost.flops import NetworkWork
from difgen_cli.engine.cost.machine import Limits

LIMITS = Limits(flops_per_second=1000.0, bytes_per_second=100.0)  # as many either way at 10 FLOP a byte


@pytest.mark.parametrize(
    ("work", "seconds", "bound"),
    [
        (NetworkWork(flops=500, bytes=10), 0.5, "compute"),
        (NetworkWork(flops=500, bytes=80), 0.8, "memory"),
        (NetworkWork(flops=500, bytes=50), 0.5, "compute"),
        (NetworkWork(flops=0, bytes=50), 0.5, "memory"),
    ],
)
def test_an_image_takes_its_arithmetic_or_its_traffic(work: NetworkWork, seconds: float, bound: str) -> None:
    assert LIMITS.seconds(work) == seconds
    assert LIMITS.bound(work) == bound
    assert LIMITS.share(work, 1 / seconds) == 1.0


def test_shares_are_of_the_limit_and_of_the_matrix_rate() -> None:
    work = NetworkWork(flops=500, bytes=80)
    assert LIMITS.share(work, 0.5) == pytest.approx(0.4)
    assert LIMITS.mfu(work, 0.5) == pytest.approx(0.25)


def test_where_arithmetic_is_the_limit_both_shares_agree() -> None:
    work = NetworkWork(flops=500, bytes=10)
    assert LIMITS.share(work, 1.2) == LIMITS.mfu(work, 1.2)
