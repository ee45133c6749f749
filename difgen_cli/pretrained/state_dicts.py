"""Named tensors for a network that the user describes: a `.pt`, `.ckpt` or safetensors file, and what `write` wrote."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from difgen_cli.models import _dit_names, _edm2_names, _edm_names
from difgen_cli.pretrained.files import PretrainedError, converted, json_of, listed, shown, within
from difgen_cli.pretrained.record import Described, PretrainedModel, finished
from difgen_cli.pretrained.tensors import content_of

RECORD, WEIGHTS = "difgen.json", "weights.safetensors"
Networks = Mapping[str, ModuleType]  # files of networks of the user's own, by name
NO_OTHERS: Networks = MappingProxyType({})
FIELDS = ("network", "settings", "shape", "classes", "reading")
# Where training code keeps weights, those of the running average and those that were trained.
AVERAGES = ("ema", "ema_state_dict", "model_ema", "ema_model", "state_dict_ema")
TRAINED = ("state_dict", "model_state_dict", "model", "net", "network", "unet")
PREFIXES = ("module.", "model.", "net.", "network.", "_orig_mod.", "ema_model.", "denoiser.")  # of wrappers of modules
PUBLISHED = {  # how the first names of published weights begin, and what converts them
    "dit": (("x_embedder.",), _dit_names.from_published),
    "ddpmpp": (("enc.",), _edm_names.from_edm),
    "edm2": (("enc.", "unet.enc."), _edm2_names.from_edm2),
}


def read(
    path: Path, description: Path | None, weights: str | None = None, networks: Networks = NO_OTHERS
) -> PretrainedModel:
    """The record of a file of named tensors; `description` is a JSON file that says what they are for.

    `weights` chooses ema or raw where the file has both. Raises PretrainedError for tensors that do not fit.
    """
    if description is None:
        raise PretrainedError(
            f"{path}: it does not say which network it is for: describe it in a JSON file with {', '.join(FIELDS)}, "
            "and name that with --network"
        )
    described = describe(description, networks)
    choice, tensors = _chosen(path, content_of(path), weights)
    tensors = _named(path, described.network, tensors)
    return finished(described, tensors, [description, path], "state dict", choice)


def read_written(folder: Path, networks: Networks = NO_OTHERS) -> PretrainedModel:
    """The record that `write` wrote to a folder."""
    description, path = within(folder, RECORD), within(folder, WEIGHTS)
    return finished(describe(description, networks), content_of(path), [description, path], "difgen")


def write(model: PretrainedModel, folder: Path, *, replace: bool = False) -> None:
    """The record as safetensors and JSON in a folder, which `read` reads to the same bits.

    Raises PretrainedError where the folder has such files already, unless they are to be replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise PretrainedError(f"{folder}: this is a file: name a folder to write to")
    if not replace and (taken := [name for name in (RECORD, WEIGHTS) if (folder / name).exists()]):
        raise PretrainedError(f"{folder / taken[0]}: this file is there already: name another folder, or add --force")
    described = model.described
    fields = {
        "network": described.network, "settings": dict(described.settings), "shape": list(described.shape),
        "classes": described.classes, "reading": dict(described.reading),
        "source": {"form": model.form, "content": model.content, "weights": model.choice},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(fields, indent=1, allow_nan=False) + "\n"
    written = {name: folder / f".{name}.tmp" for name in (WEIGHTS, RECORD)}
    save_file(model.weights, written[WEIGHTS])
    written[RECORD].write_text(text, encoding="utf-8")
    for name, temporary in written.items():
        temporary.replace(folder / name)


def describe(path: Path, networks: Networks = NO_OTHERS) -> Described:
    """What a JSON file says of a network. PretrainedError for a field that is missing, unknown or no such value."""
    fields = json_of(path)
    if missing := sorted({"network", "shape"} - fields.keys()):
        raise PretrainedError(f"{path}: there is no {missing[0]}: describe the network with {', '.join(FIELDS)}")
    if unknown := sorted(fields.keys() - {*FIELDS, "source"}):
        raise PretrainedError(f"{path}: {shown(unknown[0])} is unknown: describe the network with {', '.join(FIELDS)}")
    shape, classes = fields["shape"], fields.get("classes", 0)
    if not isinstance(shape, list) or len(shape) not in (1, 3) or any(type(n) is not int or n < 1 for n in shape):
        raise PretrainedError(f"{path}: shape: {shown(shape)} is neither [channels, height, width] nor [dimensions]")
    if type(classes) is not int or classes < 0:
        raise PretrainedError(f"{path}: classes: {shown(classes)} is no number of classes: write 0 for none")
    settings, reading = _settings(path, "settings", fields), _settings(path, "reading", fields)
    name = str(fields["network"])
    return Described(name, settings, tuple(shape), classes, reading, networks.get(name))


def _settings(path: Path, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a function as it takes them: lists as tuples."""
    settings = fields.get(name, {})
    if not isinstance(settings, dict) or any(isinstance(value, dict) for value in settings.values()):
        raise PretrainedError(f"{path}: {name} must be an object of plain values and lists: correct it")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}


def _chosen(path: Path, content: Mapping[str, Any], weights: str | None) -> tuple[str, dict[str, Tensor]]:
    """The named tensors of a file that are meant, and the choice; empty where there was none."""
    groups = {"ema": AVERAGES, "raw": TRAINED}
    present = {
        choice: content[key] for choice, keys in groups.items() for key in keys if isinstance(content.get(key), dict)
    }
    if not present and weights != "ema":
        present = {"raw": {name: value for name, value in content.items() if isinstance(value, Tensor)}}
        if not present["raw"]:
            raise PretrainedError(f"{path}: it has no named tensors, but {listed(content)}: save the state_dict alone")
    if weights is not None and weights not in present:
        raise PretrainedError(f"{path}: it has no {weights} weights, but {listed(content)}: choose other --weights")
    if weights is None and len(present) > 1:
        raise PretrainedError(f"{path}: it has two sets of weights: choose with --weights ema or --weights raw")
    choice = weights or next(iter(present))
    tensors = {str(name): value for name, value in present[choice].items() if isinstance(value, Tensor)}
    return (choice if len(present) > 1 else ""), tensors


def _named(path: Path, network: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under our names: without prefixes of wrappers, and from published names."""
    while prefix := next((p for p in PREFIXES if tensors and all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    marks, convert = PUBLISHED.get(network, ((), None))
    if convert is not None and any(name.startswith(marks) for name in tensors):
        return converted(path, lambda: convert(tensors))
    return tensors
