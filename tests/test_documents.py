"""The documents are true: their plug-ins run, and the files, targets, commands and options that they name exist."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import rooms
from markdown import blocks
from typer.main import get_command

from difgen_cli.cli import app
from difgen_cli.engine.plan import Plan
from difgen_cli.engine.plugins import KINDS, Library

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "NOTES.md"])
PAGES = [p for p in DOCUMENTS if p.name not in ("CHANGELOG.md", "NOTES.md")]  # those two tell of the past as well
README_BYTES_MAX = 8_000
LINE_CHARACTERS_MAX = 120

OPTIONS = {
    name: {option for parameter in command.params for option in parameter.opts} | {"--help"}
    for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
}
OF_OTHER_PROGRAMS = {"--version"}

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def _blocks(document: Path, language: str) -> list[str]:
    return blocks(document.read_text(encoding="utf-8"), language)


def _plugins(document: Path) -> dict[str, str]:
    """The plug-ins that a document shows whole: path -> code."""
    codes = [code for code in _blocks(document, "python") if code.startswith("# plugins/")]
    return {code.partition("\n")[0].removeprefix("# "): code for code in codes}


def _without_fences(document: Path) -> list[tuple[int, str]]:
    """The lines outside fenced blocks, with their numbers."""
    fenced, lines = False, []
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            lines.append((number, line))
    return lines


def test_the_plugins_of_the_documents_run_together_in_one_grid(
    tmp_path: Path, difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    plugins = _plugins(ROOT / "README.md") | _plugins(ROOT / "docs" / "plugins.md")
    for path, code in plugins.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code, encoding="utf-8")
    kinds = {Path(path).parent.name for path in plugins}
    assert kinds == {Path(spec.folder).name for spec in KINDS.values() if spec.entry}
    (grid,) = _blocks(ROOT / "docs" / "plugins.md", "yaml")
    (tmp_path / "plugins.yaml").write_text(grid.replace("score:     {", "score:     {brightness: {}, "), "utf-8")

    run = difgen("sweep", "plugins.yaml", "--cluster", "inline")
    assert run.returncode == 0, run.stderr

    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet").set_index("kind")
    model = rows.loc["model"]
    assert model["data.name"] == "stripes"
    assert model["condition.name"] == "bright"
    assert model["model.name"] == "low_rank"
    assert model["objective.name"] == "min_snr"
    assert model["post_training.name"] == "mean_of_steps"
    assert model["sample.name"] == "midpoint"
    assert model["guide.name"] == "wrong_sigma"
    assert model["fd_features"] == "coarse"
    assert model["nfe"] == 2 * (2 * 4)  # four steps of two evaluations, of the network and of its negative
    assert rows.loc["copycat", "nearest_train"] == 0
    assert model["nearest_train"] > 0
    assert 0 < model["brightness"] < 255


@pytest.mark.parametrize(
    ("document", "cells"), [("README.md", [120]), ("docs/grids.md", [240 - 30 + 3, 41 * 3, 3 * (4 * 4 - 3 * 2)])]
)
def test_the_grids_of_a_document_can_be_planned(
    document: str, cells: list[int], write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    grids = (block for block in _blocks(ROOT / document, "yaml") if "axes:" in block)
    plans = [plan_of(write_grid(grid, f"{number}.yaml")) for number, grid in enumerate(grids)]
    assert [len(plan.models) for plan in plans] == cells


def _section(document: Path, heading: str) -> str:
    text = document.read_text(encoding="utf-8")
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


BUILT_IN = [(kind, name) for kind, spec in KINDS.items() if spec.entry for name in Library().names(kind)]


@pytest.mark.parametrize(("kind", "name"), BUILT_IN)
def test_every_input_that_a_plugin_can_have_is_in_its_contract(kind: str, name: str) -> None:
    contract = _section(ROOT / "docs" / "plugins.md", KINDS[kind].folder)
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", contract))))
    assert set(Library().signature(kind, name).inputs) <= words


@pytest.mark.parametrize("document", ["README.md", "docs/plugins.md"])
def test_plugins_of_a_document_are_those_that_other_tests_use(document: str) -> None:
    shown = {path: code for path, code in _plugins(ROOT / document).items() if (ROOT / "tests" / path).exists()}
    assert shown
    for path, code in shown.items():
        assert code.partition("\n")[2].strip() in (ROOT / "tests" / path).read_text(encoding="utf-8"), path


@documents
def test_files_that_a_document_links_to_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        linked = document.parent / path if path else document
        assert linked.exists(), f"{document.name} links to {target}"
        if anchor:
            assert anchor in _anchors(linked), f"{document.name} links to {target}"


def _anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = [line.lstrip("#").strip() for _, line in _without_fences(document) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


FOLDERS = ("grids", "docs", "tests", "benchmarks", "difgen_cli")


@pages
def test_files_that_a_page_names_exist(page: Path) -> None:
    pattern = rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./-]+\.(?:py|md|yaml|png|json|toml)\b"
    for name in re.findall(pattern, page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists() or name == "grids/plugins.yaml", f"{page.name} names {name}"


def _named_commands(page: Path) -> list[list[str]]:
    """Every `difgen …` or `make …` of a page, as arguments: inline code, and lines of fenced or indented blocks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```|^((?:    [^\n]*\n)+)", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in "".join(block).splitlines()]
    inline = [
        " ".join(code.split())
        for code in re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    ]
    commands = [re.split(r"\s+#", line)[0] for line in [*lines, *inline] if re.match(r"(difgen|make) \S", line)]
    return [shlex.split(command) for command in commands]


@pages
def test_commands_and_options_that_a_page_names_exist(page: Path) -> None:
    for program, command, *arguments in _named_commands(page):
        if program != "difgen" or command.startswith("--"):
            continue
        assert command in (*OPTIONS, "COMMAND"), f"{page.name} names difgen {command}"
        for argument in arguments:
            option = re.match(r"\[?(--?[a-z][\w-]*)", argument)
            if option and command in OPTIONS:
                assert option[1] in OPTIONS[command], f"{page.name} names difgen {command} {option[1]}"
    every = set().union(*OPTIONS.values()) | OF_OTHER_PROGRAMS
    for option in re.findall(r"`(--[a-z][\w-]*)", page.read_text(encoding="utf-8")):
        assert option in every, f"{page.name} names {option}"


@pages
def test_make_targets_that_a_page_names_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, flags=re.MULTILINE))
    for program, *arguments in _named_commands(page):
        for argument in arguments if program == "make" else []:
            assert "=" in argument or argument in targets, f"{page.name} names make {argument}"


def test_the_map_of_packages_is_what_their_docstrings_say() -> None:
    assert rooms.table() in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "run `make rooms`"
    without = [package for package in rooms.packages() if not rooms.summary(package)]
    assert not without, "a package without a docstring"


def test_walks_have_at_most_five_stops_and_lead_to_what_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Four walks")[2].partition("\n## ")[0]
    walks = re.findall(r"^(.*\?)\n\n((?:\d\. .*\n)+)", text, re.MULTILINE)
    assert len(walks) == 4
    for question, stops in walks:
        places = re.findall(r"^\d\. `([^`]+)`(?:, `([^`]+)`)?: ", stops, re.MULTILINE)
        assert 1 < len(places) == stops.count("\n") <= 5, question
        for file, name in places:
            tree = ast.parse((ROOT / "difgen_cli" / file).read_text(encoding="utf-8"))
            assert not name or any(name in _defined(node) for node in ast.walk(tree)), (
                f"{question} {file} has no {name}"
            )


def _defined(node: ast.AST) -> list[str]:
    """Names that a statement defines: of a function, a class, constants."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def test_every_table_of_a_metric_stands_in_the_document_of_tables() -> None:
    document = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)`", document))
    metrics = [Library().signature("score", name) for name in Library().names("score")]
    tables = {table for metric in metrics for table in metric.constants.get("TABLES", {})}
    assert len(tables) > 15
    assert tables - named == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES_MAX


@documents
def test_lines_of_text_are_at_most_120_characters_long(document: Path) -> None:
    """Tables, and links that cannot be broken, excepted."""
    for number, line in _without_fences(document):
        if not line.startswith(("|", "![")) and " " in line.strip():
            assert len(line) <= LINE_CHARACTERS_MAX, f"{document.name}:{number}"
