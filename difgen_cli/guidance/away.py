"""Away from the nearest training image: the dissimilarity guidance of Chen et al. 2024 (Towards Memorization-Free

Diffusion Models), with −½ ‖D − n‖² as the similarity of an estimate and its nearest training image n. Its gradient is
taken in the estimate D, not through the network in x.
"""

from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from difgen_cli.guidance import Around

if TYPE_CHECKING:
    from torch import Tensor

    from difgen_cli.diffusion import DenoiserLike

VERSION = 1


def negative(denoiser: "DenoiserLike", train: "Tensor", *, within: Annotated[float, Gt(0)] | None = None) -> "Nearest":
    """The training image that is nearest to D(x; σ), so that the sum is D + w (D − n).

    within: the distance from it, rms over values in units of σ_d, from which on a sample is left alone; null: none.
    """
    return Nearest(denoiser, train, within)


class Nearest(Around):
    """The training image nearest to a denoiser's estimate."""

    def __init__(self, denoiser: "DenoiserLike", train: "Tensor", within: float | None) -> None:
        super().__init__(denoiser)
        self.train, self.within = train, within

    def __call__(self, x: "Tensor", sigma: "Tensor", labels: "Tensor | None" = None, /) -> "Tensor":
        """Like x, (B, C, H, W) or (B, D)."""
        return self.beside(self.denoiser(x, sigma, labels), x, sigma, labels)

    def beside(self, positive: "Tensor", x: "Tensor", sigma: "Tensor", labels: "Tensor | None") -> "Tensor":
        """The same, from the estimate that is known: no further evaluation."""
        import torch

        estimate, train = positive.flatten(1), self.train.flatten(1).to(positive.dtype)
        distance, place = torch.cdist(estimate, train).min(1)
        image = train[place]
        if self.within is not None:
            near = distance < self.within * self.sigma_data * estimate.shape[1] ** 0.5
            image = torch.where(near[:, None], image, estimate)
        return image.view_as(positive)
