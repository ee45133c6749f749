"""The schema of evidence, and the part of JSON Schema (draft 2020-12) that it is written in: no package is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("evidence.schema.json")
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
    "integer": (int,), "number": (int, float),
}  # fmt: skip
NUMBERS = ("integer", "number")
ABOUT = {"$schema", "$id", "$defs", "title", "description", "format"}  # what checks nothing here


@cache
def schema() -> dict[str, Any]:
    """The schema that is shipped."""
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def mistakes(value: Any, rule: Mapping[str, Any] | None = None, at: str = "evidence") -> Iterator[str]:
    """What is wrong with a document, one sentence each. ValueError for a keyword of a schema that is not known here."""
    rule = schema() if rule is None else rule
    for keyword, wanted in rule.items():
        if keyword not in ABOUT:
            yield from _check(keyword, wanted, value, rule, at)


def _check(keyword: str, wanted: Any, value: Any, rule: Mapping[str, Any], at: str) -> Iterator[str]:
    match keyword:
        case "$ref":
            yield from mistakes(value, schema()["$defs"][wanted.rpartition("/")[2]], at)
        case "anyOf":
            if all(any(mistakes(value, one, at)) for one in wanted):
                yield f"{at}: is none of what is allowed there"
        case "type":
            if not _is_of(value, wanted if isinstance(wanted, list) else [wanted]):
                yield f"{at}: is no {' or '.join(wanted) if isinstance(wanted, list) else wanted}"
        case "const" | "enum":
            allowed = wanted if keyword == "enum" else [wanted]
            if not any(value == one and type(value) is type(one) for one in allowed):
                yield f"{at}: {value!r} is none of {', '.join(map(str, allowed))}"
        case "pattern":
            if isinstance(value, str) and not re.search(wanted, value):
                yield f"{at}: {value!r} is not written as it must be"
        case "minItems":
            if isinstance(value, list) and len(value) < wanted:
                yield f"{at}: has {len(value)} entries, and needs {wanted}"
        case "items":
            for k, one in enumerate(value if isinstance(value, list) else ()):
                yield from mistakes(one, wanted, f"{at}[{k}]")
        case "required" | "properties" | "additionalProperties":
            if isinstance(value, dict):
                yield from _of_object(keyword, wanted, value, rule, at)
        case _:
            raise ValueError(f"{keyword}: a keyword of JSON Schema that is not checked here")


def _of_object(keyword: str, wanted: Any, value: dict[str, Any], rule: Mapping[str, Any], at: str) -> Iterator[str]:
    if keyword == "required":
        yield from (f"{at}.{name}: is missing" for name in wanted if name not in value)
    elif keyword == "properties":
        for name in wanted.keys() & value.keys():
            yield from mistakes(value[name], wanted[name], f"{at}.{name}")
    else:
        for name in sorted(value.keys() - rule.get("properties", {}).keys()):
            if wanted is False:
                yield f"{at}.{name}: is unknown"
            elif isinstance(wanted, dict):
                yield from mistakes(value[name], wanted, f"{at}.{name}")


def _is_of(value: Any, names: list[str]) -> bool:
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, TYPES[name]) for name in names)
