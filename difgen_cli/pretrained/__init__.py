"""Weights that somebody else trained: read as data, never as code, into one record with our names of parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from difgen_cli.pretrained import diffusers_folder, edm, snapshots, state_dicts
from difgen_cli.pretrained.files import PretrainedError as PretrainedError
from difgen_cli.pretrained.record import Described as Described
from difgen_cli.pretrained.record import PretrainedModel as PretrainedModel
from difgen_cli.pretrained.record import read_as
from difgen_cli.pretrained.state_dicts import NO_OTHERS, Networks
from difgen_cli.pretrained.state_dicts import write as write


def read(
    path: Path, weights: str | None = None, description: Path | None = None, reading: Mapping[str, Any] | None = None,
    networks: Networks = NO_OTHERS,
) -> PretrainedModel:  # fmt: skip
    """The record of a file or folder of weights, whatever its format.

    path: a folder of diffusers, or one that `write` wrote; a pickle of EDM, `.pkl`; a snapshot of a run directory; or
        a `.safetensors`, `.pt`, `.pth`, `.ckpt` or `.bin` file of named tensors, with a description.
    weights: ema or raw, where a file has both.
    description: a JSON file that says which network such tensors are for.
    reading: settings of `models.denoiser`, in place of those that the files say.
    networks: files of networks of the user's own, by name, which such a description may be for.

    Raises PretrainedError, one sentence, for what cannot be read or does not fit; nothing that a file holds is run.
    """
    if path.is_dir() and not (path / state_dicts.RECORD).is_file():
        return diffusers_folder.read(path, weights, reading)
    model = _of_one_format(path, weights, description, networks)
    return read_as(model, reading, path) if reading else model


def _of_one_format(path: Path, weights: str | None, description: Path | None, networks: Networks) -> PretrainedModel:
    if path.is_dir():
        return state_dicts.read_written(path, networks)
    if not path.is_file():
        raise PretrainedError(f"{path}: there is no such file or folder: name the weights to read")
    if path.suffix == ".pkl":
        return edm.read(path, weights)
    if path.suffix == ".safetensors" and description is None and snapshots.spec_of(path):
        return snapshots.read(path)
    return state_dicts.read(path, description, weights, networks)
