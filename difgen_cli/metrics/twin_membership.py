"""Membership without held-out images: two networks of one recipe on disjoint halves, each tells its own images."""

from typing import TYPE_CHECKING, Annotated, Protocol

import numpy as np
from annotated_types import Ge

from difgen_cli.metrics import Result
from difgen_cli.metrics.membership import twin_aucs

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 2
ATTACKS = ("membership inference",)  # that its columns answer for, as `difgen gate` names them

COLUMNS = {
    "mia_twin_auc_025": ("float64", "", "AUROC of loss_B - loss_A, T_A against T_B, at 0.25 sigma_d: 0.5 without leak"),
    "mia_twin_auc_025_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "mia_twin_auc_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "mia_twin_auc_050": ("float64", "", "the same at 0.5 sigma_d"),
    "mia_twin_auc_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_twin_auc_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_twin_auc_100": ("float64", "", "the same at sigma_d"),
    "mia_twin_auc_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_twin_auc_100_hi": ("float64", "", "upper end of its 95 % interval"),
}


class TwinNetwork(Protocol):
    """The trajectory of the other half."""

    train: np.ndarray
    train_labels: np.ndarray | None
    denoiser: "DenoiserLike"


def measure(
    denoiser: "DenoiserLike",
    twin: TwinNetwork,
    train: np.ndarray,
    train_labels: np.ndarray | None,
    sigma_data: float,
    *,
    images: Annotated[int, Ge(2)] = 1024,
) -> Result:
    """The two exchange their roles, so that nothing but training tells their images apart.

    images: of each half, at most.
    """
    labels = train_labels, twin.train_labels
    return Result({**twin_aucs(denoiser, twin.denoiser, train, twin.train, *labels, sigma_data, images=images)})
