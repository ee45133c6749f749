"""Features of a small convolutional classifier trained on the data set itself: the embedded measure of quality."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.features import State, in_blocks, one_thread

if TYPE_CHECKING:
    from torch import Tensor, nn

VERSION = 1
SEED, BATCH, LEARNING_RATE = 0, 128, 3e-3
FEATURES = 64
NOISE = (
    0.5  # at most, a pixel, in training: without it, noise that no eye sees moves the features (benchmarks/NOTES.md)
)


def fit(images: np.ndarray, labels: np.ndarray | None, *, steps: Annotated[int, Gt(0)] = 400) -> State:
    """The trained weights, by name. `images` scaled (n, H, W, 1 or 3), at least 4 pixels wide and high.

    Seed and recipe are fixed, and one thread does it: the same data give the same features. ValueError without labels.

    steps: of training, 128 images each.
    """
    if labels is None:
        raise ValueError("the feature space classifier needs a data set with labels: choose random_conv instead")
    if images.ndim != 4 or min(images.shape[1:3]) < 4:
        raise ValueError(f"the feature space classifier needs images of 4 × 4 pixels or more, not {images.shape[1:]}")
    import torch
    from torch.nn import functional

    classes = int(labels.max()) + 1
    order = np.random.default_rng(SEED)
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = _network(images.shape, classes)
        optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        for _ in range(steps):
            batch = order.integers(len(images), size=BATCH)
            x = _tensor(images[batch])
            noisy = x + NOISE * torch.rand(BATCH, 1, 1, 1) * torch.randn(x.shape)
            loss = functional.cross_entropy(network(noisy), torch.from_numpy(labels[batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


def embed(images: np.ndarray, state: State) -> np.ndarray:
    """The 64 values before the last layer: (n, 64) float32."""
    import torch

    network = _network(images.shape, len(state["head.bias"]))
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    body = network[:-1].eval()
    with one_thread(), torch.no_grad():
        return in_blocks(lambda block: body(_tensor(block)).numpy(), images)


def _network(shape: tuple[int, ...], classes: int) -> "nn.Sequential":
    """Three convolutions, the first with a stride only for images of 16 pixels or more; `shape` (n, H, W, C)."""
    from collections import OrderedDict

    from torch import nn

    first = 2 if min(shape[1:3]) >= 16 else 1
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(shape[3], 32, 3, first, 1),
            norm1=nn.BatchNorm2d(32),
            act1=nn.SiLU(),
            conv2=nn.Conv2d(32, 64, 3, 2, 1),
            norm2=nn.BatchNorm2d(64),
            act2=nn.SiLU(),
            conv3=nn.Conv2d(64, 64, 3, 1, 1),
            norm3=nn.BatchNorm2d(64),
            act3=nn.SiLU(),
            pool=nn.AdaptiveMaxPool2d(2),
            flat=nn.Flatten(),
            features=nn.Linear(256, FEATURES),
            act4=nn.SiLU(),  # smooth, so that no feature is constant
            head=nn.Linear(FEATURES, classes),
        )
    )


def _tensor(images: np.ndarray) -> "Tensor":
    from difgen_cli.diffusion import to_tensor

    return to_tensor(images)
