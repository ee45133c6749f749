"""A folder that diffusers wrote: a network of its UNet2DModel or DiTTransformer2DModel, or a pipeline that has one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from difgen_cli.models import _dit_names, _unet2d_names
from difgen_cli.pretrained.files import PretrainedError, converted, json_of, listed, shown, within
from difgen_cli.pretrained.record import Described, PretrainedModel, finished, read_as
from difgen_cli.pretrained.schedulers import reading_of
from difgen_cli.pretrained.tensors import tensors_of

LIBRARIES = ("diffusers", "transformers")  # whose classes a pipeline may name
PARTS = {"unet": "unet_ema", "transformer": "transformer_ema"}  # where a network lies, and its running average
PIPELINES = ("unet", "transformer")
FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
SCHEDULER = "scheduler_config.json"


def read(folder: Path, weights: str | None = None, reading: Mapping[str, Any] | None = None) -> PretrainedModel:
    """The record of a folder of diffusers; `weights` chooses ema or raw where a training wrote both.

    The scheduler of the folder, or of the pipeline that it lies in, says how they are read; `reading` has settings of
    `models.denoiser` in place of what it says, or of a scheduler. Raises PretrainedError for classes and custom code
    that are none of ours, and for broken files.
    """
    network, scheduler, choice = _parts(folder, weights)
    config_file = within(network, "config.json")
    config = json_of(config_file)
    if custom := next((key for key in ("auto_map", "_auto_class") if config.get(key)), None):
        raise PretrainedError(
            f"{config_file}: {custom} names code of the model's own, which difgen never runs: convert the weights to "
            f"{' or '.join(CLASSES)}"
        )
    name = config.get("_class_name")
    if not isinstance(name, str) or name not in CLASSES:
        raise PretrainedError(
            f"{config_file}: the class {shown(name)} is none that difgen has: it reads {' and '.join(CLASSES)}"
        )
    files = _weight_files(network)
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= tensors_of(file)
    described, own = converted(config_file, lambda: CLASSES[name](config, tensors))
    described = replace(described, reading=_reading(network, scheduler, reading or {}))
    model = finished(described, own, [config_file, *files], "diffusers", choice)
    return read_as(model, reading, config_file) if reading else model


def _parts(folder: Path, weights: str | None) -> tuple[Path, Path | None, str]:
    """The folder of the network, that of the scheduler if a pipeline names one, and the choice of weights."""
    network, scheduler = folder, None
    if (folder / "model_index.json").is_file():
        index_file = within(folder, "model_index.json")
        network, scheduler = _pipeline(folder, index_file, json_of(index_file))
    elif not (folder / "config.json").is_file():
        inner = [part for part in PARTS if (folder / part / "config.json").is_file()]
        if not inner:
            raise PretrainedError(
                f"{folder}: there is neither model_index.json nor config.json: name the folder of a pipeline or network"
            )
        network = folder / inner[0]
    averages = {part: average for part, average in PARTS.items() if network.name == part}
    average = next(
        (network.parent / a for a in averages.values() if (network.parent / a / "config.json").is_file()), None
    )
    if average is None:
        if weights == "ema" and not network.name.endswith("_ema"):
            raise PretrainedError(f"{network}: there is no running average beside it: leave --weights out")
        return network, scheduler, ""
    if weights is None:
        raise PretrainedError(f"{network}: {average.name} lies beside it: choose with --weights ema or --weights raw")
    return (average if weights == "ema" else network), scheduler, weights


def _pipeline(folder: Path, file: Path, index: Mapping[str, Any]) -> tuple[Path, Path | None]:
    """Network and scheduler of a pipeline, each in the folder of its own name."""
    if not isinstance(index.get("_class_name"), str):
        raise PretrainedError(f"{file}: _class_name names code of the model's own, which difgen never runs: remove it")
    for key, value in index.items():
        if isinstance(value, list) and value[:1] not in ([None], []) and value[0] not in LIBRARIES:
            raise PretrainedError(
                f"{file}: {shown(key)} comes from {shown(value[0])}, which is code of the model's own and never run: "
                "name the folder of the network alone"
            )
    networks = [part for part in PIPELINES if isinstance(index.get(part), list) and index[part] != [None, None]]
    if len(networks) != 1:
        raise PretrainedError(f"{file}: it has {listed(networks)} as network: name the folder of the network alone")
    for part in (networks[0], "scheduler"):
        place = folder / part
        if place.exists() and not place.resolve().is_relative_to(folder.resolve()):
            raise PretrainedError(f"{place}: this is a link that leads out of its folder: copy the folder itself there")
    return folder / networks[0], folder / "scheduler"


def _reading(network: Path, scheduler: Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the scheduler says: that of the pipeline, or of the folders that the network lies in, as trainings write."""
    places = [scheduler] if scheduler else [network, *(p / "scheduler" for p in network.resolve().parents[:2])]
    for place in places:
        if (place / SCHEDULER).is_file():
            return reading_of(within(place, SCHEDULER))
    if "prediction" in given:
        return {"unit": 1.0, "noise_input": "timestep", **given}
    raise PretrainedError(
        f"{network}: no {SCHEDULER} says how its output is read: copy it there, or say it, such as "
        "--reading prediction=noise --reading schedule=linear"
    )


def _weight_files(folder: Path) -> list[Path]:
    """The files of weights of a network: one, or the parts that an index lists, sorted."""
    for name in FILES:
        if (folder / name).exists() or (folder / name).is_symlink():
            return [within(folder, name)]
        index = folder / f"{name}.index.json"
        if index.is_file():
            parts = json_of(within(folder, index.name)).get("weight_map")
            if not isinstance(parts, dict) or not parts or not all(isinstance(part, str) for part in parts.values()):
                raise PretrainedError(f"{index}: its weight_map must give the file of each tensor: copy it again")
            return [within(folder, part) for part in sorted(set(parts.values()))]
    present = sorted(file.name for file in folder.iterdir() if file.suffix in (".safetensors", ".bin"))
    raise PretrainedError(f"{folder}: there is no {' or '.join(FILES)}, but {listed(present)}: rename the one to read")


def _unet2d(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[Described, dict[str, Tensor]]:
    channels, classes = _whole(config["in_channels"]), _whole(config.get("num_class_embeds") or 0)
    own, ends = dict(tensors), ("conv_out.weight", "conv_out.bias")
    if _learned_variance(config, channels):  # the mean comes first
        own |= {name: own[name][:channels] for name in ends}
    # The configuration does not say that a row is for the dropped condition.
    settings = _unet2d_names.settings_of(config) | ({"dropped_row": False} if classes else {})
    return Described("unet2d", settings, _shape(config, channels), classes, {}), own


def _dit(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[Described, dict[str, Tensor]]:
    channels = _whole(config.get("in_channels", 4))
    settings = _dit_names.settings_of(config) | {"learned_variance": _learned_variance(config, channels)}
    classes = _whole(config.get("num_embeds_ada_norm", 1000))
    return Described("dit", settings, _shape(config, channels, 32), classes, {}), _dit_names.from_diffusers(tensors)


CLASSES: Mapping[str, Callable[..., tuple[Described, dict[str, Tensor]]]] = {
    "UNet2DModel": _unet2d, "DiTTransformer2DModel": _dit,
}  # fmt: skip


def _learned_variance(config: Mapping[str, Any], channels: int) -> bool:
    """Whether the output has the variance behind the mean. ValueError where it is neither as wide nor twice as wide."""
    outputs = config.get("out_channels") or channels
    if outputs not in (channels, 2 * channels):
        raise ValueError(f"out_channels: {outputs} is neither in_channels, {channels}, nor twice as many")
    return bool(outputs == 2 * channels)


def _shape(config: Mapping[str, Any], channels: int, default: int | None = None) -> tuple[int, ...]:
    size = config.get("sample_size") or default
    if size is None:
        raise ValueError("sample_size is not given: write the height and width of the images there")
    sides = tuple(size) if isinstance(size, list) else (size, size)
    if len(sides) != 2:
        raise ValueError(f"sample_size: {size!r} is no height and width")
    return (channels, *map(_whole, sides))


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no number of channels, pixels or classes")
    return value
