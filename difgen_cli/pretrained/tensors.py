"""The named tensors of one file: safetensors, or what torch saves, as weights only."""

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from difgen_cli.pretrained.files import PretrainedError, check_archive, check_safetensors, listed, tried
from difgen_cli.pretrained.pickles import check_saved

BROKEN = (  # all that reading a damaged file was seen to raise
    pickle.UnpicklingError, RuntimeError, ValueError, LookupError, EOFError, AssertionError, TypeError, AttributeError,
    SafetensorError,
)  # fmt: skip
PICKLED = (".bin", ".pt", ".pth", ".ckpt")


def tensors_of(path: Path) -> dict[str, Tensor]:
    """All tensors of a file that has nothing else, by name. PretrainedError for a file that is broken, or that is code.

    They may lie in the file itself: copy what is kept.
    """
    content = content_of(path)
    other = next((name for name, value in content.items() if not isinstance(value, Tensor)), None)
    if other is not None:
        raise PretrainedError(f"{path}: {listed([other])} is no tensor: take a file of weights alone")
    return content


def content_of(path: Path) -> dict[str, Any]:
    """What a file holds by name: tensors, and of what torch saved perhaps others, such as maps of tensors."""
    if path.suffix == ".safetensors":
        check_safetensors(path)
        return dict(tried(path, lambda: load_file(path), BROKEN))
    if path.suffix not in PICKLED:
        raise PretrainedError(f"{path}: its kind is not known by its name: weights end with {', '.join(PICKLED)}")
    content = _torch_load(path)
    if not isinstance(content, dict):
        raise PretrainedError(f"{path}: it holds a {type(content).__name__}, not named tensors: save its state_dict")
    return {str(name): value for name, value in content.items()}


def _torch_load(path: Path) -> Any:
    with path.open("rb") as file:
        archive = file.read(2) == b"PK"
    if archive:
        check_archive(path)
    check_saved(path)
    # Mapped, so that nothing is read before its name and shape are known to be right.
    return tried(path, lambda: torch.load(path, map_location="cpu", weights_only=True, mmap=archive or None), BROKEN)
