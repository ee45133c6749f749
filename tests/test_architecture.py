"""The shape of the house: which room may know which, and what start-up may not import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "difgen_cli"
KINDS = ("data", "condition", "models", "objectives", "post_training", "sampling", "guidance", "features", "metrics")

# Each package and module of the core, and what of the core it may import. Data flow one way: from the grid to the rows.
MAY_IMPORT = {
    "cli": {
        "audit",
        "config",
        "data",
        "engine.cost",
        "engine.doctor",
        "engine.explain",
        "engine.grid",
        "engine.launch",
        "engine.logs",
        "engine.plan",
        "engine.plugins",
        "engine.progress",
        "engine.select",
        "engine.status",
        "engine.store",
        "engine.worker",
        "features",
        "format",
        "gate",
        "notebook",
        "pretrained",
        "report",
        "score",
        "sweep",
        "text",
    },
    "config": set(),
    "contents": set(),
    "diffusion": set(),
    "format": set(),
    "neighbours": set(),
    "notebook": {
        "diffusion",
        "engine.grid",
        "engine.plan",
        "engine.plugins",
        "engine.select",
        "engine.store",
        "engine.worker",
        "report",
    },
    "pretrained": {"contents", "data", "diffusion", "engine.store", "models", "text"},
    "sheets": set(),
    "text": set(),
    "engine.columns": set(),
    "engine.explain": {"engine.columns", "engine.plugins"},
    "engine.setting_types": set(),
    "engine.importing": set(),
    "engine.fingerprint": {"engine.columns"},
    "engine.inputs": set(),
    "engine.plugins": {
        "engine.columns",
        "engine.fingerprint",
        "engine.importing",
        "engine.inputs",
        "engine.setting_types",
    },
    "engine.store": {"engine.columns"},
    "engine.grid": {"engine.plugins"},
    "engine.plan": {
        "config",
        "contents",
        "data",
        "engine.grid",
        "engine.plugins",
        "engine.store",
        "features",
        "guidance",
        "pretrained",
        "text",
    },
    "engine.cost": {
        "diffusion",
        "engine.grid",
        "engine.plan",
        "engine.plugins",
        "engine.store",
        "format",
        "sampling",
    },
    "engine.worker": {
        "condition",
        "config",
        "data",
        "diffusion",
        "engine.cost",
        "engine.plan",
        "engine.plugins",
        "engine.store",
        "features",
        "guidance",
        "neighbours",
        "sampling",
        "models",
        "objectives",
    },
    "engine.launch": {
        "config",
        "engine.cost",
        "engine.plan",
        "engine.plugins",
        "engine.store",
        "engine.worker",
        "format",
    },
    "engine.select": {"engine.grid", "engine.plan", "engine.store"},
    "engine.status": {"engine.cost", "engine.launch", "engine.plan", "engine.progress", "engine.store"},
    "engine.progress": {"engine.launch", "engine.plan", "engine.store", "format"},
    "engine.logs": {"engine.select", "engine.store"},
    "engine.doctor": {"config", "engine.cost", "engine.launch", "engine.store", "features"},
    "report": {
        "data",
        "engine.columns",
        "engine.grid",
        "engine.plan",
        "engine.plugins",
        "engine.select",
        "engine.store",
        "format",
        "metrics",
        "neighbours",
        "text",
    },
    "gate": {
        "contents",
        "engine.columns",
        "engine.grid",
        "engine.plan",
        "engine.plugins",
        "engine.select",
        "engine.store",
        "format",
        "report",
        "text",
    },
    "sweep": {
        "config",
        "engine.cost",
        "engine.grid",
        "engine.launch",
        "engine.plan",
        "engine.plugins",
        "engine.store",
        "engine.progress",
        "format",
    },
    "audit": {
        "engine.grid",
        "engine.plan",
        "engine.plugins",
        "engine.progress",
        "engine.store",
        "score",
        "sweep",
        "text",
    },
    "score": {
        "data",
        "engine.doctor",
        "engine.grid",
        "engine.plan",
        "engine.plugins",
        "engine.progress",
        "engine.store",
        "sheets",
        "sweep",
        "text",
    },
}


def _imports(file: Path) -> set[str]:
    """Modules of the package that a file imports, anywhere in it: `report`, `engine.plan`."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    paths = [name.split(".")[1:] for name in names if name.startswith("difgen_cli.")]
    return {".".join(path[: 2 if path[0] == "engine" else 1]) for path in paths} - {"__version__"}


def _files(module: str) -> list[Path]:
    path = PACKAGE.joinpath(*module.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def test_every_module_is_in_the_map() -> None:
    modules = {
        prefix + path.stem
        for prefix, folder in (("", PACKAGE), ("engine.", PACKAGE / "engine"))
        for path in folder.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert modules - {"__init__", "__main__", "engine.__init__", "engine", *KINDS} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", sorted(MAY_IMPORT))
def test_imports_go_one_way(module: str) -> None:
    for file in _files(module):
        assert _imports(file) - {module} <= MAY_IMPORT[module], file


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_knows_its_own_package_and_the_mathematics_only(kind: str) -> None:
    for file in _files(kind):
        assert _imports(file) <= {kind, "contents", "diffusion", "neighbours", "sheets", "text"}, file


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
        if "store" not in file.parts and file.name not in ("options.py", "config.py"):  # a hint; torch's own cache
            assert not folders.search(file.read_text(encoding="utf-8")), file
