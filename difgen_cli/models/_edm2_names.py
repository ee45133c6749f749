"""Weights of EDM2's network under the names that `edm2.py` gives them.

EDM2's names are taken as they are remembered, since no published file was at hand: levels and blocks are named as EDM
names them, frequencies and phases are in radians, and queries, keys and values are stored channel by channel.
"""

from collections.abc import Mapping

from torch import Tensor

from difgen_cli.models._edm_names import LEVEL, block_of

MAPPING = {  # EDM2's weights outside its levels
    "emb_fourier.freqs": "embedding.features.frequencies",
    "emb_fourier.phases": "embedding.features.phases",
    "emb_noise.weight": "embedding.noise.weight",
    "emb_label.weight": "embedding.labels.layer.weight",
    "out_gain": "gain",
    "out_conv.weight": "last.weight",
}
PARTS = {  # EDM2's weights within a block
    "emb_gain": "gain",
    "conv_res0.weight": "first.weight",
    "emb_linear.weight": "modulation.weight",
    "conv_res1.weight": "second.weight",
    "conv_skip.weight": "shortcut.weight",
    "attn_qkv.weight": "attention.qkv.weight",
    "attn_proj.weight": "attention.out.weight",
}
OF_TRAINING = ("logvar_fourier.", "logvar_linear.")  # the uncertainty that weights the loss: no part of the denoiser


def from_edm2(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of an `edm2` network from that of EDM2's, with or without the `unet.` of its preconditioning.

    Queries, keys and values follow one another here; nothing else is changed, and what only training needs is left out.

    Raises ValueError for a name that EDM2's network does not have.
    """
    named = {name.removeprefix("unet."): w for name, w in weights.items() if not name.startswith(OF_TRAINING)}
    heights = sorted({int(match[2]) for name in named if (match := LEVEL.fullmatch(name))}, reverse=True)
    state: dict[str, Tensor] = {}
    for name, tensor in named.items():
        own = _own_name(name, heights)
        if own is None:
            raise ValueError(f"{name}: EDM2's network has no such weight; use weights of its configuration G")
        if own.endswith(".qkv.weight"):
            tensor = tensor.unflatten(0, (-1, 3)).transpose(0, 1).flatten(0, 1)
        state[own] = tensor
    return state


def _own_name(name: str, heights: list[int]) -> str | None:
    """The name here of a weight of EDM2's; None for one that is not of its network."""
    if name in MAPPING:
        return MAPPING[name]
    match = LEVEL.fullmatch(name)
    if match is None:
        return None
    side, height, place, rest = match.groups()
    if (side, place, rest) == ("enc", "conv", "weight"):
        return "first.weight"
    block = block_of(side, heights.index(int(height)), place, len(heights))
    return f"{block}.{PARTS[rest]}" if block and rest in PARTS else None
