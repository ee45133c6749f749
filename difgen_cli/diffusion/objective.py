"""What a training step minimises, in three parts: the batch, what is drawn for it, and the loss.

The training loop draws the batch, an objective may draw more, and the loss alone is compiled: it draws nothing and
reads no step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from difgen_cli.diffusion.denoiser import Denoiser, loss, loss_weight, per_item, training_sigma
from difgen_cli.diffusion.randomness import stream


@dataclass(frozen=True)
class Batch:
    """One batch of training; B images (C, H, W), or points (D,)."""

    images: Tensor  # (B, ...) scaled, and mirrored where `flipped` says so
    labels: Tensor | None  # (B,) int64
    places: Tensor  # (B,) int64: which training images these are
    flipped: Tensor | None  # (B,) bool; None where none is mirrored
    sigma: Tensor  # (B,) absolute
    weight: Tensor  # (B,) of the squared error
    noise: Tensor  # like the images, unit normal
    drawn: Mapping[str, Tensor] = field(default_factory=dict)  # what the objective's own `draw` added
    augment: Tensor | None = None  # (B, 9) how each image was augmented, which the network is told; None: none was

    @property
    def noised(self) -> Tensor:
        """x₀ + σ n, like the images."""
        return torch.addcmul(self.images, per_item(self.sigma, self.images), self.noise)


class Draws:
    """Random numbers of a training step by name: each of (seed, step, name) alone.

    `steps` is where the run ends, for objectives whose settings depend on it; None for all others.
    """

    def __init__(self, seed: int, device: torch.device, steps: int | None = None) -> None:
        self.seed, self.step, self.steps = seed, 0, steps
        self.generator = torch.Generator(device)

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """Unit normals of a shape, float32."""
        return torch.randn(tuple(shape), generator=self._at(name, self.step), device=self.generator.device)

    def uniform(self, name: str, shape: Sequence[int]) -> Tensor:
        """Numbers in [0, 1) of a shape, float32."""
        return torch.rand(tuple(shape), generator=self._at(name, self.step), device=self.generator.device)

    def integers(self, name: str, shape: Sequence[int], high: int) -> Tensor:
        """Whole numbers in [0, high) of a shape, int64."""
        return torch.randint(high, tuple(shape), generator=self._at(name, self.step), device=self.generator.device)

    def fixed(self, name: str, numbers: Tensor, shape: Sequence[int]) -> Tensor:
        """Unit normals (B, *shape) float32 of (seed, name, number) alone, whatever the step; `numbers` (B,) int64."""
        each = [
            torch.randn(tuple(shape), generator=self._at(f"fixed {name}", number), device=self.generator.device)
            for number in numbers.tolist()
        ]
        return torch.stack(each)

    def _at(self, name: str, place: int) -> torch.Generator:
        return self.generator.manual_seed(stream(self.seed, f"draw {name}", place))


def edm_levels(normal: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """σ and weight of a training batch (Karras 2022, table 1), (B,) each, of unit normals (B,)."""
    sigma = training_sigma(normal, sigma_data)
    return sigma, loss_weight(sigma, sigma_data)


def regression(denoiser: Denoiser, batch: Batch) -> Tensor:
    """The weighted squared error of the denoised batch, a scalar."""
    return loss(denoiser, batch.images, batch.sigma, batch.noise, batch.labels, batch.weight)


class Augmented:
    """A denoiser whose network is told how the images of a batch were augmented."""

    def __init__(self, denoiser: Denoiser, augment: Tensor) -> None:
        self.denoiser, self.augment, self.sigma_data = denoiser, augment, denoiser.sigma_data

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        """D(x; σ) like x, for the batch itself: item i was augmented as labels `augment` (B, 9) say of it."""
        denoised: Tensor = self.denoiser(x, sigma, labels, self.augment)
        return denoised


class Hidden:
    """What a module of a network gave in the current forward pass."""

    def __init__(self, module: nn.Module) -> None:
        self.value = torch.empty(0)
        # A bound method: a copy of the network then fills the copy of this, and not the original.
        module.register_forward_hook(self.keep)

    def keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.value = output

    def __deepcopy__(self, memo: dict[int, Any]) -> "Hidden":
        """For a copied network, which has computed nothing: a tensor that gradients pass through cannot be copied."""
        copied = Hidden.__new__(Hidden)
        copied.value = torch.empty(0)
        return copied


@dataclass(frozen=True)
class Objective:
    """A loss, the noise levels that it is trained at, what it draws, and the heads that are trained along.

    `loss(denoiser, batch, <inputs>)` is a scalar, from the inputs that `asks` names: those in `inputs`, which are there
    before training, such as a teacher, and `heads`, `hidden` and `average`, which come from the training itself.
    `levels(normal, sigma_data)` gives σ and weight, (B,) each. `draw(batch, draws, <inputs>)` gives tensors by name,
    from the inputs that `draw_asks` names. `heads(width, features)` makes a module; width is the number of channels of
    the network's middle, features the size of a target.
    """

    loss: Callable[..., Tensor] = regression
    levels: Callable[[Tensor, float], tuple[Tensor, Tensor]] = edm_levels
    draw: Callable[..., dict[str, Tensor]] | None = None
    heads: Callable[..., nn.Module] | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    asks: tuple[str, ...] = ()
    draw_asks: tuple[str, ...] = ()
    ends: bool = False  # whether what it draws depends on where the run ends


EDM = Objective()  # what trained all weights before there were others


class Trained(nn.Module):
    """What a step trains: the denoiser, and the heads of the objective. A compiled step is a function of this."""

    def __init__(self, denoiser: Denoiser, objective: Objective) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.hidden = Hidden(middle(denoiser.network)) if "hidden" in objective.asks else None
        self.heads: nn.Module | None = None


def middle(network: nn.Module) -> nn.Module:
    """The module of a network whose output is its hidden state in the middle; ValueError where it names none."""
    module = getattr(network, "middle", None)
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"the objective reads hidden states, and {type(network).__name__} has no module `middle`: choose another "
            "model or objective"
        )
    return module


@torch.no_grad()
def hidden_width(trained: Trained, image: Tensor, sigma: Tensor, label: Tensor | None) -> int:
    """Channels of the network's middle, of one image (1, ...), σ and label (1,); 0 where nobody looks there."""
    if trained.hidden is None:
        return 0
    trained.denoiser(image, sigma, label)
    return trained.hidden.value.shape[1]
