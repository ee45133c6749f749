"""The named tensors of files of weights, in the layouts that are common, and networks filled with them."""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from difgen_cli.features import State, WeightsError

WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training code keeps the entries
BROKEN = (  # all that reading a damaged file was seen to raise
    OSError, RuntimeError, ValueError, LookupError, EOFError, AssertionError, struct.error, pickle.UnpicklingError,
    SafetensorError,
)  # fmt: skip

Entries = dict[str, Tensor]


def read(path: Path) -> Entries:
    """All tensors of the file, float32. WeightsError for a file that is broken, or that is code.

    Read are safetensors, and what torch saves, as weights only.
    """
    if is_torchscript(path):
        raise WeightsError(f"{path}: this is TorchScript, which is code: use the file of its weights alone")
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except BROKEN as error:
        raise WeightsError(f"{path}: no whole file of weights ({_short(error)}): copy it again") from None
    named = {name.removeprefix("module."): value for name, value in loaded.items() if isinstance(value, Tensor)}
    return {name: value.float() for name, value in named.items() if not name.endswith(".num_batches_tracked")}


def is_torchscript(path: Path) -> bool:
    """Whether the file is an archive with code in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, *BROKEN):
        return False


def renamed(entries: Entries, rules: Sequence[tuple[str, str]]) -> Entries:
    """Each name after all rules: pattern and replacement, in order."""
    named = {}
    for old, value in entries.items():
        name = old
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        named[name] = value
    return named


def joined(entries: Entries, parts: tuple[str, str, str], whole: str) -> Entries:
    """Query, key and value, which some files keep apart, as one matrix wherever all three are there."""
    whole_entries, rest = {}, dict(entries)
    for name in [name for name in entries if parts[0] in name]:
        three = [name.replace(parts[0], part) for part in parts]
        if set(three) <= set(entries):
            whole_entries[name.replace(parts[0], whole)] = torch.cat([rest.pop(part) for part in three])
    return rest | whole_entries


def fitted(build: Callable[[Any], nn.Module], entries: Entries, path: Path, what: str) -> State:
    """The entries, if they are all that the network built for them has, and in its shapes. WeightsError elsewhere."""
    try:
        expected = _empty(build, entries).state_dict()
    except (LookupError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{path}: not the weights of {what}: {_short(error)}: take another file") from None
    problems = [
        *(f"there is no {name}" for name in expected if name not in entries),
        *(f"{name} is unknown" for name in entries if name not in expected),
        *(
            f"{name} has the shape {tuple(entries[name].shape)}, not {tuple(value.shape)}"
            for name, value in expected.items()
            if name in entries and entries[name].shape != value.shape
        ),
    ]
    if problems:
        raise WeightsError(f"{path}: not the weights of {what}: {problems[0]}: take another file")
    return {name: value.numpy() for name, value in entries.items()}


def filled(build: Callable[[Any], nn.Module], state: State) -> nn.Module:
    """The network with its weights, which are not copied; torch's random numbers are not touched."""
    network = _empty(build, state)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()}, strict=True, assign=True)
    return network.requires_grad_(False)


def count(entries: State | Entries, pattern: str) -> int:
    """How many names match from the start: the depth of a network, by an entry that each of its blocks has once."""
    return sum(re.match(pattern, name) is not None for name in entries)


def _empty(build: Callable[[Any], nn.Module], entries: State | Entries) -> nn.Module:
    with torch.device("meta"):
        return build(entries)


def _torch_load(path: Path) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of odd files, which are then refused
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(loaded, dict):
        raise ValueError(f"a {type(loaded).__name__}, not named tensors")
    inner: dict[str, Any] = next((loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), dict)), loaded)
    return inner


def _short(error: Exception) -> str:
    """The first line of what went wrong."""
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]}"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ")[:120] if lines else type(error).__name__
