"""Poll the submissions of a run directory: which live, which workers died and why, and what nobody wrote down yet.

A command that works on a run directory writes down what it learns: a receipt that a crash has swallowed, the cause of
a dead worker's end, which frees its unit, and that a submission of which nothing lives is closed. A command that only
reads learns the same, and writes nothing. A submission whose launcher this version does not have is unknown: nothing of
it is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from difgen_cli.engine.launch import LaunchError
from difgen_cli.engine.launch.launcher import Launcher, SubmissionStatus, launcher
from difgen_cli.engine.launch.submissions import Submission

__all__ = ["Reconciler", "SubmissionStatus", "cancel"]


def cancel(statuses: Sequence[SubmissionStatus]) -> list[str]:
    """Ask all workers to save and leave; says of each submission what was done. Raises LaunchError."""
    answers, refused = [], []
    for name, submissions in _by_launcher([s.submission for s in statuses if s.alive]).items():
        chosen = launcher(name)
        if chosen is None:
            refused += [f"{s.name}: {_unknown(s)}; cancel it with the version that started it" for s in submissions]
            continue
        try:
            answers += chosen.cancel(submissions)
        except LaunchError as error:
            refused.append(str(error))
    if refused and not answers:
        raise LaunchError("; ".join(refused))
    return answers + refused


def _by_launcher(submissions: Sequence[Submission]) -> dict[str, list[Submission]]:
    groups: dict[str, list[Submission]] = {}
    for submission in submissions:
        groups.setdefault(submission.launcher, []).append(submission)
    return groups


def _unknown(submission: Submission) -> str:
    return f"its launcher {submission.launcher!r} is not one of this version"


Lost = dict[tuple[str, str, int], str]  # folder of a trajectory, unit, attempt -> how it ended


@dataclass
class Reconciler:
    """Polls submissions again and again; a launcher is asked for all of its own at once."""

    find: Callable[[], Sequence[Submission]]
    launchers: dict[str, Launcher | None] = field(default_factory=dict)  # by name, those that were needed so far
    writes: bool = True  # whether what is learnt is written down
    lost: Lost = field(default_factory=dict)  # attempts whose workers were found dead, and nobody has written down

    def poll(self) -> list[SubmissionStatus]:
        """How each submission stands now, as far as is known."""
        submissions = self.find()
        statuses: dict[str, SubmissionStatus] = {}
        for name, group in _by_launcher(submissions).items():
            if name not in self.launchers:
                self.launchers[name] = launcher(name)
            chosen = self.launchers[name]
            for status in chosen.poll(group) if chosen else [_status_unknown(s) for s in group]:
                statuses[status.submission.name] = status
        return [self._write(statuses[submission.name]) for submission in submissions]

    def _write(self, status: SubmissionStatus) -> SubmissionStatus:
        """Write down what was learnt, where this command may."""
        submission = status.submission
        if self.writes and status.receipt is not None:
            submission.answer(status.receipt)
        for death in status.deaths:
            at = death.worker_record.get("at")
            if self.writes:
                submission.record_death(death.worker_record, death.ending, death.by)
            elif at:
                self.lost[str(at["home"]), str(at["unit"]), int(at["attempt"])] = death.ending
        if self.writes and status.over is not None:
            submission.close(status.over)
        return status


def _status_unknown(submission: Submission) -> SubmissionStatus:
    return SubmissionStatus(submission, is_known=False, unknown_because=_unknown(submission))
