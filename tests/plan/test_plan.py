"""Plans: prefix sharing, keys that follow content alone, and refusals before anything is submitted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan, plan_table
from difgen_cli.engine.plan.recipes import Operation, Recipe, dump, load
from difgen_cli.engine.plan.sections import DEFAULT_SCORE
from difgen_cli.engine.plugins import Library

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]
BASE = "base: {data: {name: digits, held_out: 900}, model: {name: mlp}, score: [memorization, gap]%s}\n"


def _keys(plan: Plan, kind: str = "model") -> list[tuple[str, str | None, str]]:
    return [(c.run_key, c.snapshot, c.samples) for c in plan.cells if c.kind == kind]


def test_the_headline_grid_trains_each_trajectory_once(plan_of: PlanOf) -> None:
    plan = plan_of(Path(__file__).parents[2] / "grids" / "size.yaml")
    seeds = len(plan.grid.seeds)
    assert len(plan.models) == 2 * 5 * 4 * 2 * seeds
    assert len(plan.trajectories) == 2 * 4 * 2 * seeds
    longest = sum(max(t.steps) * t.batch for t in plan.trajectories.values())
    one_by_one = sum(c.settings()["train.steps"] * c.settings()["train.batch"] for c in plan.models)
    assert plan.images_planned == longest
    assert plan.images_planned / one_by_one == pytest.approx(0.516, abs=0.001)


def test_steps_are_snapshots_and_everything_else_is_a_run(write_grid: Write, plan_of: PlanOf) -> None:
    plan = plan_of(
        write_grid(BASE % "" + "axes: {train.steps: [1, 2, 3], train.lr: [1e-3, 1e-4], sample.steps: [4, 8]}")
    )
    assert (len(plan.models), len(plan.trajectories)) == (12, 2)
    assert len({c.snapshot for c in plan.models}) == 6
    assert len({c.samples for c in plan.models}) == 12
    assert len({c.metrics["gap"] for c in plan.models}) == 6, "a metric that needs no samples ignores the sampler"
    assert len({c.metrics["memorization"] for c in plan.models}) == 12


def test_the_table_of_a_plan_says_axis_values_as_the_settings_took_them(
    tmp_path: Path, write_grid: Write, plan_of: PlanOf
) -> None:
    # geom gives 499.99999999999994, and train.steps is a whole number.
    spaced = "axes: {train.steps: {geom: [125, 8000, 7]}, train.lr: {lin: [0.1, 0.3, 3]}}"
    plan = plan_of(write_grid(BASE % "" + spaced))
    plan_table.write(tmp_path / "plan.parquet", plan)
    axes = json.loads(pq.read_schema(tmp_path / "plan.parquet").metadata[b"axes"])
    assert axes == {"train.steps": [125, 250, 500, 1000, 2000, 4000, 8000], "train.lr": [0.1, 0.2, 0.3]}


def test_one_cluster_is_no_condition(write_grid: Write, plan_of: PlanOf) -> None:
    one = plan_of(write_grid(BASE % ", condition: {name: kmeans, clusters: 1}"))
    none = plan_of(write_grid(BASE % "", "none.yaml"))
    ten = plan_of(write_grid(BASE % ", condition: {name: kmeans, clusters: 10}", "ten.yaml"))
    assert _keys(one) == _keys(none) != _keys(ten)


def test_a_setting_written_at_its_default_changes_no_key(write_grid: Write, plan_of: PlanOf) -> None:
    plain = plan_of(write_grid(BASE % ""))
    train = Library().own("train")
    assert train is not None
    known = {n: s.default for n, s in train.settings.items() if n in ("lr", "batch", "ema", "warmup")}
    said = plan_of(write_grid(BASE % f", train: {json.dumps(known)}, guide: {{name: none}}", "b.yaml"))
    assert _keys(plain) == _keys(said)


def test_the_held_out_split_ignores_seed_size_and_half(write_grid: Write, plan_of: PlanOf) -> None:
    plan = plan_of(write_grid(BASE % "" + "axes: {data.size: [8, 16], data.half: [A, B]}\nseeds: 2"))
    assert len({r.key for r in plan.recipes.values() if r.operation.kind == "holdout"}) == 1
    assert len({r.key for r in plan.recipes.values() if r.operation.kind == "subset"}) == 8


def test_a_metric_setting_changes_that_metric_alone(write_grid: Write, plan_of: PlanOf) -> None:
    grid = "base: {data: {name: digits, held_out: 900}, model: {name: mlp}, score: {memorization: , gap: %s}}"
    a, b = plan_of(write_grid(grid % "")), plan_of(write_grid(grid % "{sigmas: 8}", "b.yaml"))
    assert [c.metrics["memorization"] for c in a.cells if c.kind == "model"] == [
        c.metrics["memorization"] for c in b.cells if c.kind == "model"
    ]
    assert a.models[0].metrics["gap"] != b.models[0].metrics["gap"]


def test_reference_rows_stand_beside_each_subset(write_grid: Write, plan_of: PlanOf) -> None:
    text = (
        BASE % ", condition: {name: kmeans}"
        + "axes: {data.size: [8, 16], condition.clusters: [1, 4], model.width: [8, 16]}"
    )
    plan = plan_of(write_grid(text))
    kinds = [c.kind for c in plan.cells]
    assert {k: kinds.count(k) for k in set(kinds)} == {"model": 8, "heldout": 2, "copycat": 2, "ideal": 4}
    real = next(c for c in plan.cells if c.kind == "heldout")
    assert "gap" not in real.metrics, "real images have no denoiser"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base: {model: {name: mlp}}", "data.name: not given"),
        ("base: {data: {name: digits}}", "model.name: not given"),
        (BASE % ", train: {lrr: 1}", "train.lrr: unknown setting of diffusion/training.py .* did you mean lr"),
        (BASE % "" + "axes: {model.widht: [8]}", "model.widht: unknown setting of models/mlp.py .* did you mean width"),
        (BASE % "" + "axes: {model.width: [8, -1]}", "model.width: must be greater than 0, not -1"),
        (BASE % "" + "axes: {model.width: [8, '8']}", "model.width: must be a valid integer, not '8'"),
        (BASE % "" + "axes: {model.width: [8.5]}", "model.width: must be a valid integer"),
        (BASE % ", train: {lr: .nan}", "train.lr: must be"),
        (BASE % ", train: {lr: .inf}", "train.lr: must be a finite number"),
        (BASE % ", train: {schedule: linear}", "train.schedule: must be 'constant'"),
        (
            BASE % "" + "axes: {data.canaries: [4]}",
            r"data.canaries: must be a map of count, kind, repeats, seed, such as",
        ),
        (BASE % "" + "axes: {data.canaries.repeats: [4]}", r"data.canaries.repeats: must be a list in \[ \], not 4"),
        (BASE % ", train: {batch: true}", "train.batch: must be a valid integer"),
        (BASE % ", train: {batch: }", "train.batch: must be a valid integer, not nothing"),
        (BASE % "" + "axes: {data.size: [16, 898]}", "data.size: 898 images are more than the 897"),
        (BASE % "" + "axes: {data.size: [449], data.half: [B]}", "more than the 448 in half B"),
        ("base: {data: {name: digits, held_out: 1797}, model: {name: mlp}}", "leaves none to train on"),
        ("base: {data: {name: digits, held_out: 0}, model: {name: mlp}}", "needs at least"),
        (BASE % ", condition: {name: kmeans, clusters: 1000}", "1000 clusters are more than the 897"),
        (BASE % ", condition: {name: kmean}", "no condition plug-in is called 'kmean' .* did you mean kmeans"),
        (BASE % ", train: {schedule: cosine}" + "axes: {train.steps: [1, 2]}", "ends at train.steps"),
        ("base: {data: {name: digits}, model: {name: mlp}, score: [fid]}", "no metrics plug-in is called 'fid'"),
        (
            "base: {data: {name: digits}, model: {name: mlp}, score: {gap: {sigma: 1}}}",
            "score.gap.sigma: unknown setting",
        ),
        (
            "base: {data: {name: digits}, model: {name: mlp}, score: {frechet: {features: foo}}}",
            "no feature space is called",
        ),
        (
            "base: {data: {name: digits}, model: {name: mlp}, score: {frechet: {features: inception}}}",
            "weights fetch inception",
        ),
        ("base: {data: {name: npz}, model: {name: mlp}}", "data.path: not given"),
        ("base: {data: {name: npz, path: nowhere.npz}, model: {name: mlp}}", "data.path: .*nowhere.npz"),
        (BASE % ", train: {seed: x}", "train.seed: must be a whole number"),
        (BASE % "" + "axes: {train.seed: [1, 2]}\nseeds: 2", "train.seed is an axis and seeds are given"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(
    write_grid: Write, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.delenv("DIFGEN_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", "/nonexistent")
    with pytest.raises(GridError, match=words) as caught:
        plan_of(write_grid(text))
    assert "\n" not in str(caught.value)
    assert caught.value.shown().startswith(str(caught.value.file))


def test_a_setting_of_another_named_plugin_is_dropped(write_grid: Write, plan_of: PlanOf) -> None:
    text = "base: {data: {name: digits, held_out: 900}, model: {name: mlp}, condition: {clusters: 4}, score: [gap]}\n"
    plan = plan_of(write_grid(text + "axes: {condition.name: [none, kmeans]}"))
    assert [c.settings().get("condition.clusters") for c in plan.models] == [None, 4]


@pytest.mark.parametrize("axes", ["", "axes: {model.depth: [2]}", "axes: {model.depth: [1, 2], train.lr: [1, 2]}"])
def test_included_cells_stand_alone_whatever_axes_there_are(write_grid: Write, plan_of: PlanOf, axes: str) -> None:
    extra = "\ninclude: [{model.width: 8}, {model.width: 8, data.size: 5}]\nseeds: 2"
    plan = plan_of(write_grid(BASE % "" + axes + extra))
    said = [c.settings() for c in plan.models][-4:]
    assert [(s["model.width"], s["data.size"], s["data.seed"]) for s in said] == [
        (8, 897, 0), (8, 897, 1), (8, 5, 0), (8, 5, 1),
    ]  # fmt: skip
    assert len({c.run_key for c in plan.models[-4:]}) == 4


def test_a_setting_of_a_metric_keeps_the_default_metrics_beside_it(write_grid: Write, plan_of: PlanOf) -> None:
    grid = "base: {data: {name: digits, held_out: 900}, model: {name: mlp}}\naxes: {score.gap.sigmas: [8, 16]}"
    assert set(plan_of(write_grid(grid)).models[0].metrics) == set(DEFAULT_SCORE)
    named = "base: {data: {name: digits, held_out: 900}, model: {name: mlp}, score: {gap: {sigmas: 8}}}"
    assert set(plan_of(write_grid(named, "named.yaml")).models[0].metrics) == {"gap"}


def test_seeds_vary_subset_and_training_but_not_sampling(write_grid: Write, plan_of: PlanOf) -> None:
    plan = plan_of(write_grid(BASE % ", train: {seed: 5}" + "seeds: 3"))
    said = [c.settings() for c in plan.models]
    assert [(s["data.seed"], s["train.seed"], s["sample.seed"]) for s in said] == [(0, 5, 0), (1, 6, 0), (2, 7, 0)]


def test_a_seed_of_the_held_out_images_is_in_every_key_but_at_its_default(write_grid: Write, plan_of: PlanOf) -> None:
    text = BASE % "" + "axes: {data.held_out_seed: [0, 1]}"
    plain, (same, other) = plan_of(write_grid(BASE % "", "a.yaml")).models[0], plan_of(write_grid(text)).models
    assert (same.run_key, same.samples, same.metrics) == (plain.run_key, plain.samples, plain.metrics)
    assert same.identity() == plain.identity()
    assert other.run_key != same.run_key
    assert not set(other.metrics.values()) & set(same.metrics.values())
    assert (same.settings()["data.held_out_seed"], other.settings()["data.held_out_seed"]) == (0, 1)


def test_every_seed_can_vary_together(write_grid: Write, plan_of: PlanOf) -> None:
    paths = ["data.seed", "train.seed", "data.held_out_seed", "sample.seed"]
    axes = "".join(f"  {path}: [0, 1, 2]\n" for path in paths)
    plan = plan_of(write_grid(f"{BASE % ''}axes:\n{axes}zip: [[{', '.join(paths)}]]\n"))
    said = [[c.settings()[path] for path in paths] for c in plan.models]
    assert said == [[k] * 4 for k in range(3)]
    assert len({c.samples for c in plan.models}) == 3


def test_an_axis_of_the_sampler_seed_trains_once(write_grid: Write, plan_of: PlanOf) -> None:
    plan = plan_of(write_grid(BASE % "" + "axes: {sample.seed: [0, 1, 2]}"))
    assert len(plan.trajectories) == 1
    assert len({c.samples for c in plan.models}) == 3


def test_data_that_hold_images_out_take_no_seed_for_it(write_grid: Write, plan_of: PlanOf) -> None:
    data = "{name: circle, points: 20, size: 10, held_out: 10, held_out_seed: 1}"
    text = f"base:\n  data: {data}\n  model: {{name: analytic}}\n"
    with pytest.raises(GridError, match=r"data.held_out_seed: circle itself says which images are held out") as found:
        plan_of(write_grid(text))
    assert found.value.place is not None


def test_included_cells_take_the_base_and_their_own(write_grid: Write, plan_of: PlanOf) -> None:
    text = BASE % ", train: {steps: 5}" + "axes: {model.width: [8, 16]}\ninclude: [{model.width: 32, train.steps: 9}]"
    said = [(c.settings()["model.width"], c.settings()["train.steps"]) for c in plan_of(write_grid(text)).models]
    assert said == [(8, 5), (16, 5), (32, 9)]


_settings = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers() | st.text(max_size=3) | st.booleans())


@given(_settings, st.integers(1, 9), st.dictionaries(st.sampled_from("xyz"), st.text("0f", min_size=4, max_size=4)))
def test_keys_depend_on_content_and_not_on_order(said: dict[str, object], version: int, inputs: dict[str, str]) -> None:
    backwards = dict(reversed(said.items()))
    key = Operation("k", "n", version, said).key(inputs)
    assert key == Operation("k", "n", version, backwards).key(dict(reversed(inputs.items())))
    assert len(key) == 16
    assert set(key) <= set("0123456789abcdef")
    assert key != Operation("k", "n", version + 1, said).key(inputs)
    assert key != Operation("k", "n", version, said | {"new": 1}).key(inputs)
    assert key != Operation("k", "n", version, said).key(inputs | {"w": "0"})


@given(st.recursive(st.just(()), lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=12))
def test_recipes_survive_being_written(tree: tuple[object, ...]) -> None:
    known: dict[str, Recipe] = {}

    def make(node: tuple[object, ...], depth: int = 0) -> Recipe:
        parts = {f"i{k}": make(part, depth + 1) for k, part in enumerate(node)}  # type: ignore[arg-type]
        recipe = Recipe(Operation("kind", f"n{depth}", 1, {"t": (1, 2), "d": depth}), parts)
        return known.setdefault(recipe.key, recipe)

    top = make(tree)
    again = load(dump(known))
    assert set(again) == set(known)
    assert again[top.key].key == top.key
    assert again[top.key].settings["t"] == (1, 2)


def test_without_held_out_images_there_is_no_reference_of_them(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    text = "base:\n  data: {name: digits, size: 16, held_out: 0}\n  model: {name: mlp}\n  score: [memorization]\n"
    assert [cell.kind for cell in plan_of(write_grid(text)).cells] == ["model", "copycat", "ideal"]
