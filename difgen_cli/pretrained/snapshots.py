"""A snapshot of a run directory of difgen's own, with what its `spec.json` says of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from difgen_cli import data
from difgen_cli.engine.store import Store
from difgen_cli.engine.store.access import StoreError
from difgen_cli.pretrained.files import PretrainedError, converted, json_of, shown, within
from difgen_cli.pretrained.record import NETWORKS, Described, PretrainedModel, finished
from difgen_cli.pretrained.tensors import tensors_of

SPEC = "spec.json"
SPLIT = ("held_out", "held_out_seed")  # settings of the split that say what the rest is
OF_CANARIES = ("count", "sparse", "seed")  # and which images are taken out of it
KEY = re.compile(r"[0-9a-f]{16}")
# Where networks keep a row or column for each class, and how many more than classes there are.
CLASSES = {"labels.table.weight": (0, 1), "labels.layer.weight": (1, 0), "class_embedding.weight": (0, 1)}


def spec_of(path: Path) -> Path | None:
    """The file that says what a snapshot is of; None where the file lies in no run directory."""
    spec = path.parents[1] / SPEC if len(path.absolute().parents) > 1 else None
    return spec if spec is not None and spec.is_file() else None


def read(path: Path) -> PretrainedModel:
    """The record of `snapshots/<step>.safetensors` of a trajectory. PretrainedError where the folder is not whole.

    What the network calls 1 is the σ_d of the data that it was trained on, which the run directory must still have.
    """
    path = path.absolute()
    spec, tensors = within(path.parents[1], SPEC), tensors_of(path)
    table = json_of(spec)

    def described() -> Described:
        recipes = table["recipe"]
        inputs = recipes[table["key"]]["inputs"]
        network, holdout = recipes[inputs["network"]], recipes[recipes[inputs["subset"]]["inputs"]["holdout"]]
        if network["name"] not in NETWORKS:
            raise PretrainedError(
                f"{spec}: the network {shown(network['name'])} is none of difgen's own: name a snapshot of one of "
                f"{', '.join(NETWORKS)}"
            )
        reading = inputs_of(recipes, network, "reading")
        shape, sigma_data = _pool(path.parents[3], recipes, holdout)
        settings = _plain(network["settings"])
        return Described(
            network["name"], settings, shape, _classes(settings, tensors), {"unit": sigma_data} | _plain(reading)
        )

    of = converted(spec, described)
    return finished(of, tensors, [spec, path], "difgen snapshot")


def inputs_of(recipes: Mapping[str, Any], recipe: Mapping[str, Any], role: str) -> Mapping[str, Any]:
    """The settings of an input of a recipe; none where it has no such input."""
    key = recipe["inputs"].get(role)
    return recipes[key]["settings"] if key is not None else {}


def _pool(root: Path, recipes: Mapping[str, Any], holdout: Mapping[str, Any]) -> tuple[tuple[int, ...], float]:
    """What a network sees of the data, (C, H, W) or (D,), and σ_d of those that are not held out, nor canaries."""
    key = holdout["inputs"]["pool"]
    if not KEY.fullmatch(key):
        raise ValueError(f"{shown(key)} is no key")
    try:
        images, _, facts = Store(root).pool(key)
    except StoreError as error:
        raise PretrainedError(f"{error}") from None
    held_out = None if facts.get("held_out") is None else np.array(facts["held_out"], np.int64)
    pool = data.Pool(images, held_out=held_out)
    own, out = ({name: each[name] for name in names if name in each} for names, each in (
        (SPLIT, holdout["settings"]), (OF_CANARIES, inputs_of(recipes, holdout, "canaries"))
    ))  # fmt: skip
    rest = data.split(pool, out or None, **own).rest
    shape = images.shape[1:] if images.ndim == 2 else (images.shape[3], *images.shape[1:3])
    return tuple(shape), data.sigma_data(pool.images[rest])


def _classes(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> int:
    for name, tensor in tensors.items():
        for end, (side, more) in CLASSES.items():
            if name.endswith(end):
                return int(tensor.shape[side]) - (more if settings.get("dropped_row", True) else 0)
    return 0


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
