"""What the metric `claim` is given: the images that somebody claims, their controls, and models beside the audited one.

Planning keeps the images as one array with a line for each (`RECORD`), under its content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from difgen_cli import data
from difgen_cli.engine.plan import facts, recipes
from difgen_cli.engine.plan.claims import CLAIM, CONTROL, KEPT
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import RunFolder, Store
from difgen_cli.engine.worker import pretrained


@dataclass(frozen=True)
class ClaimImages:
    """Scaled images of each claim, of each its unpublished twins or None, and control images for all of them."""

    claims: list[np.ndarray] = field(default_factory=list)
    kept: list[np.ndarray | None] = field(default_factory=list)
    control: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True)
class ClaimReference:
    """A model beside the audited one; what it could be trained on, and was, where a run directory knows that."""

    denoiser: Any
    rest: np.ndarray | None = None
    trained: np.ndarray | None = None  # (n,) bool
    content: str = ""


def images(records: np.ndarray) -> ClaimImages:
    """The images that planning kept."""

    def of(role: int, claim: int | None = None) -> np.ndarray:
        among = records["role"] == role
        if claim is not None:
            among &= records["claim"] == claim
        return np.asarray(data.scaled(records["image"][among]))

    count = int(records["claim"].max(initial=-1)) + 1
    kept = [of(KEPT, claim) for claim in range(count)]
    return ClaimImages(
        [of(CLAIM, claim) for claim in range(count)], [own if len(own) else None for own in kept], of(CONTROL)
    )


def references(
    store: Store, library: Library, keys: Sequence[str], sigma_data: float, device: Any
) -> list[ClaimReference]:
    """The models of these weights, by the first 16 digits of their identity."""
    return [_reference(store, library, key, sigma_data, device) for key in keys]


def _reference(store: Store, library: Library, key: str, sigma_data: float, device: Any) -> ClaimReference:
    denoiser = pretrained.by_itself(store, library, key, sigma_data).to(device)
    path = Path(store.weights_source(key)["path"])
    spec = RunFolder(path.parent.parent).spec() if path.parent.name == "snapshots" else {}
    if not {"recipe", "key"} <= set(spec):
        return ClaimReference(denoiser)
    subset = recipes.load(spec["recipe"])[spec["key"]].inputs["subset"]
    pool = facts.pool(Store(path.parents[3]), subset.inputs["holdout"].inputs["pool"].key)
    split = facts.split(pool, subset)
    rest = data.scaled(pool.images[split.rest])
    return ClaimReference(denoiser, rest, np.isin(split.rest, split.train), subset.inputs["holdout"].key)
