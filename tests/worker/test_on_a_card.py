"""Every plug-in leaves its tensors on the device that it is given, and no step of it waits for that device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from difgen_cli.engine.plugins import Library

SCRIPT = Path(__file__).with_name("on_a_card.py")
KINDS = ("model", "objective", "sample", "guide", "post_training", "score")
NETWORK = """
import torch
from torch import nn
def build(shape, classes):
    return Network(shape[0])
class Network(nn.Module):
    classes = 3
    def __init__(self, channels):
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 1)
    def forward(self, x, noise, labels):
        return {}
"""
OBJECTIVE = """
import torch
from difgen_cli.diffusion.objective import regression
def loss(denoiser, batch):
    value = regression(denoiser, batch)
    return {}
"""
SAMPLER = """
import torch
def sample(denoiser, x, levels, labels):
    yield levels[0], {}
"""
TERM = """
import torch
from difgen_cli.guidance import Around
def negative(denoiser):
    return Moved(denoiser)
class Moved(Around):
    def __call__(self, x, sigma, labels=None, /):
        return {}
"""
CHANGE = """
import torch
def apply(weights):
    return {{name: {} for name, w in weights.items()}}
"""
METRIC = """
import torch
from difgen_cli.metrics import Result
VERSION = 1
COLUMNS = {{"planted": ("float64", "", "nothing")}}
def measure(denoiser, train):
    x = torch.from_numpy(train).movedim(-1, 1){}
    return Result({{"planted": float(denoiser(x, torch.ones(len(x), device=x.device)).mean())}})
"""
# Each makes one tensor where the CPU has it, and not where its inputs are.
ELSEWHERE = {
    ("model", "models"): NETWORK.format("self.layer(x) + torch.linspace(0, 1, x.shape[-1])"),
    ("objective", "objectives"): OBJECTIVE.format("(value * torch.ones(len(batch.sigma))).mean()"),
    ("sample", "sampling"): SAMPLER.format("x + torch.zeros(x.shape)"),
    ("guide", "guidance"): TERM.format("self.denoiser(x, sigma, labels) + torch.zeros(x.shape)"),
    ("post_training", "post_training"): CHANGE.format("w + torch.zeros(w.shape)"),
    ("score", "metrics"): METRIC.format(""),
}
# Each asks for a number, or a length, that the card has.
WAITING = {
    ("model", "models"): NETWORK.format("self.layer(x) if x.sum() > 0 else self.layer(-x)"),
    ("objective", "objectives"): OBJECTIVE.format("value.mean() / max(1.0, value.detach().mean().item())"),
    ("sample", "sampling"): SAMPLER.format("x + x[x > 0].mean()"),
    ("guide", "guidance"): TERM.format("self.denoiser(x, sigma, labels).cpu().to(x.device)"),
}
# Each gives numbers of the host to the card, which is waited for where they are not pinned.
GIVING = {
    ("model", "models"): NETWORK.format("self.layer(x) * x.new_tensor([0.5, 0.25, 2.0]).view(3, 1, 1)"),
    ("objective", "objectives"): OBJECTIVE.format("(value * torch.tensor(0.5, device=value.device)).mean()"),
    ("sample", "sampling"): SAMPLER.format("x + torch.ones(x.shape).to(x.device)"),
    ("guide", "guidance"): TERM.format("self.denoiser(x, sigma, labels) * torch.ones(1).to(x.device)"),
}
PLANTED = {"elsewhere": ELSEWHERE, "waiting": WAITING, "giving": GIVING}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """kind -> plug-in -> what it stumbled over."""
    plugins = tmp_path_factory.mktemp("plugins")
    for name, planted in PLANTED.items():
        for (_, folder), code in planted.items():
            (plugins / folder).mkdir(exist_ok=True)
            (plugins / folder / f"{name}.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(plugins)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    by_kind: dict[str, dict[str, str]] = json.loads(done.stdout)
    return by_kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_plugin_computes_where_its_tensors_are_and_nothing_waits_in_a_step(
    errors: dict[str, dict[str, str]], kind: str
) -> None:
    assert {*errors[kind]} - {*PLANTED} == {*Library().names(kind)}
    assert {name: e for name, e in errors[kind].items() if e and name not in PLANTED} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_that_is_left_on_the_cpu_is_an_error(errors: dict[str, dict[str, str]], kind: str) -> None:
    assert "found at least two devices" in errors[kind]["elsewhere"]


@pytest.mark.parametrize("kind", [kind for kind, _ in WAITING])
@pytest.mark.parametrize("name", ["waiting", "giving"])
def test_a_step_in_which_the_cpu_waits_is_an_error(errors: dict[str, dict[str, str]], kind: str, name: str) -> None:
    assert "the CPU waits for the card" in errors[kind][name]


def test_what_is_large_is_computed_there_as_by_the_host(errors: dict[str, dict[str, str]]) -> None:
    assert errors["large"] == {"products": ""}
