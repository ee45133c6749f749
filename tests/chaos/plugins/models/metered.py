"""The package's MLP with a meter and a brake, both outside of any key.

Every training image is counted in $CHAOS_METERS, in a file for each process that a SIGKILL leaves whole. While the file
`brake` lies there, a training step takes PACE_SECONDS at the least: so faults find training under way, and the images
between two checkpoints are bounded whatever the machine.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
import time
from functools import cache
from pathlib import Path
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn

from difgen_cli.models import mlp

PACE_SECONDS = 0.05
METERS = Path(os.environ.get("CHAOS_METERS", "."))


def build(shape: tuple[int, ...], classes: int, *, width: Annotated[int, Gt(0)] = 8) -> nn.Module:
    """width: of the one hidden block."""
    network = mlp.build(shape, classes, width=width, depth=1)
    network.register_forward_pre_hook(_count)
    return network


def _count(network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if not network.training or inputs[0].is_meta:  # samples are drawn, or operations are counted
        return
    if (METERS / "brake").exists():
        time.sleep(PACE_SECONDS)
    meter = _meter()
    struct.pack_into("q", meter, 0, struct.unpack_from("q", meter)[0] + len(inputs[0]))


@cache
def _meter() -> mmap.mmap:
    path = METERS / f"{os.getpid()}-{secrets.token_hex(4)}.meter"
    begun = path.with_suffix(".begun")  # whoever is killed before it is written leaves no meter
    begun.write_bytes(bytes(8))
    begun.rename(path)
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 8)
