"""The least epsilon that guesses of who was trained on show: a lower bound from one training (Steinke et al. 2023).

Each of m images, the canaries, is trained on or not by a fair coin of its own. After the training somebody guesses r of
these coins, and v guesses are right. Of a procedure that is (epsilon, delta)-differentially private for one image,
right guesses are hardly more than those of randomised response, where each is right with e^epsilon / (1 + e^epsilon).
How many are guessed must be fixed beforehand: the best of several numbers is no bound.
"""

import math

import numpy as np

LEVEL = 0.95
MU_MOST = 40.0  # above it no number of guesses tells one from another


def least(
    right: int, guesses: int, *, canaries: int | None = None, delta: float = 0.0, rows: int = 1, level: float = LEVEL
) -> float:
    """The largest epsilon that v right of r guesses refute; 0 where they refute none: nothing is shown.

    It exceeds the true epsilon in at most 5 % of trainings. Without delta it is the logit of Clopper and Pearson's
    lower limit of v/r. Seeds whose coins are independent are pooled by the sums of their counts.

    right: v, from 0 to `guesses`; guesses: r, from 0 to `canaries`.
    canaries: m, which counts with delta alone; None: as many as guesses.
    delta: of (epsilon, delta); the bound falls by what it allows (Steinke, Nasr & Jagielski 2023, theorem 5.2).
    rows: that each canary is, where it is repeated: a group of k rows has at most k times the epsilon of one.
    level: how surely the bound is not above the true epsilon.
    """
    from scipy.special import betaincinv, logit

    canaries = guesses if canaries is None else canaries
    if not 0 <= right <= guesses <= canaries:
        raise ValueError(f"{right} right of {guesses} guesses among {canaries} canaries: none may exceed the next")
    if right == 0:
        return 0.0
    share = float(betaincinv(right, guesses - right + 1, 1 - level))
    epsilon = float(logit(share)) if share > 0.5 else 0.0
    if delta > 0 and epsilon > 0:
        epsilon = _with_delta(right, guesses, canaries, delta, 1 - level, epsilon)
    return epsilon / rows


def chance_of(right: int, guesses: int, canaries: int, epsilon: float, delta: float = 0.0) -> float:
    """At most how probable v right guesses or more are of an (epsilon, delta)-private procedure.

    beta + 2 m delta max over i = 1 … v of (P(B >= v - i) - beta) / i, with beta = P(B >= v) and
    B ~ Bin(r, e^eps/(1+e^eps)).
    """
    from scipy.stats import binom

    share = 1 / (1 + math.exp(-epsilon))
    beta = float(binom.sf(right - 1, guesses, share))
    if delta == 0 or right == 0:
        return beta
    fewer = np.arange(1, right + 1)
    excess = float(((binom.sf(right - fewer - 1, guesses, share) - beta) / fewer).max())
    return min(1.0, beta + 2 * canaries * delta * excess)


def _with_delta(right: int, guesses: int, canaries: int, delta: float, alpha: float, highest: float) -> float:
    """Between 0 and the bound without delta, which is never below: where the chance is `alpha`; 0 where it is above."""
    from scipy.optimize import brentq

    def beyond(epsilon: float) -> float:
        return chance_of(right, guesses, canaries, epsilon, delta) - alpha

    if beyond(0.0) > 0:
        return 0.0
    return float(brentq(beyond, 0.0, highest, xtol=1e-9)) if beyond(highest) > 0 else highest


def most(guesses: int, *, canaries: int | None = None, delta: float = 0.0) -> float:
    """What so many guesses can show at most: all of them are right."""
    return least(guesses, guesses, canaries=canaries, delta=delta)


def right_guesses(scores: np.ndarray, trained_on: np.ndarray, guesses: int) -> int:
    """How many of `guesses` are right: the highest scores are said to be trained on, as many of the lowest not to be.

    Ties go by place, which knows no coin. An odd guess is one of the highest.

    scores: (m,), high for images that look trained on; trained_on: (m,) bool, the coins; guesses: at most m.
    """
    order = np.argsort(-scores, kind="stable")
    lowest = guesses // 2
    highest = guesses - lowest
    return int(trained_on[order[:highest]].sum() + (~trained_on[order[len(order) - lowest :]]).sum())


def least_gaussian(right: int, guesses: int, canaries: int, *, level: float = LEVEL) -> float:
    """The largest μ of μ-Gaussian differential privacy that v right of r guesses refute; 0 where they refute none.

    Tighter than `least` where the procedure is Gaussian, and no bound of epsilon where it is not (Mahloujifar, Melis &
    Chaudhuri 2024, `audit_rh`): use `epsilon_of` to read it at a delta.

    right, guesses, canaries: v ≤ r ≤ m.
    """
    if not 0 <= right <= guesses <= canaries or canaries == 0:
        raise ValueError(f"{right} right of {guesses} guesses among {canaries} canaries: none may exceed the next")
    lower, upper = 1e-6, 1.0
    if not _refutes(lower, right, guesses, canaries, 1 - level):
        return 0.0
    while upper < MU_MOST and _refutes(upper, right, guesses, canaries, 1 - level):
        lower, upper = upper, 2 * upper
    while upper - lower > 1e-6 * upper:
        middle = (lower + upper) / 2
        if _refutes(middle, right, guesses, canaries, 1 - level):
            lower = middle
        else:
            upper = middle
    return lower


def _refutes(mu: float, right: int, guesses: int, canaries: int, alpha: float) -> bool:
    """Whether so many right guesses have a chance below `alpha` under μ-Gaussian privacy."""
    from scipy.special import ndtr, ndtri

    of_right, of_wrong = alpha * right / canaries, alpha * (guesses - right) / canaries
    for i in range(right - 1, -1, -1):
        reached = max(of_wrong, float(ndtr(ndtri(of_right) - mu)))
        if reached == of_wrong:
            break
        of_right = min(1.0, of_right + i / (guesses - i) * (reached - of_wrong))
        of_wrong = reached
    return of_right + of_wrong > guesses / canaries


def delta_of(mu: float, epsilon: float) -> float:
    """δ(ε) of μ-Gaussian privacy: Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ) (Dong, Roth & Su 2022)."""
    from scipy.special import log_ndtr, ndtr

    return float(ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))))


def epsilon_of(mu: float, delta: float) -> float:
    """The ε at which μ-Gaussian privacy has this δ; 0 where δ is as large at ε = 0."""
    from scipy.optimize import brentq

    if mu <= 0 or delta_of(mu, 0.0) <= delta:
        return 0.0
    upper = 1.0
    while delta_of(mu, upper) > delta:
        upper *= 2
    return float(brentq(lambda epsilon: delta_of(mu, epsilon) - delta, 0.0, upper, xtol=1e-9))
