"""The built wheel works without the repository: commands, shipped grids, a sweep and its report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TINY = ["--set", "train.steps=4", "--set", "sample.count=16", "--set", "data.size=16"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The difgen of a new environment, which has what difgen needs and a wheel of it, and nothing of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def pip(*arguments: str | Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "pip", *map(str, arguments)], capture_output=True, text=True, env=environment,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    venv.create(folder / "clean", with_pip=False)
    python = folder / "clean" / "bin" / "python"
    (wheel,) = folder.glob("difgen-*.whl")
    pip("--python", python, "install", "--quiet", "--no-deps", wheel)
    site = next((folder / "clean" / "lib").glob("python*/site-packages"))
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "clean" / "bin" / "difgen"


def environment_of(folder: Path) -> dict[str, str]:
    """That of this process without its paths, with a key of the folder's own."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return environment | {"OMP_NUM_THREADS": "1", "DIFGEN_GATE_KEY": str(folder / "gate.key")}


@pytest.mark.long
def test_the_wheel_sweeps_and_reports(installed: Path, tmp_path: Path) -> None:
    def difgen(*arguments: str) -> str:
        done = subprocess.run(
            [installed, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
            env=environment_of(tmp_path),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [installed.parent / "python", "-c", "import difgen_cli; print(difgen_cli.__file__)"], cwd=tmp_path,
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert Path(where.strip()).is_relative_to(installed.parent.parent)
    names = {line.split()[0] for line in difgen("grids").splitlines()}
    assert names == {file.stem for file in (ROOT / "grids").glob("*.yaml")}
    difgen("grids", "smoke", "mine.yaml")
    assert (tmp_path / "mine.yaml").read_bytes() == (ROOT / "grids" / "smoke.yaml").read_bytes()
    difgen("gate", "open-weights", "--copy", "mine.toml")
    assert (tmp_path / "mine.toml").read_bytes() == (ROOT / "policies" / "open-weights.toml").read_bytes()
    difgen("sweep", "mine.yaml", "--cluster", "inline", *TINY)
    difgen("report")
    assert (tmp_path / "report" / "report.html").stat().st_size > 100_000
    judged = subprocess.run(
        [installed, "gate", "mine.toml", "runs", "--cell", "condition.clusters=1", "--json"], cwd=tmp_path,
        capture_output=True, text=True, timeout=300, check=False, env=environment_of(tmp_path),
    )  # fmt: skip
    assert judged.returncode == 1, judged.stderr  # four steps, sixteen samples, and no weights are named
    assert json.loads(judged.stdout)["verdict"] in ("fail", "insufficient")
