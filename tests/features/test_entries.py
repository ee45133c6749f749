"""Files of weights that are broken, or are something else, are told in one sentence; nothing in them is run."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from difgen_cli.features import WeightsError
from difgen_cli.features._entries import read

SUFFIXES = [".safetensors", ".pth", ".pt"]  # the last as torch saved before 1.6
ENTRIES = {"a.weight": torch.arange(3000.0), "a.bias": torch.zeros(2, dtype=torch.float16)}


class Trap:
    """A pickle that would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def saved(folder: Path, suffix: str) -> Path:
    path = folder / f"own{suffix}"
    if suffix == ".safetensors":
        save_file(ENTRIES, path)
    else:
        torch.save(ENTRIES, path, _use_new_zipfile_serialization=suffix == ".pth")
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tensors_are_read_as_float32(suffix: str, tmp_path: Path) -> None:
    found = read(saved(tmp_path, suffix))
    assert {name: value.dtype for name, value in found.items()} == dict.fromkeys(ENTRIES, torch.float32)
    assert torch.equal(found["a.weight"], ENTRIES["a.weight"])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_told_in_one_sentence(suffix: str, share: float, tmp_path: Path) -> None:
    path = saved(tmp_path, suffix)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(WeightsError, match=r"own.*: no whole file of weights \(.+\): copy it again$") as raised:
        read(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("body", [b"<!doctype html><html>not found</html>", b"\x80\x04", b"PK\x03\x04 nothing"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_another_kind_is_told_in_one_sentence(body: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"own{suffix}"
    path.write_bytes(body)
    with pytest.raises(WeightsError, match="no whole file of weights"):
        read(path)


def test_what_is_saved_beside_tensors_is_left_and_what_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": {"module.a": torch.ones(2), "note": "text"}}, tmp_path / "own.pth")
    assert list(read(tmp_path / "own.pth")) == ["a"]
    torch.save([torch.ones(2)], tmp_path / "own.pth")
    with pytest.raises(WeightsError, match="a list, not named tensors"):
        read(tmp_path / "own.pth")


@pytest.mark.parametrize("with_torch", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(with_torch: bool, tmp_path: Path) -> None:
    path, trace = tmp_path / "own.pth", tmp_path / "was run"
    if with_torch:
        torch.save({"a": Trap(trace)}, path)
    else:
        path.write_bytes(pickle.dumps({"a": Trap(trace)}))
    with pytest.raises(WeightsError, match="no whole file of weights"):
        read(path)
    assert not trace.exists()
