"""The pipeline on real images, where DIFGEN_TEST_DATA says where they are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

DATA = os.environ.get("DIFGEN_TEST_DATA", "")
GRIDS = Path(__file__).parent.parent / "grids"


@pytest.mark.skipif(not DATA, reason="DIFGEN_TEST_DATA does not name a folder with fashion_mnist/ and cifar10/")
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
