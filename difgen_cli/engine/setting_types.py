"""The types of settings, read from the syntax tree of a plug-in, by cases."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from annotated_types import Ge, Gt, Le, Lt

_NAMES: dict[str, Any] = {"bool": bool, "int": int, "float": float, "str": str, "Path": Path, "None": None}
_BOUNDS: dict[str, Any] = {"Gt": Gt, "Ge": Ge, "Lt": Lt, "Le": Le}


def read(node: ast.expr) -> Any:
    """The type that an annotation names, as pydantic checks it; nothing is evaluated.

    Raises KeyError, TypeError, ValueError or AttributeError for any other syntax.
    """
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name):
            return _NAMES[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            sides = [read(left), read(right)]
            return Union[tuple(sides)]  # noqa: UP007
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return Literal[ast.literal_eval(inner)]
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[first, *rest])):
            bounds = [_BOUNDS[c.func.id](ast.literal_eval(c.args[0])) for c in rest]  # type: ignore[attr-defined]
            return Annotated[read(first), *bounds]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[first, ast.Constant(value=v)])) if (
            v is ...
        ):
            return tuple[read(first), ...]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return tuple[read(inner), ...]  # type: ignore[misc]
    raise ValueError(ast.unparse(node))
