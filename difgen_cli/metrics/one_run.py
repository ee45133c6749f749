"""How much one training shows of who was trained on: the least epsilon, from guesses of each image's own fair coin."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Lt

from difgen_cli.metrics import Result, Value
from difgen_cli.metrics._epsilon import least, most, right_guesses
from difgen_cli.metrics._noise import POOL, bank, device_of, losses, within
from difgen_cli.metrics.membership import DECLARED, DRAWS

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
ATTACKS = ("differential privacy lower bound",)  # that its columns answer for, as `difgen gate` names them
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
# Settings that must be chosen before anything is seen: the best result of several would be no bound.
DECLARED_ONCE = ("guesses", "images")

COLUMNS = {
    "eps_least": (
        "float64",
        "nats",
        "the procedure of this training is not epsilon-private for one image below this, at 95 %; 0: nothing is shown",
        {"label": "least ε of one training", "n": "eps_guesses", "power": "eps_most"},
    ),
    "eps_most": (
        "float64",
        "nats",
        "what eps_least would be if all guesses were right: no more can be shown",
        {"role": "count"},
    ),
    "eps_right": ("int64", "guesses", "that are right of who was trained on", {"role": "count"}),
    "eps_guesses": (
        "int64",
        "guesses",
        "of the most and the least likely images: a number that is fixed beforehand",
        {"role": "count"},
    ),
    "eps_images": ("int64", "images", "each with a fair coin of its own, among which is guessed", {"role": "count"}),
    "eps_trained_on": ("int64", "images", "of them whose coin says that they were trained on", {"role": "count"}),
}  # fmt: skip

SEED = 6  # chooses the images, where there are more than are asked for
SHARE = 5  # one in so many images is guessed, where nothing else is said


def measure(
    denoiser: "DenoiserLike",
    rest: np.ndarray,
    rest_labels: np.ndarray | None,
    coins: np.ndarray | None,
    sigma_data: float,
    *,
    guesses: Annotated[int, Ge(1)] | None = None,
    images: Annotated[int, Ge(1)] = 2048,
    delta: Annotated[float, Ge(0), Lt(1)] = 0.0,
) -> Result:
    """The lower bound of Steinke, Nasr & Jagielski (2023) for the images of `rest` (n, ...), by `coins` (n,) bool.

    The score of an image is minus the error of the mean of 8 reconstructions of it at 0.25 sigma_d, under noise that is
    the same whoever was trained on. The highest scores are guessed to be trained on, as many of the lowest not to be.
    Every image counts with its own coin, a near-duplicate of another one too: it is a row of its own. None without
    fair coins (`data.draw: coin` with half of the pool), and where the denoiser is not for this noise level.

    guesses: how many; null guesses one image in five. More show more of a model that tells all images, and less of one
        that tells few.
    images: that are asked about, at most; a fixed choice of more.
    delta: the bound is for (epsilon, delta)-privacy.
    """
    sigma = DECLARED * sigma_data
    if coins is None or not within(denoiser, sigma):
        return Result(dict.fromkeys(COLUMNS))
    places = _asked(len(rest), images)
    m, r = _counts(len(rest), images, guesses)
    part = bank(rest[places], None if rest_labels is None else rest_labels[places], DRAWS, POOL, device_of(denoiser))
    scores = -losses(denoiser, part, [sigma]).bias[:, 0]
    trained_on = coins[places]
    right = right_guesses(scores, trained_on, r)
    values: dict[str, Value] = {
        "eps_least": least(right, r, canaries=m, delta=delta), "eps_most": most(r, canaries=m, delta=delta),
        "eps_right": right, "eps_guesses": r, "eps_images": m, "eps_trained_on": int(trained_on.sum()),
    }  # fmt: skip
    return Result(values)


def foreseen(coins: int | None, settings: Mapping[str, Any]) -> str:
    """What so many fair coins can show at most, before anything is trained; None: there are none.

    ValueError for more guesses than images.
    """
    if coins is None:
        return "has no values: it needs images that are trained on by fair coins; set data.draw: coin, without size"
    m, r = _counts(coins, settings["images"], settings["guesses"])
    limit = most(r, canaries=m, delta=settings["delta"])
    return f"{r:,} guesses among {m:,} images can show an epsilon of {limit:.2f} at most, in each training"


def _counts(pool: int, images: int, guesses: int | None) -> tuple[int, int]:
    """Images that are asked about, and guesses among them."""
    m = min(pool, images)
    if guesses is not None and guesses > m:
        raise ValueError(f"guesses: {guesses} are more than the {m} images that are guessed among; use at most {m}")
    return m, guesses or max(1, m // SHARE)


def _asked(pool: int, images: int) -> np.ndarray:
    """Their places in the pool, ascending: chosen by number alone, so that no coin has a say."""
    return np.sort(np.random.default_rng(SEED).permutation(pool)[:images])
