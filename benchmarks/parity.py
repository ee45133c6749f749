"""A model that diffusers trains and saves, read by difgen: the same images from the same noise, and the same losses.

    python benchmarks/parity.py --seconds 120 --data FILE.parquet

For each way to predict and each schedule, diffusers' own classes train a UNet2DModel, in the loop of its example of
unconditional image generation, and save it in that example's layout: the pipeline, and a checkpoint with the running
average. difgen reads the folder, and then

- diffusers' sampler and difgen's begin from the same noise: DDIM beside `euler` and `ddpm` with eta 0; DDPM, with the
  same noise in every step, beside `ddpm` with eta 1; the Euler steps of a flow beside `euler`;
- the loss that diffusers trains on is computed by diffusers, and by difgen from its denoiser, at ten timesteps.

diffusers clips its estimate of the clean image to [-1, 1] where `clip_sample` is not turned off, and difgen does not;
here it is turned off.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from difgen_cli import data, pretrained
from difgen_cli.data import digits, parquet
from difgen_cli.diffusion import Denoiser, to_tensor
from difgen_cli.metrics._noise import Bank, bank, losses
from difgen_cli.sampling import Walk, ddpm, euler

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what diffusers imports
    import diffusers
    from diffusers.training_utils import EMAModel

diffusers.logging.set_verbosity_error()
diffusers.logging.disable_progress_bar()
PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow")
SCHEDULES: dict[str, dict[str, Any]] = {
    "linear": {"beta_schedule": "linear"},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "squaredcos_cap_v2": {"beta_schedule": "squaredcos_cap_v2"},
    "trained_betas": {"trained_betas": np.linspace(2e-4, 0.015, 1000).tolist()},
}
# What diffusers trains on, as a multiple of the squared error of the clean image, at s = σ / u.
MULTIPLES: dict[str, Callable[[float], float]] = {
    "epsilon": lambda s: s**-2, "sample": lambda s: 1.0, "v_prediction": lambda s: 1 + s**-2,
    "flow": lambda s: (1 + 1 / s) ** 2,
}  # fmt: skip
TIMES = (10, 50, 100, 200, 300, 400, 500, 600, 800, 950)  # at which losses are compared
FLOW_STARTS = 0.999  # the time at which a flow begins: at 1 there is no σ


def scheduler_of(prediction: str, schedule: str) -> Any:
    """The scheduler that diffusers trains with; a flow has no schedule."""
    if prediction == "flow":
        return diffusers.FlowMatchEulerDiscreteScheduler()
    return diffusers.DDPMScheduler(prediction_type=prediction, clip_sample=False, **SCHEDULES[schedule])


def train(
    folder: Path, images: Tensor, prediction: str, scheduler: Any, *, steps: int, seconds: float = float("inf"),
    batch: int = 32, widths: Sequence[int] = (16, 32),
) -> int:  # fmt: skip
    """Train for so many steps, or seconds of the processor, and save to `folder`; returns the steps.

    images: (N, C, H, H), scaled
    """
    torch.manual_seed(0)
    network = diffusers.UNet2DModel(
        sample_size=images.shape[-1], in_channels=images.shape[1], out_channels=images.shape[1], layers_per_block=1,
        block_out_channels=tuple(widths), norm_num_groups=8, attention_head_dim=8,
        down_block_types=("DownBlock2D",) * (len(widths) - 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (len(widths) - 1),
    )  # fmt: skip
    average = EMAModel(
        network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75,
        model_cls=diffusers.UNet2DModel, model_config=network.config,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, betas=(0.95, 0.999), weight_decay=1e-6)
    step, end = 0, time.process_time() + seconds
    while step < steps and time.process_time() < end:
        clean = images[torch.randint(len(images), (batch,))]
        noise, times = torch.randn_like(clean), torch.randint(1000, (batch,))
        noisy, target = noised(scheduler, prediction, clean, noise, times)
        functional.mse_loss(network(noisy, times).sample, target).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(network.parameters())
        step += 1
    checkpoint = folder / f"checkpoint-{step}"
    network.save_pretrained(checkpoint / "unet")
    average.save_pretrained(checkpoint / "unet_ema")
    average.copy_to(network.parameters())
    diffusers.DDPMPipeline(network, scheduler).save_pretrained(folder)
    return step


def noised(scheduler: Any, prediction: str, clean: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """What diffusers gives its network, and what it wants of it."""
    if prediction == "flow":
        t = (times / 1000).view(-1, 1, 1, 1)
        return (1 - t) * clean + t * noise, noise - clean
    noisy = scheduler.add_noise(clean, noise, times)
    if prediction == "epsilon":
        return noisy, noise
    return noisy, clean if prediction == "sample" else scheduler.get_velocity(clean, noise, times)


class SameNoise:
    """A sampler's source of noise that draws what diffusers draws."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def normal(self, x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=self.generator)


def images_of(walk: Walk) -> np.ndarray:
    """The last state of a walk, as a pipeline of diffusers gives images: (n, H, W, C) in [0, 1]."""
    *_, (_, x) = walk
    return np.asarray((x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy())


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@torch.no_grad()
def sampled_differences(folder: Path, denoiser: Denoiser, steps: int, count: int) -> dict[str, float]:
    """The largest difference of a pixel between diffusers' images, in [0, 1], and ours: of each pair of samplers."""
    pipeline = diffusers.DDPMPipeline.from_pretrained(folder)
    shape = (count, pipeline.unet.config.in_channels, *[pipeline.unet.config.sample_size] * 2)
    if isinstance(pipeline.scheduler, diffusers.FlowMatchEulerDiscreteScheduler):
        return {"euler of a flow": flow_difference(pipeline, denoiser, steps, shape)}
    ancestral = pipeline.scheduler
    ancestral.set_timesteps(steps)
    kept = ancestral.alphas_cumprod[ancestral.timesteps].double()
    levels = [*((1 - kept) / kept).sqrt().tolist(), 0.0]
    begin = torch.randn(shape, generator=seeded()) / float(kept[0]) ** 0.5
    quiet = {"batch_size": count, "num_inference_steps": steps, "output_type": "np"}
    implicit = diffusers.DDIMPipeline(pipeline.unet, diffusers.DDIMScheduler.from_config(ancestral.config))
    for each in (pipeline, implicit):
        each.set_progress_bar_config(disable=True)
    theirs = {
        "ddpm": pipeline(generator=seeded(), **quiet).images,
        "ddim": implicit(generator=seeded(), **quiet).images,
    }
    rng = SameNoise(seeded())
    rng.normal(begin)  # that of the beginning
    ours = {
        "euler": ("ddim", euler.sample(denoiser, begin, levels, None)),
        "ddpm, eta 0": ("ddim", ddpm.sample(denoiser, begin, levels, None, rng, eta=0.0)),
        "ddpm, eta 1": ("ddpm", ddpm.sample(denoiser, begin, levels, None, rng, eta=1.0)),
    }
    return {name: float(abs(images_of(walk) - theirs[other]).max()) for name, (other, walk) in ours.items()}


def flow_difference(pipeline: Any, denoiser: Denoiser, steps: int, shape: tuple[int, ...]) -> float:
    """The same for the Euler steps of a flow: x / (1 − t) and t / (1 − t) take the places of x and t."""
    pipeline.scheduler.set_timesteps(sigmas=np.linspace(FLOW_STARTS, 0, steps, endpoint=False).tolist())
    begin = x = torch.randn(shape, generator=seeded())
    for t in pipeline.scheduler.timesteps:
        x = pipeline.scheduler.step(pipeline.unet(x, t).sample, t, x).prev_sample
    times = pipeline.scheduler.sigmas.double().tolist()
    walk = euler.sample(denoiser, begin / (1 - times[0]), [t / (1 - t) for t in times], None)
    return float(abs(images_of(walk) - images_of(iter([(0.0, x)]))).max())


@torch.no_grad()
def loss_differences(
    folder: Path, denoiser: Denoiser, prediction: str, images: np.ndarray, times: Sequence[int]
) -> Iterator[tuple[int, float, float]]:
    """Timestep, diffusers' loss and ours, on images (n, H, W, C) with the noise that difgen's metrics draw."""
    pipeline = diffusers.DDPMPipeline.from_pretrained(folder)
    pairs: Bank = bank(images, None, 4, 0, torch.device("cpu"))
    for time_ in times:
        told = torch.full((len(pairs.images),), time_)
        noisy, target = noised(pipeline.scheduler, prediction, pairs.images, pairs.noise, told)
        theirs = functional.mse_loss(pipeline.unet(noisy, told).sample.double(), target.double())
        s = level_of(pipeline.scheduler, prediction, time_)
        ours = losses(denoiser, pairs, [s]).mean.mean() * MULTIPLES[prediction](s)
        yield time_, float(theirs), float(ours)


def level_of(scheduler: Any, prediction: str, time_: int) -> float:
    """s of a timestep, by diffusers' own numbers."""
    if prediction == "flow":
        return time_ / (1000 - time_)
    kept = float(scheduler.alphas_cumprod[time_])
    return ((1 - kept) / kept) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a Parquet file of images; the digits of scikit-learn without it")
    parser.add_argument("--seconds", type=float, default=120, help="of the processor, for each training")
    parser.add_argument("--sampling-steps", type=int, default=50)
    parser.add_argument("--count", type=int, default=16, help="images to draw")
    parser.add_argument("--only", nargs="*", choices=PREDICTIONS, default=PREDICTIONS)
    parser.add_argument("--schedules", nargs="*", choices=[*SCHEDULES], default=[*SCHEDULES])
    options = parser.parse_args()
    torch.set_num_threads(1)
    pool = parquet.load(path=options.data) if options.data else digits.load()
    images = data.scaled(pool.images)
    print(f"diffusers {diffusers.__version__}, torch {torch.__version__}, images {images.shape}", flush=True)
    for prediction, schedule in itertools.product(options.only, options.schedules):
        if prediction == "flow" and schedule != options.schedules[0]:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder, scheduler = Path(name), scheduler_of(prediction, schedule)
            steps = train(folder, to_tensor(images), prediction, scheduler, steps=10**9, seconds=options.seconds)
            model = pretrained.read(folder)
            denoiser = model.denoiser(data.sigma_data(pool.images))
            print(f"{prediction}, {schedule}: {steps} steps; {dict(model.described.reading).keys()}", flush=True)
            for sampler, difference in sampled_differences(
                folder, denoiser, options.sampling_steps, options.count
            ).items():
                print(f"  {sampler:15s} largest difference of a pixel {difference:.1e}", flush=True)
            times = [10, 50, 100, 200, 300, 400, 500, 600, 800, 950]
            for time_, theirs, ours in loss_differences(folder, denoiser, prediction, images[:64], times):
                print(
                    f"  timestep {time_:4d} loss {theirs:.6f}, ours / theirs − 1 {ours / theirs - 1:+.1e}", flush=True
                )


if __name__ == "__main__":
    main()
