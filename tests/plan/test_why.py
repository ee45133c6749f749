"""`difgen plan` says why: each kind of change is made to a real small run directory, and named."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from difgen_cli import sampling, sweep
from difgen_cli.cli import why
from difgen_cli.data import digits
from difgen_cli.engine.plan.recipe_changes import Change
from difgen_cli.engine.plan.stored_plans import Line, StoredPlan, StoredPlans, plain
from difgen_cli.engine.plan.why import ReasonGroup, _differing, explain
from difgen_cli.engine.store import Store
from difgen_cli.metrics import memorization

GRID = """\
# Why is a cell not done?
base:
  data:   {name: npz, path: images.npz, held_out: 40}
  condition: {name: labels}
  model:  {name: mine, width: 8}
  train:  {batch: 16, condition_dropout: 0.2}
  sample: {name: mine, steps: 2, count: 16}
  score:  [brightness, memorization]
axes:
  train.steps: [4, 8]
  data.size:   [8, 16]
"""
GIVEN = """\
# What do weights of somebody else say?
base:
  data:   {name: npz, path: images.npz, held_out: 40, size: 16}
  model:  {name: given, path: own.pt, network: own.json}
  sample: {name: euler, steps: 2, count: 16}
  score:  [memorization]
"""
MODEL = """\
from difgen_cli.models.mlp import Mlp

VERSION = 1


def build(shape: tuple[int, ...], classes: int, *, width: int = 16):
    return Mlp(shape, classes, width, 1)
"""
SAMPLER = """\
from difgen_cli.sampling import euler

VERSION = 1
DEFAULTS = {"steps": 4}


def sample(denoiser, x, levels, labels):
    yield from euler.sample(denoiser, x, levels, labels)
"""
METRIC = """\
from difgen_cli.metrics import Result

VERSION = 1
COLUMNS = {"brightness": ("float64", "grey level", "mean")}


def measure(samples, *, scale: float = 1.0) -> Result:
    return Result({"brightness": float(samples.mean()) * scale}, {})
"""
FAILING = METRIC.replace("brightness", "failing").replace("    return", "    raise ValueError('no light')\n    return")


SAMPLES = f"1.{sampling.VERSION}"  # of the plug-in, and of what all samplers share


@dataclass(frozen=True)
class Swept:
    """A folder with a grid, its plug-ins, its data and a run directory."""

    folder: Path

    def copied(self, to: Path) -> Swept:
        shutil.copytree(self.folder, to)
        return Swept(to)

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, encoding="utf-8")

    def groups(self, text: str = GRID) -> list[ReasonGroup]:
        self.write("grid.yaml", text)
        with contextlib.chdir(self.folder):
            planned = sweep.prepare(self.folder / "grid.yaml", self.runs, {})
        return explain(planned.plan, planned.state, planned.store)

    def said(self, text: str = GRID) -> list[str]:
        """The sentences on cells, and not on reference rows."""
        return [why.sentence(group) for group in self.groups(text) if not group.reference]


def save_images(folder: Path, *, skip: int = 0) -> None:
    pool = digits.load()
    assert pool.labels is not None
    np.savez(folder / "images.npz", images=pool.images[skip : skip + 100], labels=pool.labels[skip : skip + 100])


def save_weights(folder: Path, seed: int) -> None:
    from difgen_cli.models import mlp

    torch.manual_seed(seed)
    network = mlp.build((1, 8, 8), 0, width=8, depth=1)
    torch.save({name: torch.randn_like(value) / 9 for name, value in network.state_dict().items()}, folder / "own.pt")
    described = {"network": "mlp", "settings": {"width": 8, "depth": 1}, "shape": [1, 8, 8]}
    (folder / "own.json").write_text(json.dumps(described | {"reading": {"prediction": "edm"}}))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, difgen_in: Callable[..., Any]) -> Swept:
    folder = tmp_path_factory.mktemp("why") / "study"
    one = Swept(folder)
    for name, text in (("models/mine", MODEL), ("sampling/mine", SAMPLER), ("metrics/brightness", METRIC)):
        one.write(f"plugins/{name}.py", text)
    one.write("plugins/metrics/failing.py", FAILING)
    one.write("grid.yaml", GRID)
    one.write("given.yaml", GIVEN)
    save_images(folder)
    save_weights(folder, 0)
    for grid in ("grid.yaml", "given.yaml"):
        done = difgen_in(folder, "sweep", grid, "--cluster", "inline", "--quiet")
        assert done.returncode == 0, done.stderr
    return one


def test_nothing_is_said_of_what_is_done(swept: Swept) -> None:
    assert swept.said() == []


OF_GRID = {
    "a setting of the model": (
        ("width: 8", "width: 12"),
        "4 new cells: model.width 12 is new; nearest stored: 8. 2 trajectories are trained, 4 are sampled and scored.",
    ),
    "a setting of training": (
        ("batch: 16", "batch: 16, lr: 0.01"),
        "4 new cells: train.lr 0.01 is new; nearest stored: 0.002. 2 trajectories are trained, 4 are sampled and scor",
    ),
    "two settings": (
        ("width: 8}\n  train:  {batch: 16", "width: 12}\n  train:  {batch: 8"),
        "4 new cells: model.width 12 is new (nearest stored: 8) and train.batch 8 is new (nearest stored: 16). 2 traj",
    ),
    "a size": (
        ("[8, 16]", "[8, 16, 30]"),
        "2 new cells: data.size 30 is new; nearest stored: 16. 1 trajectory is trained, 2 are sampled and scored.",
    ),
    "two seeds": (
        ("axes:", "seeds: 3\naxes:"),
        "8 new cells: seeds 1, 2 are new; nearest stored: 0. 4 trajectories are trained, 8 are sampled and scored.",
    ),
    "more steps": (
        ("[4, 8]", "[4, 8, 12]"),
        "2 new cells: train.steps 12 is new; stored are 4, 8. 2 trajectories are trained on from a checkpoint, 2 are",
    ),
    "a condition": (
        ("{name: labels}", "{name: kmeans, clusters: 2}"),
        "4 new cells: condition.name kmeans is new; nearest stored: labels. 2 trajectories are trained, 4 are sampled",
    ),
    "a setting of sampling": (
        ("steps: 2", "steps: 3"),
        "4 new cells: sample.steps 3 is new; nearest stored: 2. 4 are sampled and scored.",
    ),
    "guidance": (
        ("  score:", "  guide: {cfg: {weight: 2}}\n  score:"),
        "4 new cells: guide.name cfg is new; nearest stored: none. 4 are sampled and scored.",
    ),
    "a metric": (
        ("memorization]", "memorization, preference]"),
        "4 new cells: the metric preference is added. 4 are only scored.",
    ),
    "a setting of a metric": (
        ("[brightness, memorization]", "{brightness: {scale: 2.0}, memorization: }"),
        "4 new cells: score.brightness.scale 2 is new; nearest stored: 1. 4 are only scored.",
    ),
}


@pytest.mark.parametrize("name", OF_GRID)
def test_a_change_of_the_grid_is_named_with_what_is_made_again(swept: Swept, name: str) -> None:
    (old, new), expected = OF_GRID[name]
    assert GRID.count(old) == 1
    (sentence,) = swept.said(GRID.replace(old, new))
    assert sentence.startswith(expected)


def test_a_combination_that_is_not_stored_is_not_called_a_new_value(swept: Swept, tmp_path: Path) -> None:
    """Width 12 is of size 30 alone, and so not new; of two stored values the nearer one is named."""
    assert why._reason(Change("setting", "model.width", ("12",), ("8",), used=True)) == (
        "model.width 12 is with these other settings; nearest stored: 8"
    )
    (sentence,) = swept.said(GRID.replace("[8, 16]", "[9]"))
    assert "data.size 9 is new; nearest stored: 8." in sentence


@pytest.mark.parametrize(
    ("file", "old", "expected"),
    [
        ("models/mine.py", MODEL, "model mine has version 2; stored: 1. 2 trajectories are trained, 4 are sampled and"),
        ("sampling/mine.py", SAMPLER, f"sampler mine has version 2{SAMPLES[1:]}; stored: {SAMPLES}. 4 are sampled and"),
        ("metrics/brightness.py", METRIC, "metric brightness has version 2; stored: 1. 4 are only scored."),
    ],
)
def test_a_raised_version_of_a_plugin_is_named(
    swept: Swept, tmp_path: Path, file: str, old: str, expected: str
) -> None:
    changed = swept.copied(tmp_path / "study")
    changed.write(f"plugins/{file}", old.replace("VERSION = 1", "VERSION = 2"))
    (sentence,) = changed.said()
    assert sentence.startswith(f"4 stale cells: {expected}")


def test_what_comes_with_another_plugin_is_not_named_beside_it() -> None:
    """Where a stored plan has both plug-ins, and so a column for the settings of either."""
    table = pa.table({"condition.name": ["labels", "kmeans"], "condition.clusters": [None, 4], "train.lr": [0.1, 0.1]})
    plan, words = StoredPlan(table), {"condition.name": "kmeans", "condition.clusters": "2", "train.lr": "0.2"}
    names = [[change.name for change in _differing(words, Line(plan, at))] for at in (0, 1)]
    assert names == [["condition.name", "train.lr"], ["condition.clusters", "train.lr"]]


def test_changed_code_without_a_version_is_named_as_such(swept: Swept) -> None:
    change = Change("version", "model mine", ("0123456789abcdef",), ("fedcba9876543210",))
    assert why._reason(change) == "the code of model mine, or a file that it reads, has changed"


def test_other_content_of_the_data_is_named(swept: Swept, tmp_path: Path) -> None:
    changed = swept.copied(tmp_path / "study")
    save_images(changed.folder, skip=100)
    (sentence,) = changed.said()
    assert sentence.startswith(
        "4 stale cells: the content of npz is another one. 2 trajectories are trained, 4 are sam"
    )


def test_other_weights_in_the_same_file_are_named(swept: Swept, tmp_path: Path) -> None:
    changed = swept.copied(tmp_path / "study")
    assert changed.said(GIVEN) == []
    save_weights(changed.folder, 1)
    (sentence,) = changed.said(GIVEN)
    assert sentence == "1 stale cell: the weights of the file are another one. 1 is sampled and scored."


def test_snapshots_that_are_gone_or_damaged_are_named_where_they_are_needed(swept: Swept, tmp_path: Path) -> None:
    changed = swept.copied(tmp_path / "study")
    more = GRID.replace("memorization]", "memorization, gap]")  # which asks the network itself
    small, large = sorted((changed.runs / "trajectories").glob("npz-n*mine*"), key=lambda path: "n16" in path.name)
    (small / "snapshots" / "8.safetensors").unlink()
    (large / "snapshots" / "4.safetensors").rename(large / "snapshots" / "4.broken")
    assert changed.said() == [], "what is done does not need them"
    gone, damaged, kept = sorted(
        changed.said(more), key=lambda sentence: ("gone" not in sentence, "dam" not in sentence)
    )
    assert gone.startswith(
        "1 new cell: the snapshot of step 8 is gone and the metric gap is added. 1 trajectory is tra"
    )
    assert damaged.startswith("1 new cell: the snapshot of step 4 was damaged, and is set aside and the metric gap")
    assert kept == "2 new cells: the metric gap is added. 2 are only scored."


def test_a_failure_is_named_with_its_cause(swept: Swept, tmp_path: Path, difgen_in: Callable[..., Any]) -> None:
    changed = swept.copied(tmp_path / "study")
    text = GRID.replace("memorization]", "memorization, failing]").replace("[4, 8]", "[4]").replace("[8, 16]", "[8]")
    changed.write("grid.yaml", text)
    assert difgen_in(changed.folder, "sweep", "grid.yaml", "--cluster", "inline").returncode == 1
    (sentence,) = changed.said(text)
    assert sentence.startswith("1 failed cell: ")
    assert "no light" in sentence
    assert sentence.endswith("`difgen sweep --retry failed` tries again.")


def test_what_an_earlier_sweep_has_planned_and_not_made_is_named(swept: Swept, tmp_path: Path) -> None:
    changed = swept.copied(tmp_path / "study")
    for trajectory in (changed.runs / "trajectories").glob("npz-n8-*mine*"):
        shutil.rmtree(trajectory)
    (sentence,) = changed.said()
    assert sentence.startswith("2 new cells: an earlier sweep planned this, and the training is not there yet. 1 traj")


def test_the_command_says_it_and_machines_get_it(swept: Swept, difgen_in: Callable[..., Any]) -> None:
    swept.write("grid.yaml", GRID.replace("steps: 2", "steps: 3"))
    text = difgen_in(swept.folder, "plan", "grid.yaml").stdout
    assert "4 new cells: sample.steps 3 is new; nearest stored: 2. 4 are sampled and scored." in text
    content = json.loads(difgen_in(swept.folder, "plan", "grid.yaml", "--json").stdout)
    cells, *references = content["why"]
    assert cells["changes"] == [{"kind": "setting", "name": "sample.steps", "new": ["3"], "stored": ["2"]}]
    assert (cells["sampled"], cells["trained"], cells["rows"]) == (4, [], "cells")
    assert {group["rows"] for group in references} == {"references"}
    assert [content["cells"][k]["mark"] for k in cells["cells"]] == ["new"] * 4
    empty = difgen_in(swept.folder, "plan", "grid.yaml", "--runs", "elsewhere")
    assert "nothing like it" not in empty.stdout


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (ReasonGroup("needed", False, (), trained={"a"}), "1 more training is for what cells compare with"),
        (ReasonGroup("needed", False, (), trained={"a", "b"}), "2 more trainings are for what cells compare with"),
        (
            ReasonGroup("stale", True, (Change("distrusted", ""),), [1]),
            "1 stale reference row: the weights were trained",
        ),
        (ReasonGroup("new", False, (Change("inputs", "metric twins"),), [1, 2]), "something that the metric twins is"),
        (ReasonGroup("new", False, (Change("metric", "gap"),), [1, 2], sampled=1), "1 are sampled, all scored."),
    ],
)
def test_a_sentence_counts_what_is_made(group: ReasonGroup, words: str) -> None:
    assert words in why.sentence(group)


def test_a_setting_is_the_same_word_in_a_plan_and_in_its_table(swept: Swept) -> None:
    assert [plain(v) for v in (1, 1.0, "1", "1.0")] == ["1"] * 4
    assert [plain(v) for v in (None, True, (1, 2), "[1, 2]", 0.5)] == ["none", "true", "[1, 2]", "[1, 2]", "0.5"]
    (plan,) = (one for one in StoredPlans(Store(swept.runs)).plans if one.table.num_rows > 4)
    versions = {"metric brightness": "1", "metric memorization": memorization.VERSION, "sampler mine": SAMPLES}
    assert plan.made_by == {label: [str(version)] for label, version in versions.items()}
