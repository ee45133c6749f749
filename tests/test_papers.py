"""The pages of papers: what they name exists, what they count is there, and their grids can be planned."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from difgen_cli.engine.grid import read
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plan.planner import build
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "papers"
PAGES = sorted(set(FOLDER.glob("*.md")) - {FOLDER / "README.md"})
DATA = os.environ.get("DIFGEN_TEST_DATA", "")
PARTS = ("## Figures", "## What differs", "## What is missing")
LINE = re.compile(r"^\| (\d+) \|(.*?)\| (\w+) \|(.*?)\|(.*)\|$", re.MULTILINE)
# Spaces whose weights must be fetched -> others, one for each, so that an axis over them stays one.
WITHOUT_WEIGHTS = {
    "inception": "random_conv", "dinov2_small": "pixels", "dinov2": "pca", "clip": "classifier", "sscd": "random_conv",
    "dino": "pca(components=2)", "ibot": "pca(components=4)", "mocov3": "pca(components=8)",
}  # fmt: skip
WORDS_OF_FILES = re.compile(r"`([a-z]\w*_\w+)`")  # columns, tables and names of metrics with an underscore

WITHOUT_RESULT = ("planned, not run", "no result here yet")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def _lines(page: Path) -> list[tuple[str, ...]]:
    """Number, what it shows, whole or part or no, grid, and the rest, of each figure of a page."""
    return [tuple(map(str.strip, line)) for line in LINE.findall(page.read_text(encoding="utf-8"))]


def _grids(page: Path) -> set[Path]:
    return {(FOLDER / link).resolve() for link in re.findall(r"\]\(([^)]*\.yaml)\)", page.read_text(encoding="utf-8"))}


def _names() -> set[str]:
    """Every literal of the package: columns, metrics, tables, settings."""
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "difgen_cli").rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.fixture(scope="module")
def names() -> set[str]:
    return _names() | {name for kind in ("score", "model") for name in Library().names(kind)}


@pages
def test_a_page_lists_figures_and_says_what_differs_and_what_is_missing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    places = [text.find(f"\n{part}\n") for part in PARTS]
    assert -1 not in places, f"{page.name} lacks {PARTS[places.index(-1)]}"
    assert places == sorted(places)
    assert "not opened" in text, f"{page.name} does not say where its list is from"
    lines = _lines(page)
    assert [int(line[0]) for line in lines] == list(range(1, len(lines) + 1))
    assert lines
    for number, _, makes, grid, _ in lines:
        assert makes in ("whole", "part", "no"), f"{page.name}, {number}: {makes}"
        assert bool(grid) == (makes != "no"), f"{page.name}, {number}: {makes}, but its grid is {grid or 'missing'}"


def test_the_counts_are_those_of_the_pages() -> None:
    rows = re.findall(
        r"^\| \[[^]]*\]\(([\w-]+)\.md\) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", _readme(), re.M
    )
    assert {name for name, *_ in rows} == {page.stem for page in PAGES}
    for name, *counted in rows:
        lines = _lines(FOLDER / f"{name}.md")
        makes = [line[2] for line in lines]
        bare = sum(line[2] == "whole" and any(words in line[4] for words in WITHOUT_RESULT) for line in lines)
        kinds = [makes.count(kind) for kind in ("whole", "part", "no")]
        assert list(map(int, counted)) == [len(lines), *kinds, bare], name


def _readme() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def test_every_sibling_for_gpus_has_its_cost() -> None:
    named = {grid for page in PAGES for grid in _grids(page) if grid.stem.endswith("-cifar10")}
    older = {"clock-cifar10", "twins-cifar10"}  # from before the pages
    assert {grid.stem for grid in named} - older == {grid.stem for grid in _grids(FOLDER / "README.md")}


@pages
def test_columns_and_tables_that_a_page_names_exist(page: Path, names: set[str]) -> None:
    words = set(WORDS_OF_FILES.findall(page.read_text(encoding="utf-8")))
    for word in words:
        stem = re.sub(r"_(025|050|100|200)$", "_", word)
        assert word in names or (stem != word and any(name.startswith(stem) for name in names)), f"{page.name}: {word}"


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Finder:
    """One for all grids: what is known of data is read once."""
    folder = tmp_path_factory.mktemp("papers")
    return Finder(Store(folder / "runs"), Library(None), Path(DATA or folder))


@pytest.mark.parametrize("grid", sorted({grid for page in PAGES for grid in _grids(page)}), ids=lambda path: path.stem)
def test_a_grid_that_a_page_names_can_be_planned(grid: Path, tmp_path: Path, finder: Finder) -> None:
    text = grid.read_text(encoding="utf-8")
    if "name: parquet" in text and not DATA:
        pytest.skip("DIFGEN_TEST_DATA does not name a folder with fashion_mnist/ and cifar10/")
    if "name: folder" in text:
        finder = Finder(Store(tmp_path / "runs"), Library(None), _folder_of_images(tmp_path, text))
    spaces = re.compile(rf"(?<!fetch )\b({'|'.join(WITHOUT_WEIGHTS)})\b")
    copy = tmp_path / grid.name
    copy.write_text(spaces.sub(lambda found: WITHOUT_WEIGHTS[found[1]], text), encoding="utf-8")
    assert build(read(copy), Library(None), finder).models
    assert "?" in read(grid).question


def _folder_of_images(root: Path, text: str) -> Path:
    """A data root with the folder of images that a grid names: 800 of a few pixels, which the grid resizes."""
    path = re.search(r"name: folder, path: (\w+)", text)
    assert path, "no folder is named"
    folder = root / path[1]
    folder.mkdir()
    chance = np.random.default_rng(0)
    for number in range(800):
        Image.fromarray(chance.integers(0, 255, (3, 3, 3), np.uint8)).save(folder / f"{number:03}.png")
    return root
