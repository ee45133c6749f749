"""A network of diffusers, with its scheduler: a folder of a UNet2DModel or a DiT, or of a pipeline that has one.

Its positional parameter names such weights in place of a shape: it is not trained here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torch import nn

if TYPE_CHECKING:
    from difgen_cli.pretrained import PretrainedModel

VERSION = 1
FORM = "diffusers"  # as `pretrained` calls the format


def build(pretrained: "PretrainedModel", *, path: Path, weights: Literal["ema", "raw"] | None = None) -> nn.Module:
    """The network with its weights, as it is evaluated.

    path: the folder of the pipeline, or of the network. {step} in it stands for the value of train.steps.
    weights: those of the running average, or those that were trained, where both lie beside each other.
    """
    return pretrained.build()
