"""Log-normal regression of times that are known only to lie between two snapshots, with what its parameters leave open.

    log τ = b₀ + Σ b_k log x_k + u + e,   u ~ N(0, between²) of each setting,   e ~ N(0, within²) of each training

Seeds of one setting share u: how far the setting lies off the plane, which a new setting does too. `lognormal.fit` has
the likeliest line; here are draws from the posterior, by Gibbs sampling with the unknown times as further unknowns
(Tanner and Wong 1987; of regression with censored times, Chib 1992). b is flat a priori. A scatter is flat below what
can be resolved and 1/scatter above, as in the reference prior of normal regression, whose predictions have the
coverage that they claim: the resolution is that of the snapshots for seeds, and the standard error of a setting's mean
for settings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri_exp

from difgen_cli.report.study.lognormal import finest

CHAINS, WARM_UP, KEPT, THIN = 32, 200, 100, 2
LEVELS = 48  # of a scatter, from which one is drawn
LEAST, MOST = 1 / 20, 50.0  # the lowest level in resolutions of the snapshots, the highest in scatters about the plane
FAR = 60.0  # natural logarithms within which a predicted time is looked for


@dataclass(frozen=True)
class Times:
    """n times of J settings with k variables each.

    logs: (J, k), natural logarithms of the variables. setting: (n,) whole numbers below J. low, high: (n,) the ends of
    the intervals; low 0: left-censored, high ∞: right-censored.
    """

    logs: np.ndarray
    setting: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Posterior:
    """D draws. coefficients: (D, 1 + k) of b₀ and b. between, within: (D,) the scatters, natural logarithms."""

    coefficients: np.ndarray
    between: np.ndarray
    within: np.ndarray

    def share_before(self, time: float, logs: np.ndarray) -> np.ndarray:
        """P(τ < time) of a new training in a new setting with these variables (k,), given each draw: (D,)."""
        middle = self.coefficients[:, 0] + self.coefficients[:, 1:] @ logs
        return np.asarray(ndtr((np.log(time) - middle) / np.hypot(self.between, self.within)))

    def quantile(self, share: float, logs: np.ndarray) -> float:
        """The time before which τ of a new training is with this probability: over the draws, not at the best one."""
        middle = float(np.median(self.coefficients[:, 0] + self.coefficients[:, 1:] @ logs))

        def excess(log_time: float) -> float:
            return float(self.share_before(np.exp(log_time), logs).mean()) - share

        return float(np.exp(brentq(excess, middle - FAR, middle + FAR, xtol=1e-6)))

    def with_confidence(self, share: float, confidence: float, logs: np.ndarray) -> float:
        """The time before which no more than this share of trainings copies, with this posterior probability."""
        middle = self.coefficients[:, 0] + self.coefficients[:, 1:] @ logs
        ends = middle + np.hypot(self.between, self.within) * float(ndtri_exp(np.log(share)))
        return float(np.exp(np.quantile(ends, 1 - confidence)))


def draws(times: Times, seed: int = 0) -> Posterior:
    """Draws from the posterior: the same for the same seed.

    Two settings more than there are coefficients must have a time with both ends, and their variables must not lie in
    a plane of fewer dimensions: else the posterior is none. The caller sees to that.
    """
    chance, state = np.random.default_rng(seed), _Gibbs(times)
    kept = []
    for step in range(WARM_UP + KEPT * THIN):
        state.update(chance)
        if step >= WARM_UP and step % THIN == 0:
            kept.append((state.coefficients, state.between, state.within))
    coefficients, between, within = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    slopes = coefficients[:, 1:] / state.scale
    intercept = coefficients[:, 0] - slopes @ state.centre
    return Posterior(np.column_stack([intercept, slopes]), between, within)


class _Gibbs:
    """Chains side by side: arrays begin with the chain. Variables are centred and scaled."""

    def __init__(self, times: Times) -> None:
        with np.errstate(divide="ignore"):
            self.low, self.high = np.log(np.asarray(times.low, float)), np.log(np.asarray(times.high, float))
        self.setting, settings = times.setting, len(times.logs)
        self.belongs = np.equal.outer(self.setting, np.arange(settings)).astype(float)  # (n, J)
        self.count = self.belongs.sum(axis=0)
        self.of_mean = float(np.sqrt((1 / self.count).mean()))  # standard error of a setting's mean over `within`
        self.centre, spread = times.logs.mean(axis=0), times.logs.std(axis=0)
        self.scale = np.where(spread > 0, spread, 1.0)
        self.design = np.column_stack([np.ones(settings), (times.logs - self.centre) / self.scale])  # (J, 1 + k)
        self.resolution = finest(times.low, times.high)
        middle = np.where(np.isfinite(self.low), self.low, self.high - self.resolution)
        middle = (middle + np.where(np.isfinite(self.high), self.high, self.low + self.resolution)) / 2
        best = np.linalg.lstsq(self.design[self.setting], middle, rcond=None)[0]
        reach = max(float(np.std(middle - self.design[self.setting] @ best)), self.resolution)
        self.levels = np.geomspace(LEAST * self.resolution, MOST * reach, LEVELS)
        self.coefficients = np.tile(best, (CHAINS, 1))
        self.effects = np.zeros((CHAINS, settings))
        self.within = np.geomspace(self.resolution, 2 * reach, CHAINS)
        self.between = self.within[::-1].copy()

    def update(self, chance: np.random.Generator) -> None:
        """One round: the times, the settings' scatter, the coefficients, the settings, the seeds' scatter."""
        plane = self.coefficients @ self.design.T  # (chains, J)
        drawn = _between(chance, (plane + self.effects)[:, self.setting], self.within[:, None], self.low, self.high)
        means = drawn @ self.belongs / self.count
        of_mean = (self.within**2)[:, None] / self.count  # variance of a setting's mean around the setting
        self._draw_between(chance, means - plane, of_mean)
        variance = (self.between**2)[:, None] + of_mean
        self._draw_coefficients(chance, means, 1 / variance)
        share = (self.between**2)[:, None] / variance
        plane = self.coefficients @ self.design.T
        normal = chance.standard_normal(share.shape)
        self.effects = share * (means - plane) + np.sqrt(share * of_mean) * normal
        rest = drawn - (plane + self.effects)[:, self.setting]
        self._draw_within(chance, np.square(rest).sum(axis=1))

    def _draw_between(self, chance: np.random.Generator, off: np.ndarray, of_mean: np.ndarray) -> None:
        """Given how far the settings' means are off the plane (chains, J), whatever the settings' own effects."""
        variance = (self.levels**2)[:, None] + of_mean[:, None, :]  # (chains, levels, J)
        log_density = -0.5 * (np.log(variance) + np.square(off)[:, None, :] / variance).sum(axis=2)
        self.between = self._of_levels(chance, log_density, (self.within * self.of_mean)[:, None])

    def _draw_within(self, chance: np.random.Generator, squares: np.ndarray) -> None:
        log_density = -len(self.setting) * np.log(self.levels) - squares[:, None] / (2 * self.levels**2)
        log_density -= np.log(self.between[:, None] + self.of_mean * self.levels)  # the knee of the settings' scatter
        self.within = self._of_levels(chance, log_density, np.full((CHAINS, 1), self.resolution))

    def _of_levels(self, chance: np.random.Generator, log_density: np.ndarray, resolution: np.ndarray) -> np.ndarray:
        """A scatter of each chain: log-densities (chains, levels) without the prior, whose knee is at `resolution`."""
        log_density = log_density + np.log(self.levels) - np.log(self.levels + resolution)  # on the logarithmic scale
        below = np.exp(log_density - log_density.max(axis=1, keepdims=True)).cumsum(axis=1)
        drawn = (below < chance.uniform(size=(CHAINS, 1)) * below[:, -1:]).sum(axis=1)
        ratio = self.levels[1] / self.levels[0]
        return np.asarray(self.levels[drawn] * ratio ** chance.uniform(-0.5, 0.5, CHAINS))

    def _draw_coefficients(self, chance: np.random.Generator, means: np.ndarray, weight: np.ndarray) -> None:
        precision = np.einsum("cj,jp,jq->cpq", weight, self.design, self.design)
        root = np.linalg.cholesky(precision)
        pull = np.einsum("cj,jp->cp", weight * means, self.design)
        best = np.linalg.solve(precision, pull[..., None])[..., 0]
        normal = chance.standard_normal(best.shape)
        self.coefficients = best + np.linalg.solve(root.transpose(0, 2, 1), normal[..., None])[..., 0]


def _between(
    chance: np.random.Generator, mean: np.ndarray, scatter: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Normal numbers that lie between low and high (n,), for means (chains, n); in the tail that loses nothing."""
    bottom, top = (low - mean) / scatter, (high - mean) / scatter
    upper = bottom + top > 0  # NaN does not occur: one end at least is finite
    first, second = np.where(upper, -top, bottom), np.where(upper, -bottom, top)
    below, above = log_ndtr(first), log_ndtr(second)
    share = chance.uniform(size=mean.shape)
    log_share = above + np.log1p(-share * -np.expm1(np.minimum(below - above, 0.0)))
    z = np.clip(ndtri_exp(np.minimum(log_share, -1e-300)), first, second)
    return np.asarray(mean + scatter * np.where(upper, -z, z))
