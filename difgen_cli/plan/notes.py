"""What confounds a study: said beside its plan, and not refused."""

from __future__ import annotations

from difgen_cli.grid import Grid, Meaning
from difgen_cli.plan import Trajectory


def notes_on(grid: Grid, trajectories: dict[str, Trajectory], meaning: Meaning) -> list[str]:
    """What confounds a study, to be said and not to be refused."""
    notes = [f"skip in line {place.line} drops no cell" for place in grid.idle(meaning)]
    notes += [f"{path} is set in base and by an axis: the axis counts" for path in grid.values if path in grid.base]
    for path, said in grid.values.items():
        different = len({meaning(path, value) for value in said})
        if different < len(said):
            notes.append(f"{path}: {len(said)} values that are {different} different ones once they are rounded")
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
    for t in runs:
        ema = t.settings.get("train.ema") or 0.0
        if ema and 1 / (1 - ema) > min(t.steps):
            span = 1 / (1 - ema)
            notes.append(f"train.ema {ema} averages over {span:,.0f} steps, longer than the snapshot at {min(t.steps)}")
            break
    return notes
