"""A network in a pickle of EDM (Karras et al. 2022), of which no line is run.

Its positional parameter names the network with its weights in place of a shape: it is not trained here.
"""

from pathlib import Path
from typing import Literal

from torch import nn

VERSION = 1
FORM = "edm"  # as `pretrained` calls the format


def build(pretrained: nn.Module, *, path: Path, weights: Literal["ema", "raw"] | None = None) -> nn.Module:
    """The network itself.

    path: the file. {step} in it stands for the value of train.steps.
    weights: ema or raw, where the file has both.
    """
    return pretrained
