"""Every network, objective, sampler and term of guidance leaves its tensors on the device that it is given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from difgen_cli.engine.plugins import Library

SCRIPT = Path(__file__).with_name("on_a_card.py")
# Each makes one tensor where the CPU has it, and not where its inputs are.
PLANTED = {
    "models": """
import torch
from torch import nn
def build(shape, classes):
    return Network(shape[0])
class Network(nn.Module):
    classes = 0
    def __init__(self, channels):
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 1)
    def forward(self, x, noise, labels):
        return self.layer(x) + torch.linspace(0, 1, x.shape[-1])
""",
    "objectives": """
import torch
from difgen_cli.diffusion.objective import regression
def loss(denoiser, batch):
    return (regression(denoiser, batch) * torch.ones(len(batch.sigma))).mean()
""",
    "sampling": """
import torch
def sample(denoiser, x, levels, labels):
    yield levels[0], x + torch.zeros(x.shape)
""",
    "guidance": """
import torch
from difgen_cli.guidance import Around
def negative(denoiser):
    return Moved(denoiser)
class Moved(Around):
    def __call__(self, x, sigma, labels=None, /):
        return self.denoiser(x, sigma, labels) + torch.zeros(x.shape)
""",
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """kind -> plug-in -> what it stumbled over."""
    plugins = tmp_path_factory.mktemp("plugins")
    for folder, code in PLANTED.items():
        (plugins / folder).mkdir()
        (plugins / folder / "planted.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(plugins)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", ["model", "objective", "sample", "guide"])
def test_every_plugin_computes_where_its_tensors_are(errors: dict[str, dict[str, str]], kind: str) -> None:
    assert set(errors[kind]) == {*Library().names(kind), "planted"}
    assert {name: error for name, error in errors[kind].items() if error and name != "planted"} == {}


@pytest.mark.parametrize("kind", ["model", "objective", "sample", "guide"])
def test_a_tensor_that_is_left_on_the_cpu_is_an_error(errors: dict[str, dict[str, str]], kind: str) -> None:
    assert "found at least two devices" in errors[kind]["planted"]
