"""Two groups of cells compared by a share, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from difgen_cli.report.study import comparison


def changes(a: pd.DataFrame, b: pd.DataFrame, share: str, paths: Sequence[str] = ()) -> pd.DataFrame:
    """A line for each group of `paths` that both have: `mean`, `lo` and `hi` of b − a; null ends of a single seed."""
    return comparison.changed(_side(a, "a", share, paths), _side(b, "b", share, paths), paths, top=1.0)


def _side(cells: pd.DataFrame, name: str, share: str, paths: Sequence[str]) -> pd.DataFrame:
    """Lines with a value, called `name`, and the ends of its own interval."""
    columns = {share: name, f"{share}_lo": f"{name}_lo", f"{share}_hi": f"{name}_hi"}
    return cells[[*paths, "seed", *columns]].rename(columns=columns).dropna(subset=name)
