"""EDM's DDPM++ and NCSN++ in few lines, by their published structure and parameter names (Karras et al. 2022).

A known answer for `ddpmpp`: layers are functions of a dictionary of weights, and nothing of the package is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Edm:
    """The settings of a network of EDM's."""

    size: int = 8
    channels: int = 3
    width: int = 8
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: int = 2
    attention: tuple[int, ...] = (4,)
    classes: int = 0
    augment: int = 0
    fourier: bool = False
    residual: bool = False
    taps: tuple[int, ...] = (1, 1)

    @property
    def features(self) -> int:
        return self.width * (2 if self.fourier else 1)


def random_weights(edm: Edm, seed: int = 0) -> Weights:
    """Weights of every layer at random, so that none is without effect."""
    generator = torch.Generator().manual_seed(seed)
    weights: Weights = {}

    def draw(name: str, *shape: int) -> None:
        fan = math.prod(shape[1:]) or 1
        weights[name] = torch.randn(shape, generator=generator) / math.sqrt(fan)

    def linear(name: str, inputs: int, outputs: int, *kernel: int, bias: bool = True) -> None:
        draw(f"{name}.weight", outputs, inputs, *kernel)
        if bias:
            weights[f"{name}.bias"] = 0.2 * torch.randn(outputs, generator=generator)

    def norm(name: str, channels: int) -> None:
        weights[f"{name}.weight"] = 1 + 0.2 * torch.randn(channels, generator=generator)
        weights[f"{name}.bias"] = 0.2 * torch.randn(channels, generator=generator)

    for kind, name, inputs, outputs, attends in layers(edm):
        if kind == "conv":
            linear(name, inputs, outputs, 3, 3)
        elif kind == "norm":
            norm(name, inputs)
        else:
            norm(f"{name}.norm0", inputs)
            linear(f"{name}.conv0", inputs, outputs, 3, 3)
            linear(f"{name}.affine", 4 * edm.width, outputs)
            norm(f"{name}.norm1", outputs)
            linear(f"{name}.conv1", outputs, outputs, 3, 3)
            if inputs != outputs or kind in ("down", "up"):
                linear(f"{name}.skip", inputs, outputs, 1, 1)
            if kind in ("down", "up"):
                weights[f"{name}.conv0.resample_filter"] = torch.ones(1, 1, len(edm.taps), len(edm.taps))
            if attends:
                norm(f"{name}.norm2", outputs)
                linear(f"{name}.qkv", outputs, 3 * outputs, 1, 1)
                linear(f"{name}.proj", outputs, outputs, 1, 1)
    if edm.fourier:
        weights["map_noise.freqs"] = 2 * torch.randn(edm.features // 2, generator=generator)
    if edm.classes:
        linear("map_label", edm.classes, edm.features)
    if edm.augment:
        linear("map_augment", edm.augment, edm.features, bias=False)
    linear("map_layer0", edm.features, 4 * edm.width)
    linear("map_layer1", 4 * edm.width, 4 * edm.width)
    return weights


def layers(edm: Edm) -> list[tuple[str, str, int, int, bool]]:
    """(kind, name, inputs, outputs, attends) of every layer of encoder and decoder, in order."""
    rows: list[tuple[str, str, int, int, bool]] = []
    skips: list[int] = []
    hidden, image = edm.channels, edm.channels
    for level, multiplier in enumerate(edm.multipliers):
        size = edm.size >> level
        here, outputs = f"{size}x{size}", edm.width * multiplier
        if level == 0:
            rows.append(("conv", f"enc.{here}_conv", hidden, edm.width, False))
            hidden = edm.width
            skips.append(hidden)
        else:
            rows.append(("down", f"enc.{here}_down", hidden, hidden, False))
            skips.append(hidden)
            if edm.residual:
                rows.append(("conv", f"enc.{here}_aux_residual", image, hidden, False))
                image = hidden
        for index in range(edm.blocks):
            rows.append(("block", f"enc.{here}_block{index}", hidden, outputs, size in edm.attention))
            hidden = outputs
            skips.append(hidden)
    for level in reversed(range(len(edm.multipliers))):
        size = edm.size >> level
        here, outputs = f"{size}x{size}", edm.width * edm.multipliers[level]
        if level == len(edm.multipliers) - 1:
            rows.append(("block", f"dec.{here}_in0", hidden, hidden, True))
            rows.append(("block", f"dec.{here}_in1", hidden, hidden, False))
        else:
            rows.append(("up", f"dec.{here}_up", hidden, hidden, False))
        for index in range(edm.blocks + 1):
            attends = index == edm.blocks and size in edm.attention
            rows.append(("block", f"dec.{here}_block{index}", hidden + skips.pop(), outputs, attends))
            hidden = outputs
    here = f"{edm.size}x{edm.size}"
    rows.append(("norm", f"dec.{here}_aux_norm", hidden, hidden, False))
    rows.append(("conv", f"dec.{here}_aux_conv", hidden, edm.channels, False))
    return rows


def evaluate(
    edm: Edm, weights: Weights, x: Tensor, noise: Tensor, labels: Tensor | None = None, augment: Tensor | None = None
) -> Tensor:
    """F(x; noise); `labels` (B, classes) one-hot or zeros, `augment` (B, augment) or None."""
    embedding = _embedding(edm, weights, noise, labels, augment)
    skips: list[Tensor] = []
    hidden, image = x, x
    for kind, name, inputs, _, attends in layers(edm):
        if name.endswith("aux_residual"):
            kernel = _kernel(edm.taps)
            edge = (len(edm.taps) - 1) // 2
            image = functional.conv2d(image, weights[f"{name}.weight"], padding=1 + edge)
            channels = image.shape[1]
            image = functional.conv2d(image, kernel.expand(channels, 1, -1, -1), stride=2, groups=channels)
            image = image + weights[f"{name}.bias"].view(1, -1, 1, 1)
            hidden = image = (hidden + image) / math.sqrt(2)
            skips[-1] = hidden
        elif kind == "norm":
            hidden = functional.silu(_norm(weights, name, hidden))
        elif kind == "conv":
            hidden = _conv(weights, name, hidden)
        else:
            if hidden.shape[1] != inputs:
                hidden = torch.cat([hidden, skips.pop()], dim=1)
            hidden = _block(edm, weights, name, kind, hidden, embedding, attends)
        if name.startswith("enc.") and not name.endswith("aux_residual"):
            skips.append(hidden)
    assert not skips
    return hidden


def _embedding(edm: Edm, weights: Weights, noise: Tensor, labels: Tensor | None, augment: Tensor | None) -> Tensor:
    if edm.fourier:
        angles = torch.outer(noise, 2 * math.pi * weights["map_noise.freqs"])
    else:
        half = edm.features // 2
        angles = torch.outer(noise, (1 / 10_000) ** (torch.arange(half) / (half - 1)))
    features = torch.cat([angles.cos(), angles.sin()], dim=1)
    features = features.reshape(len(features), 2, -1).flip(1).reshape(features.shape)  # EDM swaps the two
    if edm.classes:
        assert labels is not None
        features = features + functional.linear(
            labels * math.sqrt(edm.classes), weights["map_label.weight"], weights["map_label.bias"]
        )
    if augment is not None:
        features = features + functional.linear(augment, weights["map_augment.weight"])
    for name in ("map_layer0", "map_layer1"):
        features = functional.silu(functional.linear(features, weights[f"{name}.weight"], weights[f"{name}.bias"]))
    return features


def _block(edm: Edm, weights: Weights, name: str, kind: str, x: Tensor, embedding: Tensor, attends: bool) -> Tensor:
    hidden = _resized(edm, functional.silu(_norm(weights, f"{name}.norm0", x)), kind)
    hidden = _conv(weights, f"{name}.conv0", hidden)
    shift = functional.linear(embedding, weights[f"{name}.affine.weight"], weights[f"{name}.affine.bias"])
    hidden = functional.silu(_norm(weights, f"{name}.norm1", hidden + shift[:, :, None, None]))
    hidden = _conv(weights, f"{name}.conv1", hidden)
    shortcut = _resized(edm, x, kind)
    if f"{name}.skip.weight" in weights:
        shortcut = _conv(weights, f"{name}.skip", shortcut)
    hidden = (hidden + shortcut) * math.sqrt(0.5)
    if not attends:
        return hidden
    b, c, h, w = hidden.shape
    qkv = _conv(weights, f"{name}.qkv", _norm(weights, f"{name}.norm2", hidden)).reshape(b, c, 3, h * w)
    query, key, value = qkv.unbind(2)  # (B, C, H W)
    shares = torch.einsum("bcq,bck->bqk", query, key / math.sqrt(c)).softmax(dim=2)
    attended = torch.einsum("bqk,bck->bcq", shares, value).reshape(b, c, h, w)
    return (hidden + _conv(weights, f"{name}.proj", attended)) * math.sqrt(0.5)


def _resized(edm: Edm, x: Tensor, kind: str) -> Tensor:
    if kind not in ("down", "up"):
        return x
    channels, padding = x.shape[1], (len(edm.taps) - 1) // 2
    kernel = _kernel(edm.taps).expand(channels, 1, -1, -1)
    if kind == "down":
        return functional.conv2d(x, kernel, stride=2, padding=padding, groups=channels)
    return functional.conv_transpose2d(x, 4 * kernel, stride=2, padding=padding, groups=channels)


def _kernel(taps: tuple[int, ...]) -> Tensor:
    row = torch.tensor(taps, dtype=torch.float32)
    return (torch.outer(row, row) / row.sum() ** 2)[None, None]


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    groups = min(32, x.shape[1] // 4)
    return functional.group_norm(x, groups, weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-6)


def _conv(weights: Weights, name: str, x: Tensor) -> Tensor:
    kernel = weights[f"{name}.weight"]
    return functional.conv2d(x, kernel, weights[f"{name}.bias"], padding=kernel.shape[-1] // 2)
