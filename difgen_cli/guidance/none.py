"""No guidance."""

from difgen_cli.diffusion import DenoiserLike

VERSION = 1


def guide(denoiser: DenoiserLike) -> DenoiserLike:
    """The denoiser itself, unchanged."""
    return denoiser
