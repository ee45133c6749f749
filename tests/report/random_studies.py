"""Random studies whose rows are drawn, not trained: every shape that a run directory may have, and some more.

A study has none to four axes and up to four seeds; it is finished, in the middle, or failed; shares come from binomial
draws with Wilson's intervals; controls may be blind, power low or unknown, samples few, columns empty or absent, rows
doubled.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from synthetic import pictures

from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.report import Study

Z = 1.959963984540054
LEVELS: dict[str, list[Any]] = {
    "data.size": [16, 64, 256, 1024],
    "train.steps": [100, 400, 1600, 6400],
    "model.width": [64, 128, 256],
    "condition.name": ["none", "kmeans", "temi"],
}
SIGMAS = (0.1, 0.5, 2.0)
COLUMNS = {
    "mem_frac": ColumnSpec("share"), "mem_frac_control": ColumnSpec("share"), "mem_power": ColumnSpec("share"),
    "fd_test": ColumnSpec(scale="ratio"), "train_pref_excess": ColumnSpec(),
}  # fmt: skip
STATES = ("done", "some missing", "some failed", "all failed", "one seed", "some settings empty")


def wilson(count: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a count of n."""
    share, u = count / n, Z**2 / n
    half = np.sqrt(u * share * (1 - share) + u * u / 4) / (1 + u)
    centre = (share + u / 2) / (1 + u)
    return (0.0 if count == 0 else centre - half), (1.0 if count == n else centre + half)


def random_study(number: int) -> Study:
    """The study of a number; equal numbers have equal ones."""
    rng = np.random.default_rng(number)
    names = [name for name in LEVELS if rng.random() < 0.6]
    most = {name: len(LEVELS[name]) for name in names}
    axes = {name: LEVELS[name][: most[name] if rng.random() < 0.3 else int(rng.integers(1, most[name] + 1))]
            for name in names}  # fmt: skip
    seeds = int(rng.integers(1, 5))
    rows = _cells(rng, axes, seeds)
    rows = _states(rng, rows, str(rng.choice(STATES, p=[0.45, 0.15, 0.1, 0.1, 0.1, 0.1])))
    rows = _spoilt(rng, rows)
    done = rows[rows["state"] == "done"]
    return Study(
        name="random", question="What is so?", axes=axes, seeds=seeds, rows=rows,
        tables={"noise": _noise(rng, done)} if rng.random() < 0.5 and len(done) else {},
        columns={name: spec for name, spec in COLUMNS.items() if name in rows}, gallery=pictures, provenance={},
    )  # fmt: skip


def _cells(rng: np.random.Generator, axes: dict[str, list[Any]], seeds: int) -> pd.DataFrame:
    defaults = {name: levels[-1] for name, levels in LEVELS.items()}
    by_axis, n, held_out = rng.normal(0, 1.5, 3) * (rng.random() < 0.7), int(rng.choice([50, 400])), 300
    control = rng.choice([0.0, 0.004, 0.15], p=[0.6, 0.25, 0.15])
    sharp, by_size = rng.choice([1.0, 4.0]), rng.choice([1.5, 0.5])
    power = rng.choice([0.95, 0.6, 0.2, np.nan], p=[0.5, 0.25, 0.15, 0.1])
    turn = 3.0 * (rng.spawn(1)[0].random() < 0.3)  # the sign of the width depends on the conditioning
    lines = []
    for seed in range(seeds):
        own = rng.normal(0, rng.choice([0.1, 1.0]))
        for point in itertools.product(*axes.values()):
            at = defaults | dict(zip(axes, point, strict=True))
            rises = np.log(at["train.steps"] / 400) + by_axis[0] * np.log(at["model.width"] / 128)
            rises += by_axis[1] * (at["condition.name"] == "kmeans") - by_size * np.log(at["data.size"] / 64) + own
            turned = turn * np.log(at["model.width"] / 128) * (-1 if at["condition.name"] == "kmeans" else 1)
            rises, distance = rises + turned, 1 + 0.3 * by_axis[2] * np.log(at["model.width"] / 64)
            copied, called = rng.binomial(n, 1 / (1 + np.exp(-sharp * rises))), rng.binomial(held_out, control)
            caught = np.clip(power * (1.1 - np.log(at["data.size"] / 16) / 20), 0, 1)
            trajectory = "-".join(str(v) for k, v in at.items() if k != "train.steps") + f"-{seed}"
            lines.append(
                at
                | {
                    "kind": "model", "seed": seed, "step": at["train.steps"], "sample.count": n, "data.seed": seed,
                    "trajectory": trajectory, "cell": f"{trajectory}-{at['train.steps']}", "cause": None,
                    "mem_frac": copied / n, "mem_frac_lo": wilson(copied, n)[0], "mem_frac_hi": wilson(copied, n)[1],
                    "mem_frac_control": called / held_out, "mem_frac_control_lo": wilson(called, held_out)[0],
                    "mem_frac_control_hi": wilson(called, held_out)[1], "mem_power": caught,
                    "sample_distinct": 3.0 if rng.random() < 0.02 else float(n),
                    "fd_test": float(np.exp(rng.normal(distance, 0.1) + turned)),
                    "train_pref_excess": rng.normal(0.2, 0.1),
                }
            )  # fmt: skip
    return pd.DataFrame(lines)


def _states(rng: np.random.Generator, rows: pd.DataFrame, how: str) -> pd.DataFrame:
    state = pd.Series("done", rows.index, dtype=object)
    chosen = rng.random(len(rows)) < 0.3
    if how == "some missing":
        state[chosen] = "missing"
    elif how == "some failed":
        state[chosen] = "failed"
    elif how == "all failed":
        state[:] = "failed"
    elif how == "one seed":
        state[rows["seed"] > 0] = "missing"
    elif how == "some settings empty":
        state[rows["model.width"] == rows["model.width"].min()] = "missing"
    rows = rows.assign(state=state)
    measured = ["mem_frac", "fd_test", "train_pref_excess", "mem_power", "sample_distinct"]
    measured += [f"mem_frac{end}" for end in ("_lo", "_hi", "_control", "_control_lo", "_control_hi")]
    rows.loc[state != "done", measured] = np.nan
    return rows


def _spoilt(rng: np.random.Generator, rows: pd.DataFrame) -> pd.DataFrame:
    """With empty values, empty columns, absent columns and doubled rows, each in some studies."""
    if rng.random() < 0.15:
        rows.loc[rng.random(len(rows)) < 0.3, ["mem_frac", "mem_frac_lo", "mem_frac_hi"]] = np.nan
    if rng.random() < 0.1:
        rows[str(rng.choice(["mem_frac", "mem_frac_control_hi", "mem_power", "fd_test"]))] = np.nan
    if rng.random() < 0.1:
        rows = rows.drop(columns=str(rng.choice(["mem_power", "sample_distinct", "mem_frac_control_lo", "fd_test"])))
    if rng.random() < 0.05:
        rows = rows.drop(columns=[name for name in rows if str(name).startswith("mem_frac")])
    if rng.random() < 0.1:
        rows = pd.concat([rows, rows.sample(frac=0.3, random_state=int(rng.integers(1000)))], ignore_index=True)
    return rows.reset_index(drop=True)


def _noise(rng: np.random.Generator, done: pd.DataFrame) -> pd.DataFrame:
    """The gap of each cell at three noise levels, with the settings of the cell."""
    settings = [name for name in done if "." in str(name)]
    lines = []
    for cell in done.drop_duplicates("cell").to_dict("records"):
        for sigma in SIGMAS:
            height = rng.normal(np.log(100 / cell["data.size"]) / 2, 0.2) - abs(np.log(sigma / 0.5))
            about = {name: cell[name] for name in (*settings, "kind", "seed", "step", "cell")}
            lines.append(
                about | {"sigma_rel": sigma, "sigma": sigma / 2, "split": "train", "gap": np.expm1(height),
                         "gap_lo": np.expm1(height - 0.3), "gap_hi": np.expm1(height + 0.3)}
            )  # fmt: skip
    return pd.DataFrame(lines)
