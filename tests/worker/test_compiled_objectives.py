"""A step of every objective and reading is compiled as one graph, whatever the step, and is what is written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from difgen_cli import models
from difgen_cli.diffusion import Denoiser
from difgen_cli.diffusion.objective import EDM, Objective
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import train
from difgen_cli.engine.worker import modes
from difgen_cli.models import mlp
from difgen_cli.objectives import distill, edm, levels, repa, unlearn

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")]
SHAPE = (1, 6, 6)
IMAGES = torch.randint(0, 256, (20, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
STEPS = {"steps": 4, "every": 2, "rho": 7.0, "sigma_min": 0.02, "sigma_max": 40.0}


def network() -> nn.Module:
    return initialise(lambda: mlp.build(SHAPE, 0, width=8, depth=2), 0)


def teacher() -> Denoiser:
    return Denoiser(network(), 0.7).eval().requires_grad_(False)


CASES: dict[str, tuple[Callable[[], Objective], Callable[[nn.Module, float], Denoiser]]] = {
    "flow": (
        lambda: Objective(levels=partial(levels, law="uniform_t", weight="flow")),
        partial(models.denoiser, prediction="flow"),
    ),
    "timesteps": (
        lambda: EDM,
        partial(models.denoiser, prediction="noise", unit=1.0, noise_input="timestep", schedule="linear"),
    ),
    "repa": (
        lambda: Objective(
            partial(repa.loss, alignment=0.5),
            heads=partial(repa.heads, head_width=8),
            inputs={"targets": TARGETS},
            asks=("heads", "hidden", "targets"),
        ),
        Denoiser,
    ),
    "distill": (
        lambda: Objective(
            partial(distill.loss, **STEPS),
            draw=partial(distill.draw, **STEPS),
            inputs={"teacher": teacher(), "sigma_data": 0.7},
            asks=("teacher",),
            draw_asks=("sigma_data",),
        ),
        Denoiser,
    ),
    **{
        f"unlearn by {method}": (
            partial(
                Objective,
                partial(unlearn.loss, method=method, strength=0.5),
                inputs={"teacher": taught(), "unlearn": torch.arange(20) < 5},
                asks=("teacher", "unlearn"),
            ),
            Denoiser,
        )
        for method, taught in (("neggrad", lambda: None), ("erase", teacher))
    },
    "noise bank": (
        lambda: Objective(
            edm.loss,
            draw=partial(edm.draw, noise_bank=2, target="stochastic"),
            inputs={"ideal": None},
            draw_asks=("ideal",),
        ),
        Denoiser,
    ),
}  # fmt: skip


def weights(name: str, way: str) -> Tensor:
    """After six steps, in a way that is checked: value and every gradient, before the first step."""
    objective, read = CASES[name]
    mode = modes.training_mode(way, SHAPE, "cpu", strict=True)
    settings = {"steps": 6, "batch": 8, "warmup": 0, "flip": True}
    *_, state = train(network(), IMAGES, None, 0.7, None, mode, objective(), read, **settings)  # type: ignore[arg-type]
    assert modes.used(mode) == way
    return torch.cat([p.detach().flatten() for p in state.ema.parameters()])


@pytest.mark.parametrize("name", CASES)
def test_one_graph_without_a_break_computes_what_is_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(modes.COMPILED, "compiled", {"backend": "aot_eager_decomp_partition"})
    torch._dynamo.reset()
    counters.clear()
    compiled = weights(name, "compiled")
    assert (counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())) == (1, 0)
    torch.testing.assert_close(compiled, weights(name, "eager"), rtol=1e-4, atol=1e-6)
