"""Modules and files beside a user's plug-ins: they can be imported from every form of statement, and they count."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from difgen_cli import contents
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan.sections import resolve_metric
from difgen_cli.engine.plugins import Library, read

PLUGIN = "{statement}\n\n\ndef measure(samples):\n    {late}\n    return {value}\n"
STATEMENTS = {
    "relative": ("from ._near import scale", "", "scale"),
    "relative, above": ("from .._helper import scale", "", "scale"),
    "relative, the module": ("from . import _near", "", "_near.scale"),
    "by the folder's name": ("from plugins.metrics._near import scale", "", "scale"),
    "by the folder's name, above": ("import plugins._helper", "", "plugins._helper.scale"),
    "through another": ("from plugins._through import scale", "", "scale"),
    "while it runs": ("", "from plugins._helper import scale", "scale"),
    "while it runs, relative": ("", "from .._through import scale", "scale"),
}


@pytest.fixture(autouse=True)
def nothing_else_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """As the command `difgen` has it: the current folder is not searched for modules."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", ".")])
    yield
    for name in [n for n in sys.modules if n == "plugins" or n.startswith("plugins.")]:
        del sys.modules[name]


def plugins_of(folder: Path, scale: int, statement: str = "", late: str = "pass", value: str = "1") -> Library:
    """A folder of plug-ins: a metric `mine`, and modules beside it that say `scale`."""
    metrics = folder / "plugins" / "metrics"
    metrics.mkdir(parents=True, exist_ok=True)
    (metrics / "mine.py").write_text(PLUGIN.format(statement=statement, late=late or "pass", value=value))
    (metrics / "_near.py").write_text(f"scale = {scale}\n")
    (folder / "plugins" / "_helper.py").write_text(f"scale = {scale}\n")
    (folder / "plugins" / "_through.py").write_text("from ._helper import scale\n")
    read.cache_clear()
    return Library(folder / "plugins")


@pytest.mark.parametrize("case", STATEMENTS)
def test_modules_beside_a_plugin_are_imported_and_count_into_its_version(tmp_path: Path, case: str) -> None:
    library = plugins_of(tmp_path / "a", 3, *STATEMENTS[case])
    first = library.signature("score", "mine").version
    assert library.module("score", "mine").measure(None) == 3
    assert plugins_of(tmp_path / "a", 4, *STATEMENTS[case]).signature("score", "mine").version != first
    assert plugins_of(tmp_path / "a", 3, *STATEMENTS[case]).signature("score", "mine").version == first


@pytest.mark.parametrize("case", STATEMENTS)
def test_two_folders_of_plugins_have_modules_of_their_own(tmp_path: Path, case: str) -> None:
    one, other = (plugins_of(tmp_path / name, n, *STATEMENTS[case]) for name, n in (("a", 3), ("b", 5)))
    assert one.module("score", "mine").measure(None) == 3
    assert other.module("score", "mine").measure(None) == 5


def test_a_plugin_that_fails_fails_again_when_it_is_imported_again(tmp_path: Path) -> None:
    library = plugins_of(tmp_path / "a", 3, "raise RuntimeError('broken')")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            library.module("score", "mine")


def test_a_whole_sweep_runs_with_modules_beside_its_plugins(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Callable[..., Any]
) -> None:
    grid = write_grid(
        "# Is a module beside a metric there?\nbase:\n  data:   {name: digits, held_out: 900, size: 16}\n"
        "  model:  {name: mlp, width: 8, depth: 1}\n  train:  {batch: 16, steps: 2}\n"
        "  sample: {name: euler, steps: 2, count: 8}\n  score:  [mine]\n"
    )
    plugins_of(tmp_path, 7)
    (tmp_path / "plugins" / "metrics" / "mine.py").write_text(
        "from difgen_cli.metrics import Result\nfrom plugins._helper import scale\n\n"
        'COLUMNS = {"mine": ("float64", "", "what")}\n\n\ndef measure(samples):\n    return Result({"mine": scale})\n'
    )
    for cluster in ("inline", "local"):
        done = difgen("sweep", grid, "--cluster", cluster, "--runs", tmp_path / cluster)
        assert done.returncode == 0, done.stderr
        results = list((tmp_path / cluster / "trajectories").glob("*/results/*.json"))
        values = [json.loads(file.read_text()) for file in results]
        assert "7.0" in json.dumps(values) or ": 7" in json.dumps(values), values


READS = "from pathlib import Path\n\n\ndef measure(samples, *, file: Path{default}):\n    return 1\n"


def version_of(folder: Path, default: str, given: str | None) -> int | str:
    metrics = folder / "plugins" / "metrics"
    metrics.mkdir(parents=True, exist_ok=True)
    (metrics / "reads.py").write_text(READS.format(default=default))
    read.cache_clear()
    settings = {} if given is None else {"file": Given(given, None)}  # type: ignore[arg-type]
    section, _ = resolve_metric("reads", settings, Library(folder / "plugins"), None)
    return section.signature.version


@pytest.mark.parametrize("named", ["by the grid", "by a default"])
def test_a_file_that_a_plugin_reads_counts_by_its_bytes(tmp_path: Path, named: str) -> None:
    file = tmp_path / "table.bin"
    default, given = ("", str(file)) if named == "by the grid" else (f' = "{file}"', None)
    file.write_bytes(b"one")
    first = version_of(tmp_path, default, given)
    assert str(first).endswith("+" + hashlib.sha256(hashlib.sha256(b"one").digest()).hexdigest()[:16])
    status = file.stat()
    file.write_bytes(b"two")  # of the same size, and said to be of the same time
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = version_of(tmp_path, default, given)
    assert second != first
    other = tmp_path / "other.bin"
    other.write_bytes(b"one")
    file.unlink()
    other.rename(file)
    assert version_of(tmp_path, default, given) == first


def test_a_default_that_names_no_file_leaves_the_version_as_it_was(tmp_path: Path) -> None:
    assert "+" not in str(version_of(tmp_path, ' = "nowhere.bin"', None))


def test_a_file_is_hashed_once_for_each_state_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, opened = tmp_path / "table.bin", []
    file.write_bytes(b"one")
    whole = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: (opened.append(self), whole(self, *a, **k))[1])
    digests = [contents.sha256(file) for _ in range(3)]
    assert (len(opened), len(set(digests))) == (1, 1)
    file.write_bytes(b"more")
    assert contents.sha256(file) == hashlib.sha256(b"more").hexdigest()
    assert len(opened) == 3  # that of the test, and once again


def test_what_a_plugin_imports_is_there_in_a_new_process_of_the_command(tmp_path: Path) -> None:
    """`canonical` is called while planning, from the console script, whose path has no current folder."""
    models = tmp_path / "plugins" / "models"
    models.mkdir(parents=True)
    (models / "_sizes.py").write_text("WIDTH = 8\n")
    (models / "mine.py").write_text(
        "from plugins.models._sizes import WIDTH\n\n\ndef canonical(settings):\n    assert WIDTH == 8\n"
        '    return "mine", settings\n\n\ndef build(shape, classes, *, width: int = 4):\n    ...\n'
    )
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if p not in ('', '.')]\n"
        "from pathlib import Path; from difgen_cli.engine.plugins import Library\n"
        "print(Library(Path(sys.argv[1])).module('model', 'mine').canonical({}))\n"
        "assert 'torch' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "plugins")]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.stdout.strip() == "('mine', {})", done.stderr
