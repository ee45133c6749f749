"""A real sweep over images in files: places, names, near-duplicates, copies, and the tables that a report writes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from difgen_cli.data import Pool, split
from difgen_cli.data.digits import load
from difgen_cli.engine.store import Store
from difgen_cli.report.study import loading

GRID = """
base:
  data: {name: folder, path: images, held_out: 40, size: 60}
  model: {name: mlp, width: 16, depth: 1}
  train: {batch: 16}
  sample: {steps: 2, count: 16}
  score: [exposure, memorization]
axes: {train.steps: [4, 8]}
seeds: 3
"""


FIRST, AGAIN = 3, 90  # places among the images that are not held out


def digits() -> Pool:
    """160 digits, two of which differ in one grey level."""
    pixels = load().images[:160].copy()
    rest = split(Pool(pixels), held_out=40).rest
    pixels[rest[AGAIN]] = pixels[rest[FIRST]]
    pixels[rest[AGAIN], 0, 0] += 2
    return Pool(pixels)


@pytest.fixture
def study_folder(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> Path:
    (tmp_path / "images").mkdir()
    for number, image in enumerate(digits().images[..., 0]):
        Image.fromarray(image).save(tmp_path / "images" / f"digit{number:03d}.png")
    for command in (["sweep", write_grid(GRID), "--cluster", "inline"], ["report"]):
        done = difgen(*command)
        assert done.returncode == 0, done.stderr
    return tmp_path


def test_a_sweep_over_files_tells_which_of_them_its_models_know(study_folder: Path) -> None:
    pool, (study,) = digits(), loading.gather(Store(study_folder / "runs"))
    parts = {seed: split(pool, size=60, held_out=40, seed=seed) for seed in range(3)}
    alike = set(parts[0].rest[[FIRST, AGAIN]])
    known = {seed: set(own.train) | (alike if alike & set(own.train) else set()) for seed, own in parts.items()}
    assert any(alike & own and not alike <= set(parts[seed].train) for seed, own in known.items())
    lines = study.exposure
    assert lines is not None
    model = study.rows[study.rows["kind"] == "model"]
    assert set(lines["cell"]) == set(model["cell"])
    for cell, seed in zip(model["cell"], model["seed"], strict=True):
        of_pool = lines[(lines["cell"] == cell) & ~lines["held_out"]]
        assert set(of_pool["image"]) == set(parts[seed].rest)
        assert set(of_pool.loc[of_pool["trained"], "image"]) == known[seed]
        assert of_pool["hits"].notna().all()
        assert (of_pool.loc[~of_pool["trained"], "hits"] == 0).all()
        assert (lines.loc[lines["held_out"], "image"] < 40).all()

    frame = pd.read_csv(study_folder / "report" / "images.csv").set_index("image")
    assert set(frame.index) == set(parts[0].rest)
    assert all(name == f"digit{place:03d}.png" for place, name in frame["name"].items())
    assert all(count == sum(place in own for own in known.values()) for place, count in frame["n_in"].items())
    assert (frame["n_in"] + frame["n_out"] == 3).all()
    assert [frame.loc[place, "group"] for place in sorted(alike)] == [min(alike)] * 2
    runs = pd.read_csv(study_folder / "report" / "calibrated_runs.csv")
    assert len(runs) == 6
    assert np.isfinite(runs["cal_auc"]).all()
    assert (runs["images_in"] + runs["images_out"]).tolist() == [119] * 6, "two of 120 are one image"
