"""Classifier guidance (Dhariwal & Nichol 2021): towards images that a classifier takes for the label."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from difgen_cli.guidance import Around

if TYPE_CHECKING:
    from torch import Tensor

    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("labels",)


def negative(denoiser: "DenoiserLike", classifier: "Callable[[Tensor, Tensor], Tensor]") -> "Unlike":
    """D − σ² ∇ log p(y | x; σ), so that the sum is D + w σ² ∇ log p(y | x; σ): eq. 10 of the paper, by Tweedie.

    The classifier is Gaussian classes of one covariance, made of T and its labels, with the noise added to it. Steering
    the denoiser of such classes together by it with weight 1 gives the denoiser of each class.
    """
    return Unlike(denoiser, classifier)


class Unlike(Around):
    """The denoiser's estimate, moved to where its label is less likely."""

    def __init__(self, denoiser: "DenoiserLike", classifier: "Callable[[Tensor, Tensor], Tensor]") -> None:
        super().__init__(denoiser)
        self.classifier = classifier

    def __call__(self, x: "Tensor", sigma: "Tensor", labels: "Tensor | None" = None, /) -> "Tensor":
        """Like x, (B, C, H, W) or (B, D)."""
        return self.beside(self.denoiser(x, sigma, labels), x, sigma, labels)

    def beside(self, positive: "Tensor", x: "Tensor", sigma: "Tensor", labels: "Tensor | None") -> "Tensor":
        """The same, from the estimate that is known: no further evaluation."""
        import torch

        from difgen_cli.diffusion import per_item

        if labels is None:
            return positive
        with torch.enable_grad():
            noisy = x.detach().requires_grad_()
            likely = self.classifier(noisy, sigma).gather(1, labels[:, None]).sum()
            (gradient,) = torch.autograd.grad(likely, noisy)
        return positive - per_item(sigma.square(), x) * gradient
