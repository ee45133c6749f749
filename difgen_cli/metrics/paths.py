"""The ways of single samples in the plane: where each is at noise levels, and what three denoisers make of it there."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.metrics import Result, Value
from difgen_cli.metrics._intervals import mean_columns
from difgen_cli.metrics._noise import device_of, estimate

if TYPE_CHECKING:
    import torch

    from difgen_cli.diffusion import DenoiserLike

VERSION = 1

COLUMNS = {
    "end_distance": (
        "float64",
        "sigma_d",
        "distance of a sample to the nearest training point of its condition, mean over samples",
        {"label": "distance of samples to training points, in σ_d"},
    ),
    "end_distance_lo": ("float64", "sigma_d", "lower end of its 95 % interval over samples"),
    "end_distance_hi": ("float64", "sigma_d", "upper end of its 95 % interval over samples"),
    "paths_samples": ("int64", "samples", "whose ways are stored", {"role": "count"}),
}

TABLES = {
    "paths": {
        "kind_of_point": ("string", "", "path (a sample on its way), end (the sample), train or held_out"),
        "point": ("int64", "", "number of the sample, or of the training or held-out point"),
        "label": ("int64", "", "its condition; -1: none"),
        "sigma": ("float64", "", "noise level; NaN for train and held_out"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "x": ("float64", "", "first coordinate of the point"),
        "y": ("float64", "", "second coordinate"),
        "dx": ("float64", "", "first coordinate of D(x; sigma) - x of the denoiser that the sampler follows"),
        "dy": ("float64", "", "second coordinate"),
        "own_dx": ("float64", "", "the same of the network by itself, without guidance"),
        "own_dy": ("float64", "", "second coordinate"),
        "train_dx": ("float64", "", "the same of the posterior mean over the training points of its condition"),
        "train_dy": ("float64", "", "second coordinate"),
        "all_dx": ("float64", "", "the same of that over training and held-out points of its condition"),
        "all_dy": ("float64", "", "second coordinate"),
    }
}

States = Callable[..., tuple[np.ndarray, ...]]


def measure(
    states: States,
    denoiser: "DenoiserLike",
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    sample_labels: np.ndarray | None,
    sigma_data: float,
    *,
    sigmas: tuple[float, ...] = (0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.57, 0.8, 1.13, 1.6, 2.26),
    count: Annotated[int, Gt(0)] = 64,
) -> Result:
    """Where the first samples of a cell are on their way, and four estimates of each there: for points in the plane.

    The estimates are of the denoiser that the sampler follows, of the network without guidance, and of the ideal
    denoisers, which are posterior means over training points, and over training and held-out points, of the sample's
    condition. The difference of the first two is the weight of guidance times its direction (Kaiser et al. 2024).

    sigmas: noise levels, in units of sigma_d, above 0; the sampler's own nearest to them are stored, each once.
    count: samples, the first ones; all where there are fewer.
    """
    if train.ndim != 2 or train.shape[1] != 2:
        raise ValueError(
            f"paths is for points in two dimensions, not for shape {train.shape[1:]}: leave it out of score"
        )
    if not len(train):
        raise ValueError("paths needs training points: there are none")
    if min(sigmas, default=0.0) <= 0:
        raise ValueError(f"paths: sigmas must be one or more levels above 0, not {list(sigmas)}")
    levels, at, _, followed, _ = states(sigmas, estimates=sigmas)
    if not len(levels):
        return Result(
            dict.fromkeys(COLUMNS) | {"paths_samples": 0}, {"paths": {name: np.empty(0) for name in TABLES["paths"]}}
        )
    at, followed, ends = at[:, :count], followed[:, :count], samples[:count]
    labels = None if sample_labels is None else np.asarray(sample_labels[: len(ends)])
    own, of_train, of_all = _estimates(denoiser, at, levels, labels, train, held_out, train_labels, held_out_labels)
    if not all(np.isfinite(part).all() for part in (at, followed, own)):
        raise ValueError("paths: the denoiser gives NaN or infinite values: did the training diverge?")
    numbers, marks = np.arange(len(ends)), np.full(len(ends), -1) if labels is None else labels
    steps = {"d": followed - at, "own_d": own - at, "train_d": of_train - at, "all_d": of_all - at}
    lines = [
        _lines("path", numbers, marks, at[k], float(sigma), float(sigma) / sigma_data,
               {name: step[k] for name, step in steps.items()})
        for k, sigma in enumerate(levels)
    ]  # fmt: skip
    lines.append(_lines("end", numbers, marks, ends, 0.0, 0.0))
    for kind, points, given in (("train", train, train_labels), ("held_out", held_out, held_out_labels)):
        conditions = np.full(len(points), -1) if given is None or labels is None else given
        lines.append(_lines(kind, np.arange(len(points)), conditions, points, np.nan, np.nan))
    table = {name: np.concatenate([line[name] for line in lines]) for name in TABLES["paths"]}
    apart = _distances(ends, labels, train, train_labels)
    values: dict[str, Value] = {**mean_columns("end_distance", apart / sigma_data)}
    return Result(values | {"paths_samples": len(ends)}, {"paths": table})


def _distances(
    ends: np.ndarray, labels: np.ndarray | None, train: np.ndarray, train_labels: np.ndarray | None
) -> np.ndarray:
    """Of each sample (n, 2) to the nearest training point of its condition, (n,)."""
    apart = np.linalg.norm(ends[:, None].astype(float) - train[None], axis=2)
    if labels is not None and train_labels is not None:
        apart = np.where(labels[:, None] == train_labels[None], apart, np.inf)
    return np.asarray(apart.min(axis=1))


def _lines(
    kind: str, numbers: np.ndarray, labels: np.ndarray, points: np.ndarray, sigma: float, relative: float,
    steps: dict[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The lines of n points (n, 2) of one kind at one level; `steps`: by the first letters of their columns, (n, 2)."""
    n = len(points)
    absent = np.full((n, 2), np.nan)
    moved = {name: (steps or {}).get(name, absent).astype(float) for name in ("d", "own_d", "train_d", "all_d")}
    return {
        "kind_of_point": np.full(n, kind),
        "point": numbers.astype(np.int64),
        "label": labels.astype(np.int64),
        "sigma": np.full(n, sigma),
        "sigma_rel": np.full(n, relative),
        "x": points[:, 0].astype(float),
        "y": points[:, 1].astype(float),
        **{f"{name}{axis}": step[:, place] for name, step in moved.items() for place, axis in enumerate("xy")},
    }


def _estimates(
    denoiser: "DenoiserLike", at: np.ndarray, levels: np.ndarray, labels: np.ndarray | None, train: np.ndarray,
    held_out: np.ndarray, of_T: np.ndarray | None, of_H: np.ndarray | None,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """What the network by itself and the two ideal denoisers make of `at` (L, n, 2): like it, float64."""
    import torch

    from difgen_cli.diffusion import IdealDenoiser

    device = device_of(denoiser)
    given = None if labels is None else torch.from_numpy(labels).to(device)

    def ideal(*parts: tuple[np.ndarray, np.ndarray | None]) -> IdealDenoiser:
        points = np.concatenate([np.asarray(part, np.float32) for part, _ in parts])
        conditions = [own for _, own in parts if own is not None]
        tags = torch.from_numpy(np.concatenate(conditions)) if labels is not None else None
        return IdealDenoiser(torch.from_numpy(points), denoiser.sigma_data, tags).to(device)

    asked = (denoiser, ideal((train, of_T)), ideal((train, of_T), (held_out.reshape(-1, 2), of_H)))
    estimates = [[_of(one, part, float(sigma), given, device) for part, sigma in zip(at, levels, strict=True)]
            for one in asked]  # fmt: skip
    return tuple(np.stack(levels_of_one) for levels_of_one in estimates)


def _of(
    denoiser: "DenoiserLike", points: np.ndarray, sigma: float, labels: "torch.Tensor | None", device: "torch.device"
) -> np.ndarray:
    import torch

    x = torch.from_numpy(np.asarray(points, np.float32)).to(device)
    return np.asarray(estimate(denoiser, x, sigma, labels).double().cpu().numpy())
