"""Autoguidance (Karras et al. 2024): away from a worse self, under the same condition."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1


def negative(weak: "DenoiserLike") -> "DenoiserLike":
    """The worse self, which the grid names by what differs: `weak: {train.steps: 500}`, `weak: {model.width: 32}`.

    An earlier snapshot, a narrower network, more weight decay, or several of these at once.
    """
    return weak
