"""Starts and forks in a grid: what is in a key, what waits for what, what is inherited, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Cell, Plan, Trajectory, plan_table, weights_of

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]

GRID = """\
# What stops copying from here on?
base:
  data:   {name: digits, held_out: 900, size: 32DATA}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 40TRAIN}
  sample: {name: euler, steps: 4, count: 32}
  score:  [memorization]
"""
FORK = "fork:\n  at: 20\n  change: [{}, {train.lr: 1e-4}]\n"


def grid(train: str = "", more: str = "", data: str = "") -> str:
    return GRID.replace("TRAIN", train).replace("DATA", data) + more


def changes(*each: str, at: object = 20) -> str:
    return f"fork:\n  at: {at}\n  change: [{', '.join(f'{{{change}}}' for change in each)}]\n"


@pytest.fixture
def planned(write_grid: Write, plan_of: PlanOf) -> Callable[[str], Plan]:
    return lambda text: plan_of(write_grid(text))


Planned = Callable[[str], Plan]


def only(plan: Plan) -> Cell:
    (cell,) = plan.models
    return cell


def by_change(plan: Plan) -> dict[str, Cell]:
    return {cell.settings()["fork.change"]: cell for cell in plan.models}


def behind(plan: Plan, trajectory: Trajectory, role: str) -> tuple[Trajectory, int | None]:
    """The trajectory in a role of another, and the step at which it is needed."""
    recipe, step = weights_of(trajectory.needs[role])
    return plan.trajectories[recipe.key], step


# Starts --------------------------------------------------------------------------------------------------------------


def test_a_start_is_planned_once_and_waited_for_and_in_the_key(planned: Planned) -> None:
    plain = only(planned(grid()))
    plan = planned(grid(", start: {train.steps: 10}", "axes:\n  train.lr: [1e-3, 2e-3]\n"))
    started = [plan.trajectories[cell.run_key] for cell in plan.models]
    starts = {behind(plan, trajectory, "start")[0].key for trajectory in started}
    assert len(plan.trajectories) == 4
    assert len(starts) == 2, "each begins with a trajectory of its own learning rate"
    one = planned(grid(", start: {train.steps: 10, train.lr: 3e-3}", "axes:\n  train.lr: [1e-3, 2e-3]\n"))
    assert len(one.trajectories) == 3, "the same start is trained once"
    assert plain.run_key not in {trajectory.key for trajectory in started}
    assert plan.needs(started[0])["start"].step == 10


def test_a_start_is_the_continued_training_of_guidance(planned: Planned) -> None:
    """Two names of one thing have one key: what was trained for the one is there for the other."""
    guided = planned(grid(more="  guide:  {weight_decay: {decay: 0.5, steps: 7}}\n"))
    (other,) = [other for cell in guided.models for other in cell.partners.values()]
    continued = guided.trajectories[other.run_key].recipe
    assert continued.name == "continue"
    settings = {path: value for path, value in continued.settings.items() if path not in ("batch", "steps")}
    words = "".join(f", {name}: {value}" for name, value in settings.items())
    inner = "".join(f", train.{name}: {0.0 if name == 'weight_decay' else 'null'}" for name in settings)
    started = planned(grid(f"{words}, start: {{train.steps: 40{inner}}}").replace("steps: 40,", "steps: 7,", 1))
    assert only(started).run_key == other.run_key


def test_no_start_is_in_no_key(planned: Planned) -> None:
    plain, named = only(planned(grid())), only(planned(grid(more="axes:\n  train.start.train.steps: [null]\n")))
    assert (named.run_key, named.metrics) == (plain.run_key, plain.metrics)


def test_a_start_inherits_all_but_the_objective_the_start_and_the_fork(planned: Planned) -> None:
    text = grid(", start: {train.steps: 10}", "  objective: {noise_bank: 4}\n" + FORK)
    plan = planned(text)
    fork = plan.trajectories[by_change(plan)["train.lr=0.0001"].run_key]
    trunk, at = behind(plan, fork, "fork")
    start, step = behind(plan, trunk, "start")
    assert (at, step, list(fork.needs), list(trunk.needs), start.needs) == (20, 10, ["fork"], ["start"], {})
    assert (start.steps, start.states, "objective" in start.recipe.inputs) == ((10,), (), False)
    assert trunk.recipe.inputs["objective"].settings == fork.recipe.inputs["objective"].settings == {"noise_bank": 4}
    by_its_own = planned(grid(", start: {train.steps: 10, objective.noise_bank: 2}"))
    start, _ = behind(by_its_own, by_its_own.trajectories[only(by_its_own).run_key], "start")
    assert start.recipe.inputs["objective"].settings == {"noise_bank": 2}


def test_a_teacher_has_no_start_and_no_fork_of_its_student(planned: Planned) -> None:
    objective = "  objective: {name: distill, steps: 4, teacher: {train.steps: 30}}\n"
    plan = planned(grid(", start: {train.steps: 10}", objective + FORK))
    fork = plan.trajectories[by_change(plan)["train.lr=0.0001"].run_key]
    teacher, step = behind(plan, fork, "teacher")
    assert (step, teacher.needs, teacher.settings.get("fork.at")) == (30, {}, None)
    trunk, _ = behind(plan, fork, "fork")
    assert behind(plan, trunk, "teacher")[0] is teacher


def test_starts_that_are_written_into_one_another_end(planned: Planned) -> None:
    """No role hands itself on, so that a chain is as long as it is written, and no trajectory waits for itself."""
    inner = "{train.steps: 10, train.start: {train.steps: 5, train.start: {train.steps: 2}}}"
    plan = planned(grid(f", start: {inner}"))
    steps, trajectory = [], plan.trajectories[only(plan).run_key]
    while "start" in trajectory.needs:
        trajectory, step = behind(plan, trajectory, "start")
        steps.append(step)
    assert (steps, len(plan.trajectories)) == ([10, 5, 2], 4)


def test_a_start_may_be_of_another_data_set(planned: Planned) -> None:
    data = "data.name: gaussians, data.points: 64, data.held_out: 10"
    plan = planned(grid(f", start: {{{data}, train.steps: 10}}").replace("digits", "molrg, rank: 3, dimension: 16", 1))
    start, _ = behind(plan, plan.trajectories[only(plan).run_key], "start")
    assert (start.settings["data.name"], start.settings["data.dimension"]) == ("gaussians", 16)
    assert "data.rank" not in start.settings, "what molrg alone takes is dropped"


# Forks ---------------------------------------------------------------------------------------------------------------


def test_a_fork_waits_for_the_state_of_its_trunk(planned: Planned) -> None:
    plan = planned(grid(more=FORK))
    cells = by_change(plan)
    fork, trunk = (plan.trajectories[cells[change].run_key] for change in ("train.lr=0.0001", "none"))
    dependency = plan.needs(fork)["fork"]
    assert (dependency.run_key, dependency.step, dependency.whole) == (trunk.key, 20, True)
    assert (trunk.states, trunk.steps, fork.steps) == ((20,), (40,), (40,))
    assert fork.images == (40 - 20) * 16
    assert fork.slug.startswith("digits-n32-mlp-depth1-width8-fork20-")
    assert "lr0.0001" in fork.slug


@pytest.mark.parametrize("change", ["", "train.lr: 0.002", "train.steps: 40", "objective.name: edm", "data.size: 32"])
def test_a_fork_that_changes_nothing_is_its_trunk(planned: Planned, change: str) -> None:
    """The same keys as without a fork: nothing is trained twice, and no state is written."""
    plain, plan = only(planned(grid())), planned(grid(more=changes(change)))
    cell = only(plan)
    assert (cell.run_key, cell.snapshot, cell.samples, cell.metrics) == (
        plain.run_key, plain.snapshot, plain.samples, plain.metrics,
    )  # fmt: skip
    assert [trajectory.states for trajectory in plan.trajectories.values()] == [()]


@pytest.mark.parametrize(
    "change", ["objective.name: repa", "objective.noise_bank: 2", "data.size: 64", "data.seed: 3", "train.seed: 1",
               "train.weight_decay: 0.1", "train.schedule: cosine"],
)  # fmt: skip
def test_what_goes_on_otherwise_has_a_key_of_its_own(planned: Planned, change: str) -> None:
    plan = planned(grid(more=changes("", change)))
    homes = {cell.run_key for cell in plan.models}
    assert len(homes) == 2
    fork = next(plan.trajectories[cell.run_key] for cell in plan.models if cell.settings()["fork.change"] != "none")
    recipe = only(planned(grid())).run_key
    assert behind(plan, fork, "fork")[0].key == recipe
    anew = planned(grid(more="axes:\n  train.steps: [40]\n").replace("size: 32", "size: 32"))
    assert fork.key not in {cell.run_key for cell in anew.models}


def test_mirror_images_that_were_shown_before_count(planned: Planned) -> None:
    """A network that has seen them may copy them, whatever it is shown from then on."""
    plan = planned(grid(", flip: true", changes("", "train.flip: false")))
    plain = planned(grid(", flip: false", changes("", "train.lr: 1e-4")))
    after = planned(grid(", flip: false", changes("", "train.flip: true")))
    kinds = [{c.run_key for c in p.cells if c.kind == "copycat"} for p in (plan, plain, after)]
    assert [len(homes) for homes in kinds] == [1, 1, 2], "references are searched as the models beside them"
    assert kinds[0] | kinds[1] == kinds[2]
    started = planned(grid(", start: {train.steps: 10, train.flip: true}"))
    assert {c.run_key for c in started.cells if c.kind == "copycat"} == kinds[0]


def test_forks_at_other_steps_are_other_forks_of_one_trunk(planned: Planned) -> None:
    plan = planned(grid(more=changes("", "train.lr: 1e-4", at=[10, 20])))
    trunks = [trajectory for trajectory in plan.trajectories.values() if trajectory.states]
    assert [trunk.states for trunk in trunks] == [(10, 20)]
    assert len(plan.trajectories) == 3


def test_a_worse_self_is_forked_too_and_before_the_fork_it_is_the_trunk(planned: Planned) -> None:
    guide = "  guide:  {auto: {weight: 1.0, weak: {train.steps: STEPS}}}\n"
    for steps, on_fork in ((30, True), (20, False)):
        plan = planned(grid(more=guide.replace("STEPS", str(steps)) + FORK))
        cell = by_change(plan)["train.lr=0.0001"]
        (weak,) = cell.partners.values()
        assert (weak.run_key == cell.run_key) is on_fork
        assert on_fork or weak.run_key == behind(plan, plan.trajectories[cell.run_key], "fork")[0].key


def test_seeds_and_axes_fork_each_from_their_own_trunk(planned: Planned) -> None:
    plan = planned(grid(more=FORK + "axes:\n  data.size: [16, 32]\nseeds: 2\n"))
    assert len(plan.models) == 8
    assert len(plan.trajectories) == 8
    for cell in plan.models:
        trajectory = plan.trajectories[cell.run_key]
        if "fork" in trajectory.needs:
            trunk, _ = behind(plan, trajectory, "fork")
            assert [trunk.settings[p] for p in ("data.size", "data.seed")] == [
                cell.settings()[p] for p in ("data.size", "data.seed")
            ]


def test_what_lies_before_a_fork_is_of_its_trunk_which_goes_on_as_the_empty_change(planned: Planned) -> None:
    skip = "skip:\n  - {fork.change: '!= none', train.steps: '<= 20'}\n"
    plan = planned(grid(more=FORK + skip + "axes:\n  train.steps: [10, 20, 30, 40]\n"))
    steps = {change: [cell.step for cell in plan.models if cell.settings()["fork.change"] == change]
             for change in ("none", "train.lr=0.0001")}  # fmt: skip
    assert steps == {"none": [10, 20, 30, 40], "train.lr=0.0001": [30, 40]}
    assert len({cell.run_key for cell in plan.models}) == 2
    assert len(planned(grid(more=FORK + "include:\n  - {train.steps: 20}\n")).trajectories) == 2


def test_a_closed_form_beside_forks_is_itself(planned: Planned) -> None:
    plan = planned(grid(more=FORK + "axes:\n  model.name: [mlp, analytic]\n"))
    assert sum(cell.step is None for cell in plan.models) == 2


def test_a_plan_names_the_state_that_gc_must_keep(planned: Planned, tmp_path: Path) -> None:
    plan = planned(grid(more=FORK))
    plan_table.write(tmp_path / "plan.parquet", plan)
    (needed,) = plan_table.partners(plan_table.read(tmp_path / "plan.parquet"))
    assert (needed["step"], needed["whole"], needed["samples"]) == (20, True, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (grid(", start: 5"), "train.start: name what is different in the training whose weights"),
        (grid(", start: {}"), "train.start: name what is different"),
        (grid(", start: {sample.steps: 5}"), "train.start.sample.steps: a start may differ in data, condition"),
        (grid(", start: {model.name: analytic}"), "train.start: a model that is not trained here has no snapshot"),
        (grid(", start: {data.held_out: 100}"), "train.start.data.held_out: .* have seen images that are held out"),
        (grid(", start: {train.stepz: 5}"), "train.stepz: unknown setting"),
        (grid(more="fork: {at: 20}\n"), "fork.change: not given"),
        (grid(more="fork: {change: [{}]}\n"), "fork.at: not given"),
        (grid(more="fork: {at: 20, changes: [{}]}\n"), "fork.changes: a fork has at and change; did you mean change"),
        (grid(more=changes("", at=0)), "fork.at: must be a step of the trunk, a whole number of at least 1, not 0"),
        (grid(more=changes("", at="soon")), "fork.at: must be a step"),
        (grid(more="fork: {at: 20, change: []}\n"), "fork.change: this list is empty"),
        (grid(more="fork: {at: 20, change: {}}\n"), "fork.change must be a list"),
        (grid(more=changes("", "")), "fork.change: {} stands twice"),
        (grid(more=changes("model.width: 16")), "fork.change: model.width: a fork may change train, objective"),
        (grid(more=changes("train.start.train.steps: 5")), "fork.change: train.start.train.steps: a fork begins with"),
        (grid(more=changes("train.lrr: 5")), "train.lrr: unknown setting .*did you mean lr"),
        (grid(more=changes("train.lr: 1", at=40)), "fork.at: forks at step 40, and step 40, which is read, is its tru"),
        (grid(more=changes("train.steps: 10")), "fork.at: forks at step 20, and step 10, which is read"),
        (grid(more=changes("train.optimizer: sgd")), "fork.change: train.optimizer: sgd needs moments of its own"),
        (grid(more=changes("data.held_out: 800")), "fork.change: data.held_out: a fork has the data set and"),
        (grid(", schedule: cosine", changes("train.steps: 80", at=60)), "fork.at: the trunk ends at step 40 by train"),
        (
            grid(more=changes("train.schedule: cosine") + "axes:\n  train.steps: [30, 40]\n"),
            "train.schedule: cosine ends at train.steps",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(planned: Planned, text: str, words: str) -> None:
    with pytest.raises(GridError, match=words) as error:
        planned(text)
    assert error.value.place is not None


def test_a_change_of_weights_takes_earlier_ones_from_the_trunk(
    write_grid: Write, plan_of: PlanOf, tmp_path: Path
) -> None:
    """A fork has no weights of its own at its step and before it."""
    file = tmp_path / "plugins" / "post_training" / "mean.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "def apply(weights, others, *, steps: tuple[int, ...] = ()):\n    return weights\n", encoding="utf-8"
    )
    change = "  post_training: {name: mean, steps: [10, 20, 30]}\n"
    plan = plan_of(write_grid(grid(more=change + FORK)))
    cell = by_change(plan)["train.lr=0.0001"]
    trunk, _ = behind(plan, plan.trajectories[cell.run_key], "fork")
    others = {name: other.run_key for name, other in cell.partners.items()}
    assert others == {"post_training.10": trunk.key, "post_training.20": trunk.key, "post_training.30": cell.run_key}
    assert trunk.steps == (10, 20, 30, 40)
