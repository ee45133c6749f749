"""The pipeline on real images, where DIFGEN_TEST_DATA says where they are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.long

DATA = os.environ.get("DIFGEN_TEST_DATA", "")
GRIDS = Path(__file__).parent.parent / "grids"


needs_data = pytest.mark.skipif(
    not DATA, reason="DIFGEN_TEST_DATA does not name a folder with fashion_mnist/ and cifar10/"
)


@needs_data
@pytest.mark.parametrize(("grid", "features"), [("fashion", "classifier"), ("cifar10", "random_conv")])
def test_real_images_through_the_unet_give_rows(
    tmp_path: Path, difgen: Callable[..., subprocess.CompletedProcess[str]], grid: str, features: str
) -> None:
    small = {
        "model.width": "8", "model.depth": "1", "train.batch": "16", "train.steps": "12", "train.warmup": "4",
        "data.size": "32", "data.held_out": "64", "sample.count": "32", "sample.steps": "3", "train.precision": "fp32",
        "score.frechet.features": features, "score.gap.pairs": "64", "score.gap.sigmas": "4",
    }  # fmt: skip
    if grid == "fashion":
        small["condition.clusters"] = "4"
    flags = [part for key, value in small.items() for part in ("--set", f"{key}={value}")]
    seeds = ["--only", "seed=0"]
    done = difgen("sweep", GRIDS / f"{grid}.yaml", "--cluster", "local", *flags, *seeds, DIFGEN_DATA=DATA, timeout=550)
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet").set_index("kind")
    model = table.loc[["model"]].iloc[0]
    assert model[["mem_frac", "train_pref", "fd_test", "gap_max"]].notna().all()
    assert (model["fd_features"], model["n_gen"], model["n_ref"]) == (features, 32, 64)
    assert table.loc["copycat", "mem_frac"] == 1
    assert table.loc["heldout", "mem_frac"] <= 0.05
    assert difgen("report", "runs", "--out", "report").returncode == 0
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000


@needs_data
def test_clothes_are_told_from_digits_and_from_photographs(
    tmp_path: Path, difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    small = {
        "model.width": "8", "train.batch": "16", "train.steps": "12", "data.held_out": "300", "sample.count": "32",
        "sample.steps": "3", "score.ood.images": "300",
    }  # fmt: skip
    flags = [part for key, value in small.items() for part in ("--set", f"{key}={value}")]
    chosen = ["--only", "data.size=64", "--only", "score.ood.features=random_conv"]
    done = difgen("sweep", GRIDS / "ood.yaml", "--cluster", "local", *flags, *chosen, DIFGEN_DATA=DATA, timeout=550)
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet").set_index("kind")
    table = table[table["ood_auroc"].notna()]  # the other feature spaces were not asked for
    model = table.loc[["model"]].set_index("score.ood.against.name")
    assert set(model.index) == {"digits", "parquet"}
    assert (model["ood_images"] == 300).all()
    assert (model["ood_auroc_lo"] > 0.5).all()
    assert model.loc["digits", "ood_auroc"] != model.loc["parquet", "ood_auroc"]
    assert (model["ood_samples_auroc"] > 0.9).all(), "after 12 steps samples are noise"
    assert (table.loc["copycat", "ood_samples_auroc"] == 0).all()
