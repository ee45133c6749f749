"""A checkpoint that cannot be loaded now is kept; a damaged one gives way to the one before."""

from __future__ import annotations

import errno
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from difgen_cli.diffusion.state import TrainingState, begin
from difgen_cli.diffusion.training import train
from difgen_cli.engine.store import RunFolder, StoreError, access
from difgen_cli.engine.worker import beginnings
from difgen_cli.models import mlp


def _folder(tmp_path: Path) -> RunFolder:
    """Of a training with checkpoints at steps 20 and 40."""
    folder = RunFolder(tmp_path / "trajectories" / "net-0000000000000000")
    for step in (20, 40):
        content = {"state": {"step": step, "network": {"w": torch.ones(1000)}}, "train_seconds": 1.0}
        folder.checkpoint(step).parent.mkdir(parents=True, exist_ok=True)
        beginnings.write(folder.checkpoint(step), content)
    return folder


def _step(folder: RunFolder, last: int) -> int:
    checkpoint = beginnings.checkpoint(folder, last)
    assert checkpoint is not None
    return int(checkpoint["state"]["step"])


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
        (RuntimeError("CUDA error: unspecified launch failure"), RuntimeError),
        (MemoryError(), MemoryError),
        (OSError(errno.ESTALE, "Stale file handle"), StoreError),
        (OSError(errno.EIO, "Input/output error"), StoreError),
        (PermissionError(errno.EACCES, "Permission denied"), StoreError),
    ],
)
def test_a_checkpoint_that_cannot_be_loaded_now_is_kept(
    tmp_path: Path, error: Exception, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _folder(tmp_path)
    monkeypatch.setattr(access, "PAUSES_SECONDS", (0.0, 0.0, 0.0))

    def fails(*arguments: Any, **settings: Any) -> None:
        raise error

    monkeypatch.setattr(torch, "load", fails)
    with pytest.raises(raised):
        beginnings.checkpoint(folder, 100)
    assert sorted(folder.checkpoints()) == [20, 40]


@pytest.mark.parametrize("harm", ["cut to nothing", "cut", "last byte", "flipped bit"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, harm: str) -> None:
    folder = _folder(tmp_path)
    path = folder.checkpoint(40)
    whole = path.read_bytes()
    flipped = whole[:2000] + bytes([whole[2000] ^ 8]) + whole[2001:]
    harmed = {"cut to nothing": b"", "cut": whole[: len(whole) // 2], "last byte": whole[:-1], "flipped bit": flipped}
    path.write_bytes(harmed[harm])
    assert _step(folder, 100) == 20
    assert sorted(folder.checkpoints()) == [20]
    assert path.with_suffix(".broken").exists()


def test_a_checkpoint_is_loaded_to_the_cpu(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with torch.device("meta"):
        checkpoint = beginnings.checkpoint(folder, 40)
    assert checkpoint is not None
    assert checkpoint["state"]["network"]["w"].device.type == "cpu"
    assert _step(folder, 40) == 40
    assert _step(folder, 39) == 20
    assert beginnings.checkpoint(folder, 19) is None


def test_a_resumed_training_lets_go_of_its_checkpoint() -> None:
    network = mlp.build((4,), 0, width=4, depth=1)
    state: TrainingState = begin(network, 0.5, torch.device("cpu"), weight_decay=0.0)
    saved = {name: torch.clone(value) if isinstance(value, torch.Tensor) else value
             for name, value in state.checkpoint().items()}  # fmt: skip
    saved["network"] = {name: value.clone() for name, value in saved["network"].items()}
    kept = weakref.ref(saved["network"]["first.weight"])

    run = train(network, torch.zeros(8, 4), None, 0.5, saved, steps=3)
    del saved
    next(run)
    gc.collect()
    assert kept() is None, "the checkpoint lies in memory beside the state"
