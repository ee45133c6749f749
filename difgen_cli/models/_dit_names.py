"""Weights of the published DiT networks, and of diffusers' form of them, under the names that `dit.py` gives them."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

OUTER = {
    "x_embedder.proj": "first",
    "t_embedder.mlp.0": "embedding.first",
    "t_embedder.mlp.2": "embedding.second",
    "y_embedder.embedding_table": "embedding.labels.table",
    "final_layer.adaLN_modulation.1": "modulation",
    "final_layer.linear": "last",
}
INNER = {
    "adaLN_modulation.1": "modulation",
    "attn.qkv": "qkv",
    "attn.proj": "out",
    "mlp.fc1": "inner",
    "mlp.fc2": "outer",
}
BLOCK = re.compile(r"(blocks\.\d+)\.(.+)")
# diffusers' names: outside of blocks, and in them.
DIFFUSERS = {"pos_embed.proj": "first", "proj_out_1": "modulation", "proj_out_2": "last"}
DIFFUSERS_INNER = {
    "norm1.linear": "modulation",
    "attn1.to_out.0": "out",
    "ff.net.0.proj": "inner",
    "ff.net.2": "outer",
}
DIFFUSERS_EMBEDDING = {  # a copy in every block
    "timestep_embedder.linear_1": "embedding.first",
    "timestep_embedder.linear_2": "embedding.second",
    "class_embedder.embedding_table": "embedding.labels.table",
}
DIFFUSERS_BLOCK = re.compile(r"transformer_blocks\.(\d+)\.(.+)")
# What DiTTransformer2DModel takes that `dit` has one form of: other values are refused.
ONE_FORM: dict[str, Any] = {
    "activation_fn": "gelu-approximate", "attention_bias": True, "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False, "upcast_attention": False,
}  # fmt: skip


def from_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a `dit` network from that of a published one; fixed positions are left out, `dit` computes them.

    Raises ValueError for a name that DiT does not have.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if name == "pos_embed":
            continue
        layer, _, part = name.rpartition(".")
        match = BLOCK.fullmatch(layer)
        own = f"{match[1]}.{INNER[match[2]]}" if match and match[2] in INNER else OUTER.get(layer)
        if own is None:
            raise ValueError(f"{name}: DiT has no such weight; use weights of a published DiT")
        state[f"{own}.{part}"] = tensor
    return state


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `dit.build` for the `config.json` of a DiTTransformer2DModel.

    Raises ValueError for a value that `dit` has no form of.
    """
    for name, form in ONE_FORM.items():
        if (value := config.get(name, form)) != form:
            raise ValueError(f"{name}: {value!r} is not supported by dit; it has {form!r} alone")
    heads = config.get("num_attention_heads", 16)
    return {
        "width": heads * config.get("attention_head_dim", 72), "depth": config.get("num_layers", 28), "heads": heads,
        "patch": config.get("patch_size", 2), "freq_shift": 1, "mlp_eps": config.get("norm_eps", 1e-5),
    }  # fmt: skip


def from_diffusers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a `dit` network from that of a DiTTransformer2DModel of diffusers.

    Raises ValueError for a name that it does not have, and where the blocks embed noise level or label differently:
    `dit` does so once for all.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        layer, _, part = name.rpartition(".")
        match = DIFFUSERS_BLOCK.fullmatch(layer)
        if layer in DIFFUSERS:
            state[f"{DIFFUSERS[layer]}.{part}"] = tensor
        elif match and match[2] in DIFFUSERS_INNER:
            state[f"blocks.{match[1]}.{DIFFUSERS_INNER[match[2]]}.{part}"] = tensor
        elif match and (shared := DIFFUSERS_EMBEDDING.get(match[2].removeprefix("norm1.emb."))):
            if not torch.equal(state.setdefault(f"{shared}.{part}", tensor), tensor):
                raise ValueError(f"{name}: it differs from that of the first block, and dit has one for all blocks")
        elif match and match[2] == "attn1.to_q":
            others = [weights[f"transformer_blocks.{match[1]}.attn1.to_{kind}.{part}"] for kind in "kv"]
            state[f"blocks.{match[1]}.qkv.{part}"] = torch.cat([tensor, *others])
        elif name != "pos_embed.pos_embed" and not (match and match[2] in ("attn1.to_k", "attn1.to_v")):
            raise ValueError(f"{name}: diffusers' DiT has no such weight; use weights of a DiTTransformer2DModel")
    return state
