"""What a stranger writes in one file, by the documents alone, does what its paper says, alone and in a sweep."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from difgen_cli.diffusion.objective import Batch
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import sample_files
from difgen_cli.sampling import ddpm, draw, euler, levels_of

PLUGINS = Path(__file__).parent / "plugins"
MIN_SNR = Library(PLUGINS).module("objective", "min_snr")
DDIM = Library(PLUGINS).module("sample", "ddim")


class Wrong(nn.Module):
    """Off by 1 in every value."""

    sigma_data = 0.5

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.clean + 1


@pytest.mark.parametrize(
    ("sigma", "gamma", "weight"), [(0.25, 5.0, 4.0), (0.1, 5.0, 5.0), (2.0, 5.0, 1 / 16), (0.1, 100.0, 25.0)]
)
def test_the_weight_of_min_snr_is_the_ratio_of_variances_up_to_gamma(sigma: float, gamma: float, weight: float) -> None:
    clean, level = torch.randn(8, 3), torch.full((8,), sigma)
    batch = Batch(clean, None, torch.arange(8), None, level, torch.ones(8), torch.randn(8, 3))
    assert MIN_SNR.loss(Wrong(clean), batch, gamma=gamma).item() == pytest.approx(weight, rel=1e-5)


class Gaussian:
    """The posterior mean of points whose values are independent, of the given variances and mean 0."""

    def __init__(self, variance: Tensor) -> None:
        self.variance, self.sigma_data = variance, variance.mean().sqrt().item()

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.variance / (self.variance + sigma.square()[:, None]) * x


def test_ddim_of_eta_0_multiplies_gaussian_noise_by_its_closed_form_which_is_that_of_euler() -> None:
    """In σ, a step from σ to σ′ multiplies each value by (v + σ σ′) / (v + σ²)."""
    denoiser = Gaussian(torch.tensor([0.01, 0.5, 2.0], dtype=torch.float64))
    levels = levels_of(denoiser, steps=9)
    x = levels[0] * torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    factor = torch.ones(3, dtype=torch.float64)
    for sigma, after in pairwise(levels):
        factor = factor * (denoiser.variance + sigma * after) / (denoiser.variance + sigma**2)
    *_, (last, end) = DDIM.sample(denoiser, x, levels, None, None)
    assert last == 0
    torch.testing.assert_close(end, factor * x, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close([y for _, y in euler.sample(denoiser, x, levels, None)][-1], end, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_ddim_of_another_eta_draws_the_noise_of_ddpm(eta: float) -> None:
    denoiser = Gaussian(torch.tensor([0.01, 0.5, 2.0]))
    own, builtin = (
        draw(denoiser, partial(m.sample, eta=eta), (3,), None, count=64, steps=9).x  # type: ignore[arg-type]
        for m in (DDIM, ddpm)
    )
    np.testing.assert_allclose(own, builtin, rtol=1e-4, atol=1e-4)


GRID = """\
# Does what a stranger wrote work with the rest?
base:
  data:   {name: gaussians, held_out: 100, size: 64}
  model:  {name: mlp, width: 16, depth: 1}
  train:  {batch: 16, steps: 60}
  sample: {steps: 6, count: 32}
  score:  [memorization]
axes:
  objective.name: [edm, min_snr]
  sample.name:    [euler, ddim]
include:
  - {objective.name: edm, objective.weight: noise, sample.name: euler}
  - {objective.name: min_snr, objective.gamma: 1.0e+9, sample.name: euler}
  - {objective.name: min_snr, sample.name: ddim, sample.eta: 1}
"""


def test_files_of_a_stranger_run_in_one_sweep_and_agree_with_what_they_equal(
    write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Unbounded, min-SNR weighs as the squared error of the noise does, and DDIM of eta 0 ends where euler does."""
    for kind in ("objectives", "sampling"):
        shutil.copytree(PLUGINS / kind, tmp_path / "plugins" / kind, ignore=shutil.ignore_patterns("__pycache__"))
    run = difgen("sweep", str(write_grid(GRID)), "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    rows = rows[rows["kind"] == "model"]
    assert rows["mem_frac"].notna().all()
    samples = {_name(row): _samples(tmp_path, row) for _, row in rows.iterrows()}
    edm, by_noise = samples["edm edm euler"], samples["edm noise euler"]
    bounded, unbounded = samples["min_snr 5 euler"], samples["min_snr 1e+09 euler"]
    deterministic, random = samples["min_snr 5 ddim 0"], samples["min_snr 5 ddim 1"]
    np.testing.assert_allclose(deterministic, bounded, atol=1e-4)
    np.testing.assert_allclose(unbounded, by_noise, atol=1e-3)
    others = [edm, unbounded, bounded, random]
    assert min(np.abs(a - b).max() for a, b in combinations(others, 2)) > 0.02


def _name(row: pd.Series) -> str:
    """The objective and the sampler of a cell, with the setting of each that the grid changes."""
    changed = "objective.weight" if row["objective.name"] == "edm" else "objective.gamma"
    words = [row[name] for name in ("objective.name", changed, "sample.name", "sample.eta") if pd.notna(row[name])]
    return " ".join(word if isinstance(word, str) else f"{word:g}" for word in words)


def _samples(folder: Path, row: pd.Series) -> np.ndarray:
    """(n, D), of one cell."""
    (path,) = folder.glob(f"runs/trajectories/*-{row['home']}/samples/{row['cell']}.parquet")
    return sample_files.read(path)[0]
