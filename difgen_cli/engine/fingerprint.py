"""What the code of a plug-in does, as a hash: its own, and that of the modules beside it that it imports."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from difgen_cli.engine import columns

BY_NAME = frozenset({"importlib", "__import__", "runpy", "exec", "eval"})  # by which code imports what it does not name


def fingerprint(file: Path) -> str:
    """Hash of a file's syntax tree without docstrings: what the code does, not how it or a report is laid out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    columns.without_display(tree)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                value.value = ""
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def of_reached(file: Path) -> str:
    """Hash of what the code of a user's plug-in does: its own, and that of every module beside it that it reaches.

    Raises SyntaxError, UnicodeDecodeError or OSError for a module that is not readable as Python.
    """
    top = file.parent.parent
    others = sorted(_reached(file, top, {file}) - {file})
    if not others:
        return fingerprint(file)
    parts = [fingerprint(file), *(f"{other.relative_to(top)} {fingerprint(other)}" for other in others)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _reached(file: Path, top: Path, reached: set[Path]) -> set[Path]:
    """`reached` and the modules below `top` that a file imports, and theirs; all of them where it imports by a name."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError):
        return reached  # said where it is hashed
    words = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    named = {name for node in ast.walk(tree) for name in _imported(node, file, top)}
    if BY_NAME & (words | {name.partition(".")[0] for name in named}):
        reached |= set(top.rglob("*.py"))
        return reached
    bases = {top.parent, top, file.parent}  # as `plugins.metrics._near`, and what a plug-in may add to sys.path
    for place in {base.joinpath(*name.split(".")) for name in named for base in bases}:
        packages = [p / "__init__.py" for p in (place, *place.parents) if p.is_relative_to(top)]
        for module in (place.with_suffix(".py"), *packages):
            if module.is_relative_to(top) and module.is_file() and module not in reached:
                reached.add(module)
                _reached(module, top, reached)
    return reached


def _imported(node: ast.AST, file: Path, top: Path) -> list[str]:
    """The dotted names of modules that a statement may import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    above = file.parents[node.level - 1].relative_to(top.parent).parts if node.level else ()
    module = ".".join([*above, *([node.module] if node.module else [])])
    return [module, *(f"{module}.{alias.name}" for alias in node.names)]
