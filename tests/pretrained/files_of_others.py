"""Files as other programs write them, made by this project's own tests: pickles of EDM's layout, folders of diffusers.

EDM stores a network as a call of one function with a dictionary: the name and source of its class, and its state, in
which are the arguments that it was made with. The classes here imitate that layout; none of EDM's code is used.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

SOURCE = "raise SystemExit('this source is never run')\n"


class EasyDict(dict[str, Any]):
    """A dictionary that pickles as `dnnlib.util.EasyDict`."""


def rebuilt(meta: Any) -> None:
    """Stands for the function that makes a stored network again: it must never be called."""
    raise AssertionError("the pickle was executed")


EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"
rebuilt.__module__ = "torch_utils.persistence"
rebuilt.__name__ = rebuilt.__qualname__ = "_reconstruct_persistent_obj"


class Stored(nn.Module):
    """A module that pickles in the layout of EDM, with the name of a class, and tensors by dotted names."""

    def __init__(self, name: str, arguments: Mapping[str, Any], source: str = SOURCE) -> None:
        super().__init__()
        self._init_args, self._init_kwargs = (), EasyDict(arguments)
        self._stored = (name, source)

    def __reduce__(self) -> Any:
        state = {key: value for key, value in self.__dict__.items() if key != "_stored"}
        name, source = self._stored
        return rebuilt, (EasyDict(type="class", version=6, module_src=source, class_name=name, state=state),)


def filled(module: nn.Module, weights: Mapping[str, Tensor], buffers: tuple[str, ...] = ()) -> nn.Module:
    """The module with tensors by dotted names: parameters, and buffers where a name ends so; others nest in it."""
    for name, tensor in weights.items():
        *path, last = name.split(".")
        inner = module
        for part in path:
            if part in ("enc", "dec") and part not in inner._modules:
                inner.add_module(part, nn.ModuleDict())
            elif part not in inner._modules:
                inner.add_module(part, Stored("Layer", {}))
            inner = inner._modules[part]  # type: ignore[assignment]
        if last.endswith(buffers) and buffers:
            inner.register_buffer(last, tensor)
        else:
            inner.register_parameter(last, nn.Parameter(tensor.clone(), requires_grad=False))
    return module


def edm_network(
    weights: Mapping[str, Tensor], inner: Mapping[str, Any], outer: Mapping[str, Any] | None = None,
    classes: tuple[str, str] = ("EDMPrecond", "SongUNet"),
) -> Stored:  # fmt: skip
    """A network as EDM's snapshots hold it, from weights under EDM's names."""
    network = Stored(classes[0], outer or {})
    network.add_module("model", filled(Stored(classes[1], inner), weights, ("resample_filter", "freqs")))
    return network


def edm2_network(
    weights: Mapping[str, Tensor], arguments: Mapping[str, Any], passed: tuple[Any, ...] = (),
    classes: tuple[str, str] = ("Precond", "UNet"), source: str = SOURCE,
) -> Stored:  # fmt: skip
    """A network as EDM2's snapshots hold it, from weights under EDM2's names, without the `unet.` before them.

    `arguments` are those of the preconditioning, `passed` those that it gives its network in order. What training alone
    needs is there too.
    """
    network, inner = Stored(classes[0], arguments, source), Stored(classes[1], {}, source)
    inner._init_args = passed
    network.add_module("unet", filled(inner, weights, ("freqs", "phases")))
    of_training = {"logvar_fourier.freqs": torch.ones(3), "logvar_fourier.phases": torch.ones(3)}
    return filled(network, of_training | {"logvar_linear.weight": torch.ones(1, 3)}, ("freqs", "phases"))  # type: ignore[return-value]


def nested_modules(
    path: Path, outer: str, inner: str, place: str, numbers: tuple[str, ...], depth: int = 10_000
) -> Path:
    """Modules in modules, ten thousand deep, written by hand; the arguments of each are these numbers."""
    name = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"

    def text(value: str) -> bytes:
        return b"\x8c" + bytes([len(value)]) + value.encode()

    arguments = text("_init_kwargs") + b"}" + b"".join(text(key) + b"K\x08s" for key in numbers) + b"s"

    def opened(kind: str) -> bytes:
        start = name + b"}" + text("class_name") + text(kind) + b"s" + text("state") + b"}" + arguments
        return start + text("_modules") + b"}" + text(place)

    end = name + b"}" + text("state") + b"}s\x85R" + b"sss\x85R" * depth
    path.write_bytes(b"\x80\x04}" + text("ema") + opened(outer) + opened(inner) * (depth - 1) + end + b"s.")
    return path


def pickled(path: Path, content: Any, protocol: int = 4) -> Path:
    """The content as a pickle in which the imitations bear the names that they stand for."""
    stand_ins = {"dnnlib.util": {"EasyDict": EasyDict}, "torch_utils.persistence": {rebuilt.__name__: rebuilt}}
    names = [*stand_ins, "dnnlib", "torch_utils"]
    before = {name: sys.modules.get(name) for name in names}
    try:
        for name in names:
            module = ModuleType(name)
            vars(module).update(stand_ins.get(name, {}))
            sys.modules[name] = module
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    finally:
        for name, module_before in before.items():
            sys.modules.pop(name)
            if module_before is not None:
                sys.modules[name] = module_before
    return path


SCHEDULER = {
    "_class_name": "DDPMScheduler", "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear",
    "num_train_timesteps": 1000, "prediction_type": "epsilon",
}  # fmt: skip
UNET2D = {  # as diffusers' own config.json has it, at toy size
    "_class_name": "UNet2DModel", "_diffusers_version": "0.42.1", "sample_size": 8, "in_channels": 3,
    "out_channels": 3, "block_out_channels": [8, 16], "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "layers_per_block": 1, "norm_num_groups": 4,
    "attention_head_dim": 4, "norm_eps": 1e-5, "freq_shift": 0, "flip_sin_to_cos": True, "act_fn": "silu",
}  # fmt: skip


def diffusers_folder(
    folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any] | None = None,
    scheduler: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """A folder of one network as diffusers writes it, with the scheduler's configuration in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or UNET2D))
    (folder / "scheduler_config.json").write_text(json.dumps(scheduler or SCHEDULER))
    save_file(dict(weights), folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    return folder


def pipeline(folder: Path, weights: Mapping[str, Tensor], **changed: Any) -> Path:
    """A pipeline of diffusers: the index, `unet/` and `scheduler/`."""
    diffusers_folder(folder / "unet", weights, changed.get("config"))
    (folder / "scheduler").mkdir()
    (folder / "unet" / "scheduler_config.json").rename(folder / "scheduler" / "scheduler_config.json")
    index = {
        "_class_name": "DDPMPipeline", "_diffusers_version": "0.42.1", "scheduler": ["diffusers", "DDPMScheduler"],
        "unet": ["diffusers", "UNet2DModel"],
    }  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index | changed.get("index", {})))
    return folder


def random_state(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Weights of a network, each moved at random, so that none is zero."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in network.state_dict().items()
    }
