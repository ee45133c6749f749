"""The README is true: its commands run in the order in which they stand, its links and files exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _commands() -> list[list[str]]:
    """Every line of the README's bash blocks, as words."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.long
def test_the_commands_of_the_readme_run_in_order(
    tmp_path: Path, difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    shutil.copytree(ROOT / "grids", tmp_path / "grids")
    commands = [c for c in _commands() if c[0] == "difgen"]
    assert len(commands) >= 6
    for command in commands:
        if "grids/size.yaml" in command and command[1] == "sweep":
            command.append("--dry-run")  # minutes long: `make demo` runs it
        done = difgen(*command[1:])
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@pytest.mark.parametrize("command", [c for c in _commands() if c[0] == "make"], ids=" ".join)
def test_every_make_target_of_the_readme_exists(command: list[str]) -> None:
    done = subprocess.run(["make", "-n", *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_command_of_the_readme_goes_untested() -> None:
    assert {c[0] for c in _commands()} <= {"difgen", "make"}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_files_that_a_page_links_to_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", (ROOT / page).read_text(encoding="utf-8")):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_plugin_that_the_readme_shows_is_the_one_that_is_tested() -> None:
    code = re.search(r"```python\n# plugins/metrics/brightness.py\n(.*?)```", README, flags=re.DOTALL)
    assert code is not None
    shown = code[1].strip()
    assert shown in (ROOT / "tests" / "plugins" / "metrics" / "brightness.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("grid", sorted(p.name for p in (ROOT / "grids").glob("*.yaml")))
def test_every_grid_starts_with_its_question(grid: str) -> None:
    from difgen_cli.grid import read

    assert "?" in read(ROOT / "grids" / grid).question


def test_every_command_has_help_with_an_example() -> None:
    from difgen_cli.cli import app

    for command in app.registered_commands:
        assert command.callback is not None
        assert "Example: difgen " in (command.callback.__doc__ or ""), command.callback
