"""The flow field of a denoiser of points in the plane: where it sends each place, for a drawing."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.metrics import Result
from difgen_cli.metrics._noise import device_of, estimate, within

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1

COLUMNS = {"field_points": ("int64", "points", "of the grid that the flow field is drawn from", {"role": "count"})}

TABLES = {
    "field": {
        "sigma": ("float64", "", "noise level"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "kind_of_point": ("string", "", "grid, train or held_out"),
        "x": ("float64", "", "first coordinate of the point"),
        "y": ("float64", "", "second coordinate"),
        "dx": ("float64", "", "first coordinate of D(x; sigma) - x"),
        "dy": ("float64", "", "second coordinate"),
    }
}


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    sigma_data: float,
    *,
    sigmas: tuple[float, ...] = (0.1, 0.2, 0.5),
    side: Annotated[int, Ge(2)] = 17,
    margin: Annotated[float, Gt(0)] = 0.3,
    condition: Annotated[int, Ge(0)] = 0,
    guided: bool = False,
) -> Result:
    """D(x; σ) − x on a square grid about the training points, and at the training and held-out points themselves.

    For points in two dimensions alone; of a conditional model one condition is shown.

    sigmas: noise levels, in units of sigma_d, above 0.
    side: grid points along each side.
    margin: how far the grid reaches beyond the training points, as a share of their half-width.
    condition: whose field it is, where there are several.
    guided: look at the denoiser that the sampler follows, and not at the network by itself.
    """
    if train.ndim != 2 or train.shape[1] != 2:
        raise ValueError(
            f"field is for points in two dimensions, not for shape {train.shape[1:]}: leave it out of score"
        )
    if not len(train):
        raise ValueError("field needs training points: there are none")
    if min(sigmas, default=1.0) <= 0:
        raise ValueError(f"field: sigmas must be above 0, not {min(sigmas)}")
    if train_labels is not None and condition not in train_labels:
        raise ValueError(f"field: no training point has condition {condition}; there are {np.unique(train_labels)}")
    groups = {"grid": square(train, side, margin), "train": train, "held_out": held_out}
    points = np.concatenate([np.asarray(group, np.float32).reshape(-1, 2) for group in groups.values()])
    kinds = np.repeat(list(groups), [len(group) for group in groups.values()])
    levels = sigma_data * np.asarray(sigmas, float)
    moved = [_moved(denoiser, points, float(sigma), None if train_labels is None else condition) for sigma in levels]
    inside = np.flatnonzero(within(denoiser, levels))
    if not all(np.isfinite(moved[k]).all() for k in inside):
        raise ValueError("field: the denoiser gives NaN or infinite values: did the training diverge?")
    each, steps = len(points), np.concatenate(moved) if moved else np.empty((0, 2))
    table = {
        "sigma": np.repeat(levels, each),
        "sigma_rel": np.repeat(np.asarray(sigmas, float), each),
        "kind_of_point": np.tile(kinds, len(levels)),
        "x": np.tile(points[:, 0].astype(float), len(levels)),
        "y": np.tile(points[:, 1].astype(float), len(levels)),
        "dx": steps[:, 0],
        "dy": steps[:, 1],
    }
    return Result({"field_points": side * side}, {"field": table})


def square(points: np.ndarray, side: int, margin: float) -> np.ndarray:
    """(side², 2): a square grid with the points in its middle, (1 + margin) times their half-width each way."""
    low, high = points.min(axis=0), points.max(axis=0)
    reach = (1 + margin) * (float((high - low).max()) / 2 or 1.0)  # a single point has no width
    ticks = np.linspace(-reach, reach, side)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    return np.asarray((low + high) / 2 + grid)


def _moved(denoiser: "DenoiserLike", points: np.ndarray, sigma: float, condition: int | None) -> np.ndarray:
    """D(x; σ) − x, (n, 2) float64."""
    import torch

    x = torch.from_numpy(points).to(device_of(denoiser))
    labels = None if condition is None else torch.full((len(x),), condition, device=x.device)
    return np.asarray((estimate(denoiser, x, sigma, labels) - x).double().cpu().numpy())
