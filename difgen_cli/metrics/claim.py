"""Were these images used in training? The question of somebody whose images they are, by the ladder of `_claims`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from difgen_cli.metrics import Result, Value
from difgen_cli.metrics._claim_lines import ClaimModels, ReferenceOfClaim, line
from difgen_cli.metrics._noise import within
from difgen_cli.metrics.membership import DECLARED
from difgen_cli.neighbours.distinct import distinct, near_duplicates

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
        "AUROC of claim against control without the model; missing below 50 images a side",
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
            "AUROC of claim against control without the model; missing below 50 images a side",
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
            "right pairs, or copied images, from which it is shown; missing: all are too few",
        ),
        "claim_right": ("float64", "", "pairs whose published twin scores higher"),
        "claim_references": (
            "float64",
            "",
            "reference models that did not see half of claim and control, and speak",
        ),
        "claim_references_given": ("float64", "", "reference models that were named"),
        "claim_effect": (
            "float64",
            "",
            "how much lower the log of the error on the claim is than expected",
        ),
        "claim_seen": (
            "float64",
            "",
            "the effect that is shown in 80 % of cases; of pairs, the share that is right",
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
            "copied images from which test 2 shows use; missing: all are too few",
        ),
    }
}
OF_A_CLAIM = tuple(name for name in COLUMNS if name != "claim_sets")
NUMBERS = tuple(name for name in TABLES["claims"] if name != "claim")


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
    models = ClaimModels(denoiser, references, sigma, mirrored)
    lines, blank = [], dict.fromkeys(NUMBERS, float("nan"))
    for images, kept in zip(claims.claims, claims.kept, strict=True):
        if kept is None:
            images = images[distinct(images, mirrored)]
            others = claims.control[distinct(claims.control, mirrored)]
            control = others[~near_duplicates(others, images, mirrored)]
        else:
            control = kept
        lines.append(blank | line(models, images, control, samples, twins=kept is not None))
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    if len(lines) == 1:
        values |= {name: None if np.isnan(lines[0][name]) else lines[0][name] for name in OF_A_CLAIM}
    return Result(values | {"claim_sets": len(lines)}, {"claims": _table(lines)})


def foreseen(coins: int | None, settings: dict[str, Any]) -> str:
    """Nothing to say beforehand. ValueError where a grid names it, which has no claim."""
    if not settings["asked"]:
        raise ValueError("asked: a claim is made by `difgen audit MODEL --claim DIR`, and not in a grid; leave it out")
    return ""


def _table(lines: list[dict[str, float]]) -> dict[str, np.ndarray]:
    columns = {name: np.array([line[name] for line in lines], float) for name in NUMBERS}
    return {"claim": np.arange(len(lines)), **columns}
