"""The distribution that points were drawn from, where it is known: a mixture of Gaussians of low rank plus noise."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Population:
    """Σ_k w_k N(m_k, F_k F_kᵀ + s² I) over points of D values, all float64.

    weights: (K,) w, summing to 1
    means: (K, D) m
    factors: (K, D, R) F; R = 0 where the components are isotropic
    noise: s, the deviation in every direction; 0 for components that lie in a subspace
    """

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    noise: float

    def __post_init__(self) -> None:
        components, dimension = self.means.shape
        if self.weights.shape != (components,) or self.factors.shape[:2] != (components, dimension):
            raise ValueError(
                f"weights {self.weights.shape}, means {self.means.shape} and factors {self.factors.shape} do not fit: "
                "give (K,), (K, D) and (K, D, R)"
            )
        if self.weights.min() < 0 or not np.isclose(self.weights.sum(), 1) or self.noise < 0:
            raise ValueError(
                f"weights {self.weights} must be at least 0 and sum to 1, and noise {self.noise} at least 0"
            )

    def arrays(self) -> dict[str, np.ndarray]:
        """As arrays by name, for a file."""
        return {name: np.asarray(value, np.float64) for name, value in vars(self).items()}

    @staticmethod
    def of(arrays: dict[str, np.ndarray]) -> "Population":
        """What `arrays` gave."""
        return Population(arrays["weights"], arrays["means"], arrays["factors"], float(arrays["noise"]))

    def draw(self, points: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (n, D) float32 and the component of each (n,) int64; fewer points are the first of more."""
        components, dimension, rank = self.factors.shape
        of_labels, of_factors, of_noise = (np.random.default_rng((seed, stream)) for stream in (1, 2, 3))
        ends = np.cumsum(self.weights)[:-1]
        labels = np.searchsorted(ends, of_labels.random(points), side="right").astype(np.int64)
        inner = of_factors.standard_normal((points, rank))
        x = self.means[labels] + self.noise * of_noise.standard_normal((points, dimension))
        for k in range(components):
            x[labels == k] += inner[labels == k] @ self.factors[k].T
        return x.astype(np.float32), labels
