"""Canaries: what one training shows at least of who was planted, and which canaries are copied, by their repeats."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
from annotated_types import Ge, Gt, Lt

from difgen_cli.metrics import Result, Value
from difgen_cli.metrics._epsilon import LEVEL, epsilon_of, least, least_gaussian, most, right_guesses
from difgen_cli.metrics._noise import POOL, bank, device_of, losses, within
from difgen_cli.metrics._ranks import clopper_pearson, found_at
from difgen_cli.metrics.membership import DECLARED, DRAWS
from difgen_cli.metrics.memorization import THRESHOLD, ratio
from difgen_cli.neighbours import Repeats, mirror

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
KINDS = ("model",)  # nothing was planted in what stands beside the models
DECLARED_ONCE = ("guesses",)  # the best result of several would be no bound

COLUMNS = {
    "canary_eps_group": (
        "float64",
        "nats",
        "the rows of one canary together have no epsilon below this, at 95 % for all numbers of repeats at once; 0: "
        "nothing is shown",
        {"label": "least ε of a canary's rows"},
    ),
    "canary_eps_row": (
        "float64",
        "nats",
        "one row has no epsilon below this: the largest over the numbers of repeats, over that number; as sure",
        {"label": "least ε of a row, by canaries"},
    ),
    "canary_eps_most": (
        "float64",
        "nats",
        "what canary_eps_group would be if all guesses were right: no more can be shown",
        {"role": "count"},
    ),
    "canary_right": ("int64", "guesses", "that are right of who was planted, over all numbers of repeats",
        {"role": "count"}),
    "canary_guesses": ("int64", "guesses", "of the most and the least likely canaries", {"role": "count"}),
    "canary_images": ("int64", "canaries", "each with a fair coin of its own", {"role": "count"}),
    "canary_planted": ("int64", "canaries", "whose coin says so", {"role": "count"}),
    "canary_rows": ("int64", "images", "that they add to what is trained on", {"role": "count"}),
    "canary_extracted": (
        "float64",
        "share",
        "planted canaries of which a sample is a copy (d1/d2 < 1/3 among T and all canaries)",
        {"label": "planted canaries that are copied", "scale": "share"},
    ),
    "canary_extracted_lo": ("float64", "share", "lower end of its 95 % interval over canaries (Clopper and Pearson)"),
    "canary_extracted_hi": ("float64", "share", "upper end of its 95 % interval over canaries"),
    "canary_extracted_control": (
        "float64",
        "share",
        "the same for canaries that were never planted",
        {"label": "other canaries that are copied", "scale": "share"},
    ),
    "canary_extracted_control_lo": ("float64", "share", "lower end of its 95 % interval over canaries"),
    "canary_extracted_control_hi": ("float64", "share", "upper end of its 95 % interval over canaries"),
}  # fmt: skip
TABLES = {
    "canaries": {
        "canary": ("int64", "", "its number, from 0"),
        "repeats": ("int64", "rows", "how often it stands in the training set where it is planted"),
        "planted": ("bool", "", "what its coin says"),
        "score": ("float64", "", "minus the error of the mean of 8 reconstructions, at 0.25 sigma_d"),
        "copied": ("int64", "samples", "that are copies of it (d1/d2 < 1/3 among T and all canaries)"),
        "apart": ("bool", "", "no near-duplicate of it is in T or among the canaries: copies of it can be told apart"),
    },
    "canary_levels": {
        "repeats": ("int64", "rows", "of a planted canary"),
        "canaries": ("int64", "canaries", "with so many repeats"),
        "planted": ("int64", "canaries", "of them, by their coins"),
        "guesses": ("int64", "guesses", "of their coins: a number that is fixed beforehand"),
        "right": ("float64", "guesses", "that are right; missing where the denoiser is not for the noise level"),
        "eps_least": ("float64", "nats", "the rows of one canary together have no epsilon below this, at 95 %"),
        "eps_row": ("float64", "nats", "eps_least over repeats: what holds for one row"),
        "eps_most": ("float64", "nats", "what eps_least would be if all guesses were right"),
        "mu_least": ("float64", "", "the least mu of Gaussian privacy for the rows of one canary, at 95 %"),
        "eps_gauss": ("float64", "nats", "epsilon at delta by mu_least: a bound only where the procedure is Gaussian"),
        "tpr_1pct": ("float64", "share", "planted found at 1 % false alarms; missing below 100 never planted"),
        "tpr_1pct_lo": ("float64", "share", "lower end of its 95 % interval, the threshold given"),
        "tpr_1pct_hi": ("float64", "share", "upper end of its 95 % interval, the threshold given"),
        "examined": ("int64", "canaries", "planted ones that are apart"),
        "extracted": ("int64", "canaries", "of them, of which a sample is a copy"),
        "extracted_frac": ("float64", "share", "extracted over examined"),
        "extracted_frac_lo": ("float64", "share", "lower end of its 95 % interval over canaries"),
        "extracted_frac_hi": ("float64", "share", "upper end of its 95 % interval over canaries"),
        "examined_control": ("int64", "canaries", "never planted ones that are apart"),
        "extracted_control": ("int64", "canaries", "of them, of which a sample is a copy"),
    },
}

SHARE = 5  # one in so many canaries is guessed, where nothing else is said
ALARMS, NEVER_MIN = 100, 100  # one false alarm in so many; never planted canaries from which on that is known


class AskedCanaries(Protocol):
    """See `difgen_cli.data.Canaries`."""

    images: np.ndarray
    labels: np.ndarray | None
    repeats: np.ndarray
    planted: np.ndarray
    rows: np.ndarray


class AskedPlanting(Protocol):
    """See `difgen_cli.data.Planting`."""

    count: int
    repeats: tuple[int, ...]


def measure(
    denoiser: "DenoiserLike",
    samples: np.ndarray,
    train: np.ndarray,
    canaries: AskedCanaries | None,
    sigma_data: float,
    mirrored: bool = False,
    *,
    guesses: Annotated[int, Ge(1)] | None = None,
    delta: Annotated[float, Gt(0), Lt(1)] = 1e-5,
) -> Result:
    """The lower bound of Steinke, Nasr & Jagielski (2023) for the rows of a canary, at each number of repeats.

    Guesses are made as by `one_run`, each level of repeats by itself; a canary and its mirror image are scored together
    where training showed mirror images. Whether a sample is a copy of a canary is asked of T and all canaries, planted
    or not, each of them once. None without canaries (`data.canaries`).

    guesses: how many at each number of repeats; null guesses one canary in five. More show more of a model that tells
        all canaries, and less of one that tells few.
    delta: at which the bound of Gaussian privacy is read.
    """
    if canaries is None:
        return Result(dict.fromkeys(COLUMNS))
    scores = _scores(denoiser, canaries, sigma_data, mirrored)
    copied, is_apart = _copies(samples, train, canaries.images, mirrored)
    levels = np.unique(canaries.repeats)
    lines = [_level(int(k), canaries, scores, copied, is_apart, guesses, delta) for k in levels]
    table = {
        "canary": np.arange(len(scores)), "repeats": canaries.repeats, "planted": canaries.planted, "score": scores,
        "copied": copied, "apart": is_apart,
    }  # fmt: skip
    types = {name: np.dtype(type_) for name, (type_, _, _) in TABLES["canary_levels"].items()}
    columns = {name: np.array([line[name] for line in lines], own) for name, own in types.items()}
    return Result(_whole(lines, canaries), {"canaries": table, "canary_levels": columns})


def foreseen(canaries: AskedPlanting | None, settings: Mapping[str, Any]) -> str:
    """What so many canaries can show at most, before anything is trained; None: there are none.

    ValueError for more guesses than canaries at a level.
    """
    if canaries is None:
        return "has no values: it needs canaries; set data.canaries.count"
    r, levels = _guesses(canaries.count, settings["guesses"]), len(canaries.repeats)
    sentence = (
        f"{r:,} guesses among {canaries.count:,} canaries can show an epsilon of {most(r):.2f} at most for the rows of "
        f"one, in each training"
    )
    if levels > 1:
        sentence += f", and {_bound(r, r, levels):.2f} as the largest of {levels} numbers of repeats"
    if (expected := canaries.count / 2) < NEVER_MIN:
        sentence += (
            f"; {expected:,.0f} of them are expected never to be planted, and a true-positive rate at 1 % has no value "
            f"below {NEVER_MIN}"
        )
    return sentence


def _guesses(count: int, guesses: int | None) -> int:
    """Guesses among `count` canaries of a level."""
    if guesses is not None and guesses > count:
        raise ValueError(
            f"guesses: {guesses} are more than the {count} canaries of each number of repeats; use at most {count}"
        )
    return guesses or max(1, count // SHARE)


def _bound(right: int, guesses: int, levels: int, rows: int = 1) -> float:
    """Of one of so many levels, at 95 % for all of them at once (Bonferroni)."""
    return least(right, guesses, rows=rows, level=1 - (1 - LEVEL) / levels)


def _scores(denoiser: "DenoiserLike", canaries: AskedCanaries, sigma_data: float, mirrored: bool) -> np.ndarray:
    """High for canaries that look planted, (m,); NaN where the denoiser is not for the noise level."""
    sigma = DECLARED * sigma_data
    if not within(denoiser, sigma):
        return np.full(len(canaries.images), np.nan)
    sides = [canaries.images] + ([mirror(canaries.images)] if mirrored else [])
    parts = [bank(side, canaries.labels, DRAWS, POOL, device_of(denoiser)) for side in sides]
    errors = np.stack([losses(denoiser, part, [sigma]).bias[:, 0] for part in parts])
    return np.asarray(-errors.mean(axis=0))


def _copies(samples: np.ndarray, train: np.ndarray, images: np.ndarray, mirrored: bool) -> tuple[np.ndarray, ...]:
    """Samples that are copies of each canary, (m,) int64, and which canaries no other image is a near-duplicate of."""
    every = Repeats.of(np.concatenate([train, images]), mirrored)
    alone = np.bincount(every.group, minlength=len(every.group))[every.group][len(train) :] == 1
    distances, places = every.nearest(samples)
    of_canary = places[:, 0] - len(train)
    hits = of_canary[(ratio(distances) < THRESHOLD) & np.isfinite(distances[:, 1]) & (of_canary >= 0)]
    return np.bincount(hits, minlength=len(images)), np.asarray(alone)


def _level(
    repeats: int, canaries: AskedCanaries, scores: np.ndarray, copied: np.ndarray, is_apart: np.ndarray,
    guesses: int | None, delta: float,
) -> dict[str, float]:  # fmt: skip
    """A line of `canary_levels`."""
    here = canaries.repeats == repeats
    planted, m = canaries.planted[here], int(here.sum())
    r = _guesses(m, guesses)
    line = dict.fromkeys(TABLES["canary_levels"], np.nan)
    line |= {"repeats": repeats, "canaries": m, "planted": int(planted.sum()), "guesses": r, "eps_most": most(r)}
    if np.isfinite(scores[here]).all():
        right = right_guesses(scores[here], planted, r)
        mu = least_gaussian(right, r, m)
        line |= {
            "right": right, "eps_least": least(right, r), "eps_row": least(right, r, rows=repeats), "mu_least": mu,
            "eps_gauss": epsilon_of(mu, delta), **_rates(scores[here], planted),
        }  # fmt: skip
    for end, group in (("", planted), ("_control", ~planted)):
        examined = here.copy()
        examined[here] = group
        examined &= is_apart
        line |= {f"examined{end}": int(examined.sum()), f"extracted{end}": int((copied[examined] > 0).sum())}
    return line | _share("extracted_frac", line["extracted"], line["examined"])


def _rates(scores: np.ndarray, planted: np.ndarray) -> dict[str, float]:
    """Planted canaries that are found at 1 % false alarms, of enough that were never planted."""
    never = scores[~planted]
    if len(never) < NEVER_MIN or not planted.any():
        return {}
    return _share("tpr_1pct", found_at(scores[planted], never, len(never) // ALARMS), int(planted.sum()))


def _share(name: str, count: float, total: float) -> dict[str, float]:
    """A share and its interval over canaries; missing of none."""
    if not total:
        return {}
    lower, upper = clopper_pearson(int(count), int(total))
    return {name: count / total, f"{name}_lo": lower, f"{name}_hi": upper}


def _whole(lines: list[dict[str, float]], canaries: AskedCanaries) -> dict[str, Value]:
    """The columns of a row, over all levels."""
    levels = len(lines)
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    values |= {
        "canary_images": len(canaries.planted), "canary_planted": int(canaries.planted.sum()),
        "canary_rows": len(canaries.rows), "canary_guesses": sum(int(line["guesses"]) for line in lines),
        "canary_eps_most": max(_bound(int(line["guesses"]), int(line["guesses"]), levels) for line in lines),
    }  # fmt: skip
    if not any(np.isnan(line["right"]) for line in lines):
        counts = [tuple(int(line[name]) for name in ("right", "guesses", "repeats")) for line in lines]
        values |= {
            "canary_right": sum(right for right, _, _ in counts),
            "canary_eps_group": max(_bound(right, r, levels) for right, r, _ in counts),
            "canary_eps_row": max(_bound(right, r, levels, rows) for right, r, rows in counts),
        }
    for end in ("", "_control"):
        sums = (sum(line[f"{name}{end}"] for line in lines) for name in ("extracted", "examined"))
        values |= _share(f"canary_extracted{end}", *sums)
    return values
