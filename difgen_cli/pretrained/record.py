"""One record of foreign weights, and the checks that every reader ends with: they fit their network, and are finite."""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from difgen_cli import contents, models
from difgen_cli.diffusion import Denoiser
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.pretrained.files import PretrainedError, listed, shown

NETWORKS = ("unet2d", "dit", "ddpmpp", "edm2", "unet", "mlp")  # those that foreign weights may be for
LARGEST = 1 << 16  # of a whole number among settings: no width or side of an image is near it
LONGEST = 64  # of a list among the settings of a network
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class Described:
    """What weights are for, and how they are read as a denoiser.

    network: the file of `models/`, or a user's; settings: of its `build`, where they differ from its defaults
    shape: (C, H, W) or (D,); classes: 0 for none
    reading: settings of `models.denoiser`, where they differ from its defaults
    """

    network: str
    settings: Mapping[str, Any]
    shape: tuple[int, ...]
    classes: int
    reading: Mapping[str, Any]
    own: ModuleType | None = None  # the user's file of the network, where it is one

    def build(self) -> nn.Module:
        """The network, with weights at random."""
        network: nn.Module = self.module.build(self.shape, self.classes, **self.settings)
        return network

    @property
    def module(self) -> ModuleType:
        """The file that has the network."""
        return self.own or importlib.import_module(f"difgen_cli.models.{self.network}")


@dataclass(frozen=True)
class PretrainedModel:
    """Weights with all that is needed to use them.

    weights: tensors under the names of the network's parameters, float32, on the CPU
    content: SHA-256 (hex) of the bytes of the files that they and their configuration were read from, whatever the
        files are called
    form: the format of these files
    choice: which weights of several were taken, ema or raw; empty where there were no others
    files: SHA-256 (hex) of each file of the weights, without the one that describes them
    """

    described: Described
    weights: dict[str, Tensor]
    content: str
    form: str
    choice: str = ""
    files: tuple[str, ...] = ()

    def build(self) -> nn.Module:
        """The network with these weights, as it is evaluated."""
        network = initialise(self.described.build, 0)
        network.load_state_dict(self.weights)
        return network.eval().requires_grad_(False)

    def denoiser(self, sigma_data: float) -> Denoiser:
        """D(x; σ) of these weights, for data of σ_d. ValueError for a reading that does not fit together."""
        return models.denoiser(self.build(), sigma_data, **self.described.reading).eval()


def expected(described: Described, path: Path, tensors: int) -> dict[str, Tensor]:
    """Parameters of the network that is described, without memory. PretrainedError where there is no such network.

    tensors: how many the file has; a network of more blocks than that is refused before it is built.
    """
    if described.network not in NETWORKS and described.own is None:
        raise PretrainedError(
            f"{path}: the network {shown(described.network)} is none of difgen's: name {', '.join(NETWORKS)}"
        )
    for name, value in {**described.settings, "shape": described.shape, "classes": described.classes}.items():
        _check_size(path, name, value, tensors)
    _check_types(path, "", described.module.build, described.settings)
    _check_types(path, "reading.", models.denoiser, described.reading)
    try:
        with torch.device("meta"):
            network = described.build()
        models.denoiser(network, 1.0, **described.reading)
    except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PretrainedError(f"{path}: {reason.rstrip('.')}; correct what describes the network") from None
    return network.state_dict()


def _check_types(path: Path, prefix: str, function: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """PretrainedError for a setting that a function does not take, or takes no such value for."""
    parameters = inspect.signature(function).parameters.values()
    types = get_type_hints(function, localns={"nn": nn}, include_extras=True)
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for name, value in settings.items():
        if name not in names:
            raise PretrainedError(f"{path}: {prefix}{shown(name)} is unknown: it takes {', '.join(names)}")
        try:
            TypeAdapter(types[name], config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)
        except ValidationError as error:
            what = error.errors()[0]["msg"].replace("Input should be", "must be").lower()
            raise PretrainedError(f"{path}: {prefix}{name}: {what}, not {shown(value)}") from None


def _check_size(path: Path, name: str, value: Any, tensors: int) -> None:
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    blocks = name in ("depth", "layers_per_block", "blocks")
    largest = tensors if blocks else LARGEST
    wrong = next((v for v in values if isinstance(v, int | float) and abs(v) > largest), None)
    if wrong is not None or len(values) > LONGEST:
        what = f"is {shown(wrong)}" if wrong is not None else f"has {len(values):,} values"
        most = f"at most {largest:,}" if wrong is not None else f"at most {LONGEST}"
        raise PretrainedError(f"{path}: {name} {what}, and weights of this file have {most}: take the right file")


def read_as(model: PretrainedModel, reading: Mapping[str, Any], path: Path) -> PretrainedModel:
    """The same weights, with settings of `models.denoiser` in place of those that their files say."""
    own = dict(model.described.reading)
    if "schedule" in reading:
        own.pop("betas", None)  # they are of another one
    described = replace(model.described, reading=own | dict(reading))
    expected(described, path, len(model.weights))
    return replace(model, described=described)


def finished(
    described: Described, tensors: Mapping[str, Tensor], files: Sequence[Path], form: str, choice: str = ""
) -> PretrainedModel:
    """The record of tensors that fit their network.

    `files`: configuration, which errors in settings name, then weights, of which they name the last.
    PretrainedError for a tensor that is missing, unknown, of another shape, no float, or not finite.
    """
    path = files[-1]
    parameters = expected(described, files[0], len(tensors))
    missing = sorted(parameters.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - parameters.keys())
    if missing or unknown:
        what = f"there is no {listed(missing, 3)}" if missing else f"{listed(unknown, 3)} is unknown"
        raise PretrainedError(f"{path}: not the weights of {described.network}: {what}; correct what describes them")
    weights = {}
    for name, parameter in parameters.items():
        tensor = tensors[name]
        if tensor.shape != parameter.shape:
            raise PretrainedError(
                f"{path}: {name} has the shape {tuple(tensor.shape)}, and {described.network} of these settings has "
                f"{tuple(parameter.shape)}: correct what describes them"
            )
        if tensor.dtype not in FLOATS:
            raise PretrainedError(f"{path}: {name} holds {tensor.dtype}, and weights are floats: convert them")
        weights[name] = tensor.detach().to(torch.float32, copy=True).contiguous()  # of a file that may change later
        if not _finite(weights[name]):
            raise PretrainedError(f"{path}: {name} holds NaN or infinite values: take weights that did not diverge")
    try:
        content, of_weights = contents.sha256_of_all(files), tuple(map(contents.sha256, files[1:] or files))
    except OSError as error:
        raise PretrainedError(f"{path}: it cannot be read ({error.strerror}): copy it again") from None
    return PretrainedModel(described, weights, content, form, choice, of_weights)


def _finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite. NaN is the least and the largest of any numbers; nothing is copied for it."""
    return not tensor.numel() or all(bool(end.isfinite()) for end in tensor.aminmax())
