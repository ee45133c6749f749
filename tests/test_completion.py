"""What a shell offers at Tab: names that exist, and nothing where nothing can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from difgen_cli.cli import app
from difgen_cli.engine.plugins import Library

GRID = """# Which names are there?
base:
  data: {name: digits, held_out: 900}
  model: {name: mlp, width: 8, depth: 1}
  train: {batch: 16}
  sample: {name: euler, steps: 2, count: 16}
  score: {memorization: , gap: }
axes:
  train.steps: [2, 4]
  data.size: [8, 12]
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, difgen_in: Callable[..., object]) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    (folder / "named.yaml").write_text(GRID, encoding="utf-8")
    difgen_in(folder, "sweep", "named.yaml", "--cluster", "inline")
    difgen_in(folder, "report")
    return folder / "runs"


def _offered(line: str, **environment: str) -> list[str]:
    """What bash would offer for the last word of a line."""
    words = line.split(" ")
    asked = {"_DIFGEN_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = CliRunner().invoke(app, [], prog_name="difgen", env=asked | environment)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.output.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("difgen report --grid ", ["named"]),
        ("difgen show train.st", ["train.steps="]),
        ("difgen show train.steps=", ["train.steps=2", "train.steps=4"]),
        ("difgen status --only train.steps=4", ["train.steps=4"]),
        ("difgen report --x mem_po", ["mem_power"]),
        ("difgen status --state failed,lo", ["failed,lost"]),
        ("difgen score a --metrics gap,memor", ["gap,memorization"]),
        ("difgen audit a --metrics memor", ["memorization"]),
        ("difgen plan --cluster sl", ["slurm"]),
        ("difgen grids smo", ["smoke"]),
        ("difgen explain data.si", ["data.size"]),
        ("difgen forecast --at ", ["data.size="]),
        ("difgen forecast --at data.size=", ["data.size=8", "data.size=12"]),
        ("difgen show nothing", []),
    ],
)
def test_names_are_offered(swept: Path, line: str, offered: list[str]) -> None:
    assert _offered(line, DIFGEN_RUNS=str(swept)) == offered


def test_data_sets_are_those_of_the_package() -> None:
    assert _offered("difgen data ") == Library().names("data")


@pytest.mark.parametrize("line", ["difgen show ", "difgen report --x ", "difgen report --grid "])
def test_nothing_is_offered_and_no_error_printed_where_there_is_no_run_directory(tmp_path: Path, line: str) -> None:
    assert _offered(line, DIFGEN_RUNS=str(tmp_path / "none")) == []
