"""A network that somebody else trained, of any format that `pretrained` reads, and how it is read as a denoiser.

Its positional parameter names such weights in place of a shape: it is not trained here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt
from torch import nn

if TYPE_CHECKING:
    from difgen_cli.pretrained import PretrainedModel

VERSION = 1


def build(
    pretrained: "PretrainedModel",
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
    """The network with its weights, as it is evaluated.

    path: a folder of diffusers, or one that `difgen weights convert` wrote; a pickle of EDM; a snapshot of a run
        directory; or a file of named tensors. {step} in it stands for the value of train.steps.
    weights: those of the running average, or those that were trained, where the files have both.
    network: a JSON file that says which network a file of named tensors is for; a user's own may be in plugins/models.
    prediction, unit, noise_input, schedule, betas: those of any network, in place of what the files say.
    """
    return pretrained.build()
