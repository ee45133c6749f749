"""The state of a training: its weights, their average and the optimizer; and how a step is computed."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from difgen_cli.diffusion import Denoiser
from difgen_cli.diffusion.objective import EDM, Objective, Trained, hidden_width
from difgen_cli.diffusion.optimizer import Adam, Flat, Idle, Sgd, flatten
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.weight_path import WeightPath

Step = Callable[..., Tensor]  # of what is trained and the tensors of a batch: the loss


def as_written(step: Step) -> Step:
    """The same."""
    return step


@dataclass(frozen=True)
class ExecutionMode:
    """How a step is computed: as it is written or in fewer operations, and the order of images in memory."""

    wrap: Callable[[Step], Step] = as_written
    layout: torch.memory_format = torch.contiguous_format

    def laid(self, x: Tensor) -> Tensor:
        """x in that order; points have but one."""
        return x.contiguous(memory_format=self.layout) if x.dim() == 4 else x


EAGER = ExecutionMode()  # every operation as it is written


@dataclass
class TrainingState:
    """A run after `step` steps.

    `trained` has the raw weights and the heads, `ema` the average of the network's; `loss` is the last step's, a scalar
    on the device that nobody has waited for, `lr` its learning rate. `weights` are all the parameters of the network
    and then of the heads in few arrays, `averages` those of the network's average; `path` measures the steps of the
    network's weights, or of none.
    """

    step: int
    trained: Trained
    ema: Denoiser
    weights: list[Flat]
    averages: list[Flat]
    optimizer: Adam | Sgd
    loss: Tensor
    idle: Idle
    path: WeightPath
    lr: float = 0.0

    @property
    def denoiser(self) -> Denoiser:
        """With the raw weights."""
        return self.trained.denoiser

    @property
    def of_network(self) -> list[Flat]:
        """The arrays of the network's weights, without those of the heads."""
        return self.weights[: len(self.averages)]

    @property
    def grad_norm(self) -> Tensor:
        """Euclidean norm of the last step's gradient, as the optimizer saw it (clipped, if clipping is on)."""
        gradients = [p.grad for p in self.trained.parameters() if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients, foreach=True)

    @property
    def frozen(self) -> tuple[str, ...] | None:
        """The parameters of the network that no loss trains, by name; None before that is known, after twelve steps."""
        return self.idle.frozen(self.denoiser.network, self.step)

    def move(self, lr: float) -> None:
        """Let the optimizer move the weights at this learning rate."""
        self.lr = lr
        self.optimizer.step(lr)
        self.path.arrive()

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
            **({"path": self.path.total} if self.path.arrays else {}),
            **({} if self.trained.heads is None else {"heads": self.trained.heads.state_dict()}),
        }

    def restore(self, checkpoint: dict[str, Any] | None) -> None:
        """Become the state that `checkpoint` was taken of, if any; KeyError or RuntimeError where it does not fit.

        Where its heads are None, they were another objective's: those of this state begin anew, with their moments.
        """
        if checkpoint is None:
            return
        if checkpoint.get("heads", ()) is None:
            checkpoint = self._with_own_heads(checkpoint)
        self.denoiser.network.load_state_dict(checkpoint["network"])
        self.ema.network.load_state_dict(checkpoint["ema"])
        if self.trained.heads is not None:
            self.trained.heads.load_state_dict(checkpoint["heads"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.loss = checkpoint["loss"].to(self.loss.device)
        self.step = int(checkpoint["step"])
        self.idle.load_state_dict(checkpoint.get("idle"), self.step)
        self.path.restore(checkpoint.get("path"))

    def _with_own_heads(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """A checkpoint with the heads of this state, if it has any, and all that belongs to them."""
        own = self.checkpoint()
        of_network = sum(len(flat.parameters) for flat in self.averages)
        moments = {place: checkpoint["optimizer"]["state"][place] for place in range(of_network)}
        counts = {place: checkpoint["idle"]["counts"][place] for place in range(len(self.averages))}
        return {
            **checkpoint,
            "heads": own.get("heads"),
            "optimizer": {"state": own["optimizer"]["state"] | moments},
            "idle": {"counts": own["idle"]["counts"] | counts, "until": checkpoint["idle"]["until"]},
        }


def begin(
    network: nn.Module, sigma_data: float, device: str | torch.device, *, weight_decay: float = 0.0,
    objective: Objective = EDM, denoiser: Callable[[nn.Module, float], Denoiser] = Denoiser,
    image: Tensor | None = None, conditional: bool = True, seed: int = 0, momentum: float | None = None,
    weight_path: bool = False,
) -> TrainingState:  # fmt: skip
    """The state before the first step. The network moves to `device` and is trained in place.

    `denoiser(network, sigma_data)` reads it. Heads need `image`, one scaled image (1, ...), and whether there are
    labels; their initial weights are of `seed`. `momentum` is that of SGD; None: Adam. `weight_path`: whether the
    steps of the weights are measured.
    """
    own = denoiser(network, sigma_data).to(device).train()
    ema = copy.deepcopy(own).eval()
    trained = Trained(own, objective)
    if objective.heads is not None and image is not None:
        make = partial(_heads, objective.heads, trained, objective.inputs.get("targets"), image, conditional)
        trained.heads = initialise(make, seed, "heads").to(device)
    weights = flatten(network) + (flatten(trained.heads) if trained.heads is not None else [])
    averages = flatten(ema.network)
    ema.requires_grad_(False)
    optimizer = Adam(weights, weight_decay) if momentum is None else Sgd(weights, weight_decay, momentum)
    zero = torch.zeros((), device=device)
    idle = Idle(weights)
    idle.conditional = conditional
    path = WeightPath(weights[: len(averages)] if weight_path else [])
    return TrainingState(0, trained, ema, weights, averages, optimizer, zero, idle, path)


def _heads(
    make: Callable[..., nn.Module], trained: Trained, targets: Tensor | None, image: Tensor, conditional: bool
) -> nn.Module:
    label = torch.zeros(1, dtype=torch.int64, device=image.device) if conditional else None
    trained.eval()  # dropout would draw
    width = hidden_width(trained, image, image.new_ones(1), label)
    trained.train()
    return make(width=width, features=0 if targets is None else targets.shape[1])
