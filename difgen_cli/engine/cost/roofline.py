"""The roofline (Williams, Waterman and Patterson 2009): no image is faster than its arithmetic or its memory allows.

Pure: work in, shares out. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from difgen_cli.engine.cost.flops import NetworkWork


@dataclass(frozen=True)
class Limits:
    """What a device does at most, as measured: matrix products, and moving numbers to and from memory."""

    flops_per_second: float
    bytes_per_second: float


def seconds(work: NetworkWork, limits: Limits) -> float:
    """The shortest time that an image takes: the longer of its arithmetic and its traffic, which overlap at best."""
    return max(work.flops / limits.flops_per_second, work.bytes / limits.bytes_per_second)


def bound(work: NetworkWork, limits: Limits) -> Literal["compute", "memory"]:
    """Which of the two it is."""
    compute = work.flops / limits.flops_per_second >= work.bytes / limits.bytes_per_second
    return "compute" if compute else "memory"


def share(work: NetworkWork, limits: Limits, images_per_second: float) -> float:
    """A measured speed as a share of the roofline's: 1 is the limit of operations that are done one at a time."""
    return seconds(work, limits) * images_per_second


def mfu(work: NetworkWork, limits: Limits, images_per_second: float) -> float:
    """Model FLOPs utilisation (Chowdhery et al. 2022): the share of the measured matrix rate that does useful work."""
    return work.flops * images_per_second / limits.flops_per_second
