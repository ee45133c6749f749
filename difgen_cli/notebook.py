"""A run directory in a notebook: its rows, and the settings, metrics, images and denoiser of each cell.

    import difgen_cli

    runs = difgen_cli.open("runs")
    runs.rows()[["data.size", "train.steps", "seed", "mem_frac"]]
    cell = runs.cell("data.size=64", "train.steps=4000", "seed=0")
    cell.samples[:8], cell.denoiser()

Nothing that a sweep made is changed by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli.engine import select
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import work
from difgen_cli.engine.plan.work import Scoring
from difgen_cli.engine.store import Store, sample_files, submission_file
from difgen_cli.engine.store.access import exists

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from difgen_cli.diffusion import DenoiserLike
    from difgen_cli.engine.worker.scoring import ScoringRun
    from difgen_cli.report.cell import CellReport


class Runs:
    """A run directory. GridError where the folder is none."""

    def __init__(self, path: str | Path) -> None:
        self.store = Store(select.existing(Path(path)))
        self.store.only_read()

    def __repr__(self) -> str:
        return f"<difgen run directory {self.store.root}: {', '.join(self.grids) or 'no grids'}>"

    @property
    def grids(self) -> list[str]:
        """The names of the grids that were swept into it, by name."""
        return sorted({folder.name.rpartition("-")[0] for folder in self.store.grids()})

    def rows(self, *words: str, grid: str | None = None) -> pd.DataFrame:
        """One line for each cell and reference, as `rows.csv` of a report: settings, state, metrics with intervals.

        words: only the cells that all of them name, as `difgen show` reads them, and no references. grid: its name;
        None: all of them, with the column `grid`. GridError for a grid that was not swept and words without a cell.
        """
        import pandas as pd

        from difgen_cli.report.study import loading

        studies = loading.gather(self.store, grid)
        frames = [study.measured.assign(grid=study.name) for study in studies]
        if words:
            keys = self._keys(words, [study.name for study in studies])
            frames = [frame[frame["cell"].isin(keys[name])] for name, frame in zip(keys, frames, strict=True)]
        return pd.concat(frames, ignore_index=True)

    def _keys(self, words: tuple[str, ...], grids: list[str]) -> dict[str, set[str]]:
        """The keys of the cells that words name in each grid; GridError where they name none in any of them."""
        keys, refused = {name: set[str]() for name in grids}, list[GridError]()
        for name in grids:
            try:
                keys[name] = {cell.key for cell in select.find(self.store, words, name)}
            except GridError as error:
                refused.append(error)
        if len(refused) == len(grids):
            raise refused[0]
        return keys

    def cells(self, *words: str, grid: str | None = None) -> list[NotebookCell]:
        """The cells that all the words name, as `difgen show` reads them: an index of `plan`, the beginning of a key,
        or KEY=VALUE; without words all models. grid: its name; None: the newest. GridError where a word names none.
        """
        return [NotebookCell(self.store, one) for one in select.find(self.store, words, grid)]

    def cell(self, *words: str, grid: str | None = None) -> NotebookCell:
        """The one cell that the words name; GridError where they name none or several."""
        return NotebookCell(self.store, select.one(self.store, words, grid))


@dataclass
class NotebookCell:
    """One cell of a grid."""

    store: Store
    selected: select.SelectedCell
    _runs: dict[str, ScoringRun] = field(default_factory=dict)  # by device: what was read once

    def __repr__(self) -> str:
        return f"<cell {self.selected.index} of {self.selected.grid}, {self.selected.slug}, seed {self.selected.seed}>"

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting by its path, as the grid says it where it does."""
        return self.selected.settings

    @cached_property
    def report(self) -> CellReport:
        """What `difgen show` prints: state, cause of a failure, sentences, metrics compared with the references."""
        from difgen_cli.report import cell

        return cell.gather(self.store, self.selected)

    @property
    def metrics(self) -> dict[str, Any]:
        """The values of its columns by name; None where a value does not exist."""
        return self.report.values[self.selected.kind]

    @property
    def samples(self) -> np.ndarray:
        """Its samples: (n, H, W, C) uint8, or (n, D) float32. GridError before they were drawn."""
        return self._drawn[0]

    @property
    def sample_labels(self) -> np.ndarray | None:
        """The labels that they were drawn under: (n,) int64; None without a condition."""
        return self._drawn[1]

    @cached_property
    def _drawn(self) -> tuple[np.ndarray, np.ndarray | None]:
        path = self.selected.run_folder(self.store).samples(self.selected.key)
        if not exists(path):
            raise GridError(f"{self!r}: has no samples yet; run `difgen sweep` again")
        return sample_files.read(path)

    @property
    def train(self) -> np.ndarray:
        """The images that its model was trained on, in [−1, 1]: (n, H, W, C) float32, or (n, D)."""
        return self._run("cpu").subset.images

    @property
    def train_labels(self) -> np.ndarray | None:
        """The labels that they were shown with: (n,) int64; None without a condition."""
        return self._run("cpu").conditions.train

    @property
    def held_out(self) -> np.ndarray:
        """The held-out images that metrics compare with, in [−1, 1], without near-duplicates of others."""
        return self._run("cpu").subset.holdout.held_out

    def denoiser(self, device: str = "cpu") -> DenoiserLike:
        """D(x, sigma, labels), the estimate of the clean images given noisy ones: its weights as samples see them.

        x: (n, C, H, W) or (n, D) float32 on `device`, clean images plus sigma times unit noise; sigma: (n,); labels:
        (n,) int64, or None without a condition. StoreError where the weights of its step are not there any more.
        """
        denoiser: DenoiserLike = self._run(device).denoiser
        return denoiser

    def _run(self, device: str) -> ScoringRun:
        """What a worker makes of this cell's unit, in this process."""
        if device not in self._runs:
            self._runs[device] = self._begun(device)
        return self._runs[device]

    def _begun(self, device: str) -> ScoringRun:
        import torch

        from difgen_cli.engine.plugins import Library
        from difgen_cli.engine.store.attempts import Attempt, Claimant
        from difgen_cli.engine.worker.context import WorkerContext
        from difgen_cli.engine.worker.scoring import ScoringRun
        from difgen_cli.engine.worker.submission_spec import PhaseTimer, StopFlag, SubmissionSpec

        folder, todo, unit = self._submitted()
        spec = replace(SubmissionSpec.read(folder), runs=self.store.root, threads=torch.get_num_threads())
        plugins = spec.plugins and self.store.shared(spec.plugins.parent.name) / spec.plugins.name
        context = WorkerContext(
            self.store, todo.recipes, Library(plugins), device, spec, StopFlag(), PhaseTimer(), Claimant(), _silent
        )
        return ScoringRun(context, unit, self.selected.run_folder(self.store), Attempt(Path(), unit.unit, 0, {}))

    def _submitted(self) -> tuple[Path, work.Work, Scoring]:
        """The newest submission that this cell was part of, what it asked for, and this cell's unit."""
        key = self.selected.key
        for grid in reversed(self.store.grids()):
            for folder in reversed(submission_file.folders(grid)):
                todo = work.read(folder / "work.json")
                for unit in todo.scorings:
                    if unit.samples == key and unit.run_key == self.selected.trajectory:
                        return folder, todo, unit
        raise GridError(f"{self!r}: no submission of this run directory asked for it; run `difgen sweep` again")


def _silent(line: str) -> None:
    """Workers tell what they do; a notebook does not ask."""
