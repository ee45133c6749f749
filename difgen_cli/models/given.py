"""A network that somebody else trained, of any format that `pretrained` reads, and how it is read as a denoiser.

Its positional parameter names the network with its weights in place of a shape: it is not trained here.
"""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt
from torch import nn

VERSION = 1


def build(
    pretrained: nn.Module,
    *,
    path: Path,
    weights: Literal["ema", "raw"] | None = None,
    network: Path | None = None,
    prediction: Literal["edm", "noise", "clean", "velocity", "flow"] | None = None,
    unit: Annotated[float, Gt(0)] | None = None,
    noise_input: Literal["log", "time", "timestep"] | None = None,
    schedule: Literal["linear", "scaled_linear", "cosine"] | None = None,
    betas: tuple[float, ...] = (),
) -> nn.Module:
    """The network itself.

    path: a folder of diffusers, or one that `difgen weights convert` wrote; a pickle of EDM; a snapshot of a run
        directory; or a file of named tensors. {step} in it stands for the value of train.steps.
    weights: those of the running average, or those that were trained, where the files have both.
    network: a JSON file that says which network a file of named tensors is for; a user's own may be in plugins/models.
    prediction: what the network gives, as for any model, in place of what the files say; so are the following.
    unit: the standard deviation of images in its own units.
    noise_input: how it is told the noise.
    schedule: of its training.
    betas: of that schedule.
    """
    return pretrained
