"""CSV files that a spreadsheet can open without running what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\n")


def neutral(value: Any) -> Any:
    """Text that a spreadsheet would read as a formula, behind an apostrophe; numbers as they are.

    Carriage returns become line feeds: the CSV writer does not quote them, and a reader would begin a new cell there.
    """
    if not isinstance(value, str):
        return value
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{value}" if value.startswith(FORMULA) else value


def neutralised(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its texts (cells and header) neutralised; numbers, also negative ones, keep their bits."""
    safe = {}
    for name in frame.columns:
        column = frame[name]
        text = not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))
        safe[neutral(str(name))] = _words(column) if text else column
    return pd.DataFrame(safe, index=frame.index)


def _words(column: pd.Series) -> pd.Series:
    """A column of texts neutralised: each distinct text once, where they are texts throughout."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, levels = column.cat.codes.to_numpy(), column.cat.categories
    elif column.dtype == "str":
        codes, levels = pd.factorize(column)
    else:
        return column.astype(object).map(neutral)
    safe = np.array([*map(neutral, levels), None], dtype=object)  # code −1, of what is missing, is the last
    return pd.Series(safe[codes], index=column.index, dtype=object)


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write `frame` as CSV; floats in the shortest form that reads back as the same number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(frame), encoding="utf-8", newline="")


def text(frame: pd.DataFrame) -> str:
    """The same as one text."""
    written: str = neutralised(frame).to_csv(index=False, lineterminator="\n")
    return written


def write_each(frames: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write frames into files of these names, removed where a frame has no lines; returns what is there."""
    for name, frame in frames.items():
        if len(frame):
            write(frame, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    return [folder / name for name, frame in frames.items() if len(frame)]
