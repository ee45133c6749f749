"""Small networks under published names, with weights of a seed: what peers were given to make the golden values."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

Entries = dict[str, Tensor]


def seeded(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Entries:
    """Weights 0.2 · normal in the order of their names; factors of norms and of LayerScale are around 1."""
    rng, made = np.random.default_rng(seed), {}
    for name, shape in sorted(shapes.items()):
        values = 0.2 * rng.standard_normal(shape)
        factor = name.endswith(("gamma", "running_var")) or (
            ("norm" in name or "ln_" in name) and name.endswith("weight")
        )
        made[name] = torch.from_numpy((values + factor).astype(np.float32))
    return made


def dinov2(grid: int, width: int = 128, hidden: int = 512, depth: int = 2) -> Entries:
    """By the names of dinov2_vit*14_pretrain.pth, patches of 14 pixels, without the mask token."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + grid**2, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for block in range(depth):
        layers = {"attn.qkv": (3 * width, width), "attn.proj": (width, width), "mlp.fc1": (hidden, width),
                  "mlp.fc2": (width, hidden), "norm1": (width,), "norm2": (width,)}  # fmt: skip
        for layer, shape in layers.items():
            shapes |= {f"blocks.{block}.{layer}.weight": shape, f"blocks.{block}.{layer}.bias": shape[:1]}
        shapes |= {f"blocks.{block}.ls{i}.gamma": (width,) for i in (1, 2)}
    return seeded(shapes)


def vit(grid: int, width: int = 128, hidden: int = 512, depth: int = 2) -> Entries:
    """A plain vision transformer by timm's names, patches of 16 pixels."""
    entries = dinov2(grid, width, hidden, depth)
    plain = {name: tuple(value.shape) for name, value in entries.items() if not name.endswith("gamma")}
    return seeded(plain | {"patch_embed.proj.weight": (width, 3, 16, 16)})


def clip(grid: int = 3, width: int = 128, hidden: int = 256, depth: int = 2, outputs: int = 16) -> Entries:
    """The image tower by the names of OpenAI's ViT-B-32.pt without `visual.`, patches of 14 pixels."""
    shapes: dict[str, tuple[int, ...]] = {
        "class_embedding": (width,),
        "positional_embedding": (1 + grid**2, width),
        "proj": (width, outputs),
        "conv1.weight": (width, 3, 14, 14),
    }
    for norm in ("ln_pre", "ln_post"):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    for block in range(depth):
        at = f"transformer.resblocks.{block}."
        layers = {"attn.out_proj": (width, width), "mlp.c_fc": (hidden, width), "mlp.c_proj": (width, hidden),
                  "ln_1": (width,), "ln_2": (width,)}  # fmt: skip
        for layer, shape in layers.items():
            shapes |= {f"{at}{layer}.weight": shape, f"{at}{layer}.bias": shape[:1]}
        shapes |= {f"{at}attn.in_proj_weight": (3 * width, width), f"{at}attn.in_proj_bias": (3 * width,)}
    return seeded(shapes)


def sscd() -> Entries:
    """ResNet-50 by the names of sscd_disc_mixup.torchvision.pt without `backbone.`, scaled by He's rule."""
    rng, made = np.random.default_rng(0), {}

    def convolution(name: str, outputs: int, inputs: int, kernel: int) -> None:
        values = rng.standard_normal((outputs, inputs, kernel, kernel)) * np.sqrt(2 / (inputs * kernel**2))
        made[f"{name}.weight"] = torch.from_numpy(values.astype(np.float32))

    def norm(name: str, channels: int) -> None:
        for part, around in (("weight", 0.7), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            values = around + 0.1 * rng.uniform(-1, 1, channels)
            made[f"{name}.{part}"] = torch.from_numpy(values.astype(np.float32))

    convolution("conv1", 64, 3, 7)
    norm("bn1", 64)
    inputs = 64
    for layer, depth in enumerate((3, 4, 6, 3), start=1):
        width = 32 * 2**layer
        for block in range(depth):
            at = f"layer{layer}.{block}"
            for i, (before, after, kernel) in enumerate(
                ((inputs, width, 1), (width, width, 3), (width, 4 * width, 1)), start=1
            ):
                convolution(f"{at}.conv{i}", after, before, kernel)
                norm(f"{at}.bn{i}", after)
            if block == 0:
                convolution(f"{at}.downsample.0", 4 * width, inputs, 1)
                norm(f"{at}.downsample.1", 4 * width)
            inputs = 4 * width
    made["fc.weight"] = torch.from_numpy(0.05 * rng.standard_normal((512, 2048)).astype(np.float32))
    made["fc.bias"] = torch.from_numpy(0.05 * rng.standard_normal(512).astype(np.float32))
    return made


def images(shape: tuple[int, ...]) -> np.ndarray:
    """Levels 0 … 255 of a seed, uint8: smooth waves with noise on them."""
    n, height, width, channels = shape
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    frequency, phase = rng.uniform(0.1, 0.6, (2, n, channels)), rng.uniform(0, 6, (n, channels))
    waves = np.sin(np.einsum("hw,nc->nhwc", y, frequency[0]) + np.einsum("hw,nc->nhwc", x, frequency[1])
                   + phase[:, None, None, :])  # fmt: skip
    return np.clip(127 + 80 * waves + 30 * rng.standard_normal(shape), 0, 255).astype(np.uint8)
