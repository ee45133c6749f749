"""Guidance in a grid: how it is said, what keys it has, and that a worse self is a dependency."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Cell, Plan, weights_of
from difgen_cli.engine.plan.guidance import NONE

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]
Difgen = Callable[..., subprocess.CompletedProcess[str]]

GRID = """\
# Does guidance steer?
base:
  data:  {name: digits, held_out: 900, size: 32}
  condition: {name: labels}
  model: {name: mlp, width: 8, depth: 1}
  train: {batch: 16, steps: 20, condition_dropout: 0.1}
  sample: {name: euler, steps: 3, count: 32}
  score: [memorization, gap]
"""
WEAK = "auto: {weak: {train.steps: 10}}"


def guided(text: str) -> str:
    return GRID + f"  guide: {{{text}}}\n"


def only(plan: Plan) -> Cell:
    (cell,) = plan.models
    return cell


# What a grid says --------------------------------------------------------------------------------------------------


def test_no_guidance_has_the_key_that_it_always_had(write_grid: Write, plan_of: PlanOf) -> None:
    """Samples of the time when `none` was a plug-in, VERSION 1 and no settings, are valid."""
    assert NONE == "89cc6bdfca940c2f"
    plain, said = plan_of(write_grid(GRID)), plan_of(write_grid(guided("name: none"), "b.yaml"))
    assert only(plain).samples == only(said).samples
    assert only(plain).settings()["guide.name"] == "none"


@pytest.mark.parametrize("text", ["cfg: {weight: 0}", "name: cfg, weight: 0", f"{WEAK}, weight: 0.0"])
def test_a_weight_of_zero_is_no_guidance_at_all(write_grid: Write, plan_of: PlanOf, text: str) -> None:
    plain, zero = only(plan_of(write_grid(GRID))), only(plan_of(write_grid(guided(text), "b.yaml")))
    assert (plain.samples, plain.metrics) == (zero.samples, zero.metrics)
    assert zero.partners == {}


def test_terms_may_be_said_in_several_ways(write_grid: Write, plan_of: PlanOf) -> None:
    ways = [
        "cfg: {weight: 2, interval: [0.1, 3]}",
        "name: cfg, weight: 2, interval: [0.1, 3]",
        "cfg: , weight: 2.0, interval: [0.1, 3.0]",
        "name: cfg, cfg: {weight: 2}, auto: {weak: {train: {steps: 5}}}, weight: 1, interval: [0.1, 3]",
    ]
    cells = [only(plan_of(write_grid(guided(way), f"{k}.yaml"))) for k, way in enumerate(ways)]
    listed = only(plan_of(write_grid(GRID + "  guide: [cfg]\n", "list.yaml")))
    assert len({c.samples for c in cells}) == 1
    assert listed.settings()["guide.cfg.weight"] == 1
    assert listed.samples != cells[0].samples


def test_several_terms_stand_beside_each_other_in_any_order(write_grid: Write, plan_of: PlanOf) -> None:
    one = only(plan_of(write_grid(guided(f"cfg: {{weight: 1.5}}, {WEAK}"))))
    other = only(plan_of(write_grid(guided(f"{WEAK}, cfg: {{weight: 1.5}}, name: cfg+auto"), "b.yaml")))
    assert one.samples == other.samples
    said = one.settings()
    assert said["guide.name"] == "auto+cfg"
    assert (said["guide.cfg.weight"], said["guide.auto.weight"], said["guide.auto.weak.train.steps"]) == (1.5, 1.0, 10)


def test_kinds_and_weights_are_axes_and_all_start_from_the_same_samples(write_grid: Write, plan_of: PlanOf) -> None:
    text = guided(WEAK + ", weight_decay: {steps: 5}")
    plan = plan_of(write_grid(text + "axes: {guide.name: [cfg, auto, weight_decay], guide.weight: [0, 1, 2]}"))
    said = [(c.axis_values()["guide.name"], c.axis_values()["guide.weight"]) for c in plan.models]
    assert said == [(kind, weight) for kind in ("cfg", "auto", "weight_decay") for weight in (0, 1, 2)]
    assert len({c.samples for c in plan.models}) == 7
    assert len({c.metrics["gap"] for c in plan.models}) == 1, "the network by itself is what gap asks"
    assert len([c for c in plan.cells if c.kind == "ideal"]) == 1, "references are not guided"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cgf: {weight: 1}", r"guide.cgf: no guidance plug-in is called 'cgf' .* did you mean cfg"),
        ("name: cgf", r"guide.name: no guidance plug-in is called 'cgf' .* did you mean cfg"),
        ("cfg: {wieght: 1}", r"guide.cfg.wieght: unknown setting of guidance/cfg.py .* did you mean weight"),
        ("name: cfg, wieght: 1", r"guide.wieght: unknown setting of cfg .* did you mean weight"),
        ("name: cfg, crop: 4", r"guide.crop: unknown setting of cfg"),
        ("cfg: 1", "guide.cfg: a term is a map of settings"),
        ("cfg: {weight: x}", "guide.cfg.weight: must be a valid number"),
        ("cfg: {interval: [2, 1]}", "guide.cfg.interval: must be .lowest, highest."),
        ("cfg: {agreement: 2}", "guide.cfg.agreement: must be less than or equal to 1"),
        ("auto: {weight: 1}", "guide.auto.weak: not given; name what differs"),
        ("auto: {weak: {model.widht: 4}}", "model.widht: unknown setting of models/mlp.py .* did you mean width"),
        ("auto: {weak: {sample.steps: 4}}", "guide.auto.weak.sample.steps: a worse self may differ in model, train"),
        ("auto: {weak: {condition.name: kmeans}}", "guide.auto.weak.condition.name: other labels .* use none"),
        ("swg: {crop: 4}", "guide.swg: asks the network about crops, and models/mlp.py .* use the unet"),
        ("swg: {weight: 1}", "guide.swg.crop: not given, and guidance/swg.py needs it"),
        ("weight_decay: {steps: 0}", "guide.weight_decay.steps: must be greater than 0"),
    ],
)
def test_what_cannot_guide_is_refused_in_one_sentence_with_its_place(
    write_grid: Write, plan_of: PlanOf, text: str, words: str
) -> None:
    with pytest.raises(GridError, match=words) as caught:
        plan_of(write_grid(guided(text)))
    assert "\n" not in str(caught.value)
    assert caught.value.place is not None
    assert caught.value.place.line > 0


@pytest.mark.parametrize(
    ("model", "text", "words"),
    [
        ("name: unet, width: 8", "swg: {crop: 5, windows: 3}", "guide.swg.crop: the 3 crops along 8 pixels"),
        ("name: analytic", "weight_decay: {}", "guide.weight_decay: trains on, and this model is not trained here"),
    ],
)
def test_what_this_model_or_these_images_do_not_allow_is_refused(
    write_grid: Write, plan_of: PlanOf, model: str, text: str, words: str
) -> None:
    with pytest.raises(GridError, match=words):
        plan_of(write_grid(guided(text).replace("name: mlp, width: 8, depth: 1", model)))


def test_cfg_needs_a_condition_and_its_dropout(write_grid: Write, difgen: Difgen) -> None:
    for old, new, words in (
        (", condition_dropout: 0.1", "", ":9:25: guide.cfg: this network never learnt to do without its condition"),
        ("name: labels", "name: none", ":9:25: guide.cfg: there is no condition to drop"),
    ):
        write_grid(guided("cfg: {weight: 1}").replace(old, new), "grid.yaml")
        done = difgen("plan", "grid.yaml")
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_planning_guidance_does_not_import_torch(write_grid: Write, tmp_path: Path) -> None:
    text = guided("cfg: , weight_decay: , swg: {crop: 4, windows: 3}, " + WEAK)
    grid = write_grid(text.replace("name: mlp, width: 8, depth: 1", "name: unet, width: 8"))
    code = (
        "import sys; from difgen_cli.cli import app\n"
        "try: app(['plan', sys.argv[1]])\nexcept SystemExit as done: assert not done.code, done.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(grid)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_metric_that_is_told_so_looks_at_the_guided_denoiser(write_grid: Write, plan_of: PlanOf) -> None:
    """By default gap asks the network by itself, whatever guides it; unguided, both are the same result."""
    text = guided("name: cfg") + "axes: {guide.weight: [0, 1, 2], score.gap.guided: [false, true]}"
    keys = [c.metrics["gap"] for c in plan_of(write_grid(text)).models]
    bare, of_guided = keys[::2], keys[1::2]
    assert set(bare) == {of_guided[0]}
    assert len(set(of_guided)) == 3


def test_a_users_term_is_a_file(write_grid: Write, plan_of: PlanOf, tmp_path: Path) -> None:
    """Here the network trained on with another learning rate, as its constant says."""
    (tmp_path / "plugins" / "guidance").mkdir(parents=True)
    (tmp_path / "plugins" / "guidance" / "faster.py").write_text(
        'CONTINUED = {"train.lr": "rate", "train.steps": "steps"}\n\n\n'
        "def negative(continued, *, rate: float = 0.1, steps: int = 3):\n    return continued\n"
    )
    cell = only(plan := plan_of(write_grid(guided("faster: {rate: 0.5}"))))
    other = plan.trajectories[cell.partners["guide.faster"].run_key]
    trajectory, step = weights_of(other.needs["start"])
    assert (other.settings["train.lr"], other.steps, trajectory.key, step) == (0.5, (3,), cell.run_key, 20)
    assert cell.settings()["guide.faster.rate"] == 0.5


# A worse self is a dependency ----------------------------------------------------------------------------------------


def test_an_earlier_snapshot_is_a_snapshot_of_the_same_run(write_grid: Write, plan_of: PlanOf) -> None:
    cell = only(plan := plan_of(write_grid(guided(WEAK))))
    assert list(plan.trajectories) == [cell.run_key]
    assert plan.trajectories[cell.run_key].steps == (10, 20)
    weak = cell.partners["guide.auto"]
    assert (weak.run_key, weak.step, weak.samples) == (cell.run_key, 10, None)


def test_a_worse_self_that_is_the_network_itself_is_no_guidance(write_grid: Write, plan_of: PlanOf) -> None:
    plan = plan_of(write_grid(guided(WEAK) + "axes: {train.steps: [10, 20]}"))
    plain = plan_of(write_grid(GRID + "axes: {train.steps: [10, 20]}", "b.yaml"))
    same = [a.samples == b.samples for a, b in zip(plan.models, plain.models, strict=True)]
    assert same == [True, False]


def test_what_differs_names_another_run_of_the_same_seed(write_grid: Write, plan_of: PlanOf) -> None:
    text = guided("auto: {weak: {model.width: 4, train.weight_decay: 0.1, train.steps: 10}}") + "seeds: 2"
    plan = plan_of(write_grid(text))
    for cell in plan.models:
        weak = plan.trajectories[cell.partners["guide.auto"].run_key]
        said, own = weak.settings, plan.trajectories[cell.run_key].settings
        changed = {k: v for k, v in said.items() if own[k] != v}
        assert changed == {"model.width": 4, "train.weight_decay": 0.1, "train.steps": 10}
        assert weak.steps == (10,)
    assert len(plan.trajectories) == 4


def test_decay_goes_on_from_the_very_snapshot_that_it_guides(write_grid: Write, plan_of: PlanOf) -> None:
    plan = plan_of(write_grid(guided("weight_decay: {decay: 2, steps: 5}") + "axes: {train.steps: [10, 20]}"))
    assert len(plan.trajectories) == 3
    for cell in plan.models:
        other = plan.trajectories[cell.partners["guide.weight_decay"].run_key]
        trajectory, step = weights_of(other.needs["start"])
        assert (trajectory.key, step) == (cell.run_key, cell.step)
        assert other.steps == (5,)
        assert other.recipe.inputs["start"].key == cell.snapshot
        assert f"from{cell.step}" in other.slug


def test_twins_are_guided_by_worse_selves_of_their_own(write_grid: Write, plan_of: PlanOf) -> None:
    text = guided("auto: {weak: {model.width: 4}}").replace("size: 32", "half: A, size: 32")
    cell = only(plan := plan_of(write_grid(text.replace("[memorization, gap]", "[twins]"))))
    twin = cell.partners["twin"]
    assert len(plan.trajectories) == 6
    weak = plan.trajectories[twin.partners["guide.auto"].run_key].settings
    assert (weak["data.half"], weak["model.width"]) == ("B", 4)
    assert weak["train.seed"] == plan.trajectories[twin.run_key].settings["train.seed"]


@pytest.mark.long
def test_forty_weights_over_a_finished_run_train_nothing_but_the_weak_model_once(
    tmp_path: Path, write_grid: Write, difgen: Difgen
) -> None:
    text = guided("auto: {weak: {model.width: 4}}").replace("[memorization, gap]", "[memorization]")
    write_grid(text.replace("guide:", "guide: {name: none} #"), "plain.yaml")
    write_grid(text + "axes: {guide.auto.weight: {lin: [0.05, 2, 40]}}", "weights.yaml")
    assert difgen("sweep", "plain.yaml", "--cluster", "inline").returncode == 0
    own = set((tmp_path / "runs" / "trajectories").iterdir())
    planned = difgen("plan", "weights.yaml").stdout
    assert "40 cells" in planned + difgen("plan", "weights.yaml").stderr
    done = difgen("sweep", "weights.yaml", "--cluster", "local", "--workers", "2")
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "runs"
    attempts = {path.parents[1].name for path in runs.glob("trajectories/*/attempts/train.*.json")}
    assert len(attempts) == 2
    assert all(len(list((runs / "trajectories" / name / "attempts").glob("train.*.json"))) == 1 for name in attempts)
    (weak,) = set((runs / "trajectories").iterdir()) - own
    assert [p.name for p in (weak / "snapshots").iterdir()] == ["20.safetensors"]
    rows = pd.read_parquet(runs / "tables" / "rows.parquet")
    guided_rows = rows[rows["guide.name"].eq("auto") & rows.kind.eq("model")]
    assert len(guided_rows) == 40
    assert guided_rows.nfe.tolist() == [6.0] * 40
    assert rows[rows["guide.name"].eq("none") & rows.kind.eq("model")].nfe.tolist() == [3.0]
    assert "nothing to do" in difgen("sweep", "weights.yaml").stderr
    assert "2 done" in difgen("status", "runs").stdout
    assert difgen("gc", "runs", "--yes").returncode == 0
    assert (weak / "snapshots" / "20.safetensors").exists()


def test_a_cell_waits_for_what_guides_it_and_resumes_to_the_same_bits(
    tmp_path: Path, write_grid: Write, difgen: Difgen
) -> None:
    text = guided("weight_decay: {decay: 3, steps: 5}, auto: {weak: {train.steps: 10}}, weight: 2")
    write_grid(text, "grid.yaml")
    assert difgen("sweep", "grid.yaml", "--cluster", "local", "--workers", "2").returncode == 0
    assert difgen("sweep", "grid.yaml", "--cluster", "inline", "--runs", "again").returncode == 0
    tables = [pd.read_parquet(tmp_path / r / "tables" / "rows.parquet").set_index("kind") for r in ("runs", "again")]
    assert tables[0].loc["model", "nfe"] == 9
    files = [
        {p.name: p.read_bytes() for p in (tmp_path / r).glob("trajectories/*/samples/*")} for r in ("runs", "again")
    ]
    assert files[0] == files[1] != {}
    (other,) = (tmp_path / "runs").glob("trajectories/*from20*/snapshots/5.safetensors")
    from safetensors.numpy import load_file

    start = next((tmp_path / "runs").glob("trajectories/*/snapshots/20.safetensors"))
    before, after = load_file(start), load_file(other)
    norms = [np.sqrt(sum(float((v**2).sum()) for v in weights.values())) for weights in (before, after)]
    assert 0.9 < norms[1] / norms[0] < 1.05
    assert norms[0] != norms[1]


def test_a_weak_model_that_fails_fails_the_cell_and_says_so(write_grid: Write, difgen: Difgen) -> None:
    write_grid(guided("auto: {weak: {train.lr: 1e30, train.warmup: 0}}"), "grid.yaml")
    done = difgen("sweep", "grid.yaml", "--cluster", "inline")
    assert done.returncode == 1
    assert "guide.auto: ArithmeticError: the loss is nan" in difgen("plan", "grid.yaml").stdout


@pytest.mark.long
@pytest.mark.skipif(not os.environ.get("DIFGEN_TEST_DATA"), reason="DIFGEN_TEST_DATA does not name a folder of data")
def test_masked_windows_and_autoguidance_run_on_the_unet_with_real_images(
    tmp_path: Path, write_grid: Write, difgen: Difgen
) -> None:
    text = """\
# Do masked windows and autoguidance run on clothes?
base:
  data:   {name: parquet, path: fashion_mnist, split: train, held_out: 64, size: 32}
  condition: {name: labels}
  model:  {name: unet, width: 8, depth: 1, multipliers: [1, 2]}
  train:  {batch: 16, steps: 12, warmup: 4}
  sample: {name: heun, steps: 4, count: 16}
  score:  {memorization: , preference: , deviation: {guided: true, pairs: 64}}
  guide:
    swg:  {crop: 16, windows: 3, masked: true, interval: [0.1, 10]}
    auto: {weak: {train.steps: 6}}
axes:
  guide.name: [none, swg, auto, auto+swg]
"""
    write_grid(text, "grid.yaml")
    done = difgen(
        "sweep", "grid.yaml", "--cluster", "local", "--workers", "2", DIFGEN_DATA=os.environ["DIFGEN_TEST_DATA"]
    )
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    rows = rows[rows.kind == "model"].set_index("guide.name")
    inside = 2  # of the 7 evaluations: Heun's levels are 160, 19, 0.94 and 0.004 σ_d, and each inner one is asked twice
    assert rows.nfe.to_dict() == {"none": 7, "swg": 7 + 9 * inside, "auto": 14, "auto+swg": 14 + 9 * inside}
    assert rows.nfe_area["swg"] == pytest.approx(7 + 9 * inside * (16 / 28) ** 2)
    assert rows.ideal_dev_050.nunique() == 4
    assert rows.train_pref.notna().all()
