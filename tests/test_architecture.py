"""The shape of the house: which room may know which, and what start-up may not import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "difgen_cli"
KINDS = ("data", "condition", "models", "sampling", "guidance", "features", "metrics")

# Each module of the core, and what of the core it may import. Data flow one way: from the grid to the rows.
MAY_IMPORT = {
    "plugins": set(),
    "quantities": set(),
    "places": set(),
    "sheets": set(),
    "store": set(),
    "text": set(),
    "diffusion": set(),
    "neighbours": set(),
    "grid": {"plugins"},
    "flat": set(),
    "train": {"diffusion", "flat"},
    "perf": {"diffusion", "grid", "plan", "plugins", "quantities", "sampling", "store", "train", "view"},
    "plan": {"data", "features", "grid", "guidance", "places", "plugins", "store", "text"},
    "worker": {
        "condition",
        "data",
        "diffusion",
        "features",
        "guidance",
        "neighbours",
        "perf",
        "places",
        "plan",
        "plugins",
        "sampling",
        "store",
        "train",
    },
    "launch": {"perf", "places", "plan", "plugins", "quantities", "store", "view", "worker"},
    "report": {"data", "grid", "plan", "quantities", "store"},
    "view": {"plan", "quantities", "store"},
    "cells": {"grid", "plan", "store"},
    "logs": {"cells", "store"},
    "doctor": {"features", "launch", "places", "store"},
    "show": {"cells", "plan", "plugins", "report", "store"},
    "sweep": {"grid", "launch", "perf", "places", "plan", "plugins", "quantities", "store", "view"},
    "score": {"data", "doctor", "grid", "plan", "plugins", "sheets", "store", "sweep", "text"},
    "status": {"launch", "perf", "plan", "store"},
    "display": {
        "data",
        "features",
        "grid",
        "perf",
        "places",
        "plan",
        "plugins",
        "quantities",
        "report",
        "score",
        "show",
        "status",
        "store",
        "sweep",
        "view",
    },
}


def _imports(file: Path) -> set[str]:
    """Modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "difgen_cli":
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("difgen_cli.")}
    return found - {"__version__"}


def _files(module: str) -> list[Path]:
    folder = PACKAGE / module
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{module}.py"]


def test_every_module_is_in_the_map() -> None:
    there = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert there - {"__init__", "__main__", "cli", *KINDS} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", sorted(MAY_IMPORT))
def test_imports_go_one_way(module: str) -> None:
    for file in _files(module):
        assert _imports(file) - {module} <= MAY_IMPORT[module], file


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_knows_its_own_package_and_the_mathematics_only(kind: str) -> None:
    for file in _files(kind):
        assert _imports(file) <= {kind, "diffusion", "neighbours", "sheets", "text"}, file


@pytest.mark.parametrize(
    "arguments", [["--help"], ["sweep", "--help"], ["plan", "--help"], ["report", "--help"], ["score", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = ("torch", "numpy", "pandas", "pyarrow", "matplotlib", "sklearn", "scipy", "submitit", "ruamel")
    assert not _imported(arguments) & set(heavy)


def test_planning_and_reporting_never_import_torch(tmp_path: Path) -> None:
    grid = str(PACKAGE.parent / "grids" / "smoke.yaml")
    for arguments in (["plan", grid], ["sweep", grid, "--dry-run"]):
        assert "torch" not in _imported([*arguments, "--runs", str(tmp_path / "runs")])
    assert "torch" not in _imported(["report", str(tmp_path / "runs")])
    assert "torch" not in _imported(["status", str(tmp_path / "runs")])
    assert "torch" not in _imported(["gc", str(tmp_path / "runs")])
    assert "torch" not in _imported(["logs", "0", "--runs", str(tmp_path / "runs")])
    assert "torch" not in _imported(["doctor", "--runs", str(tmp_path / "runs")])


def _imported(arguments: list[str]) -> set[str]:
    code = (
        "import sys; from difgen_cli.cli import app\n"
        "try: app(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print('imported', *sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.rpartition("imported")[2].split())


def test_the_package_is_safe_by_construction() -> None:
    """No eval, no pickle, no shell, and weights are loaded as weights only."""
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert name not in ("eval", "exec", "os.system", "pickle.load", "pickle.loads", "yaml.load"), file
                assert keywords.get("shell", "False") == "False", file
                if name == "torch.load":
                    assert keywords.get("weights_only") == "True", file
                if name == "np.load":
                    assert keywords.get("allow_pickle", "False") == "False", file


def test_the_store_alone_names_folders_of_the_run_directory() -> None:
    folders = re.compile(r"/ f?[\"'](trajectories|references|snapshots|checkpoints|attempts|tables|shared|grids)[\"'/]")
    for file in PACKAGE.rglob("*.py"):
        if "store" not in file.parts and file.name not in ("common.py", "places.py"):  # a hint; torch's own cache
            assert not folders.search(file.read_text(encoding="utf-8")), file
