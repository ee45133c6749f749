"""The peers: training loops and a sampler as textbooks and examples have them, each written plainly after its source.

They share the network with difgen, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


def precondition(network: nn.Module, sigma_data: float, x: Tensor, sigma: Tensor) -> Tensor:
    """D(x; σ) for σ of shape (B, 1, …) (Karras et al. 2022, eq. 7 and table 1)."""
    c_skip = sigma_data**2 / (sigma**2 + sigma_data**2)
    c_out = sigma * sigma_data / (sigma**2 + sigma_data**2).sqrt()
    c_in = 1 / (sigma_data**2 + sigma**2).sqrt()
    c_noise = sigma.log() / 4
    return c_skip * x + c_out * network(c_in * x, c_noise.flatten(), None)


def train(
    network: nn.Module, images: Tensor, sigma_data: float, *, batch: int, lr: float, ema: float
) -> Iterator[float]:
    """The EDM loss by a plain loop: DataLoader, Adam as it comes, the average parameter by parameter, loss.item()."""
    average = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    loader = DataLoader(TensorDataset(images), batch_size=batch, shuffle=True, drop_last=True)
    device = next(network.parameters()).device
    while True:
        for (drawn,) in loader:
            x = drawn.to(device)
            sigma = (torch.randn([len(x)] + [1] * (x.dim() - 1), device=device) * 1.2 - 1.2).exp()
            weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
            denoised = precondition(network, sigma_data, x + torch.randn_like(x) * sigma, sigma)
            loss = (weight * (denoised - x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for mean, p in zip(average, network.parameters(), strict=True):
                    mean.mul_(ema).add_(p, alpha=1 - ema)
            yield loss.item()


def diffusers_unet(size: int) -> nn.Module:
    """UNet2DModel of about the operations of models/unet.py with width 16, depth 1, multipliers (1, 2, 2)."""
    from diffusers import UNet2DModel

    made: nn.Module = UNet2DModel(
        sample_size=size,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(16, 24, 32),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        norm_num_groups=4,
        attention_head_dim=32,
    )
    return made


def train_diffusers(network: Any, images: Tensor, *, batch: int, steps: int) -> Iterator[float]:
    """The loop of diffusers' example of unconditional image generation, with its defaults, EMA on."""
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_cosine_schedule_with_warmup
    from diffusers.training_utils import EMAModel

    ema = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=3 / 4)
    noise_scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    loader = DataLoader(TensorDataset(images), batch_size=batch, shuffle=True, drop_last=True)
    rate = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=500, num_training_steps=steps)
    while True:
        for (clean,) in loader:
            noise = torch.randn(clean.shape)
            timesteps = torch.randint(0, noise_scheduler.config.num_train_timesteps, (len(clean),)).long()
            noisy = noise_scheduler.add_noise(clean, noise, timesteps)
            predicted = network(noisy, timesteps).sample
            loss = functional.mse_loss(predicted.float(), noise.float())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
            ema.step(network.parameters())
            yield loss.detach().item()


@torch.no_grad()
def sample(
    network: nn.Module, noise: Tensor, sigma_data: float, *, steps: int, sigma_min: float, sigma_max: float, rho: float
) -> Tensor:
    """Algorithm 1 of Karras et al. 2022 with a float64 state, the network in float32; σ absolute."""
    place = torch.arange(steps, dtype=torch.float64) / max(1, steps - 1)
    levels = (sigma_max ** (1 / rho) + place * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    levels = torch.cat([levels, torch.zeros(1, dtype=torch.float64)])

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.to(torch.float32).expand(len(x)).reshape(-1, *[1] * (x.dim() - 1))
        return precondition(network, sigma_data, x.to(torch.float32), level).to(torch.float64)

    x = noise.to(torch.float64) * levels[0]
    for sigma, following in pairwise(levels):
        slope = (x - denoise(x, sigma)) / sigma
        euler = x + (following - sigma) * slope
        if following > 0:
            slope_there = (euler - denoise(euler, following)) / following
            euler = x + (following - sigma) * (slope + slope_there) / 2
        x = euler
    return x
