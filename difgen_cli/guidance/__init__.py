"""Guidance: the denoiser that the sampler follows is steered away from worse ones.

    D(x; σ) = D_pos(x; σ) + Σ_k w_k m_k (D_pos(x; σ) − D_neg,k(x; σ))

D_pos is the network itself. Each term k names its negative D_neg,k, its weight w_k, and with its mask m_k where it
acts: in an interval over σ, and for some terms on some pixels alone. A weight of 0 is no guidance; −1 puts the
negative in the network's place. The other
convention of classifier-free guidance writes D_neg + s (D_pos − D_neg): the same with s = 1 + w (Ho & Salimans' w is
the w here, Karras et al.'s is s).

A term is a file with `negative(<inputs>, *, ...)`, which returns what is called like a denoiser. Its positional
parameters name its inputs: `denoiser` the network itself, `shape` (C, H, W) or (D,), `weak` the network of another
trajectory or snapshot, which the grid names by what differs, `continued` the network trained on for a while, with the
settings that the file's constant CONTINUED draws from its own, and `train`, `train_labels` and `classifier`, made of T.
A negative with a method `beside(positive, x, sigma, labels)` is given the network's estimate. What a term needs of the
model, its constant NEEDS says; what settings cannot be had, its function `check(shape, *, ...)`, which is called before
anything runs.

Nothing here imports torch by itself, so that planning can ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Gt, Le

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from difgen_cli.diffusion import DenoiserLike

VERSION = 1


@dataclass(frozen=True)
class Term:
    """One term of the sum: its negative, its weight, and where it acts."""

    negative: "DenoiserLike"
    weight: float
    interval: tuple[float, float]  # σ/σ_d: above the first, up to the second
    agreement: float | None
    mask: np.ndarray | None = None  # (H, W): the pixels that are guided; None: all

    def acts(self, sigma: "Tensor", sigma_data: float) -> "Tensor":
        """Whether it acts at each σ, (B,) bool."""
        lowest, highest = self.interval
        return (sigma > lowest * sigma_data) & (sigma <= highest * sigma_data)

    def acts_at(self, sigma: float, sigma_data: float) -> bool:
        """The same for one σ on the host, in float32 as tensors are."""
        lowest, highest = (np.float32(end * sigma_data) for end in self.interval)
        return bool(lowest < np.float32(sigma) <= highest)


def term(
    negative: "DenoiserLike",
    *,
    weight: float = 1.0,
    interval: tuple[float, ...] | None = None,
    agreement: Annotated[float, Gt(0), Le(1)] | None = None,
) -> Term:
    """A term of the sum, from its negative. What every term can be told:

    weight: w; 0: no guidance; below 0: towards the negative, which replaces the network's estimate at −1. CFG's other
        convention calls 1 + w the scale.
    interval: [lowest, highest] noise level, in units of σ_d, between which the term acts, the lowest left out
        (Kynkäänniemi et al. 2024); null: at all.
    agreement: the cosine of positive and negative from which on a sample is guided no more, on all its later steps
        (Castillo et al. 2023); null: never.

    Raises ValueError for an interval that is none.
    """
    return Term(negative, weight, span(interval), agreement, getattr(negative, "mask", None))


def span(interval: tuple[float, ...] | None) -> tuple[float, float]:
    """The ends of an interval of σ/σ_d, those of all noise levels for None; ValueError where it has none."""
    if interval is None:
        return 0.0, float("inf")
    if len(interval) != 2 or not 0 <= interval[0] < interval[1]:
        raise ValueError(
            f"interval: must be [lowest, highest] with 0 <= lowest < highest, in units of sigma_d, not {list(interval)}"
        )
    return interval[0], interval[1]


def guided(denoiser: "DenoiserLike", terms: Sequence[Term]) -> "DenoiserLike":
    """The denoiser that the sampler follows: the very same one where no term has a weight."""
    weighed = [term for term in terms if term.weight != 0]
    return Guided(denoiser, weighed) if weighed else denoiser


class Around:
    """A denoiser around another, on the same data and device."""

    def __init__(self, denoiser: "DenoiserLike") -> None:
        self.denoiser, self.sigma_data = denoiser, denoiser.sigma_data
        self.sigma_range: tuple[float, float] = getattr(denoiser, "sigma_range", (0.0, float("inf")))

    def parameters(self) -> "Iterable[Tensor]":
        return getattr(self.denoiser, "parameters", tuple)()

    def buffers(self) -> "Iterable[Tensor]":
        return getattr(self.denoiser, "buffers", tuple)()


class Guided(Around):
    """D = D_pos + Σ w m (D_pos − D_neg), called like D_pos; a term is asked for the items alone on which it acts."""

    def __init__(self, denoiser: "DenoiserLike", terms: Sequence[Term], *, walking: bool = False) -> None:
        super().__init__(denoiser)
        ranges = [self.sigma_range, *(getattr(t.negative, "sigma_range", self.sigma_range) for t in terms)]
        self.sigma_range = max(low for low, _ in ranges), min(high for _, high in ranges)
        self.terms, self.walking = terms, walking
        self.agreed: list[Tensor | None] = [None] * len(terms)  # of each term: which samples it guides no more
        self.masks: dict[int, Tensor] = {}  # by term, where the images are

    def begin(self) -> "Guided":
        """The same for one walk of a sampler, on which samples whose positive and negative agree are let go."""
        walking = Guided(self.denoiser, self.terms, walking=True)
        walking.masks = self.masks
        return walking

    def __call__(self, x: "Tensor", sigma: "Tensor", labels: "Tensor | None" = None, /) -> "Tensor":
        """Like x, (B, C, H, W) or (B, D), for σ (B,): D_pos itself, bit for bit, where no term acts."""
        return self.at(x, sigma, labels, None)

    def at(self, x: "Tensor", sigma: "Tensor", labels: "Tensor | None", level: float | None) -> "Tensor":
        """The same, where all σ are the number `level`: which terms act is then decided on the host."""
        positive = self.denoiser(x, sigma, labels)
        correction = None
        for place, term in enumerate(self.terms):
            some = self._some(place, sigma, level)
            if some is None:
                continue
            if correction is None:
                correction = positive.new_zeros(positive.shape)
            of_positive, asked = positive[some], (x[some], sigma[some], _of(labels, some))
            beside = getattr(term.negative, "beside", None)
            of_negative = beside(of_positive, *asked) if beside else term.negative(*asked)
            away = of_positive - of_negative
            correction[some] += term.weight * self._mask(place, away) * away
            if self.walking and term.agreement is not None:
                cosine = agreement(x[some], sigma[some], of_positive, of_negative, self.sigma_data)
                self._let_go(place, some, cosine >= term.agreement)
        return positive if correction is None else positive + correction

    def _mask(self, place: int, like: "Tensor") -> "Tensor | float":
        """Of a term: 1 where it guides, (H, W), and 0 elsewhere; copied to a card once, as a copy is waited for."""
        mask = self.terms[place].mask
        if mask is None:
            return 1.0
        if place not in self.masks or self.masks[place].device != like.device:
            self.masks[place] = like.new_tensor(mask)
        return self.masks[place]

    def _some(self, place: int, sigma: "Tensor", level: float | None) -> "slice | Tensor | None":
        """The items on which a term acts now: all of them, those that are true in (B,) bool, or None for none."""
        term, agreed = self.terms[place], self.agreed[place]
        if level is not None and not term.acts_at(level, self.sigma_data):
            return None
        if level is not None and agreed is None:
            return slice(None)
        acting = term.acts(sigma, self.sigma_data)
        acting = acting if agreed is None else acting & ~agreed
        return None if not acting.any() else slice(None) if acting.all() else acting

    def _let_go(self, place: int, some: "slice | Tensor", agreeing: "Tensor") -> None:
        agreed = self.agreed[place]
        if isinstance(some, slice):
            self.agreed[place] = agreeing
            return
        agreed = some.new_zeros(some.shape) if agreed is None else agreed.clone()
        agreed[some] = agreeing
        self.agreed[place] = agreed


def _of(labels: "Tensor | None", some: "slice | Tensor") -> "Tensor | None":
    return None if labels is None else labels[some]


def agreement(x: "Tensor", sigma: "Tensor", positive: "Tensor", negative: "Tensor", sigma_data: float) -> "Tensor":
    """The cosine of two denoisers' outputs for the same x, (B,), as the networks give them: F ∝ D − c_skip x.

    Castillo et al. take the cosine of the predicted noises. Those are both nearly x itself at EDM's first levels and
    would agree before anything is decided; F is the predicted image there, and the predicted noise at low σ.
    """
    from difgen_cli.diffusion import per_item, preconditioning

    skip = per_item(preconditioning(sigma, sigma_data)[0], x) * x
    a, b = (positive - skip).flatten(1), (negative - skip).flatten(1)
    cosine: Tensor = (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt().clamp_min(1e-30)
    return cosine


class Unconditional(Around):
    """A denoiser that is told no condition, whatever it is called with."""

    def __call__(self, x: "Tensor", sigma: "Tensor", labels: "Tensor | None" = None, /) -> "Tensor":
        return self.denoiser(x, sigma, None)


@dataclass
class Meter:
    """What was asked of the networks: evaluations of one item each, and the numbers (pixels) that went in."""

    evaluations: int = 0
    elements: int = 0


class Metered(Around):
    """A denoiser whose evaluations are counted."""

    def __init__(self, denoiser: "DenoiserLike", meter: Meter) -> None:
        super().__init__(denoiser)
        self.meter = meter

    def __call__(self, x: "Tensor", sigma: "Tensor", labels: "Tensor | None" = None, /) -> "Tensor":
        self.meter.evaluations += len(x)
        self.meter.elements += x.numel()
        return self.denoiser(x, sigma, labels)
