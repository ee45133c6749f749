"""The copy of the code that workers run: whole, its maker's alone, and young while somebody is about to use it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import submitit.local.local

from difgen_cli.engine.launch import submissions, worker_environment
from difgen_cli.engine.launch.local import LocalWorkers, Slot
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.plan.work import Work
from difgen_cli.engine.store import Store, code, garbage


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.py").write_text("A = 1\n")
    (folder / "inner" / "b.py").write_text("B = 1\n")
    return folder


def _keep(tmp_path: Path, source: Path) -> Path:
    return code.keep(Store(tmp_path / "runs"), {"package": source})


def _append(folder: Path) -> None:
    with (folder / "package" / "a.py").open("a") as file:
        file.write("open('pwned', 'w')\n")


def _plant(folder: Path) -> None:
    (folder / "torch.py").write_text("open('pwned', 'w')\n")


def _cut(folder: Path) -> None:
    (folder / "package" / "inner" / "b.py").unlink()


def _open(folder: Path) -> None:
    (folder / "package").chmod(0o777)


def _give(folder: Path) -> None:
    os.chown(folder / "package" / "a.py", 4242, 4242)


@pytest.mark.parametrize("change", [_append, _plant, _cut, _open, _give])
def test_a_copy_that_is_not_as_it_was_made_is_not_used(
    tmp_path: Path, source: Path, change: Callable[[Path], None]
) -> None:
    if change is _give and os.geteuid():
        pytest.skip("only root can give a file away")
    first = _keep(tmp_path, source)
    change(first)
    second = _keep(tmp_path, source)
    assert second != first
    assert code.digest(second) == first.name.removeprefix("code-")
    assert not [p for p in (second, *second.rglob("*")) if p.stat().st_mode & 0o022]
    assert first.exists(), "workers may run it"


def test_what_python_compiles_is_no_change(tmp_path: Path, source: Path) -> None:
    first = _keep(tmp_path, source)
    subprocess.run([sys.executable, "-m", "compileall", "-q", first], check=True)
    for path in first.rglob("*"):
        path.chmod(path.stat().st_mode & ~0o022)
    assert _keep(tmp_path, source) == first


def test_gc_leaves_an_old_copy_that_a_sweep_is_about_to_use(tmp_path: Path, source: Path) -> None:
    folder = _keep(tmp_path, source)
    long_ago = time.time() - 3 * 86_400
    os.utime(folder, (long_ago, long_ago))
    assert [w.path for w in garbage.find(Store(tmp_path / "runs")) if w.kind == "code"] == [folder]
    assert _keep(tmp_path, source) == folder
    assert not [w for w in garbage.find(Store(tmp_path / "runs")) if w.kind == "code"]


def _submitted(tmp_path: Path) -> Submission:
    return submissions.write(Store(tmp_path / "runs"), tmp_path / "runs" / "grids" / "g-0", Work(), None, "local", 1, 1)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda copy: copy.rename(copy.with_name("elsewhere")), "the code that was submitted is gone"),
        (lambda copy: (copy / "difgen_cli" / "view.py").write_text("A = 1"), "the code is not what was submitted"),
    ],
)
def test_a_worker_runs_no_other_code_than_was_submitted(
    tmp_path: Path, harm: Callable[[Path], object], words: str
) -> None:
    submission = _submitted(tmp_path)
    copy = Path(submission.intent["code"])
    harm(copy)
    (submission.folder / "log").mkdir()
    command = [sys.executable, "-m", "difgen_cli.engine.launch.task", "cpu", "0", str(submission.folder / "log")]
    done = subprocess.run(
        command, env=worker_environment(copy, 1) | {"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    (worker_record,) = submission.worker_records()
    assert worker_record["state"] == "refused", done.stderr
    assert words in worker_record["cause"]


def test_workers_are_handed_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """submitit writes one, and the worker that it starts is none that would open it."""
    started = []
    real = submitit.local.local.start_controller
    monkeypatch.setattr(
        submitit.local.local, "start_controller",
        lambda folder, command, *rest, **more: started.append(command) or real(folder, "true", *rest, **more),
    )  # fmt: skip
    slot = Slot(3, "GPU-1")
    LocalWorkers(_submitted(tmp_path), [slot])._submit(slot)
    slot.job._process.wait()
    assert started[0].split()[1:6] == ["-u", "-m", "difgen_cli.engine.launch.task", "GPU-1", "3"]
