"""`difgen gc`: what no row needs goes, what any row, worker or person needs stays, and nothing outside is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from difgen_cli.engine.store import RunFolder, Store, garbage
from difgen_cli.engine.store.attempts import Claimant
from difgen_cli.engine.store.files import StoreError

Run = Callable[..., subprocess.CompletedProcess[str]]

DAY_SECONDS = 86_400


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, difgen_in: Run) -> Path:
    """A tiny grid, swept once for all tests of this file: its folder."""
    from conftest import TINY

    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY)
    done = difgen_in(folder, "sweep", "tiny.yaml", "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run directory, to be changed."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True, symlinks=True)
    return tmp_path / "runs"


def found(runs: Path, *kinds: str) -> set[str]:
    """What is waste of some kinds, relative to the run directory."""
    return {str(w.path.relative_to(runs.resolve())) for w in garbage.find(Store(runs)) if w.kind in kinds or not kinds}


def trajectory(runs: Path) -> Path:
    """One of the trajectories."""
    return sorted((runs / "trajectories").iterdir())[0]


def aged(path: Path, seconds: float = 2 * DAY_SECONDS) -> Path:
    """A file that was last written so long ago."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    moment = time.time() - seconds
    os.utime(path, (moment, moment))
    return path


def as_if_swept_elsewhere(runs: Path, key: str) -> None:
    """Take the lines of one trajectory or reference out of the plan, as if its grid had been forgotten."""
    path = next(runs.glob("grids/*/plan.parquet"))
    plan = pd.read_parquet(path)
    plan[plan["home"] != key].to_parquet(path)


def test_of_a_finished_sweep_nothing_is_waste_but_what_may_be_wanted_again(runs: Path) -> None:
    kinds = {w.kind for w in garbage.find(Store(runs))}
    assert kinds == {"last checkpoints", "scored snapshots"}
    assert garbage.chosen(garbage.find(Store(runs)), everything=False) == []


def test_sizes_are_those_of_the_files(runs: Path) -> None:
    for each in garbage.find(Store(runs)):
        assert each.size_bytes == each.path.stat().st_size > 0


def test_all_but_the_last_checkpoint_of_a_finished_trajectory_go(runs: Path) -> None:
    home = trajectory(runs)
    shutil.copyfile(home / "checkpoints" / "20.pt", home / "checkpoints" / "15.pt")
    name = f"trajectories/{home.name}/checkpoints"
    assert found(runs, "checkpoints") == {f"{name}/15.pt"}
    assert f"{name}/20.pt" in found(runs, "last checkpoints")


def test_checkpoints_stay_while_a_planned_snapshot_is_missing_and_not_scored(runs: Path) -> None:
    home = trajectory(runs)
    shutil.copyfile(home / "checkpoints" / "20.pt", home / "checkpoints" / "15.pt")
    (home / "snapshots" / "20.safetensors").unlink()
    assert f"trajectories/{home.name}/checkpoints/15.pt" in found(runs), "what it was for is scored"
    plan = pd.read_parquet(next(runs.glob("grids/*/plan.parquet")))
    line = plan[(plan["home"] == RunFolder(home).path.name[-16:]) & (plan["step"] == 20)].iloc[0]
    (home / "results" / f"{line['result.gap']}.json").unlink()
    assert not any(home.name in path for path in found(runs, "checkpoints", "last checkpoints"))


def test_snapshots_and_samples_that_no_plan_names_go(runs: Path) -> None:
    home = trajectory(runs)
    shutil.copyfile(home / "snapshots" / "10.safetensors", home / "snapshots" / "12.safetensors")
    (home / "samples" / "0123456789abcdef.parquet").write_bytes(b"samples of a sampler that was given up")
    name = f"trajectories/{home.name}"
    assert found(runs, "snapshots") == {f"{name}/snapshots/12.safetensors"}
    assert found(runs, "samples") == {f"{name}/samples/0123456789abcdef.parquet"}


def test_a_snapshot_counts_as_scored_only_with_every_result_of_every_cell(runs: Path) -> None:
    home = trajectory(runs)
    name = f"trajectories/{home.name}/snapshots/10.safetensors"
    assert name in found(runs, "scored snapshots")
    plan = pd.read_parquet(next(runs.glob("grids/*/plan.parquet")))
    line = plan[(plan["home"] == home.name[-16:]) & (plan["step"] == 10)].iloc[0]
    (home / "results" / f"{line['result.memorization']}.json").unlink()
    assert name not in found(runs)


def test_of_a_forgotten_trajectory_the_results_stay_and_a_plan_finds_it_done_again(runs: Path, difgen: Run) -> None:
    home = trajectory(runs)
    plan = next(runs.glob("grids/*/plan.parquet")).read_bytes()
    as_if_swept_elsewhere(runs, home.name[-16:])
    name = f"trajectories/{home.name}"
    assert found(runs, "orphans") == {f"{name}/{part}" for part in ("checkpoints", "snapshots", "samples")}
    garbage.remove(Store(runs), garbage.chosen(garbage.find(Store(runs)), everything=False))
    left = set(os.listdir(home))
    assert {"attempts", "env.json", "results", "spec.json"} <= left
    assert not {"checkpoints", "snapshots", "samples"} & left
    next(runs.glob("grids/*/plan.parquet")).write_bytes(plan)
    assert _marks(difgen) == {"done"}


def test_a_forgotten_home_without_results_goes_whole(runs: Path) -> None:
    home = next((runs / "references").iterdir())
    shutil.rmtree(home / "results")
    as_if_swept_elsewhere(runs, home.name[-16:])
    assert found(runs, "orphans") == {f"references/{home.name}"}
    garbage.remove(Store(runs), garbage.find(Store(runs)))
    assert not home.exists()


def test_a_trajectory_that_another_is_made_of_is_needed(runs: Path) -> None:
    first, second = sorted((runs / "trajectories").iterdir())
    as_if_swept_elsewhere(runs, first.name[-16:])
    assert found(runs, "orphans")
    spec = json.loads((second / "spec.json").read_text())
    spec["recipe"][first.name[-16:]] = {"kind": "trajectory"}  # as a guide or a twin will be
    (second / "spec.json").write_text(json.dumps(spec))
    assert not found(runs, "orphans")


def test_temporary_and_damaged_files_go_when_they_are_a_day_old(runs: Path) -> None:
    home = trajectory(runs)
    young = home / "checkpoints" / ".20.pt.77.0a1b2c3d.tmp"
    young.write_bytes(b"being written")
    aged(home / "checkpoints" / "15.broken")
    aged(home / "snapshots" / ".12.safetensors.77.0a1b2c3d.tmp")
    aged(runs / ".probe.77")
    (runs / "shared" / ".code-00.77.tmp").mkdir()
    aged(runs / "shared" / ".code-00.77.tmp")
    aged(runs / "somebody's notes.txt")
    name = f"trajectories/{home.name}"
    assert found(runs, "temporary") == {
        f"{name}/checkpoints/15.broken", f"{name}/snapshots/.12.safetensors.77.0a1b2c3d.tmp", ".probe.77",
        "shared/.code-00.77.tmp",
    }  # fmt: skip


@contextmanager
def _living() -> Iterator[int]:
    """A process that lives, and is not this one."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _clutter(home: Path) -> None:
    """Waste of every kind in a home."""
    shutil.copyfile(home / "checkpoints" / "20.pt", home / "checkpoints" / "15.pt")
    shutil.copyfile(home / "snapshots" / "10.safetensors", home / "snapshots" / "12.safetensors")
    (home / "samples" / "0123456789abcdef.parquet").write_bytes(b"samples")
    aged(home / "checkpoints" / "15.broken")


def test_nothing_of_a_trajectory_at_which_somebody_works_is_touched(runs: Path) -> None:
    home = trajectory(runs)
    _clutter(home)
    assert any(home.name in path for path in found(runs))
    attempt = RunFolder(home).claim("train", Claimant())
    assert attempt is not None
    assert not any(home.name in path for path in found(runs))
    as_if_swept_elsewhere(runs, home.name[-16:])
    assert not any(home.name in path for path in found(runs)), "not even where its plan is gone"
    attempt.end("done")
    assert any(home.name in path for path in found(runs))


def test_who_is_gone_or_was_silent_for_a_day_works_no_more(runs: Path) -> None:
    home = trajectory(runs)
    _clutter(home)
    attempt = RunFolder(home).claim("train", Claimant())
    assert attempt is not None
    record = json.loads(attempt.path.read_text())
    elsewhere = record | {"owner": record["owner"] | {"host": "node7", "boot": "another"}}
    attempt.path.write_text(json.dumps(elsewhere))
    assert not any(home.name in path for path in found(runs)), "it cannot be looked up, and was heard of just now"
    aged(attempt.path)
    assert any(home.name in path for path in found(runs))
    attempt.path.write_text(json.dumps(record | {"owner": record["owner"] | {"pid": 2**22 + 1, "started": "1"}}))
    assert any(home.name in path for path in found(runs))


def _submission(runs: Path, code: str, **said: object) -> Path:
    folder = next((runs / "grids").iterdir()) / "submissions" / "77"
    (folder / "workers").mkdir(parents=True)
    (runs / "shared" / f"code-{code}").mkdir()
    aged(runs / "shared" / f"code-{code}")
    intent = {"code": str(runs / "shared" / f"code-{code}")} | said
    (folder / "submission.json").write_text(json.dumps(intent))
    return folder


def test_code_stays_while_workers_live_or_may_come(runs: Path) -> None:
    folder = _submission(runs, "0123456789abcdef")
    name = "shared/code-0123456789abcdef"
    assert found(runs, "code") == {name}
    (folder / "receipt.json").write_text('{"job": "12"}')
    assert not found(runs, "code"), "its jobs may wait in the queue"
    (folder / "receipt.json").write_text('{"refused": "too many"}')
    assert found(runs, "code") == {name}
    (folder / "receipt.json").unlink()
    with _living() as pid:
        from difgen_cli.engine.store.processes import process_identity, start_time

        who = process_identity() | {"pid": pid, "started": start_time(pid)}
        (folder / "workers" / "0.json").write_text(json.dumps({"state": "running", "owner": who}))
        assert not found(runs, "code")
    assert found(runs, "code") == {name}
    (folder / "receipt.json").write_text('{"job": "12"}')
    (folder / "closed.json").write_text("{}")
    assert found(runs, "code") == {name}


def test_what_a_waiting_submission_counts_on_stays(runs: Path) -> None:
    """A training whose snapshots are gone would be trained again by the workers that come."""
    home = trajectory(runs)
    folder = _submission(runs, "0123456789abcdef")
    work = {"trainings": [{"home": home.name[-16:], "steps": [20]}], "scorings": []}
    (folder / "work.json").write_text(json.dumps(work))
    (folder / "receipt.json").write_text('{"job": "12"}')
    assert not any(home.name in path for path in found(runs, "scored snapshots", "snapshots", "samples"))
    work["trainings"][0]["steps"] = [20, 40]  # of a grid whose plan was lost
    (folder / "work.json").write_text(json.dumps(work))
    assert not any(home.name in path for path in found(runs))
    (folder / "closed.json").write_text("{}")
    assert any(home.name in path for path in found(runs, "scored snapshots"))


def test_nothing_behind_a_link_and_nothing_of_another_name_is_found(runs: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    home = trajectory(runs)
    shutil.copytree(home, outside / home.name)
    _clutter(outside / home.name)
    shutil.rmtree(home)
    home.symlink_to(outside / home.name)  # a trajectory that somebody moved to another disk
    other = sorted((runs / "trajectories").iterdir())[1]
    (outside / "snapshots").mkdir()
    (outside / "snapshots" / "12.safetensors").write_bytes(b"somebody else's")
    shutil.rmtree(other / "snapshots")
    (other / "snapshots").symlink_to(outside / "snapshots")
    aged(outside / "old.broken")
    (runs / "link").symlink_to(outside)
    (runs / "trajectories" / "notes").mkdir()
    before = {p: p.stat().st_mtime_ns for p in outside.rglob("*")}
    garbage.remove(Store(runs), garbage.find(Store(runs)))
    assert {p: p.stat().st_mtime_ns for p in outside.rglob("*")} == before
    assert (runs / "trajectories" / "notes").is_dir()
    assert home.is_symlink()


def test_a_run_directory_behind_a_link_is_one(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").symlink_to(runs)
    assert garbage.find(Store(tmp_path / "scratch")) == garbage.find(Store(runs))
    assert garbage.remove(Store(tmp_path / "scratch"), garbage.find(Store(runs)))


def test_what_is_needed_again_by_the_time_of_the_answer_stays(runs: Path) -> None:
    home = trajectory(runs)
    _clutter(home)
    before = garbage.chosen(garbage.find(Store(runs)), everything=True)
    attempt = RunFolder(home).claim("train", Claimant())
    assert attempt is not None
    removed = garbage.remove(Store(runs), before)
    assert not any(home.name in str(w.path) for w in removed)
    assert (home / "checkpoints" / "15.pt").exists()


def test_a_plan_that_cannot_be_read_stops_everything(runs: Path) -> None:
    path = next(runs.glob("grids/*/plan.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"plan\.parquet: cannot be read"):
        garbage.find(Store(runs))


def _marks(difgen: Run) -> set[str]:
    return {c["mark"] for c in json.loads(difgen("plan", "tiny.yaml", "--json").stdout)["cells"]}


def _kept(runs: Path) -> dict[Path, bytes]:
    """Everything that is never waste."""
    names = ("*/*/results/*", "*/*/attempts/*", "tables/**/*.parquet", "grids/**/*", "*/*/spec.json", "*/*/env.json")
    return {p: p.read_bytes() for name in names for p in runs.glob(name) if p.is_file()}


@pytest.mark.long
@pytest.mark.parametrize("more", [[], ["--all"]])
def test_after_it_every_done_cell_is_done_and_the_report_is_the_same(runs: Path, difgen: Run, more: list[str]) -> None:
    assert difgen("report", "runs", "--out", "before").returncode == 0
    _clutter(trajectory(runs))
    kept, rows = _kept(runs), pd.read_parquet(runs / "tables" / "rows.parquet")
    done = difgen("gc", "runs", "--yes", *more)
    assert done.returncode == 0, done.stderr
    assert "removed " in done.stderr
    assert not found(runs, *(kind for kind in garbage.KINDS if more or kind not in garbage.ON_DEMAND))
    assert _marks(difgen) == {"done"}
    assert "nothing to do" in difgen("sweep", "tiny.yaml").stderr
    assert _kept(runs) == kept
    shutil.rmtree(runs / "tables")
    assert difgen("report", "runs", "--out", "after").returncode == 0
    pd.testing.assert_frame_equal(pd.read_parquet(runs / "tables" / "rows.parquet"), rows)
    for figure in (runs.parent / "before").glob("*.csv"):
        assert (runs.parent / "after" / figure.name).read_bytes() == figure.read_bytes()


def test_more_steps_go_on_from_the_last_checkpoint_that_it_leaves(runs: Path, difgen: Run) -> None:
    _clutter(trajectory(runs))
    assert difgen("gc", "runs", "--yes").returncode == 0
    assert difgen("sweep", "tiny.yaml", "--cluster", "inline", "--set", "train.steps=30").returncode == 0
    trained = [json.loads(p.read_text()) for p in runs.glob("trajectories/*/attempts/train.*.json")]
    assert sorted(a["from_step"] for a in trained) == [0, 0, 20, 20]


@pytest.mark.long
def test_while_a_worker_trains_the_rest_can_be_cleaned_and_its_sweep_ends_well(runs: Path, difgen: Run) -> None:
    _clutter(trajectory(runs))
    command = [sys.executable, "-m", "difgen_cli", "sweep", "tiny.yaml", "--workers", "1", "--set", "train.steps=3000"]
    process = subprocess.Popen(
        [*command, "--only", "data.size=8"], cwd=runs.parent, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DIFGEN_CHECKPOINT_SECONDS": "0.3"},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not (at := [p for p in runs.glob("trajectories/*/attempts/train.2.json") if "target" in p.read_text()]):
            assert time.monotonic() < deadline, "no training began"
            time.sleep(0.1)
        home = at[0].parent.parent
        done = difgen("gc", "runs", "--yes", "--all", "--json")
        assert done.returncode == 0, done.stderr
        gone = [line["path"] for line in json.loads(done.stdout)["waste"] if line["removed"]]
        assert gone
        assert not any(home.name in path for path in gone)
    finally:
        _, words = process.communicate(timeout=300)
    assert process.returncode == 0, words
    assert _marks(difgen) == {"done"}


def test_it_asks_and_takes_silence_for_no(runs: Path, difgen: Run) -> None:
    home = trajectory(runs)
    _clutter(home)
    done = difgen("gc", "runs")
    assert (done.returncode, "nothing was removed" in done.stderr) == (0, True)
    assert "checkpoints: 1 of " in done.stdout
    assert "(stays without --all)" in done.stdout
    shown = difgen("gc", "runs", "--dry-run", "--yes")
    assert shown.returncode == 0
    assert (home / "checkpoints" / "15.pt").exists()
    said = json.loads(difgen("gc", "runs", "--json").stdout)
    assert said["bytes"] == sum(line["bytes"] for line in said["waste"]) > 0
    assert not any(line["removed"] for line in said["waste"])
    difgen("gc", "runs", "--yes")
    assert "nothing to remove" in difgen("gc", "runs").stdout


def test_without_a_run_directory_it_is_one_sentence_and_exit_code_2(difgen: Run) -> None:
    done = difgen("gc", "nowhere")
    assert done.returncode == 2
    assert "no run directory" in done.stderr
