"""What a launcher is: it starts a submission's workers, observes and cancels them, and tells a worker where it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from difgen_cli.engine.launch import LaunchError
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.store import submission_file
from difgen_cli.engine.worker.allocation import Allocation
from difgen_cli.format import counted

if TYPE_CHECKING:
    from difgen_cli.engine.cost.forecast import Forecast
    from difgen_cli.engine.launch.worker_pool import WorkerPool
    from difgen_cli.engine.worker.submission_spec import SubmissionSpec

# Name in submission.json -> module with LAUNCHER, a class. `auto` takes the first that is available.
LAUNCHERS = {
    name: f"difgen_cli.engine.launch.{module}"
    for name, module in {"slurm": "slurm.launcher", "local": "local", "inline": "inline"}.items()
}


@dataclass(frozen=True)
class LaunchRequest:
    """What a sweep asks a launcher to start."""

    grid: str  # name of the grid
    folder: Path  # of the grid in the run directory
    forecast: Forecast
    workers: int | None  # None: as many as the launcher finds best
    jobs_per_gpu: int | None
    profile: Mapping[str, Any]  # as difgen.toml has it
    # Makes the folder of the submission, given launcher, workers, threads and, by name, what else it is asked for:
    # `submissions.write` without what is known of it before.
    write: Callable[..., Submission]
    print: Callable[..., None]  # a line for the person, with a `style` as rich has it


@dataclass(frozen=True)
class Death:
    """A worker that has ended without a word, how, and who says so."""

    worker_record: dict[str, Any]
    ending: str
    by: str


@dataclass(frozen=True)
class SubmissionStatus:
    """How a submission stands, and what of that nobody has written down yet: the reconciler does."""

    submission: Submission
    is_known: bool  # False where nobody here can tell: another machine's workers, a controller that is away
    running: int = 0
    pending: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # why tasks wait, in the scheduler's words -> how many
    unknown_because: str = ""  # for a person, where it is not known
    deaths: Sequence[Death] = ()
    receipt: Mapping[str, Any] | None = None  # one that a crash has swallowed
    over: str | None = None  # why the submission is to be closed

    @property
    def alive(self) -> bool:
        return not self.is_known or self.running + self.pending > 0

    @property
    def words(self) -> str:
        """For a person: what runs, what waits, and why."""
        if not self.is_known:
            return self.unknown_because or f"on {self.submission.intent['owner']['host']}"
        why = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        waiting = (
            f", {self.pending} task{'s wait' if self.pending > 1 else ' waits'}" + (f" ({why})" if why else "")
            if self.pending
            else ""
        )
        return counted(self.running, "worker") + waiting


class Launcher(Protocol):
    """One way to run workers; an instance may remember what it has learnt between two polls."""

    here: bool  # workers are processes of this machine, which Ctrl-C asks to save
    foreground: bool  # `submit` returns when the workers have ended

    def available(self) -> bool:
        """Tell whether workers can be started from this machine."""
        return True

    def pool(self, workers: int | None, jobs_per_gpu: int, profile: Mapping[str, Any]) -> WorkerPool:
        """Say who would work. Raises PlaceError for a profile that is wrong."""

    def submit(self, request: LaunchRequest) -> Submission:
        """Write the submission and start its workers. Raises LaunchError."""

    def poll(self, submissions: Sequence[Submission]) -> list[SubmissionStatus]:
        """Observe open submissions of this launcher, in their order; write nothing."""

    def cancel(self, submissions: Sequence[Submission]) -> list[str]:
        """Ask all workers to save and leave; say of each submission what was done. Raises LaunchError."""

    def inside(self, spec: SubmissionSpec) -> Allocation:
        """Tell a worker in its own process where it runs, until when, and how it returns.

        Without a scheduler it has no end, whatever variables say: the job that this runs in is not difgen's own.
        """
        return Allocation()


def launcher(name: str) -> Launcher | None:
    """Make the launcher of a name; None for one that this version does not have."""
    if name not in LAUNCHERS:
        return None
    instance: Launcher = import_module(LAUNCHERS[name]).LAUNCHER()
    return instance


def choose(name: str) -> tuple[str, Launcher]:
    """Choose the launcher of a name, or the first that is available for `auto`. Raises LaunchError."""
    for candidate in LAUNCHERS if name == "auto" else [name]:
        chosen = launcher(candidate)
        if chosen is not None and (name != "auto" or chosen.available()):
            return candidate, chosen
    raise LaunchError(f"{name}: no such launcher; there are {', '.join(LAUNCHERS)}")


def observe_processes(submission: Submission, alive: bool | None) -> SubmissionStatus:
    """Observe a submission whose workers are processes; `alive` None: they are another machine's."""
    if alive is False:
        deaths = [Death(record, "killed", "the next command") for record in submission_file.working(submission.folder)]
        return SubmissionStatus(submission, True, deaths=deaths, over="its workers are gone")
    running = int(submission.intent["workers"]) if alive else 0
    return SubmissionStatus(submission, alive is not None, running=running)
