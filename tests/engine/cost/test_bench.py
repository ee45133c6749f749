"""`difgen bench`: what it measures, what it prints, and what it refuses."""

from __future__ import annotations

import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from difgen_cli.cli.bench import print_table
from difgen_cli.diffusion import Denoiser
from difgen_cli.engine.cost import bench, flops
from difgen_cli.engine.cost.bench import Subject, Throughput
from difgen_cli.engine.cost.flops import NetworkWork
from difgen_cli.engine.cost.machine import Limits
from difgen_cli.engine.plugins import Library, PluginError
from difgen_cli.sampling import euler, evaluations, heun

Run = Callable[..., subprocess.CompletedProcess[str]]
GRID = """\
# How fast are these?
base:
  data:      {name: digits, held_out: 900, size: 16}
  model:     {name: mlp, depth: 1}
  train:     {batch: 32, steps: 10}
  condition: {name: kmeans}
  score:     [memorization]
axes:
  model.width: [8, 256]
  train.lr:    [1e-3, 2e-3]
  condition.clusters: [1, 4, 8]
seeds: 2
"""
LIMITS = Limits(1e9, 1e9)
SMALL = Subject("mlp", {"width": 8}, (1, 8, 8), batch=16)


def _of(rate: float, work: NetworkWork | None = NetworkWork(2e6, 1e6)) -> Throughput:  # noqa: B008
    return Throughput(SMALL, 1234, work, LIMITS, rate, 12.3)


def test_facts_are_shares_of_the_limits() -> None:
    facts = _of(100).facts
    assert (facts["roofline"], facts["mfu"], facts["bound"]) == (pytest.approx(0.2), pytest.approx(0.2), "compute")
    memory = _of(100, NetworkWork(1e6, 4e6)).facts
    assert (memory["roofline"], memory["mfu"], memory["bound"]) == (pytest.approx(0.4), pytest.approx(0.1), "memory")
    unknown = _of(100, None).facts
    assert unknown["images_per_second"] == 100
    assert (unknown["roofline"], unknown["mfu"], unknown["bound"], unknown["flops_per_image"]) == (None,) * 4


def test_evaluations_are_counted_as_a_sampler_makes_them() -> None:
    denoiser = Denoiser(bench_network(), 0.5)  # type: ignore[arg-type]
    assert evaluations(denoiser, heun.sample, (1, 8, 8)) == 2 * 24 - 1
    assert evaluations(denoiser, euler.sample, (1, 8, 8), steps=7) == 7


def test_a_subject_is_trained_and_sampled() -> None:
    found = bench.run(SMALL, Library(), "cpu", 0.05, LIMITS)
    assert found.weights == 64 * 8 + 8 + 2 * (16 * 8 + 8) + 3 * (8 * 4 + 4 + 2 * (16 * 4 + 4) + 4 * 8 + 8) + 8 * 64 + 64
    assert found.work == flops.training(bench_network(), (1, 8, 8), 16)
    assert 100 < found.images_per_second < 1e7
    assert 1 < found.samples_per_second < 1e7


def bench_network() -> object:
    from difgen_cli.models import mlp

    return mlp.build((1, 8, 8), 0, width=8)


def test_a_network_that_cannot_be_built_is_named() -> None:
    with pytest.raises(PluginError, match=r"unet width 3, 1×8×8.*multiple of 4"):
        bench.run(Subject("unet", {"width": 3}, (1, 8, 8)), Library(), "cpu", 0.01, LIMITS)


def test_a_gpu_adds_the_networks_of_a_gpu() -> None:
    here, there = bench.subjects("cpu"), bench.subjects("cuda:1")
    assert [(s.model, s.settings["width"]) for s in here] == [("mlp", 64), ("mlp", 256), ("unet", 16)]
    assert there[: len(here)] == here
    assert [(s.settings["width"], s.shape, s.precision) for s in there[len(here) :]] == [
        (width, (3, 32, 32), "bf16") for width in (32, 64, 128)
    ]


@pytest.mark.long
def test_the_command_measures_its_own_list(difgen: Run) -> None:
    done = difgen("bench", "--seconds", "0.2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "1 thread, torch" in lines[0]
    assert "measured in fp32" in lines[1]
    assert lines[2].split() == ["network", "weights", "GFLOP/image", "images/s", "roofline", "MFU", "bound", "by",
                                "samples/s"]  # fmt: skip
    assert [line.split(",")[0] for line in lines[3:]] == ["mlp width 64", "mlp width 256", "unet width 16"]
    assert done.stderr.count("…") == 3, "words go to standard error"


def test_each_network_of_a_grid_is_measured_once_however_it_is_trained(
    difgen: Run, write_grid: Callable[..., Path], tmp_path: Path
) -> None:
    done = difgen("-q", "bench", write_grid(GRID), "--seconds", "0.05", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert said["schema"] == 1
    assert said["machine"]["threads"] == 1
    assert set(said["limits"]["fp32"]) == {"flops_per_second", "bytes_per_second"}
    assert [line["network"] for line in said["networks"]] == [
        f"mlp width {width} depth 1, 1×8×8, {labels}batch 32, fp32"
        for width in (8, 256)
        for labels in ("", "10 labels, ")
    ]
    for line in said["networks"]:
        expected = line["flops_per_image"] * line["images_per_second"] / said["limits"]["fp32"]["flops_per_second"]
        assert line["mfu"] == pytest.approx(expected)
    assert not (tmp_path / "runs").exists(), "looking leaves nothing"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--device", "tpu"], 2, "choose cpu, cuda"),
        (["--device", "cuda:x"], 2, "choose cpu, cuda"),
        (["--device", "cuda:99"], 3, "no such GPU"),
        (["nowhere.yaml"], 2, "cannot be read"),
        (["--seconds", "0"], 2, "seconds"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(
    difgen: Run, arguments: list[str], code: int, words: str
) -> None:
    done = difgen("bench", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("width", "columns"), [(120, 8), (80, 7), (60, 5), (45, 4)])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_numbers(width: int, columns: int) -> None:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    print_table([_of(31234.0), _of(7.0, None)], console)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(re.split(r"\s{2,}", lines[0].strip())) == columns
    text = re.sub(r"\s+", " ", file.getvalue())
    for words in ("mlp width 8", "31,234", "6247%", "?"):
        assert words in text
    assert "…" not in text
