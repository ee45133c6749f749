"""Coins in a grid: what is in a key, what is refused, and what is said before any training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]

GRID = """\
# How much does a training show of who was in it?
base:
  data:   {name: digits, held_out: 900DATA}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 20}
  sample: {name: euler, steps: 4, count: 32}
  score:  [memorization]
"""


def run_key(plan: Plan) -> str:
    (cell,) = plan.models
    return cell.run_key


@pytest.fixture
def key(write_grid: Write, plan_of: PlanOf) -> Callable[[str], str]:
    return lambda data: run_key(plan_of(write_grid(GRID.replace("DATA", data))))


def test_a_sample_has_the_key_of_always_and_coins_one_of_their_own(key: Callable[[str], str]) -> None:
    assert key(", size: 448") == key(", size: 448, draw: sample") != key(", size: 448, draw: coin")
    assert key("") == key(", draw: sample")
    assert key(", size: 300, draw: coin") != key(", size: 301, draw: coin")


def test_half_of_the_pool_is_one_key_however_it_is_asked_for(key: Callable[[str], str]) -> None:
    """897 images are not held out: 448 and 449 are their half to the nearest whole number."""
    assert key(", draw: coin") == key(", size: 448, draw: coin") == key(", size: 449, draw: coin")
    assert key(", size: 447, draw: coin") != key(", draw: coin")


def test_a_row_has_the_expected_number_and_its_folder_says_coins(write_grid: Write, plan_of: PlanOf) -> None:
    plan = plan_of(write_grid(GRID.replace("DATA", ", draw: coin")))
    assert plan.models[0].settings()["data.size"] == 448
    assert plan.slug(plan.models[0]).startswith("digits-n448-coins-")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (", draw: coin, half: A", "data.half: half A of the pool is chosen by its number"),
        (", draw: coin, unlearn: 4", "data.unlearn: is part of a training subset of a known number"),
        (", draw: coin, size: 897", "data.size: by data.draw: coin 897 of 897 images leave nothing to chance"),
        (", draw: coin, size: 898", "data.size: 898 images are more than the 897"),
    ],
)
def test_what_makes_no_sense_is_refused_while_planning(
    write_grid: Write, plan_of: PlanOf, data: str, words: str
) -> None:
    with pytest.raises(GridError, match=words):
        plan_of(write_grid(GRID.replace("DATA", data)))


def test_weights_that_somebody_else_trained_know_no_coins(write_grid: Write, plan_of: PlanOf) -> None:
    text = GRID.replace("DATA", ", draw: coin").replace(
        "{name: mlp, width: 8, depth: 1}", "{name: given, path: own.pt}"
    )
    with pytest.raises(GridError, match=r"data.draw: given is not trained here, so that no coin decided"):
        plan_of(write_grid(text))


def test_what_one_training_can_show_is_said_before_it(write_grid: Write, plan_of: PlanOf) -> None:
    plan = plan_of(write_grid(GRID.replace("DATA", ", draw: coin").replace("memorization", "one_run") + "seeds: 3\n"))
    (sentence,) = [note for note in plan.warnings if note.startswith("score.one_run")]
    assert sentence == (
        "score.one_run: 179 guesses among 897 images can show an epsilon of 4.08 at most, in each training"
    )
    for data in ("", ", size: 448", ", draw: coin, size: 300"):
        plan = plan_of(write_grid(GRID.replace("DATA", data).replace("memorization", "one_run"), "other.yaml"))
        assert any("one_run: has no values" in note for note in plan.warnings)


ONE_RUN = GRID.replace("DATA", ", draw: coin").replace("[memorization]", "{one_run: {guesses: 100}}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ONE_RUN.replace("100", "898"), "score.one_run.guesses: 898 are more than the 897 images"),
        (ONE_RUN + "axes: {score.one_run.guesses: [50, 100]}\n", "score.one_run.guesses: 100, 50 are 2 values, and"),
        (
            ONE_RUN + "axes: {score.one_run.images: [400, 800]}\n",
            r"score.one_run.images: 400, 800 are 2 values, and the best result of them would be no bound",
        ),
        (ONE_RUN + "  condition: {name: unique}\n", "condition.name: unique is given who is trained on"),
        (ONE_RUN + "  condition: {name: labels, permuted: true}\n", "condition.permuted: permutes the labels of who"),
        (ONE_RUN + "  objective: {name: distill}\n", "score.one_run: asks the network for the mean"),
    ],
)
def test_what_would_be_no_bound_is_refused_while_planning(
    write_grid: Write, plan_of: PlanOf, text: str, words: str
) -> None:
    with pytest.raises(GridError, match=words):
        plan_of(write_grid(text))


def test_labels_that_know_no_coin_are_planned(write_grid: Write, plan_of: PlanOf) -> None:
    for name in ("labels", "kmeans", "labels, noise: 0.1"):
        assert plan_of(write_grid(ONE_RUN + f"  condition: {{name: {name}}}\n")).models


def test_a_broken_plugin_that_no_grid_names_does_not_matter(write_grid: Write, plan_of: PlanOf, tmp_path: Path) -> None:
    (tmp_path / "plugins" / "metrics").mkdir(parents=True)
    (tmp_path / "plugins" / "metrics" / "broken.py").write_text("def measure(:\n", "utf-8")
    assert plan_of(write_grid(ONE_RUN)).models
