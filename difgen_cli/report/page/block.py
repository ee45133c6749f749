"""The rows as one JSON block, column by column, that a page's script reads: exact numbers, and text as text."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.report.plotting import captions, labels, scales, style
from difgen_cli.report.study import seeds
from difgen_cli.report.study.curves import CLOCKS, STEPS, CurveAxis, Curves, worded
from difgen_cli.report.table import HEADERS

if TYPE_CHECKING:
    from difgen_cli.report import Pair, Study

MOST_CHARACTERS = 8_000_000  # of the columns; beyond it numbers have fewer digits, and the page says so
DIGITS = 6
REPEATED = 8  # values that occur so often on average are written once, with codes
NUMBERS = ("integer", "floating", "mixed-integer-float")  # of a column that has nulls too
UNSAFE = {c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}  # what could end a script, or a line of one


def compose(study: Study, curves: Curves, pictures: Mapping[str, Sequence[Pair]], titles: Mapping[str, str]) -> str:
    """The block, safe inside `<script type="application/json">`. pictures, titles: by cell."""
    columns = [column(study.rows[name], str(name), *_unit(study, str(name))) for name in _kept(study.rows)]
    exact = _written(columns)
    rounded = len(exact) > MOST_CHARACTERS
    content = {
        "schema": 1,
        "name": study.name,
        "rows": len(study.rows),
        "digits": DIGITS if rounded else None,
        "axes": [_axis(axis, study.rows) for axis in curves.axes],
        "steps": STEPS if STEPS in curves.paths else None,
        "metrics": _first([name for name in curves.metrics if name in study.rows]),
        "clocks": [name for name in CLOCKS[1:] if name in study.rows and study.rows[name].notna().any()],
        "logarithmic": [n for n in curves.metrics if seeds.logarithmic(n, curves.columns) and _positive(curves, n)],
        "order": [axis.path for axis in curves.others()],
        "markers": [style.outline(marker) for marker in style.MARKERS],
        "references": {
            kind: {"shape": style.MARKERS.index(marker), "words": words}
            for kind, (marker, words) in style.REFERENCES.items()
        },
        "floor": {"beside": "fd_test", "name": "fd_floor", "words": style.FLOOR} if "fd_floor" in study.rows else None,
        "resolutions": _resolutions(curves),
        "command": _command(study),
        "labels": {name: curves.label(name) for name in curves.metrics},
        "shares": {
            name: top
            for name in curves.metrics
            if (top := seeds.whole(name, curves.columns)) and _within(curves, name, top)
        },
        "replicate": curves.replicate,
        "common": captions.common(curves) if curves.seeds > 1 else "",
        "score": {
            "z2": seeds.Z2,
            "medians": seeds.medians(curves.seeds),
            "few": seeds.FEW,
            "slack": seeds.SLACK,
            "alike": seeds.ALIKE,
        },
        "t": [None, None, *(float(stdtrit(n - 1, 0.975)) for n in range(2, max(2, curves.seeds) + 1))],
        "hues": {"light": style.WORDS, "dark": style.WORDS_DARK},
        "pictures": {cell: [_pair(pair) for pair in pairs] for cell, pairs in pictures.items()},
        "titles": dict(titles),
    }
    written = (
        f'{_written(content)[:-1]},"columns":{_written([_rounded(one) for one in columns]) if rounded else exact}}}'
    )
    for character, escaped in UNSAFE.items():
        written = written.replace(character, escaped)
    return written


def column(values: pd.Series, name: str, unit: str = "", meaning: str = "") -> dict[str, Any]:
    """A column as JSON: `values`, or `levels` and a `code` for each row (−1: none) where values repeat."""
    description = {"name": name, "unit": unit, "meaning": meaning}
    if pd.api.types.is_bool_dtype(values):
        return description | {"type": "truth", **_coded(values.astype(object))}
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) in NUMBERS:
        values = values.astype(float)
    if not pd.api.types.is_numeric_dtype(values):
        words = worded(values).where(values.notna())
        return description | {"type": "text", **_coded(words)}
    codes, levels = pd.factorize(values)
    if len(levels) * REPEATED < len(values):
        return description | {"type": "number", "levels": _plain(levels), "codes": codes.tolist()}
    return description | {"type": "number", "values": _plain(values.to_numpy(float, na_value=np.nan))}


def _coded(values: pd.Series) -> dict[str, Any]:
    codes, levels = pd.factorize(values)
    return {"levels": [bool(x) if isinstance(x, np.bool_) else x for x in levels], "codes": codes.tolist()}


def _plain(values: Any) -> list[float | int | None]:
    """Numbers as JSON has them: whole ones without a point, and None for what is not finite."""
    numbers = np.asarray(values, dtype=float)
    is_finite = np.isfinite(numbers)
    if is_finite.all() and (numbers == np.round(numbers)).all() and (np.abs(numbers) < 2**53).all():
        return [int(value) for value in numbers]
    return [value if finite else None for value, finite in zip(numbers.tolist(), is_finite.tolist(), strict=True)]


def _rounded(encoded: dict[str, Any]) -> dict[str, Any]:
    if "values" not in encoded:
        return encoded
    return encoded | {"values": [x if x is None else float(f"{x:.{DIGITS}g}") for x in encoded["values"]]}


def _written(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _kept(rows: pd.DataFrame) -> list[Any]:
    """Columns with a value, but for the keys of results; a cell's own key always."""
    return [name for name in rows.columns if not str(name).startswith("result.") and rows[name].notna().any()]


def _unit(study: Study, name: str) -> tuple[str, str]:
    spec = study.columns.get(name, ColumnSpec())
    return spec.unit, spec.meaning


def _axis(axis: CurveAxis, rows: pd.DataFrame) -> dict[str, Any]:
    light, dark = style.colours(axis), style.dark_colours(axis)
    codes = pd.Index(axis.levels).get_indexer(pd.Index(worded(rows[axis.path])))
    return {
        "path": axis.path,
        "label": labels.setting(axis.path),
        "levels": axis.levels,
        "titles": [labels.level(axis.path, word) for word in axis.levels],
        "values": axis.values,
        "numeric": axis.numeric,
        "log": axis.log,
        "light": [light[word] for word in axis.levels],
        "dark": [dark[word] for word in axis.levels],
        "codes": codes.tolist(),
    }


def _first(metrics: list[str]) -> list[str]:
    """What a reader looks for first in front."""
    return [name for name in HEADERS if name in metrics] + [name for name in metrics if name not in HEADERS]


def _resolutions(curves: Curves) -> dict[str, float]:
    """The shares whose axis is logarithmic above one sample, and one sample's share of all."""
    starts = {}
    for name in curves.metrics:
        own = scales.resolution(curves.done[name], curves.samples(name))
        if curves.spec(name).scale == "share" and own:
            starts[name] = own
    return starts


def _command(study: Study) -> str:
    """The command that wrote this page, to which another figure's columns can be added."""
    last = str(study.provenance.get("command", "")).rpartition("\n")[2]
    return last if last.startswith("difgen report ") else "difgen report"


def _positive(curves: Curves, name: str) -> bool:
    return bool(curves.done[name].min() > 0)


def _within(curves: Curves, name: str, top: float) -> bool:
    """Whether all values of a share are shares, the references' too."""
    values = pd.concat([curves.done[name], curves.references.get(name, pd.Series(dtype=float))]).dropna()
    return bool(values.between(0, top).all())


def _pair(pair: Pair) -> list[Any]:
    """[seed, ratio, is a copy, label, sample as base64, nearest training image as base64, is identical, nearness]."""
    pictures = [base64.b64encode(png).decode() for png in (pair.sample_png, pair.nearest_png)]
    ratio, nearness = (float(x) if np.isfinite(x) else None for x in (pair.ratio, pair.nearness))
    return [int(pair.seed), ratio, bool(pair.memorized), pair.label, *pictures, bool(pair.identical), nearness]
