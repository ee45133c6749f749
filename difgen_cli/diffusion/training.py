"""Training as a generator: one yield a step, so that the caller decides what to log, save and stop.

Nothing but the weights, their average and the optimizer carries over from one step to the next: data order and noise of
step t are functions of (seed, t). So a resumed run equals an uninterrupted one, bit for bit on one kind of device.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from difgen_cli.diffusion import Denoiser, Loss, loss, scaled, training_sigma
from difgen_cli.diffusion.optimizer import Adam, Flat, Idle, flatten
from difgen_cli.diffusion.precision import arithmetic, products
from difgen_cli.diffusion.randomness import batches, has_dropout, replaced, seeded, stream, unseeded

VERSION = 1
HORIZON = ("cosine",)  # schedules that depend on where the run ends


@dataclass(frozen=True)
class ExecutionMode:
    """How a step is computed: the loss, or the same in fewer operations, and the order of images in memory."""

    compute: Loss = loss
    layout: torch.memory_format = torch.contiguous_format

    def laid(self, x: Tensor) -> Tensor:
        """x in that order; points have but one."""
        return x.contiguous(memory_format=self.layout) if x.dim() == 4 else x


@dataclass
class TrainingState:
    """A run after `step` steps.

    `denoiser` has the raw weights, `ema` their average; `loss` is the last step's, a scalar on the device that nobody
    has waited for, `lr` its learning rate. `weights` and `averages` are all the parameters of the one and of the other
    in one array each.
    """

    step: int
    denoiser: Denoiser
    ema: Denoiser
    weights: list[Flat]
    averages: list[Flat]
    optimizer: Adam
    loss: Tensor
    idle: Idle
    lr: float = 0.0

    @property
    def grad_norm(self) -> Tensor:
        """Euclidean norm of the last step's gradient, as the optimizer saw it (clipped, if clipping is on)."""
        gradients = [p.grad for p in self.denoiser.parameters() if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients, foreach=True)

    @property
    def frozen(self) -> tuple[str, ...] | None:
        """The parameters of the network that no loss trains, by name; None before that is known, after twelve steps."""
        return self.idle.frozen(self.denoiser.network, self.step)

    def checkpoint(self) -> dict[str, Any]:
        """All that resuming needs: tensors and plain numbers, for `torch.save` and `torch.load(weights_only=True)`.

        The tensors are the live ones: save them before the next step.
        """
        return {
            "step": self.step,
            "network": self.denoiser.network.state_dict(),
            "ema": self.ema.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss": self.loss,
            "idle": self.idle.state_dict(),
        }

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Become the state that `checkpoint` was taken of; KeyError or RuntimeError where it does not fit."""
        self.denoiser.network.load_state_dict(checkpoint["network"])
        self.ema.network.load_state_dict(checkpoint["ema"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.loss = checkpoint["loss"].to(self.loss.device)
        self.step = int(checkpoint["step"])
        self.idle.load_state_dict(checkpoint.get("idle"), self.step)


def begin(
    network: nn.Module, sigma_data: float, device: str | torch.device, *, weight_decay: float = 0.0
) -> TrainingState:
    """The state before the first step. The network moves to `device` and is trained in place."""
    denoiser = Denoiser(network, sigma_data).to(device).train()
    ema = copy.deepcopy(denoiser).eval()
    weights, averages = flatten(denoiser), flatten(ema)
    ema.requires_grad_(False)
    optimizer = Adam(weights, weight_decay)
    zero = torch.zeros((), device=device)
    return TrainingState(0, denoiser, ema, weights, averages, optimizer, zero, Idle(weights))


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor | None,
    sigma_data: float,
    checkpoint: dict[str, Any] | None = None,
    way: ExecutionMode = ExecutionMode(),
    *,
    steps: Annotated[int, Gt(0)] = 4000,
    batch: Annotated[int, Gt(0)] = 128,
    lr: Annotated[float, Gt(0)] = 2e-3,
    schedule: Literal["constant", "inverse_sqrt", "cosine"] = "constant",
    warmup: Annotated[int, Ge(0)] = 100,
    decay_start: Annotated[int, Gt(0)] = 2000,
    weight_decay: Annotated[float, Ge(0)] = 0.0,
    ema: Annotated[float, Ge(0), Lt(1)] = 0.995,
    clip: Annotated[float, Ge(0)] = 0.0,
    condition_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
    condition_perturbation: Annotated[float, Ge(0)] = 0.0,
    flip: bool = False,
    precision: Literal["tf32", "fp32", "bf16"] = "fp32",
    seed: Annotated[int, Ge(0)] = 0,
) -> Iterator[TrainingState]:
    """Train F of the EDM denoiser on `images`, yielding the same State, moved on, after every step.

    `images` (N, C, H, W) uint8, or float32 and scaled, or points (N, D) float32, on the device to train on; `labels`
    (N,) int64 there or None. Starts after `checkpoint["step"]` steps if given one, and yields nothing where that is
    `steps` already. Ways differ by rounding alone.

    steps: optimizer steps; a shorter run is a prefix of a longer one unless the schedule is cosine.
    batch: images a step, taken from an endless stream of random permutations of the N images.
    lr: peak learning rate of Adam.
    schedule: after the warm-up, constant; falling as 1/√step; or a half cosine that ends at 0 after `steps`.
    warmup: steps over which the learning rate rises linearly from 0.
    decay_start: the step at which inverse_sqrt begins to fall (Karras et al. 2024).
    weight_decay: decoupled decay of all weights (AdamW), as a share of the learning rate.
    ema: decay of the weights' moving average a step; smaller at the start: min(ema, (1 + t) / (10 + t)).
    clip: largest Euclidean norm of the gradient; 0 for no limit.
    condition_dropout: share of labels replaced by the dropped condition, which guidance needs.
    condition_perturbation: length γ of the Gaussian noise added to the condition's embedding, which deviates by γ/√d in
        each of its d dimensions (Chen et al. 2024).
    flip: mirror images left to right with probability one half.
    precision: of the network's inner arithmetic: fp32; tf32, which is fp32 with products of 10 bits on a GPU that has
        them; or bf16. Weights, preconditioning and loss stay float32.
    seed: chooses initial weights, data order and noise.

    Raises ValueError, at the first step, for no images, labels that do not fit, flips of points, and a dropout or
    perturbation of the condition without one.
    """
    check(images, labels, condition_dropout, condition_perturbation, flip)
    if condition_perturbation > 0:
        perturb(network, condition_perturbation)
    network.to(memory_format=way.layout)  # type: ignore[call-overload]
    state = begin(network, sigma_data, images.device, weight_decay=weight_decay)
    state.idle.conditional = labels is not None
    if checkpoint is not None:
        state.restore(checkpoint)
        checkpoint = None  # its tensors would live as long as this generator
    weights: list[Tensor] = list(state.denoiser.parameters())
    arrays, averages = ([flat.array for flat in flats] for flats in (state.weights, state.averages))
    buffers = list(zip(state.ema.buffers(), state.denoiser.buffers(), strict=True))
    randomness = seeded if has_dropout(network) or condition_perturbation > 0 else unseeded
    order, generator = batches(len(images), batch, seed, state.step, images.device), torch.Generator(images.device)
    for step in range(state.step, steps):
        places = next(order)
        generator.manual_seed(stream(seed, "noise", step))
        x, y = way.laid(scaled(images[places])), None if labels is None else labels[places]
        sigma = training_sigma(torch.randn(batch, device=x.device, generator=generator), sigma_data)
        noise = way.laid(torch.randn(x.shape, device=x.device, generator=generator))
        if flip:
            x = replaced(x, x.flip(-1), 0.5, generator)
        if y is not None and condition_dropout > 0:
            y = replaced(y, torch.full_like(y, dropped_condition(network)), condition_dropout, generator)
        with products(precision):
            with randomness(seed, step, x.device), arithmetic(precision, x.device):
                value = way.compute(state.denoiser, x, sigma, noise, y)
            value.backward()
        if clip > 0:
            torch.nn.utils.clip_grad_norm_(weights, clip, foreach=True)
        for flat in state.weights:
            flat.gather()
        state.idle.look(step)
        state.lr = lr * rate(step, schedule, warmup, decay_start, steps)
        state.optimizer.step(state.lr)
        # Adam moves every weight far at first; a long average would keep the initial ones.
        follow(averages, arrays, buffers, min(ema, (1 + step) / (10 + step)))
        state.step, state.loss = step + 1, value.detach()
        yield state
        for weight in weights:
            weight.grad = None


def check(
    images: Tensor, labels: Tensor | None, condition_dropout: float, condition_perturbation: float, flip: bool
) -> None:
    """ValueError where the inputs and settings of `train` do not fit together."""
    if len(images) == 0:
        raise ValueError("there are no images to train on")
    if labels is not None and labels.shape != images.shape[:1]:
        raise ValueError(f"{len(images)} images need as many labels, not an array of shape {tuple(labels.shape)}")
    if flip and images.dim() != 4:
        raise ValueError("flip: points cannot be mirrored: set train.flip to false")
    if condition_dropout > 0 and labels is None:
        raise ValueError("condition_dropout needs a condition: choose one, or set train.condition_dropout to 0")
    if condition_perturbation > 0 and labels is None:
        raise ValueError(
            "condition_perturbation needs a condition: choose one, or set train.condition_perturbation to 0"
        )


def perturb(network: nn.Module, scale: float) -> None:
    """Have the network perturb the embedding of its condition in training; ValueError where it cannot."""
    embeddings = [module for module in network.modules() if hasattr(module, "perturbation")]
    if not embeddings:
        raise ValueError(
            f"condition_perturbation needs {type(network).__name__} to have a module with an attribute `perturbation`"
        )
    for module in embeddings:
        setattr(module, "perturbation", scale)  # noqa: B010 (a module's own attribute, which its type does not know)


def rate(step: int, schedule: str, warmup: int, decay_start: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) as a share of its peak."""
    factor = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if schedule == "inverse_sqrt":
        return factor / math.sqrt(max(1.0, (step + 1) / decay_start))  # Karras 2024, as EDM2 trains
    if schedule == "cosine":
        return factor * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2
    return factor


@torch.no_grad()
def follow(averages: list[Tensor], weights: list[Tensor], buffers: list[tuple[Tensor, Tensor]], decay: float) -> None:
    """averages ← decay · averages + (1 − decay) · weights; buffers of the average become those of the network."""
    torch._foreach_lerp_(averages, weights, 1 - decay)
    for average, buffer in buffers:
        average.copy_(buffer)


def dropped_condition(network: nn.Module) -> int:
    """The label that stands for no condition: one past the last."""
    classes = getattr(network, "classes", None)
    if not isinstance(classes, int):
        raise ValueError(f"condition_dropout needs {type(network).__name__} to have an attribute `classes`")
    return classes
