"""`difgen audit`: a model that somebody else trained, against the images that it was trained on.

The way taken: a grid without a file. It names the weights and the images, and has the checkpoints as its axis; so what
plans, works through, resumes, folds and reports a sweep does the same for it, in a run directory of its own. Measures
that need what is not there are left out with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from difgen_cli import sweep
from difgen_cli.audit import claims, planner
from difgen_cli.audit.claims import AskedClaims
from difgen_cli.audit.planner import AuditRequest
from difgen_cli.engine.plan import Cell, controls
from difgen_cli.engine.plan import planner as grid_planner
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.progress import Watch, wait
from difgen_cli.engine.store import Store
from difgen_cli.score import sources
from difgen_cli.score.sources import Source
from difgen_cli.sweep import ENDED

if TYPE_CHECKING:
    from rich.console import Console

NO_TRAIN = (
    "The training images are not known: only what samples alone show is measured, which is no proof of copies. Give "
    "--against."
)
__all__ = ["ENDED", "AuditRequest", "PreparedAudit", "prepare", "run"]


@dataclass(frozen=True)
class PreparedAudit:
    """A request planned and held against the store."""

    planned: sweep.Planned
    request: AuditRequest
    against: Source
    held_out: int  # images of it that are no training images
    notes: list[str]  # what a reader must know
    left_out: dict[str, str]  # metric -> why
    asked: AskedClaims | None = None

    @property
    def cells(self) -> list[Cell]:
        """One for each checkpoint, by step."""
        return self.planned.plan.models

    @property
    def train_images(self) -> int:
        """How many images the model is compared with as its training images."""
        return int(self.cells[0].settings()["data.size"])

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the last checkpoint's files and of which weights in them are meant; empty where it is missing."""
        weights = self.planned.plan.recipes[self.cells[-1].run_key].inputs["weights"]
        return self.planned.finder.weights.identity(weights.key)

    @property
    def train_names(self) -> list[str]:
        """What each image of --against is called, in the order in which it is loaded."""
        return sources.names(self.against)


def prepare(request: AuditRequest, runs: Path) -> PreparedAudit:
    """Read what is new of the files, and plan; GridError in one sentence where something does not fit."""
    folder = Path("plugins").absolute()
    plugins = folder if folder.is_dir() else None
    store, library = Store(runs), Library(plugins)
    finder = Finder(store, library, Path.cwd())
    twins = claims.check(request)
    real = sources.find_real(request, library)
    data = sources.data_section(request, real, library)
    ours = sources.facts_of(finder, data, real.against)
    sources.check_mirrored(request, ours.shape)
    held_out, notes = 0, [NO_TRAIN]
    if not request.of_unknown:
        held_out, notes = sources.held_out(finder.pool(ours.content), data, real)
    metrics, left_out = planner.metrics(request, library, held_out)
    if real.held_out:  # what it finds stands in the answers, so that no note is needed
        metrics, _ = controls.with_blind(metrics, library)
    asked = None
    if request.claims:
        asked = claims.read(request, twins, library, finder, real.against.of(ours), finder.pool(ours.content))
        metrics |= asked.given
        notes += asked.notes
    plan = grid_planner.build(planner.grid(request, data, metrics), library, finder)
    if asked is not None:
        claims.check_model(plan)
    notes += [
        *sources.reader_notes(ours),
        *(f"{note[:1].upper()}{note[1:]}." for note in [*plan.warnings, *finder.notes]),
    ]
    planned = sweep.Planned(plan, sweep.survey(plan, store, lambda _: True), store, finder, plugins)
    notes = list(dict.fromkeys(notes))
    return PreparedAudit(planned, request, real.against.of(ours), held_out, notes, left_out, asked)


def run(prepared: PreparedAudit, console: Console, watch: Watch = wait) -> str:
    """Measure what is missing, here; returns done, failed, refused or interrupted."""
    planned = prepared.planned
    sweep.record(planned)
    if prepared.asked is not None:
        prepared.asked.save(planned.store)
    planned = sweep.forgiven(planned)  # nobody but the same command tries again
    several = len(prepared.cells) > 1
    options = sweep.Options("local" if several else "inline")
    return sweep.run(planned, options, console, watch) if planned.state.work else "done"
