"""The worlds: what is planted, what the columns must read, what the sentences must say, and what they must not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from planted import data
from planted.data import Data

Range = tuple[float, float]

COPIES = r"of the samples are copies by the ratio rule, of .* more than held-out"
CHANGED = "Samples that the plain rule misses are changed copies"
NEAR = "nearer to one training image than 99 %"
PARTS = "copies by parts"
LEANS = "The samples lie nearer to the training images"
NO_LEAN = "No preference of the samples for the training images was found"
CLEAN = "No measure here distinguishes the samples"
SILENT = "does not find more copies among the samples than among held-out images"
CANNOT = "Whether the samples lie nearer to the training images than held-out images do cannot be decided"
ANY_COPY = (COPIES, CHANGED, NEAR, PARTS, LEANS)


@dataclass(frozen=True)
class World:
    """What is planted, and what must be read and said.

    reads: column -> least and greatest value; a None range: the column must be null. says, never: patterns. options:
    more words of `difgen score`. only: the data sets that it is told for; all where empty. by_chance: nothing leans to
    T, but a 95 % interval errs in one draw of T, H and samples in forty, and most of three draws count.
    """

    name: str
    samples: Callable[[Data, int], np.ndarray]
    train: Callable[[Data], np.ndarray] = lambda d: d.train
    reads: Mapping[str, Range | None] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    by_chance: bool = False


def _some(images: np.ndarray, count: int) -> np.ndarray:
    return images[np.random.default_rng(data.SEED).permutation(len(images))[:count]]


def _of(images: Callable[[np.ndarray], np.ndarray]) -> Callable[[Data, int], np.ndarray]:
    """Some training images, changed."""
    return lambda d, n: images(_some(d.train, n))


def _repeated(times: int) -> Callable[[Data], np.ndarray]:
    """The first thirty training images so many times, all others once."""
    return lambda d: np.concatenate([*[d.train[:30]] * times, d.train[30:]])


def _a_third(d: Data, n: int) -> np.ndarray:
    """A third of the samples identical to the first thirty training images, the rest new."""
    third = n // 3
    return np.concatenate([d.train[np.arange(third) % 30], d.new[: n - third]])


ALL: Range = (0.97, 1)
NONE: Range = (0, 0.02)

WORLDS = (
    # Copies
    World("T exactly", _of(lambda x: x), reads={"mem_frac": (1, 1), "train_pref_share": (0.9, 1.1)},
          says=("identical to a training image", COPIES, LEANS), never=(NO_LEAN, CLEAN, SILENT, PARTS, CHANGED)),
    World("T + noise .02", _of(lambda x: data.noisy(x, 0.02)), reads={"mem_frac": ALL, "mem_identical": (0, 0)},
          says=(COPIES, LEANS), never=("identical", NO_LEAN, CLEAN, SILENT)),
    World("T + noise .05", _of(lambda x: data.noisy(x, 0.05)), reads={"mem_frac": ALL},
          says=(COPIES, LEANS), never=("identical", NO_LEAN, CLEAN, SILENT)),
    World("T + noise .2", _of(lambda x: data.noisy(x, 0.2)), reads={"copy_tail": (0.8, 1)},
          says=(f"{NEAR}|changed copies", LEANS), never=(NO_LEAN, CLEAN)),
    World("half copies", lambda d, n: np.concatenate([d.train[: n // 2], d.new[: n - n // 2]]),
          reads={"mem_frac": (0.48, 0.53)}, says=(COPIES, LEANS), never=(NO_LEAN, CLEAN, SILENT)),
    World("a tenth copies", lambda d, n: np.concatenate([d.train[: n // 10], d.new[: n - n // 10]]),
          reads={"mem_frac": (0.09, 0.13)}, says=(COPIES,), never=(CLEAN, SILENT)),
    # Changed copies
    World("T shifted by a pixel", _of(lambda x: data.shifted(x, 0, 1)),
          reads={"aligned_frac": ALL, "aligned_control": NONE}, says=(CHANGED, "moved"), never=(NO_LEAN, CLEAN)),
    World("T shifted diagonally", _of(lambda x: data.shifted(x, -1, 1)),
          reads={"aligned_frac": ALL}, says=(CHANGED, "moved"), never=(NO_LEAN, CLEAN)),
    World("T mirrored", _of(lambda x: x[:, :, ::-1]), reads={"aligned_frac": ALL},
          says=(CHANGED, "mirrored"), never=(CLEAN,)),
    World("T mirrored, --mirrored", _of(lambda x: x[:, :, ::-1]), reads={"mem_frac": (1, 1)},
          says=("identical to a training image", COPIES, LEANS), never=(NO_LEAN, CLEAN, SILENT),
          options=("--mirrored",)),
    World("brightness × 1.1", _of(lambda x: data.changed(x, lambda y: 1.1 * (y + 1) - 1)),
          reads={"aligned_frac": (0.9, 1)}, says=(f"{COPIES}|brightness or contrast", LEANS), never=(NO_LEAN, CLEAN)),
    World("contrast × .8", _of(lambda x: data.changed(x, lambda y: 0.8 * y)),
          reads={"aligned_frac": (0.9, 1)}, says=("brightness or contrast", LEANS), never=(NO_LEAN, CLEAN)),
    World("blurred σ 1", _of(lambda x: data.blurred(x, 1)),
          says=(f"smoothed|{NEAR}|{COPIES}", LEANS), never=(NO_LEAN, CLEAN)),
    World("blurred σ 2", _of(lambda x: data.blurred(x, 2)), says=(f"smoothed|{NEAR}|{COPIES}",), never=(CLEAN,)),
    World("collages of four", lambda d, n: data.collages(d.train, n), reads={"tile_copy_frac": (0.9, 1)},
          says=(PARTS,), never=(COPIES, CLEAN)),
    World("mixes of two", lambda d, n: data.mixes(d.train, n), reads={"mem_frac": (0, 0.05)},
          says=(LEANS,), never=(COPIES, PARTS, CLEAN)),
    # No copies
    World("held-out", lambda d, n: d.held_out[:n], reads={"mem_frac": NONE, "aligned_frac": NONE},
          never=ANY_COPY, by_chance=True),
    World("new images", lambda d, n: d.new[:n], reads={"mem_frac": NONE, "aligned_frac": NONE},
          says=(NO_LEAN, SILENT), never=ANY_COPY, by_chance=True),
    World("held-out blurred", lambda d, n: data.blurred(d.held_out[:n], 1), reads={"mem_frac": NONE},
          never=(COPIES, CHANGED, PARTS)),
    World("new, shifted", lambda d, n: data.shifted(d.new[:n], 1, 0), reads={"aligned_frac": NONE},
          never=ANY_COPY, by_chance=True),
    # Few modes
    World("one new image", lambda d, n: np.repeat(d.new[:1], n, axis=0),
          reads={"sample_distinct": (1, 1), "train_pref_excess_lo": None},
          says=("All samples are one image", CANNOT), never=(*ANY_COPY, NO_LEAN, CLEAN)),
    World("one training image", lambda d, n: np.repeat(d.train[:1], n, axis=0),
          reads={"mem_frac": (1, 1), "mem_unique": (1, 1), "mem_identical": (1, 1e9)},
          says=("All samples are one image", "identical to a training image", CANNOT), never=(LEANS, NO_LEAN, CLEAN)),
    World("three new images", lambda d, n: np.repeat(d.new[:3], n // 3, axis=0),
          reads={"sample_distinct": (3, 3), "train_pref_excess_lo": None},
          says=("only 3 distinct images", CANNOT), never=(*ANY_COPY, NO_LEAN, CLEAN)),
    World("constant grey", lambda d, n: np.full_like(d.new[:n], 128),
          reads={"sample_constant": (1, 1e9), "train_pref_excess": None},
          says=("All samples are of a single colour",), never=(*ANY_COPY, NO_LEAN, CLEAN, "ratio rule")),
    World("grey of many levels", lambda d, n: np.broadcast_to(
          np.linspace(20, 230, n).astype(np.uint8)[:, None, None, None], d.new[:n].shape).copy(),
          reads={"sample_constant": (1, 1e9), "train_pref_excess": None},
          says=("single colour",), never=(*ANY_COPY, NO_LEAN, CLEAN)),
    # Repeats in T
    World("every image of T twice, samples = T", _of(lambda x: x), train=lambda d: np.concatenate([d.train, d.train]),
          reads={"mem_frac": (1, 1)}, says=("identical", COPIES, LEANS, "repeats count as one"),
          never=(NO_LEAN, CLEAN, SILENT)),
    World("30 of T three times, a third copies of them", _a_third, train=_repeated(3),
          reads={"mem_frac": (0.32, 0.35), "mem_unique": (30, 30)},
          says=("identical", COPIES, "30 distinct training images", "repeats count as one"), never=(CLEAN, SILENT)),
    World("30 of T nearly three times, a third copies", _a_third,
          train=lambda d: np.concatenate([d.train, *(data.noisy(d.train[:30], s) for s in (0.01, 0.02))]),
          reads={"mem_frac": (0.32, 0.35), "mem_unique": (30, 30)}, says=(COPIES, "repeats count as one"),
          never=(CLEAN, SILENT)),
    World("T twice, new samples", lambda d, n: d.new[:n], train=lambda d: np.concatenate([d.train, d.train]),
          reads={"mem_frac": NONE}, says=(NO_LEAN, SILENT), never=ANY_COPY, by_chance=True),
    # Tiny T
    World("N = 1", lambda d, n: d.new[:n], train=lambda d: d.train[:1], reads={"mem_frac": None},
          says=("single distinct image",), never=(COPIES, LEANS, CLEAN)),
    World("N = 1, copies", lambda d, n: np.repeat(d.train[:1], n, axis=0), train=lambda d: d.train[:1],
          reads={"mem_frac": None, "mem_identical": (1, 1e9)}, says=("identical to a training image",), never=(CLEAN,)),
    World("N = 2, copies", lambda d, n: d.train[np.arange(n) % 2], train=lambda d: d.train[:2],
          reads={"mem_frac": (1, 1), "mem_unique": (2, 2)}, says=("identical", "only 2 distinct images"),
          never=(CLEAN,)),
)  # fmt: skip
SHORT = (
    "T exactly", "T shifted by a pixel", "T mirrored", "contrast × .8", "collages of four", "new images",
    "one new image", "constant grey", "30 of T three times, a third copies of them",
    "every image of T twice, samples = T", "N = 1",
)  # fmt: skip
