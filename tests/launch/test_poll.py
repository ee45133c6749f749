"""One squeue and one sacct for all jobs: what they print, as dataclasses, and how seldom they are asked."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from difgen_cli.engine.launch.slurm.poll import FIELDS, MOST_SECONDS, Poll, accounted, queued

# As SLURM 22.05 printed it, in columns of FIELDS, with one task requeued.
SAID = (
    ("difgen-aaaaaaaaaaaa", "27", "1", "PENDING", "1", "JobArrayTaskLimit"),
    ("difgen-aaaaaaaaaaaa", "27", "2", "RUNNING", "0", "None"),
    ("difgen-bbbbbbbbbbbb", "31", "0", "RUNNING", "3", "None"),
)
QUEUE = "".join("".join(map(str.ljust, line, FIELDS.values())) + "\n" for line in SAID)
ACCOUNTING = """\
difgen-aaaaaaaaaaaa|27_1|PENDING|Unknown
difgen-aaaaaaaaaaaa|27_0|CANCELLED by 0|2026-11-21T15:58:24
difgen-aaaaaaaaaaaa|27_1|NODE_FAIL|2026-11-21T15:58:29
difgen-aaaaaaaaaaaa|27_1|REQUEUED|2026-11-21T15:58:24
difgen-bbbbbbbbbbbb|31_0|RUNNING|2026-11-21T15:58:28
"""


def test_the_queue_is_read_by_column() -> None:
    first, second, other = queued(QUEUE)
    assert (first.job, first.task, first.state, first.restarts, first.reason) == (
        "27", "1", "PENDING", 1, "JobArrayTaskLimit",
    )  # fmt: skip
    assert first.pending
    assert not second.pending
    assert (other.name, other.restarts) == ("difgen-bbbbbbbbbbbb", 3)


def test_the_runs_of_a_task_are_in_the_order_in_which_they_started() -> None:
    runs, names = accounted(ACCOUNTING)
    assert runs["27", "1"] == ["REQUEUED", "NODE_FAIL", "PENDING"]
    assert runs["27", "0"] == ["CANCELLED by 0"]
    assert names == {"difgen-aaaaaaaaaaaa": "27", "difgen-bbbbbbbbbbbb": "31"}


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that write down each call; the accounting is disabled."""
    said = {"squeue": "", "sacct": "echo 'Slurm accounting storage is disabled' >&2; exit 1"}
    for tool, body in said.items():
        (tmp_path / tool).write_text(f'#!/bin/sh\necho {tool} "$@" >> "{tmp_path}/calls"\n{body}\n')
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "calls"


def test_half_an_hour_of_looking_asks_less_and_less_often(counted: Path) -> None:
    clock = [0.0]
    poll = Poll(clock=lambda: clock[0])
    names = [f"difgen-{k:012x}" for k in range(50)]
    looks = []
    while clock[0] < 1800:
        if poll.look(names, "2026-11-20") is not None:
            looks.append(clock[0])
        clock[0] += 0.5
    calls = counted.read_text().splitlines()
    assert len(calls) == len(looks) + 1 <= 55, "one squeue a look; sacct is not asked again once there is none"
    assert sum(line.startswith("sacct") for line in calls) == 1
    pauses = [b - a for a, b in itertools.pairwise(looks)]
    assert pauses == sorted(pauses)
    assert max(pauses) == MOST_SECONDS


def test_without_jobs_nothing_is_asked(counted: Path) -> None:
    assert Poll().look([], "") is None
    assert not counted.exists()


def test_a_controller_that_is_away_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact' >&2; exit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert Poll().look(["difgen-0"], "2026-11-20") is None
