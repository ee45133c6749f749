"""Do same-shaped networks train faster stacked into one through torch.func than one after another?

    python benchmarks/stacking.py [--counts 2 4 8 16] [--widths 16 64 256] [--repeats 5] [--json] [--quick]

The digits MLP in batches of 128 on one core. Stacked: `stack_module_state`, `vmap` of `grad`, one fused AdamW and one
average over the stacked weights. One after another: `train` for each network, all of its steps in a row, as separate
processes on one core would. The gradients of both are compared first: their largest difference is in every line.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from measuring import Results, in_turn, medians, parser, times_as_fast
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap
from training import digit_images

from difgen_cli.diffusion import Denoiser, loss, loss_weight, per_item, training_sigma
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import train
from difgen_cli.models import mlp

BATCH, LR, EMA, STEPS = 128, 2e-3, 0.995, 1_000_000
COLUMNS = ("width", "networks", "who", "images_per_second", "wall_seconds", "processor_seconds", "ratio_wall",
           "ratio_processor", "largest_difference")  # fmt: skip


def networks(width: int, count: int) -> list[Denoiser]:
    """Networks of one shape with weights of their own, none of them zero: else most gradients were."""
    made = [Denoiser(initialise(lambda: mlp.build((1, 8, 8), 0, width=width), seed), 0.75) for seed in range(count)]
    with torch.no_grad():
        for weight in (w for denoiser in made for w in denoiser.parameters()):
            weight.add_(0.02 * torch.randn(weight.shape))
    return made


class Stack:
    """Many denoisers as one: every weight has a first axis that counts them."""

    def __init__(self, denoisers: list[Denoiser]) -> None:
        self.weights, self.buffers = stack_module_state(denoisers)
        self.shape = copy.deepcopy(denoisers[0]).to("meta")
        self._gradients = vmap(grad(self._loss), randomness="error")

    def gradients(self, x: Tensor, sigma: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Of the loss of each network, by the name of the weight."""
        weights = {name: w.detach() for name, w in self.weights.items()}  # no graph around the gradients themselves
        found: dict[str, Tensor] = self._gradients(weights, self.buffers, x, sigma, noise)
        return found

    def _loss(self, weights: Any, buffers: Any, x: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        noisy = x + per_item(sigma, x) * noise
        denoised = functional_call(self.shape, (weights, buffers), (noisy, sigma, None))
        return ((denoised - x).square() * per_item(loss_weight(sigma, self.shape.sigma_data), x)).mean()


def drawn(images: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images, levels and noise of a step of each network: (M, B, …)."""
    x = images[torch.randint(len(images), (count, BATCH))]
    return x, training_sigma(torch.randn(count, BATCH), 0.75), torch.randn_like(x)


def stacked(width: int, count: int) -> Iterator[None]:
    """Steps of all networks at once."""
    images, stack = digit_images(), Stack(networks(width, count))
    weights = list(stack.weights.values())
    averages = [w.detach().clone() for w in weights]
    optimizer = torch.optim.AdamW(weights, lr=LR, weight_decay=0.0, fused=True)
    while True:
        gradients = stack.gradients(*drawn(images, count))
        for name, weight in stack.weights.items():
            weight.grad = gradients[name]
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1 - EMA)
        yield


def in_a_row(width: int, count: int, steps: int) -> Callable[[], None]:
    """So many steps of each network, one network after another."""
    images = digit_images()
    runs = [train(d.network, images, None, d.sigma_data, steps=STEPS, batch=BATCH, lr=LR, ema=EMA)
            for d in networks(width, count)]  # fmt: skip

    def go() -> None:
        for run in runs:
            for _ in range(steps):
                next(run)

    return go


def difference(width: int, count: int) -> float:
    """The largest difference between the gradients of both ways, as a share of the largest gradient."""
    denoisers = networks(width, count)
    stack = Stack(denoisers)
    x, sigma, noise = drawn(digit_images(), count)
    found = stack.gradients(x, sigma, noise)
    apart = largest = 0.0
    for k, denoiser in enumerate(denoisers):
        loss(denoiser, x[k], sigma[k], noise[k], None).backward()
        for name, weight in denoiser.named_parameters():
            assert weight.grad is not None
            apart = max(apart, float((found[name][k] - weight.grad).abs().max()))
            largest = max(largest, float(weight.grad.abs().max()))
    return apart / largest


def compare(width: int, count: int, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line for each way."""
    steps, run = max(2, given.steps // count), stacked(width, count)

    def together() -> None:
        for _ in range(steps):
            next(run)

    times = in_turn({"stacked": together, "in a row": in_a_row(width, count, steps)}, given.repeats)
    apart, images = difference(width, count), steps * count * BATCH
    for who in times:
        spent = medians(times[who])
        versus = {} if who == "stacked" else times_as_fast(times["stacked"], times[who])
        yield {"width": width, "networks": count, "who": who, "images": images, **spent, **versus,
               "images_per_second": images / spent["wall_seconds"], "largest_difference": apart}  # fmt: skip


def main() -> None:
    options = parser(__doc__, repeats=5)
    options.add_argument("--counts", type=int, nargs="+", default=[2, 4, 8, 16])
    options.add_argument("--widths", type=int, nargs="+", default=[16, 64, 256])
    options.add_argument("--steps", type=int, default=240, help="of all networks together in a slice")
    given = options.parse_args()
    if given.quick:
        given.counts, given.widths, given.steps, given.repeats = [2], [16], 4, 1
    torch.set_num_threads(1)
    with Results("stacking", given.json, COLUMNS) as results:
        for width in given.widths:
            for count in given.counts:
                for row in compare(width, count, given):
                    results.add(**row)


if __name__ == "__main__":
    main()
