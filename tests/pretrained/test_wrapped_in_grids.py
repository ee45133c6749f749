"""A run's snapshot, wrapped as networks of others by a user's own module, has the numbers of the run in a grid too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from difgen_cli import data
from difgen_cli.data import digits

sys.path.insert(0, str(Path(__file__).parent))
import wrapping

Difgen = Callable[..., subprocess.CompletedProcess[str]]
SHARED = """\
  data:      {name: digits, held_out: 1700, size: 32}
  condition: {name: labels}
  sample:    {name: euler, levels: [100.0, 30.0, 10.0, 4.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.04, 0.0], count: 48}
  score:     [memorization, gap, membership, path]
"""
NATIVE = f"""\
# What does the run say of itself?
base:
{SHARED}\
  model:     {{name: mlp, width: 64, depth: 2}}
  train:     {{batch: 32, steps: 300, ema: 0.95}}
"""
WRAPPED = f"""\
# What is said of the same weights as networks of others?
base:
{SHARED}\
  model:     {{name: given, path: weights.safetensors}}
axes:
  model.network: [noise.json, velocity.json, flow.json]
"""
KINDS = {"noise": "noise of linear", "velocity": "velocity of cosine", "flow": "flow"}
MODULE = '''\
"""A network of this package, wrapped as one of others."""
from difgen_cli.diffusion import Denoiser
from difgen_cli.models import mlp

from ._wrapping import KINDS, Wrapped


def build(shape, classes, *, kind: str, sigma_data: float):
    own, of = Denoiser(mlp.build(shape, classes, width=64, depth=2), sigma_data), KINDS[kind]
    return Wrapped(own, of.level, of.kept, of.prediction)
'''


def row(runs: Path) -> pd.DataFrame:
    whole = pd.read_parquet(runs / "tables" / "rows.parquet")
    return whole[whole["kind"] == "model"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, difgen_in: Difgen) -> tuple[pd.Series, pd.DataFrame]:
    """That of the run, and those of its wrapped weights."""
    folder = tmp_path_factory.mktemp("wrapped")
    (folder / "native.yaml").write_text(NATIVE)
    run = difgen_in(folder, "sweep", "native.yaml", "--cluster", "inline", "--runs", "native")
    assert run.returncode == 0, run.stderr
    (snapshot,) = folder.glob("native/trajectories/*/snapshots/300.safetensors")
    named = {f"own.network.{name}": tensor for name, tensor in load_file(snapshot).items()}
    save_file(named, folder / "weights.safetensors")
    plugins = folder / "plugins" / "models"
    plugins.mkdir(parents=True)
    (plugins / "wrapped.py").write_text(MODULE)
    shutil.copy(wrapping.__file__, plugins / "_wrapping.py")
    pool = digits.load()
    sigma_data = data.sigma_data(pool.images[data.split(pool, held_out=1700).rest])
    for name, kind in KINDS.items():
        read = {
            "network": "wrapped", "settings": {"kind": kind, "sigma_data": sigma_data}, "shape": [1, 8, 8],
            "classes": 10, "reading": {"unit": 1.0, "noise_input": "timestep", **wrapping.KINDS[kind].reading},
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(read))
    (folder / "wrapped.yaml").write_text(WRAPPED)
    run = difgen_in(folder, "sweep", "wrapped.yaml", "--cluster", "inline")
    assert run.returncode == 0, run.stderr + run.stdout
    return row(folder / "native").iloc[0], row(folder / "runs").set_index("model.prediction")


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_of_wrapped_weights_has_the_numbers_of_the_run(rows: tuple[pd.Series, pd.DataFrame], kind: str) -> None:
    native, wrapped = rows[0], rows[1].loc[kind]
    assert native["gap_max"] > 0.5
    assert wrapped["gap_max"] == pytest.approx(native["gap_max"], rel=1e-6)
    exact = [c for c in native.index if c.startswith(("mia_", "path_", "mem_")) and not c.endswith("_seconds")]
    given = [c for c in exact if pd.notna(native[c])]
    assert {"mia_auc_025", "mia_auc_050_lo", "path_overlap_100", "mem_frac"} <= set(given)
    different = {c: (native[c], wrapped[c]) for c in given if native[c] != wrapped[c]}
    assert not different
