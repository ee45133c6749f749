"""A way is checked before it is used: whatever it computes wrong is found, named, and not used.

Faults are planted in functions and in backends of torch's compiler; the compiler itself is tried on networks in
`test_compiled_networks.py`.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from difgen_cli.diffusion import Denoiser, loss
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.state import ExecutionMode
from difgen_cli.diffusion.training import train
from difgen_cli.engine.cost.cache import decided
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.worker import modes
from difgen_cli.engine.worker.agreement import disagreement
from difgen_cli.models import mlp, unet

SHAPE = (1, 6, 6)
LOW_RANK = Library(Path(__file__).parent.parent / "plugins").module("model", "linear").build
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: mlp.build(SHAPE, 3, width=8, depth=2),
    "linear": lambda: LOW_RANK(SHAPE, 0, rank=2),
    "unet": lambda: unet.build(SHAPE, 3, width=8, depth=1, multipliers=(1, 2), attention=(3,), dropout=0.2),
}


def made(name: str) -> Denoiser:
    return Denoiser(initialise(NETWORKS[name], 0), 0.7).train()


def batch(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Images, σ, noise and labels."""
    generator = torch.Generator().manual_seed(0)
    images, noise = (torch.randn(4, *SHAPE, generator=generator) for _ in range(2))
    sigma = torch.rand(4, generator=generator) + 0.1
    return images, sigma, noise, None if name == "linear" else torch.tensor([0, 1, 2, 3])


def without(name: str, share: float = 0.0) -> Callable[..., Tensor]:
    """The loss whose gradient of one parameter is multiplied by `share`."""

    def faulty(denoiser: Denoiser, *arguments: Any) -> Tensor:
        parameter = dict(denoiser.named_parameters())[name]
        parameter.register_hook(lambda gradient: gradient * share)  # the check calls it with a copy
        return loss(denoiser, *arguments)

    return faulty


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_in_another_order_of_operations_agrees(name: str) -> None:
    def reordered(denoiser: Denoiser, *arguments: Tensor | None) -> Tensor:
        return loss(denoiser, *(x if x is None else x.flip(0) for x in arguments))

    assert disagreement(loss, loss, made(name), batch(name)) is None
    if name != "unet":  # dropout draws a mask for each place of the batch
        assert disagreement(loss, reordered, made(name), batch(name)) is None


@pytest.mark.parametrize("name", NETWORKS)
def test_no_parameter_may_lose_its_gradient(name: str) -> None:
    """Not one of all, and not where every weight that could show it is zero, as layers are at first."""
    names = [parameter for parameter, _ in made(name).named_parameters()]
    for parameter in names[:: 9 if name == "unet" else 1]:
        said = disagreement(loss, without(parameter), made(name), batch(name))
        plain = parameter.removeprefix("network.")
        assert said == f"the gradient of 1 of {len(names)} parameters is wrong: {plain} (zero)"


@pytest.mark.parametrize("name", ["mlp", "linear"])
def test_nor_may_one_in_bf16(name: str) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert disagreement(loss, loss, made(name), batch(name)) is None
        for parameter, _ in made(name).named_parameters():
            assert disagreement(loss, without(parameter), made(name), batch(name)) is not None, parameter


def test_a_gradient_that_is_a_thousandth_off_is_found() -> None:
    said = disagreement(loss, without("network.blocks.0.first.weight", 1.001), made("mlp"), batch("mlp"))
    assert said is not None
    assert said.endswith("blocks.0.first.weight (off by 0.001 of its size)")


def test_a_missing_gradient_is_no_zero() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(36, 36), nn.Linear(36, 36)

        def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
            return (self.one(x.flatten(1)) + 0 * self.other(x.flatten(1))).view_as(x)

    def detached(denoiser: Denoiser, *arguments: Any) -> Tensor:
        denoiser.network.other.requires_grad_(False)
        try:
            return loss(denoiser, *arguments)
        finally:
            denoiser.network.other.requires_grad_(True)

    said = disagreement(loss, detached, Denoiser(Two(), 0.7), batch("linear"))
    assert said == "the gradient of 2 of 4 parameters is wrong: other.weight (missing), other.bias (missing)"


def test_values_and_what_a_network_keeps_are_compared_too() -> None:
    def twice(denoiser: Denoiser, *arguments: Any) -> Tensor:
        return 2 * loss(denoiser, *arguments)

    assert disagreement(loss, twice, made("mlp"), batch("mlp")) == "its value is off by 1 of its size"

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(36)

        def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
            return self.norm(x.flatten(1)).view_as(x)

    def again(denoiser: Denoiser, *arguments: Any) -> Tensor:
        loss(denoiser, *arguments)
        return loss(denoiser, *arguments)

    said = disagreement(loss, again, Denoiser(Counting(), 0.7).train(), batch("linear"))
    assert said is not None
    assert said.startswith("the state of 3 of 3")


def test_nothing_is_changed_by_a_check() -> None:
    denoiser, state = made("unet"), torch.get_rng_state()
    before = copy.deepcopy(denoiser.state_dict())
    assert disagreement(loss, loss, denoiser, batch("unet")) is None
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in denoiser.state_dict().items())
    assert all(p.grad is None for p in denoiser.parameters())


def test_a_denoiser_is_compared_by_its_value_where_no_gradient_is_recorded() -> None:
    def off(denoiser: Denoiser, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        found = denoiser(x, sigma, labels)
        found[2, 0, 3, 3] += 1e-3
        return found

    images, sigma, _, labels = batch("mlp")
    with torch.no_grad():
        denoiser = made("mlp").eval()
        assert disagreement(modes.evaluate, modes.evaluate, denoiser, (images, sigma, labels)) is None
        said = disagreement(modes.evaluate, off, denoiser, (images, sigma, labels))
    assert said is not None
    assert said.startswith("its value is off by")


# Backends of torch's compiler --------------------------------------------------------------------------------------


def dropping(place: int) -> Callable[..., Any]:
    """A backend that computes every value right, and no gradient for one of the network's parameters."""

    def compile_(module: torch.fx.GraphModule, examples: list[Any]) -> Callable[..., Any]:
        wanted = [n for n, x in enumerate(examples) if isinstance(x, Tensor) and x.requires_grad]

        def run(*arguments: Any) -> Any:
            lost = wanted[place] if wanted else -1
            return module.forward(*(x.detach() if n == lost else x for n, x in enumerate(arguments)))

        return run

    return compile_


IMAGES = torch.randint(0, 256, (20, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`compiled` loses the gradient of the network's third parameter."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DIFGEN_COMPILE", raising=False)
    torch._dynamo.reset()
    monkeypatch.setitem(modes.COMPILED, "compiled", {"backend": dropping(2)})


def trained(way: Any) -> Tensor:
    settings = {"steps": 3, "batch": 8, "warmup": 0}
    *_, last = train(initialise(NETWORKS["mlp"], 0), IMAGES, torch.arange(20) % 3, 0.7, None, way, **settings)
    return torch.cat([p.detach().flatten() for p in last.ema.parameters()])


def test_a_backend_that_loses_a_gradient_trains_nothing(faulty: None) -> None:
    said: list[str] = []
    way = modes.training_mode("compiled", SHAPE, "cpu", say=said.append)
    assert torch.equal(trained(way), trained(modes.training_mode("eager", SHAPE, "cpu")))
    assert modes.used(way) == "eager"
    assert said == [
        "compiled here, the gradient of 1 of 25 parameters is wrong: noise.weight (missing); it is computed as it is "
        "written"
    ]


def test_what_no_check_has_kept_out_is_named_after_twelve_steps() -> None:
    """The same backend without a check, as 0.1.0 had it: the parameter is named that no loss trains."""
    torch._dynamo.reset()
    network = initialise(NETWORKS["mlp"], 0)
    way = ExecutionMode(partial(torch.compile, dynamic=False, backend=dropping(2)))
    states = [s.frozen for s in train(network, IMAGES, torch.arange(20) % 3, 0.7, None, way, steps=13, batch=8)]
    assert states == 11 * [None] + 2 * [("noise.weight",)]


def test_a_right_backend_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    monkeypatch.setitem(modes.COMPILED, "compiled", {"backend": "eager"})
    way = modes.training_mode("compiled", SHAPE, "cpu", say=pytest.fail)
    torch.testing.assert_close(trained(way), trained(modes.training_mode("eager", SHAPE, "cpu")))
    assert modes.used(way) == "compiled"


def test_a_refusal_is_remembered(faulty: None) -> None:
    said: list[str] = []
    begun: list[str] = []

    def begin(name: str) -> Callable[[], object]:
        begun.append(name)
        way = modes.training_mode(name, SHAPE, "cpu", strict=True)
        run = train(initialise(NETWORKS["mlp"], 0), IMAGES, torch.arange(20) % 3, 0.7, None, way, batch=8)
        return lambda: next(run)

    for _ in range(2):
        assert modes.confirmed("compiled", {"network": "x"}, "cpu", begin, said.append) == "eager"
    assert begun == ["compiled"]
    assert said[0] == said[1]
    assert "noise.weight (missing)" in said[0]


def test_what_was_remembered_before_there_was_a_check_does_not_count(
    faulty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.1.0 remembered `compiled` for this network, under the same description but without a version."""
    monkeypatch.setattr(modes, "LEAST_SECONDS", 0.0)
    numbers = {"prepare": 1e-6, "step": 1e-9}
    decided("steps", {"network": "x", "way": "compiled"}, set(numbers), lambda: numbers)

    def begin(name: str) -> Callable[[], object]:
        way = modes.training_mode(name, SHAPE, "cpu", strict=True)
        run = train(initialise(NETWORKS["mlp"], 0), IMAGES, torch.arange(20) % 3, 0.7, None, way, batch=8)
        return lambda: next(run)

    assert modes.choose_mode({"network": "x"}, 10_000, "cpu", begin, lambda _: None) == "eager"


GRID = """\
base: {data: {name: digits, held_out: 900}, model: {name: mlp, width: 16, depth: 1}, score: [memorization]}
axes: {train.steps: [20, 40], data.size: [32]}
"""
SWEEP = """\
import sys
sys.path.insert(0, {tests!r})
from worker.test_agreement import dropping
from difgen_cli.engine.worker import modes
modes.COMPILED["compiled"] = {{"backend": dropping(2)}}
from difgen_cli.cli import app
app(["sweep", "tiny.yaml", "--cluster", "inline", *sys.argv[1:]])
"""


def faulty_sweep(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """A real sweep whose compiler loses a gradient."""
    (folder / "tiny.yaml").write_text(GRID)
    code = SWEEP.format(tests=str(Path(__file__).parent.parent))
    environment = {**os.environ, "DIFGEN_COMPILE": "always", "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-c", code, *more], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def weights(runs: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    (snapshot,) = runs.glob("trajectories/*/snapshots/40.safetensors")
    return load_file(snapshot)


@pytest.mark.long
def test_a_sweep_with_a_faulty_compiler_trains_what_a_right_one_trains(
    tmp_path: Path, difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Caught before the first step that counts, said once, and in the rows; and not tried again by whoever goes on."""
    for only, times in (("train.steps=20", 1), ("train.steps=40", 0)):
        done = faulty_sweep(tmp_path, "--only", only)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("noise.weight (missing); it is computed as it is written") == times
    right = difgen("sweep", "tiny.yaml", "--runs", "right", "--cluster", "inline", DIFGEN_COMPILE="never")
    assert right.returncode == 0, right.stderr
    assert all(torch.equal(v, weights(tmp_path / "right")[k]) for k, v in weights(tmp_path / "runs").items())
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    models = rows[rows["kind"] == "model"]
    assert set(models["train_way"]) == {"eager"}
    assert set(models["sample_way"]) == {"compiled"}, "nothing is wrong with its values"
    assert set(models["frozen_parameters"]) == {0}
    assert not models["stale"].any()


@pytest.mark.long
def test_whoever_goes_on_checks_what_was_begun_compiled(
    tmp_path: Path, difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """0.1.0 began this one compiled, without a mark of a check; an mlp was right there, and is checked here."""
    (tmp_path / "tiny.yaml").write_text(GRID)
    begun = ("sweep", "tiny.yaml", "--cluster", "inline", "--only", "train.steps=20")
    assert difgen(*begun, DIFGEN_COMPILE="never").returncode == 0
    (place,) = (tmp_path / "runs").glob("trajectories/*/env.json")
    place.write_text(json.dumps(json.loads(place.read_text()) | {"way": "compiled"}))
    done = faulty_sweep(tmp_path, "--only", "train.steps=40")
    assert done.returncode == 0, done.stderr
    assert "noise.weight (missing)" in done.stderr
    right = difgen("sweep", "tiny.yaml", "--runs", "right", "--cluster", "inline", DIFGEN_COMPILE="never")
    assert right.returncode == 0, right.stderr
    assert all(torch.equal(v, weights(tmp_path / "right")[k]) for k, v in weights(tmp_path / "runs").items())


@pytest.mark.long
def test_a_compiler_that_is_missing_is_no_way(tmp_path: Path) -> None:
    """0.1.0 remembered the times of eager steps as those of compiled ones."""
    code = (
        "import torch; from difgen_cli.engine.worker import modes\n"
        "from difgen_cli.diffusion.randomness import initialise\n"
        "from difgen_cli.diffusion.training import train; from difgen_cli.models import mlp\n"
        "def begin(name):\n"
        "    way = modes.training_mode(name, (1, 4, 4), 'cpu', strict=True)\n"
        "    net = initialise(lambda: mlp.build((1, 4, 4), 0, width=4, depth=1), 0)\n"
        "    run = train(net, torch.zeros(8, 1, 4, 4).byte() + 9, None, .5, None, way, batch=4)\n"
        "    return lambda: next(run)\n"
        "print('chosen', modes.choose_mode({}, 1000, 'cpu', begin, print))"
    )
    environment = {
        **os.environ, "CXX": "/nonexistent", "DIFGEN_COMPILE": "always", "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.strip().splitlines()
    assert first.startswith("steps cannot be compiled here (")
    assert last == "chosen eager"
    assert not list((tmp_path / "cache").rglob("steps-*.json")), "another time there may be one"
