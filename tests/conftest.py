"""Shared fixtures: grids written by tests, run directories, and the command line as a user has it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

os.environ.setdefault("OMP_NUM_THREADS", "1")

from forking import ForkServer

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
    "slurm", "chaos", "test_modes.py", "test_benchmarks.py", "test_compiled_networks.py", "test_real_data.py",
    "test_on_a_card.py",
    "test_sweep.py", "test_readme.py", "test_chart.py", "test_score.py", "test_forecast.py", "test_plugins.py",
    "test_paper.py", "browser", "test_a_launcher_in_one_file.py", "test_instruments.py", "test_report.py",
    "test_stamp.py", "test_failures.py", "test_against.py", "cost", "test_drawing.py", "test_use.py", "intervals",
    "test_populations.py", "test_guidance.py", "test_page.py", "test_errors.py", "test_logs.py", "test_worlds.py",
    "test_show.py", "test_garbage.py", "test_agreement.py", "test_aligned.py", "test_temi.py", "test_distrust.py",
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


# What waits for a cluster or for faults is not of `make test`, but of `make slurm-test`, `make chaos` and `make rest`.
APART = ("slurm", "chaos")


@pytest.hookimpl(tryfirst=True)  # before the markers are asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for folder in APART:
            if ROOT / "tests" / folder in item.path.parents:
                item.add_marker(folder)

    def place(item: pytest.Item) -> int:
        return next((k for k, name in enumerate(LONG) if name in item.path.parts), len(LONG))

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Search for no garbage among what is imported for the tests: it is none, and to search takes a quarter of it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what was imported for the tests, 750,000 objects, out of every later search for garbage: workers search
    between two units, which takes 0.4 s with them. What tests make is collected as before, but more at once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


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


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """A process that has imported all, from which the tests' commands are forked."""
    with tempfile.TemporaryDirectory() as folder:  # a socket's path may not be as long as pytest's are
        server = ForkServer(Path(folder))
        yield server
        server.close()


@pytest.fixture(scope="session")
def difgen_in(fork_server: ForkServer) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in a process of its own, in any folder."""

    def run(
        folder: Path, *arguments: str | Path, timeout: float = 300, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        words, whole = [*map(str, arguments)], {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        if fork_server.possible(whole):
            return fork_server.run(words, folder, whole, timeout)
        return subprocess.run(
            [sys.executable, "-m", "difgen_cli", *words],
            cwd=folder,
            env=whole,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def difgen(
    tmp_path: Path, difgen_in: Callable[..., subprocess.CompletedProcess[str]]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in a process of its own, in the test's folder."""
    return partial(difgen_in, tmp_path)
