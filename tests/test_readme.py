"""The README is true: its commands run in their order in one run directory and print what it shows."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from markdown import blocks
from PIL import Image
from sklearn.datasets import load_digits

from difgen_cli.cli import app

Run = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def _bash_commands(text: str) -> list[list[str]]:
    """Every line of a document's bash blocks, as arguments."""
    lines = [line.partition("  #")[0].strip() for block in blocks(text, "bash") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line and not line.startswith("#")]


def _sessions() -> list[tuple[list[str], list[str]]]:
    """The commands that the README shows with their output: arguments and lines."""
    sessions: list[tuple[list[str], list[str]]] = []
    for line in "".join(blocks(README, "console")).splitlines():
        if line.startswith("$ "):
            sessions.append((shlex.split(line[2:]), []))
        else:
            sessions[-1][1].append(line)
    return sessions


def _run(command: list[str], folder: Path, difgen_in: Run) -> tuple[int, str]:
    """Exit code and output of a `difgen` command."""
    run = difgen_in(folder, *command[1:])
    return run.returncode, run.stdout + run.stderr


def _save(folder: Path, images: np.ndarray) -> None:
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:04d}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the grids, and with digits as the README has them: 30 of 200 generated ones are copies."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "grids", folder / "grids")
    images = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    images = images[np.random.default_rng(0).permutation(len(images))]
    _save(folder / "train", images[:256])
    _save(folder / "test", images[256:756])
    _save(folder / "generated", np.concatenate([images[:30], images[800:970]]))
    return folder


TIMED = ("to do:", "digits-")  # how such lines begin: they tell times, speeds and numbers of workers


def _pattern(text: str) -> str:
    """Text without what differs between machines: spaces, and in lines that are `TIMED` numbers and plurals."""
    if text.startswith(TIMED):
        text = re.sub(r"\d[\w.,]*", "#", text).replace("workers", "worker")
    return " ".join(text.split())


@pytest.mark.parametrize(("command", "shown"), _sessions(), ids=lambda part: " ".join(part)[:40])
def test_the_commands_of_the_readme_print_what_it_shows(
    command: list[str], shown: list[str], folder: Path, difgen_in: Run
) -> None:
    code, output = _run(command, folder, difgen_in)
    assert code == 0, output
    printed = [_pattern(line) for line in output.splitlines()]
    for line in shown:
        start, cut, _ = line.partition("…")
        wanted = _pattern(start)
        assert any(p.startswith(wanted) if cut else p == wanted for p in printed), f"{line}\nis not in\n{output}"


@pytest.mark.parametrize("command", _bash_commands(COMMANDS), ids=" ".join)
def test_the_other_commands_run_after_those_of_the_readme(command: list[str], folder: Path, difgen_in: Run) -> None:
    assert command[0] == "difgen"
    code, output = _run(command, folder, difgen_in)
    assert code == 0, output


def test_the_copies_that_the_readme_plants_are_counted() -> None:
    (lines,) = [shown for command, shown in _sessions() if command[1] == "score"]
    assert lines[0].startswith("30 of 200 samples are identical")


def test_the_readme_installs_with_pip_and_make_alone() -> None:
    assert [command[0] for command in _bash_commands(README)] == ["pip", "make", "make"]
    assert ["pip", "install", "."] in _bash_commands(README)
    for command in _bash_commands(README)[1:]:
        run = subprocess.run(["make", "-n", *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("grid", sorted(p.name for p in (ROOT / "grids").glob("*.yaml")))
def test_every_grid_starts_with_its_question(grid: str) -> None:
    from difgen_cli.engine.grid import read

    assert "?" in read(ROOT / "grids" / grid).question


def test_every_command_has_help_with_an_example() -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        assert "Example: difgen " in (command.callback.__doc__ or ""), command.callback
