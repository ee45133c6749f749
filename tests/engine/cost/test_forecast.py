"""Forecasts of real plans: from nothing, from finished trajectories, and that their order changes no result."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from comparing import assert_equal_content, content

from difgen_cli import sweep
from difgen_cli.engine.cost.device import processor
from difgen_cli.engine.launch import inline, submissions
from difgen_cli.engine.launch.worker_pool import WorkerPool
from difgen_cli.engine.plan.work import Work, read
from difgen_cli.engine.store import tables

Difgen = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., Path]

GRID = """\
# Does the forecast hold?
base:
  data:      {name: digits, held_out: 900}
  model:     {name: mlp, width: 8, depth: 1}
  train:     {batch: 16}
  sample:    {name: euler, steps: 3, count: 32}
  score:     [memorization, gap]
axes:
  train.steps: [10, 20]
  data.size:   [8, 16]
"""
HERE = WorkerPool("local", 2, 1, "cpu", processor())


@pytest.fixture(scope="module")
def of_user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of these tests alone, where a network that one of them has counted is known to the next."""
    return tmp_path_factory.mktemp("user")


@pytest.fixture(autouse=True)
def cache(of_user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(of_user))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory in which the grid is done."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(GRID)
    planned = sweep.prepare(folder / "tiny.yaml", folder / "runs", {})
    sweep.record(planned)
    submission = submissions.write(planned.store, planned.folder, planned.state.work, None, "inline", 1, 1)
    assert inline.run(submission, None, lambda line: None) == "done"
    tables.fold(planned.store)
    return folder / "runs"


@pytest.fixture
def swept(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, beside the grid."""
    shutil.copytree(finished, tmp_path / "runs")
    return tmp_path / "runs"


def to_do(difgen: Difgen, *arguments: str | Path) -> dict[str, Any]:
    done = difgen("plan", *arguments, "--cluster", "local", "--workers", "2", "--json", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)["to_do"]
    return said | {"parts": {p["name"]: p for p in said["parts"]}}


def test_where_nothing_was_trained_it_is_a_guess_from_flops(write_grid: Write, difgen: Difgen):
    found = to_do(difgen, write_grid(GRID))
    training = found["parts"]["training"]
    assert training["how"] == "guess"
    assert training["seconds_hi"] / training["seconds_lo"] >= 4
    assert found["parts"]["gap"]["seconds"] is None, "of a metric that never ran nothing is known"
    assert (found["workers"], found["parts"]["memorization"]["units"]) == (2, 10)


def test_what_is_done_costs_nothing_and_what_is_like_it_is_measured(swept: Path, write_grid: Write, difgen: Difgen):
    assert to_do(difgen, write_grid(GRID))["parts"] == {}
    more = to_do(difgen, write_grid(GRID), "--set", "train.seed=1")
    assert {name: p["how"] for name, p in more["parts"].items() if name != "start-up"} == dict.fromkeys(
        ("training", "sampling", "gap", "memorization"), "measured"
    )
    assert more["longest_unit"]["seconds"] <= more["wall"]["seconds"] <= more["total"]["seconds"]


def test_another_width_is_scaled_from_the_nearest(swept: Path, write_grid: Write, difgen: Difgen):
    wide = to_do(difgen, write_grid(GRID), "--set", "model.width=512")["parts"]["training"]
    narrow = to_do(difgen, write_grid(GRID), "--set", "model.width=16")["parts"]["training"]
    assert (wide["how"], wide["from"]) == ("scaled", "mlp width 8")
    assert wide["seconds"] > narrow["seconds"]
    assert wide["seconds_hi"] / wide["seconds_lo"] > narrow["seconds_hi"] / narrow["seconds_lo"]


def test_longer_trainings_cost_in_proportion_and_go_on_from_their_checkpoint(
    swept: Path, write_grid: Write, difgen: Difgen
):
    anew = to_do(difgen, write_grid(GRID), "--set", "train.steps=20020", "--set", "train.seed=1")
    longer = to_do(difgen, write_grid(GRID), "--set", "train.steps=20020")
    shorter = to_do(difgen, write_grid(GRID), "--set", "train.steps=10020")
    parts = [found["parts"]["training"]["seconds"] for found in (anew, longer, shorter)]
    rate = (parts[0] - parts[1]) / 20  # of the 20 steps that are there
    assert parts[1] - parts[2] == pytest.approx(10_000 * rate, rel=0.05)


def test_a_network_that_cannot_be_counted_changes_nothing_but_the_doubt(
    swept: Path, write_grid: Write, difgen: Difgen, tmp_path: Path
):
    (tmp_path / "plugins" / "models").mkdir(parents=True)
    (tmp_path / "plugins" / "models" / "odd.py").write_text(
        "def build(shape, classes, *, width: int = 1):\n    raise OSError('no network today')\n"
    )
    grid = write_grid(GRID.replace("name: mlp, width: 8, depth: 1", "name: odd"), "odd.yaml")
    found = to_do(difgen, grid)["parts"]["training"]
    assert found["how"] == "scaled"
    assert found["seconds_hi"] / found["seconds_lo"] > 16


def test_units_carry_seconds_and_ranks_and_come_in_that_order(swept: Path, write_grid: Write):
    grid = write_grid(GRID.replace("[8, 16]", "[8, 16]\n  model.width: [8, 64, 512]"), "more.yaml")
    planned = sweep.prepare(grid, swept, {})
    work = Work.load(sweep.foresee(planned, HERE).work.dump())
    assert all(unit.seconds for unit in work.units)
    assert [u.rank for u in work.units] == sorted((u.rank for u in work.units), reverse=True)
    places = {(u.run_key, u.unit): k for k, u in enumerate(work.units)}
    for scoring in work.scorings:
        if scoring.weights:
            assert places[scoring.run_key, "train"] < places[scoring.run_key, scoring.unit]


def test_what_others_begin_with_comes_before_them(write_grid: Write, tmp_path: Path):
    guided = GRID.replace("  score:", "  guide:     {auto: {weak: {model.width: 4}}}\n  score:")
    grid = write_grid(guided, "guided.yaml")
    planned = sweep.prepare(grid, tmp_path / "runs", {})
    work = sweep.foresee(planned, HERE).work
    ranks = {t.run_key: t.rank for t in work.trainings}
    pairs = [(ranks[other.run_key], scoring.rank) for scoring in work.scorings for other in scoring.partners.values()]
    assert len(pairs) == 4
    assert all(weak > guided for weak, guided in pairs)


def test_on_a_device_of_which_nothing_is_known_wide_networks_come_first_and_no_time_is_said(
    write_grid: Write, tmp_path: Path
):
    grid = write_grid(GRID + "  model.width: [8, 512, 64]\n", "wide.yaml")
    found = sweep.foresee(sweep.prepare(grid, tmp_path / "runs", {}), WorkerPool("slurm", 2, 1, "cpu", None))
    assert (found.wall.how, found.work.units[0].seconds) == ("unknown", None)
    slugs = [unit.slug for unit in found.work.units if unit.unit == "train"]
    assert [slug.partition("width")[2].partition("-")[0] for slug in slugs] == ["512"] * 2 + ["64"] * 2 + ["8"] * 2


def test_the_order_of_units_changes_no_result(swept: Path, write_grid: Write, tmp_path: Path):
    calm = content(swept)
    for seed in range(2):
        draw = random.Random(seed)
        planned = sweep.prepare(write_grid(GRID), tmp_path / f"runs{seed}", {})
        sweep.record(planned)
        todo = planned.state.work
        shuffled = replace(todo, trainings=[replace(t, rank=draw.random()) for t in todo.trainings],
                           scorings=[replace(s, rank=draw.random()) for s in todo.scorings])  # fmt: skip
        assert shuffled.units != todo.units
        submission = submissions.write(planned.store, planned.folder, shuffled, None, "inline", 1, 1)
        assert inline.run(submission, None, lambda line: None) == "done"
        assert_equal_content(tmp_path / f"runs{seed}", calm)


def test_a_sweep_says_what_it_expects_and_then_what_it_took(write_grid: Write, difgen: Difgen, tmp_path: Path):
    done = difgen("sweep", write_grid(GRID), "--cluster", "inline")
    assert "to do: about " in done.stderr
    assert "took " in done.stderr
    assert "workers' time (expected): training " in done.stderr
    [work] = (tmp_path / "runs").glob("grids/*/submissions/1/work.json")
    assert all(unit.seconds is not None for unit in read(work).trainings)


def test_plan_says_how_long_and_how_sure(swept: Path, write_grid: Write, difgen: Difgen):
    said = difgen("plan", write_grid(GRID), "--set", "model.width=16", "--workers", "3", "--cluster", "local").stdout
    assert "on 3 workers" in said
    assert "scaled from mlp width 8" in said
    narrow = difgen("plan", write_grid(GRID), "--set", "model.width=16", "--cluster", "local", COLUMNS="60").stdout
    [heading] = [line for line in narrow.splitlines() if line.startswith("to do")]
    assert heading.split() == ["to", "do", "units", "expected", "95", "%", "how"]
