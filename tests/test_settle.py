"""`report --settle`: a grid of the cells that would settle what is open, which plans, and keeps what is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from difgen_cli import sweep as sweeping
from difgen_cli.cli.app import app
from difgen_cli.cli.settle import changes, written_grid
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.grid.extended import extended
from difgen_cli.engine.store import Store
from difgen_cli.report.study import extension, loading
from difgen_cli.report.study.extension import Extension

PLAIN = """# Where does it stop?
base: {data: {name: digits, held_out: 900}, model: {name: mlp, width: 8, depth: 1}, sample: {steps: 2, count: 40},
       score: [memorization]}
axes:
  train.steps: [2, 8]
  data.size: [16, 64]
"""
CLUSTERED = """# Which conditions copy?
base:
  data: {name: digits, held_out: 900}
  model: {name: mlp, width: 8}
axes:
  train.steps: [10, 40]
  data.size: [32, 128, 512]
  condition.name: [kmeans, random]
  condition.clusters: [1, 4]       # 1 is unconditional: one training for both
seeds: [0, 2]
skip: [{condition.clusters: 4, data.size: "> 128"}]
"""
EXTENSIONS = [
    Extension(sizes=(40, 50)),
    Extension(seeds=4),
    Extension(later=(80, 160), later_from=128, later_to=128),
    Extension(earlier=(1,), earlier_to=32),
    Extension(sizes=(48,), later=(80,), later_from=64, later_to=64, seeds=3),
]


def swept(folder: Path, text: str) -> tuple[sweeping.Planned, Any]:
    """The grid, planned and recorded as a sweep does before its first training; and the curves of its report."""
    file = folder / "grid.yaml"
    file.write_text(text, encoding="utf-8")
    planned = sweeping.prepare(file, folder / "runs", {})
    sweeping.record(planned)
    (study,) = loading.gather(Store(folder / "runs"))
    return planned, study.curves


@pytest.mark.parametrize("text", [PLAIN, CLUSTERED])
def test_what_an_extension_costs_is_what_its_grid_plans_and_every_old_cell_is_in_it(text: str, tmp_path: Path) -> None:
    before, curves = swept(tmp_path, text)
    assert extension.possible(curves) == {"sizes", "steps", "seeds", "samples"}
    for wanted in EXTENSIONS:
        file = tmp_path / "more.yaml"
        file.write_text(extended(text, changes(curves, wanted)), encoding="utf-8")
        after = sweeping.prepare(file, tmp_path / "runs", {}).plan
        old, new = ({(c.samples, *c.metrics.values()) for c in plan.models} for plan in (before.plan, after))
        assert old <= new, "a cell that is stored would be computed again"
        steps = {key: set(one.steps) for key, one in before.plan.trajectories.items()}
        more = [key for key, one in after.trajectories.items() if not set(one.steps) <= steps.get(key, set())]
        cost = extension.cost(curves, wanted)
        assert (cost.cells, cost.trainings) == (len(after.models) - len(before.plan.models), len(more)), wanted
        assert cost.exact == (text == PLAIN), "what a grid leaves out need not be left out at new places"


def test_a_grid_that_includes_cells_is_told_about_how_many_it_will_have(tmp_path: Path) -> None:
    _, curves = swept(tmp_path, f"{PLAIN}include: [{{model.width: 16, data.size: 64}}]\n")
    assert not extension.cost(curves, Extension(sizes=(32,))).exact


def test_seeds_go_on_with_the_smallest_that_are_free() -> None:
    assert extension.further_seeds([0, 2], 4) == [0, 1, 2, 3]
    assert extension.further_seeds([5], 3) == [0, 1, 5]
    assert extension.further_seeds([0, 1, 2], 2) == [0, 1, 2]


def test_what_cannot_be_had_more_of_is_not_asked_for(tmp_path: Path) -> None:
    together = f"{PLAIN}zip: [train.steps, data.size]\n"
    for number, (text, able) in enumerate([
        (together, {"seeds", "samples"}),
        (PLAIN.replace("[16, 64]", "[16, 64]\n  sample.count: [40, 80]"), {"sizes", "steps", "seeds"}),
    ]):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        assert extension.possible(swept(folder, text)[1]) == able


def test_a_written_grid_keeps_what_is_stored_and_its_sweep_settles_the_question(tmp_path: Path) -> None:
    file, runs, more = tmp_path / "small.yaml", tmp_path / "runs", tmp_path / "more.yaml"
    file.write_text(PLAIN.replace("data.size: [16, 64]", "data.size: [16, 20]"), encoding="utf-8")

    def said(*words: Any) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(word) for word in words])
        return result.exit_code, result.output

    assert said("sweep", file, "--runs", runs, "--cluster", "inline")[0] == 0
    code, text = said("report", runs, "--settle", more, "--json")
    content = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert (code, content["file"]) == (0, str(more))
    assert any(one["why"] == "there is one seed" and one["settled"] for one in content["questions"])
    planned = sweeping.prepare(more, runs, {})
    models = [mark for mark, cell in zip(planned.state.marks, planned.plan.cells, strict=True) if cell.kind == "model"]
    assert (models.count("done"), len(models) - models.count("done")) == (4, content["cells"])
    assert len(planned.state.work.trainings) == content["trainings"]
    code, text = said("report", runs, "--settle", more)
    assert (code, "more.yaml: exists; name another file\n" in text) == (2, True)
    assert "--force" not in text
    assert said("sweep", more, "--runs", runs, "--cluster", "inline")[0] == 0
    code, text = said("report", runs, "--settle", tmp_path / "again.yaml")
    assert (code, "has several grids (more, small); choose one with --grid" in text) == (2, True)
    assert not (tmp_path / "again.yaml").exists()
    code, text = said("report", runs, "--settle", tmp_path / "again.yaml", "--grid", "more", "--json")
    assert "there is one seed" not in text


def test_a_grid_whose_cells_are_others_than_the_swept_ones_is_not_written(tmp_path: Path) -> None:
    file, runs = tmp_path / "grid.yaml", tmp_path / "runs"
    file.write_text(PLAIN, encoding="utf-8")
    planned = sweeping.prepare(file, runs, {"model.width": "4"})
    sweeping.record(planned)
    (study,) = loading.gather(Store(runs))
    with pytest.raises(GridError, match=r"does not plan the cells that were swept.* by hand: 3 seeds"):
        written_grid(Store(runs), study, Extension(seeds=3), tmp_path / "more.yaml")
    assert not (tmp_path / "more.yaml").exists()
    result = CliRunner().invoke(app, ["report", str(runs), "--settle", str(tmp_path / "more.yaml")])
    assert (result.exit_code, (tmp_path / "more.yaml").exists()) == (0, False)
    assert "nothing is written: no further cells of the grid grid would settle what is open" in result.output
