"""Canaries in a grid: what is in a key, what is refused, and what is said before any training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Cell, Plan
from difgen_cli.engine.plan.recipes import measured

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]

GRID = """\
# How much does a training show of who was planted?
base:
  data:   {name: digits, held_out: 300, size: 400DATA}
  condition: {name: labels}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 20}
  sample: {name: euler, steps: 4, count: 32}
  score:  [memorization]
"""
CANARIES = ", canaries: {count: 8, repeats: [1, 4]OWN}"


def grid(own: str = "", data: str = "") -> str:
    return GRID.replace("DATA", CANARIES.replace("OWN", own) + data)


@pytest.fixture
def cell(write_grid: Write, plan_of: PlanOf) -> Callable[[str], tuple[Plan, Cell]]:
    def planned(text: str) -> tuple[Plan, Cell]:
        plan = plan_of(write_grid(text))
        return plan, plan.models[0]

    return planned


def test_none_is_the_key_of_always(cell: Callable[[str], tuple[Plan, Cell]]) -> None:
    keys = {
        cell(GRID.replace("DATA", own))[1].run_key
        for own in ("", ", canaries: {count: 0}", ", canaries: {count: 0, kind: noise, repeats: [3], seed: 4}")
    }
    assert len(keys) == 1
    assert cell(grid())[1].run_key not in keys
    assert cell(GRID.replace("DATA", ""))[1].identity() == cell(GRID.replace("DATA", ", canaries: {}"))[1].identity()


def test_every_setting_is_in_the_key_of_the_training(cell: Callable[[str], tuple[Plan, Cell]]) -> None:
    texts = [grid(), grid(", kind: noise"), grid(", kind: mislabelled"), grid(", kind: sparse"), grid(", seed: 1"),
             grid().replace("[1, 4]", "[1, 5]"), grid().replace("count: 8", "count: 9"),
             grid(data=", seed: 1")]  # fmt: skip
    keys = [cell(text)[1].run_key for text in texts]
    assert len(set(keys)) == len(keys)


def test_kinds_share_the_images_that_metrics_see(cell: Callable[[str], tuple[Plan, Cell]]) -> None:
    """T and H, and with them feature spaces and references: of the three kinds that take the same images."""

    def subset(own: str) -> tuple[str, str]:
        plan, planned = cell(grid(own))
        of = plan.recipes[planned.run_key].inputs["subset"]
        assert of.name == "planted"
        return measured(of).key, of.inputs["holdout"].key

    plain = subset("")
    assert subset(", kind: noise") == subset(", kind: mislabelled") == plain
    assert subset(", kind: sparse") != plain
    assert subset(", seed: 1") != plain
    repeats = cell(grid().replace("[1, 4]", "[2, 3]"))
    assert measured(repeats[0].recipes[repeats[1].run_key].inputs["subset"]).key == plain[0]


def test_coins_are_thrown_by_the_seed_of_the_data(write_grid: Write, plan_of: PlanOf) -> None:
    plan = plan_of(write_grid(grid() + "seeds: 2\n"))
    one, other = (plan.recipes[c.run_key].inputs["subset"] for c in plan.models)
    assert one.key != other.key
    assert one.inputs["holdout"].key == other.inputs["holdout"].key
    assert [r.inputs["subset"].settings.get("seed", 0) for r in (one, other)] == [0, 1]


def test_they_can_be_an_axis_and_rows_and_folders_say_them(write_grid: Write, plan_of: PlanOf) -> None:
    axes = "axes: {data.canaries.kind: [held_out, noise], data.canaries.repeats: [[1, 4], [2]]}\n"
    plan = plan_of(write_grid(grid() + axes))
    assert len({c.run_key for c in plan.models}) == 4
    settings = [c.settings() for c in plan.models]
    assert {(s["data.canaries.kind"], s["data.canaries.repeats"]) for s in settings} == {
        (kind, repeats) for kind in ("held_out", "noise") for repeats in ((1, 4), (2,))
    }
    assert {s["data.size"] for s in settings} == {400}
    assert plan.slug(plan.models[0]).startswith("digits-n400-8held_outx1x4-")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (grid(data=", half: A"), "data.half: both halves would plant the same images"),
        (grid(data=", unlearn: 4"), "data.unlearn: what is to be unlearnt is part of a training set without canaries"),
        (grid().replace("[1, 4]", "[4, 1]"), r"data.canaries.repeats: \[4, 1\] are not different numbers in ascending"),
        (grid().replace("count: 8", "count: 800"), "data.canaries.count: 1600 canaries of all levels leave none of"),
        (grid().replace("count: 8", "count: 600"), "400 images are more than the 297 beside 1200 canaries that 1797"),
        (grid(", kind: mislabelled").replace("{name: labels}", "{name: none}"), "mislabelled needs a condition, and"),
        (grid(", kind: wrong"), "data.canaries.kind: must be 'held_out', 'noise', 'mislabelled' or 'sparse'"),
        (grid(", cound: 4"), r"data.canaries.cound: unknown setting of data/digits.py .*did you mean canaries.count"),
        (grid().replace("[1, 4]", "[0, 4]"), "data.canaries.repeats: must be greater than 0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_while_planning(
    write_grid: Write, plan_of: PlanOf, text: str, words: str
) -> None:
    with pytest.raises(GridError, match=words):
        plan_of(write_grid(text))


def test_weights_that_somebody_else_trained_have_none(write_grid: Write, plan_of: PlanOf) -> None:
    text = grid().replace("{name: mlp, width: 8, depth: 1}", "{name: given, path: own.pt}")
    with pytest.raises(GridError, match=r"data.canaries: given is not trained here, so that no coin planted any"):
        plan_of(write_grid(text))


def test_a_start_may_not_have_seen_them(write_grid: Write, plan_of: PlanOf) -> None:
    text = grid().replace("steps: 20", "steps: 20, start: {data.canaries.count: 0, train.steps: 5}")
    with pytest.raises(GridError, match=r"train.start.data.canaries.count: the weights that training begins with have"):
        plan_of(write_grid(text))


def notes(plan: Plan) -> list[str]:
    return [note for note in plan.warnings if note.startswith(("data.canaries", "score.canaries"))]


def test_more_than_a_small_part_of_the_training_set_is_said(write_grid: Write, plan_of: PlanOf) -> None:
    """8 canaries of 1 and 8 of 4 rows, half of them planted: 20 rows, 5 % of 400; of 1,000 they are 2 %."""
    (sentence,) = notes(plan_of(write_grid(grid())))
    assert (
        "16 canaries are expected to add 20 rows to 400 training images, 5%; above 2% the model that is audited"
        in sentence
    )
    assert not notes(plan_of(write_grid(grid().replace("size: 400", "size: 1000"))))
    assert notes(plan_of(write_grid(grid().replace("size: 400", "size: 999"))))


def test_what_they_can_show_is_said_before_any_training(write_grid: Write, plan_of: PlanOf) -> None:
    scored = grid().replace("[memorization]", "{canaries: {guesses: 6}}").replace("size: 400", "size: 1000")
    (sentence,) = notes(plan_of(write_grid(scored)))
    assert sentence == (
        "score.canaries: 6 guesses among 8 canaries can show an epsilon of 0.43 at most for the rows of one, in each "
        "training, and 0.16 as the largest of 2 numbers of repeats; 4 of them are expected never to be planted, and a "
        "true-positive rate at 1 % has no value below 100"
    )
    enough = scored.replace("count: 8, repeats: [1, 4]", "count: 200, repeats: [1]")
    (sentence,) = [note for note in notes(plan_of(write_grid(enough))) if note.startswith("score")]
    assert sentence.endswith("in each training")
    without = GRID.replace("DATA", "").replace("[memorization]", "[canaries]")
    (sentence,) = notes(plan_of(write_grid(without)))
    assert sentence == "score.canaries: has no values: it needs canaries; set data.canaries.count"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("", "score.canaries.guesses: 9 are more than the 8 canaries of each number of repeats; use at most 8"),
        ("axes: {score.canaries.guesses: [4, 6]}\n", "score.canaries.guesses: 4, 6, 9 are 3 values, and the best"),
    ],
)
def test_a_second_choice_of_guesses_is_refused(write_grid: Write, plan_of: PlanOf, more: str, words: str) -> None:
    text = grid().replace("[memorization]", "{canaries: {guesses: 9}}") + more
    with pytest.raises(GridError, match=words):
        plan_of(write_grid(text))
