"""The exact denoiser of the distribution that the data were drawn from: the best that any model could become.

Its positional parameter names the population in place of a shape: it sees no training image, and is not trained.
"""

from difgen_cli.diffusion import Mixture, MixtureDenoiser

VERSION = 1


def build(population: Mixture, sigma_data: float) -> MixtureDenoiser:
    """The posterior mean under the population; within the component of the label where there is one."""
    return MixtureDenoiser(population, sigma_data)
