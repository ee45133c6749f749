"""What the source of a package holds, read from its syntax trees and its tokens: nothing is imported or run.

Tests are no part of a package: files `test_*.py` and `conftest.py`, and folders `tests`.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PLUGIN_FOLDERS = (
    "data", "condition", "models", "objectives", "post_training", "sampling", "guidance", "features", "metrics",
)  # fmt: skip
DIRECTIVE = re.compile(r"#(!|\s*(type:|noqa|fmt:|pragma|mypy:|ruff:|pylint:|isort:|-\*-|pyright:))")
LICENCE = re.compile(r"copyright|licen[cs]e", re.IGNORECASE)

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | AnyFunction


@dataclass(frozen=True, eq=False)
class Function:
    """A function or method. `owner` is the class whose method it is; `public` as `Source.functions` says."""

    node: AnyFunction
    owner: str | None
    public: bool

    @property
    def lines(self) -> int:
        """From `def` to its last line: docstring and blank lines count, decorators do not."""
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1

    @property
    def documented(self) -> bool:
        return ast.get_docstring(self.node) is not None


@dataclass(frozen=True, eq=False)
class Source:
    """One file of a package: its path below the package's folder, and its text."""

    path: Path
    text: str

    @property
    def is_plugin(self) -> bool:
        """Whether it lies in one of the folders of plug-ins; everything else is the engine."""
        return len(self.path.parts) > 1 and self.path.parts[0] in PLUGIN_FOLDERS

    @property
    def module(self) -> str:
        """The first part of its path without `engine/`: `plan` for plan.py, plan/work.py and engine/plan/work.py."""
        parts = self.path.with_suffix("").parts
        return parts[1] if parts[0] == "engine" and len(parts) > 1 else parts[0]

    @property
    def stem(self) -> str:
        """The last part of its import path: `plan` for plan.py and for plan/__init__.py."""
        return self.path.parent.name if self.path.stem == "__init__" else self.path.stem

    @cached_property
    def lines(self) -> int:
        """Lines that are not blank; comments and docstrings count."""
        return sum(bool(line.strip()) for line in self.text.splitlines())

    @property
    def length(self) -> int:
        """All of its lines, as an editor numbers them."""
        return len(self.text.splitlines())

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of its tree, from the outside in."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """Every function, nested ones too.

        Public are functions of a module and methods of public classes, where no name begins with an underscore.
        """
        return tuple(_functions(self.tree, None, True))

    @cached_property
    def classes(self) -> tuple[ast.ClassDef, ...]:
        """Every class, nested ones too."""
        return tuple(node for node in self.nodes if isinstance(node, ast.ClassDef))

    @cached_property
    def comments(self) -> tuple[str, ...]:
        """Comments as a reader sees them: lines of comment that follow one another are one comment.

        Directives to tools (`# noqa`, `# type:` …) and notices of licence or copyright are none.
        """
        blocks: list[list[str]] = []
        last_row = last_column = -1
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type != tokenize.COMMENT or DIRECTIVE.match(token.string):
                continue
            row, column = token.start
            alone = not token.line[:column].strip()
            if alone and (last_row, last_column) == (row - 1, column):
                blocks[-1].append(token.string)
            else:
                blocks.append([token.string])
            last_row, last_column = (row, column) if alone else (-1, -1)
        joined = (" ".join(line.lstrip("#: ") for line in block) for block in blocks)
        return tuple(comment for comment in joined if not LICENCE.search(comment))

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Each use of a name as variable, parameter or attribute, stored or loaded."""
        return tuple(name for node in self.nodes if (name := _variable(node)) is not None)

    @cached_property
    def identifiers(self) -> frozenset[str]:
        """Names of variables, parameters, arguments, attributes, functions, classes, and of what is imported."""
        return frozenset(name for node in self.nodes for name in _identifiers(node))

    @cached_property
    def strings(self) -> frozenset[str]:
        """String literals but docstrings."""
        docstrings = {id(node) for node in _docstrings(self.nodes)}
        return frozenset(
            node.value
            for node in self.nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        )


def read(folder: Path) -> list[Source]:
    """Every file of a package but its tests, in order."""
    if not folder.is_dir():
        raise SystemExit(f"{folder}: not a folder of a package")
    sources = []
    for path in sorted(folder.rglob("*.py")):
        below = path.relative_to(folder)
        if below.name.startswith("test_") or below.name == "conftest.py" or "tests" in below.parts:
            continue
        with tokenize.open(path) as file:  # as Python itself decodes it
            sources.append(Source(below, file.read()))
    if not sources:
        raise SystemExit(f"{folder}: no Python file in it")
    return sources


def last_name(node: ast.expr) -> str | None:
    """`dataclass` of `dataclass`, `dataclasses.dataclass` and `dataclass(frozen=True)`; None of anything else."""
    if isinstance(node, ast.Call | ast.Subscript):
        return last_name(node.func if isinstance(node, ast.Call) else node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def is_dataclass(node: ast.ClassDef) -> bool:
    return "dataclass" in map(last_name, node.decorator_list)


def is_record(node: ast.ClassDef) -> bool:
    """Whether a class says of what something consists: a dataclass, NamedTuple, TypedDict or Protocol."""
    return is_dataclass(node) or bool({"NamedTuple", "TypedDict", "Protocol"} & set(map(last_name, node.bases)))


def _functions(node: ast.AST, owner: str | None, public: bool) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, AnyFunction):
            yield Function(child, owner, public and not child.name.startswith("_"))
            yield from _functions(child, None, False)
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, child.name, public and not child.name.startswith("_"))
        else:
            yield from _functions(child, owner, public)


def _variable(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
            return name
    return None


def _identifiers(node: ast.AST) -> Iterator[str]:
    if (variable := _variable(node)) is not None:
        yield variable
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.keyword(arg=str(name)):
            yield name
        case ast.ImportFrom(module=str(module)):
            yield from module.split(".")
        case ast.alias(name=name, asname=other):
            yield from name.split(".")
            yield from [other] if other else []


def _docstrings(nodes: Sequence[ast.AST]) -> Iterator[ast.expr]:
    for node in nodes:
        if isinstance(node, Documented) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value
