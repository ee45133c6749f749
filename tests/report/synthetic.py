"""Plausible made-up studies for any axes: no number here was measured; only the shapes are like the real ones."""

from __future__ import annotations

import dataclasses
import io
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from difgen_cli.engine import columns
from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.engine.plugins import Library
from difgen_cli.report import Gallery, Pair, Study

DEFAULTS: dict[str, Any] = {
    "data.name": "digits",
    "data.size": 128,
    "data.seed": 0,
    "condition.name": "kmeans",
    "condition.clusters": 1,
    "model.name": "mlp",
    "model.width": 128,
    "train.steps": 4000,
    "sample.steps": 24,
    "guide.weight": 1.0,
}
UNITS = {
    "mem_frac": ("share", "share of samples with d1/d2 < 1/3"),
    "mem_frac_lo": ("share", ""),
    "mem_frac_hi": ("share", ""),
    "mem_frac_control": ("share", "the same with held-out images as samples"),
    "mem_power": ("share", "share of noisy training images that the rule catches"),
    "mem_radius_q50": ("", "median radius within which a copy is certainly caught"),
    "train_pref_excess": ("", "preference for training images beyond the control's"),
    "train_pref_excess_lo": ("", ""),
    "train_pref_excess_hi": ("", ""),
    "fd_test": ("", "Fréchet distance to held-out images"),
    "fd_floor": ("", "real against real"),
    "fd_copycat": ("", "resampled training images"),
    "fd_features": ("", "feature space"),
    "n_gen": ("images", ""),
    "n_ref": ("images", ""),
    "gap_max": ("", "largest relative gap"),
    "ct": ("", "Meehan et al. 2020"),
    "auth_pct": ("%", "authenticity"),
}
SIGMAS = np.geomspace(0.02, 20, 16)


def study(
    axes: dict[str, list[Any]],
    seeds: int = 3,
    *,
    missing: Iterable[int] = (),
    failed: Iterable[int] = (),
    drop: Iterable[str] = (),
    features: str = "digits-cnn64",
    name: str = "size",
    question: str = "Memorization against Fréchet distance as the data set grows.",
    cause: str = "CUDA out of memory: tried to allocate 2.0 GiB",
    gallery: Gallery | None = None,
) -> Study:
    """A study over `axes`; `missing` and `failed` index its model cells, `drop` names absent metrics."""
    cells = _cells(axes, seeds)
    rng = np.random.default_rng(0)
    measured = _measured(cells, rng, features)
    rows = pd.concat([cells, measured.drop(columns=list(drop))], axis=1)
    for state, which in (("missing", missing), ("failed", failed)):
        places = list(which)
        rows.loc[places, "state"] = state
        rows.loc[places, [column for column in measured if column not in drop]] = None
        rows.loc[places, "cause"] = cause if state == "failed" else None
    noise = _noise(rows[rows["state"] == "done"], rng)
    references = _references(rows, drop)
    rows = pd.concat([rows, references], ignore_index=True)
    rows["state"] = rows["state"].fillna("done")
    return Study(
        name=name,
        question=question,
        axes=axes,
        seeds=seeds,
        rows=rows,
        tables={"noise": noise},
        columns={name: declared(name, *about) for name, about in UNITS.items() if name not in drop},
        gallery=gallery or pictures,
        provenance={
            "command": "difgen report runs/ --grid size",
            "git commit": "0123abcd",
            "torch": "2.6.0",
            "device": "cpu",
        },
    )


def declared(name: str, unit: str = "", meaning: str = "") -> ColumnSpec:
    """A column as the package's metrics declare it, with another unit and meaning; the defaults of any other."""
    return dataclasses.replace(declarations().get(name, ColumnSpec()), unit=unit, meaning=meaning)


@cache
def declarations() -> dict[str, ColumnSpec]:
    """Every column that a metric of the package declares."""
    signatures = [Library().signature("score", metric) for metric in Library().names("score")]
    return {name: spec for one in signatures for name, spec in columns.declared(one.constants["COLUMNS"]).items()}


def pictures(cells: Sequence[str], count: int) -> dict[str, list[Pair]]:
    """Little 8 × 8 pictures, the most copied first."""
    return {cell: _pairs(cell, count) for cell in cells}


def _pairs(cell: str, count: int) -> list[Pair]:
    rng = np.random.default_rng(zlib.crc32(cell.encode()))
    ratios = np.sort(rng.uniform(0.05, 1, count))
    return [
        Pair(i, float(ratio), bool(ratio < 1 / 3), *_pictures(rng, ratio), label=int(rng.integers(10)))
        for i, ratio in enumerate(ratios)
    ]


def _pictures(rng: np.random.Generator, ratio: float) -> tuple[bytes, bytes]:
    nearest = rng.uniform(0, 255, (8, 8))
    sample = np.clip(nearest + rng.normal(0, 200 * ratio, (8, 8)), 0, 255)
    return _png(sample), _png(nearest)


def picture(number: int) -> bytes:
    """A picture of 8 × 8, another one for another number."""
    return _png(np.random.default_rng(number).uniform(0, 255, (8, 8)))


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _cells(axes: dict[str, list[Any]], seeds: int) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([*axes.values(), range(seeds)], names=[*axes, "seed"])
    cells = index.to_frame(index=False)
    for path, value in DEFAULTS.items():
        if path not in cells:
            cells[path] = value
    cells["data.seed"] = cells["seed"]
    cells["kind"], cells["state"], cells["cause"] = "model", "done", None
    cells["step"] = cells["train.steps"]
    cells["images_seen"] = cells["step"] * 128
    cells["epochs"] = cells["images_seen"] / cells["data.size"]
    cells["cell"] = [f"{i:016x}" for i in range(len(cells))]
    rest = [path for path in axes if path != "train.steps"]
    cells["trajectory"] = cells.groupby([*rest, "seed"], dropna=False).ngroup().map("t{:06d}".format)
    return cells


def _measured(cells: pd.DataFrame, rng: np.random.Generator, features: str) -> pd.DataFrame:
    size, step, width, clusters = (
        cells[path].to_numpy(float) for path in ("data.size", "step", "model.width", "condition.clusters")
    )
    seed = rng.normal(0, 0.25, len(cells))
    pressure = 1.1 * np.log(step / size / 40) + 0.5 * np.log(width / 128) + 0.3 * np.log(clusters) + seed
    copied = np.round(1 / (1 + np.exp(-pressure)) * 1000) / 1000 * (size < 5000)
    noise = np.exp(rng.normal(0, 0.06, len(cells)))
    underfit = 40 * (250 / step) ** 0.9 * (128 / width) ** 0.3
    floor = 1.4
    copycat = floor * (0.8 + 300 / size)
    quality = (floor * 1.3 + underfit + copied * copycat) * noise
    wilson = 1.96 * np.sqrt(copied * (1 - copied) / 1000 + 1e-6)
    excess = np.clip(0.5 / (1 + np.exp(-pressure - 3)), 0, 0.5) + rng.normal(0, 0.01, len(cells))
    return pd.DataFrame(
        {
            "mem_frac": copied,
            "mem_frac_lo": np.clip(copied - wilson, 0, 1),
            "mem_frac_hi": np.clip(copied + wilson, 0, 1),
            "mem_frac_control": 0.001,
            "mem_power": 1 / (1 + (size / 40000) ** 0.7),
            "mem_radius_q50": 0.4 * size**-0.15,
            "train_pref_excess": excess,
            "train_pref_excess_lo": excess - 0.03,
            "train_pref_excess_hi": excess + 0.03,
            "fd_test": quality,
            "fd_floor": floor,
            "fd_copycat": copycat,
            "fd_features": features,
            "n_gen": 1000.0,
            "n_ref": 512.0,
            "gap_max": np.exp(pressure + 1.5),
            "ct": -10 * copied,
            "auth_pct": 60 * (1 - copied),
        }
    )


def _noise(done: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    dotted = [column for column in done if "." in column]
    if "gap_max" not in done:
        return pd.DataFrame()
    base = done[[*dotted, "kind", "seed", "step", "cell", "gap_max"]]
    both = base.merge(pd.DataFrame({"split": ["train", "heldout"]}), how="cross")
    table = both.merge(pd.DataFrame({"sigma_rel": SIGMAS, "sigma": SIGMAS * 0.75}), how="cross")
    peak = np.exp(-(np.log(table["sigma_rel"] / 0.5) ** 2) / 1.5)
    table["gap"] = table["gap_max"] * peak + rng.normal(0, 0.004, len(table))
    table["gap_lo"], table["gap_hi"] = table["gap"] * 0.85 - 0.02, table["gap"] * 1.15 + 0.02
    return table.drop(columns="gap_max")


def _references(rows: pd.DataFrame, drop: Iterable[str]) -> pd.DataFrame:
    """Held-out images, the copycat and the ideal denoiser: one row a size, no model and no training."""
    firsts = rows.drop_duplicates("data.size")
    lines = []
    for kind, share in (("heldout", 0.001), ("copycat", 1.0), ("ideal", 0.998)):
        some = firsts.copy()
        empty = [column for column in some if column.startswith(("model.", "train."))]
        some[empty] = None
        some[["step", "images_seen", "epochs", "trajectory"]] = None
        some["kind"], some["state"], some["cause"] = kind, "done", None
        some["cell"] = [f"{kind}-{i}" for i in range(len(some))]
        unmeasured = [column for column in UNITS if column in some and not column.startswith(("fd_", "n_"))]
        some[unmeasured] = np.nan
        values = {"mem_frac": share, "fd_test": some.get("fd_floor" if kind == "heldout" else "fd_copycat")}
        for column, value in values.items():
            if column not in drop:
                some[column] = value
        lines.append(some)
    return pd.concat(lines, ignore_index=True).infer_objects()
