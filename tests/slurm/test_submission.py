"""Submitting: what SLURM refuses, what a crash interrupts, whose code runs, and what a name may not do."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from comparing import Content

import difgen_cli
from slurm.cluster import Lab, await_that
from slurm.study import GRID, PACE_SECONDS, TRAJECTORIES, Study, shim

NewStudy = Callable[..., Study]
PACE = str(PACE_SECONDS)
MANY = GRID.replace("[8, 16]", "[8, 12, 16, 24]")  # more units than the lab's arrays may have tasks


def assert_refused(study: Study, lab: Lab, words: str, workers: int = 4, **profile: object) -> None:
    """A sweep that SLURM refuses: exit 3, one sentence with the scheduler's words, and nothing in the queue."""
    before = len(lab.queue())
    study.profile(**profile)
    done = study.sweep(workers=workers, timeout=60)
    assert done.returncode == 3, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if not line.startswith(("grid:", "note:", "to do:"))]
    assert words in said, done.stderr
    assert "Traceback" not in done.stderr
    assert len(lab.queue()) == before
    receipts = [s["receipt"] for s in study.submissions()]
    assert all("refused" in r for r in receipts), receipts


def test_what_sbatch_refuses_is_one_sentence_and_nothing_is_lost(new_study: NewStudy, lab: Lab, calm: Content) -> None:
    study = new_study()
    assert_refused(study, lab, "partition", partition="nowhere")
    assert_refused(study, lab, "account", account="nobody")
    held = lab.run("sbatch", "--parsable", "--hold", "--qos=limited", "--array=0-7", "--wrap=true").strip()
    assert_refused(study, lab, "limit", qos="limited")
    lab.run("scancel", held)
    study.profile()
    done = study.sweep()
    assert done.returncode == 0, done.stderr
    study.assert_whole(calm)


def test_a_limit_that_leaves_room_for_a_single_job_is_kept(new_study: NewStudy, lab: Lab, calm: Content) -> None:
    lab.run("sbatch", "--hold", "--qos=limited", "--array=0-6", "--wrap=true")
    study = new_study(profile={"qos": "limited"}, PACE_SECONDS=PACE)
    done = study.sweep("--only", "data.size=8", "--only", "condition.clusters=1")
    assert done.returncode == 0, done.stderr
    assert study.submissions()[0]["receipt"]["tasks"] == 1
    study.assert_whole(None)
    (note,) = [line for line in done.stderr.splitlines() if "SLURM refused" in line]
    assert "QOSMaxSubmitJobPerUserLimit" in note, done.stderr


def test_an_array_that_is_too_long_is_halved_and_submitted_once(new_study: NewStudy, tmp_path: Path) -> None:
    study = new_study("many", grid=MANY)  # arrays are kept below MaxArraySize, unless the cluster does not tell it
    study.environment["PATH"] = shim(tmp_path / "bin", "scontrol", '"$REAL" "$@" | grep -v MaxArraySize')
    done = study.sweep(workers=10)
    assert done.returncode == 0, done.stderr
    (note,) = [line for line in done.stderr.splitlines() if "SLURM refused" in line]
    assert "Invalid job array specification" in note
    (one,) = study.submissions()
    assert f"took {one['receipt']['tasks']}" in note
    study.assert_whole(None)


def test_a_crash_between_sbatch_and_its_receipt_is_mended_by_the_next_command(
    new_study: NewStudy, lab: Lab, calm: Content, tmp_path: Path
) -> None:
    study = new_study(PACE_SECONDS=PACE)
    path = shim(tmp_path / "bin", "sbatch", '"$REAL" "$@" && kill -KILL $PPID')
    whole = study.environment.copy()
    study.environment["PATH"] = path
    crashed = study.sweep()
    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    study.environment = whole
    (one,) = study.submissions()
    assert one["intent"]["launcher"] == "slurm"
    assert not one["receipt"]
    jobs = {j["id"].partition("_")[0] for j in lab.queue("--name", one["intent"]["name"])}
    assert len(jobs) == 1
    assert study.difgen("status").returncode == 0
    assert not study.submissions()[0]["receipt"], "a look writes nothing"
    done = study.sweep()
    assert done.returncode == 0, done.stderr
    assert study.submissions()[0]["receipt"]["job"] in jobs
    study.assert_whole(calm)
    assert len(study.submissions()) == 1, "the second command submitted another array"


def test_waiting_jobs_run_the_code_as_submitted(new_study: NewStudy, lab: Lab, calm: Content, tmp_path: Path) -> None:
    study = new_study()
    package = study.folder / "code" / "difgen_cli"
    shutil.copytree(Path(difgen_cli.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    commit = committed(study.folder)
    study.environment["PYTHONPATH"] = str(package.parent)
    with lab.crowded() as other:
        await_that(lambda: lab.state_of(other) == "RUNNING", 60, "the other job has the nodes")
        done = study.sweep("--detach")
        assert done.returncode == 0, done.stderr
        assert not study.workers()
        for edited in (package / "engine" / "worker" / "__init__.py", study.folder / "plugins" / "models" / "paced.py"):
            edited.write_text("raise SystemExit('this was edited while the job waited')\n")
    await_that(lambda: not lab.queue(), 120, "the jobs have ended")
    study.assert_whole(calm)
    rows = pd.read_parquet(study.runs / "tables" / "rows.parquet")
    assert set(rows["git_commit"]) == {commit}
    assert set(rows["git_dirty"]) == {False}


def committed(folder: Path) -> str:
    """Make a folder a git repository with all its files committed; returns the commit."""
    git = ["git", "-c", "user.name=difgen", "-c", "user.email=difgen@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "As submitted"]):
        subprocess.run([*git, *words], cwd=folder, check=True, capture_output=True)
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return asked.stdout.strip()


def test_names_reach_no_shell(new_study: NewStudy, calm: Content, tmp_path: Path) -> None:
    odd = 'it\'s; $(touch pwned) `touch pwned` "q" & <x> $HOME'
    by_folder, by_grid = new_study(odd), new_study("plain")
    by_grid.rename_grid(f"{odd}.yaml")
    codes = [p.wait(200) for p in [by_folder.begin(workers=2), by_grid.begin(workers=2)]]
    for study, code in zip((by_folder, by_grid), codes, strict=True):
        assert code == 0, study.story()
        study.assert_whole(calm)
    assert not list(tmp_path.rglob("pwned"))
    assert not Path("pwned").exists()


@pytest.mark.parametrize("odd", ["100%j", "two\nlines", "back\\slash"])
def test_a_path_that_slurm_would_change_is_refused_in_one_sentence(new_study: NewStudy, lab: Lab, odd: str) -> None:
    study = new_study(odd)
    done = study.sweep(timeout=60)
    assert done.returncode == 3, done.stderr
    assert "choose another --runs" in done.stderr
    assert not lab.queue()


def test_cancelled_work_is_saved_and_goes_on_later(new_study: NewStudy, lab: Lab, calm: Content) -> None:
    study = new_study(PACE_SECONDS="0.05")  # twenty seconds: none ends before the command has begun
    assert study.sweep("--detach").returncode == 0
    study.await_training()
    done = study.difgen("cancel", "--yes", "runs")
    assert done.returncode == 0, done.stderr
    study.assert_nothing_left()
    stopped = study.attempts("train.*")
    assert [a["state"] for a in stopped] == ["interrupted"] * TRAJECTORIES, study.story()
    done = study.sweep()
    assert done.returncode == 0, done.stderr
    study.assert_whole(calm, lost=TRAJECTORIES)
    saved = {a["home"]: a["step"] for a in stopped}
    resumed = {a["home"]: a["from_step"] for a in study.attempts("train.2")}
    assert resumed == saved
