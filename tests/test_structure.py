"""What benchmarks/structure.py counts: known answers on packages written here, and what difgen must keep to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
COPYRIGHT = "# Copyright of somebody, who would not have it counted\n"

TOOLS = '''\
from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A box."""

    width: int = 1  # metres

    def area(self) -> int:
        """Its area."""
        return self.width**2

    def _secret(self) -> int:
        return 1

    def bare(self) -> int:
        found = self.width  # noqa: S101
        return found


class _Hidden:
    def method(self) -> None: ...


# Kept as a list, because the
# order of boxes matters.
BOXES = [Box()]


def long(
    said: int,
) -> int:
    """Three lines of arguments, a blank one within."""

    def inner() -> int:
        class Box: ...

        return 2

    text = "# not a comment because it is a string"
    return inner() + said + len(text)
'''

# What a cell meets, as small as it can be: a name that two functions have, a call through a module, a method.
WAY = {
    "engine/sweep.py": """\
        from pkg.engine.plan import plan
        from pkg.engine import launch
        def run(options: Options) -> None:
            launch.submit(plan("grid"))
        class Options: ...
        """,
    "engine/grid.py": """\
        from typing import Protocol
        class Grid(Protocol): ...
        class Loose: ...
        def unreached(loose: Loose) -> None: ...
        def submit(loose: Loose) -> None: ...
        """,
    "engine/plan/__init__.py": """\
        from typing import NamedTuple
        class Cell(NamedTuple):
            key: str
        class Plan:
            def cells(self) -> "list[Cell]": ...
            def unused(self) -> Loose: ...
        def plan(name: str) -> Plan: ...
        """,
    "engine/launch/slurm.py": 'NAME = "slurm"\n',
    "engine/launch/__init__.py": "def submit(plan: Plan) -> None:\n    plan.cells()\n",
    "engine/worker.py": """\
        from pkg.engine.store import publish
        def main(folder: str) -> None:
            publish({})
        """,
    "engine/store.py": """\
        import dataclasses
        from typing import TypedDict
        class Row(TypedDict):
            key: str
        @dataclasses.dataclass
        class Store:
            root: str
        def publish(row: Row) -> None: ...
        """,
    "engine/train.py": "def train(*, weight_decay: float = 0.0) -> None: ...\n",
    "engine/labels.py": 'LABELS = {"train.weight_decay": "decay", "copies": "share of copies"}\n',
    "engine/cli.py": '"""local"""\nNAMES = ("inline", "slurm")\n',
    "engine/said.py": 'TEXT = "local workers, and slurm"\n',
    "metrics/memorization.py": 'COLUMNS = {"copies": 1}\nTABLES = {"pairs": {"seed": 1}}\nNAME = "copies"\n',
    "metrics/other.py": 'TABLES: dict[str, int] = {"others": 1}\nSEED = "seed"\n',
    "figures/memorization.py": 'DRAWN = "pairs"\n',
    "figures/another.py": 'BESIDE = "pairs"\nMORE = "others"\n',
    "metrics/penalty.py": "import torch\ntorch.adam(weight_decay=1)\n",
}


def _printed(*arguments: str | Path) -> str:
    command = [sys.executable, "-W", "error", str(ROOT / "benchmarks" / "structure.py"), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _measured(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numbers and the names of one package by row."""
    (measures,) = json.loads(_printed("--json", folder)).values()
    return measures["numbers"], measures["names"]


def _write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.splitlines(keepends=True)
        path.write_text("".join(line.removeprefix(" " * 8) for line in lines), encoding="utf-8")
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "data").mkdir(parents=True)
    (folder / "tools.py").write_text(TOOLS, encoding="utf-8")
    (folder / "data" / "points.py").write_text(f"{COPYRIGHT}\nx = 1  # it\ny = 2  # must not be 3\n", encoding="utf-8")
    (folder / "large.py").write_text("\n" * 301, encoding="utf-8")
    (folder / "test_tools.py").write_text("class Box: ...\n", encoding="utf-8")
    return folder


def test_a_tiny_package_has_the_structure_that_was_written(tiny: Path) -> None:
    numbers, names = _measured(tiny)
    expected = {
        "lines of the engine": 27,
        "lines of plug-ins": 3,
        "files of the engine": 2,
        "files of plug-ins": 1,
        "largest file": 301,
        "files over 300 lines": 1,
        "functions": 6,
        "... median length": 3,  # 1, 2, 3, 3, 4, 12: method, _secret, area, bare, inner, long
        "... 95th percentile": 12,
        "... longest": 12,
        "... over 60 lines": 0,
        "public functions": 3,  # area, bare, long
        "... with docstring, %": pytest.approx(200 / 3),
        "dataclasses": 1,
        "other classes": 2,
        "class names defined more than once": 1,
        "comments": 4,  # metres, the two lines as one, it, must not be 3
        "comments per 1,000 lines": pytest.approx(4000 / 30),
        "comments that say why": 2,
        "... per 1,000 lines": pytest.approx(2000 / 30),
        "uses of vague names": 4,
        "records from YAML to row": None,
    }
    assert {row: numbers[row] for row in expected} == expected
    assert names["class names defined more than once"] == ["Box 2"]
    assert names["files over 300 lines"] == ["large.py 301"]
    assert sorted(names["uses of vague names"]) == ["found 2", "said 2"]


def test_a_cells_records_and_concepts_are_those_on_its_way(tmp_path: Path) -> None:
    numbers, names = _measured(_write(tmp_path / "pkg", WAY))
    assert numbers["records from YAML to row"] == 4
    records = {name.partition(":")[2] for name in names["records from YAML to row"]}
    assert records == {"Grid", "Cell", "Row", "Store"}
    assert names["concepts that a cell meets"] == ["Cell", "Options", "Plan", "Row"]


def test_a_change_touches_the_files_that_name_an_example_of_its_kind(tmp_path: Path) -> None:
    numbers, names = _measured(_write(tmp_path / "pkg", WAY))
    assert names["files that name a metric (memorization)"] == ["engine/labels.py", "figures/another.py"]
    assert numbers["... median of those with tables"] == 1.5
    assert names["files that name a setting (weight_decay)"] == ["engine/labels.py", "engine/train.py"]
    assert names["files that name a launcher"] == ["engine/cli.py"]


def test_the_table_has_a_column_for_each_package(tiny: Path, tmp_path: Path) -> None:
    other = _write(tmp_path / "elsewhere" / "tiny", {"a.py": "class A: ...\n"})
    third = _write(tmp_path / "third", {"a.py": "class A: ...\n"})
    head, *rows = _printed(tiny, other, third).splitlines()
    assert head.split() == [str(tiny), str(other), "third"]  # two folders of one name keep their paths
    assert next(row for row in rows if row.startswith("other classes")).split()[-3:] == ["2", "1", "1"]
    assert next(row for row in rows if row.startswith("... longest")).split()[-2:] == ["–", "–"]


def test_a_folder_without_python_is_refused_in_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "structure.py"), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"{tmp_path}: no Python file in it\n"


# None of these may become more.
LONG_FUNCTIONS = {"diffusion/training.py:train"}


def test_difgen_has_no_repeated_names_no_long_files_and_no_more_long_functions_than_it_had() -> None:
    numbers, names = _measured(ROOT / "difgen_cli")
    repeated = names.get("class names defined more than once")
    assert not repeated, "classes of the same name: give the new one a name of its own"
    assert not names.get("files over 300 lines")
    assert {name.split()[0] for name in names.get("... over 60 lines", [])} <= LONG_FUNCTIONS
    assert numbers["... longest"] <= 90
    assert numbers["uses of vague names"] == 0
    assert numbers["... with docstring, %"] > 90
    for row in ("records from YAML to row", "concepts that a cell meets", "files that name a launcher"):
        assert numbers[row], row


def test_no_two_test_files_have_one_name() -> None:
    """Tests import helpers from each other by bare names, and pytest refuses the second file of a name."""
    paths = [path for path in sorted((ROOT / "tests").rglob("*.py")) if not (path.parent / "__init__.py").exists()]
    names = Counter(path.name for path in paths if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []
