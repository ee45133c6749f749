"""Weights are read as safetensors reads them, and an error of the system is never taken for weights that are gone."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from difgen_cli.engine.store import StoreError
from difgen_cli.engine.worker.context import making, weights

MAKING = {"train_seconds": 1.5, "torch": "2.13.0"}


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    path = tmp_path / "4.safetensors"
    tensors = {"a": torch.randn(3, 5), "b": torch.arange(4), "c": torch.randn(7).to(torch.bfloat16)}
    save_file(tensors, path, metadata={"difgen": json.dumps(MAKING)})
    return path


def test_weights_and_their_making_are_what_safetensors_reads(snapshot: Path) -> None:
    expected = load_file(snapshot)
    ours = weights(snapshot, "cpu")
    assert ours.keys() == expected.keys()
    assert all(
        ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor) for name, tensor in expected.items()
    )
    assert making(snapshot) == MAKING


def test_a_passing_error_at_weights_is_tried_again(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, refused = Path.read_bytes, [errno.ESTALE, errno.EINTR]

    def refuse(path: Path) -> bytes:
        if refused:
            raise OSError(number := refused.pop(), os.strerror(number))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert set(weights(snapshot, "cpu")) == {"a", "b", "c"}
    assert not refused


def test_weights_that_cannot_be_opened_are_not_missing(tmp_path: Path) -> None:
    loop = tmp_path / "4.safetensors"
    loop.symlink_to(loop)
    with pytest.raises(FileNotFoundError):
        load_file(loop)  # the reason for reading the file ourselves
    with pytest.raises(StoreError, match="symbolic links"):
        weights(loop, "cpu")


def test_weights_that_are_cut_short_are_set_aside(snapshot: Path) -> None:
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    with pytest.raises(StoreError, match="missing or damaged"):
        weights(snapshot, "cpu")
    assert not snapshot.exists()
