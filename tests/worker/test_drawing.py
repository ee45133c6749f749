"""Drawing in a worker: how often a sampler asks, and that a faster denoiser draws the same samples."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from worker.test_modes import needs_compiler

from difgen_cli.diffusion import Denoiser
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.engine.worker.drawing import faster
from difgen_cli.models import mlp
from difgen_cli.sampling import draw, euler, evaluations, heun


def denoiser() -> Denoiser:
    made = Denoiser(initialise(lambda: mlp.build((1, 8, 8), 3, width=16, depth=1), 0), 0.7).eval().requires_grad_(False)
    for place, parameter in enumerate(made.parameters()):
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(place)))
    return made


@pytest.mark.parametrize("steps", [1, 5, 24])
def test_evaluations_are_counted_without_the_network(steps: int) -> None:
    unread = Denoiser(torch.nn.Identity(), 0.7)
    assert evaluations(unread, heun.sample, (1, 8, 8), steps=steps) == 2 * steps - 1
    assert evaluations(unread, euler.sample, (1, 8, 8), steps=steps) == steps


def test_few_samples_are_drawn_by_the_denoiser_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIFGEN_COMPILE", raising=False)
    one = denoiser()
    assert faster(one, 47, (1, 8, 8), 3, 1000, "cpu", {}, print) is one


@pytest.mark.long
@needs_compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_compiled_denoiser_draws_the_same_samples_but_for_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFGEN_COMPILE", "always")
    one, walk = denoiser(), partial(draw, sample=heun.sample, steps=5)
    other = faster(one, 9, (1, 8, 8), 3, 512, "cpu", {}, print)
    assert other is not one
    plain, compiled = (walk(d, shape=(1, 8, 8), proportions=np.full(3, 1 / 3), count=512) for d in (one, other))
    assert not np.array_equal(plain.x, compiled.x)
    np.testing.assert_allclose(plain.x, compiled.x, atol=1e-4)
