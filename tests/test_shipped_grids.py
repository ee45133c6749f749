"""`difgen grids` lists the studies that come with difgen, and copies them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from difgen_cli.cli import app
from difgen_cli.report.plotting import labels

GRIDS = Path(__file__).parent.parent / "grids"


def _typed(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["grids", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def test_every_grid_is_listed_with_its_question() -> None:
    code, text = _typed()
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert set(lines) == {file.stem for file in GRIDS.glob("*.yaml")}
    assert lines["size"] == "When does a diffusion model stop copying its training set?"
    assert all(question.endswith("?") for question in lines.values())


@pytest.mark.parametrize("file", sorted(GRIDS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_axis_of_a_grid_has_a_name_of_its_own_on_figures(file: Path) -> None:
    axes = yaml.safe_load(file.read_text(encoding="utf-8")).get("axes", {})
    paths = [path.strip() for axis in axes for path in axis.split(",")]
    assert {path for path in paths if labels.setting(path) == path} == set()
    assert len({labels.level(path, "2") for path in paths}) == len(paths)


def test_the_name_of_an_axis_of_a_metric_has_the_metrics_name() -> None:
    assert labels.setting("score.ood.features") == "feature space (ood)"
    assert labels.level("score.ood.against.name", "parquet") == "ood beside parquet"


def test_a_copy_is_equal_and_replaces_nothing(tmp_path: Path) -> None:
    out = tmp_path / "new" / "mine.yaml"
    assert _typed("size", out) == (0, f"{out}: written. What it costs: difgen plan {out}\n")
    assert out.read_bytes() == (GRIDS / "size.yaml").read_bytes()
    assert _typed("clock", out) == (2, f"{out}: exists; name another file, or replace it with --force\n")
    assert out.read_bytes() == (GRIDS / "size.yaml").read_bytes()
    assert _typed("clock", out, "--force")[0] == 0


def test_a_typo_is_one_sentence() -> None:
    code, text = _typed("siz")
    assert code == 2
    assert text.startswith("grids siz: no such grid (")
    assert text.endswith("; did you mean size?\n")
