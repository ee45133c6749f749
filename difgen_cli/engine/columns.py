"""The columns that a metric declares: type, unit, meaning, and how a report shows them.

An entry of COLUMNS is `(type, unit, meaning)` or `(type, unit, meaning, {"label": …, "scale": …, "role": …})`. The last
part is about reports, and what `difgen gate` asks of a column, alone: results do not depend on it, and no result file
holds it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

# scale -> how the metric's axis runs, and how it is averaged over seeds
SCALES = {
    "linear": "from the least to the largest value",
    "log": "logarithmic where values differ by more than a factor of 3; averaged, and compared, as ratios",
    "ratio": "from the least to the largest value; averaged, and compared, as ratios",
    "share": "from 0 to 1, also where all values are small",
    "difference": "holds 0, with a line there",
    "gain": "the same; logarithmic above 0.1 where a value is above 3",
}
# role -> what the column is to a reader
ROLES = {
    "metric": "drawn as a measure of its own",
    "count": "how much was measured: not drawn; stated under figures where it has a label",
    "features": "the feature space of the study's distances, stated with them",
}


@dataclass(frozen=True)
class ColumnSpec:
    """One column of the rows. label: on an axis; empty: its name. scale, role: see SCALES and ROLES.

    n, power, control: other columns of the rows: how much it is estimated from, how well it would have shown what it
    looks for, and the same of images that are known not to be of that kind; empty where there is none.
    """

    unit: str = ""
    meaning: str = ""
    label: str = ""
    scale: str = "linear"
    role: str = "metric"
    n: str = ""
    power: str = ""
    control: str = ""


DISPLAY = tuple(field.name for field in fields(ColumnSpec))[2:]
Columns = Mapping[str, ColumnSpec]


def declared(columns: Mapping[str, Any]) -> dict[str, ColumnSpec]:
    """What a metric's COLUMNS say, by name."""
    return {name: ColumnSpec(*entry[1:3], **dict(*entry[3:])) for name, entry in columns.items()}


def stored(columns: Mapping[str, Any]) -> dict[str, Any]:
    """COLUMNS as a result's file holds them: type, unit and meaning."""
    return {name: entry[:3] for name, entry in columns.items()}


def mistake(tree: ast.Module) -> str:
    """What is wrong with the COLUMNS of a metric's file: `12: COLUMNS: …`; empty where nothing is.

    Entries that are no literals are not read here.
    """
    for name, node in _entries(tree):
        try:
            entry = ast.literal_eval(node)
        except ValueError:
            continue
        if wrong := _mistake(entry):
            return f"{node.lineno}: COLUMNS: {name} {wrong}"
    return ""


def _mistake(entry: Any) -> str:
    if not isinstance(entry, tuple | list) or len(entry) not in (3, 4) or not isinstance([*entry, {}][3], dict):
        return f"must be (type, unit, meaning), or these and a dict with {', '.join(DISPLAY)}"
    for field, value in [*entry, {}][3].items():
        if field not in DISPLAY:
            return f"has the field {field!r}, which is none of {', '.join(DISPLAY)}"
        allowed = {"scale": SCALES, "role": ROLES}.get(field)
        if allowed and value not in allowed:
            return f"has the {field} {value!r}, which is none of {', '.join(allowed)}"
        if not isinstance(value, str):
            return f"has the {field} {value!r}, which is no text"
    return ""


def without_display(tree: ast.Module) -> None:
    """Remove from a tree what COLUMNS say to reports alone, so that a new label makes no new version of a metric."""
    for _, node in _entries(tree):
        if isinstance(node, ast.Tuple | ast.List):
            del node.elts[3:]


def _entries(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    """Names and entries of COLUMNS, as far as they are written out."""
    entries = []
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == "COLUMNS":
                pairs = zip(node.value.keys, node.value.values, strict=True)
                entries += [(str(key.value), value) for key, value in pairs if isinstance(key, ast.Constant)]
    return entries
