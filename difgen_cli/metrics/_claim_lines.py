"""The tests of one claim, run: scores of the model and its references, copies among samples, and what is said of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from difgen_cli.metrics._claim_share import share_used
from difgen_cli.metrics._claims import LEAST, LEVEL, by_copies, by_images, by_models, by_twins
from difgen_cli.metrics._features import drawn
from difgen_cli.metrics._noise import device_of, losses
from difgen_cli.metrics.blind import LEAST as BLIND_LEAST
from difgen_cli.metrics.blind import told_apart
from difgen_cli.metrics.exposure import bank_by_image
from difgen_cli.metrics.membership import DRAWS
from difgen_cli.metrics.memorization import THRESHOLD
from difgen_cli.neighbours import flat
from difgen_cli.neighbours.distinct import Repeats, near_duplicates

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

SEED = 12
POOL_MOST, BLIND_MOST, ALIKE = 512, 2048, 0.55  # ALIKE: AUROC without the model, above which claim and control differ


class ReferenceOfClaim(Protocol):
    """A model beside which a claim is looked at, and what it was trained on: None where its owner says not on these."""

    denoiser: "DenoiserLike"
    rest: np.ndarray | None  # what it could be trained on
    trained: np.ndarray | None  # (n,) bool, which of these it was
    content: str  # names `rest`


class ClaimModels:
    """The model and its references, and what they make of images."""

    def __init__(
        self, denoiser: "DenoiserLike", references: Sequence[ReferenceOfClaim], sigma: float, mirrored: bool
    ) -> None:
        self.denoiser, self.references, self.sigma, self.mirrored = denoiser, references, sigma, mirrored

    def scores(self, denoiser: "DenoiserLike", images: np.ndarray) -> np.ndarray:
        bank = bank_by_image(images, None, DRAWS, device_of(denoiser))
        errors = losses(denoiser, bank, [self.sigma]).bias[:, 0]
        return np.asarray(-np.log(np.maximum(errors, np.finfo(float).tiny)))

    def of_references(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Their scores of images, and which of these, or nearly the same, each was trained on: (K, n) each."""
        scores = [self.scores(one.denoiser, images) for one in self.references]
        trained = [
            np.zeros(len(images), bool)
            if one.rest is None or one.trained is None
            else near_duplicates(images, one.rest[one.trained], self.mirrored) | _equal(images, one.rest[one.trained])
            for one in self.references
        ]
        shape = (len(self.references), len(images))
        return np.reshape(scores, shape), np.reshape(np.array(trained, bool), shape)

    def pool(self, none: np.ndarray) -> np.ndarray:
        """Some images that all references could be trained on; `none` where these are not the same."""
        pools = {one.content: one.rest for one in self.references}
        rest = next(iter(pools.values())) if len(pools) == 1 else None
        return none if rest is None else drawn(rest, POOL_MOST, (SEED, 0))


def line(
    models: ClaimModels, images: np.ndarray, control: np.ndarray, samples: np.ndarray, *, twins: bool
) -> dict[str, float]:
    """The numbers of a claim by column; what is not there has none.

    images, control: distinct. twins: the control are their unpublished twins, in the same order.
    """
    enough, by_sample = twins or min(len(images), len(control)) >= LEAST, len(samples) > 0
    by_sample = by_sample and min(len(images), len(control)) >= LEAST
    tests = int(enough) + int(by_sample)
    level = LEVEL / max(1, tests)
    line: dict[str, float] = {
        "claim_n": len(images), "claim_control": len(control), "claim_references_given": len(models.references),
        "claim_samples": len(samples), "claim_tests": tests,
    }  # fmt: skip
    if enough:
        of_scores = _of_twins if twins else _of_scores
        line |= of_scores(models, images, control, level)
        line["claim_p"] = min(1.0, tests * line["claim_score_p"])
    if by_sample:
        line |= _of_copies(models, images, control, samples, level)
        if line["claim_copies_p"] < line["claim_score_p"]:
            line |= {"claim_rung": 2, "claim_p": min(1.0, tests * line["claim_copies_p"])}
    return line


def _of_twins(models: ClaimModels, published: np.ndarray, kept: np.ndarray, level: float) -> dict[str, float]:
    test = by_twins(models.scores(models.denoiser, published), models.scores(models.denoiser, kept), level)
    return {
        "claim_rung": 1, "claim_score_p": test.p, "claim_right": test.right, "claim_needed": _number(test.needed),
        "claim_seen": _number(test.seen),
    }  # fmt: skip


def _of_scores(models: ClaimModels, images: np.ndarray, control: np.ndarray, level: float) -> dict[str, float]:
    """Reference models where two of them speak, else control images alone."""
    pool = models.pool(images[:0])
    every, sizes = np.concatenate([images, control, pool]), (len(images), len(control), len(pool))
    of_claim, of_control, of_pool = (np.repeat(np.arange(3), sizes) == side for side in range(3))
    own = np.concatenate([models.scores(models.denoiser, every[~of_pool]), np.zeros(len(pool))])
    phi, trained = models.of_references(every)
    line = {"claim_blind_auc": _blind(images, control), "claim_references": 0.0}
    test = by_models(own, phi, trained, of_claim, of_pool, level) if len(phi) else None
    if test is not None:
        share = share_used(own, phi, trained, of_claim, of_pool)
        names = ("claim_share", "claim_share_lo", "claim_share_hi")
        line |= {} if share is None else dict(zip(names, share, strict=True))
        return line | {
            "claim_rung": 3, "claim_references": test.references, "claim_score_p": test.p, "claim_effect": test.effect,
            "claim_seen": test.seen, "claim_shift": _number(test.shift), "claim_power": _number(test.power),
        }  # fmt: skip
    count = (~trained).sum(axis=0)
    calibrated = len(phi) > 0 and bool((count[~of_pool] > 0).all())
    if calibrated:
        own = own - np.where(trained, 0.0, phi).sum(axis=0) / np.maximum(count, 1)
    alone = by_images(own[of_claim], own[of_control], alike=line["claim_blind_auc"] <= ALIKE, level=level)
    return line | {
        "claim_rung": 4, "claim_score_p": alone.p, "claim_effect": alone.effect, "claim_seen": alone.seen,
        "claim_calibrated": float(calibrated), "claim_capped": float(alone.capped),
    }  # fmt: skip


def _blind(images: np.ndarray, control: np.ndarray) -> float:
    """The AUROC of claim against control without the model; NaN below 50 images of each."""
    n = min(len(images), len(control))
    if n < BLIND_LEAST:
        return float("nan")
    return told_apart(*(drawn(x, min(n, BLIND_MOST), (SEED, k)) for k, x in enumerate((images, control)))).value


def _of_copies(
    models: ClaimModels, images: np.ndarray, control: np.ndarray, samples: np.ndarray, level: float
) -> dict[str, float]:
    """Copies of the claim against copies of as many control images, where there are so many."""
    others = drawn(control, len(images), (SEED, 1))
    distances, places = Repeats.of(np.concatenate([images, others]), models.mirrored).nearest(samples)
    copies = np.isfinite(distances[:, 1]) & (distances[:, 0] < THRESHOLD * distances[:, 1])
    copied = np.unique(places[copies, 0])
    of_claim, of_control = int((copied < len(images)).sum()), int((copied >= len(images)).sum())
    test = by_copies((of_claim, len(images)), (of_control, len(others)), level)
    first = np.flatnonzero(copies & (places[:, 0] < len(images)))
    return {
        "claim_copies": of_claim, "claim_control_copies": of_control, "claim_copies_p": test.p,
        "claim_first_copy": float(first[0] + 1) if len(first) else float("nan"),
        "claim_copies_needed": _number(test.needed),
    }  # fmt: skip


def _equal(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each image is among the others, in every value: (n,); of points too."""
    contents = {row.tobytes() for row in flat(others)}
    return np.array([row.tobytes() in contents for row in flat(images)], bool)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
