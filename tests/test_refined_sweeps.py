"""Sweeps of a grid that refines: a planted response whose crossing is known, really trained and scored.

The metric is a plug-in whose share falls with the number of training images, and crosses 0.5 at 20 of them.
"""

from __future__ import annotations

import io
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import difgen_cli
from difgen_cli import sweep
from difgen_cli.cli.plan import content, print_brief
from difgen_cli.engine import status
from difgen_cli.engine.launch import submissions
from difgen_cli.engine.plan import rounds
from difgen_cli.engine.store.attempts import Claimant
from difgen_cli.engine.worker import work_on
from difgen_cli.engine.worker.submission_spec import StopFlag, SubmissionSpec
from difgen_cli.report.study import loading
from difgen_cli.sweep import Options, Planned

GRID = """\
# At how many images is half of it gone?
base:
  data:   {name: digits, held_out: 900}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 8, steps: 2}
  sample: {name: euler, steps: 1, count: 4}
  score:  [planted]
axes:
  data.size: [4, 6, 8, 11, 16, 23, 32, 45, 64]
refine: {axis: data.size, metric: planted, level: 0.5, first: 3}
seeds: 2
"""
PLANTED = '''\
"""A share that falls with the number of training images, as it was planted."""

from difgen_cli.metrics import Result, wilson

VERSION = 1
KINDS = ("model",)
COLUMNS = {
    "planted": ("float64", "share", "the planted share"),
    "planted_lo": ("float64", "share", "lower end of its interval"),
    "planted_hi": ("float64", "share", "upper end of its interval"),
}


def measure(samples, train) -> Result:
    share = 1 / (1 + (len(train) / 20) ** 6)
    low, high = wilson(share * 1000, 1000)
    return Result({"planted": share, "planted_lo": low, "planted_hi": high})
'''
NEEDED = {4, 16, 64, 32, 23}  # 16 is above and 64 below; 32 is below, then 23 is: 16 and 23 are neighbours


@pytest.fixture
def grid(write_grid: Callable[..., Path], tmp_path: Path) -> Path:
    plugins = tmp_path / "plugins" / "metrics"
    plugins.mkdir(parents=True)
    (plugins / "planted.py").write_text(PLANTED, encoding="utf-8")
    return write_grid(GRID, "planted.yaml")


def _prepared(grid: Path, *only: str) -> Planned:
    return sweep.prepare(grid, grid.parent / "runs", {}, only)


def _swept(grid: Path, *only: str) -> Planned:
    console = Console(file=io.StringIO())
    assert sweep.run(_prepared(grid, *only), Options("inline"), console) == "done"
    return _prepared(grid)


def _sizes(planned: Planned, mark: str) -> set[int]:
    """The sizes of which every model has a mark."""
    marks: dict[int, set[str]] = {}
    for cell, own in zip(planned.plan.cells, planned.state.marks, strict=True):
        marks.setdefault(cell.settings()["data.size"], set()).add(own)
    return {size for size, every in marks.items() if every == {mark}}


def _trained(planned: Planned) -> set[int]:
    """The sizes of the trajectories that have weights: what really ran, whatever plans say."""
    folders = planned.store.root.glob("trajectories/*/snapshots/*.safetensors")
    slugs = {file.parents[1].name.rpartition("-")[0] for file in folders}
    return {int(t.settings["data.size"]) for t in planned.plan.trajectories.values() if t.slug in slugs}


def _text(planned: Planned) -> str:
    console = Console(file=io.StringIO(), width=300)
    print_brief(planned, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_sweep_runs_what_the_rule_asks_for_and_all_commands_know_the_rest_as_not_needed(grid: Path) -> None:
    before = _prepared(grid)
    assert _sizes(before, "new") == {4, 16, 64}
    assert _sizes(before, "not needed") == {6, 8, 11, 23, 32, 45}
    assert "1 curve: at least 6 and at most 14 of 18 trainings are needed" in _text(before)
    assert "no round is finished yet" in _text(before)

    after = _swept(grid)
    assert _sizes(after, "done") == _trained(after) == NEEDED
    assert _sizes(after, "not needed") == {6, 8, 11, 45}
    assert not after.state.work
    assert "10 of 18 trainings are needed" in _text(after)
    assert "above 0.5 up to 16, below 0.5 from 23 on: neighbours on the axis bracket it" in _text(after)
    marks = {c["axes"]["data.size"]: c["mark"] for c in content(after, sweep.foresee(after, _pool(after)))["cells"]}
    assert marks[8] == "not needed"

    table = after.folder / "decisions.parquet"
    decisions = pd.read_parquet(table)
    table.unlink()
    rounds.write_decisions(after.folder, rounds.read(after.folder, after.store))  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(pd.read_parquet(table), decisions)  # it is derived: from the store alone
    assert [list(values) for values in decisions["values"]] == [[4, 16, 64], [32], [23]]
    assert [list(values) for values in decisions["next"]] == [[32], [23], []]
    assert decisions["why"].tolist()[0] == "above 0.5 up to 16, below 0.5 from 64 on: 32 next"
    assert list(decisions["above"].iloc[-1]) == [4, 16]
    assert list(decisions["below"].iloc[-1]) == [23, 32, 64]

    states = status.look(after.store, status.reconciler(after.store, writes=False)).counts
    assert states == {"done": 10, "not needed": 8}
    study = loading.gather(after.store)[0]
    rows = study.rows[study.rows["kind"] == "model"]
    assert rows["state"].value_counts().to_dict() == {"done": 10, "not needed": 8}
    assert set(rows.loc[rows["state"] == "not needed", "cause"]) == {decisions["why"].iloc[-1]}
    assert set(study.curves.last["data.size"].astype(int)) == NEEDED  # no empty lines for what nobody misses
    exported = difgen_cli.open(after.store.root).rows()
    assert exported["state"].value_counts().to_dict() == {"done": 10, "not needed": 8}
    _assert_the_dense_grid_trains_the_rest_alone(grid)


def _pool(planned: Planned) -> Any:
    return sweep.pool_of(planned, Options("inline"))


def _assert_the_dense_grid_trains_the_rest_alone(grid: Path) -> None:
    dense = grid.with_name("dense.yaml")
    dense.write_text("\n".join(line for line in GRID.splitlines() if not line.startswith("refine")), encoding="utf-8")
    planned = _prepared(dense)
    assert planned.state.rounds is None
    assert {t.settings["data.size"] for t in planned.plan.trajectories.values()} - NEEDED == {6, 8, 11, 45}
    assert len(planned.state.work.trainings) == 8
    _swept(dense)
    assert set(_prepared(grid).state.marks) == {"done"}  # what is there is shown, needed or not


def test_reference_rows_go_with_the_value_whose_images_they_show(grid: Path) -> None:
    text = GRID.replace("[planted]", "[memorization]").replace("metric: planted", "metric: mem_frac")
    grid.write_text(text, encoding="utf-8")
    planned = _prepared(grid)
    assert {cell.kind for cell in planned.plan.cells} == {"model", "heldout", "copycat", "ideal"}
    assert _sizes(planned, "new") == {4, 16, 64}  # of every kind
    assert _sizes(planned, "not needed") == {6, 8, 11, 23, 32, 45}


def test_a_part_of_the_first_round_decides_nothing(grid: Path) -> None:
    half = _swept(grid, "seed=0")
    assert _trained(half) == {4, 16, 64}
    assert half.state.rounds is not None
    assert half.state.rounds.courses[0].rounds == ()
    assert _sizes(_swept(grid), "done") == NEEDED


def test_a_failed_seed_ends_its_round_and_a_retry_goes_on_from_there(grid: Path) -> None:
    """Of two seeds one failed at 16 images: that value is undecided, and is bracketed from both sides."""
    planned = _prepared(grid)
    cell = next(c for c in planned.plan.models if c.settings()["data.size"] == 16 and c.seed == 1)
    attempt = planned.store.run_folder(cell.run_key, planned.plan.slug(cell)).claim("train", Claimant())
    assert attempt is not None
    attempt.end("failed", cause="by the test")
    console = Console(file=io.StringIO())
    assert sweep.run(_prepared(grid), Options("inline"), console) == "done"
    after = _prepared(grid)
    assert _sizes(after, "done") == {4, 8, 11, 64, 32, 23}
    assert after.state.counts["failed"] > 0
    assert "undecided at 16: neighbours on the axis bracket it" in _text(after)

    again = sweep.retry_failed(after, release=True)
    assert sweep.run(again, Options("inline", anew=True), console) == "done"
    assert _sizes(_prepared(grid), "done") == NEEDED | {8, 11}
    assert _prepared(grid).state.rounds.courses[0].asked == {0, 4, 8, 6, 5}  # type: ignore[union-attr]


def test_curves_are_refined_each_on_its_own_and_a_training_runs_where_any_needs_it(grid: Path) -> None:
    """Snapshots of one training are curves: a plug-in crosses later where there were more steps."""
    plugin = grid.parent / "plugins" / "metrics" / "planted.py"
    text = (
        plugin.read_text().replace("(samples, train)", "(samples, train, *, at: float = 20.0)").replace("/ 20", "/ at")
    )
    plugin.write_text(text, encoding="utf-8")
    text = GRID.replace("score:  [planted]", "score:  {planted: {}}").replace(", steps: 2}\n  sample", "}\n  sample")
    text = text.replace("axes:\n", "axes:\n  train.steps: [1, 2]\n  score.planted.at: [7, 28]\n")
    grid.write_text(text, encoding="utf-8")
    before = _prepared(grid)
    assert before.state.rounds is not None
    assert len(before.state.rounds.courses) == 4
    assert before.state.rounds.trainings() == (6, 18, 18)  # 4 curves share each training
    after = _swept(grid)
    assert after.state.rounds is not None
    crossing = {
        (curve.settings["train.steps"], curve.settings["score.planted.at"]): {curve.values[p] for p in course.asked}
        for curve, course in zip(after.state.rounds.refinement.curves, after.state.rounds.courses, strict=True)
    }
    assert crossing == {(s, a): {4, 16, 64} | more for s in (1, 2) for a, more in ((7, {8, 6}), (28, {32, 23}))}
    assert _trained(after) == {4, 6, 8, 16, 23, 32, 64}
    assert after.state.rounds.trainings() == (14, 14, 18)


def test_cells_of_include_always_run(grid: Path) -> None:
    grid.write_text(GRID + "include: [{data.size: 45, model.width: 16}]\n", encoding="utf-8")
    after = _swept(grid)
    assert _trained(after) == NEEDED | {45}
    assert after.state.counts["new"] == 0
    assert after.state.rounds is not None
    assert len(after.state.rounds.courses) == 1  # they are no curve of their own


def _work(folder: str, number: int) -> None:
    os._exit({"done": 0}.get(work_on(SubmissionSpec.read(Path(folder)), number, "cpu", StopFlag(), str), 1))


def test_two_sweeps_at_once_run_the_same_values_each_once(grid: Path) -> None:
    planned = _prepared(grid)
    sweep.record(planned)
    work = planned.state.work
    both = [
        submissions.write(planned.store, planned.folder, work, planned.plugins, "local", 1, 1) for _ in range(2)
    ]  # fmt: skip
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(str(one.folder), k)) for one in both for k in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    after = _prepared(grid)
    assert _sizes(after, "done") == _trained(after) == NEEDED
    attempts = [*planned.store.root.glob("trajectories/*/attempts/train.*.json")]
    assert len(attempts) == len({path.parents[1] for path in attempts}) == 10  # of each training one attempt
    units = [record["units"] for one in both for record in one.worker_records()]
    assert sum(units) == len(attempts) + len([*planned.store.root.glob("*/*/attempts/score-*.json")])
