"""Endings by name: exact words of slurmstepd, the kernel, torch and the accounting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from difgen_cli.engine.launch.slurm.poll import ending_of
from difgen_cli.engine.store import StoreError, failures


@pytest.mark.parametrize(
    ("line", "ending"),
    [
        (
            "slurmstepd: error: *** STEP 5.0 ON node2 CANCELLED AT 2026-11-21T12:00:00 DUE TO TIME LIMIT ***",
            "time_limit",
        ),
        ("slurmstepd: error: *** JOB 5 ON node1 CANCELLED AT 2026-11-21T12:00:00 DUE TO PREEMPTION ***", "preempted"),
        (
            "slurmstepd: error: *** JOB 5 ON node1 CANCELLED AT 2026-11-21T12:00:00 DUE TO NODE FAILURE ***",
            "node_failure",
        ),
        ("slurmstepd: error: *** JOB 5 ON node1 CANCELLED AT 2026-11-21T12:00:00 DUE TO JOB REQUEUE ***", "cancelled"),
        ("slurmstepd: error: *** JOB 5 ON node1 CANCELLED AT 2026-11-21T12:00:00 ***", "cancelled"),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=5.0. Some of your processes may", "out_of_memory"),
        ("slurmstepd: error: Step 5.0 exceeded memory limit (300000 > 262144), being killed", "out_of_memory"),
        ("slurmstepd: error: StepId=7.0 exceeded memory limit (1 > 0), being killed", "out_of_memory"),
        ("srun: error: node1: task 0: Out Of Memory", "out_of_memory"),
        ("train of mlp: step 100 of 200, 30,000 images/s", None),
    ],
)
def test_a_log_tells_how_a_worker_ended(line: str, ending: str | None) -> None:
    assert failures.of_log(["started", line, ""]) == ending


@pytest.mark.parametrize(
    ("state", "ending"),
    [
        ("OUT_OF_MEMORY", "out_of_memory"),
        ("NODE_FAIL", "node_failure"),
        ("TIMEOUT", "time_limit"),
        ("PREEMPTED", "preempted"),
        ("CANCELLED by 1000", "cancelled"),
        ("CANCELLED+", "cancelled"),
        ("REQUEUED", "cancelled"),
        ("COMPLETED", None),
        ("FAILED", None),
        ("", None),
    ],
)
def test_the_accounting_tells_how_a_job_ended(state: str, ending: str | None) -> None:
    assert ending_of(state) == ending


def test_memory_that_torch_cannot_have_is_out_of_memory() -> None:
    """The real error, under a real limit of address space."""
    code = (
        "import resource, torch\n"
        "from difgen_cli.engine.store import failures\n"
        "resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))\n"
        "try: torch.empty(1 << 40)\n"
        "except Exception as error: print(failures.of_exception(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "out_of_memory"


def test_an_error_in_data_is_the_datas_and_any_other_the_codes() -> None:
    from difgen_cli.data import DataError

    assert failures.of_exception(DataError("cut short")) == "bad_data"
    assert failures.of_exception(ValueError("no")) == "error"


def test_every_ending_has_a_sentence_and_those_with_a_remedy_name_a_setting() -> None:
    assert all(failures.EXIT_REASONS.values())
    for ending in ("out_of_memory", "time_limit"):
        for unit in ("train", "score-0123"):
            assert any(word in failures.advice(ending, unit) for word in ("train.", "sample.", "walltime"))


def test_the_last_lines_of_a_long_log_are_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {k}\n" for k in range(100_000)))
    assert failures.last_lines(log)[-1] == "line 99999"
    assert len(failures.last_lines(log)) == failures.WORDS
    assert failures.last_lines(log, end=7) == ["line 0"]
    assert failures.last_lines(tmp_path / "none") == []


def test_what_the_system_says_of_the_run_directory_is_nobodys_fault(tmp_path: Path) -> None:
    inside, outside = str(tmp_path / "shared" / "a.npz"), str(tmp_path.parent / "own.csv")
    assert failures.of_exception(OSError(116, "Stale file handle", inside), tmp_path) == "storage"
    assert failures.of_exception(OSError(116, "Stale file handle", outside), tmp_path) == "error"
    wrapped = RuntimeError("gap: no")
    wrapped.__cause__ = OSError(5, "Input/output error", inside)
    assert failures.of_exception(wrapped, tmp_path) == "storage"
    assert failures.of_exception(StoreError("no"), tmp_path) == "storage"
    assert failures.of_exception(MemoryError(), tmp_path) == "out_of_memory"
