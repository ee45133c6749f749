"""Does the sampler, on its way, walk where noisy training images lie, or where noisy images lie that were never seen?

A comparison of ranks that the ratio rule cannot make: it sees what is not yet a copy, and says where it cannot see.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt
from scipy.special import logsumexp

from difgen_cli.metrics import Result, Value, flat, nearest, wilson
from difgen_cli.metrics._intervals import crossing_columns, mean_columns
from difgen_cli.metrics._ranks import half_width, placements
from difgen_cli.neighbours import distinct, with_mirrors

VERSION = 3
HELD_OUT_MIN = 4

COLUMNS = {
    "path_overlap_050": ("float64", "", "states rank like noisy T (1) or like noisy H (0), at 0.5 sigma_d"),
    "path_overlap_050_lo": ("float64", "", "lower end of its 95 % interval over images and samples"),
    "path_overlap_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "path_power_050": ("float64", "share", "P(noisy T outranks noisy H); below 0.65 the overlap is not given"),
    "path_pref_050": ("float64", "share", "states nearer to T than to as many of H, at 0.5 sigma_d"),
    "path_overlap_100": ("float64", "", "the same at sigma_d"),
    "path_overlap_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "path_overlap_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "path_power_100": ("float64", "share", "the same at sigma_d"),
    "path_pref_100": ("float64", "share", "the same at sigma_d"),
    "path_overlap_200": ("float64", "", "the same at 2 sigma_d"),
    "path_overlap_200_lo": ("float64", "", "lower end of its 95 % interval"),
    "path_overlap_200_hi": ("float64", "", "upper end of its 95 % interval"),
    "path_power_200": ("float64", "share", "the same at 2 sigma_d"),
    "path_pref_200": ("float64", "share", "the same at 2 sigma_d"),
    "x0_align_050": (
        "float64",
        "",
        "cosine of D(x) with the training image that the sample ends nearest to, at 0.5 sigma_d",
    ),
    "x0_align_050_lo": ("float64", "", "lower end of its 95 % interval over samples"),
    "x0_align_050_hi": ("float64", "", "upper end of its 95 % interval over samples"),
    "x0_align_100": ("float64", "", "the same at sigma_d"),
    "x0_align_100_lo": ("float64", "", "lower end of its 95 % interval over samples"),
    "x0_align_100_hi": ("float64", "", "upper end of its 95 % interval over samples"),
    "x0_align_200": ("float64", "", "the same at 2 sigma_d"),
    "x0_align_200_lo": ("float64", "", "lower end of its 95 % interval over samples"),
    "x0_align_200_hi": ("float64", "", "upper end of its 95 % interval over samples"),
    "decided_sigma": (
        "float64",
        "sigma_d",
        "noise level below which D(x) stays nearest to the training image of the end, for half of the samples",
        {"label": "noise level σ / σ_d at which half of the samples are decided", "scale": "log"},
    ),
    "decided_sigma_lo": ("float64", "sigma_d", "lower end of its 95 % interval over samples"),
    "decided_sigma_hi": ("float64", "sigma_d", "upper end of its 95 % interval over samples"),
    "path_states": ("int64", "samples", "states at each level", {"role": "count"}),
}

TABLES = {
    "path": {
        "sigma": ("float64", "", "noise level"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "path_overlap": ("float64", "", "1: states rank like noisy training images, 0: like noisy unseen ones"),
        "path_overlap_lo": ("float64", "", "lower end of its 95 % interval over images and samples"),
        "path_overlap_hi": ("float64", "", "upper end of its 95 % interval"),
        "path_power": ("float64", "share", "P(noisy T outranks noisy H)"),
        "path_pref": ("float64", "share", "states nearer to T than to as many of H"),
        "x0_align": ("float64", "", "cosine of D(x) with the training image nearest to the end, mean over samples"),
        "decided": ("float64", "share", "samples of which D(x) is nearest to that image here and at all levels below"),
        "top_weight_states": ("float64", "share", "heaviest posterior weight over T, mean over states"),
        "top_weight_train": ("float64", "share", "the same for noisy training images"),
        "top_weight_held_out": ("float64", "share", "the same for noisy held-out images"),
        "entropy_states": ("float64", "nats", "entropy of the posterior weights over T, mean over states"),
        "entropy_train": ("float64", "nats", "the same for noisy training images"),
        "entropy_held_out": ("float64", "nats", "the same for noisy held-out images"),
    }
}

SEED = 5
LEVELS = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)  # in units of σ_d; the sampler's own levels nearest to them
WAY = (0.05, *LEVELS, 0.35, 0.7, 1.4, 2.8, 5.6, 8.0, 16.0)  # at which the denoiser is asked
NAMED = {0.5: "050", 1.0: "100", 2.0: "200"}  # all are reported, never the best of them
FAR = 1.3  # a level of the sampler that is off by more than this factor does not stand for a named one
POWER_MIN = 0.65  # below it the two kinds of noisy images cannot be told apart, and overlap means nothing
MOST_ELEMENTS = 1 << 24

States = Callable[..., tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Overlap:
    """Path overlap at one level, with its interval; None where the power is too low."""

    overlap: float | None
    low: float | None
    high: float | None
    power: float


def measure(
    states: States,
    train: np.ndarray,
    held_out: np.ndarray,
    sigma_data: float,
    mirrored: bool = False,
    *,
    points: Annotated[int, Gt(0)] = 1000,
) -> Result:
    """Overlap, power and preference along the sampler's way (the definitions of this file's functions).

    H is split once: one half is the reference of ℓ(x) = K_T(x) − K_Href(x), the other the control that is never seen.
    For a mixture of p noisy training and 1 − p noisy unseen images the overlap is p, unclipped. The interval is for
    this model and this T, compared with unseen images of which the control is a sample. `mirrored`: training showed
    mirror images too; those of T are images of T, and those of the reference are in the reference. Repeats and
    near-duplicates count once, in T and in H, where they would stand in both halves.

    Where the sampler is going: the cosine of D(x_σ) with the training image that its end is nearest to, both about the
    mean of T, and from where on D(x_σ) is nearest to that image at all lower levels asked (Kim et al. 2025). For the
    ideal denoiser both are so below the level at which x tells the image. They ask how early a sample is decided,
    whatever it becomes: a sample that is no copy has a nearest training image too.

    points: noisy images of each kind; more where there are more images than half of that: each is taken twice at least.
    """
    train, held_out = (part[distinct(part, mirrored)] for part in (train, held_out))
    if len(held_out) < HELD_OUT_MIN:
        raise ValueError(f"path needs {HELD_OUT_MIN} distinct held-out images, there are {len(held_out)}")
    sigmas, x, way_sigmas, denoised, ends = states(LEVELS, estimates=WAY)
    if not len(sigmas):  # the denoiser is for none of them
        return Result(dict.fromkeys(COLUMNS), {"path": {name: np.empty(0) for name in TABLES["path"]}})
    order = np.random.default_rng(SEED).permutation(len(held_out))
    reference, control = (held_out[part] for part in np.split(order, [len(order) // 2]))
    if mirrored:
        train, reference = with_mirrors(train), with_mirrors(reference)
    T, reference, control = (flat(part).astype(np.float64) for part in (train, reference, control))
    lines = [_level(float(s), flat(at), T, reference, control, sigma_data, points)
             for s, at in zip(sigmas, x, strict=True)]  # fmt: skip
    table = {name: np.array([line.get(name, np.nan) for line in lines], np.float64) for name in TABLES["path"]}
    asked, cosines, decided = aligned(way_sigmas, denoised, ends, T)
    table["x0_align"], table["decided"] = (part[np.searchsorted(asked, sigmas)].mean(1) for part in (cosines, decided))
    shares = np.array([(here.mean(), *wilson(float(here.sum()), len(here))) for here in decided])
    values: dict[str, Value] = {**_named(table), "path_states": x.shape[1]}
    values |= crossing_columns("decided_sigma", asked / sigma_data, shares)
    for name, k in _named_places(asked / sigma_data).items():
        values |= mean_columns(f"x0_align_{name}", np.full(1, np.nan) if k is None else cosines[k], -1.0, 1.0)
    return Result(values, {"path": table})


def aligned(
    sigmas: np.ndarray, denoised: np.ndarray, ends: np.ndarray, train: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rising σ (M,); cosines of D(x_σ) with the training image nearest to the end; and 1 where it is nearest to that
    one, here and at all lower σ: (M, n) both.

    sigmas (M,) descend; denoised (M, n, ...), ends (n, ...), train (N, d).
    """
    centre = train.mean(axis=0)
    T = train - centre
    place = nearest(flat(ends), train.astype(np.float32), 1)[1][:, 0]
    cosines, same = np.empty((2, len(sigmas), len(ends)))
    for k, estimates in enumerate(denoised[::-1]):
        one, other = flat(estimates).astype(np.float64) - centre, T[place]
        size = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        products = np.einsum("nd,nd->n", one, other)
        cosines[k] = np.clip(np.divide(products, size, out=np.zeros_like(size), where=size > 0), -1, 1)
        same[k] = nearest(flat(estimates), train.astype(np.float32), 1)[1][:, 0] == place
    return sigmas[::-1], cosines, np.minimum.accumulate(same, axis=0)


def _level(
    sigma: float, x: np.ndarray, T: np.ndarray, reference: np.ndarray, control: np.ndarray, sigma_data: float,
    points: int,
) -> dict[str, float | None]:  # fmt: skip
    """One line of the table."""
    chance = np.random.default_rng(SEED)
    seen, unseen = noisy(T, sigma, points, chance), noisy(control, sigma, points, chance)

    def rank(part: np.ndarray) -> np.ndarray:
        ranked: np.ndarray = log_density(part, T, sigma) - log_density(part, reference, sigma)
        return ranked

    ranks = rank(seen).reshape(-1, len(T)), rank(unseen).reshape(-1, len(control)), rank(x)[None]
    shared = overlap(*ranks)
    equal = min(len(T), len(reference))
    few = log_density(x, T[chance.permutation(len(T))[:equal]], sigma) - log_density(x, reference[:equal], sigma)
    line: dict[str, float | None] = {
        "sigma": sigma, "sigma_rel": sigma / sigma_data, "path_overlap": shared.overlap, "path_overlap_lo": shared.low,
        "path_overlap_hi": shared.high, "path_power": shared.power,
        "path_pref": float(np.mean((few > 0) + (few == 0) / 2)),
    }  # fmt: skip
    for name, part in (("states", x), ("train", seen), ("held_out", unseen)):
        line[f"top_weight_{name}"], line[f"entropy_{name}"] = posterior(part, T, sigma)
    return line


def noisy(images: np.ndarray, sigma: float, least: int, chance: np.random.Generator) -> np.ndarray:
    """At least so many noisy images x = s + σn, (copies · N, d): all images once, then all again, at least twice."""
    copies = np.tile(images, (max(2, -(-least // len(images))), 1))
    noised: np.ndarray = copies + sigma * chance.standard_normal(copies.shape)
    return noised


def log_density(x: np.ndarray, images: np.ndarray, sigma: float) -> np.ndarray:
    """K_S(x) = log (1/|S|) Σ_s exp(−‖x − s‖² / 2σ²), (n,) float64."""
    parts = [logsumexp(block, axis=1) for block in logits(x, images, sigma)]
    return np.asarray(np.concatenate(parts) - np.log(len(images)))


def posterior(x: np.ndarray, images: np.ndarray, sigma: float) -> tuple[float, float]:
    """Heaviest weight and entropy (nats) of softmax(−‖x − s‖² / 2σ²) over the images, the means over x."""
    top, entropy = [], []
    for block in logits(x, images, sigma):
        log_weights = block - logsumexp(block, axis=1, keepdims=True)
        weights = np.exp(log_weights)
        top.append(weights.max(1))
        entropy.append(-(weights * np.where(weights > 0, log_weights, 0)).sum(1))
    return float(np.concatenate(top).mean()), float(np.concatenate(entropy).mean())


def logits(x: np.ndarray, images: np.ndarray, sigma: float) -> list[np.ndarray]:
    """−‖x − s‖² / 2σ² in float64, in blocks of rows; differences are taken about the images' mean."""
    centre = images.mean(0)
    moved, placed = np.asarray(x, np.float64) - centre, images - centre
    rows = max(1, MOST_ELEMENTS // max(1, len(images)))
    squares = np.square(placed).sum(1)
    blocks = (moved[k : k + rows] for k in range(0, len(moved), rows))
    return [-np.maximum(np.square(b).sum(1)[:, None] + squares - 2 * b @ placed.T, 0) / (2 * sigma**2) for b in blocks]


def overlap(train: np.ndarray, held_out: np.ndarray, states: np.ndarray) -> Overlap:
    """(A − B) / (A − ½), A = P(ℓ(t + σn) > ℓ(h + σn)), B = P(ℓ(t + σn) > ℓ(x_σ)), ties one half.

    Ranks ℓ as (copies, images): of noisy training images, of noisy unseen ones, of the sampler's states (one copy).

    The interval is that of DeLong et al. 1988, carried through the ratio by its derivative: what each point adds to
    (1 − overlap) A − B. Unseen images are clusters, all copies of one together, and the states are independent. The
    training images are all there are, and the states' own: only the noise on each varies, over two copies or more.
    """
    over_unseen, over_states = (placements(train, others) for others in (held_out, states))
    power, beaten = float(over_unseen.mean()), float(over_states.mean())
    if power < POWER_MIN:
        return Overlap(None, None, None, power)
    value = (power - beaten) / (power - 0.5)
    if states.size < 2:
        return Overlap(value, None, None, power)
    of_train = (1 - value) * over_unseen - over_states
    of_unseen = (1 - value) * placements(held_out, train).mean(axis=0)
    of_states = placements(states[0], train)
    parts = [  # squared standard error, degrees of freedom
        (of_train.var(axis=0, ddof=1).mean() / of_train.size, of_train.size - len(train[0])),
        (of_unseen.var(ddof=1) / of_unseen.size, of_unseen.size - 1),
        (of_states.var(ddof=1) / of_states.size, of_states.size - 1),
    ]
    reach = half_width(*zip(*parts, strict=True)) / (power - 0.5)
    return Overlap(value, value - reach, value + reach, power)


def _named(table: dict[str, np.ndarray]) -> dict[str, float | None]:
    """The columns of the levels that have names; None where the sampler passes nowhere near, or it cannot be told."""
    values: dict[str, float | None] = {}
    for name, at in _named_places(table["sigma_rel"]).items():
        for column in ("path_overlap", "path_power", "path_pref"):
            values[f"{column}_{name}"] = None if at is None else _value(table[column][at])
        for end in ("lo", "hi"):
            values[f"path_overlap_{name}_{end}"] = None if at is None else _value(table[f"path_overlap_{end}"][at])
    return values


def _named_places(relative: np.ndarray) -> dict[str, int | None]:
    """Where the named levels are among some (L,); None for one that none is near."""
    places = {name: int(np.argmin(abs(np.log(relative / level)))) for level, name in NAMED.items()}
    return {
        name: at if max(relative[at] / level, level / relative[at]) < FAR else None
        for (name, at), level in zip(places.items(), NAMED, strict=True)
    }


def _value(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
