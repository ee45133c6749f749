"""Throughput compared with the roofline: networks trained and sampled for seconds by the project's own code."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from difgen_cli.diffusion import Denoiser
from difgen_cli.diffusion.precision import repeatable
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.state import EAGER, ExecutionMode, TrainingState
from difgen_cli.diffusion.training import train
from difgen_cli.engine.cost import flops, machine
from difgen_cli.engine.cost.flops import NetworkWork
from difgen_cli.engine.cost.machine import Limits
from difgen_cli.engine.cost.networks import pool_of
from difgen_cli.engine.cost.throughput import WARM_STEPS
from difgen_cli.engine.plan import Trajectory
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plugins import Library, PluginError
from difgen_cli.sampling import BLOCK, draw, evaluations

SAMPLER = "heun"
SIGMA_DATA = 0.5
SAMPLED_BLOCKS = 3  # the best of them counts


@dataclass(frozen=True)
class Subject:
    """A network as a study trains it. `shape` (C, H, W) or (D,); `classes` 0 is without a condition."""

    model: str
    settings: dict[str, Any]
    shape: tuple[int, ...]
    classes: int = 0
    batch: int = 128
    precision: Literal["tf32", "fp32", "bf16"] = "fp32"
    images: int = 1024  # to train on, of noise: speed does not depend on what is seen
    training: dict[str, Any] = field(default_factory=dict)  # other settings of `train`

    @property
    def name(self) -> str:
        """mlp width 64, 1×8×8, batch 128, fp32."""
        network = " ".join([self.model, *(f"{k} {_words(v)}" for k, v in self.settings.items())])
        labels = [f"{self.classes} labels"] if self.classes else []
        return ", ".join([network, _words(self.shape), *labels, f"batch {self.batch}", self.precision])


@dataclass(frozen=True)
class Throughput:
    """What was measured of a subject; None where its work cannot be counted."""

    subject: Subject
    weights: int
    work: NetworkWork | None
    limits: Limits | None
    images_per_second: float
    samples_per_second: float
    way: str = "eager"  # in which training was computed; sampling is computed as it is written

    @property
    def facts(self) -> dict[str, Any]:
        """For machines: speeds, work of an image, and shares of the limits."""
        work, rate = self.work, self.images_per_second
        limits = self.limits
        return {
            "network": self.subject.name, "model": self.subject.model, "settings": self.subject.settings,
            "shape": self.subject.shape, "batch": self.subject.batch, "precision": self.subject.precision,
            "weights": self.weights, "flops_per_image": work.flops if work else None,
            "bytes_per_image": work.bytes if work else None, "images_per_second": rate,
            "roofline": limits.share(work, rate) if work and limits else None,
            "mfu": limits.mfu(work, rate) if work and limits else None,
            "bound": limits.bound(work) if work and limits else None,
            "samples_per_second": self.samples_per_second, "way": self.way,
        }  # fmt: skip


def subjects(device: str) -> list[Subject]:
    """What is measured where nobody says: digits and small images; on a GPU three widths of colour images too."""
    small = [Subject("mlp", {"width": width}, (1, 8, 8)) for width in (64, 256)]
    small.append(Subject("unet", {"width": 16}, (1, 28, 28)))
    if not device.startswith("cuda"):
        return small
    # The last is EDM's network for CIFAR-10 (Karras et al. 2022).
    edm = {"width": 128, "depth": 4, "multipliers": (2, 2, 2), "attention": (16,), "dropout": 0.13}
    large = ({"width": 32}, {"width": 64}, edm)
    return small + [Subject("unet", settings, (3, 32, 32), batch=512, precision="bf16") for settings in large]


def of_plan(trajectories: Iterable[Trajectory], shapes: Mapping[str, tuple[int, ...]]) -> list[Subject]:
    """The networks that a plan trains, each once: as its batch, its precision and its data make it fast or slow.

    `shapes` by the key of the data set.
    """
    subjects: dict[str, Subject] = {}
    for trajectory in trajectories:
        if trajectory.batch:
            subject = of_recipe(trajectory.recipe, shapes[pool_of(trajectory.recipe)], trajectory.batch)
            width = {"width": trajectory.settings.get("model.width")}  # named if it is the default too
            subject = replace(subject, settings=width | subject.settings) if width["width"] else subject
            subjects.setdefault(subject.name, subject)
    return list(subjects.values())


def of_recipe(recipe: Recipe, shape: tuple[int, ...], batch: int) -> Subject:
    """The network of a trajectory. The number of labels does not matter to speed: any condition counts as ten."""
    network, classes = recipe.inputs["network"], 0 if recipe.inputs["labels"].name == "none" else 10
    return Subject(network.name, network.settings, shape, classes, batch, recipe.settings.get("precision", "fp32"))


def busy(load: float, cores: int) -> str | None:
    """A sentence where other work takes part of this machine: `load` processes want to run on so many cores."""
    if load <= cores / 2:
        return None
    return (
        f"other work keeps this machine busy (a load of {load:.1f} on {cores} cores): speeds are lower than it allows"
    )


def gpus() -> int:
    """How many this process sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def limits(subjects: Iterable[Subject], device: str) -> dict[str, Limits | None]:
    """The limits of the device by precision, measured now as well as before."""
    return {precision: machine.best(device, precision) for precision in sorted({s.precision for s in subjects})}


def run(
    subject: Subject, library: Library, device: str, seconds: float, limit: Limits | None, mode: ExecutionMode = EAGER
) -> Throughput:
    """Train a subject for so many seconds after it is warm, then sample for as long; a step and a block at least.

    Raises PluginError where the network cannot be built.
    """
    try:
        network = build(subject, library).to(device)
    except ValueError as error:
        raise PluginError(f"{subject.name}: {error}") from None
    weights = sum(p.numel() for p in network.parameters())
    work = flops.training(network, subject.shape, subject.batch, subject.precision)
    images_per_second = per_second(warm(network, subject, device, mode), subject.batch, device, seconds)
    samples_per_second = _sample(network, subject, library, device, seconds)
    return Throughput(subject, weights, work, limit, images_per_second, samples_per_second)


def build(subject: Subject, library: Library) -> nn.Module:
    """The network of a subject with initial weights, on the CPU; ValueError where there is no such network."""
    make = library.module("model", subject.model).build
    network: nn.Module = initialise(lambda: make(subject.shape, subject.classes, **subject.settings), 0)
    return network


def warm(network: nn.Module, subject: Subject, device: str, mode: ExecutionMode = EAGER) -> Iterator[TrainingState]:
    """An endless training on made-up images, uint8 as a worker has them, or points; its first steps are done."""
    if device.startswith("cuda"):
        repeatable()  # as in a worker
    extent = (subject.images, *subject.shape)
    images = torch.randn(extent) if len(extent) == 2 else torch.randint(256, extent, dtype=torch.uint8)
    labels = torch.arange(subject.images, device=device) % subject.classes if subject.classes else None
    settings = subject.training | {"steps": 1 << 40, "batch": subject.batch, "precision": subject.precision}
    steps = train(network, images.to(device), labels, SIGMA_DATA, None, mode, **settings)
    for _ in itertools.islice(steps, WARM_STEPS):
        pass
    return steps


def per_second(steps: Iterator[Any], batch: int, device: str, seconds: float) -> float:
    """Images a second of the steps that so many seconds hold: the clock, which waits for the device, is rarely read."""
    start, spent, done, stride = machine.moment(device), 0.0, 0, 1
    while spent < seconds:
        done += sum(1 for _ in itertools.islice(steps, stride))
        spent = machine.moment(device) - start
        stride = max(1, min(2 * stride, int(done * (seconds - spent) / spent)))
    return done * batch / spent


def _sample(network: nn.Module, subject: Subject, library: Library, device: str, seconds: float) -> float:
    """Samples a second with the default sampler: the best of some whole blocks, or of one with as many steps as fit."""
    denoiser = Denoiser(network, SIGMA_DATA).to(device).eval().requires_grad_(False)
    sample, shared = library.module("sample", SAMPLER).sample, library.own("sample", SAMPLER)
    most = shared.settings["steps"].default if shared else 1

    def spent(steps: int) -> float:
        """Seconds that a block takes with so many steps of the sampler."""
        start = machine.moment(device)
        draw(denoiser, sample, subject.shape, None, device, count=BLOCK, steps=steps)
        return machine.moment(device) - start

    steps, taken = 1, min(spent(1), spent(1))
    if taken < seconds:
        steps = min(most, max(1, int(seconds / taken / 2)))  # two evaluations each
        taken = min(spent(steps) for _ in range(SAMPLED_BLOCKS if steps == most else 1))
    part, whole = (evaluations(denoiser, sample, subject.shape, steps=number) for number in (steps, most))
    return BLOCK * part / whole / taken


def _words(value: Any) -> str:
    return "×".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
