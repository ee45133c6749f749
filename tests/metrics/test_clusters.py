"""Conditions in use: counts with known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difgen_cli.metrics.clusters import COLUMNS, measure


def test_no_condition_has_no_clusters() -> None:
    assert measure(None).values == dict.fromkeys(COLUMNS)


@pytest.mark.parametrize(
    ("labels", "used", "effective"),
    [([7], 1, 1.0), ([0, 0, 5, 5], 2, 2.0), ([0, 0, 0, 1], 2, 4 / 3**0.75), (list(range(64)), 64, 64.0)],
)
def test_used_and_effective_conditions_have_their_closed_forms(labels: list[int], used: int, effective: float) -> None:
    found = measure(np.array(labels)).values
    assert found["clusters_used"] == used
    assert found["clusters_effective"] == pytest.approx(effective)


@given(st.lists(st.integers(0, 9), min_size=1))
def test_effective_conditions_lie_between_one_and_those_in_use(labels: list[int]) -> None:
    found = measure(np.array(labels)).values
    assert 1 - 1e-9 <= found["clusters_effective"] <= found["clusters_used"] + 1e-9  # type: ignore[operator]
