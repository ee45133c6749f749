"""Changes of finished weights in a grid: what is in a key, who inherits them, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Cell, Plan, plan_table, weights_of

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]

GRID = """\
# Does the model that is shipped copy less?
base:
  data:   {name: digits, held_out: 900, size: 32}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 20}
  sample: {name: euler, steps: 4, count: 32}
  score:  [memorization, gap, membership]
"""
CHANGE = "  post_training: {{{}}}\n"
MEAN = """\
def apply(weights, others, *, steps: tuple[int, ...] = (5, 10)):
    return weights
"""


def grid(post_training: str = "", *more: str) -> str:
    own = CHANGE.format(post_training) if post_training else ""
    return GRID + own + "".join(f"  {line}\n" for line in more)


def only(plan: Plan) -> Cell:
    (cell,) = plan.models
    return cell


@pytest.fixture
def cell_of(write_grid: Write, plan_of: PlanOf) -> Callable[..., Cell]:
    def cell(*arguments: str) -> Cell:
        return only(plan_of(write_grid(grid(*arguments))))

    return cell


@pytest.mark.parametrize(
    "same", ["name: none", "name: quantise, bits: 32", "name: quantise, bits: 32, per: tensor", "name: prune, share: 0"]
)
def test_what_changes_nothing_has_the_keys_that_it_always_had(cell_of: Callable[..., Cell], same: str) -> None:
    plain, cell = cell_of(), cell_of(same)
    assert (cell.run_key, cell.snapshot, cell.samples, cell.metrics) == (
        plain.run_key, plain.snapshot, plain.samples, plain.metrics,
    )  # fmt: skip
    assert cell.identity() == plain.identity()
    assert cell.settings()["post_training.name"] == "none"
    columns = tuple({k: v for k, v in part.items() if not k.startswith("post_training.")} for part in cell.columns)
    assert replace(cell, columns=columns).identity() == cell.identity()  # of a plan that did not know the section


def test_a_change_samples_and_scores_again_and_trains_nothing(write_grid: Write, plan_of: PlanOf) -> None:
    text = grid("name: quantise") + "axes: {post_training.bits: [32, 8, 4], post_training.per: [tensor, channel]}\n"
    plan = plan_of(write_grid(text))
    assert len(plan.trajectories) == 1
    assert len({c.snapshot for c in plan.models}) == len({c.samples for c in plan.models}) == 5
    for metric in ("memorization", "gap", "membership"):
        assert len({c.metrics[metric] for c in plan.models}) == 5
    assert [c.axis_values()["post_training.bits"] for c in plan.models] == [32, 32, 8, 8, 4, 4]


def test_a_metric_of_images_alone_is_not_computed_again(write_grid: Write, plan_of: PlanOf) -> None:
    """What real images are compared with does not depend on the weights."""
    text = grid() + "axes: {post_training.name: [none, prune]}\n"
    references = [c for c in plan_of(write_grid(text)).cells if c.kind != "model"]
    assert [c.kind for c in references] == ["heldout", "copycat", "ideal"]
    assert not any("post_training.name" in c.settings() for c in references)


def test_a_worse_self_and_a_twin_inherit_the_change_and_a_teacher_does_not(write_grid: Write, plan_of: PlanOf) -> None:
    four = "name: quantise, bits: 4"
    weak = "guide: {auto: {weak: {train.steps: 10}}}"
    plain = {other.snapshot for other in only(plan_of(write_grid(grid("", weak)))).partners.values()}
    cell = only(plan_of(write_grid(grid(four, weak), "b.yaml")))
    assert {other.snapshot for other in cell.partners.values()}.isdisjoint(plain)
    axis = "axes: {post_training.name: [none, quantise]}\n"
    weak_selves = [
        cell.partners["guide.auto"] for cell in plan_of(write_grid(grid("", weak) + axis, "axis.yaml")).models
    ]
    assert weak_selves[0].snapshot in plain
    assert weak_selves[1].snapshot not in plain

    twins = GRID.replace("size: 32", "size: 32, half: A").replace("membership", "twins")
    before = only(plan_of(write_grid(twins, "c.yaml"))).partners["twin"]
    after = only(plan_of(write_grid(twins + CHANGE.format(four), "d.yaml"))).partners["twin"]
    assert (after.run_key, after.step) == (before.run_key, before.step)
    assert (after.snapshot != before.snapshot, after.samples != before.samples) == (True, True)

    student = "objective: {name: distill, steps: 4, teacher: {train.steps: 10}}"
    scored = GRID.replace(", gap, membership", "") + f"  {student}\n"
    plans = [plan_of(write_grid(scored + own, f"{k}.yaml")) for k, own in enumerate(("", CHANGE.format(four)))]
    assert plans[0].trajectories.keys() == plans[1].trajectories.keys()
    teacher, step = weights_of(plans[1].trajectories[only(plans[1]).run_key].needs["teacher"])
    assert (step, teacher.key in plans[0].trajectories) == (10, True)
    closed = scored.replace("train.steps: 10", "model.name: analytic") + CHANGE.format(four)
    assert only(plan_of(write_grid(closed, "closed.yaml"))).settings()["post_training.bits"] == 4


def test_a_worse_self_may_be_the_same_network_with_fewer_bits(cell_of: Callable[..., Cell]) -> None:
    cell = cell_of("", "guide: {auto: {weak: {post_training.name: quantise, post_training.bits: 3}}}")
    (weak,) = cell.partners.values()
    assert (weak.run_key, weak.step) == (cell.run_key, cell.step)
    assert weak.snapshot != cell.snapshot


def test_a_network_that_is_trained_on_begins_with_the_weights_as_they_were_trained(
    write_grid: Write, plan_of: PlanOf
) -> None:
    decay = "guide: {weight_decay: {steps: 5}}"
    plans = [plan_of(write_grid(grid(own, decay), f"{k}.yaml")) for k, own in enumerate(("", "name: prune"))]
    assert plans[0].trajectories.keys() == plans[1].trajectories.keys()
    before, after = (next(iter(only(plan).partners.values())).snapshot for plan in plans)
    assert before != after


def test_other_snapshots_are_wanted_and_kept(write_grid: Write, plan_of: PlanOf, tmp_path: Path) -> None:
    _plugin(tmp_path, MEAN)
    plan = plan_of(write_grid(grid("name: mine")))
    assert plan.trajectories[only(plan).run_key].steps == (5, 10, 20)
    plan_table.write(tmp_path / "plan.parquet", plan)
    needed = plan_table.partners(plan_table.read(tmp_path / "plan.parquet"))
    assert sorted(other["step"] for other in needed) == [5, 10]
    other = only(plan_of(write_grid(grid("name: mine, steps: [5]"), "b.yaml")))
    assert other.run_key == only(plan).run_key
    assert other.snapshot != only(plan).snapshot


def _plugin(folder: Path, text: str) -> None:
    file = folder / "plugins" / "post_training" / "mine.py"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (grid("bits: 4"), r"post_training.bits: unknown setting of post_training/none.py \(it takes none\)"),
        (grid("name: quantize"), "post_training.name: no post_training plug-in is called .* did you mean quantise"),
        (grid("name: quantise, bits: 1"), "post_training.bits: must be greater than or equal to 2"),
        (grid("name: prune, share: 1.5"), "post_training.share: must be less than or equal to 1"),
        (grid("name: prune").replace("mlp, width: 8, depth: 1", "analytic"), "and analytic is in closed form"),
        (grid("name: mine").replace("20}", "20, schedule: cosine}"), "train.schedule is cosine, which ends at train"),
        (grid("name: mine, steps: [0]"), r"post_training.steps: post_training/mine.py asks for other snapshots"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(
    write_grid: Write, plan_of: PlanOf, tmp_path: Path, text: str, words: str
) -> None:
    _plugin(tmp_path, MEAN)
    with pytest.raises(GridError, match=words):
        plan_of(write_grid(text))
