"""The error-prone denoiser of Kaiser & Kollmann (2026): a model in closed form, with one number for how much it errs.

Its positional parameters name training images in place of a shape: it is made of them, and not trained.
"""

from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn

from difgen_cli.diffusion import IdealDenoiser, per_item

VERSION = 1


class ErrorProne(nn.Module):
    """y_δ(x; σ) = (δ² x + σ² y*(x; √(σ² + δ²))) / (σ² + δ²), with y* the posterior mean over the training images.

    A denoiser that sees its training set through noise of deviation δ: 0 would be the perfect memorizer.
    """

    def __init__(self, ideal: IdealDenoiser, delta: float) -> None:
        super().__init__()
        self.ideal, self.delta, self.sigma_data = ideal, delta, ideal.sigma_data

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Like x, (B, D) or (B, C, H, W); sigma (B,)."""
        variance, error = sigma.double().square(), self.delta**2
        blurred = self.ideal(x.double(), (variance + error).sqrt(), labels)
        mixed = per_item(error / (variance + error), x) * x + per_item(variance / (variance + error), x) * blurred
        denoised: Tensor = mixed.to(x.dtype)
        return denoised


def build(
    train: Tensor, train_labels: Tensor | None, sigma_data: float, *, delta: Annotated[float, Gt(0)] = 1.6
) -> ErrorProne:
    """The denoiser of the training images (N, C, H, W) or (N, D).

    delta: how far it errs, in the units of the data.
    """
    return ErrorProne(IdealDenoiser(train, sigma_data, train_labels), delta)
