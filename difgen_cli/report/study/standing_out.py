"""Training images that stand out in one model alone: with a lower error than nearly all images that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from difgen_cli.metrics._ranks import found_at
from difgen_cli.report.study.calibrated import LEAST, TEN
from difgen_cli.report.study.curves import Curves
from difgen_cli.text import printable


@dataclass(frozen=True)
class StandingOut:
    """Of one model, which has no other seeds to say how easy an image is.

    images: a line for each image of T (near-duplicates once) with a lower loss than all but ten of the held-out ones,
    the lowest first: `place` in the pool as it is loaded, `name` where it has one, `loss`, `hits`. asked, unseen:
    images of T and held-out ones that were compared.
    """

    images: pd.DataFrame
    asked: int
    unseen: int

    @property
    def by_chance(self) -> float:
        """How many of T would be found if they were like the held-out ones."""
        return TEN / self.unseen * self.asked

    @property
    def reliability(self) -> float:
        """The share of those found that is more than chance, from 0 to 1."""
        return max(0.0, 1 - self.by_chance / len(self.images)) if len(self.images) else 0.0


def read(curves: Curves, cell: str, names: Sequence[str] | None = None) -> StandingOut | None:
    """Of a cell; None where its losses were not measured, or of fewer than 20 images on a side."""
    lines = curves.exposure
    lines = lines[lines["cell"] == cell] if len(lines) else lines
    if lines.empty:
        return None
    of_T = lines[lines["trained"] & ~lines["held_out"]].drop_duplicates("group")
    held_out = lines[lines["held_out"]]
    if min(len(of_T), len(held_out)) < LEAST:
        return None
    count = found_at(-of_T["loss"].to_numpy(), -held_out["loss"].to_numpy(), TEN)
    images = of_T.sort_values(["loss", "image"], kind="stable").head(count).rename(columns={"image": "place"})
    images = images[["place", "loss", "hits", "pool", "cell"]].reset_index(drop=True)
    if names is not None:
        images.insert(1, "name", [printable(names[place]) for place in images["place"]])
    return StandingOut(images, len(of_T), len(held_out))
