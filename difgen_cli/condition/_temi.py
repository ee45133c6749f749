"""TEMI's heads, loss and training (Adaloglou, Michels, Kalisch, Kollmann 2023), after the authors' settings.

H heads are trained side by side on the same pairs, every tensor with the heads in front; nothing couples them but the
weight of each pair.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

VERSION = 1
HIDDEN, BOTTLENECK = 128, 64  # sizes of a head's layers; published: 512 and 256, for features of 384 values and more
TEMPERATURE = 0.1  # of student and teacher
TEACHER = 0.996  # share of its own weights that the teacher keeps a step
PRIOR = 0.9  # share of itself that the estimate of the teacher's cluster sizes keeps a step
SMOOTHED = 0.98  # share of itself that a head's smoothed loss keeps a step
INITIAL_SPREAD = 0.02  # of the weights, as published
WEIGHT_DECAY = 1e-4
BLOCK = 1024  # images whose neighbours are looked for together

Weights = list[Tensor]


def train(
    points: np.ndarray, clusters: int, neighbours: int, heads: int, steps: int, batch: int, lr: float, beta: float,
    seed: int,
) -> Callable[[np.ndarray], np.ndarray]:  # fmt: skip
    """The best head: a function from points (m, D) to the shares of the clusters (m, C), float32.

    `points` (n, D), n ≥ 2. Raises ArithmeticError where the loss is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, scale = _scale(points)
    x = _standardised(points, mean, scale)
    near = nearest(x, min(neighbours, len(x) - 1))
    student = begin(heads, x.shape[1], clusters, generator)
    teacher = [weight.clone() for weight in student]
    for weight in student:
        weight.requires_grad_()
    optimizer = torch.optim.AdamW(student, lr=lr, weight_decay=WEIGHT_DECAY, fused=True)
    prior, smoothed = torch.full((heads, clusters), 1 / clusters), torch.zeros(heads)
    for step in range(steps):
        pairs = x[torch.cat(drawn(near, batch, generator))]  # x, then x′
        with torch.no_grad():
            q_t = assign(teacher, pairs)
            prior.lerp_(q_t.mean(dim=1), 1 - PRIOR)
        losses = loss(_halves(assign(student, pairs)), _halves(q_t), prior, beta)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.param_groups[0]["lr"] = lr * min(1.0, 10 * (step + 1) / steps)
        optimizer.step()
        torch._foreach_lerp_(teacher, [weight.detach() for weight in student], 1 - TEACHER)
        smoothed.lerp_(losses.detach(), 1 - SMOOTHED)
    if not bool(smoothed.isfinite().all()):
        raise ArithmeticError("the loss of TEMI is not finite: lower condition.lr")
    best = int(smoothed.argmin())
    kept = [weight[best : best + 1] for weight in teacher]
    return lambda asked: assign(kept, _standardised(asked, mean, scale))[0].numpy()


def begin(heads: int, dimensions: int, clusters: int, generator: torch.Generator) -> Weights:
    """Weights of H heads: two layers with biases, and a last one without, whose columns count by direction alone."""

    def initial(*shape: int) -> Tensor:
        return torch.randn(heads, *shape, generator=generator).clamp(-2, 2)

    first, second = initial(dimensions, HIDDEN), initial(HIDDEN, BOTTLENECK)
    biases = torch.zeros(heads, 1, HIDDEN), torch.zeros(heads, 1, BOTTLENECK)
    return [first * INITIAL_SPREAD, biases[0], second * INITIAL_SPREAD, biases[1], initial(BOTTLENECK, clusters)]


def assign(weights: Weights, points: Tensor) -> Tensor:
    """q(c|x) of every head: (H, n, C), from points (n, D)."""
    first, first_bias, second, second_bias, last = weights
    hidden = functional.gelu(points @ first + first_bias)
    direction = functional.normalize(hidden @ second + second_bias, dim=-1)
    return (direction @ functional.normalize(last, dim=1) / TEMPERATURE).softmax(dim=-1)


def loss(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], prior: Tensor, beta: float) -> Tensor:
    """−w(x, x′) ½ [pmi(x, x′) + pmi(x′, x)], the mean over the pairs: (H,), from (H, B, C) of x and of x′.

    w(x, x′) is the mean over the heads of Σ_c q_t(c|x) q_t(c|x′), the same for all of them: pairs that the teachers
    take for one cluster count, neighbours by chance hardly do.
    """
    weight = (teacher[0] * teacher[1]).sum(dim=-1).mean(dim=0)  # (B,)
    forward, back = pmi(student[0], teacher[1], prior, beta), pmi(student[1], teacher[0], prior, beta)
    return -(weight * (forward + back) / 2).mean(dim=-1)


def pmi(student: Tensor, teacher: Tensor, prior: Tensor, beta: float) -> Tensor:
    """log Σ_c (q_s(c|x) q_t(c|x′))^β / p̃(c) of each pair: (H, B), from (H, B, C) twice and (H, C)."""
    return ((student * teacher).pow(beta) / prior.unsqueeze(1)).sum(dim=-1).log()


def nearest(x: Tensor, count: int) -> Tensor:
    """The `count` nearest others of each point: (n, count) int64, the nearest first."""
    places = []
    for start in range(0, len(x), BLOCK):
        distances = torch.cdist(x[start : start + BLOCK], x)
        own = torch.arange(len(distances))
        distances[own, start + own] = math.inf
        places.append(distances.topk(count, largest=False).indices)
    return torch.cat(places)


def drawn(near: Tensor, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Places of random points and of one near neighbour of each: (B,) int64 twice."""
    first = torch.randint(len(near), (batch,), generator=generator)
    return first, near[first, torch.randint(near.shape[1], (batch,), generator=generator)]


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, so that sums are taken in one order wherever this runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _scale(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean of each value, and the root of the mean variance of the values that vary at all."""
    variance = points.var(axis=0, dtype=np.float64)
    return points.mean(axis=0, dtype=np.float64), float(np.sqrt(variance[variance > 0].mean() if variance.any() else 1))


def _standardised(points: np.ndarray, mean: np.ndarray, scale: float) -> Tensor:
    return torch.from_numpy(((points - mean) / scale).astype(np.float32))


def _halves(q: Tensor) -> tuple[Tensor, Tensor]:
    first, second = q.chunk(2, dim=1)
    return first, second
