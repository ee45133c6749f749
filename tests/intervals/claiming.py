"""Worlds of claims that are not true, one for each test, and of the share that was used.

The interval of a p-value is what a test at 5 % does not refute: from 0 to 1 where p > .05, else none of them; the truth
is any number of [0, 1]. So a right test covers 95 % of worlds, and one that takes images for independent does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from drawing import Arrays, Ends, World
from scipy.stats import ttest_ind

from difgen_cli.metrics._claim_share import share_used
from difgen_cli.metrics._claims import by_copies, by_images, by_models, by_twins

LEVEL = 0.05


@dataclass(frozen=True)
class Unused:
    """A claim of images that were not used, by one of the tests; `over images` is the wrong one.

    Images have levels of their own, models too, and of each model what it makes of the claim's kind as a whole.
    """

    test: str
    references: int = 4
    seen: float = 0.0  # of claim and control, that each reference was trained on

    def __str__(self) -> str:
        return f"{self.test}, {self.references} references that saw {self.seen:.0%}"

    def truth(self) -> Arrays:
        return {"claim_p": np.array(0.5)}

    def intervals(self, draw: int) -> Ends:
        shown = self._p(np.random.default_rng((draw, self.references))) <= LEVEL
        return {"claim_p": (np.array(2.0 if shown else 0.0), np.array(2.0 if shown else 1.0))}

    def _p(self, chance: np.random.Generator) -> float:
        match self.test:
            case "twins":
                return by_twins(*chance.normal(0, 1, (2, 400))).p
            case "copies":
                return by_copies((int(chance.binomial(2000, 0.3)), 2000), (int(chance.binomial(2000, 0.3)), 2000)).p
            case "images":
                claim, control = np.split(chance.normal(0, 1, 70), [30])
                return by_images(claim, control, alike=True, permutations=399).p
        return self._over(*_kind(chance, self.references, self.seen))

    def _over(self, own: np.ndarray, phi: np.ndarray, trained: np.ndarray, of_claim: np.ndarray) -> float:
        if self.test == "over images":
            beside = own - phi.mean(axis=0)
            return float(ttest_ind(beside[of_claim], beside[~of_claim], alternative="greater").pvalue)
        test = by_models(own, phi, trained, of_claim)
        return 1.0 if test is None else test.p


def _kind(
    chance: np.random.Generator, references: int, seen: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    of_claim = np.arange(60) < 20
    trained = chance.random((references, 60)) < seen
    common = chance.normal(0, 0.3, (references + 1, 1)) + chance.normal(0, 0.3, (references + 1, 1)) * of_claim
    phi = common + chance.normal(0, 1, 60) + chance.normal(0, 0.2, (references + 1, 60))
    phi[1:] += 0.5 * trained
    return phi[0], phi[1:], trained, of_claim


@dataclass(frozen=True)
class ShareOfClaim:
    """A share of 100 images that was used, beside models that each saw 30 % of them and of 300 others."""

    share: float
    references: int = 4

    def __str__(self) -> str:
        return f"{self.share:.0%} used, {self.references} references"

    def truth(self) -> Arrays:
        return {"claim_share": np.array(self.share)}

    def intervals(self, draw: int) -> Ends:
        chance, sizes = np.random.default_rng((draw, self.references)), (100, 60, 300)
        side = np.repeat(np.arange(3), sizes)
        trained = (chance.random((self.references + 1, len(side))) < 0.3) & (side != 1)
        trained[0, :100] = chance.permutation(100) < round(100 * self.share)
        kind = chance.normal(0, 0.1, (self.references + 1, 1)) * (side == 0)
        phi = chance.normal(0, 1, len(side)) + kind + chance.normal(0, 0.25, (self.references + 1, len(side)))
        phi += 0.5 * trained
        share = share_used(phi[0], phi[1:], trained[1:], side == 0, side == 2)
        _, lower, upper = (np.nan, np.nan, np.nan) if share is None else share
        return {"claim_share": (np.array(lower), np.array(upper))}


CLAIMS: tuple[World, ...] = (
    *(Unused(test) for test in ("twins", "copies", "images")),
    *(Unused("models", references, seen) for references in (2, 4, 10) for seen in (0.0, 0.3)),
    *(ShareOfClaim(share, references) for references in (4, 10) for share in (0.0, 0.5, 1.0)),
)
