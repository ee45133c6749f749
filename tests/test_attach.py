"""A command that is attached does not end another's work: Ctrl-C leaves the workers that another command started."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from difgen_cli import sweep
from difgen_cli.engine.launch import local, submissions
from difgen_cli.engine.launch.reconciler import Reconciler
from difgen_cli.engine.store import processes
from difgen_cli.engine.store.files import publish_json


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("started_here", [True, False])
def test_ctrl_c_ends_the_workers_that_this_command_started_alone(
    write_grid: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_here: bool
) -> None:
    planned = sweep.prepare(write_grid(), tmp_path / "runs", {})
    sweep.record(planned)
    work = planned.state.work
    submission = submissions.write(planned.store, planned.folder, work, None, "local", 1, 1)
    publish_json(submission.folder / "launcher.json", {"owner": processes.process_identity()})  # this process: it lives
    stopped: list[submissions.Submission] = []
    monkeypatch.setattr(local, "stop", lambda s: (stopped.append(s), submission.close("for the test")))
    monkeypatch.setattr(local, "alive", lambda s: not s.closed)
    said = Console(file=io.StringIO(), width=200)
    if started_here:
        reconciler = Reconciler(lambda: submissions.every(planned.store))
        assert sweep._wait_for(planned, submission, reconciler, said, _interrupted) == "interrupted"
        assert stopped == [submission]
    else:
        assert sweep.run(planned, sweep.Options(cluster="local"), said, _interrupted) == "detached"
        assert not stopped
        assert "attached; Ctrl-C detaches" in said.file.getvalue()  # type: ignore[attr-defined]
        assert "detached: the workers continue" in said.file.getvalue()  # type: ignore[attr-defined]


def test_a_launcher_is_known_before_it_has_started(
    write_grid: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that comes in the second after `sweep --detach` has ended finds its submission alive."""
    planned = sweep.prepare(write_grid(), tmp_path / "runs", {})
    sweep.record(planned)
    late = tmp_path / "late"  # a Python that never comes to its first line
    late.write_text("#!/bin/sh\nexec sleep 60\n")
    late.chmod(0o755)
    monkeypatch.setattr(local.sys, "executable", str(late))
    submission = submissions.write(planned.store, planned.folder, planned.state.work, None, "local", 1, 1)
    launcher = local.start(submission, (None,))
    try:
        monkeypatch.setattr(submissions, "is_dead", lambda who: True)  # the submitter has ended
        assert submission.abandoned
        assert local.alive(submission)
        assert Reconciler(lambda: submissions.every(planned.store)).poll()[0].alive
        assert not submission.closed
    finally:
        launcher.kill()
        launcher.wait()
    assert not local.alive(submission)
