"""Images to be unlearnt in a grid: what is in a key, what is retrained, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Cell, Plan, weights_of

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]

GRID = """\
# Does unlearning unlearn?
base:
  data:   {name: digits, held_out: 900, size: 32DATA}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 20}
  sample: {name: euler, steps: 4, count: 32}
  score:  [memorization]
"""


def grid(data: str = "", objective: str = "", score: str = "memorization") -> str:
    text = GRID.replace("DATA", data).replace("memorization", score)
    return text + (f"  objective: {{{objective}}}\n" if objective else "")


def only(plan: Plan) -> Cell:
    (cell,) = plan.models
    return cell


def test_a_model_that_saw_all_images_is_the_same_whichever_are_to_be_unlearnt(
    write_grid: Write, plan_of: PlanOf
) -> None:
    cells = [
        only(plan_of(write_grid(grid(d), f"{i}.yaml"))) for i, d in enumerate(("", ", unlearn: 8", ", unlearn: 9"))
    ]
    assert len({(c.run_key, c.snapshot, c.samples, *c.metrics.values()) for c in cells}) == 1
    assert cells[0].identity() != cells[1].identity()


def test_which_images_are_to_be_unlearnt_is_in_the_key_of_what_measures_them(
    write_grid: Write, plan_of: PlanOf
) -> None:
    cells = [
        only(plan_of(write_grid(grid(f", unlearn: {n}", "", "unlearning"), f"{i}.yaml")))
        for i, n in enumerate((8, 9, 0.25))
    ]
    keys = [cell.metrics["unlearning"] for cell in cells]
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize("objective", ["name: unlearn", "name: unlearn, method: erase"])
def test_what_unlearns_has_the_images_in_its_key(write_grid: Write, plan_of: PlanOf, objective: str) -> None:
    homes = [
        only(plan_of(write_grid(grid(f", unlearn: {n}", objective), f"{i}.yaml"))).run_key
        for i, n in enumerate((8, 9, 0.25, 0.26))
    ]
    assert homes[0] == homes[2] == homes[3]  # a share is the number of images that it is
    assert homes[0] != homes[1]


def test_only_the_method_that_asks_a_teacher_has_one(write_grid: Write, plan_of: PlanOf) -> None:
    for method, teachers in (("neggrad", 0), ("erase", 1)):
        plan = plan_of(write_grid(grid(", unlearn: 8", f"name: unlearn, method: {method}"), f"{method}.yaml"))
        assert len(plan.trajectories) == 1 + teachers
        assert len(plan.trajectories[only(plan).run_key].needs) == teachers


def test_a_retrained_model_is_another_one_and_is_compared_with_the_same_images(
    write_grid: Write, plan_of: PlanOf
) -> None:
    text = grid(", unlearn: 8").replace("memorization", "memorization, unlearning")
    all_seen, retrained = plan_of(write_grid(text + "axes:\n  data.retrain: [false, true]\n")).models
    assert all_seen.run_key != retrained.run_key
    assert "without8" in plan_of(write_grid(grid(", unlearn: 8, retrain: true"))).slug(retrained)
    for name in ("memorization", "unlearning"):
        assert all_seen.scoring[name].operation.text == retrained.scoring[name].operation.text
    assert all_seen.scoring["unlearning"].unlearn is not None
    assert retrained.scoring["unlearning"].unlearn is not None
    assert all_seen.scoring["unlearning"].unlearn.key == retrained.scoring["unlearning"].unlearn.key


def test_what_unlearns_begins_with_the_model_that_saw_all(write_grid: Write, plan_of: PlanOf) -> None:
    """By a start as by a fork, and that is the model of a grid which says nothing of unlearning."""
    plain = only(plan_of(write_grid(grid()))).run_key
    started = grid(", unlearn: 8", "name: unlearn").replace("steps: 20", "steps: 5, start: {train.steps: 20}")
    plan = plan_of(write_grid(started, "start.yaml"))
    assert weights_of(plan.trajectories[only(plan).run_key].needs["start"])[0].key == plain
    forked = grid(", unlearn: 8") + "fork:\n  at: 10\n  change: [{}, {objective.name: unlearn}]\n"
    trunk, unlearns = plan_of(write_grid(forked, "fork.yaml")).models
    assert trunk.run_key == plain != unlearns.run_key
    assert unlearns.settings()["objective.name"] == "unlearn"


def test_a_model_trained_on_without_images_is_not_the_one_that_never_saw_them(
    write_grid: Write, plan_of: PlanOf
) -> None:
    start = "steps: 5, start: {train.steps: 20, data.retrain: SAW}"
    text = grid(", unlearn: 8, retrain: true").replace("steps: 20", start)
    cells = [plan_of(write_grid(text.replace("SAW", saw), f"{saw}.yaml")) for saw in ("false", "true")]
    starts = [weights_of(plan.trajectories[only(plan).run_key].needs["start"])[0] for plan in cells]
    assert ["unlearn" in start.inputs["subset"].inputs for start in starts] == [False, True]
    assert only(cells[0]).run_key != only(cells[1]).run_key


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (grid(", unlearn: 32"), "data.unlearn: 32 is 32 of the 32 training images: choose at least 1 and at most 31"),
        (grid(", unlearn: -1"), "data.unlearn: must be|data.unlearn: input should be"),
        (grid(", unlearn: 2.5"), "data.unlearn: 2.5 is neither a share below 1 nor a whole number"),
        (grid(", retrain: true"), "data.retrain: trains without the images of data.unlearn, which names none"),
        (grid("", "name: unlearn"), "objective.name: unlearn needs images to unlearn; set data.unlearn"),
        (grid(", unlearn: 8, retrain: true", "name: unlearn"), "data.retrain: these weights never see the images"),
        (grid("", "", "unlearning"), "score.unlearning: compares images to be unlearnt with the others"),
        (grid(", unlearn: 8", "name: unlearn, teacher: {train.steps: 5}"), "unlearn has no teacher; remove it"),
    ],
)  # fmt: skip
def test_what_cannot_be_unlearnt_is_one_sentence(write_grid: Write, plan_of: PlanOf, text: str, words: str) -> None:
    with pytest.raises(GridError, match=words):
        plan_of(write_grid(text))
