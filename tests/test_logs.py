"""`difgen logs`: the part of the logs that belongs to a cell, followed until it ends, and never another file."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from difgen_cli.cli.logs import print_logs
from difgen_cli.engine import logs, select
from difgen_cli.engine.store import Store, StoreError
from difgen_cli.engine.store.attempts import Claimant
from difgen_cli.engine.store.files import replace_json
from difgen_cli.sweep import prepare, record

Write = Callable[..., Path]
Run = Callable[..., subprocess.CompletedProcess[str]]

LOG = "grids/tiny/submissions/1/log/9_0_log.out"


@pytest.fixture
def store(tmp_path: Path, write_grid: Write) -> Store:
    """A run directory with a plan, and a log of four parts: of another unit, training, scoring, and another again."""
    record(prepare(write_grid(), tmp_path / "runs", {}))
    log = tmp_path / "runs" / LOG
    log.parent.mkdir(parents=True)
    log.write_bytes(
        b"submitit: Starting with JobEnvironment\nother\n" + b"trained \xc3\xa9\n" + b"scored\n" + b"later\n"
    )
    return Store(tmp_path / "runs")


def _at(store: Store, words: bytes) -> int:
    return (store.root / LOG).read_bytes().index(words)


def _claimed(store: Store, unit: str, **fields: Any) -> Path:
    """An attempt at a unit of the first cell, with a record as it is given."""
    attempt = select.one(store, ["0"]).run_folder(store).claim(unit, Claimant())
    assert attempt is not None
    attempt.path.write_text(json.dumps(attempt.record | fields))
    return attempt.path


def _said(store: Store, follow: bool = False) -> str:
    out = io.StringIO()
    print_logs(store, select.one(store, ["0"]), out.write, follow=follow)
    return out.getvalue()


def test_each_unit_has_its_own_part_under_a_heading(store: Store) -> None:
    cell = select.one(store, ["0"])
    start, end = _at(store, b"trained"), _at(store, b"scored")
    owner = {"host": "node3", "job": "123", "task": "4", "boot": "elsewhere"}
    _claimed(store, "train", state="interrupted", ending="preempted", cause="preempted by a job of higher priority",
             owner=owner, log={"path": LOG, "from": start, "to": end})  # fmt: skip
    _claimed(store, f"score-{cell.key}", state="done", owner={"host": "node3", "job": None},
             log={"path": LOG, "from": end, "to": end + 7})  # fmt: skip
    name = f"{cell.slug}-{cell.trajectory}"
    assert _said(store) == (
        f"── train of {name}, attempt 1, interrupted, preempted by a job of higher priority, on node3, job 123_4\n"
        f"trained é\n"
        f"── score-{cell.key} of {name}, attempt 1, done, on node3\n"
        f"scored\n"
    )


def test_the_newest_attempt_that_did_something_is_meant(store: Store) -> None:
    start, end = _at(store, b"trained"), _at(store, b"scored")
    _claimed(store, "train", state="interrupted", log={"path": LOG, "from": 0, "to": start})
    _claimed(store, "train", state="failed", cause="the moon is full", log={"path": LOG, "from": start, "to": end})
    select.one(store, ["0"]).run_folder(store).release("train")
    assert "attempt 2, failed, the moon is full" in _said(store)
    assert "trained é" in _said(store)
    assert "other" not in _said(store)


def test_a_dead_workers_part_ends_where_the_next_worker_begins(store: Store) -> None:
    """A requeued job writes to the same file; the last lines, which the scheduler adds, belong to the one that died."""
    with (store.root / LOG).open("ab") as log:
        log.write(b"slurmstepd: error: *** STEP CANCELLED ***\nsubmitit INFO - Starting with JobEnvironment(x)\nnext\n")
    start = _at(store, b"trained")
    path = _claimed(store, "train", log={"path": LOG, "from": start, "to": None}, owner={"host": "a", "boot": "b"})
    ending = {"ending": "node_failure", "cause": "its node failed", "words": ["last"], "by": "the poll"}
    path.with_name("train.1.ending.json").write_text(json.dumps(ending))
    said = _said(store)
    assert ", lost, its node failed, on a\n" in said
    assert "STEP CANCELLED ***\n" in said
    assert "Starting with" not in said
    assert "next" not in said


def test_without_a_log_it_says_so_and_gives_the_last_words_that_others_kept(store: Store) -> None:
    path = _claimed(store, "train", log=None, state="running", owner={"host": "a", "boot": "b"})
    ending = {
        "ending": "killed",
        "cause": "killed without a word",
        "words": ["Traceback", "Boom"],
        "by": "the launcher",
    }
    path.with_name("train.1.ending.json").write_text(json.dumps(ending))
    assert "has no log" in _said(store)
    assert _said(store).endswith("Traceback\nBoom\n")
    path.write_text(path.read_text().replace('"log": null', f'"log": {{"path": "{LOG}.gone", "from": 0}}'))
    assert "No such file" in _said(store)
    assert _said(store).endswith("Traceback\nBoom\n")


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.txt", "grids/../../secret.txt", "link/secret.txt"])
def test_no_record_can_have_another_file_printed(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("the password")
    (store.root / "link").symlink_to(tmp_path)
    _claimed(store, "train", state="done", log={"path": name, "from": 0, "to": None})
    with pytest.raises(StoreError, match="outside the run directory"):
        _said(store)


def test_a_cell_that_nobody_began_is_one_sentence(store: Store, difgen: Run) -> None:
    done = difgen("logs", "0")
    assert (done.returncode, done.stdout.startswith("nothing has run for cell 0 of tiny-")) == (0, True)


def test_following_goes_on_until_the_attempt_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "POLL_SECONDS", 0.02)
    path = _claimed(store, "train", log={"path": LOG, "from": _at(store, b"later"), "to": None})
    out, log = io.StringIO(), store.root / LOG
    thread = threading.Thread(target=lambda: print_logs(store, select.one(store, ["0"]), out.write, follow=True))
    thread.start()
    _wait_for(lambda: "later\n" in out.getvalue())
    with log.open("ab") as file:
        file.write("half a letter: é".encode()[:-1])
    _wait_for(lambda: "half a letter: " in out.getvalue())
    with log.open("ab") as file:
        file.write("é\n".encode()[1:])
    _wait_for(lambda: "half a letter: é\n" in out.getvalue())
    assert thread.is_alive()
    end = log.stat().st_size
    with log.open("ab") as file:
        file.write(b"of the next unit\n")
    said = json.loads(path.read_text())
    replace_json(path, said | {"state": "done", "log": said["log"] | {"to": end}})
    thread.join(10)
    assert not thread.is_alive()
    assert out.getvalue().count("──") == 2
    assert out.getvalue().splitlines()[-1].endswith("attempt 1, done, on " + said["owner"]["host"])


def test_following_ends_when_a_look_at_the_cluster_finds_the_worker_dead(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "POLL_SECONDS", 0.01)
    path = _claimed(store, "train", log={"path": LOG, "from": _at(store, b"later")}, owner={"host": "a", "boot": "b"})
    out, looks = io.StringIO(), iter(range(99))

    def look() -> dict[tuple[str, str, int], str]:
        if next(looks) == 5:
            ending = {"ending": "node_failure", "cause": "its node failed", "words": [], "by": "SLURM"}
            path.with_name("train.1.ending.json").write_text(json.dumps(ending))
        return {}

    print_logs(store, select.one(store, ["0"]), out.write, look, follow=True)
    assert out.getvalue().splitlines()[1:] == [
        "later", "── train of " + path.parent.parent.name + ", attempt 1, lost, its node failed, on a"
    ]  # fmt: skip


def _wait_for(holds: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_real_sweep_is_followed_and_what_it_wrote_is_found_later(
    tmp_path: Path, write_grid: Write, difgen: Run
) -> None:
    from conftest import TINY

    grid = write_grid(TINY.replace("[10, 20]", "[3000, 6000]").replace("[8, 16]", "[8]"))
    assert difgen("sweep", grid, "--workers", "1", "--detach").returncode == 0
    _wait_for(lambda: any("target" in p.read_text() for p in (tmp_path / "runs").glob("*/*/attempts/train.1.json")))
    followed = difgen("logs", "train.steps=6000", "-f")
    assert followed.returncode == 0, followed.stderr
    assert "step " in followed.stdout
    assert followed.stdout.splitlines()[-1].startswith("── train of ")
    assert ", done, on " in followed.stdout.splitlines()[-1]
    cell = select.one(Store(tmp_path / "runs"), ["train.steps=6000"])
    _wait_for(lambda: f"score-{cell.key} of {cell.slug}: done" in difgen("logs", "train.steps=6000").stdout)
    said = difgen("logs", "train.steps=6000").stdout
    assert f"train of {cell.slug}: done" in said
    assert f"train of {cell.slug}: step" in said
    assert "Starting with" not in said, "what stands before the claim is not the unit's"
    other = select.one(Store(tmp_path / "runs"), ["train.steps=3000"])
    assert other.key not in said


def test_ctrl_c_while_following_is_exit_code_130(store: Store, tmp_path: Path) -> None:
    _claimed(store, "train", log={"path": LOG, "from": 0, "to": None})
    command = [sys.executable, "-m", "difgen_cli", "logs", "0", "-f"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "later" not in process.stdout.readline():
        pass
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=30)
    assert (process.returncode, words) == (130, "interrupted\n")


def test_a_followed_worker_that_is_gone_ends_the_following(store: Store) -> None:
    gone = {"pid": 2**22 + 1, "started": "1"}
    path = _claimed(store, "train", log={"path": LOG, "from": _at(store, b"later"), "to": None})
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"owner": said["owner"] | gone}))
    assert _said(store, follow=True).splitlines()[1:] == ["later"]
