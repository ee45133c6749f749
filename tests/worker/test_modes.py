"""Ways to compute a step: which is chosen by their costs, and that they differ by rounding alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from difgen_cli.config import PlaceError
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import train
from difgen_cli.engine.worker import modes
from difgen_cli.engine.worker.context import WorkerContext
from difgen_cli.engine.worker.modes import Cost, best, choose_mode, measure, training_mode
from difgen_cli.models import mlp, unet

needs_compiler = pytest.mark.skipif(
    not shutil.which("c++") and not shutil.which("g++"), reason="compiling needs a C++ compiler"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DIFGEN_COMPILE", raising=False)


def test_the_way_that_ends_first_is_the_best() -> None:
    costs = {"eager": Cost(0, 0.010), "compiled": Cost(30, 0.008), "graphed": Cost(40, 0.005)}
    assert best(costs, 1_000) == "eager"  # 10 s against 38 and 45
    assert best(costs, 7_999) == "eager"  # 79.99 s against 93.99 and 79.995
    assert best(costs, 8_001) == "graphed"
    assert best({"eager": Cost(0, 0.01), "compiled": Cost(30, 0.01)}, 10**9) == "eager"


def test_preparation_is_what_the_first_two_steps_take_longer() -> None:
    pauses = iter([0.2, 0.1])
    cost = measure(lambda: time.sleep(next(pauses, 0.01)), "cpu")
    assert cost.prepare == pytest.approx(0.28, abs=0.03)
    assert cost.step == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_dropout_draws_its_mask_in_the_order_of_channels_and_pixels(order: torch.memory_format) -> None:
    x = torch.randn(4, 3, 5, 5).to(memory_format=order)
    before = torch.get_rng_state()
    dropped = unet.Dropout(0.3).train()(x)
    torch.set_rng_state(before)
    assert torch.equal(dropped, x * torch.empty(4, 3, 5, 5).bernoulli_(0.7).div_(0.7))
    torch.set_rng_state(before)
    torch.testing.assert_close(torch.native_dropout(x.contiguous(), 0.3, True)[0], dropped)  # as eager steps on a GPU


class Steps:
    """Steps of made-up lengths, and who asked for them."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.asked = seconds, []  # type: ignore[var-annotated]

    def __call__(self, name: str) -> Callable[[], object]:
        self.asked.append(name)
        if name not in self.seconds:
            raise RuntimeError("no compiler\nand more")
        return lambda: time.sleep(self.seconds[name])


def test_a_short_training_is_not_tried_a_longer_one_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    steps = Steps({"eager": 0.01, "compiled": 0.001})
    assert choose_mode({}, 100, "cpu", steps, said.append) == "eager"
    assert steps.asked == []
    assert choose_mode({}, 1_000, "cpu", steps, said.append) == "eager"  # ten seconds: nothing could pay
    assert steps.asked == ["eager"]
    monkeypatch.setattr(modes, "LEAST_SECONDS", 5.0)
    assert choose_mode({}, 1_000, "cpu", steps, said.append) == "compiled"
    assert choose_mode({}, 1_000, "cpu", steps, said.append) == "compiled"
    assert steps.asked == ["eager", "compiled"]
    assert choose_mode({"network": "another"}, 1_000, "cpu", steps, said.append) == "compiled"
    assert steps.asked == ["eager", "compiled"] * 2
    assert "1,000 steps are done compiled" in said[-1]


def test_a_way_that_cannot_be_had_is_left_out_and_why_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "LEAST_SECONDS", 0.0)
    said: list[str] = []
    assert choose_mode({}, 300, "cpu", Steps({"eager": 0.001}), said.append) == "eager"
    assert said[0] == "steps cannot be compiled here (RuntimeError: no compiler)"


def test_the_environment_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps({"compiled": 0.001})
    for word, expected in (("never", "eager"), ("always", "compiled")):
        monkeypatch.setenv("DIFGEN_COMPILE", word)
        assert choose_mode({}, 10**9, "cpu", steps, print) == expected
        assert steps.asked == [expected] * (expected == "compiled"), "what is always taken is tried too"
    assert choose_mode({"network": "another"}, 10**9, "cpu", Steps({}), print) == "eager", "where it cannot be had"
    monkeypatch.setenv("DIFGEN_COMPILE", "perhaps")
    with pytest.raises(PlaceError, match="auto, never or always"):
        choose_mode({}, 10**9, "cpu", steps, print)


def test_what_was_computed_is_forgotten_where_the_network_changes_and_not_before_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forgotten: list[str] = []
    monkeypatch.setattr(modes, "forget", forgotten.append)
    worker = object.__new__(WorkerContext)
    worker.device, worker.network = "cpu", None
    network = {name: SimpleNamespace(inputs={"network": SimpleNamespace(key=name)}) for name in "ABC"}
    worker.recipes = network | {"reference": SimpleNamespace(inputs={})}  # type: ignore[assignment]
    counts = []
    for unit in ("reference", "A", "A", "reference", "B", "B", "C"):
        worker.settle(unit)
        counts.append(len(forgotten))
    assert counts == [0, 0, 0, 1, 1, 1, 2]


IMAGES = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: mlp.build((1, 8, 8), 3, width=32, depth=1),
    "unet": lambda: unet.build((1, 8, 8), 3, width=8, depth=1, multipliers=(1,)),
}


WAYS = [("mlp", "compiled"), ("mlp", "graphed"), pytest.param("unet", "compiled", marks=pytest.mark.long)]


@needs_compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize(("name", "how"), WAYS)
def test_modes_differ_by_rounding_alone(name: str, how: str) -> None:
    """After ten steps by no more than a run whose first weights are all rounded up or down by the last bit."""
    settings = {"steps": 10, "batch": 8, "condition_dropout": 0.2, "flip": True, "warmup": 0}

    def after(which: str, bits: float = 0.0) -> torch.Tensor:
        network = initialise(NETWORKS[name], 0)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1 + bits * torch.randn_like(parameter).sign())
        *_, last = train(
            network, IMAGES, torch.arange(20) % 3, 0.7, None, training_mode(which, (1, 8, 8), "cpu"), **settings
        )
        return torch.cat([p.flatten() for p in last.ema.parameters()])

    written = after("eager")
    rounding = (after("eager", torch.finfo(torch.float32).eps) - written).norm()
    difference = (after(how) - written).norm()
    assert 0 < difference < 10 * rounding, (difference, rounding)


GRID = """\
base: {data: {name: digits, held_out: 900}, model: {name: mlp, width: 16, depth: 1}, score: [memorization]}
axes: {train.steps: [20, 40], data.size: [32]}
"""


@pytest.mark.long
@needs_compiler
def test_whoever_goes_on_takes_the_way_that_was_begun_with(
    tmp_path: Path, difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "tiny.yaml").write_text(GRID)
    said = {}
    for runs, sweeps in {
        "changed": {"train.steps=20": "always", "train.steps=20,40": "never"},
        "written": {"train.steps=20,40": "never"},
    }.items():
        for only, word in sweeps.items():
            done = difgen("sweep", "tiny.yaml", "--runs", runs, "--cluster", "inline", "--only", only,
                          DIFGEN_COMPILE=word)  # fmt: skip
            assert done.returncode == 0, done.stderr
        (place,) = (tmp_path / runs).glob("trajectories/*/env.json")
        (snapshot,) = place.parent.glob("snapshots/*40*")
        said[runs] = json.loads(place.read_text())["way"], load_file(snapshot)
    assert [said["changed"][0], said["written"][0]] == ["compiled", "eager"]
    for name, value in said["written"][1].items():
        torch.testing.assert_close(said["changed"][1][name], value, rtol=1e-3, atol=1e-5)
    assert any(not torch.equal(said["changed"][1][name], value) for name, value in said["written"][1].items())


def test_a_word_that_no_worker_knows_is_refused_before_anything_runs(
    tmp_path: Path, difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "tiny.yaml").write_text(GRID)
    done = difgen("sweep", "tiny.yaml", DIFGEN_COMPILE="perhaps")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("$DIFGEN_COMPILE: 'perhaps': choose auto, never or always")
    assert not (tmp_path / "runs" / "trajectories").exists()
