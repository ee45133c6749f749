"""Studies with planted held-out losses, whose least is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import synthetic

from difgen_cli.report import Study

STEPS = [100, 200, 400, 800, 1600]
SIGMAS = np.array([0.1, 0.5, 2.0])
UNIT = 0.75  # σ_d
Loss = Callable[[float, int, int], float]  # σ/σ_d, step, seed -> L_H over that of an untrained network


def untrained(sigma: np.ndarray | float) -> np.ndarray | float:
    """σ_d² s² / (1 + s²)."""
    return UNIT**2 * np.square(sigma) / (1 + np.square(sigma))


def planted(loss: Loss, gap: float = 0.25, seeds: int = 3) -> Study:
    """Two sizes; the larger one has half the losses. mem_frac is step / 10,000, and L_T is L_H / (1 + gap)."""
    study = synthetic.study({"train.steps": STEPS, "data.size": [32, 128]}, seeds=seeds)
    rows = study.rows.copy()
    model = rows["kind"] == "model"
    rows.loc[model, "mem_frac"] = pd.to_numeric(rows.loc[model, "step"]) / 10_000
    lines = []
    for cell in rows[model].to_dict("records"):
        for sigma in SIGMAS:
            held_out = loss(sigma, int(cell["step"]), int(cell["seed"])) * untrained(sigma)
            held_out /= 1 + (cell["data.size"] == 128)
            about = {
                name: cell[name] for name in ("cell", "kind", "seed", "step", "data.size", "train.steps", "data.seed")
            }
            about |= {"sigma_rel": sigma, "sigma": UNIT * sigma, "gap": gap}
            lines += [
                about | {"split": "train", "loss": held_out / (1 + gap)},
                about | {"split": "heldout", "loss": held_out},
            ]
    return dataclasses.replace(study, rows=rows, tables={"noise": pd.DataFrame(lines)})


def valley(*leasts: int, floor: float = 0.2) -> Loss:
    """Least at a step of each level's own, from the smallest σ on; 0.01 higher for each snapshot away from it."""
    by_sigma = dict(zip(SIGMAS, leasts, strict=True))
    return lambda sigma, step, seed: floor + 0.01 * abs(STEPS.index(step) - STEPS.index(by_sigma[sigma]))
