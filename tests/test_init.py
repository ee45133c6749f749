"""`difgen init` writes a grid that can be planned and swept, and nothing where it cannot."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from difgen_cli import sweep
from difgen_cli.cli import app

NOISE = np.random.default_rng(0)


def _typed(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def _folder(path: Path, count: int, side: int) -> Path:
    path.mkdir()
    for place in range(count):
        Image.fromarray(NOISE.integers(0, 255, (side, side, 3), np.uint8)).save(path / f"{place}.png")
    return path


def test_a_grid_of_a_folder_is_planned_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = _folder(tmp_path / "my: photos #1", 100, 20)
    code, text = _typed("init", images)
    assert code == 0
    assert "my-photos-1.yaml: written. What it costs: difgen plan my-photos-1.yaml." in text
    planned = sweep.prepare(Path("my-photos-1.yaml"), Path("runs"), {})
    values = {(cell.settings()["data.size"], cell.settings()["data.held_out"]) for cell in planned.plan.models}
    assert values == {(16, 25), (64, 25)}
    assert {cell.settings()["model.name"] for cell in planned.plan.models} == {"unet"}
    assert not Path("runs").exists()


@pytest.mark.parametrize(("count", "sizes"), [(64, [16, 48]), (200, [16, 64, 150]), (90_000, [256, 1024, 4096, 16384])])
def test_sizes_go_up_to_what_is_there(tmp_path: Path, count: int, sizes: list[int]) -> None:
    points = NOISE.standard_normal((count, 2)).astype(np.float32)
    np.savez(tmp_path / "points.npz", points=points)
    assert _typed("init", tmp_path / "points.npz", tmp_path / "points.yaml", "--runs", tmp_path / "runs")[0] == 0
    text = (tmp_path / "points.yaml").read_text(encoding="utf-8")
    assert re.search(r"data.size: (\[.*\])", text)[1] == str(sizes)
    assert "{name: mlp}" in text


def test_a_grid_that_exists_is_kept(tmp_path: Path) -> None:
    images, out = _folder(tmp_path / "images", 70, 4), tmp_path / "mine.yaml"
    out.write_text("# mine\n", encoding="utf-8")
    assert _typed("init", images, out) == (2, f"{out}: exists; name another file, or replace it with --force\n")
    assert out.read_text(encoding="utf-8") == "# mine\n"
    assert _typed("init", images, out, "--runs", tmp_path / "runs", "--force")[0] == 0
    assert "held_out: 17" in out.read_text(encoding="utf-8")


def test_what_is_no_set_of_images_is_one_sentence(tmp_path: Path) -> None:
    code, text = _typed("init", tmp_path / "nowhere", tmp_path / "a.yaml")
    assert (code, text) == (2, f"init: {tmp_path / 'nowhere'}: there is no such file or folder\n")
    few = _folder(tmp_path / "few", 63, 4)
    assert _typed("init", few, tmp_path / "a.yaml") == (
        2, f"init: {few} has 63 images; a first grid needs at least 64\n"
    )  # fmt: skip
    assert not (tmp_path / "a.yaml").exists()
