"""Feature spaces as grids name them: `pca`, or with settings of their own, `pca(components=16)`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from difgen_cli.engine.grid.document import GridError, Place
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan.sections import Section, resolve

if TYPE_CHECKING:
    from difgen_cli.engine.plan.recipes import Recipe
    from difgen_cli.engine.plugins import Library

WEIGHTS = "weights"  # beside the settings in a space's recipe: what its file of weights is
NAMED = re.compile(r"(\w+)(?:\((.*)\))?")


def resolved(text: str, library: Library, path: str, place: Place | None) -> Section:
    """The space that a text names, its settings checked; GridError for an unknown one, and for what is no setting."""
    match = NAMED.fullmatch(text.strip())
    name = match[1] if match else text
    if match is None or name not in library.names("features"):
        spaces = ", ".join(library.names("features"))
        raise GridError(f"{path}: no feature space is called {name!r} ({spaces})", place)
    given = {"name": Given(name, place or Place())}
    for part in filter(None, map(str.strip, (match[2] or "").split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise GridError(f"{path}: {part} is no setting of {name}; write {name}(key=value)", place)
        if key.strip() in given:  # the name of the space is there from the start
            raise GridError(f"{path}: {key.strip()} stands twice in {text.strip()}; say it once", place)
        given[key.strip()] = Given(_value(value.strip()), place or Place())
    return resolve("features", given, library, path=path)


def settings_of(space: Recipe) -> dict[str, Any]:
    """The settings of a space that are not the default: those of its plug-in alone."""
    return {key: value for key, value in space.settings.items() if key != WEIGHTS}


def of(space: Recipe) -> str:
    """The text that names a space."""
    listed = ", ".join(f"{key}={json.dumps(value)}" for key, value in sorted(settings_of(space).items()))
    return f"{space.name}({listed})" if listed else space.name


def _value(text: str) -> Any:
    """A number or a truth value, or the text itself."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, int | float | bool) else text
