"""What a worker would stumble over is refused, or said, by the plan: exit code 2 and one sentence."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from difgen_cli.engine import inputs
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan
from difgen_cli.engine.plugins import KINDS, Library

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]
Difgen = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]

GRID = """\
# Is it refused in time?
base:
  data:   {name: digits, held_out: 900, size: 32}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 20}
  sample: {name: heun, steps: 4, count: 32}
  score:  [memorization]
"""
# kind -> folder, file, a word of the grid that uses it, and the parameter that is none
PLUGINS = {
    "sample": ("sampling", "def sample(denoiser, x, levels, labels, trian): ...", ("heun", "mine"), "trian", "train"),
    "guide": ("guidance", "def negative(denoizer, *, a: float = 1.0): ...", None, "denoizer", "denoiser"),
    "objective": ("objectives", "def loss(denoiser, batch, teacherr): ...", None, "teacherr", "teacher"),
    "score": ("metrics", 'COLUMNS = {"a": ("float64", "", "what")}\ndef measure(x): ...', None, "x", None),
    "condition": ("condition", "def fit(imagez): ...", None, "imagez", "images"),
    "model": ("models", "def build(shape, classes, trainn): ...", ("mlp", "mine"), "trainn", "train"),
    "data": ("data", "def load(path): ...", ("digits", "mine"), "path", None),
    "post_training": ("post_training", "def apply(wieghts): ...", None, "wieghts", "weights"),
    "features": ("features", "def fit(image): ...", None, "image", "images"),
}  # fmt: skip
USES = {
    "guide": "  guide: {mine: {weight: 1}}\n", "objective": "  objective: {name: mine}\n",
    "condition": "  condition: {name: mine}\n", "post_training": "  post_training: {name: mine}\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_input_of_any_kind_of_plugin_is_one_sentence(
    write_grid: Write, difgen: Difgen, tmp_path: Path, kind: str
) -> None:
    if KINDS[kind].entry is None:
        return
    folder, code, words, parameter, close = PLUGINS[kind]
    file = tmp_path / "plugins" / folder / "mine.py"
    file.parent.mkdir(parents=True)
    file.write_text(code, encoding="utf-8")
    text = GRID.replace(*words) if words else GRID + USES.get(kind, "")
    text = text.replace(
        "[memorization]", {"score": "[mine]", "features": "{frechet: {features: mine}}"}.get(kind, "[memorization]")
    )
    if kind in ("model", "data"):
        text = re.sub(r"(name: mine).*\}", r"\1}", text)
    run = difgen("plan", str(write_grid(text)))
    assert run.returncode == 2, run.stderr
    assert (
        f"{file}: {KINDS[kind].entry}: the parameter {parameter} is no input that such a plug-in can have ("
        in run.stderr
    )
    assert (f"did you mean {close}?" in run.stderr) == (close is not None)


def test_every_kind_says_which_inputs_its_plugins_have_and_the_documents_name_them() -> None:
    """The rows of the tables of docs/plugins.md that list inputs."""
    assert set(inputs.INPUTS) == {kind for kind, of in KINDS.items() if of.entry}
    sections = re.split(r"\n## ", (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8"))
    for kind, names in inputs.INPUTS.items():
        (text,) = (part for part in sections if part.startswith(KINDS[kind].folder + "\n"))
        missing = [name for name in names if not re.search(rf"\b{name}\b", text)]
        assert not missing, (kind, missing)


def test_every_input_of_a_metric_is_made_by_the_worker() -> None:
    made = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "difgen_cli/engine/worker").glob("*.py"))
    cases = set(re.findall(r'"(\w+)"', " ".join(re.findall(r"case (.*):", made))))
    assert set(inputs.INPUTS["score"]) <= cases


def test_networks_and_samplers_of_0_1_may_call_what_they_are_given_as_they_like() -> None:
    assert inputs.mistake("model", ("size", "labels")) == ""
    assert inputs.mistake("sample", ("d", "start", "sigmas", "y", "rng")) == ""
    assert inputs.mistake("sample", ("d", "noise", "y")) == ""
    assert "rng" in inputs.mistake("sample", ("d", "noise", "y", "rng"))


@pytest.mark.parametrize("given", ["steps: 6, every: 4", "steps: 9, every: 3", "every: 32"])
def test_a_students_steps_that_are_not_two_of_its_teachers_are_refused(
    write_grid: Write, difgen: Difgen, given: str
) -> None:
    run = difgen("plan", str(write_grid(GRID + f"  objective: {{name: distill, {given}}}\n")))
    assert run.returncode == 2, run.stderr
    assert "objective.every: must be even and divide objective.steps" in run.stderr
    assert "tiny.yaml:8" in run.stderr


def test_without_churn_its_other_settings_are_in_no_key(write_grid: Write, plan_of: PlanOf) -> None:
    def samples(more: str) -> str:
        (cell,) = plan_of(write_grid(GRID.replace("steps: 4,", f"steps: 4{more},"))).models
        return cell.samples

    plain, churned = samples(""), samples(", s_churn: 5.0")
    for setting in ("s_min: 0.1", "s_max: 2.0", "s_noise: 1.01"):
        assert samples(f", {setting}") == samples(f", s_churn: 0.0, {setting}") == plain
        assert samples(f", s_churn: 5.0, {setting}") not in (plain, churned)


@pytest.mark.parametrize("setting", ["condition_dropout", "condition_perturbation"])
def test_a_change_of_a_condition_that_there_is_not_is_refused(write_grid: Write, plan_of: PlanOf, setting: str) -> None:
    changed = GRID.replace("train:  {", f"train:  {{{setting}: 0.1, ")
    assert changed != GRID
    for condition in ("", "  condition: {name: none}\n", "  condition: {name: kmeans, clusters: 1}\n"):
        with pytest.raises(GridError, match=rf"train\.{setting}: needs a condition") as error:
            plan_of(write_grid(changed + condition))
        assert error.value.place is not None
    assert plan_of(write_grid(changed + "  condition: {name: labels}\n")).cells
    closed = changed.replace("mlp, width: 8, depth: 1", "wiener")
    assert plan_of(write_grid(closed)).cells  # nothing is trained


def test_a_model_in_closed_form_has_no_objective_and_no_teacher_and_the_plan_says_so(
    write_grid: Write, plan_of: PlanOf
) -> None:
    plain = GRID.replace("mlp, width: 8, depth: 1", "wiener")
    plan = plan_of(write_grid(plain + "  objective: {name: distill, teacher: {model.name: mlp}}\n"))
    sentence = "objective: wiener is not trained here, so that no objective changes it"
    assert sentence in plan.warnings
    assert len(plan.trajectories) == 1
    without = plan_of(write_grid(plain))
    assert sentence not in without.warnings
    assert [cell.identity() for cell in plan.models] == [cell.identity() for cell in without.models]


def test_a_canonical_that_refuses_names_the_setting_and_its_line(write_grid: Write, plan_of: PlanOf) -> None:
    axes = "axes:\n  objective.every: [2, 3]\n"
    with pytest.raises(
        GridError, match=r"objective.every: must be even and divide objective.steps, 16, not 3"
    ) as error:
        plan_of(write_grid(GRID + "  objective: {name: distill}\n" + axes))
    assert error.value.place is not None
    assert error.value.place.line == 10
    assert Library().signature("objective", "distill").version == 1
