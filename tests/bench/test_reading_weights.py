"""benchmarks/reading.py: weights of others are read without being held in memory more often than twice."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
import reading


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """14 million weights, so many that what else a process does is little beside them."""
    network, unet = replace(reading.CIFAR, width=64), {**reading.UNET2D, "block_out_channels": [96, 160, 160]}
    return reading.write(tmp_path_factory.mktemp("weights"), network, unet)


@pytest.mark.long
@pytest.mark.parametrize(
    "form", ["pickle of EDM", "safetensors of difgen", "state dict of torch", "folder of diffusers"]
)
def test_the_most_memory_is_the_file_and_one_copy(files: dict[str, Path], form: str) -> None:
    """The file's own pages, which the system may take back, and the weights; then the network in place of the file."""
    values = reading.in_own_process(files[form], batch=1)
    assert values["parameters"] > 1e7
    assert 1.5 < values["peak_of_reading"] < 2.3, values
    assert values["peak_of_both"] < 2.3, values


@pytest.mark.long
def test_the_benchmark_runs() -> None:
    command = [sys.executable, str(reading.__file__), "--quick", "--batch", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["form"] for line in lines] == [
        "pickle of EDM", "safetensors of difgen", "state dict of torch", "folder of diffusers",
    ]  # fmt: skip
    assert all(line["evaluation_seconds"] > 0 for line in lines)
