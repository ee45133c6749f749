"""Sweeps end to end: what is done is not done again, what changes alone is done anew, and the numbers are right."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., Path]


def rows(runs: Path) -> pd.DataFrame:
    """The rows table without what may differ between two runs of the same: times, hosts, versions."""
    table = pd.read_parquet(runs / "tables" / "rows.parquet")
    noisy = ("_seconds", "per_second", "_bytes", "finished_at", "git_", "device", "roofline", "mfu")
    keep = [c for c in table.columns if not any(c.endswith(n) or c.startswith(n) for n in noisy)]
    return table[keep].sort_values(["kind", "home", "cell"]).reset_index(drop=True)


def attempts(runs: Path, unit: str = "*") -> list[dict[str, Any]]:
    """Every attempt below a run directory."""
    return [json.loads(p.read_text()) for p in sorted(runs.glob(f"*/*/attempts/{unit}.json"))]


def images_trained(runs: Path) -> int:
    """Training images spent, over all attempts."""
    return sum(int(a.get("images", 0)) for a in attempts(runs, "train.*"))


def sweep(difgen: Run, grid: Path, *more: str, cluster: str = "inline") -> subprocess.CompletedProcess[str]:
    """Sweep and insist that all went well."""
    done = difgen("sweep", grid, "--cluster", cluster, *more)
    assert done.returncode == 0, done.stderr
    return done


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
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished sweep, to be changed."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_sweep_makes_every_row_and_nothing_is_missing(finished: Path) -> None:
    table = rows(finished / "runs")
    assert table["kind"].value_counts().to_dict() == {"model": 4, "ideal": 2, "heldout": 2, "copycat": 2}
    models = table[table["kind"] == "model"]
    assert sorted(zip(models["data.size"], models["step"], strict=True)) == [(8, 10), (8, 20), (16, 10), (16, 20)]
    assert models[["mem_frac", "gap_max"]].notna().all(axis=None)
    assert (models["epochs"] == models["step"] * 16 / models["data.size"]).all()


def test_each_trajectory_is_trained_once_to_its_longest_step(finished: Path) -> None:
    assert images_trained(finished / "runs") == 2 * 20 * 16


def test_the_ideal_denoiser_memorizes_and_held_out_images_do_not(finished: Path) -> None:
    table = rows(finished / "runs").set_index("kind")
    assert (table.loc["ideal", "mem_frac"] >= 0.99).all()
    assert (table.loc["copycat", "mem_frac"] == 1).all()
    assert (table.loc["heldout", "mem_frac"] <= 0.01).all()


def test_tables_are_read_by_pandas_alone_and_say_what_they_hold(finished: Path) -> None:
    import pyarrow.parquet as pq

    schema = pq.read_schema(finished / "runs" / "tables" / "rows.parquet")
    assert schema.metadata[b"schema"] == b"1"
    about = schema.field("mem_frac").metadata
    assert about[b"unit"] == b"share"
    assert about[b"meaning"]
    noise = pd.read_parquet(finished / "runs" / "tables" / "noise.parquet")
    assert set(noise["split"]) == {"train", "heldout"}
    neighbours = pd.read_parquet(finished / "runs" / "tables" / "neighbours.parquet")
    table = rows(finished / "runs").set_index("cell")
    for cell, lines in neighbours.groupby("cell"):
        assert lines["memorized"].mean() == pytest.approx(table.loc[cell, "mem_frac"])


def test_samples_follow_the_convention_of_image_datasets(finished: Path) -> None:
    import io

    from PIL import Image

    file = next((finished / "runs").glob("trajectories/*/samples/*.parquet"))
    table = pd.read_parquet(file)
    assert table["seed"].tolist() == list(range(32))
    with Image.open(io.BytesIO(table["image"][0]["bytes"])) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (8, 8), "L")


def test_a_second_sweep_does_nothing(copied: Path, difgen: Run) -> None:
    before = {p: p.stat().st_mtime_ns for p in (copied / "runs").rglob("*") if p.is_file()}
    done = sweep(difgen, copied / "tiny.yaml")
    assert "nothing to do" in done.stderr
    assert {p: p.stat().st_mtime_ns for p in (copied / "runs").rglob("*") if p.is_file()} == before


def test_a_later_snapshot_resumes_the_finished_trajectory(copied: Path, difgen: Run) -> None:
    sweep(difgen, copied / "tiny.yaml", "--set", "train.steps=30")
    assert images_trained(copied / "runs") == 2 * 30 * 16
    fresh = copied / "fresh"
    sweep(difgen, copied / "tiny.yaml", "--set", "train.steps=30", "--runs", str(fresh))
    resumed, whole = rows(copied / "runs"), rows(fresh)
    pd.testing.assert_frame_equal(
        resumed[resumed["step"] == 30].reset_index(drop=True), whole[whole["step"] == 30].reset_index(drop=True)
    )


def test_an_earlier_snapshot_equals_the_one_of_a_longer_run(copied: Path, difgen: Run) -> None:
    """Known answer 4: a snapshot at s is what a run stopped at s would have given."""
    sweep(difgen, copied / "tiny.yaml", "--set", "train.steps=10", "--runs", str(copied / "short"))
    for short in (copied / "short").glob("trajectories/*/snapshots/10.safetensors"):
        from safetensors.numpy import load_file

        name = short.parent.parent.name
        a, b = load_file(short), load_file(copied / "runs" / "trajectories" / name / "snapshots" / "10.safetensors")
        assert all(np.array_equal(a[k], b[k]) for k in a)
    long, short_rows = rows(copied / "runs"), rows(copied / "short")
    pd.testing.assert_frame_equal(
        long[long["step"] == 10].reset_index(drop=True), short_rows[short_rows["step"] == 10].reset_index(drop=True)
    )


def test_a_metric_setting_rescores_without_sampling_or_training(copied: Path, difgen: Run) -> None:
    samples = {p: p.stat().st_mtime_ns for p in (copied / "runs").rglob("samples/*.parquet")}
    text = (copied / "tiny.yaml").read_text().replace("[memorization, gap]", "{memorization: , gap: {sigmas: 4}}")
    (copied / "rescored.yaml").write_text(text)
    sweep(difgen, copied / "rescored.yaml")
    assert images_trained(copied / "runs") == 2 * 20 * 16
    assert {p: p.stat().st_mtime_ns for p in (copied / "runs").rglob("samples/*.parquet")} == samples
    table = rows(copied / "runs")
    assert sorted(table.loc[table["kind"] == "model", "score.gap.sigmas"].dropna()) == [4] * 4 + [16] * 4


def test_results_of_an_older_version_show_as_stale(copied: Path, difgen: Run) -> None:
    plugins = copied / "plugins" / "metrics"
    plugins.mkdir(parents=True)
    text = (Path(__file__).parent / "plugins" / "metrics" / "brightness.py").read_text()
    (plugins / "brightness.py").write_text(text)
    grid = copied / "bright.yaml"
    grid.write_text((copied / "tiny.yaml").read_text().replace("[memorization, gap]", "[brightness]"))
    sweep(difgen, grid)
    (plugins / "brightness.py").write_text(text.replace("127.5)}", "127.5 + 0.0)}"))
    marks = {c["mark"] for c in json.loads(difgen("plan", grid, "--json").stdout)["cells"]}
    assert marks == {"stale"}, "the code of a user's plug-in is its version"


def test_a_sampler_axis_samples_without_training(copied: Path, difgen: Run) -> None:
    text = (copied / "tiny.yaml").read_text() + "  sample.steps: [3, 5]\n"
    (copied / "sampled.yaml").write_text(text)
    sweep(difgen, copied / "sampled.yaml")
    assert images_trained(copied / "runs") == 2 * 20 * 16
    table = rows(copied / "runs")
    assert (table["kind"] == "model").sum() == 8


def test_tables_are_rebuilt_from_the_results(copied: Path, difgen: Run) -> None:
    before = rows(copied / "runs")
    shutil.rmtree(copied / "runs" / "tables")
    assert difgen("report", "runs", "--out", "report").returncode == 0
    pd.testing.assert_frame_equal(rows(copied / "runs"), before)


def test_a_truncated_table_is_reported_and_made_again(copied: Path, difgen: Run) -> None:
    before = rows(copied / "runs")
    for table in ("rows.parquet", "metrics/gap.parquet"):
        path = copied / "runs" / "tables" / table
        path.write_bytes(path.read_bytes()[:100])
    done = difgen("report", "runs", "--out", "report")
    assert done.returncode == 0, done.stderr
    assert "gap.parquet: is damaged" in done.stderr
    pd.testing.assert_frame_equal(rows(copied / "runs"), before)


def test_a_truncated_result_is_set_aside_and_computed_again(copied: Path, difgen: Run) -> None:
    before = rows(copied / "runs")
    result = next((copied / "runs").glob("trajectories/*/results/*.json"))
    result.write_text(result.read_text()[:50])
    shutil.rmtree(copied / "runs" / "tables")
    done = difgen("report", "runs", "--out", "report")
    assert "set aside" in done.stderr
    sweep(difgen, copied / "tiny.yaml")
    pd.testing.assert_frame_equal(rows(copied / "runs"), before)
    assert images_trained(copied / "runs") == 2 * 20 * 16


def test_a_plugin_beside_the_grid_brings_a_network_a_data_set_and_a_metric(copied: Path, difgen: Run) -> None:
    shutil.copytree(Path(__file__).parent / "plugins", copied / "plugins")
    grid = copied / "mine.yaml"
    grid.write_text(
        "base: {data: {name: stripes, held_out: 16}, model: {name: linear}, train: {batch: 8},\n"
        "       sample: {name: euler, steps: 3, count: 16}, score: [brightness]}\n"
        "axes: {train.steps: [5], model.rank: [1, 2]}\n"
    )
    sweep(difgen, grid, "--workers", "1", cluster="local")
    table = rows(copied / "runs")
    mine = table[(table["data.name"] == "stripes") & (table["kind"] == "model")]
    assert sorted(mine["model.rank"]) == [1, 2]
    assert mine["brightness"].between(0, 255).all()


def test_local_workers_give_what_inline_gives(copied: Path, difgen: Run) -> None:
    sweep(difgen, copied / "tiny.yaml", "--runs", "local", "--workers", "2", cluster="local")
    pd.testing.assert_frame_equal(rows(copied / "local"), rows(copied / "runs"))


def test_two_sweeps_of_overlapping_grids_train_nothing_twice(tmp_path: Path, write_grid: Write, difgen: Run) -> None:
    from conftest import TINY

    first = write_grid(TINY.replace("[8, 16]", "[8, 16, 32]").replace("[10, 20]", "[200, 400]"), "first.yaml")
    second = write_grid(TINY.replace("[8, 16]", "[16, 32, 64]").replace("[10, 20]", "[200, 400]"), "second.yaml")
    with ThreadPoolExecutor() as threads:
        for done in threads.map(lambda grid: difgen("sweep", grid, "--workers", "1"), (first, second)):
            assert done.returncode == 0, done.stderr
    assert images_trained(tmp_path / "runs") == 4 * 400 * 16
    assert len(attempts(tmp_path / "runs", "train.*")) == 4
    table = rows(tmp_path / "runs")
    assert (table["kind"] == "model").sum() == 8
    assert not table.duplicated(["kind", "cell"]).any()


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path, write_grid: Write, difgen: Run) -> None:
    from conftest import TINY

    grid = write_grid(TINY.replace("[10, 20]", "[3000]").replace("[8, 16]", "[8]"))
    command = [sys.executable, "-m", "difgen_cli", "sweep", str(grid), "--workers", "1"]
    often = {**os.environ, "DIFGEN_CHECKPOINT_SECONDS": "0.3"}
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=often)
    _wait_for(lambda: any(a.get("step", 0) > 0 for a in attempts(tmp_path / "runs", "train.*")), 120)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "everything so far is kept" in words
    stopped = attempts(tmp_path / "runs", "train.*")
    assert [a["state"] for a in stopped] == ["interrupted"]
    assert list((tmp_path / "runs").glob("trajectories/*/checkpoints/*.pt"))
    sweep(difgen, grid)
    assert [a["state"] for a in attempts(tmp_path / "runs", "train.*")] == ["interrupted", "done"]
    resumed_at = attempts(tmp_path / "runs", "train.*")[1]["from_step"]
    assert 0 < resumed_at < 3000
    sweep(difgen, grid, "--runs", "whole")
    pd.testing.assert_frame_equal(rows(tmp_path / "runs"), rows(tmp_path / "whole"))


def _wait_for(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_an_error_in_a_job_is_recorded_with_its_cause_and_can_be_retried(copied: Path, difgen: Run) -> None:
    plugins = copied / "plugins" / "metrics"
    plugins.mkdir(parents=True)
    broken = (
        'COLUMNS = {"odd": ("float64", "", "nothing")}\n'
        "def measure(samples):\n"
        '    """Fails."""\n'
        "    from pathlib import Path\n"
        "    if not Path('mended').exists():\n"
        "        raise ValueError('the moon is full')\n"
        "    from difgen_cli.metrics import Result\n"
        "    return Result({'odd': 1.0}, {})\n"
    )
    (plugins / "odd.py").write_text(broken)
    grid = copied / "odd.yaml"
    grid.write_text((copied / "tiny.yaml").read_text().replace("[memorization, gap]", "[memorization, gap, odd]"))
    done = difgen("sweep", grid, "--cluster", "inline")
    assert done.returncode == 1
    assert "the moon is full" in difgen("plan", grid).stdout
    assert "stale" not in done.stderr, "a metric that was never measured is new"
    again = difgen("sweep", grid, "--cluster", "inline")
    assert again.returncode == 1, "a failed unit is not tried again by itself"
    assert "--retry failed" in again.stderr
    (copied / "mended").touch()
    assert difgen("sweep", grid, "--cluster", "inline", "--retry", "failed").returncode == 0
    assert images_trained(copied / "runs") == 2 * 20 * 16


def test_only_runs_a_part_and_the_rest_stays_missing(tmp_path: Path, write_grid: Write, difgen: Run) -> None:
    grid = write_grid()
    sweep(difgen, grid, "--only", "data.size=8")
    table = rows(tmp_path / "runs")
    assert set(table["data.size"]) == {8}
    plan = json.loads(difgen("plan", grid, "--json").stdout)
    marks = {(c["settings"]["data.size"], c["mark"]) for c in plan["cells"] if c["kind"] == "model"}
    assert marks == {(8, "done"), (16, "new")}


def test_detached_workers_finish_alone(finished: Path, tmp_path: Path, write_grid: Write, difgen: Run) -> None:
    def results(folder: Path) -> set[Path]:
        return {path.relative_to(folder) for path in folder.glob("runs/*/*/results/*.json")}

    grid = write_grid()
    assert difgen("sweep", grid, "--detach").returncode == 0
    _wait_for(lambda: results(tmp_path) == results(finished), 120)
    plan = json.loads(difgen("plan", grid, "--json").stdout)
    assert {cell["mark"] for cell in plan["cells"]} == {"done"}


def test_workers_that_never_get_to_work_are_given_up_and_their_words_are_shown(copied: Path, difgen: Run) -> None:
    plugins = copied / "plugins" / "metrics"
    plugins.mkdir(parents=True)
    (plugins / "odd.py").write_text(
        'COLUMNS = {"odd": ("float64", "", "nothing")}\ndef measure(samples):\n    """Docs."""\n    return None\n'
    )
    grid = copied / "odd.yaml"
    grid.write_text((copied / "tiny.yaml").read_text().replace("[memorization, gap]", "[memorization, gap, odd]"))
    broken = copied / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise ImportError('this installation is broken')\n")
    done = difgen("sweep", grid, "--workers", "1", PYTHONPATH=str(broken), timeout=120)
    assert done.returncode == 3, done.stderr
    assert "this installation is broken" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_checkpoint_is_set_aside_and_the_run_ends_with_the_same_bits(copied: Path, difgen: Run) -> None:
    for checkpoint in (copied / "runs").glob("trajectories/*/checkpoints/*.pt"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    done = sweep(difgen, copied / "tiny.yaml", "--set", "train.steps=30")
    assert "set aside" in done.stderr
    assert images_trained(copied / "runs") == 2 * 20 * 16 + 2 * 30 * 16, "trained again from zero"
    sweep(difgen, copied / "tiny.yaml", "--set", "train.steps=30", "--runs", str(copied / "fresh"))
    mended, whole = rows(copied / "runs"), rows(copied / "fresh")
    pd.testing.assert_frame_equal(
        mended[mended["step"] == 30].reset_index(drop=True), whole[whole["step"] == 30].reset_index(drop=True)
    )
