"""Classifier-free guidance (Ho & Salimans 2022): away from the same network with its condition dropped."""

from typing import TYPE_CHECKING

from difgen_cli.guidance import Unconditional

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("dropped condition",)


def negative(denoiser: "DenoiserLike") -> Unconditional:
    """D(x; σ) without the condition, which the network learnt from the labels that train.condition_dropout dropped."""
    return Unconditional(denoiser)
