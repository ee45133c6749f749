"""What is read off the derivative of a denoiser at an image: exactly from all of it, or estimated from products."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from difgen_cli.metrics._derivatives import jvp, vjp
from difgen_cli.metrics._noise import BLOCK_ELEMENTS

if TYPE_CHECKING:
    from torch import Tensor

    from difgen_cli.diffusion import DenoiserLike

SEED = 13
STEPS = 24  # of the bidiagonalisation: products with J, and as many with its transpose, for each probe
ROWS = 8  # of J, for each probe, that the range is estimated from


@dataclass(frozen=True)
class Derivative:
    """What is read off ∂D/∂x at one image and noise level, and the standard errors of what was estimated."""

    jac_rank: float
    jac_asym: float
    jac_top: float
    corr_range: float
    jac_rank_error: float = 0.0
    jac_asym_error: float = 0.0
    corr_range_error: float = 0.0


@dataclass(frozen=True)
class At:
    """A denoiser at noisy images (n, ...) and one absolute noise level; labels (n,) or None."""

    denoiser: "DenoiserLike"
    x: "Tensor"
    sigma: float
    labels: "Tensor | None"

    def left(self, vectors: np.ndarray) -> np.ndarray:
        """uᵀJ of k vectors u at each image, (n, k, d): like them, float64."""
        return self._products(vectors, forwards=False)

    def right(self, vectors: np.ndarray) -> np.ndarray:
        """Jv of k vectors v at each image, (n, k, d): like them, float64."""
        return self._products(vectors, forwards=True)

    def _products(self, vectors: np.ndarray, *, forwards: bool) -> np.ndarray:
        import torch

        n, k, d = vectors.shape
        block, parts, flat = max(1, min(256, BLOCK_ELEMENTS // d)), [], vectors.reshape(n * k, d)
        of = torch.arange(n, device=self.x.device).repeat_interleave(k)
        for start in range(0, n * k, block):
            some, rows = torch.tensor(flat[start : start + block]).to(self.x), of[start : start + block]
            labels, product = None if self.labels is None else self.labels[rows], jvp if forwards else vjp
            of_block = product(self.denoiser, self.x[rows], self.sigma, labels, some.view(-1, *self.x.shape[1:]))
            parts.append(of_block.flatten(1).double().cpu().numpy())
        products = np.concatenate(parts).reshape(vectors.shape)
        if not np.isfinite(products).all():
            raise ValueError("jacobian: the denoiser's derivative is NaN or infinite: did the training diverge?")
        return products


def pixels(shape: tuple[int, ...]) -> np.ndarray | None:
    """Row and column (d, 2) of each value of an image (H, W, C), in torch's order of channels first; None of points."""
    if len(shape) != 3:
        return None
    rows, columns, channels = shape
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)
    return np.tile(grid, (channels, 1)).astype(float)


def exactly(at: At, places: np.ndarray | None, energy: float) -> list[Derivative]:
    n, d = len(at.x), at.x[0].numel()
    return [of_matrix(matrix, places, energy) for matrix in at.left(np.broadcast_to(np.eye(d), (n, d, d)))]


def of_matrix(matrix: np.ndarray, places: np.ndarray | None, energy: float) -> Derivative:
    """All of it from J itself, (d, d); NaN for what a J of zeros does not have."""
    values = np.linalg.svd(matrix, compute_uv=False)
    total, norm = np.cumsum(values**2), float(np.linalg.norm(matrix))
    rank = float(np.searchsorted(total, energy * total[-1]) + 1) if norm else 0.0
    asymmetry = float(np.linalg.norm(matrix - matrix.T)) / (2 * norm) if norm else np.nan
    reach = np.nan if places is None else _range(matrix, np.arange(len(matrix)), places)[0]
    return Derivative(rank, asymmetry, float(values[0]), reach)


def estimated(at: At, places: np.ndarray | None, energy: float, probes: int, first: int) -> list[Derivative]:
    """The same from products alone; the random vectors are those of images `first`, `first` + 1, …"""
    n, d = len(at.x), at.x[0].numel()
    chances = [np.random.default_rng((SEED, first + i)) for i in range(n)]
    vectors = np.stack([chance.standard_normal((probes, d)) for chance in chances])
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    right, left = at.right(vectors), at.left(vectors)
    apart, size = np.square(right - left).sum(axis=2), (np.square(right) + np.square(left)).sum(axis=2) / 2
    nodes, weights = ritz(at, vectors)
    rows = np.stack([chance.choice(d, size=min(d, ROWS * probes), replace=False) for chance in chances])
    of_rows = np.zeros((n, 0, d)) if places is None else at.left(np.eye(d)[rows])
    return [
        _of_probes(apart[i], size[i], nodes[i], weights[i], d, energy)
        if places is None or not size[i].any()
        else replace(
            _of_probes(apart[i], size[i], nodes[i], weights[i], d, energy),
            **dict(zip(("corr_range", "corr_range_error"), _range(of_rows[i], rows[i], places), strict=True)),
        )
        for i in range(n)
    ]


def _of_probes(
    apart: np.ndarray, size: np.ndarray, nodes: np.ndarray, weights: np.ndarray, dimensions: int, energy: float
) -> Derivative:
    """What the probes of one image tell, without the range: ‖Jv − Jᵀv‖², its scale (k,), and Ritz values (k, steps)."""
    if not size.any():
        return Derivative(0.0, np.nan, 0.0, np.nan)
    without = [np.arange(len(size)) != k for k in range(len(size))]
    ranks = [rank_of(nodes[some], weights[some], dimensions, energy) for some in without]
    asymmetries = [_asymmetry(apart[some], size[some]) for some in without]
    rank, asymmetry = rank_of(nodes, weights, dimensions, energy), _asymmetry(apart, size)
    errors = _jackknife(ranks), _jackknife(asymmetries)
    return Derivative(rank, asymmetry, float(nodes.max()), np.nan, *errors, np.nan)


def ritz(at: At, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values of J's singular values from unit vectors (n, k, d), and weights, which sum to 1: (n, k, steps) each.

    Golub & Kahan 1965, all vectors of both sides kept and orthogonal, of all probes at once.
    """
    n, probes, d = vectors.shape
    steps = min(STEPS, d)
    ours, theirs = np.zeros((n, probes, steps, d)), np.zeros((n, probes, steps, d))
    bidiagonal = np.zeros((n, probes, steps, steps))
    v = vectors
    for k in range(steps):
        ours[:, :, k] = v
        u, bidiagonal[:, :, k, k] = _next(at.right(v), theirs[:, :, :k])
        theirs[:, :, k] = u
        if k + 1 < steps:
            v, bidiagonal[:, :, k, k + 1] = _next(at.left(u), ours[:, :, : k + 1])
    _, values, rights = np.linalg.svd(bidiagonal)
    return values, rights[..., 0] ** 2


def _next(product: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A product (..., d) made orthogonal to the vectors before it (..., j, d) and of length 1, and its length (...).

    Where nothing is left, as for a J of low rank, both are 0.
    """
    size = np.linalg.norm(product, axis=-1)
    for _ in range(2):  # twice is enough (Parlett 1998)
        along = before @ product[..., None]
        product = product - (np.swapaxes(before, -1, -2) @ along)[..., 0]
    length = np.linalg.norm(product, axis=-1)
    length = np.where(length > 1e-6 * size, length, 0.0)[..., None]  # rounding of float32
    return np.divide(product, length, out=np.zeros_like(product), where=length > 0), length[..., 0]


def rank_of(nodes: np.ndarray, weights: np.ndarray, dimensions: int, energy: float) -> float:
    """How many singular values have the share `energy` of Σ s², from Ritz values and weights of probes, (k, steps)."""
    order = np.argsort(-nodes, axis=None)
    share, each = weights.ravel()[order] / len(nodes), nodes.ravel()[order] ** 2
    held = np.concatenate([[0.0], np.cumsum(share * each)])
    return float(dimensions * np.interp(energy * held[-1], held, np.concatenate([[0.0], np.cumsum(share)])))


def _asymmetry(apart: np.ndarray, size: np.ndarray) -> float:
    return float(np.sqrt(apart.sum() / size.sum()) / 2)


def _jackknife(without: list[float]) -> float:
    """The standard error of an estimate from its values without each of its parts."""
    return float(np.sqrt((len(without) - 1) * np.var(without)))


def _range(rows: np.ndarray, of: np.ndarray, places: np.ndarray) -> tuple[float, float]:
    """Σ d |J| / Σ |J| over rows (k, d) of J, those of the values `of`, and its standard error where they are drawn."""
    distances = np.linalg.norm(places[of, None] - places[None], axis=2)
    reach, weight = (distances * abs(rows)).sum(axis=1), abs(rows).sum(axis=1)
    if not weight.any():
        return np.nan, np.nan
    value = reach.sum() / weight.sum()
    return float(value), float(np.sqrt(len(of)) * np.std(reach - value * weight, ddof=1) / weight.sum())
