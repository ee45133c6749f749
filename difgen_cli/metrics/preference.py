"""Are samples nearer to training images than to as many images that were never trained on?"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.metrics import Result, Shared, nearest, wilson

VERSION = 1
HELD_OUT_MIN = 2

COLUMNS = {
    "train_pref": ("float64", "share", "P(d(g, T) < d(g, H_N)), ties one half: 0.5 without memorization"),
    "train_pref_lo": ("float64", "share", "lower end of its 95 % interval over samples and images"),
    "train_pref_hi": ("float64", "share", "upper end of its 95 % interval over samples and images"),
    "train_pref_control": ("float64", "share", "the same for held-out images outside H_N in place of samples"),
    "train_pref_control_lo": ("float64", "share", "lower end of its 95 % interval"),
    "train_pref_control_hi": ("float64", "share", "upper end of its 95 % interval"),
    "train_pref_excess": ("float64", "share", "train_pref - train_pref_control: 0 without memorization"),
    "train_pref_excess_lo": ("float64", "share", "lower end of its 95 % interval"),
    "train_pref_excess_hi": ("float64", "share", "upper end of its 95 % interval"),
    "train_pref_images": (
        "int64",
        "images",
        "images on each side: T is subsampled where H is not larger by its control",
    ),
}

SEED = 2
CONTROL = 8  # one in so many held-out images, at least, stays outside H_N as the control
BLOCK = 1 << 22  # bootstrap weights held at once


Side = tuple[np.ndarray, np.ndarray]  # places in T and in H of the images that compete in one draw


@dataclass(frozen=True)
class Contest:
    """Queries (n,) between one draw of T and H_N: who won, and the image that decided it."""

    score: np.ndarray  # (n,) 1: T is nearer, 0: H_N is, 1/2: a tie
    winner: np.ndarray  # (n,) the nearest image of both: its place in T, or len(T) + its place in H


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    shared: Shared,
    mirrored: bool = False,
    *,
    draws: Annotated[int, Ge(5)] = 5,
    resamples: Annotated[int, Gt(0)] = 1000,
) -> Result:
    """The share of samples whose nearest image, among T and as many held-out ones, is a training image.

    The intervals come from a bootstrap over the images of T and H_N and, with them, over the samples that each wins:
    a few central images win many samples, and binomial intervals cover 63 % at 16 images. Where all samples agree this
    says nothing of the samples, so no interval is narrower than Wilson's. A held-out image identical to the sample does
    not compete for it, so that held-out images can be scored as if they were samples. `mirrored`: training showed
    mirror images too, so that an image and its mirror image count as one, on both sides.

    draws: of H_N, averaged over.
    resamples: of the bootstrap.
    """
    if len(held_out) < HELD_OUT_MIN or not (len(samples) and len(train)):
        raise ValueError(
            f"preference needs samples, training images and {HELD_OUT_MIN} held-out images: "
            f"there are {len(samples)}, {len(train)} and {len(held_out)}"
        )
    images = min(len(train), len(held_out) - max(1, len(held_out) // CONTROL))
    known = shared("preference", lambda: _control(train, held_out, images, draws, resamples, mirrored))
    sides = _sides(len(train), len(held_out), images, draws)
    contests = contest(samples, train, held_out, sides, mirrored)
    resampled = bootstrap(contests, sides, len(train), len(held_out), resamples)
    pref, control = _mean(contests), float(known["mean"])
    excess = resampled - known["resampled"]
    groups = {
        "train_pref": (pref, _interval(pref, resampled, images, len(samples))),
        "train_pref_control": (control, _interval(control, known["resampled"], images, len(held_out) - images)),
        "train_pref_excess": (pref - control, _interval(pref - control, excess, images)),
    }
    values: dict[str, float | int | str | bool | None] = {"train_pref_images": images}
    for name, (value, (lower, upper)) in groups.items():
        values |= {name: value, f"{name}_lo": lower, f"{name}_hi": upper}
    return Result(values)


def contest(
    queries: np.ndarray, train: np.ndarray, held_out: np.ndarray, sides: list[Side], mirrored: bool = False
) -> list[Contest]:
    """One contest for each pair of places in T and in H."""
    contests, whole = [], None
    for in_train, in_held_out in sides:
        if len(in_train) < len(train):
            to_train = nearest(queries, train[in_train], 1, mirrored=mirrored)
        else:
            to_train = whole = whole or nearest(queries, train[in_train], 1, mirrored=mirrored)
        to_others = _others(queries, held_out[in_held_out], mirrored)
        contests.append(_decide(*to_train, *to_others, in_train, in_held_out, len(train)))
    return contests


def bootstrap(contests: list[Contest], sides: list[Side], train: int, held_out: int, resamples: int) -> np.ndarray:
    """The mean preference (resamples,) under random weights of the images, Exp(1) (the Bayesian bootstrap, Rubin 1981).

    The weights are the same for samples and for their control, so that the luck of T and H_N cancels in the excess.
    """
    rng = np.random.default_rng((SEED, 1))
    means, step = [], max(1, BLOCK // max(train + held_out, len(contests[0].score)))
    for start in range(0, resamples, step):
        weight = rng.standard_exponential((min(step, resamples - start), train + held_out), np.float32)
        shares = [
            _weighted(c, weight, np.concatenate([t, train + h])) for c, (t, h) in zip(contests, sides, strict=True)
        ]
        means.append(np.mean(shares, axis=0))
    return np.concatenate(means)


def _weighted(contest: Contest, weight: np.ndarray, competing: np.ndarray) -> np.ndarray:
    """Shares (b,) won by T, each image's wins multiplied by its weight; both sides' weights have the mean 1.

    weight: (b, images); competing: the places of the draw's images in it, first those in T, then as many in H.
    """
    half = len(competing) // 2
    wins = np.zeros((2, weight.shape[1]), np.float64)  # for T, and all
    np.add.at(wins[0], contest.winner, contest.score)
    np.add.at(wins[1], contest.winner, 1.0)
    drawn = weight[:, competing].astype(np.float64)
    drawn[:, :half] /= drawn[:, :half].mean(axis=1, keepdims=True)
    drawn[:, half:] /= drawn[:, half:].mean(axis=1, keepdims=True)
    won, played = (drawn @ column[competing] for column in wins)
    return np.asarray(np.divide(won, played, out=np.full(len(drawn), 0.5), where=played > 0))


def _sides(train: int, held_out: int, images: int, draws: int) -> list[Side]:
    """For each draw, the places in T and in H of those that compete, ascending; the same for all snapshots."""
    rng = np.random.default_rng((SEED, 0))
    chosen = [(rng.permutation(train)[:images], rng.permutation(held_out)[:images]) for _ in range(draws)]
    return [(np.sort(in_train), np.sort(in_held_out)) for in_train, in_held_out in chosen]


def _control(
    train: np.ndarray, held_out: np.ndarray, images: int, draws: int, resamples: int, mirrored: bool
) -> dict[str, np.ndarray]:
    """The preference of the held-out images outside H_N, and its resamples."""
    sides = _sides(len(train), len(held_out), images, draws)
    outside = (np.delete(held_out, side[1], axis=0) for side in sides)
    contests = [contest(o, train, held_out, [side], mirrored)[0] for o, side in zip(outside, sides, strict=True)]
    resampled = bootstrap(contests, sides, len(train), len(held_out), resamples)
    return {"mean": np.array(_mean(contests)), "resampled": resampled}


def _others(queries: np.ndarray, references: np.ndarray, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """The nearest reference that is not the query itself: (n, 1) distances and indices."""
    distances, indices = nearest(queries, references, 2, mirrored=mirrored)
    itself = (distances[:, :1] == 0) & (indices[:, 1:] >= 0)
    return np.where(itself, distances[:, 1:], distances[:, :1]), np.where(itself, indices[:, 1:], indices[:, :1])


def _decide(
    to_train: np.ndarray,
    nearest_train: np.ndarray,
    to_held_out: np.ndarray,
    nearest_held_out: np.ndarray,
    in_train: np.ndarray,
    in_held_out: np.ndarray,
    train: int,
) -> Contest:
    margin = np.sign(to_held_out[:, 0] - to_train[:, 0])
    winner = np.where(margin >= 0, in_train[nearest_train[:, 0]], train + in_held_out[nearest_held_out[:, 0]])
    return Contest((margin + 1) / 2, winner)


def _mean(contests: list[Contest]) -> float:
    return float(np.mean([c.score.mean() for c in contests]))


def _interval(
    value: float, resampled: np.ndarray, images: int, queries: int | None = None
) -> tuple[float, float] | tuple[None, None]:
    """95 % percentiles, and at least Wilson's interval where `value` is the share of some queries.

    Few images: the bootstrap's deviations lack the factor √((N + 1)/(N − 1)) that makes their variance unbiased, and
    Student's t takes the place of the normal. (None, None) for a single image, whose luck cannot be judged.
    """
    if images < 2:
        return None, None
    from scipy.special import stdtrit

    widening = float(np.sqrt((images + 1) / (images - 1)) * stdtrit(images - 1, 0.975) / NormalDist().inv_cdf(0.975))
    lower, upper = (value + widening * (float(np.quantile(resampled, q)) - value) for q in (0.025, 0.975))
    if queries is None:
        return max(-1.0, lower), min(1.0, upper)
    least = wilson(value * queries, queries)
    return max(0.0, min(lower, least[0])), min(1.0, max(upper, least[1]))
