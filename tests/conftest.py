"""Shared fixtures: grids written by tests, run directories, and the command line as a user has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

os.environ.setdefault("OMP_NUM_THREADS", "1")

from difgen_cli.engine.grid import read
from difgen_cli.engine.plan import Plan
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plan.planner import build
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store

# A shell ignores Ctrl-C in what it starts in the background, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Shared machines are slow at times, which says nothing of the code.
hypothesis_settings.register_profile("difgen", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("difgen")

ROOT = Path(__file__).parent.parent

# Files of minutes come first: else one worker has the last of them while the others wait.
LONG = (
    "test_sweep.py", "slurm", "test_real_data.py", "chaos", "test_readme.py", "test_benchmarks.py", "test_guidance.py",
    "test_waste.py", "perf", "test_temi.py", "test_show.py", "test_against.py",
)  # fmt: skip

TINY = """\
# Is a tiny grid enough to see that everything works?
base:
  data:      {name: digits, held_out: 900}
  model:     {name: mlp, width: 8, depth: 1}
  train:     {batch: 16}
  sample:    {name: euler, steps: 3, count: 32}
  score:     [memorization, gap]
axes:
  train.steps: [10, 20]
  data.size:   [8, 16]
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((k for k, name in enumerate(LONG) if name in item.path.parts), len(LONG))

    items.sort(key=place)


@pytest.fixture
def write_grid(tmp_path: Path) -> Callable[..., Path]:
    """Write a grid file and return its path."""

    def write(text: str = TINY, name: str = "tiny.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def plan_of(tmp_path: Path) -> Callable[[Path], Plan]:
    """Plan a grid against an empty run directory."""

    def plan(path: Path) -> Plan:
        plugins = path.parent / "plugins"
        library = Library(plugins if plugins.is_dir() else None)
        return build(read(path), library, Finder(Store(tmp_path / "runs"), library, path.parent))

    return plan


@pytest.fixture
def difgen(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in a process of its own, in the test's folder."""

    def run(*arguments: str | Path, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "difgen_cli", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
