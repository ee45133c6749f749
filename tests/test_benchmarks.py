"""The benchmarks run, and say what they measured: with --quick, where the numbers themselves mean nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def _quick(name: str, folder: Path, *arguments: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a benchmark says with --quick --json: the machine, and its measurements."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(BENCHMARKS / f"{name}.py"), "--quick", "--json", *arguments],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    about, *rows = (json.loads(line) for line in done.stdout.splitlines())
    assert {"benchmark", "processor", "cores", "versions", "command"} <= set(about)
    assert about["versions"]["torch"]
    assert rows
    assert all(row["benchmark"] == name for row in rows)
    return about, rows


def _compared(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Case -> contestant -> measurement; every contestant but difgen itself has its ratio."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["case"], {})[row["who"].split()[0]] = row
        assert row["wall_seconds"] > 0
        assert row["processor_seconds"] > 0
        assert row["who"].startswith("difgen") or min(row["ratio_wall"], row["ratio_processor"]) > 0
    return found


def test_training_stands_beside_a_textbook_loop_and_diffusers(tmp_path: Path) -> None:
    _, rows = _quick("training", tmp_path)
    cases = _compared(rows)
    diffusers = {"diffusers"} if importlib.util.find_spec("diffusers") else set()
    assert set(cases["digits mlp"]) == {"difgen", "textbook"}
    assert set(cases["small unet"]) == {"difgen", "textbook"} | diffusers
    for row in rows:
        assert row["share_of_matrix_rate"] > 0
        assert row["images_per_second"] == pytest.approx(row["images"] / row["wall_seconds"])
    mlp, unet = cases["digits mlp"], cases["small unet"]
    assert mlp["textbook"]["mflops_per_image"] == mlp["difgen"]["mflops_per_image"]
    if diffusers:
        assert abs(unet["diffusers"]["mflops_per_image"] / unet["difgen"]["mflops_per_image"] - 1) < 0.05


def test_sampling_stands_beside_a_textbook_sampler_that_makes_the_same_images(tmp_path: Path) -> None:
    _, rows = _quick("sampling", tmp_path)
    cases = _compared(rows)
    assert len(cases) == 2
    assert all(set(case) == {"difgen", "textbook"} for case in cases.values())
    assert all(row["largest_difference"] < 1e-5 for row in rows)
