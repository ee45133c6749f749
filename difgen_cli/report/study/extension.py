"""Cells that a study has not planned: more sizes, steps, seeds or samples, and what they would cost.

Planned cells are copied to where new ones would stand, so that the counts hold for whatever else the grid varies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.study.curves import SIZE, STEPS

if TYPE_CHECKING:
    from difgen_cli.report.study.curves import Curves

COUNT = "sample.count"
TRAINED_ELSEWHERE = ("model.path",)  # settings of weights that somebody else trained


@dataclass(frozen=True)
class Extension:
    """sizes: further ones. later: further steps, of the sizes from `later_from` to `later_to` alone; earlier: further
    ones, of the sizes up to `earlier_to` alone. seeds: how many in all, 0 for those that are there. samples: of each
    cell, 0 as they are."""

    sizes: tuple[int, ...] = ()
    later: tuple[int, ...] = ()
    later_from: float = -np.inf
    later_to: float = np.inf
    earlier: tuple[int, ...] = ()
    earlier_to: float = np.inf
    seeds: int = 0
    samples: int = 0

    def __bool__(self) -> bool:
        return bool(self.sizes or self.later or self.earlier or self.seeds or self.samples)


def joined(extensions: Iterable[Extension]) -> Extension:
    """One that has what each of them has."""
    several = [extension for extension in extensions if extension]
    later, earlier = ([e for e in several if getattr(e, name)] for name in ("later", "earlier"))
    return Extension(
        sizes=tuple(sorted({size for e in several for size in e.sizes})),
        later=tuple(sorted({step for e in later for step in e.later})),
        later_from=min((e.later_from for e in later), default=-np.inf),
        later_to=max((e.later_to for e in later), default=np.inf),
        earlier=tuple(sorted({step for e in earlier for step in e.earlier})),
        earlier_to=max((e.earlier_to for e in earlier), default=np.inf),
        seeds=max((e.seeds for e in several), default=0),
        samples=max((e.samples for e in several), default=0),
    )


def possible(curves: Curves) -> frozenset[str]:
    """Which of sizes, steps, seeds and samples a grid like this can have more of.

    None where somebody else trained the weights. No sizes and no steps where these move together with another axis; no
    steps where trainings fork at one (and none where the learning rate depends on them: then steps are no axis); no
    seeds where an axis stands for them.
    """
    cells, able = curves.cells, set()
    if _any(cells, TRAINED_ELSEWHERE):
        return frozenset()
    axes = {axis.path: axis for axis in curves.axes if axis.numeric and not axis.along}
    moved = {path for axis in curves.axes for path in axis.along}
    if SIZE in axes:
        able.add("sizes")
    if STEPS in axes and not _any(cells, ("fork.at",)):
        able.add("steps")
    if curves.replicate == "seed":
        able.add("seeds")
    if COUNT in cells and COUNT not in {*curves.paths, *moved} and cells[COUNT].nunique() == 1:
        able.add("samples")
    return frozenset(able)


@dataclass(frozen=True)
class ExtensionCost:
    """New cells, and the trainings that they are of: new ones, and longer or repeated ones. Closed forms have none.

    exact: whether the planned cells are a full product of their axes. Of others, which a grid includes or skips, it is
    not known which have siblings at the new places.
    """

    cells: int
    trainings: int
    exact: bool = True


def cost(curves: Curves, extension: Extension) -> ExtensionCost:
    """What an extension adds to the planned cells of a study."""
    cells = curves.cells.drop_duplicates([*curves.paths, "seed", "cell"])
    names = [name for name in ("trajectory", "seed", SIZE, STEPS) if name in cells]
    plan = cells[names].assign(new=False).astype(dict.fromkeys(names, object))
    if "trajectory" not in plan:
        return ExtensionCost(0, 0)
    plan = _with_sizes(plan, curves, extension.sizes)
    plan = _with_steps(plan, extension.earlier, lambda size: size <= extension.earlier_to)
    plan = _with_steps(plan, extension.later, lambda size: extension.later_from <= size <= extension.later_to)
    present = sorted(set(plan["seed"]))
    alike = plan[plan["seed"] == present[0]] if present else plan
    copies = [
        alike.assign(new=True, trajectory=alike["trajectory"].map(lambda key, k=k: f"{key} seed {k}"))
        for k in range(extension.seeds - len(present))
    ]
    plan = pd.concat([plan, *copies])
    added = plan[plan["new"]]
    trainings = added["trajectory"][added[STEPS].notna()].nunique() if STEPS in added else 0
    full = math.prod(len(axis.levels) for axis in curves.axes) * len(present)
    # samples: all are drawn again
    return ExtensionCost(len(plan if extension.samples else added), trainings, len(cells) == full)


def further_seeds(present: Iterable[Any], total: int) -> list[int]:
    """The seeds of a grid with so many: those that are there, and the smallest that are not."""
    kept = sorted({int(seed) for seed in present})
    free = (number for number in range(total + len(kept)) if number not in kept)
    while len(kept) < total:
        kept.append(next(free))
    return sorted(kept)


def _with_sizes(plan: pd.DataFrame, curves: Curves, sizes: Iterable[int]) -> pd.DataFrame:
    """The plan with copies of the next larger size in the place of each new one."""
    copies = []
    for size in sizes:
        axis = curves.axis(SIZE)
        above = next(level for level, value in zip(axis.levels, axis.values, strict=True) if value > size)
        alike = plan[plan[SIZE] == above]
        keys = alike["trajectory"].map(lambda key, size=size: f"{key} size {size}")
        copies.append(alike.assign(**{SIZE: str(size)}, new=True, trajectory=keys))
    return pd.concat([plan, *copies]) if copies else plan


def _with_steps(plan: pd.DataFrame, steps: Iterable[int], wanted: Any) -> pd.DataFrame:
    """The plan with copies of each trajectory's longest cells in the place of each new step, for wanted sizes."""
    sizes = pd.to_numeric(plan[SIZE], errors="coerce") if SIZE in plan else pd.Series(np.nan, plan.index)
    chosen = plan[sizes.map(lambda size: bool(np.isnan(size) or wanted(size))).astype(bool)]
    if STEPS not in plan or chosen.empty:
        return plan
    numbers = pd.to_numeric(chosen[STEPS], errors="coerce")
    longest = chosen[numbers == numbers.groupby(chosen["trajectory"]).transform("max")]
    return pd.concat([plan, *(longest.assign(**{STEPS: str(step)}, new=True) for step in steps)])


def _any(cells: pd.DataFrame, names: Iterable[str]) -> bool:
    return any(name in cells and cells[name].notna().any() for name in names)
