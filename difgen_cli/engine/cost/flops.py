"""The work of a network: floating-point operations and bytes moved for an image, counted without computing anything.

Every operation of one pass is seen on the meta device, where arrays have shapes and no numbers. FLOPs are those of
matrix products, convolutions and attention, 2 for a multiplication and an addition, without recomputation. Bytes are
those of operations one at a time: each reads its distinct inputs once and writes its outputs once, views move nothing,
attention is one operation. A step that fuses operations moves fewer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

VERSION = 1  # of the way of counting
BYTES = {"fp32": 4, "tf32": 4, "bf16": 2}  # of an activation, by the precision of training
MASTER_BYTES = 4  # of a weight, its gradient's average, its square's and its own, whatever the precision
# AdamW and the average read weight, gradient, both moments and average, and write all but the gradient.
PASSES_OF_A_STEP = 9
UNTOUCHED = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")  # given, not written
ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True)
class NetworkWork:
    """What one image takes: operations of matrix products and convolutions, and bytes that move to and from memory."""

    flops: float
    bytes: float


def training(network: nn.Module, shape: tuple[int, ...], batch: int, precision: str = "fp32") -> NetworkWork | None:
    """The work of one training image in a step of `batch`: forward, backward, and its share of AdamW and the average.

    `shape` (C, H, W) or (D,); `precision`: fp32, tf32 or bf16, in which activations are counted. The network is neither
    run nor changed. None where it cannot be counted, as where it looks at the values of its input.
    """
    work = _count(network, shape, batch, precision, backward=True)
    if work is None:
        return None
    weights = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return NetworkWork(work.flops, work.bytes + weights * MASTER_BYTES * PASSES_OF_A_STEP / batch)


def evaluation(network: nn.Module, shape: tuple[int, ...], batch: int, precision: str = "fp32") -> NetworkWork | None:
    """The work of one evaluation of the network for one image in a batch of `batch`; None as for `training`."""
    return _count(network, shape, batch, precision, backward=False)


def _count(
    network: nn.Module, shape: tuple[int, ...], batch: int, precision: str, *, backward: bool
) -> NetworkWork | None:
    try:
        twin = _on_meta(network).train(backward)
        x = torch.empty(batch, *shape, device="meta")
        noise = torch.empty(batch, device="meta")
        labels = torch.zeros(batch, dtype=torch.int64, device="meta") if getattr(network, "classes", 0) else None
        flops = FlopCounterMode(display=False, custom_mapping=ATTENTION_FLOPS)
        moved = Moved(BYTES[precision])
        with torch.set_grad_enabled(backward), OneAttention(), flops, moved:
            output = twin(x, noise, labels)
            if backward:
                output.backward(torch.empty_like(output))
    except Exception:  # a plug-in may be anything; not to know its work harms nothing
        return None
    return NetworkWork(flops.get_total_flops() / batch, moved.bytes / batch)


def _on_meta(network: nn.Module) -> nn.Module:
    """The network with its weights and buffers on the meta device: a copy that takes no memory."""
    twins: dict[int, Any] = {id(b): b.to("meta") for b in network.buffers()}
    twins |= {id(p): nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in network.parameters()}
    return copy.deepcopy(network, twins)


class Moved(TorchDispatchMode):
    """Sums the bytes of all that operations within read and write; a number counts `size` bytes at most."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func.overloadpacket.__name__ not in UNTOUCHED:
            self.bytes += self._all(tree_leaves((args, kwargs))) + self._all(tree_leaves(result))
        return result

    def _all(self, leaves: Iterable[Any]) -> int:
        """Bytes of the distinct tensors; one that repeats its numbers, as after `expand`, has them once."""
        distinct = {id(t): t for t in leaves if isinstance(t, Tensor)}.values()
        return sum(
            _numbers(t) * (min(self.size, t.itemsize) if t.is_floating_point() else t.itemsize) for t in distinct
        )


def _numbers(tensor: Tensor) -> int:
    """How many numbers a tensor has in memory."""
    return math.prod(n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or not n)


class OneAttention(TorchFunctionMode):
    """Attention within is one operation, as it runs, and not the products and the softmax that it means."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.scaled_dot_product_attention:
            return _attention(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attention(
    func: Any, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """Attention as one operation where that takes such arguments; else as torch has it for this device."""
    alike = query.dim() == 4 and query.shape[:2] == key.shape[:2] and query.shape[-1] == value.shape[-1]
    if enable_gqa or not alike:
        result: Tensor = func(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        return result
    # Dropout inside moves nothing.
    output: Tensor = ATTENTION(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale)[0]
    return output


def _attention_flops(query: tuple[int, ...], key: tuple[int, ...], *others: Any, out_shape: Any = None) -> int:
    """Q Kᵀ and its product with V: (B, heads, S, d) and (B, heads, T, d)."""
    batch, heads, length, channels = query
    return 4 * batch * heads * length * key[2] * channels


def _attention_backward_flops(
    gradient: tuple[int, ...], query: tuple[int, ...], key: tuple[int, ...], *others: Any, **more: Any
) -> int:
    """Four products: the gradients of the weights, of V, of Q and of K; not those that are computed a second time."""
    return 2 * _attention_flops(query, key)


ATTENTION_FLOPS = {ATTENTION: _attention_flops, ATTENTION_BACKWARD: _attention_backward_flops}
