"""A network of diffusers, with its scheduler: a folder of a UNet2DModel or a DiT, or of a pipeline that has one.

Its positional parameter names the network with its weights in place of a shape: it is not trained here.
"""

from pathlib import Path
from typing import Literal

from torch import nn

VERSION = 1
FORM = "diffusers"  # as `pretrained` calls the format


def build(pretrained: nn.Module, *, path: Path, weights: Literal["ema", "raw"] | None = None) -> nn.Module:
    """The network itself.

    path: the folder of the pipeline, or of the network. {step} in it stands for the value of train.steps.
    weights: those of the running average, or those that were trained, where both lie beside each other.
    """
    return pretrained
