"""EDM2's network, configuration G, in few lines, by its published structure and names (Karras et al. 2024).

A known answer for `edm2`: layers are functions of a dictionary of weights, and nothing of the package is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Edm2Toy:
    """The settings of a network of EDM2's."""

    size: int = 8
    channels: int = 4
    width: int = 8
    multipliers: tuple[int, ...] = (1, 2, 3)
    blocks: int = 2
    attention: tuple[int, ...] = (4, 2)
    head: int = 4
    classes: int = 0

    @property
    def embedding(self) -> int:
        return self.width * max(self.multipliers)


def layers(toy: Edm2Toy) -> list[tuple[str, int, int, bool]]:
    """(name, inputs, outputs, attends) of every block of encoder and decoder, in order, without the first layer."""
    rows: list[tuple[str, int, int, bool]] = []
    skips, hidden = [toy.width], toy.width
    for level, multiplier in enumerate(toy.multipliers):
        size = toy.size >> level
        if level:
            rows.append((f"enc.{size}x{size}_down", hidden, hidden, False))
            skips.append(hidden)
        for index in range(toy.blocks):
            outputs = toy.width * multiplier
            rows.append((f"enc.{size}x{size}_block{index}", hidden, outputs, size in toy.attention))
            hidden = outputs
            skips.append(hidden)
    for level in reversed(range(len(toy.multipliers))):
        size = toy.size >> level
        if level == len(toy.multipliers) - 1:
            rows.append((f"dec.{size}x{size}_in0", hidden, hidden, True))
            rows.append((f"dec.{size}x{size}_in1", hidden, hidden, False))
        else:
            rows.append((f"dec.{size}x{size}_up", hidden, hidden, False))
        for index in range(toy.blocks + 1):
            outputs = toy.width * toy.multipliers[level]
            rows.append((f"dec.{size}x{size}_block{index}", hidden + skips.pop(), outputs, size in toy.attention))
            hidden = outputs
    return rows


def random_weights(toy: Edm2Toy, seed: int = 0) -> Weights:
    """Weights of every layer at random, of no particular length, and gains that are not zero."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    weights = {
        "emb_fourier.freqs": 2 * math.pi * normal(toy.width), "emb_fourier.phases": 3 + normal(toy.width),
        "emb_noise.weight": normal(toy.embedding, toy.width),
        f"enc.{toy.size}x{toy.size}_conv.weight": normal(toy.width, toy.channels + 1, 3, 3),
        "out_gain": normal(), "out_conv.weight": normal(toy.channels, layers(toy)[-1][2], 3, 3),
    }  # fmt: skip
    if toy.classes:
        weights["emb_label.weight"] = normal(toy.embedding, toy.classes)
    for name, inputs, outputs, attends in layers(toy):
        within = outputs if name.startswith("enc.") else inputs
        weights[f"{name}.emb_gain"] = normal()
        weights[f"{name}.conv_res0.weight"] = 3 * normal(outputs, within, 3, 3)
        weights[f"{name}.emb_linear.weight"] = normal(outputs, toy.embedding)
        weights[f"{name}.conv_res1.weight"] = normal(outputs, outputs, 3, 3)
        if inputs != outputs:
            weights[f"{name}.conv_skip.weight"] = normal(outputs, inputs, 1, 1)
        if attends:
            weights[f"{name}.attn_qkv.weight"] = normal(3 * outputs, outputs, 1, 1)
            weights[f"{name}.attn_proj.weight"] = 0.1 * normal(outputs, outputs, 1, 1)
    return weights


def evaluate(toy: Edm2Toy, weights: Weights, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
    """F(x; noise); `labels` (B, classes) one-hot or zeros."""
    embedding = math.sqrt(2) * torch.cos(
        noise[:, None] * weights["emb_fourier.freqs"][None] + weights["emb_fourier.phases"][None]
    )
    embedding = _layer(weights, "emb_noise", embedding)
    if labels is not None:
        embedding = _sum(embedding, _layer(weights, "emb_label", labels * math.sqrt(toy.classes)), 0.5)
    embedding = _silu(embedding)
    x = torch.cat([x, torch.ones(len(x), 1, *x.shape[2:])], dim=1)
    x = _layer(weights, f"enc.{toy.size}x{toy.size}_conv", x)
    skips = [x]
    for name, *_, attends in layers(toy):
        if name.startswith("dec.") and "_block" in name:
            x = _cat(x, skips.pop(), 0.5)
        x = _block(toy, weights, name, x, embedding, attends)
        if name.startswith("enc."):
            skips.append(x)
    assert not skips
    return _layer(weights, "out_conv", x) * weights["out_gain"]


def _block(toy: Edm2Toy, weights: Weights, name: str, x: Tensor, embedding: Tensor, attends: bool) -> Tensor:
    if name.endswith("_down"):
        x = functional.avg_pool2d(x, 2)
    if name.endswith("_up"):
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    skip = f"{name}.conv_skip" if f"{name}.conv_skip.weight" in weights else None
    encodes = name.startswith("enc.")
    if encodes:
        x = _layer(weights, skip, x) if skip else x
        x = x / (x.square().mean(dim=1, keepdim=True).sqrt() + 1e-4)
    y = _layer(weights, f"{name}.conv_res0", _silu(x))
    scale = 1 + weights[f"{name}.emb_gain"] * _layer(weights, f"{name}.emb_linear", embedding)
    y = _layer(weights, f"{name}.conv_res1", _silu(y * scale[:, :, None, None]))
    x = _sum(_layer(weights, skip, x) if skip and not encodes else x, y, 0.3)
    if attends:
        b, c, h, w = x.shape
        qkv = _layer(weights, f"{name}.attn_qkv", x).reshape(b, c // toy.head, toy.head, 3, h * w)
        qkv = qkv / (qkv.square().mean(dim=2, keepdim=True).sqrt() + 1e-4)
        query, key, value = qkv.unbind(3)  # (B, heads, channels of a head, H W)
        shares = torch.einsum("bhcq,bhck->bhqk", query, key / math.sqrt(toy.head)).softmax(dim=3)
        attended = torch.einsum("bhqk,bhck->bhcq", shares, value).reshape(b, c, h, w)
        x = _sum(x, _layer(weights, f"{name}.attn_proj", attended), 0.3)
    return x.clip(-256, 256)


def _layer(weights: Weights, name: str, x: Tensor) -> Tensor:
    """A convolution or linear layer whose weights have unit length for every output."""
    weight = weights[f"{name}.weight"].double()
    rows = weight.flatten(1)
    fan = rows.shape[1]
    rows = rows / (rows.square().mean(dim=1, keepdim=True).sqrt() + 1e-4) / math.sqrt(fan)
    weight = rows.view_as(weight).float()
    return x @ weight.T if weight.dim() == 2 else functional.conv2d(x, weight, padding=weight.shape[-1] // 2)


def _silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x) / 0.596


def _sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    return ((1 - t) * a + t * b) / math.sqrt((1 - t) ** 2 + t**2)


def _cat(a: Tensor, b: Tensor, t: float) -> Tensor:
    (n, m) = a.shape[1], b.shape[1]
    scale = math.sqrt((n + m) / ((1 - t) ** 2 + t**2))
    return torch.cat([a * scale * (1 - t) / math.sqrt(n), b * scale * t / math.sqrt(m)], dim=1)
