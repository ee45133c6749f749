"""Weights of the published DiT networks under the names that `dit.py` gives them."""

import re
from collections.abc import Mapping

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
