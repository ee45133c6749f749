"""Are samples nearer to training images than to as many images that were never trained on?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.metrics import Result, Shared
from difgen_cli.metrics._contests import SEED, Contest, Side, Spread, compete, degrees, draw_sides, spread
from difgen_cli.metrics._groups import LEAST, Interval, bounds, effective, on_logit, quantile
from difgen_cli.neighbours import distinct
from difgen_cli.neighbours import groups as alike

VERSION = 2
# Columns that take H for what T could have been: see `metrics/blind.py`.
NON_MEMBERS = ("train_pref", "train_pref_control", "train_pref_excess", "train_pref_share")
HELD_OUT_MIN = 2

COLUMNS = {
    "train_pref": ("float64", "share", "P(d(g, T) < d(g, H_N)), ties one half: 0.5 without memorization"),
    "train_pref_lo": ("float64", "share", "lower end of its 95 % interval over samples and images"),
    "train_pref_hi": ("float64", "share", "upper end of its 95 % interval over samples and images"),
    "train_pref_control": ("float64", "share", "the same for held-out images outside H_N in place of samples"),
    "train_pref_control_lo": ("float64", "share", "lower end of its 95 % interval"),
    "train_pref_control_hi": ("float64", "share", "upper end of its 95 % interval"),
    "train_pref_excess": (
        "float64",
        "share",
        "train_pref - train_pref_control: 0 without memorization",
        {"label": "excess preference for training images", "scale": "difference"},
    ),
    "train_pref_excess_lo": ("float64", "share", "lower end of its 95 % interval"),
    "train_pref_excess_hi": ("float64", "share", "upper end of its 95 % interval"),
    "train_pref_copycat": ("float64", "share", "the excess of an exact copier of T: the ceiling"),
    "train_pref_share": (
        "float64",
        "share",
        "train_pref_excess over the copycat's: 1 for an exact copier, 0 for none",
        {"label": "preference for training images, as a share of a copycat's"},
    ),
    "train_pref_share_lo": ("float64", "share", "lower end of its 95 % interval"),
    "train_pref_share_hi": ("float64", "share", "upper end of its 95 % interval"),
    "train_pref_images": (
        "int64",
        "images",
        "distinct images on each side: T is subsampled where H is not larger by its control",
    ),
    "train_pref_winners": (
        "float64",
        "images",
        "effective number of images that decide, mean over draws: below 10 there is no interval",
    ),
    "train_pref_distinct": ("int64", "images", "distinct samples that took part: below 10 there is no excess"),
    "train_pref_constant": ("int64", "samples", "samples of one colour, which are ignored"),
}

CONTROL = 8  # one in so many held-out images, at least, stays outside H_N as the control
DECIDING = 10  # distinct images, samples and winners alike, without which nothing is surely told
LARGEST = 1 / 8  # of the samples, that may be one image: its luck is no normal one, of which there are many
OUTSIDE = 2000  # training images outside a draw, at most, that take part in the copycat's contests

Values = dict[str, float | int | str | bool | None]


@dataclass(frozen=True)
class Estimate:
    """A mean preference, how uncertain it is, and on how many images and independent queries it rests."""

    mean: float
    spread: Spread
    deciding: float  # effective number of images that decide
    worth: float  # effective number of units of the queries

    def interval(self, images: int, enough: bool) -> Interval:
        """Over draws of so many images a side, whose deviations from their mean lack √((N + 1)/(N − 1))."""
        if not enough:
            return None, None
        freedom = min(degrees(self.spread.images, [self.spread]), images - 1)
        return on_logit(self.mean, self.spread.variance * (images + 1) / (images - 1), freedom, self.worth)

    def beside(self, control: Estimate) -> Estimate:
        """With the influences that images have if those queries that surely win, or surely lose, are copies.

        An image that leaves takes with it what copies it, and the mean falls by what it won above the mean. What it won
        from unseen queries goes to the others instead, of which the control's share are T's.
        """
        unseen = min((1 - self.mean) / max(1e-9, 1 - control.mean), self.mean / max(1e-9, control.mean), 1.0)
        moved = (self.mean - control.mean) * unseen * control.spread.wins
        return replace(self, spread=replace(self.spread, images=self.spread.images + moved))


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    shared: Shared,
    mirrored: bool = False,
    groups: np.ndarray | None = None,
    *,
    draws: Annotated[int, Ge(5)] = 5,
    resamples: Annotated[int, Gt(0)] = 1000,
) -> Result:
    """The share of samples whose nearest image, among T and as many held-out ones, is a training image.

    The intervals are over draws of T, of H and of the samples: a few central images win many samples, and binomial
    intervals cover 63 % at 16 images. What is counted as one is the image that decides, and each group of samples that
    are nearly the same, or each of `groups` (n,) where the samples come in such, as the images of a prompt; see
    `_contests.Spread`. None where fewer than ten images decide, fewer than ten samples are distinct, or one is more
    than an eighth of them; without ten distinct samples there is no excess either.

    Repeats and near-duplicates in T, and in H, are one image. Samples of one colour take no part. A held-out image
    identical to the sample does not compete for it, so that held-out images can be scored as if they were samples. An
    exact copier reads ½ · train_pref_images/N and not ½, hence the share of the copycat's: T itself through the same
    contests, with the interval after Fieller (1954). `mirrored`: training showed mirror images too, so that an image
    and its mirror image count as one, on both sides.

    draws: of H_N, averaged over.
    resamples: without effect since version 2, whose intervals are not drawn; grids that set it stay valid.
    """
    if len(held_out) < HELD_OUT_MIN or not (len(samples) and len(train)):
        raise ValueError(
            f"preference needs samples, training images and {HELD_OUT_MIN} held-out images: "
            f"there are {len(samples)}, {len(train)} and {len(held_out)}"
        )
    reference = shared("preference", lambda: _reference(train, held_out, draws, mirrored))
    T, H = _of(train, reference["train"]), _of(held_out, reference["held_out"])
    many = ~constant(samples)
    playing, images = samples[many], _competing(len(T), len(H))
    group = alike(playing, mirrored)
    different = len(np.unique(group))
    values: Values = dict.fromkeys(COLUMNS)
    values |= {"train_pref_images": images, "train_pref_distinct": different}
    values["train_pref_constant"] = len(samples) - len(playing)
    if not images:
        return Result(values)
    control, copycat = _unpacked(reference, "control"), _unpacked(reference, "copycat")
    known_well = min(2 * images, control.worth) >= DECIDING
    values |= _named("train_pref_control", control.mean, control.interval(images, known_well))
    values["train_pref_copycat"] = copycat.mean - control.mean
    if not len(playing):
        return Result(values)
    sides = draw_sides(len(T), len(H), images, draws)
    _, unit = np.unique(group if groups is None else groups[many], return_inverse=True)
    own = _estimate(compete(playing, unit, T, H, sides, mirrored), sides, len(T), len(H)).beside(control)
    enough = own.deciding >= DECIDING and _many(group) and (groups is None or unit.max() >= LEAST - 1)
    values |= _named("train_pref", own.mean, own.interval(images, enough))
    values["train_pref_winners"] = own.deciding
    if different >= DECIDING:
        values |= _against(own, control, copycat, enough and known_well)
    return Result(values)


def constant(images: np.ndarray) -> np.ndarray:
    """Whether each image (n, H, W, C) is of one colour, each channel the same over all pixels; no point is: (n,)."""
    if images.ndim != 4 or images.shape[1] * images.shape[2] == 1:
        return np.zeros(len(images), bool)
    pixels = images.reshape(len(images), -1, images.shape[-1])
    return np.asarray((pixels == pixels[:, :1]).all(axis=(1, 2)))


def _competing(train: int, held_out: int) -> int:
    """Images on each side; 0 where repeats leave a single held-out image."""
    return min(train, held_out - max(1, held_out // CONTROL)) if held_out >= HELD_OUT_MIN else 0


def _against(own: Estimate, control: Estimate, copycat: Estimate, enough: bool) -> Values:
    """The excess over the control, and that as a share of the copycat's: the luck of T and H is common to all three."""
    excess, ceiling = own.mean - control.mean, copycat.mean - control.mean
    of_excess, of_ceiling = (e.spread.images - control.spread.images for e in (own, copycat))
    variance = float((of_excess**2).sum()) + own.spread.added + control.spread.added
    limit = float((of_ceiling**2).sum()) + copycat.spread.added + control.spread.added
    common = float(of_excess @ of_ceiling) + control.spread.added
    t, t_ceiling = (
        quantile(degrees(images, [e.spread, control.spread])) for images, e in ((of_excess, own), (of_ceiling, copycat))
    )
    sure = ceiling > t_ceiling * np.sqrt(limit)
    values = _named("train_pref_excess", excess, (None, None))
    values |= _named("train_pref_share", excess / ceiling if sure else None, (None, None))
    if not enough:
        return values
    least, most = (end - control.mean for end in bounds(own.worth))
    reach = t * np.sqrt(variance)
    ends = max(-1.0, min(excess - reach, most)), min(1.0, max(excess + reach, least))
    values |= _named("train_pref_excess", excess, ends)
    if sure and (ratio := fieller(excess, ceiling, variance, common, limit, t)):
        ends = min(ratio[0], most / ceiling), max(ratio[1], least / ceiling)
        values |= _named("train_pref_share", excess / ceiling, ends)
    return values


def fieller(
    over: float, under: float, variance: float, common: float, limit: float, t: float
) -> tuple[float, float] | None:
    """The ratios r for which `over` − r · `under` is within t standard errors of 0 (Fieller 1954).

    variance, common, limit: the variance of `over`, the covariance of both, the variance of `under`. None where `under`
    itself is within t standard errors of 0.
    """
    square = under**2 - t**2 * limit
    if square <= 0:
        return None
    middle = over * under - t**2 * common
    root = np.sqrt(max(0.0, middle**2 - square * (over**2 - t**2 * variance)))
    return float((middle - root) / square), float((middle + root) / square)


def _reference(train: np.ndarray, held_out: np.ndarray, draws: int, mirrored: bool) -> dict[str, np.ndarray]:
    """What all snapshots of a subset share: T and H without repeats, by their places; the control and the copycat."""
    places = {"train": distinct(train, mirrored), "held_out": distinct(held_out, mirrored)}
    T, H = _of(train, places["train"]), _of(held_out, places["held_out"])
    images = _competing(len(T), len(H))
    if not images:
        return places
    sides = draw_sides(len(T), len(H), images, draws)
    outside = [np.setdiff1d(np.arange(len(H)), in_held_out) for _, in_held_out in sides]
    contests = [compete(H[o], o, T, H, [side], mirrored)[0] for o, side in zip(outside, sides, strict=True)]
    control = _estimate(contests, sides, len(T), len(H))
    copies = [_copies(T, H, side, k, mirrored) for k, side in enumerate(sides)]
    copycat = replace(_estimate(copies, sides, len(T), len(H)), mean=float(np.mean([c.mean for c in copies])))
    copycat = copycat.beside(control)
    return places | _packed("control", control) | _packed("copycat", copycat)


def _copies(T: np.ndarray, H: np.ndarray, side: Side, number: int, mirrored: bool) -> Contest:
    """T itself as samples: an image of the draw is its own winner, and one in so many of the others takes part."""
    inside = side[0]
    outside = np.random.default_rng((SEED, 2, number)).permutation(np.setdiff1d(np.arange(len(T)), inside))[:OUTSIDE]
    share = len(inside) / len(T)
    if not len(outside):
        return Contest(np.ones(len(inside)), inside, inside, np.full(len(inside), 1 / len(inside)))
    others = compete(T[outside], outside, T, H, [side], mirrored)[0]
    weight = np.repeat([share / len(inside), (1 - share) / len(outside)], [len(inside), len(outside)])
    score = np.concatenate([np.ones(len(inside)), others.score])
    return Contest(score, np.concatenate([inside, others.winner]), np.concatenate([inside, outside]), weight)


def _estimate(contests: list[Contest], sides: list[Side], train: int, held_out: int) -> Estimate:
    mean = float(np.mean([c.score.mean() for c in contests]))
    units = np.sum([np.bincount(c.unit, c.weight, max(train, held_out, c.unit.max() + 1)) for c in contests], axis=0)
    deciding = float(np.mean([c.deciding for c in contests]))
    return Estimate(mean, spread(contests, sides, train, held_out), deciding, effective(units / len(contests)))


def _of(images: np.ndarray, places: np.ndarray) -> np.ndarray:
    return images if len(places) == len(images) else images[places]


def _many(group: np.ndarray) -> bool:
    """Whether samples in these groups of near-duplicates (n,) are many images, and none of them most of the samples."""
    weights = np.unique(group, return_counts=True)[1] / len(group)
    return effective(weights) >= DECIDING and bool(weights.max() <= LARGEST)


def _named(name: str, value: float | None, ends: Interval) -> Values:
    lower, upper = (None if end is None else float(end) for end in ends)
    return {name: value, f"{name}_lo": lower, f"{name}_hi": upper}


def _packed(name: str, estimate: Estimate) -> dict[str, np.ndarray]:
    """An estimate as arrays, as they are kept."""
    numbers = np.array([estimate.mean, estimate.deciding, estimate.worth, estimate.spread.added])
    parts = {part: getattr(estimate.spread, part) for part in ("images", "wins", "units")}
    return {name: numbers} | {f"{name}_{part}": array for part, array in parts.items()}


def _unpacked(reference: dict[str, np.ndarray], name: str) -> Estimate:
    mean, deciding, worth, added = map(float, reference[name])
    images, wins, units = (reference[f"{name}_{part}"] for part in ("images", "wins", "units"))
    return Estimate(mean, Spread(images, wins, units, added), deciding, worth)
