"""The models of a run directory that a claim is looked at beside: alike in all but what they were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import recipes
from difgen_cli.engine.plan.pretrained import STEP
from difgen_cli.engine.plan.recipes import BEGINNINGS, Recipe
from difgen_cli.engine.store import RunFolder, Store, StoreError

MOST = 64  # models that are asked
UNLIKE = ("subset", "labels")  # inputs of a trajectory by which references differ
FLAG = "--references"


def snapshots(runs: Path, model: Path) -> list[Path]:
    """The snapshots of trained models of one setting: that of MODEL where it lies in the run directory, without itself.

    At the step of MODEL where it has one there, else the last. GridError where there are none, or of several settings.
    """
    folders = Store(runs).run_folders()
    if not folders:
        raise GridError(f"{FLAG}: {runs} is no run directory of difgen: it has no trajectories")
    groups: dict[str, list[RunFolder]] = {}
    for folder in folders:
        if folder.snapshots() and (alike := _alike(folder)):
            groups.setdefault(alike, []).append(folder)
    inside = model.resolve().is_relative_to(runs.resolve())
    own = RunFolder(model.absolute().parents[1]) if inside else None
    if own is not None:
        group = groups.get(_alike(own), [])
    elif len(groups) > 1:
        raise GridError(
            f"{FLAG}: {runs} holds models of {len(groups)} settings, and which are like MODEL is not known; name a run "
            "directory of one"
        )
    else:
        group = next(iter(groups.values()), [])
    group = [folder for folder in group if own is None or folder.key != own.key]
    if not group:
        raise GridError(f"{FLAG}: {runs} holds no other trained model of this setting; name one with its seeds")
    step = int(model.stem) if inside and STEP not in str(model) and model.stem.isdecimal() else None
    chosen = sorted(group, key=lambda folder: folder.key)[:MOST]
    return [folder.snapshot(step if step in folder.snapshots() else max(folder.snapshots())) for folder in chosen]


def _alike(folder: RunFolder) -> str:
    """What models of one setting have in common; empty for one that is none of a training from the beginning."""
    try:
        spec = folder.spec()
        recipe = recipes.load(spec["recipe"])[spec["key"]]
    except (KeyError, TypeError, StoreError):
        return ""
    if set(BEGINNINGS) & set(recipe.inputs) or recipe.operation.kind != "trajectory" or "subset" not in recipe.inputs:
        return ""
    about: list[Any] = [_plain(recipe), _plain(recipe.inputs["subset"])]
    about += [(role, other.key) for role, other in sorted(recipe.inputs.items()) if role not in UNLIKE]
    about.append(recipe.inputs["subset"].inputs["holdout"].key)
    return str(about)


def _plain(recipe: Recipe) -> tuple[Any, ...]:
    """A recipe without its seed."""
    own = {name: value for name, value in recipe.settings.items() if name != "seed"}
    return recipe.operation.kind, recipe.name, recipe.operation.version, sorted(own.items(), key=str)
