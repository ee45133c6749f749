"""Weights that somebody else trained as models of a grid: the numbers of the native run, keys by content, refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from files_of_others import SOURCE, Stored, pickled
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from difgen_cli import pretrained
from difgen_cli.cli import app
from difgen_cli.engine.grid import read as read_grid
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plan.planner import build
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store
from difgen_cli.engine.worker import artifacts
from difgen_cli.models import unet

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]
Difgen = Callable[..., subprocess.CompletedProcess[str]]
DATA = "{name: digits, held_out: 900, size: 32}"
NATIVE = f"""\
# What does the native run say?
base:
  data:      {DATA}
  condition: {{name: labels}}
  model:     {{name: mlp, width: 8, depth: 1, prediction: flow, noise_input: time}}
  train:     {{batch: 16}}
  sample:    {{name: heun, steps: 4, count: 32}}
  score:     [memorization, gap, membership, path]
axes:
  train.steps: [10, 20, 40]
"""
GIVEN = f"""\
# What do its weights say?
base:
  data:      {DATA}
  condition: {{name: labels}}
  model:     {{name: given, path: "weights/{{step}}/w.safetensors"}}
  sample:    {{name: heun, steps: 4, count: 32}}
  score:     [memorization, gap, membership, path]
axes:
  train.steps: [10, 20, 40]
"""
READ = {
    "network": "mlp", "settings": {"width": 8, "depth": 1}, "shape": [1, 8, 8], "classes": 10,
    "reading": {"prediction": "flow", "noise_input": "time"},
}  # fmt: skip


def with_network(text: str) -> str:
    return text.replace('w.safetensors"', 'w.safetensors", network: mlp.json')


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory, difgen_in: Difgen) -> Path:
    """A folder with a native run in `native`, its weights by step, and what they are for in `mlp.json`."""
    folder = tmp_path_factory.mktemp("native")
    (folder / "native.yaml").write_text(NATIVE)
    run = difgen_in(folder, "sweep", "native.yaml", "--cluster", "inline", "--runs", "native")
    assert run.returncode == 0, run.stderr
    for file in folder.glob("native/trajectories/*/snapshots/*.safetensors"):
        place = folder / "weights" / file.stem / "w.safetensors"
        place.parent.mkdir(parents=True)
        save_file(load_file(file), place)  # without what it says of its making
    (folder / "mlp.json").write_text(json.dumps(READ))
    return folder


@pytest.fixture
def folder(native: Path, tmp_path: Path) -> Path:
    """A copy of the weights alone."""
    for name in ("weights", "mlp.json"):
        source = native / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    return tmp_path


def rows(runs: Path) -> pd.DataFrame:
    whole = pd.read_parquet(runs / "tables" / "rows.parquet")
    return whole[whole["kind"] == "model"].set_index("step").sort_index()


def swept(difgen: Difgen, text: str, write: Write, *options: str) -> subprocess.CompletedProcess[str]:
    return difgen("sweep", write(text, "given.yaml"), "--cluster", "inline", *options)


def test_weights_by_step_have_every_number_of_the_native_run(
    native: Path, folder: Path, difgen: Difgen, write_grid: Write
) -> None:
    run = swept(difgen, with_network(GIVEN), write_grid)
    assert run.returncode == 0, run.stderr
    ours, theirs = rows(folder / "runs"), rows(native / "native")
    assert list(ours.index) == list(theirs.index) == [10, 20, 40]
    measured = [c for c in theirs if c.startswith(("mem_", "gap_", "mia_", "path_")) and not c.endswith("_seconds")]
    assert len(measured) > 20
    pd.testing.assert_frame_equal(ours[measured], theirs[measured])
    assert ours["train.steps"].tolist() == [10, 20, 40]
    assert set(ours["model.prediction"]) == {"flow"}
    report = difgen("report", "runs", "--out", "page")
    assert report.returncode == 0, report.stderr
    assert (folder / "page" / "least_loss.csv").is_file()
    assert (folder / "page" / "onset.csv").is_file()


def test_other_weights_are_another_cell_whatever_the_file_is_called(
    folder: Path, plan_of: PlanOf, write_grid: Write
) -> None:
    grid = write_grid(with_network(GIVEN))
    before = [cell.run_key for cell in plan_of(grid).models]
    assert len(set(before)) == 3
    file = folder / "weights" / "20" / "w.safetensors"
    tensors = load_file(file)
    moved = folder / "elsewhere"
    shutil.copytree(folder / "weights", moved)
    grid.write_text(with_network(GIVEN).replace("weights/", "elsewhere/"))
    assert [cell.run_key for cell in plan_of(grid).models] == before
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name] + 1e-3}, moved / "20" / "w.safetensors")
    after = [cell.run_key for cell in plan_of(grid).models]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_another_reading_is_another_cell(folder: Path, plan_of: PlanOf, write_grid: Write) -> None:
    first = plan_of(write_grid(with_network(GIVEN))).models[0]
    text = with_network(GIVEN).replace("mlp.json", "mlp.json, unit: 0.5")
    assert plan_of(write_grid(text)).models[0].run_key != first.run_key


def test_weights_that_changed_after_the_plan_fail_their_cell(folder: Path, difgen: Difgen, write_grid: Write) -> None:
    (folder / "plugins" / "metrics").mkdir(parents=True)
    (folder / "plugins" / "metrics" / "a_change.py").write_text(
        "from pathlib import Path\nimport torch\nfrom safetensors.torch import load_file, save_file\n"
        'COLUMNS = {"overwritten": ("int64", "", "what")}\nTARGET = Path(__file__).parents[2] / "weights"\n\n\n'
        "def measure(train):\n"
        '    from difgen_cli.metrics import Result\n    place = Path("weights/40/w.safetensors")\n'
        "    if not Path('changed').exists():\n        Path('changed').touch()\n"
        "        save_file({k: v + 1.0 for k, v in load_file(place).items()}, place)\n"
        '    return Result({"overwritten": 1})\n'
    )
    text = with_network(GIVEN).replace("[memorization, gap, membership, path]", "[a_change, gap]")
    run = swept(difgen, text.replace("steps: [10, 20, 40]", "steps: [40]"), write_grid)
    assert run.returncode == 1
    assert "these are other weights than those that the grid was planned with" in run.stderr + run.stdout
    again = swept(difgen, text.replace("steps: [10, 20, 40]", "steps: [40]"), write_grid)
    assert again.returncode == 0, again.stderr  # planned anew, with what is there now


def test_a_checkpoint_that_is_missing_in_the_middle_is_one_failed_cell(
    folder: Path, difgen: Difgen, write_grid: Write
) -> None:
    shutil.rmtree(folder / "weights" / "20")
    run = swept(difgen, with_network(GIVEN), write_grid)
    assert run.returncode == 1
    assert "there are no weights of step 20; there are those of 10, 40" in run.stderr + run.stdout
    assert list(rows(folder / "runs").index) == [10, 40]
    plan = json.loads(difgen("plan", "given.yaml", "--json").stdout)
    marks = {cell["step"]: cell["mark"] for cell in plan["cells"] if cell["kind"] == "model"}
    assert marks == {10: "done", 20: "failed", 40: "done"}


REFUSED = {
    "a step after the last": (("[10, 20, 40]", "[10, 50]"), "there are no weights of step 50; there are those"),
    "no file at all": (("weights/{step}", "wieghts/{step}"), "there is no such file or folder, whatever the step"),
    "no step": (("axes:\n  train.steps: [10, 20, 40]\n", ""), "stands for train.steps, which is not given"),
    "two places of the step": (("/w.safe", "/{step}.safe"), "has {step} more than once; write it once"),
    "another shape": ((f"{DATA}\n  condition: {{name: labels}}", "{name: circle, held_out: 4}"), "the data are points"),
    "no condition": (("condition: {name: labels}", "condition: {name: kmeans, clusters: 10}"), "makes conditions"),
    "another form": (("name: given", "name: diffusers"), "unknown setting of models/diffusers.py"),
    "post-training": (("  sample:", "  post_training: {name: quantise}\n  sample:"), "given has those that are given"),
    "a bad reading": (("mlp.json", "mlp.json, prediction: noise, noise_input: timestep"), "needs model.schedule"),
    "a description that is none": (("network: mlp.json", "network: weights"), "weights"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_by_the_plan_in_one_sentence(
    folder: Path, plan_of: PlanOf, write_grid: Write, case: str
) -> None:
    (old, new), sentence = REFUSED[case]
    text = with_network(GIVEN)
    assert old in text
    with pytest.raises(GridError) as refused:
        plan_of(write_grid(text.replace(old, new)))
    assert sentence in str(refused.value)
    assert "\n" not in refused.value.args[0]


def test_what_a_reader_must_know_of_classes_is_said(folder: Path, plan_of: PlanOf, write_grid: Write) -> None:
    text = with_network(GIVEN)
    assert "are taken for those of the weights" in " ".join(plan_of(write_grid(text)).warnings)
    np.save(folder / "numbers.npy", np.arange(1797) % 10)
    by_file = text.replace("{name: labels}", "{name: file, path: numbers.npy}")
    said = " ".join(plan_of(write_grid(by_file)).warnings)
    assert "the class numbers of the file are taken for those of the weights" in said
    assert "in the order of their names" not in said
    without = text.replace("  condition: {name: labels}\n", "")
    assert "are asked without any" in " ".join(plan_of(write_grid(without)).warnings)


OWN = '''\
"""A network of the user's own: one layer, told the timestep."""
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, shape, classes, scale):
        super().__init__()
        self.classes, self.scale = classes, scale
        size = shape[0] * shape[1] * shape[2]
        self.layer = nn.Linear(size, size)

    def forward(self, x, noise, labels=None):
        return self.scale * self.layer(x.flatten(1)).view_as(x) + noise.view(-1, 1, 1, 1) / 1000


def build(shape, classes, *, scale: float = 1.0):
    return Own(shape, classes, scale)
'''
OF_OWN = """\
# What does a network of my own say?
base:
  data:   {name: digits, held_out: 900, size: 32}
  model:  {name: given, path: own.pt, network: own.json, prediction: noise, schedule: linear, noise_input: timestep,
           unit: 1.0}
  sample: {name: heun, steps: 4, count: 32}
  score:  [gap, membership]
"""


def test_a_network_of_the_users_own_is_read_with_its_weights(
    tmp_path: Path, difgen: Difgen, write_grid: Write, plan_of: PlanOf
) -> None:
    code = tmp_path / "plugins" / "models" / "mine.py"
    code.parent.mkdir(parents=True)
    code.write_text(OWN)
    (tmp_path / "own.json").write_text(json.dumps({"network": "mine", "settings": {"scale": 2.0}, "shape": [1, 8, 8]}))
    torch.manual_seed(0)
    torch.save(
        {"state_dict": {"layer.weight": torch.randn(64, 64) / 20, "layer.bias": torch.zeros(64)}}, tmp_path / "own.pt"
    )
    grid = write_grid(OF_OWN, "own.yaml")
    key = plan_of(grid).models[0].run_key
    run = difgen("sweep", grid, "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    row = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet").query("kind == 'model'").iloc[0]
    assert row["model.prediction"] == "noise"
    assert row["gap_sigma_lowest"] > 0
    assert pd.isna(row["step"])
    shutil.copytree(tmp_path, tmp_path / "other", ignore=shutil.ignore_patterns("runs", "other"))
    (tmp_path / "other" / "plugins" / "models" / "mine.py").write_text(OWN.replace("/ 1000", "/ 999"))
    assert plan_of(tmp_path / "other" / "own.yaml").models[0].run_key != key  # other code is another network


def test_a_pickle_is_data_for_a_grid_too(tmp_path: Path, difgen: Difgen, write_grid: Write) -> None:
    """No line of its source is run, and what is none of ours is refused."""
    planted = tmp_path / "planted"
    source = f"open({str(planted)!r}, 'w').close()\n" + SOURCE
    pickled(tmp_path / "net.pkl", {"ema": Stored("StrangeNet", {"size": 3}, source)})
    text = OF_OWN.replace("given, path: own.pt, network: own.json, prediction: noise, schedule: linear, noise_input: "
                          "timestep,\n           unit: 1.0", "edm, path: net.pkl")  # fmt: skip
    run = difgen("plan", write_grid(text, "own.yaml"))
    assert run.returncode == 2, run.stdout
    assert "model.path: " in run.stderr
    assert not planted.exists()


def test_a_second_plan_knows_the_same_weights(tmp_path: Path, write_grid: Write) -> None:
    """Whether it reads the files or what was kept of them: JSON has lists where settings have tuples."""
    network = unet.build((1, 8, 8), 0, width=8, depth=1, multipliers=(1, 2), attention=())
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    settings = {"width": 8, "depth": 1, "multipliers": [1, 2], "attention": []}
    (tmp_path / "unet.json").write_text(json.dumps({"network": "unet", "settings": settings, "shape": [1, 8, 8]}))
    path = write_grid(
        f"base:\n  data: {DATA}\n  model: {{name: given, path: w.safetensors, network: unet.json}}\n  score: [gap]\n"
    )
    keys = []
    for _ in range(2):
        finder = Finder(Store(tmp_path / "runs"), Library(None), tmp_path)
        (cell,) = build(read_grid(path), Library(None), finder).models
        finder.save()
        keys.append((cell.run_key, cell.metrics, cell.settings()))
    assert keys[0] == keys[1]


@pytest.mark.parametrize("room_bytes", [artifacts.GIVEN_BYTES, 0])
def test_cells_of_one_checkpoint_share_its_weights_while_there_is_room(
    folder: Path, write_grid: Write, monkeypatch: pytest.MonkeyPatch, room_bytes: int
) -> None:
    """Two samplers ask for the weights of each of two checkpoints, which a worker reads once: in whatever order."""

    reads: list[Path] = []

    def counted(path: Path, *others: object) -> object:
        reads.append(path)
        return read(path, *others)  # type: ignore[arg-type]

    read = pretrained.read
    text = with_network(GIVEN).replace("[10, 20, 40]", "[10, 40]")
    text += "  sample.steps: [2, 4]\n"
    monkeypatch.chdir(folder)
    monkeypatch.setattr(pretrained, "read", counted)
    monkeypatch.setattr(artifacts, "GIVEN_BYTES", room_bytes)
    done = CliRunner().invoke(app, ["sweep", str(write_grid(text)), "--cluster", "inline"])
    assert done.exit_code == 0, done.output
    by_worker = len(reads) - 2  # each was read once while planning
    assert by_worker == 2 if room_bytes else 2 <= by_worker <= 4
