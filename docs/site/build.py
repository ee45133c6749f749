"""`make docs`: the documents of the repository as a site with a search, from the same files.

    python docs/site/build.py [FOLDER]     default: build/docs

Each document keeps its path and its links. Grids and policies become pages, and so do the commands, from their help. A
link to what is not there, and whatever Sphinx warns of, ends the build with exit code 1.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from os.path import relpath
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from typer.main import get_command

from difgen_cli.cli import app
from difgen_cli.engine.grid import question

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
OUT = ROOT / "build" / "docs"
REFERENCE = "reference.md"
# The sidebar: each heading with its documents, in this order; what is not named here follows under "More".
PARTS = {
    "Use": ["docs/commands.md", "docs/grids.md", "docs/measures.md", "docs/tables.md", "docs/guidance.md",
            "docs/plugins.md", "docs/cluster.md", "docs/speed.md", "docs/on_a_card.md",
            "docs/glossary.md", REFERENCE],
    "Audits": ["docs/audit.md", "docs/gate.md"],
    "Studies": ["docs/studies.md", "docs/papers/README.md", "grids/index.md", "policies/index.md"],
    "Project": ["CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/NOTES.md"],
}  # fmt: skip
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)\s#]*)(#[^)\s]*)?(?=\))")
FENCE = re.compile(r"^(```.*?^```[^\S\n]*$)", re.DOTALL | re.MULTILINE)
LANGUAGES = {".yaml": "yaml", ".toml": "toml"}


class BrokenLinkError(Exception):
    """A document links to what is not there, or to what no page can show."""


def documents() -> list[str]:
    """The paths of all documents, from the root of the repository."""
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "NOTES.md"]
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def shown() -> list[str]:
    """The paths of the files that get a page of their own although they are no documents: grids and policies."""
    files = [*ROOT.glob("grids/*.yaml"), *ROOT.glob("policies/*.toml")]
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def page_of(path: str) -> str:
    """Where a file of the repository stands on the site, as Markdown: the README is the first page."""
    if path == "README.md":
        return "index.md"
    return str(PurePosixPath(path).with_suffix(".md")) if path in shown() else path


def write_sources(folder: Path) -> None:
    """Fill a folder with the Markdown of every page, and with the files that pages show or offer."""
    for path in documents():
        text = (ROOT / path).read_text(encoding="utf-8")
        _write(folder / page_of(path), _linked(text, path, folder) + (_sidebar() if path == "README.md" else ""))
    for path in shown():
        _write(folder / page_of(path), _listing(path))
    for kind, title in (("grids", "Grids"), ("policies", "Policies")):
        _write(folder / kind / "index.md", _index(kind, title))
    papers = [path for path in documents() if path.startswith("docs/papers/") and not path.endswith("README.md")]
    page = folder / "docs" / "papers" / "README.md"
    _write(page, page.read_text(encoding="utf-8") + _tree("", [path.rpartition("/")[2] for path in papers]))
    _write(folder / REFERENCE, "# Command reference\n\n" + "\n".join(_commands(get_command(app), "difgen", 2)))
    shutil.copy(HERE / "conf.py", folder / "conf.py")
    shutil.copy(HERE / "site.css", folder / "site.css")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _linked(text: str, path: str, folder: Path) -> str:
    """A document whose links lead to pages; linked files that are no pages are copied beside it."""
    here = PurePosixPath(path).parent

    def target(match: re.Match[str]) -> str:
        if not match[1]:
            return match[0]
        linked = relpath(ROOT / here / unquote(match[1]), ROOT)
        if (ROOT / linked / "README.md").is_file():
            linked = f"{linked}/README.md"
        if linked.startswith("..") or not (ROOT / linked).is_file():
            raise BrokenLinkError(f"{path}: links to {match[1]}, which is no file of the repository")
        page = page_of(linked)
        if page == linked and linked not in documents():
            (folder / linked).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / linked, folder / linked)
        return relpath(page, PurePosixPath(page_of(path)).parent) + (match[2] or "")

    parts = FENCE.split(text)
    return "".join(part if number % 2 else LINK.sub(target, part) for number, part in enumerate(parts))


def _sidebar() -> str:
    """What the first page adds: the order of all others."""
    named = [path for paths in PARTS.values() for path in paths]
    below = ("docs/papers/", "grids/", "policies/")  # these are in the lists of their own first page
    more = [path for path in documents() if path not in [*named, "README.md"] and not path.startswith(below)]
    parts = PARTS | ({"More": more} if more else {})
    return "".join(_tree(title, paths) for title, paths in parts.items())


def _tree(caption: str, paths: list[str]) -> str:
    option = f":caption: {caption}\n" if caption else ""
    return f"\n```{{toctree}}\n:hidden:\n{option}\n" + "\n".join(paths) + "\n```\n"


def _listing(path: str) -> str:
    """The page of a grid or policy: the question that it starts with, and the file."""
    text, name = (ROOT / path).read_text(encoding="utf-8"), PurePosixPath(path)
    return f"# {_plain(name.stem)}\n\n{_plain(question(text))}\n\n```{LANGUAGES[name.suffix]}\n{text.strip()}\n```\n"


def _index(kind: str, title: str) -> str:
    """The page that lists the grids or policies, each with the first sentence of what it says of itself."""
    lines, pages = [], []
    for path in (path for path in shown() if path.startswith(f"{kind}/")):
        asked, mark, _ = question((ROOT / path).read_text(encoding="utf-8")).partition("?")
        page = PurePosixPath(page_of(path)).name
        lines.append(f"- [{_plain(PurePosixPath(path).stem)}]({page}): {_plain(asked + mark)}")
        pages.append(page)
    return f"# {title}\n\n" + "\n".join(lines) + "\n" + _tree("", pages)


def _commands(command: Any, name: str, level: int) -> Iterator[str]:
    """The Markdown of a command and of those below it, from their help."""
    for word, below in getattr(command, "commands", {}).items():
        yield f"{'#' * level} {name} {word}\n"
        paragraphs = re.split(r"\n\s*\n", (below.help or "").strip())
        yield "\n\n".join(map(_paragraph, paragraphs)) + "\n"
        if not hasattr(below, "commands"):
            yield _parameters(below)
        yield from _commands(below, f"{name} {word}", level + 1)


def _paragraph(text: str) -> str:
    line = " ".join(text.split())
    example = line.removeprefix("Example: ")
    return _code_kept(line) if example == line else f"```console\n$ {example}\n```"


def _parameters(command: Any) -> str:
    """A table of arguments and options."""
    lines = []
    for parameter in command.params:
        metavar = parameter.metavar or ""
        if parameter.param_type_name == "argument":
            words = f"`{metavar}`"
        else:
            flag = parameter.is_flag or not metavar
            words = ", ".join(f"`{option}{'' if flag else f' {metavar}'}`" for option in parameter.opts)
        lines.append(f"| {words} | {_code_kept(parameter.help or '')} |")
    return "\n".join(["| argument or option | meaning |", "|---|---|", *lines]) + "\n"


def _plain(text: str) -> str:
    """Text in which no character means anything to Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|$#~])", r"\\\1", text)


def _code_kept(text: str) -> str:
    """The same but for what stands between backticks, which is code."""
    return "".join(f"`{part}`" if number % 2 else _plain(part) for number, part in enumerate(text.split("`")))


def build(out: Path) -> int:
    """Write the site into a folder, which is replaced; 0 where Sphinx has nothing to warn of."""
    if out.exists():
        if any(out.iterdir()) and not (out / ".buildinfo").exists():
            raise FileExistsError(f"{out}: holds other files; name a folder that is new or an earlier site")
        shutil.rmtree(out)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        write_sources(source)
        return render(source, out)


def render(source: Path, out: Path) -> int:
    """Make HTML of a folder of Markdown; 1 where Sphinx warns of anything, such as a link that leads nowhere."""
    from sphinx.cmd.build import main

    with tempfile.TemporaryDirectory() as trees:
        return main(["-b", "html", "-q", "-n", "-W", "--keep-going", "-d", trees, str(source), str(out)])


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    try:
        code = build(target)
    except (BrokenLinkError, FileExistsError) as error:
        sys.exit(str(error))
    if code == 0:
        print(f"open {target / 'index.html'}")
    sys.exit(code)
