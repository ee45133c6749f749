"""Pickles of EDM and EDM2 (Karras et al. 2022, 2024): networks in their preconditioning, as data.

A network is stored with the source of its class, which is never looked at: the class's name, the arguments that it was
made with, and the tensors of its modules say all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from difgen_cli.models._edm2_names import from_edm2
from difgen_cli.models._edm_names import from_edm
from difgen_cli.pretrained import edm2, pickles
from difgen_cli.pretrained.files import PretrainedError, converted, listed, shown, tried
from difgen_cli.pretrained.pickles import PickledCall
from difgen_cli.pretrained.record import Described, PretrainedModel, finished

KEYS = {"ema": ("ema", "G_ema"), "raw": ("net", "raw", "model")}  # where a snapshot keeps which weights
DEFAULTS: dict[str, Any] = {  # of EDM's network, for arguments that a file leaves out
    "augment_dim": 0, "model_channels": 128, "channel_mult": [1, 2, 2, 2], "channel_mult_emb": 4, "num_blocks": 4,
    "attn_resolutions": [16], "dropout": 0.1, "label_dropout": 0, "embedding_type": "positional",
    "channel_mult_noise": 1, "encoder_type": "standard", "decoder_type": "standard", "resample_filter": [1, 1],
}  # fmt: skip
ONE_FORM = {"channel_mult_emb": 4, "decoder_type": "standard"}  # that ddpmpp has one form of
PRECONDITIONING: dict[str, Any] = {"label_dim": 0, "sigma_data": 0.5}


@dataclass(frozen=True)
class StoredModule:
    """A class of EDM's or EDM2's in a pickle: its name, the arguments that it was made with, and what is in it."""

    name: str
    arguments: Mapping[str, Any]
    positional: bool
    modules: Mapping[str, Any]


def read(path: Path, weights: str | None = None) -> PretrainedModel:
    """The record of a `network-snapshot.pkl`; `weights` chooses ema or raw, where a file has both.

    Raises PretrainedError for a broken file, and a network that is none of ours.
    """
    content = pickles.read(path)
    choice, network = _chosen(path, content, weights)
    outer = _module(path, network, FAMILIES)
    family = FAMILIES[outer.name]
    inner = _module(path, outer.modules.get(family.module), (family.network,))
    described = family.described(path, outer, inner)
    views = pickles.Tensors(path)
    tensors = tried(path, lambda: {n: views.of(call) for n, call in _tensors(path, network, set())}, pickles.BROKEN)
    if sum(tensor.nbytes for tensor in tensors.values()) > path.stat().st_size:  # converting copies what is shared
        raise PretrainedError(f"{path}: its tensors are larger than the file: take weights that are whole")
    own = converted(path, lambda: family.named(tensors))
    return finished(described, own, [path], family.form, choice)


def _chosen(path: Path, content: Any, weights: str | None) -> tuple[str, Any]:
    """Which network of a snapshot, and what the choice was; empty where there was none."""
    if isinstance(content, PickledCall):
        return "", content
    if not isinstance(content, dict):
        raise PretrainedError(f"{path}: it holds no network: take the network-snapshot of a training")
    calls = {key: call for key, call in content.items() if isinstance(call, PickledCall)}
    present = {choice: calls[key] for choice, keys in KEYS.items() for key in keys if key in calls}
    if not present or (weights is not None and weights not in present):
        wanted = f"{weights} weights" if weights else "network"
        raise PretrainedError(f"{path}: it has no {wanted}, but {listed(content)}: take another file or --weights")
    choice = weights or next(iter(present))
    return (choice if len(present) > 1 else ""), present[choice]


def _module(path: Path, call: Any, wanted: Iterable[str]) -> StoredModule:
    """A class that a pickle stores; PretrainedError for any whose name is not among the wanted ones."""
    meta = _meta(call)
    state = meta.get("state") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(state, dict):
        raise PretrainedError(f"{path}: it holds no network of EDM: take the network-snapshot of a training")
    name, names = meta.get("class_name"), list(wanted)
    if name not in names:
        raise PretrainedError(
            f"{path}: the class {shown(name)} is no network of difgen's: it reads EDM's DDPM++ and NCSN++ and EDM2's "
            f"network, here {' or '.join(names)}; nothing of its source was run"
        )
    arguments, modules = state.get("_init_kwargs"), state.get("_modules")
    if not isinstance(arguments, dict):
        raise PretrainedError(f"{path}: {name} does not say what it was made with: save it again")
    return StoredModule(name, arguments, bool(state.get("_init_args")), modules if isinstance(modules, dict) else {})


def _arguments(path: Path, module: StoredModule) -> Mapping[str, Any]:
    if module.positional:
        raise PretrainedError(
            f"{path}: {module.name} was made without named arguments, which cannot be read: save it again"
        )
    return module.arguments


def _meta(call: Any) -> Any:
    """What a pickle says of a class of EDM's that it stores; None for anything else."""
    stored = isinstance(call, PickledCall) and call.name == pickles.PERSISTENT and call.arguments
    return call.arguments[0] if stored else None


def _of_edm(path: Path, outer: StoredModule, inner: StoredModule) -> Described:
    given, whole = DEFAULTS | dict(_arguments(path, inner)), PRECONDITIONING | dict(_arguments(path, outer))
    for name, form in ONE_FORM.items():
        if given[name] != form:
            raise PretrainedError(
                f"{path}: {name}: {shown(given[name])} is not supported by ddpmpp; it has {form!r} alone"
            )

    def convert() -> Described:
        side, multipliers = int(given["img_resolution"]), tuple(given["channel_mult"])
        heights = [side >> level for level in range(len(multipliers))]
        settings = {
            "width": given["model_channels"], "depth": given["num_blocks"], "multipliers": multipliers,
            "attention": tuple(height for height in given["attn_resolutions"] if height in heights),
            "dropout": float(given["dropout"]), "features": given["embedding_type"],
            "noise_width": given["channel_mult_noise"], "encoder": given["encoder_type"],
            "resample_filter": tuple(given["resample_filter"]), "augment": given["augment_dim"],
        }  # fmt: skip
        if given["embedding_type"] not in ("positional", "fourier") or given["encoder_type"] not in (
            "standard",
            "residual",
        ):
            raise ValueError("embedding_type or encoder_type is not supported by ddpmpp")
        if given["in_channels"] != given["out_channels"]:
            raise ValueError("in_channels and out_channels differ")
        shape = (int(given["in_channels"]), side, side)
        return Described("ddpmpp", settings, shape, int(whole["label_dim"]), {"unit": float(whole["sigma_data"])})

    return converted(path, convert)


def _of_edm2(path: Path, outer: StoredModule, inner: StoredModule) -> Described:
    # The preconditioning was given all arguments by name; it passes some of them on in order.
    return edm2.described(path, _arguments(path, outer), inner.arguments)


def _tensors(path: Path, call: Any, seen: set[int], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor of a module and those in it, with its dotted name; no module is there twice."""
    meta = _meta(call)
    state = meta.get("state") if isinstance(meta, dict) else call.state if isinstance(call, PickledCall) else None
    if not isinstance(state, dict) or id(call) in seen:
        raise PretrainedError(
            f"{path}: the module {shown(prefix or 'itself')} holds no weights as expected: take another file"
        )
    seen.add(id(call))
    passing = state.get("_non_persistent_buffers_set") or ()
    for kind in ("_parameters", "_buffers", "_modules"):
        group = state.get(kind)
        for name, value in (group if isinstance(group, dict) else {}).items():
            if value is None or (kind == "_buffers" and name in passing):
                continue
            if kind == "_modules":
                yield from _tensors(path, value, seen, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value


@dataclass(frozen=True)
class Family:
    """How networks of one paper are stored: what `Described` says of them, and the names of their weights.

    module, network: the name and the class of the network within its preconditioning
    """

    form: str
    module: str
    network: str
    described: Callable[[Path, StoredModule, StoredModule], Described]
    named: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


FAMILIES = {  # by the class of the preconditioning
    "EDMPrecond": Family("edm", "model", "SongUNet", _of_edm, from_edm),
    "Precond": Family("edm2", "unet", "UNet", _of_edm2, from_edm2),
}
