"""The gap over noise levels, averaged over seeds: it spans decades, and its interval with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from difgen_cli.report.figures.gap_over_noise import averaged


def _lines(*gaps: tuple[float, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"sigma_rel": float(level), "seed": seed, "gap": gap}
            for level, some in enumerate(gaps)
            for seed, gap in enumerate(some)
        ]
    )


def test_an_interval_of_a_gap_that_spans_decades_stays_above_zero() -> None:
    numbers = averaged(_lines((9.0, 99.0, 999.0), (0.1, 0.1, 0.1)), ["sigma_rel"])
    first = numbers.iloc[0]
    assert first["mean"] == pytest.approx(99.0), "ratios of 10, 100 and 1,000: 100 in the middle"
    half = 4.302652729911275 * 1.0 / np.sqrt(3)  # Student's t with two degrees of freedom, in decades
    assert [1 + first["lo"], 1 + first["hi"]] == pytest.approx([10 ** (2 - half), 10 ** (2 + half)])
    assert first["lo"] > -1
    assert numbers.iloc[1][["mean", "lo"]].tolist() == pytest.approx([0.1, np.nan], nan_ok=True)


def test_small_gaps_have_the_interval_that_they_had() -> None:
    numbers = averaged(_lines((0.001, 0.002, 0.003)), ["sigma_rel"])
    half = 4.302652729911275 * 0.001 / np.sqrt(3)
    assert numbers.iloc[0][["mean", "lo", "hi"]].tolist() == pytest.approx(
        [0.002, 0.002 - half, 0.002 + half], rel=1e-2
    )


def test_one_seed_keeps_its_values_bit_for_bit() -> None:
    assert averaged(_lines((0.1 + 0.2,)), ["sigma_rel"])["mean"].tolist() == [0.1 + 0.2]
