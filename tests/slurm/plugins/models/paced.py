"""The package's MLP at a walking pace, so that a fault finds it in mid-training, or with a hunger for memory.

Pace and hunger come from the environment: they are no settings, and in no key.
"""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Annotated

from annotated_types import Gt
from torch import nn

from difgen_cli.models import mlp

PACE_SECONDS = float(os.environ.get("PACE_SECONDS", "0"))  # of sleep before each training step
HUNGER_BYTES = int(os.environ.get("HUNGER_BYTES", "0"))  # of memory that training takes and does not use


def build(shape: tuple[int, ...], classes: int, *, width: Annotated[int, Gt(0)] = 8) -> nn.Module:
    """A network of one hidden layer; `width` is the width of that layer."""
    network = mlp.build(shape, classes, width=width, depth=1)
    network.register_forward_pre_hook(_walk)
    return network


def _walk(network: nn.Module, _: object) -> None:
    if network.training:
        time.sleep(PACE_SECONDS)
        _eat(HUNGER_BYTES)


@cache
def _eat(size_bytes: int) -> bytes:
    return b"x" * size_bytes
