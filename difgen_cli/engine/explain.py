"""What a section, a plug-in, a setting or a column means: read from the files that define them, which are not run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from difgen_cli.engine.columns import declared
from difgen_cli.engine.plugins import GRID_PARTS, KINDS, PACKAGE, SECTIONS, Library, Setting, Signature, read

# What a change of a section costs, in a sentence.
TRAINS, SAMPLES = "A change costs a training run.", "A change samples again."
COSTS = dict.fromkeys(("data", "condition", "model", "objective", "train"), TRAINS) | {
    "post_training": SAMPLES, "sample": SAMPLES, "guide": SAMPLES, "score": "A change computes this metric again.",
    "features": "A change computes the metrics of this space again.",
}  # fmt: skip
FREE = {"train.steps": "More steps continue the run; fewer are a snapshot of it (but not with a cosine schedule)."}
OF_EVERY = "a setting of this section, whatever the plug-in"
WORDS: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path",
                         NoneType: "null"}  # fmt: skip
BOUNDS = {Gt: ("gt", "above"), Ge: ("ge", "at least"), Lt: ("lt", "below"), Le: ("le", "at most")}


@dataclass(frozen=True)
class Explanation:
    """One meaning of a name."""

    name: str  # data.size, score.gap, model, mem_frac
    what: str  # of what it is: a setting of models/mlp.py, a column of metrics/gap.py, a plug-in, a section
    summary: str  # of a setting: type and default; of a column: type and unit
    text: str  # what its file says
    cost: str = ""
    parts: tuple[str, ...] = ()  # names that explain more: settings of a plug-in, plug-ins of a section


def explained(name: str, library: Library) -> list[Explanation]:
    """Every meaning of a name, such as data.size, score.gap, model or mem_frac; none where nothing is called so.

    Where nothing is called so, the name of a plug-in or a setting without its section, such as mlp or size.
    """
    meanings = list(every(library))
    within = {f"{kind}.{name}" for kind in KINDS}
    return [one for one in meanings if one.name == name] or [one for one in meanings if one.name in within]


def every(library: Library) -> Iterator[Explanation]:
    """All that can be explained: parts of a grid, sections, what their plug-ins share, plug-ins, settings, columns."""
    yield from (Explanation(name, "a part of a grid", "", text) for name, text in GRID_PARTS.items())
    for kind in KINDS:
        names = library.names(kind) if KINDS[kind].entry else []
        own = library.own(kind)
        shared = tuple(f"{kind}.{name}" for name in (own.settings if own else ()))
        yield Explanation(
            kind, "a section of a grid" if kind in SECTIONS else "feature spaces, which metrics name", "",
            _module_text(PACKAGE / KINDS[kind].folder / "__init__.py"), COSTS[kind],
            (*shared, *(f"{kind}.{name}" for name in names)),
        )  # fmt: skip
        if own:
            yield from _settings(kind, "", own, KINDS[kind].own or "", OF_EVERY)
            for group, file in KINDS[kind].groups:
                inner = read(PACKAGE / KINDS[kind].folder / file, group, builtin=True)
                yield from _settings(kind, f"{group}.", inner, group, OF_EVERY)
        for name in names:
            yield from _of_plugin(kind, name, library)


def _of_plugin(kind: str, name: str, library: Library) -> Iterator[Explanation]:
    signature = library.signature(kind, name)
    entry = KINDS[kind].entry or ""
    prefix = f"{name}." if kind in ("score", "guide", "features") else ""
    texts = [_module_text(signature.file), _of_function(signature.file, entry)[0] if kind == "score" else ""]
    settings = list(_settings(kind, prefix, signature, entry, f"a setting of {signature.label}"))
    yield Explanation(
        f"{kind}.{name}", f"a plug-in, {signature.label}", "", "\n".join(filter(None, texts)), COSTS[kind],
        tuple(one.name for one in settings),
    )  # fmt: skip
    yield from settings
    columns = signature.constants.get("COLUMNS", {}) if kind == "score" else {}
    for column, spec in declared(columns).items():
        unit = ", ".join(filter(None, (columns[column][0], spec.unit)))
        yield Explanation(column, f"a column of {signature.label}", unit, spec.meaning)


def _settings(kind: str, prefix: str, signature: Signature, function: str, what: str) -> Iterator[Explanation]:
    texts = _of_function(signature.file, function)[1]
    for name, setting in signature.settings.items():
        if "." in name:
            continue  # of a map, whose own function says what it means
        path = f"{kind}.{prefix}{name}"
        yield Explanation(path, what, _summary(setting), texts.get(name, ""), FREE.get(path, COSTS[kind]))


def _summary(setting: Setting) -> str:
    """Its type and default: `a whole number above 0, or null; default null`."""
    default = "needed" if setting.required else f"default {_value(setting.default)}"
    return f"{in_words(setting.type)}; {default}"


def in_words(type_: Any) -> str:
    """The type of a setting as a person says it."""
    origin, inner = get_origin(type_), get_args(type_)
    if type_ in WORDS or type_ is None:
        return WORDS.get(type_, "null")
    if origin is Annotated:
        bounds = " and ".join(
            f"{word} {getattr(bound, field):g}" for bound in inner[1:] for field, word in [BOUNDS[type(bound)]]
        )
        return f"{in_words(inner[0])} {bounds}"
    if origin is Literal:
        return _or(map(_value, inner))
    if origin is tuple:
        return f"a list, each {in_words(inner[0])}"
    if origin is Union or inner:
        return _or(in_words(one) for one in inner)
    return str(type_)


def _or(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _value(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case tuple():
            return f"[{', '.join(map(_value, value))}]"
    return str(value)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _module_text(file: Path) -> str:
    """The first paragraph of a file's docstring, on one line."""
    text = ast.get_docstring(_tree(file)) or ""
    return " ".join(text.partition("\n\n")[0].split())


def _of_function(file: Path, name: str) -> tuple[str, dict[str, str]]:
    """What a function's docstring says: its text without settings, paragraphs as lines, and the text of each setting.

    A setting's text begins its line with the name and a colon; lines that go on are indented.
    """
    functions = [n for n in _tree(file).body if isinstance(n, ast.FunctionDef)]
    function = next((f for f in functions if f.name == name), None)
    text = (function and ast.get_docstring(function)) or ""
    names = {argument.arg for argument in function.args.kwonlyargs} if function else set()
    settings: dict[str, str] = {}
    others, current = list[str](), None
    for line in text.splitlines():
        begin = re.match(r"([\w, ]+): ", line)
        at = [word.strip() for word in begin[1].split(",")] if begin else []
        if begin and set(at) <= names:
            current = at
            settings |= dict.fromkeys(at, line[begin.end() :].strip())
        elif current and line.startswith("    "):
            settings |= {one: f"{settings[one]} {line.strip()}" for one in current}
        else:
            current = None
            others.append(line)
    paragraphs = re.split(r"\n\s*\n", "\n".join(others).strip())
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs), settings
