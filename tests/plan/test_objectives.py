"""Objectives and readings in a grid: what is in a key, who is a teacher, and what is refused."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Cell, Plan, plan_table, weights_of

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]
Difgen = Callable[..., subprocess.CompletedProcess[str]]

GRID = """\
# Does an objective train?
base:
  data:   {name: digits, held_out: 900, size: 32}
  model:  {name: mlp, width: 8, depth: 1MODEL}
  train:  {batch: 16, steps: 20, flip: true}
  sample: {name: euler, steps: 4, count: 32}
  score:  [memorization]
"""


def grid(objective: str = "", model: str = "") -> str:
    return GRID.replace("MODEL", model) + (f"  objective: {{{objective}}}\n" if objective else "")


def only(plan: Plan) -> Cell:
    (cell,) = plan.models
    return cell


@pytest.mark.parametrize(
    "objective",
    [
        "name: edm",
        "target: stochastic",
        "noise_bank: null",
        "law: edm, weight: edm",
        "name: repa, alignment: 0",
        "p_std: 1.2",
    ],
)
def test_what_trains_as_before_has_the_key_that_it_always_had(
    write_grid: Write, plan_of: PlanOf, objective: str
) -> None:
    plain, same = only(plan_of(write_grid(grid()))), only(plan_of(write_grid(grid(objective), "b.yaml")))
    assert (same.run_key, same.snapshot, same.metrics) == (plain.run_key, plain.snapshot, plain.metrics)
    assert same.identity() == plain.identity()


@pytest.mark.parametrize(
    ("objective", "model"),
    [
        ("noise_bank: 1", ""), ("target: closed_form", ""), ("law: vp", ""), ("weight: noise", ""), ("name: repa", ""),
        ("name: distill, steps: 4", ""), ("", ", prediction: flow"), ("", ", unit: 1.0"), ("", ", noise_input: time"),
        ("", ", noise_input: timestep, betas: [0.1, 0.2, 0.3]"), ("", ", prediction: flow, noise_input: timestep"),
    ],
)  # fmt: skip
def test_what_trains_otherwise_has_a_key_of_its_own(
    write_grid: Write, plan_of: PlanOf, objective: str, model: str
) -> None:
    plain, other = (
        only(plan_of(write_grid(g, n))) for g, n in ((grid(), "a.yaml"), (grid(objective, model), "b.yaml"))
    )
    assert other.run_key != plain.run_key
    assert other.identity() != plain.identity()


def test_a_setting_that_a_law_does_not_read_is_in_no_key(write_grid: Write, plan_of: PlanOf) -> None:
    homes = [
        only(plan_of(write_grid(grid(o), f"{i}.yaml"))).run_key for i, o in enumerate(("law: vp", "law: vp, p_std: 3"))
    ]
    assert homes[0] == homes[1]
    assert only(plan_of(write_grid(grid("law: vp, timesteps: 50"), "c.yaml"))).run_key != homes[0]


def test_a_teacher_is_trained_once_by_edm_and_waited_for(write_grid: Write, plan_of: PlanOf) -> None:
    plan = plan_of(write_grid(grid("name: distill, steps: 4, teacher: {train.steps: 10}")))
    student = plan.trajectories[only(plan).run_key]
    trajectory, step = weights_of(student.needs["teacher"])
    teacher = plan.trajectories[trajectory.key]
    assert (step, teacher.steps, len(plan.trajectories)) == (10, (10,), 2)
    assert "objective" not in teacher.recipe.inputs


def test_rows_and_folders_say_what_the_teacher_was(write_grid: Write, plan_of: PlanOf) -> None:
    text = grid("name: distill") + "axes: {objective.teacher.train.steps: [10, 15]}\n"
    plan = plan_of(write_grid(text.replace("count: 32", "count: 32, every: 2")))
    assert [cell.settings()["objective.teacher.train.steps"] for cell in plan.models] == [10, 15]
    assert [plan.slug(cell).rpartition("-")[2] for cell in plan.models] == ["of10", "of15"]


def test_a_student_may_teach(write_grid: Write, plan_of: PlanOf) -> None:
    """Rounds of distillation are a chain that is written out."""
    first = "teacher: {objective.name: distill, objective.steps: 4}"
    plan = plan_of(write_grid(grid(f"name: distill, steps: 4, every: 4, {first}")))
    second = plan.trajectories[only(plan).run_key]
    middle = plan.trajectories[weights_of(second.needs["teacher"])[0].key]
    last = plan.trajectories[weights_of(middle.needs["teacher"])[0].key]
    assert (middle.recipe.inputs["objective"].settings["steps"], last.needs) == (4, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (grid("laws: edm"), r"objective.laws: unknown setting of objectives/edm.py .*did you mean law"),
        (grid("law: edn"), "objective.law: must be 'edm', 'vp'"),
        (grid("teacher: {train.steps: 5}"), "objective.teacher.train.steps: edm has no teacher; remove it"),
        (grid("name: distill, teacher: {sample.steps: 5}"), "objective.teacher.sample.steps: a teacher may differ in"),
        (grid("", ", noise_input: timestep"), "model.noise_input: timestep needs a schedule; set model.schedule"),
        (grid("", ", betas: [0.1, 0.2]"), "model.betas: must lie between 0 and 1, two of them with model.schedule"),
        (grid("", ", schedule: linear, betas: [0.1, 0.2, 0.3]"), "model.betas: must lie between 0 and 1"),
        (grid("", ", schedule: linear, betas: [0.1, 2]"), "model.betas: must lie between 0 and 1"),
        (grid("name: distill").replace("memorization", "gap"), "score.gap: asks the network for the mean of clean"),
        (grid("", ", prediction: x0"), "model.prediction: must be"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(write_grid: Write, plan_of: PlanOf, text: str, words: str) -> None:
    with pytest.raises(GridError, match=words):
        plan_of(write_grid(text))


def test_every_objective_trains_to_its_rows(write_grid: Write, difgen: Difgen, tmp_path: Path) -> None:
    """A noise bank, a target in closed form with mirrored images, heads, and a teacher that a worker waits for."""
    text = grid().replace("\nbase:", "\nseeds: 1\nbase:") + (
        "axes:\n  objective.name: [edm, repa, distill]\n  model.prediction: [edm, flow]\n"
        "include:\n  - {objective.noise_bank: 2}\n  - {objective.target: closed_form}\n"
    )
    run = difgen("sweep", str(write_grid(text)), "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    models = rows[rows["kind"] == "model"]
    assert len(models) == models["home"].nunique() == 8
    assert models["mem_frac"].notna().all()


def test_a_plan_names_the_teacher_whose_weights_gc_must_keep(write_grid: Write, difgen: Difgen, tmp_path: Path) -> None:
    text = grid("name: distill, steps: 4, teacher: {train.steps: 10}")
    path = str(write_grid(text.replace("count: 32", "every: 2, count: 32")))
    assert difgen("sweep", path, "--cluster", "inline").returncode == 0
    assert len(list(tmp_path.glob("runs/trajectories/*/snapshots/*"))) == 2
    (needed,) = plan_table.partners(plan_table.read(next(tmp_path.glob("runs/grids/*/plan.parquet"))))
    assert (needed["step"], needed["samples"]) == (10, None)
    assert "nothing to do" in difgen("sweep", path, "--cluster", "inline").stderr
