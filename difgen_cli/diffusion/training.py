"""Training as a generator: one yield a step, so that the caller decides what to log, save and stop.

Nothing but the weights, their average and the optimizer carries over from one step to the next: data order and noise of
step t are functions of (seed, t). So a resumed run equals an uninterrupted one, bit for bit on one kind of device: run
on CPUs; `make gpu-test` shows it on a card.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import count
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from difgen_cli.diffusion import Denoiser, DenoiserLike, augmentation, per_item, scaled
from difgen_cli.diffusion.objective import EDM, Augmented, Batch, Draws, Objective, Trained
from difgen_cli.diffusion.precision import arithmetic, products
from difgen_cli.diffusion.randomness import batches, has_dropout, replaced, seeded, stream, unseeded
from difgen_cli.diffusion.state import EAGER, ExecutionMode, Step, TrainingState, begin

VERSION = 1
BATCH_TENSORS = tuple(field.name for field in fields(Batch) if field.name != "drawn")
HORIZON = {"schedule": ("cosine",)}  # a setting, and its values that depend on where the run ends
# a setting -> another one, and the values of that under which it is read
READ_WHEN = {"decay_start": ("schedule", ("inverse_sqrt",)), "momentum": ("optimizer", ("sgd",))}


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor | None,
    sigma_data: float,
    checkpoint: dict[str, Any] | None = None,
    mode: ExecutionMode = EAGER,
    objective: Objective = EDM,
    denoiser: Callable[[nn.Module, float], Denoiser] = Denoiser,
    *,
    steps: Annotated[int, Gt(0)] = 4000,
    batch: Annotated[int, Gt(0)] = 128,
    lr: Annotated[float, Gt(0)] = 2e-3,
    optimizer: Literal["adam", "sgd"] = "adam",
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.95,
    schedule: Literal["constant", "inverse_sqrt", "cosine"] = "constant",
    warmup: Annotated[int, Ge(0)] = 100,
    decay_start: Annotated[int, Gt(0)] = 2000,
    weight_decay: Annotated[float, Ge(0)] = 0.0,
    ema: Annotated[float, Ge(0), Lt(1)] = 0.995,
    clip: Annotated[float, Ge(0)] = 0.0,
    condition_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
    condition_perturbation: Annotated[float, Ge(0)] = 0.0,
    flip: bool = False,
    augment: Annotated[float, Ge(0), Le(1)] = 0.0,
    precision: Literal["tf32", "fp32", "bf16"] = "fp32",
    weight_path: bool = False,
    seed: Annotated[int, Ge(0)] = 0,
) -> Iterator[TrainingState]:
    """Train a network by an objective on `images`, yielding the same State, moved on, after every step.

    `images` (N, C, H, W) uint8, or float32 and scaled, or points (N, D) float32, on the device to train on; `labels`
    (N,) int64 there or None. Starts after `checkpoint["step"]` steps if given one, and yields nothing where that is
    `steps` already. Modes differ by rounding alone. `denoiser(network, sigma_data)` is how the network is read.

    steps: optimizer steps; a shorter run is a prefix of a longer one unless the schedule is cosine.
    batch: images a step, taken from an endless stream of random permutations of the N images.
    lr: peak learning rate.
    optimizer: adam, or stochastic gradient descent with `momentum` (Bonnaire et al. 2025 have 0.95).
    momentum: share of the last step's velocity that is kept.
    schedule: after the warm-up, constant; falling as 1/√step; or a half cosine that ends at 0 after `steps`.
    warmup: steps over which the learning rate rises linearly from 0.
    decay_start: the step at which inverse_sqrt begins to fall (Karras et al. 2024).
    weight_decay: decoupled decay of all weights (AdamW), as a share of the learning rate.
    ema: decay of the weights' moving average a step; smaller at the start: min(ema, (1 + t) / (10 + t)).
    clip: largest Euclidean norm of the gradient; 0 for no limit.
    condition_dropout: share of labels replaced by the dropped condition, which guidance needs.
    condition_perturbation: length γ of Gaussian noise on the embedding of a condition, by Chen et al. (2024).
    flip: mirror images left to right with probability one half.
    augment: probability of each change of an image, of which the network is told; half are mirrored. Karras: 0.12.
    precision: of the network's inner arithmetic: fp32; tf32, which is fp32 with products of 10 bits on a GPU that has
        them; or bf16. Weights, preconditioning and loss stay float32.
    weight_path: measure how far the weights go, step by step; of small networks it takes 5 to 13 % of a step.
    seed: chooses initial weights, data order and noise.

    Raises ValueError, at the first step, where images, labels and settings do not fit together.
    """
    check(images, labels, condition_dropout, condition_perturbation, flip or augment > 0)
    perturb(network, condition_perturbation)
    network.to(memory_format=mode.layout)  # type: ignore[call-overload]
    state = begin(
        network, sigma_data, images.device, weight_decay=weight_decay, objective=objective, denoiser=denoiser,
        image=scaled(images[:1]), conditional=labels is not None, seed=seed,
        momentum=momentum if optimizer == "sgd" else None, weight_path=weight_path,
    )  # fmt: skip
    state.restore(checkpoint)
    checkpoint = None  # its tensors would live as long as this generator
    weights: list[Tensor] = list(state.trained.parameters())
    averages, arrays = ([flat.array for flat in flats] for flats in (state.averages, state.of_network))
    buffers = list(zip(state.ema.network.buffers(), network.buffers(), strict=True))
    randomness = seeded if has_dropout(state.trained) or condition_perturbation > 0 else unseeded
    drawn = drawn_batches(
        images, labels, sigma_data, state, mode, objective, batch=batch, seed=seed, flip=flip,
        condition_dropout=condition_dropout, steps=steps, augment=augment,
    )  # fmt: skip
    for step in range(state.step, steps):
        compute, tensors = next(drawn)
        leave(state)
        with products(precision):
            with randomness(seed, step, images.device), arithmetic(precision, images.device):
                value = compute(state.trained, *tensors)
            value.backward()
        gather(state, weights, clip)
        state.move(lr * rate(step, schedule, warmup, decay_start, steps))
        # Adam moves every weight far at first; a long average would keep the initial ones.
        follow(averages, arrays, buffers, min(ema, (1 + step) / (10 + step)))
        state.step, state.loss = step + 1, value.detach()
        yield state
        for weight in weights:
            weight.grad = None


def leave(state: TrainingState) -> None:
    """Begin a step: remember where the weights are, and bring them to where it begins."""
    state.path.leave()
    constrain(state.denoiser.network)


def constrain(network: nn.Module) -> None:
    """Have the network bring its weights back to where a step of training begins, if it has a method for that."""
    change: Callable[[], None] | None = getattr(network, "constrain", None)
    if change is not None:
        change()


def gather(state: TrainingState, weights: list[Tensor], clip: float) -> None:
    """Collect the gradients of all weights for the optimizer, clipped to a norm where that is above 0.

    Whose are zero is counted, since such weights are not trained.
    """
    if clip > 0:
        torch.nn.utils.clip_grad_norm_(weights, clip, foreach=True)
    for flat in state.weights:
        flat.gather()
    state.idle.look(state.step)


def drawn_batches(
    images: Tensor, labels: Tensor | None, sigma_data: float, state: TrainingState, mode: ExecutionMode,
    objective: Objective, *, batch: int, seed: int, flip: bool, condition_dropout: float, steps: int, augment: float,
) -> Iterator[tuple[Step, tuple[Tensor | None, ...]]]:  # fmt: skip
    """For each step from the state's on: how its loss is computed, and the tensors of its batch."""
    inputs = {**objective.inputs, "average": state.ema}
    order = batches(len(images), batch, seed, state.step, images.device)
    generator, draws = torch.Generator(images.device), Draws(seed, images.device, steps if objective.ends else None)
    drawn: dict[str, Tensor] = {}
    changes: Tensor | None = None  # how images were augmented
    compute: Step | None = None  # what is drawn is known only then
    for step in count(state.step):
        draws.step = step
        generator.manual_seed(stream(seed, "noise", step))
        places = next(order)
        x, y = mode.laid(scaled(images[places])), None if labels is None else labels[places]
        sigma, weight = objective.levels(torch.randn(batch, device=x.device, generator=generator), sigma_data)
        noise, flipped = mode.laid(torch.randn(x.shape, device=x.device, generator=generator)), None
        if flip:
            flipped = torch.rand(batch, device=x.device, generator=generator) < 0.5
            x = torch.where(per_item(flipped, x), x.flip(-1), x)
        if augment > 0:
            change = augmentation.drawn(draws, batch, augment)
            x, changes = mode.laid(change(x)), change.labels
        if y is not None and condition_dropout > 0:
            dropped = torch.full_like(y, dropped_condition(state.denoiser.network))
            y = replaced(y, dropped, condition_dropout, generator)
        if objective.draw is not None:
            whole = Batch(x, y, places, flipped, sigma, weight, noise, augment=changes)
            drawn = objective.draw(whole, draws, **{name: inputs[name] for name in objective.draw_asks})
        compute = compute or mode.wrap(step_of(objective, tuple(drawn), state.ema))
        yield compute, (x, y, places, flipped, sigma, weight, noise, changes, *drawn.values())


def step_of(objective: Objective, drawn: tuple[str, ...], average: Denoiser) -> Step:
    """The loss as a function of what is trained and tensors alone, which is what a compiler takes.

    `drawn` are the names of the tensors that the objective draws, which come after those of the batch itself.
    """

    def compute(trained: Trained, *tensors: Tensor | None) -> Tensor:
        of_batch: dict[str, Any] = dict(zip(BATCH_TENSORS, tensors, strict=False))
        batch = Batch(**of_batch, drawn=dict(zip(drawn, tensors[len(BATCH_TENSORS) :], strict=True)))  # type: ignore[arg-type]
        denoisers: list[DenoiserLike] = [trained.denoiser, average]
        if batch.augment is not None:
            denoisers = [Augmented(each, batch.augment) for each in (trained.denoiser, average)]
        denoiser, mean = denoisers
        own = {**objective.inputs, "heads": trained.heads, "hidden": trained.hidden, "average": mean}
        return objective.loss(denoiser, batch, **{name: own[name] for name in objective.asks})

    return compute


def check(
    images: Tensor, labels: Tensor | None, condition_dropout: float, condition_perturbation: float, flip: bool
) -> None:
    """ValueError where the inputs and settings of `train` do not fit together."""
    if len(images) == 0:
        raise ValueError("there are no images to train on")
    if labels is not None and labels.shape != images.shape[:1]:
        raise ValueError(f"{len(images)} images need as many labels, not an array of shape {tuple(labels.shape)}")
    if flip and images.dim() != 4:
        raise ValueError("flip: points cannot be mirrored: set train.flip to false, and train.augment to 0")
    if condition_dropout > 0 and labels is None:
        raise ValueError("condition_dropout needs a condition: choose one, or set train.condition_dropout to 0")
    if condition_perturbation > 0 and labels is None:
        raise ValueError(
            "condition_perturbation needs a condition: choose one, or set train.condition_perturbation to 0"
        )


def perturb(network: nn.Module, scale: float) -> None:
    """Have the network perturb the embedding of its condition in training; ValueError where it cannot but must."""
    if scale == 0:
        return
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
