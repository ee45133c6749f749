"""The ladder of tests for a claim: was this set of images trained on? Each test has one p-value, and what it would see.

1. random twins: of each pair a coin published one image, so that the number of pairs in which the published one scores
   higher is binomial with 1/2, whatever the model and however alike the images are: exact.
2. copies: as many images of the claim as of a control set are copied; Fisher's exact test. The unit is the image.
3. reference models that were not trained on them. The unit is the model: what a model makes of images of one kind is
   common to all of them, so that a test over images rejects too often.
4. control images alone: a permutation test over images, which are not independent.

Scores φ are minus the log of a denoising error: high for images that a model was trained on.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

LEVEL = 0.01  # of the p-value below which a claim is shown
POWER = 0.8  # of what "would have been seen"
LEAST = 5  # images of a side that a reference must not have been trained on
SEED, PERMUTATIONS = 7, 9_999
CAP = 0.1  # what the p-value of the last test is at least, where claim and control differ without the model
ROUNDS = 8  # of the fit of levels of models and images
NODES = 500  # of the mean over the spread that was estimated


@dataclass(frozen=True)
class TwinTest:
    """right: pairs in which the published twin scores higher; needed: so many would have been shown, None where all
    would be too few; seen: in which share of pairs it must score higher to be shown in 80 % of cases."""

    p: float
    pairs: int
    right: int
    needed: int | None
    seen: float | None


@dataclass(frozen=True)
class CopyTest:
    """needed: copied images of the claim, with none of the control, that would have been shown; None where all would be
    too few."""

    p: float
    needed: int | None


@dataclass(frozen=True)
class ModelTest:
    """effect: by how much φ of the claim is higher than models without it have it, beyond the control; error: of it.

    references: models that speak; seen: the effect that is shown in 80 % of cases; shift: by how much φ is higher where
    references were trained on images, None where none were; power: how often such a shift is shown.
    """

    p: float
    references: int
    effect: float
    error: float
    seen: float
    shift: float | None
    power: float | None


@dataclass(frozen=True)
class ImageTest:
    """effect: by how much φ of the claim is higher than of the control; seen: so much is shown in 80 % of cases."""

    p: float
    effect: float
    seen: float
    capped: bool


def by_twins(published: np.ndarray, kept: np.ndarray, level: float = LEVEL) -> TwinTest:
    """Rung 1, from the scores (P,) of both twins of each pair; equal scores speak against the claim."""
    from scipy.special import bdtrc, betaincinv

    pairs, right = len(published), int((published > kept).sum())
    tails = bdtrc(np.arange(pairs + 1) - 1, pairs, 0.5)  # P(Bin(pairs, 1/2) ≥ r)
    tails[0] = 1.0
    enough = np.flatnonzero(tails <= level)
    needed = int(enough[0]) if len(enough) else None
    seen = None if needed is None else float(betaincinv(needed, pairs - needed + 1, POWER))
    return TwinTest(float(tails[right]), pairs, right, needed, seen)


def by_copies(claim: tuple[int, int], control: tuple[int, int], level: float = LEVEL) -> CopyTest:
    """Rung 2: Fisher's exact test, one-sided, of (copied, all) images of the claim and of the control."""
    from scipy.stats import hypergeom

    (copied, n), (others, m) = claim, control
    p = float(hypergeom.sf(copied - 1, n + m, n, copied + others))
    before = np.arange(n)
    enough = np.flatnonzero(np.cumprod((n - before) / (n + m - before)) <= level)  # where all that are copied are its
    return CopyTest(min(1.0, p), int(enough[0]) + 1 if len(enough) else None)


def by_models(
    own: np.ndarray,
    phi: np.ndarray,
    trained: np.ndarray,
    of_claim: np.ndarray,
    of_pool: np.ndarray | None = None,
    level: float = LEVEL,
) -> ModelTest | None:
    """Rung 3, from φ (n,) of the model, and φ and who was trained on what, (K, n) each, of K references.

    of_claim, of_pool: (n,) which images are of the claim, and which are of the references' own, that say how much
    training raises φ; the others are the control, which the model was not trained on. A reference speaks only of images
    that it was not trained on, and only where those are half of the claim and of the control, and five of each; None
    below two such references. A model's value is the mean over the claim, less that over the control, of φ less the
    mean over references that were not trained on the image. Student's t with K − 1 degrees of freedom, as for one more
    draw from the K.
    """
    from scipy.special import stdtr, stdtrit

    of_control = ~of_claim if of_pool is None else ~of_claim & ~of_pool
    speaking = _speaking(trained, of_claim, of_control)
    if speaking.sum() < 2:
        return None
    phi, trained, unseen = phi[speaking], trained[speaking], ~trained[speaking]
    count, references = unseen.sum(axis=0), len(phi)
    kept = count >= 2
    sides = [kept & of_claim, kept & of_control]
    if min(side.sum() for side in sides) < LEAST:
        return None
    levels, image = _fitted(phi, unseen, sides[1])
    rest = np.where(kept, phi - levels[:, None] - image, 0.0)
    # of the mean over `count` models of which it is one: as wide as that over all of them
    wider = np.sqrt((1 - 1 / references) / (1 - 1 / np.maximum(count, 2)))
    claimed, control = (_means(rest * wider, unseen & side) for side in sides)
    values, spread = claimed - control, float((claimed - control).std(ddof=1))
    if not spread > 0:
        return None
    against = own - image
    effect = float(against[sides[0]].mean() - against[sides[1]].mean()) - float(values.mean())
    error = spread * float(np.sqrt(1 + (1 / count[sides[0]]).mean()))
    p = float(stdtr(references - 1, -effect / error))
    limit = float(stdtrit(references - 1, 1 - level))
    shift = _shift(rest, trained, unseen, kept)
    power = None if shift is None else _power(shift / error, limit, references - 1)
    return ModelTest(p, references, effect, error, _needed(limit, references - 1) * error, shift, power)


def by_images(
    claim: np.ndarray, control: np.ndarray, *, alike: bool, level: float = LEVEL, permutations: int = PERMUTATIONS
) -> ImageTest:
    """Rung 4, from scores (n,) and (m,): the difference of means among random ways to deal the images out.

    alike: whether claim and control cannot be told apart without the model, and that was checked; else the p-value is
    at least 0.1, as images of one kind are all easy or all hard to denoise.
    """
    from scipy.special import ndtri

    both, n = np.concatenate([claim, control]), len(claim)
    chance = np.random.default_rng((SEED, len(both)))
    total = float(claim.sum())
    sums = np.array([chance.permutation(both)[:n].sum() for _ in range(permutations)])
    slack = 1e-12 * (1 + abs(total))  # the order of a sum is none of its value
    p = (1 + int((sums >= total - slack).sum())) / (1 + permutations)
    error = float(both.std(ddof=1)) * float(np.sqrt(1 / n + 1 / len(control)))
    seen = float(ndtri(1 - level) + ndtri(POWER)) * error
    return ImageTest(p if alike else max(p, CAP), float(claim.mean() - control.mean()), seen, not alike)


def _speaking(trained: np.ndarray, *sides: np.ndarray) -> np.ndarray:
    """Which references were not trained on half of the claim, and half of the control: (K,) bool."""
    enough = [(~trained[:, side]).sum(axis=1) >= max(LEAST, np.ceil(side.sum() / 2)) for side in sides]
    return np.asarray(enough[0] & enough[1])


def _fitted(phi: np.ndarray, unseen: np.ndarray, control: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A level of each model (K,), by its control, and of each image (n,), both from what was not trained on alone."""
    levels = np.zeros(len(phi))
    for _ in range(ROUNDS):
        image = _means((phi - levels[:, None]).T, unseen.T)
        levels = levels + _means(phi - levels[:, None] - image, unseen & control)
        levels -= levels.mean()
    return levels, _means((phi - levels[:, None]).T, unseen.T)


def _means(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Means along the rows over those that are among them; 0 for none."""
    return np.asarray(np.where(among, values, 0.0).sum(axis=1) / np.maximum(among.sum(axis=1), 1))


def _shift(rest: np.ndarray, trained: np.ndarray, unseen: np.ndarray, kept: np.ndarray) -> float | None:
    """By how much φ is higher in references that were trained on an image; None below five such cells."""
    inside, outside = trained & kept, unseen & kept
    if inside.sum() < LEAST:
        return None
    return float(rest[inside].mean() - rest[outside].mean())


def _power(effect: float, limit: float, freedom: int) -> float:
    """How often a t-test exceeds its limit where the effect is so many true errors."""
    from scipy.special import ndtr

    return float(ndtr(effect - limit * _spreads(freedom)).mean())


@cache
def _spreads(freedom: int) -> np.ndarray:
    """Estimated over true spreads, (NODES,), all as likely: roots of chi-squared over its degrees of freedom."""
    from scipy.special import gammaincinv

    return np.asarray(np.sqrt(2 * gammaincinv(freedom / 2, (np.arange(NODES) + 0.5) / NODES) / freedom))


def _needed(limit: float, freedom: int) -> float:
    """The effect, in errors, that is shown in 80 % of cases."""
    from scipy.optimize import brentq

    return float(brentq(lambda effect: _power(effect, limit, freedom) - POWER, 0.0, 10 * limit + 10))
