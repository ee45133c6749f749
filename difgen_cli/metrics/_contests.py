"""Which of two sets an image is nearer to, and how far the answer rests on the luck of which images are in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from difgen_cli.metrics import nearest
from difgen_cli.metrics._groups import effective, freedom

SEED = 2

Side = tuple[np.ndarray, np.ndarray]  # places in T and in H of the images that compete in one draw


@dataclass(frozen=True)
class Contest:
    """Queries (n,) between one draw of T and H_N: who won, and the image that decided it."""

    score: np.ndarray  # (n,) 1: T is nearer, 0: H_N is, 1/2: a tie
    winner: np.ndarray  # (n,) the nearest image of both: its place in T, or len(T) + its place in H
    unit: np.ndarray  # (n,) which independent unit the query belongs to: numbers from 0, the same in all draws
    weight: np.ndarray  # (n,) of the queries, adding up to 1

    @property
    def mean(self) -> float:
        return float((self.weight * self.score).sum() / self.weight.sum())

    @property
    def deciding(self) -> float:
        """The effective number of images that decide."""
        return effective(np.bincount(self.winner, self.weight))


@dataclass(frozen=True)
class Spread:
    """How uncertain a mean preference is: the influence of each image, and what the queries add to it.

    Its variance is that of two ways of clustering at once (Cameron, Gelbach & Miller 2011): by the image that decides,
    as the queries that one image wins share its luck, and by the units of the queries; less what is in both.
    """

    images: np.ndarray  # (len(T) + len(H),) what leaving out each image, with what it wins, takes from the mean
    wins: np.ndarray  # (len(T) + len(H),) the same of all wins, whether for T or for H
    units: np.ndarray  # (u,) what leaving out each unit of the queries takes from the mean
    added: float  # variance over the units that is not in that over the images

    @property
    def variance(self) -> float:
        return float((self.images**2).sum()) + self.added


def draw_sides(train: int, held_out: int, images: int, draws: int) -> list[Side]:
    """For each draw, the places in T and in H of those that compete, ascending; the same for all snapshots."""
    rng = np.random.default_rng((SEED, 0))
    chosen = [(rng.permutation(train)[:images], rng.permutation(held_out)[:images]) for _ in range(draws)]
    return [(np.sort(in_train), np.sort(in_held_out)) for in_train, in_held_out in chosen]


def compete(
    queries: np.ndarray,
    unit: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    sides: Sequence[Side],
    mirrored: bool = False,
) -> list[Contest]:
    """One contest for each pair of places in T and in H. A held-out image identical to the query does not compete."""
    contests, whole = [], None
    for in_train, in_held_out in sides:
        if len(in_train) < len(train):
            to_train = nearest(queries, train[in_train], 1, mirrored=mirrored)
        else:
            to_train = whole = whole or nearest(queries, train[in_train], 1, mirrored=mirrored)
        to_others = _others(queries, held_out[in_held_out], mirrored)
        margin = np.sign(to_others[0][:, 0] - to_train[0][:, 0])
        ours, theirs = in_train[to_train[1][:, 0]], len(train) + in_held_out[to_others[1][:, 0]]
        weight = np.full(len(queries), 1 / max(1, len(queries)))
        contests.append(Contest((margin + 1) / 2, np.where(margin >= 0, ours, theirs), unit, weight))
    return contests


def spread(contests: Sequence[Contest], sides: Sequence[Side], train: int, held_out: int) -> Spread:
    """The jackknife's influences on the mean of the contests.

    Without memorization it is by chance alone which images of a draw are T and which are H_N, so that what an image
    wins is T's or H's by chance: its sum of squares is then the variance over all ways of dealing them out.
    """
    both, units = np.zeros((2, train + held_out)), np.zeros(1 + max(int(c.unit.max(initial=0)) for c in contests))
    cells, parts = [], []
    for contest, (in_train, in_held_out) in zip(contests, sides, strict=True):
        part = contest.weight * (contest.score - contest.mean) / len(contests)
        won = np.bincount(contest.winner, contest.weight, train + held_out)
        without = np.stack([np.bincount(contest.winner, part, len(won)), won / len(contests)]) / _rest(won)
        for places in (in_train, train + in_held_out):  # so many images are on a side, whichever they are
            both[:, places] += without[:, places] - without[:, places].mean(axis=1, keepdims=True)
        share = np.bincount(contest.unit, contest.weight, len(units))
        units += np.bincount(contest.unit, part, len(units)) / _rest(share)
        cells.append(contest.winner * len(units) + contest.unit)
        parts.append(part / _rest(share)[contest.unit])
    _, cell = np.unique(np.concatenate(cells), return_inverse=True)
    in_both = np.bincount(cell, np.concatenate(parts))
    return Spread(both[0], both[1], units, max(0.0, float((units**2).sum() - (in_both**2).sum())))


def degrees(images: np.ndarray, spreads: Sequence[Spread]) -> float:
    """Of the variance of means added up: of their images' common influences, and of what the queries of each add."""
    parts = [(float((images**2).sum()), freedom(images[images != 0]))]
    parts += [(s.added, freedom(s.units)) for s in spreads]
    squares = sum(variance**2 / degrees_ for variance, degrees_ in parts)
    return 1e9 if squares == 0 else sum(variance for variance, _ in parts) ** 2 / squares


def _rest(share: np.ndarray) -> np.ndarray:
    """What is left without a share; a single one with everything has no influence, and is not divided by 0."""
    return np.where(share < 1 - 1e-9, 1 - share, 1.0)


def _others(queries: np.ndarray, references: np.ndarray, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """The nearest reference that is not the query itself: (n, 1) distances and indices."""
    distances, indices = nearest(queries, references, 2, mirrored=mirrored)
    itself = (distances[:, :1] == 0) & (indices[:, 1:] >= 0)
    return np.where(itself, distances[:, 1:], distances[:, :1]), np.where(itself, indices[:, 1:], indices[:, :1])
