"""Weights of EDM's DDPM++ and NCSN++ under the names that `ddpmpp.py` gives them."""

import re
from collections.abc import Mapping

from torch import Tensor

MAPPING = {  # EDM's layers outside its levels
    "map_noise": "embedding.features",
    "map_label": "embedding.labels.layer",
    "map_augment": "embedding.augment",
    "map_layer0": "embedding.first",
    "map_layer1": "embedding.second",
}
PARTS = {  # EDM's layers within a block
    "norm0": "norm",
    "conv0": "first",
    "affine": "shift",
    "norm1": "inner_norm",
    "conv1": "second",
    "skip": "shortcut",
    "norm2": "attention.norm",
    "qkv": "attention.qkv",
    "proj": "attention.out",
}
LEVEL = re.compile(r"(enc|dec)\.(\d+)x\d+_([a-z0-9_]+)\.(.+)")


def from_edm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a `ddpmpp` network from that of EDM's, with or without the `model.` of its preconditioning.

    EDM stores queries, keys and values channel by channel, this package one after another; nothing else is changed.

    Raises ValueError for a name that EDM's DDPM++ and NCSN++ do not have.
    """
    named = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    heights = sorted({int(match[2]) for name in named if (match := LEVEL.fullmatch(name))}, reverse=True)
    state: dict[str, Tensor] = {}
    for name, tensor in named.items():
        if name.endswith("resample_filter"):  # a setting here
            continue
        own = _own_name(name, heights)
        if own is None:
            raise ValueError(f"{name}: EDM's DDPM++ and NCSN++ have no such weight; use weights of one of the two")
        if ".qkv." in own:
            tensor = tensor.unflatten(0, (-1, 3)).transpose(0, 1).flatten(0, 1)
        state[own] = tensor
    return state


def _own_name(name: str, heights: list[int]) -> str | None:
    """The name here of a weight of EDM's; None for one that is not of these networks."""
    layer, _, rest = name.partition(".")
    if layer in MAPPING:
        return f"{MAPPING[layer]}.{rest.replace('freqs', 'frequencies')}"
    match = LEVEL.fullmatch(name)
    if match is None:
        return None
    side, height, place, rest = match.groups()
    level = heights.index(int(height))
    whole = {
        ("enc", "conv"): "first",
        ("dec", "aux_norm"): "norm",
        ("dec", "aux_conv"): "last",
        # The convolution and its bias are apart here: the image is halved in between.
        ("enc", "aux_residual"): f"inputs.{level - 1}" if rest == "bias" else f"inputs.{level - 1}.conv",
    }
    if (side, place) in whole:
        return f"{whole[side, place]}.{rest}"
    block = block_of(side, level, place, len(heights))
    part, _, end = rest.partition(".")
    return f"{block}.{PARTS[part]}.{end}" if block and part in PARTS else None


def block_of(side: str, level: int, place: str, levels: int) -> str | None:
    """The block of a level that EDM calls `down`, `up`, `in0`, `in1` or `block` and a number."""
    if side == "dec" and place in ("in0", "in1"):
        return f"middle.{place[2:]}"
    resamples = level > 0 if side == "enc" else level < levels - 1  # such a level begins with a change of size
    folder = f"down.{level}" if side == "enc" else f"up.{levels - 1 - level}"
    if place == ("down" if side == "enc" else "up"):
        return f"{folder}.0"
    number = place.removeprefix("block")
    return f"{folder}.{int(number) + resamples}" if number.isdigit() else None
