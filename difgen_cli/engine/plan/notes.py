"""What confounds a study: said beside its plan, and not refused."""

from __future__ import annotations

from difgen_cli.engine.grid import Grid, Meaning, fork
from difgen_cli.engine.plan import Trajectory
from difgen_cli.engine.plan.points import assignments


def notes_on(grid: Grid, trajectories: dict[str, Trajectory], meaning: Meaning) -> list[str]:
    """What confounds a study, to be said and not to be refused."""
    notes = [f"skip in line {place.line} drops no cell" for place in grid.idle(meaning)]
    notes += [f"{path} is set in base and by an axis: the axis counts" for path in grid.values if path in grid.base]
    for path, listed in grid.values.items():
        different = len({meaning(path, value) for value in listed})
        if different < len(listed):
            notes.append(f"{path}: {len(listed)} values that are {different} different ones once they are rounded")
    runs = [t for t in trajectories.values() if t.steps]
    values = {p: len(v) for p, v in grid.values.items()}
    if len(grid.seeds) == 1 and runs:
        notes.append("one seed: figures will show no interval over training runs; `seeds: 3` gives one")
    if values.get("sample.count", 1) > 1:
        notes.append("sample.count varies: Fréchet distances of differing counts must not be compared")
    if values.get("data.size", 1) > 1 and runs:
        sizes = [t.settings["data.size"] for t in runs]
        longest = max(t.images for t in runs)
        notes.append(
            f"steps are fixed while data.size varies: the longest runs see each image {longest // max(sizes):,} to "
            f"{longest // min(sizes):,} times"
        )
    if grid.changes and fork.UNCHANGED not in grid.changes:
        notes.append("fork.change: without {} nothing goes on unchanged, with which the changes could be compared")
    notes += _empty(grid, trajectories)
    for t in runs:
        ema = t.settings.get("train.ema") or 0.0
        if ema and 1 / (1 - ema) > min(t.steps):
            span = 1 / (1 - ema)
            notes.append(f"train.ema {ema} averages over {span:,.0f} steps, longer than the snapshot at {min(t.steps)}")
            break
    return notes


def _empty(grid: Grid, trajectories: dict[str, Trajectory]) -> list[str]:
    """What the grid asks for and nobody will get."""
    notes = []
    pairs = list(assignments(grid, grid.axes))
    settings = [t.settings for t in trajectories.values()]
    if any(path == "sample.count" and given.value == 1 for path, given in pairs):
        notes.append("sample.count: one sample has no Fréchet distance and no spread; draw 2 or more")
    if any(path == "score.clusters" for path, _ in pairs) and all(s["condition.name"] == "none" for s in settings):
        notes.append("score.clusters: there is no condition whose labels it could count; set condition.name")
    for of in settings:
        clusters, size = of.get("condition.clusters"), of.get("data.size")
        if isinstance(clusters, int) and isinstance(size, int) and clusters > size:
            notes.append(
                f"condition.clusters: {clusters:,} are more than the {size:,} training images: some have no image"
            )
            break
    return notes
