"""Were these images used in training? The question of somebody whose images they are, by the ladder of `_claims`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from difgen_cli.metrics import Result, Value
from difgen_cli.metrics._claim_share import share_used
from difgen_cli.metrics._claims import LEAST, LEVEL, by_copies, by_images, by_models, by_twins
from difgen_cli.metrics._features import drawn
from difgen_cli.metrics._noise import device_of, losses, within
from difgen_cli.metrics.blind import LEAST as BLIND_LEAST
from difgen_cli.metrics.blind import told_apart
from difgen_cli.metrics.exposure import bank_by_image
from difgen_cli.metrics.membership import DECLARED, DRAWS
from difgen_cli.metrics.memorization import THRESHOLD
from difgen_cli.neighbours import flat
from difgen_cli.neighbours.distinct import Repeats, distinct, near_duplicates

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
KINDS = ("model",)
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is

COLUMNS = {
    "claim_sets": ("int64", "", "claims that were looked at; the columns below are of one alone, see the table claims"),
    "claim_rung": ("float64", "", "the test: 1 random twins, 2 copies, 3 reference models, 4 control images alone"),
    "claim_n": ("float64", "", "distinct images of the claim, or pairs of twins"),
    "claim_p": ("float64", "", "p-value of the claim by itself, corrected for the tests that were run of it"),
    "claim_share": ("float64", "", "of the claim that was used, as far as reference models say"),
    "claim_share_lo": ("float64", "", "lower end of its 95 % interval"),
    "claim_share_hi": ("float64", "", "upper end of its 95 % interval"),
    "claim_blind_auc": (
        "float64",
        "",
        "AUROC that tells claim from control without the model; missing below 50 images a side",
    ),
    "claim_copies": ("float64", "", "distinct images of the claim that samples copy"),
    "claim_first_copy": ("float64", "", "number of the first sample that copies one, from 1"),
}
TABLES = {
    "claims": {
        "claim": ("int64", "", "its place among the claims, from 0"),
        "claim_rung": ("float64", "", "the test: 1 random twins, 2 copies, 3 reference models, 4 control images alone"),
        "claim_n": ("float64", "", "distinct images of the claim, or pairs of twins"),
        "claim_p": ("float64", "", "p-value of the claim by itself, corrected for the tests that were run of it"),
        "claim_share": ("float64", "", "of the claim that was used, as far as reference models say"),
        "claim_share_lo": ("float64", "", "lower end of its 95 % interval"),
        "claim_share_hi": ("float64", "", "upper end of its 95 % interval"),
        "claim_blind_auc": (
            "float64",
            "",
            "AUROC that tells claim from control without the model; missing below 50 images a side",
        ),
        "claim_copies": ("float64", "", "distinct images of the claim that samples copy"),
        "claim_first_copy": ("float64", "", "number of the first sample that copies one, from 1"),
        "claim_tests": ("float64", "", "tests that were run, for which the p-value is multiplied"),
        "claim_control": ("float64", "", "distinct control images, without those of the claim"),
        "claim_control_copies": ("float64", "", "of them that samples copy"),
        "claim_samples": ("float64", "", "samples that were looked at"),
        "claim_needed": (
            "float64",
            "",
            "pairs that must be right, or images that must be copied, to be shown; missing: all are too few",
        ),
        "claim_right": ("float64", "", "pairs whose published twin scores higher"),
        "claim_references": (
            "float64",
            "",
            "reference models that speak: half of claim and control was not shown to them",
        ),
        "claim_references_given": ("float64", "", "reference models that were named"),
        "claim_effect": (
            "float64",
            "",
            "how much lower the log of the error is on the claim than expected, beyond the control",
        ),
        "claim_seen": (
            "float64",
            "",
            "what is shown in 80 % of cases: such an effect, or at 1 the share of pairs that are right",
        ),
        "claim_shift": ("float64", "", "how much lower it is where reference models were trained on images"),
        "claim_power": ("float64", "", "how often that is shown"),
        "claim_calibrated": ("float64", "", "1 where the score of test 4 is beside a reference model"),
        "claim_capped": ("float64", "", "1 where the p-value of test 4 is held at 0.1 or above"),
        "claim_score_p": ("float64", "", "p-value of test 1, 3 or 4 before it is corrected"),
        "claim_copies_p": ("float64", "", "p-value of test 2 before it is corrected"),
        "claim_copies_needed": (
            "float64",
            "",
            "images that must be copied to be shown by test 2; missing: all are too few",
        ),
    }
}
OF_A_CLAIM = tuple(name for name in COLUMNS if name != "claim_sets")
NUMBERS = tuple(name for name in TABLES["claims"] if name != "claim")

SEED = 12
POOL_MOST, BLIND_MOST, ALIKE = 512, 2048, 0.55  # ALIKE: AUROC without the model, from which on claim and control differ


class ReferenceOfClaim(Protocol):
    """A model beside which a claim is looked at, and what it was trained on: None where its owner says not on these."""

    denoiser: "DenoiserLike"
    rest: np.ndarray | None  # what it could be trained on
    trained: np.ndarray | None  # (n,) bool, which of these it was
    content: str  # names `rest`


class AskedImages(Protocol):
    """kept: of each claim the twins that were not published, in the order of the published ones; None without."""

    claims: Sequence[np.ndarray]
    kept: Sequence[np.ndarray | None]
    control: np.ndarray


def measure(
    denoiser: "DenoiserLike",
    claims: AskedImages,
    references: Sequence[ReferenceOfClaim],
    samples: np.ndarray,
    mirrored: bool,
    sigma_data: float,
    *,
    asked: str,
    beside: tuple[str, ...] = (),
) -> Result:
    """One line a claim. The score of an image is minus the log of the error of the mean of 8 reconstructions of it at
    0.25 sigma_d, under noise that the image alone decides, without any condition.

    The strongest test that the images allow is run, and the search for copies beside it where there is a control: with
    two tests the p-value is twice the smaller one. Repeats and near-duplicates are one image, in the claim and in the
    control; what is in both is in the claim alone. No lines where the denoiser is not for that noise.

    asked: content of the images, which `difgen audit --claim` reads.
    beside: the weights of the references.
    """
    sigma = DECLARED * sigma_data
    if not within(denoiser, sigma):
        return Result(dict.fromkeys(COLUMNS) | {"claim_sets": 0}, {"claims": _table([])})
    models = _Models(denoiser, references, sigma, mirrored)
    lines = []
    for images, kept in zip(claims.claims, claims.kept, strict=True):
        if kept is None:
            images = images[distinct(images, mirrored)]
            others = claims.control[distinct(claims.control, mirrored)]
            control = others[~near_duplicates(others, images, mirrored)]
        else:
            control = kept
        lines.append(_line(models, images, control, samples, twins=kept is not None))
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    if len(lines) == 1:
        values |= {name: None if np.isnan(lines[0][name]) else lines[0][name] for name in OF_A_CLAIM}
    return Result(values | {"claim_sets": len(lines)}, {"claims": _table(lines)})


def foreseen(coins: int | None, settings: dict[str, Any]) -> str:
    """Nothing to say beforehand. ValueError where a grid names it, which has no claim."""
    if not settings["asked"]:
        raise ValueError("asked: a claim is made by `difgen audit MODEL --claim DIR`, and not in a grid; leave it out")
    return ""


class _Models:
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

    def pool(self) -> np.ndarray | None:
        """Some images that all references could be trained on; None where these are not the same."""
        pools = {one.content for one in self.references if one.rest is not None}
        if len(pools) != 1 or any(one.rest is None for one in self.references):
            return None
        return drawn(self.references[0].rest, POOL_MOST, (SEED, 0))  # type: ignore[arg-type]


def _line(
    models: _Models, images: np.ndarray, control: np.ndarray, samples: np.ndarray, *, twins: bool
) -> dict[str, float]:
    """The line of a claim."""
    line = dict.fromkeys(NUMBERS, float("nan"))
    line |= {"claim_n": len(images), "claim_control": len(control), "claim_references_given": len(models.references)}
    by_sample = len(samples) > 0 and min(len(images), len(control)) >= LEAST
    tests = 1 + by_sample if twins or min(len(images), len(control)) >= LEAST else int(by_sample)
    level = LEVEL / max(1, tests)
    line |= {"claim_tests": tests, "claim_samples": len(samples)}
    if twins:
        line |= _of_twins(models, images, control, level)
    elif min(len(images), len(control)) >= LEAST:
        line |= _of_scores(models, images, control, level)
    if by_sample:
        line |= _of_copies(models, images, control, samples, level)
    by_copy, by_score = line["claim_copies_p"], line["claim_score_p"]
    if not np.isnan(by_copy) and (np.isnan(by_score) or by_copy < by_score):
        line |= {"claim_rung": 2, "claim_needed": line["claim_copies_needed"]}
    p = np.nanmin([by_copy, by_score]) if tests else np.nan
    return line | {"claim_p": min(1.0, tests * p) if tests else np.nan}


def _of_twins(models: _Models, published: np.ndarray, kept: np.ndarray, level: float) -> dict[str, float]:
    test = by_twins(models.scores(models.denoiser, published), models.scores(models.denoiser, kept), level)
    return {
        "claim_rung": 1, "claim_score_p": test.p, "claim_right": test.right, "claim_needed": _number(test.needed),
        "claim_seen": _number(test.seen),
    }  # fmt: skip


def _of_scores(models: _Models, images: np.ndarray, control: np.ndarray, level: float) -> dict[str, float]:
    """Reference models where two of them speak, else control images alone."""
    both, of_claim = np.concatenate([images, control]), np.arange(len(images) + len(control)) < len(images)
    own = models.scores(models.denoiser, both)
    phi, trained = models.of_references(both)
    test = by_models(own, phi, trained, of_claim, level) if len(phi) else None
    n = min(len(images), len(control))
    blind = float("nan")
    if n >= BLIND_LEAST:
        sides = [drawn(x, min(n, BLIND_MOST), (SEED, k)) for k, x in enumerate((images, control))]
        blind = told_apart(*sides).value
    line = {"claim_blind_auc": blind, "claim_references": test.references if test else 0}
    if test is not None:
        share = _share(models, own, phi, trained, of_claim)
        return line | {
            "claim_rung": 3, "claim_score_p": test.p, "claim_effect": test.effect, "claim_seen": test.seen,
            "claim_shift": _number(test.shift), "claim_power": _number(test.power), **share,
        }  # fmt: skip
    count = (~trained).sum(axis=0)
    calibrated = len(phi) > 0 and bool((count > 0).all())
    if calibrated:
        own = own - np.where(trained, 0.0, phi).sum(axis=0) / count
    alone = by_images(own[of_claim], own[~of_claim], alike=blind <= ALIKE, level=level)
    return line | {
        "claim_rung": 4, "claim_score_p": alone.p, "claim_effect": alone.effect, "claim_seen": alone.seen,
        "claim_calibrated": float(calibrated), "claim_capped": float(alone.capped),
    }  # fmt: skip


def _share(
    models: _Models, own: np.ndarray, phi: np.ndarray, trained: np.ndarray, of_claim: np.ndarray
) -> dict[str, float]:
    pool = models.pool()
    if pool is None:
        return {}
    of_pool = models.of_references(pool)
    asked = np.concatenate([of_claim, np.zeros(len(pool), bool)])
    share = share_used(
        np.concatenate([own, np.zeros(len(pool))]), np.hstack([phi, of_pool[0]]), np.hstack([trained, of_pool[1]]),
        asked, np.arange(len(asked)) >= len(of_claim),
    )  # fmt: skip
    names = ("claim_share", "claim_share_lo", "claim_share_hi")
    return {} if share is None else dict(zip(names, share, strict=True))


def _of_copies(
    models: _Models, images: np.ndarray, control: np.ndarray, samples: np.ndarray, level: float
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


def _table(lines: list[dict[str, float]]) -> dict[str, np.ndarray]:
    columns = {name: np.array([line[name] for line in lines], float) for name in NUMBERS}
    return {"claim": np.arange(len(lines)), **columns}
