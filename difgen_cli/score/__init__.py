"""`difgen score`: the measures, controls and references of a sweep for images that came from any model.

The way taken: a plan without a grid. It has one cell of kind `model` whose samples are the user's files, and the
reference rows that a sweep gives the same data: held-out images scored as samples, and training images resampled. It
is a plan like any other, so that what surveys, works through, resumes, folds and reports a sweep does the same for it,
in a run directory of its own, by an inline worker; and its keys are those of a sweep with the same data.

Only two things are new. The run folder is named by the content of the files and of the data, and its samples are
written before a worker looks for them: it finds them there, and draws nothing. Measures that need the model itself, or
held-out images that are not there, are left out with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from difgen_cli import sweep
from difgen_cli.engine.plan import Cell, facts
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.progress import Watch, wait
from difgen_cli.engine.store import RunFolder, Store, nearest, sample_files
from difgen_cli.engine.store.access import exists
from difgen_cli.engine.store.files import publish
from difgen_cli.score import groups, planner, sources
from difgen_cli.score.groups import Groups
from difgen_cli.score.sources import Request, Source
from difgen_cli.sweep import ENDED

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from rich.console import Console

__all__ = ["ENDED", "Prepared", "Request", "pairs", "prepare", "ratios", "run"]

DRAWN_SEED = 0  # chooses which samples are scored where fewer than all are asked for


@dataclass(frozen=True)
class Prepared:
    """A request planned and held against the store."""

    planned: sweep.Planned
    samples: Source
    against: Source
    content: str  # of all the samples' files
    chosen: np.ndarray  # places of the scored samples among them
    notes: list[str]  # what a reader must know
    left_out: dict[str, str]  # metric -> why
    groups: Groups | None = None

    @property
    def cell(self) -> Cell:
        """The cell of the samples."""
        return self.planned.plan.models[0]

    @property
    def folder(self) -> RunFolder:
        """Where the samples and their results lie."""
        return self.planned.store.run_folder(self.cell.run_key, self.planned.plan.slug(self.cell))


def prepare(request: Request, runs: Path) -> Prepared:
    """Read what is new of the files, and plan; GridError in one sentence where something does not fit."""
    store, library = Store(runs), Library()
    finder = Finder(store, library, Path.cwd())
    files = sources.find(request, library)
    data, theirs = sources.data_section(request, files, library), sources.samples_section(request, files, library)
    ours, given = sources.facts_of(finder, data, files.against), sources.facts_of(finder, theirs, files.samples)
    sources.check_shapes(files.samples, files.against.of(ours))
    sources.check_mirrored(request, ours.shape)
    held_out, notes = sources.held_out(finder.pool(ours.content), data, files)
    notes += sources.reader_notes(ours, given)
    chosen = _chosen(request.count, given.images)
    if len(chosen) < given.images:
        notes.append(f"{len(chosen):,} of {given.images:,} samples, drawn at random.")
    notes += sources.in_common(finder.pool(given.content), finder.pool(ours.content), files)
    metrics, left_out = planner.metrics(request, library, held_out, request.metrics or planner.DEFAULT)
    together = None
    if request.group is not None:
        together = groups.read(request.group, sources.names(files.samples), finder.pool(given.content), chosen)
        notes.append(together.note)
    plan = planner.plan(request, data, metrics, given, len(chosen), together, finder)
    planned = sweep.Planned(plan, sweep.survey(plan, store, lambda _: True), store, finder, None)
    return Prepared(planned, files.samples, files.against.of(ours), given.content, chosen, notes, left_out, together)


def run(prepared: Prepared, console: Console, watch: Watch = wait) -> str:
    """Score what is missing, here; returns done, failed, refused or interrupted."""
    planned = prepared.planned
    sweep.record(planned)
    if prepared.groups:
        planned.store.save_given(prepared.groups.content, prepared.groups.ids)
    if not exists(prepared.folder.samples(prepared.cell.samples)):
        _keep_samples(prepared)
    planned = sweep.forgiven(planned)  # nobody but the same command tries again
    return sweep.run(planned, sweep.Options("inline"), console, watch) if planned.state.work else "done"


def pairs(prepared: Prepared) -> pd.DataFrame:
    """Each sample by the name of its file, and its nearest training image by its; identical ones first.

    Columns sample, nearest, d1, d2, ratio (d1/d2), copy and identical, one line a sample, in the order of
    `store.nearest.neighbours`; none without the metric memorization.
    """
    import numpy as np
    import pandas as pd

    planned, neighbours = prepared.planned, _neighbours(prepared, prepared.cell)
    subset = planned.plan.recipes[prepared.cell.run_key].inputs["subset"]
    pool = facts.pool(planned.store, subset.inputs["holdout"].inputs["pool"].key)
    train = facts.split(pool, subset).train
    theirs, ours = (np.array(sources.names(s), object) for s in (prepared.samples, prepared.against))
    return pd.DataFrame(
        {
            "sample": theirs[prepared.chosen[neighbours["seed"].astype("int64")]],
            "nearest": ours[train[neighbours["nn_index"].astype("int64")]],
            "d1": neighbours["d1"].to_numpy(),
            "d2": neighbours["d2"].to_numpy(),
            "ratio": neighbours["ratio"].to_numpy(),
            "copy": neighbours["memorized"].to_numpy(),
            "identical": neighbours["identical"].to_numpy(),
        }
    )


def ratios(prepared: Prepared) -> dict[str, np.ndarray]:
    """d1/d2 of the samples and of each reference, by kind; empty without the metric memorization."""
    return {cell.kind: _neighbours(prepared, cell)["ratio"].to_numpy() for cell in prepared.planned.plan.cells}


def _neighbours(prepared: Prepared, cell: Cell) -> pd.DataFrame:
    """The neighbours table of a cell, the copies first, with d1/d2."""
    keys = [cell.metrics["memorization"]] if "memorization" in cell.metrics else []
    return nearest.neighbours(prepared.planned.store, "key", keys)


def _chosen(count: int | None, available: int) -> np.ndarray:
    """Which samples are scored: all, or as many as asked for, drawn, since files may be sorted."""
    import numpy as np

    if count is None or count >= available:
        return np.arange(available)
    return np.sort(np.random.default_rng(DRAWN_SEED).permutation(available)[:count])


def _keep_samples(prepared: Prepared) -> None:
    """Write the samples where a worker looks for them."""
    import numpy as np

    images, labels, _ = prepared.planned.store.pool(prepared.content[:16])
    drawn = np.asarray(images[prepared.chosen])
    kept = None if labels is None else labels[prepared.chosen]
    publish(prepared.folder.samples(prepared.cell.samples), lambda p: sample_files.write(p, drawn, kept))
