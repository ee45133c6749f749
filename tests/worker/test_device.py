"""What a worker asks of its device: to be there, to compute as precisely as is asked, to be left clean."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from difgen_cli.diffusion.precision import products
from difgen_cli.diffusion.randomness import generator_of
from difgen_cli.diffusion.training import train
from difgen_cli.engine import launch
from difgen_cli.engine.cost import bench
from difgen_cli.engine.cost import device as devices
from difgen_cli.engine.cost.device import Seen, card, seen
from difgen_cli.engine.worker import context, modes
from difgen_cli.engine.worker.context import DeviceError, WorkerContext

LISTED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-8932f937-d72c-4106-c12f-20bd9faed9f6)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-1b2c)
  MIG 3g.20gb     Device  0: (UUID: MIG-377e0049-554c)
  MIG 3g.20gb     Device  1: (UUID: MIG-GPU-1b2c/1/0)
GPU 2: a card of an old driver
"""


def _flags() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_cards_are_named_by_identifier_and_one_in_slices_by_its_slices(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{LISTED}'\n".replace("\n", "\\n", 0))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert launch.visible_gpus() == [
        "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "MIG-377e0049-554c", "MIG-GPU-1b2c/1/0", "2",
    ]  # fmt: skip


INFORMATION = "Model: \t\t NVIDIA H200\nIRQ:   \t\t 18\nGPU UUID: \t %s\nVideo BIOS: \t 96.00\n"


def test_without_the_drivers_tool_cards_are_named_by_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uuids = {"0000:07:00.0": "GPU-8932f937-d72c", "0000:0f:00.0": "GPU-????????-????", "0000:47:00.0": "GPU-1b2c"}
    for place, uuid in uuids.items():
        (tmp_path / place).mkdir()
        (tmp_path / place / "information").write_text(INFORMATION % uuid, encoding="utf-8")
    assert devices.cards_of_driver(tmp_path) == ["GPU-8932f937-d72c", "1", "GPU-1b2c"]
    assert devices.cards_of_driver(tmp_path / "none") == []
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(launch, "cards_of_driver", lambda: ["GPU-a"])
    monkeypatch.setattr(devices, "seen", lambda visible: Seen(1, f"card of {visible}"))
    assert launch.visible_gpus() == ["GPU-a"]
    card.cache_clear()
    assert card("GPU-a") == "card of GPU-a"
    card.cache_clear()


@pytest.mark.parametrize(
    ("said", "count", "left", "words"),
    [
        ("0", 0, "", "torch can use none of them"),
        ("GPU-x,1", 0, "", "workers run on the CPU"),
        ("0,1,7", 2, "0,1", "torch can use the first 2 of them"),
        ("0,1", 2, "0,1", None),
        ("MIG-a,MIG-b", 1, "MIG-a,MIG-b", None),  # a process sees one slice at most, and each worker has its own
        ("MIG-a", 0, "", "MIG-a: named by CUDA_VISIBLE_DEVICES"),
        ("", 0, "", None),
    ],
)
def test_no_device_is_believed_before_torch_was_asked(
    said: str, count: int, left: str, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    monkeypatch.setattr(launch, "seen", lambda visible: Seen(count, "a card"))
    note = launch.hide_unusable()
    assert (note is None) == (words is None)
    assert (words or "") in (note or "")
    assert launch.visible_gpus() == [name for name in left.split(",") if name]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_torch_itself_says_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert seen("0") == Seen(0, None)
    note = launch.hide_unusable()
    assert note is not None
    assert launch.local_devices(2, 1) == (None, None)


def test_the_name_of_a_slice_is_asked_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "seen", lambda visible: Seen(1, f"card of {visible}"))
    card.cache_clear()
    assert card("MIG-1-2") == "card of MIG-1-2"
    card.cache_clear()


@pytest.mark.parametrize(("precision", "expected"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_precision_is_set_by_the_setting_while_a_step_is_computed_and_by_nothing_else(
    precision: str, expected: bool
) -> None:
    before, found = _flags(), []

    class Watching(nn.Linear):
        def forward(self, x: torch.Tensor, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
            out = super().forward(x)
            found.append(_flags())
            if out.requires_grad:
                out.register_hook(lambda gradient: found.append(_flags()))
            return out

    next(train(Watching(2, 2), torch.randn(8, 2), None, 1.0, batch=4, precision=precision))  # type: ignore[arg-type]
    assert found == [(expected, expected)] * 2, "forwards and backwards"
    assert _flags() == before
    with products("tf32"), products("fp32"):
        assert _flags() == (False, False)


def test_a_device_has_its_own_generator() -> None:
    assert generator_of(torch.device("cpu")) is torch.default_generator
    if torch.cuda.device_count() > 1:
        assert generator_of(torch.device("cuda:1")) is torch.cuda.default_generators[1]


def test_a_trial_leaves_no_compiled_code_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[str] = []
    monkeypatch.setattr(modes, "forget", forgotten.append)
    assert modes._tried("compiled", "cpu", lambda way: lambda: None, print) is not None
    assert modes._tried("compiled", "cpu", lambda way: 1 / 0, print) is None  # type: ignore[arg-type,return-value]
    assert forgotten == ["cpu", "cpu"]


def test_what_was_compiled_is_forgotten() -> None:
    compiled = torch.compile(lambda x: x + 1, backend="eager")
    compiled(torch.ones(2))
    entries = torch._dynamo.eval_frame._debug_get_cache_entry_list
    code = compiled._torchdynamo_orig_callable.__code__
    assert len(entries(code)) == 1
    modes.forget("cpu")
    assert entries(code) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_worker_with_a_device_that_is_not_there_claims_nothing() -> None:
    nothing: Any = None
    with pytest.raises(DeviceError, match=r"this worker was given a GPU, but .*: repair that, or ask for no GPU"):
        WorkerContext(nothing, nothing, nothing, "cuda", nothing, nothing, nothing, nothing, nothing)


def test_a_card_computes_the_same_twice_in_a_worker() -> None:
    """In a process of its own: these are its flags. Attention has its plain form alone: fused ones add in any order."""
    code = """
import os
import torch
from difgen_cli.diffusion.precision import repeatable
repeatable()
cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
print([cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cuda.flash_sdp_enabled(),
       cuda.mem_efficient_sdp_enabled(), cuda.cudnn_sdp_enabled(), torch.utils.deterministic.fill_uninitialized_memory])
print([cuda.math_sdp_enabled(), cudnn.deterministic, torch.are_deterministic_algorithms_enabled(),
       torch.is_deterministic_algorithms_warn_only_enabled(), os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"])
"""
    environment = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == [str([False] * 7), str([True] * 5)]


def test_the_flags_of_a_card_are_set_where_one_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(context, "repeatable", lambda: calls.append("worker"))
    chosen: list[Any] = []
    monkeypatch.setattr(context.large, "use", chosen.append)
    monkeypatch.setattr(context.neighbours, "choose_with", chosen.append)
    monkeypatch.setattr(bench, "repeatable", lambda: calls.append("probe"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    nothing: Any = None
    for device in ("cpu", "cuda"):
        with contextlib.suppress(AttributeError, TypeError, AssertionError):  # neither is given what it works on
            WorkerContext(nothing, nothing, nothing, device, SimpleNamespace(threads=1), *[nothing] * 4)  # type: ignore[arg-type]
        with contextlib.suppress(AttributeError, TypeError, AssertionError):
            bench.warm(nn.Linear(2, 2), bench.Subject("mlp", {}, (2,)), device)
    assert calls == ["worker", "probe"]
    assert chosen == [None, None, "cuda", context.large.lowest]


def test_images_and_weights_lie_in_memory_alike_in_training_and_in_sampling() -> None:
    of_card = modes.layout((3, 8, 8), "cuda:0")
    assert of_card == torch.channels_last
    assert modes.training_mode("eager", (3, 8, 8), "cuda:0").layout == of_card
    assert modes.layout((3, 8, 8), "cpu") == modes.training_mode("eager", (3, 8, 8), "cpu").layout
    assert modes.training_mode("compiled", (3, 8, 8), "cpu").layout == torch.channels_last
    assert modes.layout((2,), "cuda") == torch.contiguous_format
