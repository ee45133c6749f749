"""A snapshot of a run directory, read with its spec: the denoiser that workers make of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from difgen_cli.diffusion import DenoiserLike
from difgen_cli.engine.plan.recipes import load
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import RunFolder, Store
from difgen_cli.engine.store.attempts import Claimant
from difgen_cli.engine.worker.artifacts import Artifacts
from difgen_cli.pretrained import PretrainedError, read, write

Difgen = Callable[..., subprocess.CompletedProcess[str]]
GRID = """\
# Are snapshots of every network read?
base:
  data:      {name: digits, held_out: 900, size: 16}
  condition: {name: labels}
  train:     {batch: 16, steps: 3}
  sample:    {name: euler, steps: 2, count: 8}
  score:     [memorization]
  model:     {width: 16, depth: 1, heads: 2, multipliers: [1, 2], attention: [], block_out_channels: [8, 8],
              norm_num_groups: 4, head_channels: 8, features: fourierREADING}
axes:
  model.name: [unet, mlp, ddpmpp, dit, edm2, unet2d]
"""
NETWORKS = ("unet", "mlp", "ddpmpp", "dit", "edm2", "unet2d")


READINGS = {"edm": "", "flow": ", prediction: flow, noise_input: time, unit: 0.7"}


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, difgen_in: Difgen) -> Path:
    """A run directory with a snapshot of every network, read in one of the ways."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "grid.yaml").write_text(GRID.replace("READING", READINGS[request.param]))
    done = difgen_in(folder, "sweep", "grid.yaml", "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    return folder / "runs"


def folder_of(runs: Path, network: str) -> RunFolder:
    folders = [f for f in Store(runs).run_folders() if f.path.parent.name == "trajectories"]
    for folder in folders:
        spec = folder.spec()
        recipe = spec["recipe"][spec["recipe"][spec["key"]]["inputs"]["network"]]
        if recipe["name"] == network:
            return folder
    raise AssertionError(network)


def of_worker(runs: Path, folder: RunFolder) -> DenoiserLike:
    spec = folder.spec()
    recipes = load(spec["recipe"])
    artifacts = Artifacts(Store(runs), recipes, Library(), "cpu", Claimant())
    return artifacts.denoiser(recipes[spec["key"]], load_file(folder.snapshot(3)))


@pytest.mark.parametrize("runs", READINGS, indirect=True)
@pytest.mark.parametrize("network", NETWORKS)
@torch.no_grad()
def test_a_snapshot_is_read_to_the_denoiser_of_workers(runs: Path, tmp_path: Path, network: str) -> None:
    folder = folder_of(runs, network)
    model = read(folder.snapshot(3))
    assert (model.described.network, model.described.shape, model.described.classes) == (network, (1, 8, 8), 10)
    own, other = of_worker(runs, folder), model.denoiser(0.123)  # of data of another spread
    x = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    sigma, labels = torch.logspace(-2, 1, 8), torch.arange(8)
    assert torch.equal(own(x, sigma, labels), other(x, sigma, labels))
    write(model, tmp_path / "out")
    assert torch.equal(read(tmp_path / "out").denoiser(0.123)(x, sigma, labels), own(x, sigma, labels))


@pytest.mark.parametrize("runs", ["edm"], indirect=True)
def test_reading_a_snapshot_writes_nothing(runs: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in runs.rglob("*") if file.is_file()}
    read(folder_of(runs, "unet").snapshot(3))
    assert {file: file.stat().st_mtime_ns for file in runs.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("runs", ["edm"], indirect=True)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda spec: "{", "it cannot be read"),
        (lambda spec: spec.replace('"unet"', '"mine"'), "the network mine is none of difgen's own"),
        (lambda spec: json.dumps({"key": "a", "recipe": {}}), "it cannot be read"),
        (lambda spec: spec.replace('"pool": "', '"pool": "../'), "is no key"),
    ],
)
def test_a_spec_that_was_changed_is_refused(
    runs: Path, tmp_path: Path, change: Callable[[str], str], words: str
) -> None:
    folder = folder_of(runs, "unet")
    copy = tmp_path / "trajectories" / folder.path.name
    (copy / "snapshots").mkdir(parents=True)
    (copy / "snapshots" / "3.safetensors").write_bytes(folder.snapshot(3).read_bytes())
    (copy / "spec.json").write_text(change((folder.path / "spec.json").read_text()))
    with pytest.raises(PretrainedError, match=words):
        read(copy / "snapshots" / "3.safetensors")
