"""A made-up study of unlearning: a model before, one after, and a retrained one."""

from __future__ import annotations

from typing import Any

import pandas as pd
from synthetic import declared
from synthetic import study as made_up

from difgen_cli.report import Study


def study_of_unlearning(before: float, after: float, retrained: float, seeds: int = 3, **columns: Any) -> Study:
    """Such shares of copies of the images to be unlearnt among 1,000 samples of each seed; other columns as given."""
    shares = {("edm", False): before, ("unlearn", False): after, ("edm", True): retrained}
    base = made_up({"objective.name": ["edm", "unlearn"], "data.retrain": [False, True]}, seeds)
    rows = base.rows[[pair != ("unlearn", True) for pair in _models(base.rows)]]
    spread = pd.Series([0.002 * (seed - 1) for seed in rows["seed"].fillna(1)], rows.index)
    copies = (pd.Series([shares.get(pair, 0.0) for pair in _models(rows)], rows.index) + spread).clip(0, 1)
    width = 1.96 * (copies * (1 - copies) / 1000 + 1e-6) ** 0.5
    ends = {"unlearnt_copies_lo": (copies - width).clip(0), "unlearnt_copies_hi": (copies + width).clip(upper=1)}
    rows = rows.assign(unlearnt_copies=copies, **ends, unlearnt_copies_control=0.0, unlearnt_power=0.9, **columns)
    names = ("unlearnt_copies", "unlearnt_power", *columns)
    added = {name: declared(name, "share") for name in names if "." not in name}
    return type(base)(**{**vars(base), "rows": rows, "columns": {**base.columns, **added}})


def _models(rows: pd.DataFrame) -> list[tuple[str, bool]]:
    return list(zip(rows["objective.name"], rows["data.retrain"], strict=True))
