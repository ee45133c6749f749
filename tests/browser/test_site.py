"""The site of the documents: whole, strict, searched without a network, and asking nobody for anything."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest
from typer.main import get_command

from difgen_cli.cli import app

ROOT = Path(__file__).parent.parent.parent
NEEDED = ("sphinx", "myst_parser", "furo")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
# What a browser fetches by itself when it shows a page; an <a> only leads somewhere.
FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src"), ("use", "href")}

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)}: pip install '.[docs]'"),
]


class Parsed(HTMLParser):
    """What a page fetches, where it leads, and the places in it that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetches: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            self.fetches += [value] if (tag, name) in FETCHED and value else []
            self.links += [value] if (tag, name) == ("a", "href") and value else []
            self.places |= {value} if name == "id" and value else set()


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script behind `make docs`."""
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "site" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does it."""
    out = tmp_path_factory.mktemp("site") / "docs"
    command = [sys.executable, ROOT / "docs" / "site" / "build.py", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "a warning"
    assert done.stdout == f"open {out / 'index.html'}\n"
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Parsed]:
    return {path.resolve(): Parsed(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def _html(site: Path, page: str) -> Path:
    return (site / page).with_suffix(".html").resolve()


def test_every_document_grid_and_command_is_reached_from_the_first_page(
    site: Path, pages: dict[Path, Parsed], generator: ModuleType
) -> None:
    first = _html(site, "index.md")
    reached, left = {first}, [first]
    while left:
        here = left.pop()
        for link in pages[here].links:
            path, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            target = (here.parent / path).resolve() if path else here
            assert target.is_file(), f"{here.name} links to {link}"
            if target in pages:
                assert not anchor or anchor in pages[target].places, f"{here.name} links to {link}"
                if target not in reached:
                    reached.add(target)
                    left.append(target)
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("grids/*.yaml"), *ROOT.glob("policies/*.toml")]
    names = [file.relative_to(ROOT).as_posix() for file in files]
    assert len(names) > 60
    assert {_html(site, generator.page_of(name)) for name in names} <= reached
    reference = pages[_html(site, "reference.md")].places
    assert {f"difgen-{name}" for name in get_command(app).commands} <= reference  # type: ignore[attr-defined]


def test_a_grid_has_its_comments_and_a_command_its_options(site: Path) -> None:
    grid = re.sub(r"<[^>]+>", "", _html(site, "grids/size.md").read_text(encoding="utf-8"))
    assert "When does a diffusion model stop copying its training set?" in grid
    assert "# five snapshots of one run" in grid
    reference = _html(site, "reference.md").read_text(encoding="utf-8")
    assert "--note TEXT" in re.sub(r"<[^>]+>", "", reference)
    assert re.search(r"<code[^>]*><span class=\"pre\">failed</span></code>: try failed units again", reference)


def test_no_page_style_or_script_of_a_page_comes_from_a_network(site: Path, pages: dict[Path, Parsed]) -> None:
    assert sum(len(page.fetches) for page in pages.values()) > len(pages)
    for path, page in pages.items():
        for fetched in page.fetches:
            local = (path.parent / unquote(fetched.partition("?")[0])).resolve()
            assert fetched.startswith(("data:", "#")) or local.is_file(), f"{path.name} fetches {fetched}"
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"""url\(\s*["']?(?:https?:)?//|@import""", text), style.name


def test_the_index_of_the_search_knows_the_words_of_the_documents(site: Path) -> None:
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))

    def found(word: str) -> set[str]:
        at = index["terms"].get(word, [])
        return {index["docnames"][number] for number in (at if isinstance(at, list) else [at])}

    assert {"docs/measures", "docs/glossary"} <= found("copycat")
    assert found("kmean") >= {"grids/size"}, "of a grid, by the stem of the word"
    assert not found("zyzzyva")


def test_the_search_works_from_a_file(site: Path, browser: Any) -> None:
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{(site / 'index.html').as_uri()}")
    page.fill("input[name=q]", "copycat")
    page.press("input[name=q]", "Enter")
    page.wait_for_selector("#search-results li a")
    titles = page.locator("#search-results li a").all_inner_texts()
    page.close()
    assert "Glossary" in titles
    assert all(url.startswith(("file:", "data:")) for url in requests)


def test_a_link_that_leads_nowhere_ends_the_build(generator: ModuleType, tmp_path: Path) -> None:
    link: Callable[[str], str] = lambda text: generator._linked(text, "docs/grids.md", tmp_path)  # noqa: E731
    assert link("[a](../README.md#install) [b](../grids/size.yaml)") == "[a](../index.md#install) [b](../grids/size.md)"
    assert link("[c](papers) [d](#top) [e](https://e.org)") == "[c](papers/README.md) [d](#top) [e](https://e.org)"
    assert link("```\n[a](nowhere.md)\n```") == "```\n[a](nowhere.md)\n```"
    for broken in ("nowhere.md", "../../outside.md", "../grids"):
        with pytest.raises(generator.BrokenLinkError, match=re.escape(broken)):
            link(f"[a]({broken})")


def test_a_link_to_no_heading_ends_the_build(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docs" / "site" / "conf.py", tmp_path)
    shutil.copy(ROOT / "docs" / "site" / "site.css", tmp_path)
    code = "import build, pathlib, sys; sys.exit(build.render(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))"
    for anchor, ending in (("a", 0), ("nowhere", 1)):
        (tmp_path / "index.md").write_text(f"# A\n\n[to a heading](#{anchor})\n", encoding="utf-8")
        command = [sys.executable, "-c", code, tmp_path, tmp_path / anchor]
        done = subprocess.run(command, cwd=ROOT / "docs" / "site", capture_output=True, text=True, check=False)
        assert done.returncode == ending, done.stderr
        assert ("nowhere" in done.stderr) == bool(ending)


def test_a_folder_of_other_files_is_not_replaced(generator: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="holds other files"):
        generator.build(tmp_path)
    assert (tmp_path / "mine.txt").exists()
