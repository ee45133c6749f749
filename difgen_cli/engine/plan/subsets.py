"""How many training images another seed will not have: what a comparison of seeds, image by image, can rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

METRIC = "exposure"  # the metric whose losses a report compares between seeds


@dataclass
class Subsets:
    """The training subsets of a grid's cells that are scored with METRIC, by the settings of their data but seeds."""

    keys: dict[tuple[Any, ...], set[str]] = field(default_factory=dict)

    def add(self, data: Mapping[str, Any], subset: str, available: int) -> None:
        """A cell: settings of its data by dotted path, key of its training subset, images that it was drawn from."""
        alike = tuple((path, str(value)) for path, value in sorted(data.items()) if not path.endswith("seed"))
        self.keys.setdefault((int(data["data.size"]), available, alike), set()).add(subset)

    def notes(self) -> list[str]:
        """For each size the expected share of T that one model of another subset was not trained on, at least."""
        least = dict[tuple[int, int], int]()
        for (size, available, _), keys in self.keys.items():
            least[size, available] = min(len(keys), least.get((size, available), len(keys)))
        return [_note(size, available, count) for (size, available), count in sorted(least.items())]


def _note(size: int, available: int, count: int) -> str:
    drawn = f"{size:,} of {available:,} images"
    if count < 2 or size >= available:
        why = "one training subset" if count < 2 else "every training subset is the same"
        return f"score.{METRIC}: {drawn}, {why}: no model was trained on others, so that none is a reference of another"
    share = 1 - (size / available) ** (count - 1)
    return (
        f"score.{METRIC}: {count} training subsets, {drawn}: {share:.0%} of the training images will have a reference "
        "that was not trained on them"
    )
