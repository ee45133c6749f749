"""Forks and starts as workers train them: the bits of an uninterrupted training, whatever happens on the way."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from difgen_cli import data
from difgen_cli.data.digits import load
from difgen_cli.diffusion import to_tensor
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.state import TrainingState
from difgen_cli.diffusion.training import train
from difgen_cli.models import mlp

Difgen = Callable[..., subprocess.CompletedProcess[str]]

GRID = """\
# What stops copying from here on?
base:
  data:   {name: digits, held_out: 900, size: 32}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: STEPS, warmup: 10, flip: true, ema: 0.9START}
  sample: {name: euler, steps: 4, count: 32}
  score:  [memorization]
fork:
  at: AT
  change: [CHANGES]
"""
SAME = "train.schedule: inverse_sqrt, train.decay_start: 1000000"  # a key of its own, and the very rates of constant
CHANGES = (
    "", SAME, "train.lr: 1e-3", "train.weight_decay: 0.5", "data.size: 64", "objective.noise_bank: 2",
    "objective.name: repa", "train.schedule: cosine",
)  # fmt: skip


def grid(*changes: str, steps: int = 40, at: int = 20, start: str = "") -> str:
    words = ", ".join(f"{{{change}}}" for change in changes)
    text = GRID.replace("CHANGES", words).replace("STEPS", str(steps)).replace("AT", str(at))
    return text.replace("START", f", start: {{{start}}}" if start else "")


def sweep(difgen: Difgen, folder: Path, text: str, *more: str) -> str:
    (folder / "forks.yaml").write_text(text)
    done = difgen(folder, "sweep", "forks.yaml", "--cluster", "inline", *more)
    assert done.returncode == 0, done.stderr
    return done.stderr


def snapshots(folder: Path) -> dict[str, Path]:
    """The last snapshot of each change."""
    return {change: path / f"snapshots/{step}.safetensors" for change, (path, step) in _cells(folder).items()}


def _cells(folder: Path) -> dict[str, tuple[Path, int]]:
    plan = pd.read_parquet(next(folder.glob("runs/grids/*/plan.parquet")))
    models = plan[plan["kind"] == "model"]
    named = zip(models["fork.change"], models["home"], models["step"], strict=True)
    return {change: (next(folder.glob(f"runs/trajectories/*-{home}")), int(step)) for change, home, step in named}


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory, difgen_in: Difgen) -> Path:
    """A folder in which every change was swept."""
    folder = tmp_path_factory.mktemp("forked")
    sweep(difgen_in, folder, grid(*CHANGES))
    return folder


# Known answers: the training loop itself, in this process, from a state or from weights ------------------------------


def trained(
    steps: int, saved: dict[str, Any] | None = None, weights: Mapping[str, Tensor] | None = None, size: int = 32,
    stop: int | None = None, **settings: Any,
) -> TrainingState:  # fmt: skip
    pool = load()
    parts = data.split(pool, size=size, held_out=900)
    images = to_tensor(pool.images[parts.train])
    network = initialise(lambda: mlp.build((1, 8, 8), 0, width=8, depth=1), 0)
    if weights:
        network.load_state_dict(weights)
    sigma_data = data.sigma_data(data.scaled(pool.images[parts.rest]))
    own = {"batch": 16, "warmup": 10, "flip": True, "ema": 0.9} | settings
    *_, state = itertools.islice(train(network, images, None, sigma_data, saved, steps=steps, **own), stop)
    return state


def averaged(state: TrainingState) -> dict[str, Tensor]:
    return dict(state.ema.network.state_dict())


def test_the_state_at_a_fork_is_that_of_the_trunk_as_it_passed_there(forked: Path) -> None:
    path, _ = _cells(forked)["none"]
    (file,) = path.glob("states/*")
    saved = torch.load(file, weights_only=True)["state"]
    state = trained(20).checkpoint()
    assert (file.name, saved["step"]) == ("20.pt", 20)
    assert all(equal(saved[part], state[part]) for part in ("network", "ema"))
    moments, expected = saved["optimizer"]["state"], state["optimizer"]["state"]
    assert moments.keys() == expected.keys()
    assert all(equal(moments[place], expected[place]) for place in moments)


def test_the_empty_fork_is_its_trunk_and_is_trained_once(forked: Path) -> None:
    path, _ = _cells(forked)["none"]
    attempts = [json.loads(file.read_text()) for file in path.glob("attempts/train.*.json")]
    assert [(a["from_step"], a["target"]) for a in attempts] == [(0, 40)]
    assert equal(load_file(snapshots(forked)["none"]), averaged(trained(40)))


def test_a_fork_that_changes_no_number_equals_its_trunk_bit_for_bit(forked: Path) -> None:
    """Another key, another folder, another worker's network: weights, moments, averages, clock and draws go on."""
    last = snapshots(forked)
    words = "train.schedule=inverse_sqrt, train.decay_start=1000000"
    assert last[words].parent != last["none"].parent
    assert equal(load_file(last[words]), load_file(last["none"]))


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("train.lr=0.001", {"lr": 1e-3}), ("train.weight_decay=0.5", {"weight_decay": 0.5}),
        ("data.size=64", {"size": 64}), ("train.schedule=cosine", {"schedule": "cosine"}),
    ],
)  # fmt: skip
def test_a_fork_is_the_training_loop_from_that_state_on(forked: Path, words: str, settings: dict[str, Any]) -> None:
    path, _ = _cells(forked)["none"]
    saved = torch.load(path / "states" / "20.pt", weights_only=True)["state"]
    last = load_file(snapshots(forked)[words])
    assert equal(last, averaged(trained(40, saved, **settings)))
    assert not equal(last, load_file(snapshots(forked)["none"]))
    assert not equal(last, averaged(trained(40, **settings))), "from the first step on it is another training"


def test_a_trunk_that_is_trained_to_the_fork_alone_follows_the_schedule_of_its_own_end(
    tmp_path: Path, difgen_in: Difgen
) -> None:
    text = grid("train.lr: 1e-3", "train.steps: 60").replace("warmup: 10", "warmup: 10, schedule: cosine")
    sweep(difgen_in, tmp_path, text)
    saved = trained(40, stop=20, schedule="cosine").checkpoint()
    last = snapshots(tmp_path)
    assert equal(load_file(last["train.lr=0.001"]), averaged(trained(40, saved, schedule="cosine", lr=1e-3)))
    longer = trained(60, trained(40, stop=20, schedule="cosine").checkpoint(), schedule="cosine")
    assert equal(load_file(last["train.steps=60"]), averaged(longer)), "at the rates of the longer schedule"


def test_rows_say_what_was_changed_and_count_images_where_that_can_be(forked: Path) -> None:
    rows = pd.read_parquet(forked / "runs" / "tables" / "rows.parquet")
    models = rows[rows["kind"] == "model"].set_index("fork.change")
    assert len(models) == len(CHANGES)
    assert set(models["fork.at"]) == {20}
    assert models["mem_frac"].notna().all()
    assert models["images_seen"].isna().to_dict() == {change: change.startswith("data.") for change in models.index}
    assert models.loc["train.lr=0.001", "images_seen"] == 40 * 16


def test_training_begins_with_the_averaged_weights_of_a_snapshot(tmp_path: Path, difgen_in: Difgen) -> None:
    """Step 0, moments of zero, and a warm-up of its own."""
    sweep(difgen_in, tmp_path, grid("", steps=30, start="train.steps: 12, train.lr: 4e-3"))
    start = averaged(trained(12, lr=4e-3))
    assert equal(load_file(snapshots(tmp_path)["none"]), averaged(trained(30, weights=start)))


# Heads ---------------------------------------------------------------------------------------------------------------


def heads_of(folder: Path, change: str, steps: int) -> tuple[dict[str, Tensor] | None, list[float], list[float]]:
    """The heads in the last checkpoint of a change, and the steps that the moments of network and heads have made."""
    path, _ = _cells(folder)[change]
    saved = torch.load(path / "checkpoints" / f"{steps}.pt", weights_only=True)["state"]
    steps_made = [float(moments["step"]) for moments in saved["optimizer"]["state"].values()]
    of_network = len(list(mlp.build((1, 8, 8), 0, width=8, depth=1).parameters()))
    return saved.get("heads"), steps_made[:of_network], steps_made[of_network:]


def test_heads_go_on_with_their_objective_and_begin_anew_with_another(tmp_path: Path, difgen_in: Difgen) -> None:
    """At a rate of 0 after the fork no weight moves: what a checkpoint has is what the fork began with."""
    still = "train.lr: 1e-30"
    each = (f"objective.alignment: 0.1, {still}", f"objective.name: edm, {still}", still)
    text = grid("", *each, steps=21).replace("  sample:", "  objective: {name: repa}\n  sample:")
    sweep(difgen_in, tmp_path, text)
    saved = torch.load(_cells(tmp_path)["none"][0] / "states" / "20.pt", weights_only=True)["state"]
    another, to_edm, same = (
        heads_of(tmp_path, change, 21) for change in _cells(tmp_path) if change != "none"
    )  # in the order of the grid
    assert all(set(network) == {21.0} for _, network, _ in (another, to_edm, same)), "its clock goes on"
    assert (to_edm[0], to_edm[2]) == (None, [])
    assert equal(same[0] or {}, saved["heads"])
    assert set(same[2]) == {21.0}
    assert not equal(another[0] or {}, saved["heads"])
    assert set(another[2]) == {1.0}


def test_an_objective_with_heads_may_follow_one_without(forked: Path) -> None:
    heads, network, of_heads = heads_of(forked, "objective.name=repa", 40)
    assert heads
    assert (set(network), set(of_heads)) == ({40.0}, {20.0})


# What happens on the way ---------------------------------------------------------------------------------------------


def test_a_state_is_taken_from_a_checkpoint_at_its_step(tmp_path: Path, difgen_in: Difgen) -> None:
    """A trunk that has ended at the fork is not trained again: its last checkpoint is the state."""
    sweep(difgen_in, tmp_path, grid("", steps=20, at=10))
    sweep(difgen_in, tmp_path, grid("train.lr: 1e-3"))
    trunk = [path for path in tmp_path.glob("runs/trajectories/*") if "fork" not in path.name]
    attempts = [json.loads(file.read_text()) for path in trunk for file in path.glob("attempts/train.*.json")]
    assert sorted(a.get("target", 0) for a in attempts) == [0, 20]
    saved = torch.load(trunk[0] / "states" / "20.pt", weights_only=True)["state"]
    (fork,) = tmp_path.glob("runs/trajectories/*fork20*/snapshots/40.safetensors")
    assert equal(load_file(fork), averaged(trained(40, saved, lr=1e-3)))
    assert equal(saved["network"], trained(20).checkpoint()["network"])


def test_where_a_state_is_gone_the_trunk_is_trained_again_to_it_and_the_plan_says_so(
    forked: Path, tmp_path: Path, difgen_in: Difgen
) -> None:
    shutil.copytree(forked, tmp_path / "copy")
    folder = tmp_path / "copy"
    cells = _cells(folder)
    trunk, fork = cells["none"][0], cells["train.lr=0.001"][0]
    before = load_file(fork / "snapshots" / "40.safetensors")
    shutil.rmtree(trunk / "states")
    assert "nothing to do" in difgen_in(folder, "sweep", "forks.yaml").stderr
    for part in ("snapshots", "samples", "results", "checkpoints"):
        shutil.rmtree(fork / part)
    plan = difgen_in(folder, "plan", "forks.yaml").stdout
    assert "its state at step 20 was not kept, so it is trained again to fork there" in plan
    sweep(difgen_in, folder, grid(*CHANGES))
    assert equal(load_file(fork / "snapshots" / "40.safetensors"), before)
    assert sorted(p.name for p in trunk.glob("snapshots/*")) == ["40.safetensors"]


def test_a_fork_goes_on_from_its_own_checkpoint_without_its_trunk(
    forked: Path, tmp_path: Path, difgen_in: Difgen
) -> None:
    shutil.copytree(forked, tmp_path / "copy")
    folder = tmp_path / "copy"
    cells = _cells(folder)
    shutil.rmtree(cells["none"][0] / "states")
    sweep(difgen_in, folder, grid("train.lr: 1e-3", steps=50))
    fork = cells["train.lr=0.001"][0]
    saved = torch.load(forked / cells["none"][0].relative_to(folder) / "states" / "20.pt", weights_only=True)["state"]
    assert equal(load_file(fork / "snapshots" / "50.safetensors"), averaged(trained(50, saved, lr=1e-3)))
    assert not list(cells["none"][0].glob("states/*"))


def test_gc_keeps_a_state_while_a_plan_forks_there(forked: Path, tmp_path: Path, difgen_in: Difgen) -> None:
    shutil.copytree(forked, tmp_path / "copy")
    folder, more = tmp_path / "copy", ("--yes", "--all")
    state = _cells(folder)["none"][0] / "states" / "20.pt"
    assert difgen_in(folder, "gc", "runs", *more).returncode == 0
    assert state.exists()
    sweep(difgen_in, folder, grid(""))
    for plan in folder.glob("runs/grids/*"):
        if "20.pt" not in str(plan) and len(pd.read_parquet(plan / "plan.parquet")) > 4:
            shutil.rmtree(plan)
    assert difgen_in(folder, "gc", "runs", "--yes").returncode == 0
    assert not state.exists()


def test_a_start_of_another_shape_is_one_sentence(tmp_path: Path, difgen_in: Difgen) -> None:
    (tmp_path / "forks.yaml").write_text(grid("", start="train.steps: 5, model.width: 16"))
    done = difgen_in(tmp_path, "plan", "forks.yaml")
    assert done.returncode == 2
    assert "train.start: the weights that" in done.stderr
    assert "(mlp for 1 × 8 × 8); begin with a network and images of the same shape" in done.stderr
    labels = grid("", start="train.steps: 5, condition.name: random, condition.clusters: 3")
    (tmp_path / "forks.yaml").write_text(labels.replace("  sample:", "  condition: {name: labels}\n  sample:"))
    done = difgen_in(tmp_path, "sweep", "forks.yaml", "--cluster", "inline")  # a worker alone knows the labels
    assert done.returncode == 1
    assert "train.start: the weights of" in done.stderr
    assert re.search(r"is 4 × \d+ there, and 11 × \d+ here\); begin with a network of the same shape", done.stderr)


@pytest.mark.parametrize("which", ["fork", "start"])
def test_a_training_that_is_killed_goes_on_to_the_same_bits(tmp_path: Path, difgen_in: Difgen, which: str) -> None:
    """SIGKILL after the first checkpoint of a fork, or of a training that began with other weights."""
    steps, begun = 3000, {"start": "train.steps: 12"} if which == "start" else {}
    text = grid("" if begun else "train.lr: 1e-3", steps=steps, **begun)
    (tmp_path / "forks.yaml").write_text(text)
    often = {**os.environ, "OMP_NUM_THREADS": "1", "DIFGEN_CHECKPOINT_SECONDS": "0.1"}
    command = [sys.executable, "-m", "difgen_cli", "sweep", "forks.yaml", "--cluster", "inline"]
    process = subprocess.Popen(command, cwd=tmp_path, env=often, stderr=subprocess.DEVNULL)
    pattern = f"runs/trajectories/*-{'fork20' if which == 'fork' else 'from12'}-*/checkpoints/*.pt"
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(pattern)):
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = next(tmp_path.glob(pattern)).parent.parent
    assert not list(folder.glob("snapshots/*")), "it was killed too late to be of use"
    sweep(difgen_in, tmp_path, text)
    attempts = [json.loads(file.read_text()) for file in sorted(folder.glob("attempts/train.*.json"))]
    assert 0 < attempts[-1]["from_step"] < steps
    last = load_file(folder / "snapshots" / f"{steps}.safetensors")
    if which == "start":
        expected = trained(steps, weights=averaged(trained(12)))
    else:
        expected = trained(steps, trained(20).checkpoint(), lr=1e-3)
    assert equal(last, averaged(expected))
    assert all(np.isfinite(value).all() for value in map(np.asarray, last.values()))
