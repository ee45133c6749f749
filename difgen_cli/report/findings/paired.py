"""Two groups of cells compared by a share, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from difgen_cli.report.study import comparison


def changes(a: pd.DataFrame, b: pd.DataFrame, share: str, paths: Sequence[str] = ()) -> pd.DataFrame:
    """A line for each group of `paths` that both have: `mean`, `lo` and `hi` of b − a; null ends of a single seed."""
    sides = []
    for frame, name in ((a, "a"), (b, "b")):
        columns = {share: name, f"{share}_lo": f"{name}_lo", f"{share}_hi": f"{name}_hi"}
        sides.append(frame[[*paths, "seed", *columns]].rename(columns=columns).dropna(subset=name))
    return comparison.changed(*sides, paths, top=1.0)
