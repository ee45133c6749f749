"""What each metric cost, compared with the training that it measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from difgen_cli.report.plotting import labels

if TYPE_CHECKING:
    import pandas as pd

ENDING = "_seconds"


def seconds(rows: pd.DataFrame) -> dict[str, float]:
    """Mean seconds a cell of each metric, the dearest first; work that two lines share counts once."""
    cells = _models(rows)
    spent = {
        str(name).removesuffix(ENDING): float(cells[name].mean())
        for name in cells.columns
        if str(name).endswith(ENDING) and name != "train_seconds" and cells[name].notna().any()
    }
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


def words(rows: pd.DataFrame) -> str:
    """`Seconds a cell: gap 0.27 (7.3 % of the training time), frechet 0.03 (0.8 %)`; nothing where nothing is known."""
    spent, cells = seconds(rows), _models(rows)
    if not spent:
        return ""
    training = _training(cells)
    parts = []
    for number, (name, mean) in enumerate(spent.items()):
        total = float(cells[f"{name}{ENDING}"].sum())
        of = " of the training time" if number == 0 else ""
        share = f" ({labels.number(100 * total / training, 2)} %{of})" if training else ""
        parts.append(f"{name} {labels.number(mean, 2)}{share}")
    return f"Seconds a cell: {', '.join(parts)}."


def _models(rows: pd.DataFrame) -> pd.DataFrame:
    cells = rows[(rows["kind"] == "model") & (rows["state"] == "done")]
    return cells.drop_duplicates("cell")


def _training(cells: pd.DataFrame) -> float:
    """Seconds that all training runs took up to their last row: each row has its run's from the start."""
    if "train_seconds" not in cells:
        return 0.0
    return float(cells.groupby("trajectory")["train_seconds"].max().sum())
