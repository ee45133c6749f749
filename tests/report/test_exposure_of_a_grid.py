"""A real sweep over images in files: places, names, near-duplicates, copies, and the tables that a report writes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.spatial.distance import cdist

from difgen_cli.data import Pool, split
from difgen_cli.data.digits import load
from difgen_cli.engine.plan import recipes
from difgen_cli.engine.store import Store, sample_files
from difgen_cli.report.study import loading

GRID = """
base:
  data: {name: folder, path: images, held_out: 40, size: 60}
  condition: {name: kmeans, clusters: 2}
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
    for command in (["sweep", write_grid(GRID), "--cluster", "inline"], ["report", "--images"]):
        done = difgen(*command)
        assert done.returncode == 0, done.stderr
    return tmp_path


def told_where_somebody_asks(study_folder: Path, difgen: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """The nearest sample, the densities and the conditions by hand; without --images no table, name or picture."""
    pool, folder = digits(), study_folder / "report"
    frame, cells = (pd.read_csv(folder / name) for name in ("images.csv", "images_cells.csv"))
    (study,) = loading.gather(Store(study_folder / "runs"))
    lines, album = study.exposure, study.album
    assert lines is not None
    assert album is not None
    assert set(cells["train.steps"]) == {8}
    places = np.sort(frame["image"].to_numpy())
    x = pool.images[places].reshape(len(places), -1) / 127.5 - 1
    for cell, own in cells.groupby("cell"):
        run = Store(study_folder / "runs").run_folder(album.trajectories[cell], "")
        samples, _ = sample_files.read(run.samples(cell))
        apart = cdist(x, samples.reshape(len(samples), -1) / 127.5 - 1)
        own = own.set_index("image").loc[places]
        assert np.allclose(own["d1"], apart.min(axis=1), atol=1e-4)
        assert np.allclose(apart[np.arange(len(x)), own["sample"]], apart.min(axis=1), atol=1e-4)
        of_cell = lines[(lines["cell"] == cell) & ~lines["held_out"]].set_index("image").loc[places]
        alike = cdist(x, x)
        alike[np.equal.outer(of_cell["group"].to_numpy(), of_cell["group"].to_numpy())] = np.inf
        assert np.allclose(own["train_distance"], alike[:, of_cell["trained"].to_numpy()].min(axis=1), atol=1e-4)
        spec = run.spec()
        labels = recipes.load(spec["recipe"])[spec["key"]].inputs["labels"].key
        rest = split(pool, size=60, held_out=40).rest
        fitted = np.load(study_folder / "runs" / "shared" / labels / "labels.npz")["rest"]
        assert own["condition"].to_dict() == {place: fitted[k] for k, place in enumerate(rest)}
    assert sorted(frame.loc[frame["group_size"] == 2, "image"]) == sorted(split(pool, held_out=40).rest[[FIRST, AGAIN]])
    page = (folder / "report.html").read_text(encoding="utf-8")
    best = str(frame["name"].iloc[0])
    assert f'alt="nearest sample of {best}"' in page
    assert page.count('<td class="exposed">') == (frame.dropna(subset="gap").head(24)["gap_lo"] > 0).sum()
    assert difgen("report").returncode == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not list(folder.glob("images*.csv"))
    assert best not in page
    assert "it ranks images and convicts none" in page
    assert "difgen report --images" in page
    refused = difgen("report", "--images", "--watch")
    assert refused.returncode == 2
    assert "--images and --watch: choose one" in refused.stderr


def test_a_sweep_over_files_tells_which_of_them_its_models_know_and_shows_them_where_somebody_asks(
    study_folder: Path, difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    told_of_files(study_folder)
    told_where_somebody_asks(study_folder, difgen)
    told_before_any_model_is_done(study_folder, difgen)


def told_before_any_model_is_done(study_folder: Path, difgen: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """A metric that failed for every model leaves the lines of the others, which nothing is read from."""
    for lost in (study_folder / "runs" / "trajectories").glob("*/results/*.neighbours.parquet"):
        for file in lost.parent.glob(f"{lost.name.partition('.')[0]}.*"):
            file.unlink()
    for table in (study_folder / "runs" / "tables").rglob("*.parquet"):
        table.unlink()
    (study,) = loading.gather(Store(study_folder / "runs"))
    assert not (study.rows["state"] == "done")[study.rows["kind"] == "model"].any()
    assert study.exposure is None
    assert difgen("report").returncode == 0


def told_of_files(study_folder: Path) -> None:
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
