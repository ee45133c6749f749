"""How often difgen asks the scheduler: counted by programs that stand before the real squeue and sacct."""

from __future__ import annotations

from pathlib import Path

import pytest

from difgen_cli.engine.launch.slurm.poll import Poll
from slurm.cluster import Lab
from slurm.study import Counting

MINUTES = 30
MOST_CALLS = 60


@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.slow), 300])
def test_the_calls_of_a_half_hour_are_bounded_whatever_the_number_of_jobs(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], jobs: int
) -> None:
    counting = Counting(tmp_path / "bin")
    monkeypatch.setenv("PATH", counting.path)
    monkeypatch.setenv("SLURM_CONF", lab.environment["SLURM_CONF"])
    moment = 0.0
    poll = Poll(clock=lambda: moment)
    names = [f"difgen-{number:012x}" for number in range(jobs)]
    looks = 0
    while moment < 60 * MINUTES:
        looks += poll.look(names, "2026-01-01") is not None
        moment += 0.5
    calls = counting.calls()
    with capsys.disabled():
        print(f"\n{MINUTES} minutes, {jobs} jobs: {calls['squeue']} calls of squeue, {calls['sacct']} of sacct")
    assert calls == {"squeue": looks, "sacct": looks}
    assert 60 * MINUTES / 60 <= looks <= MOST_CALLS
