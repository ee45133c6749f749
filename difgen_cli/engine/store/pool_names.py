"""What the images of a data set are called, where they are files: kept with the data, as they were first loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from difgen_cli.engine.store.files import publish_json, read_json

if TYPE_CHECKING:
    from difgen_cli.engine.store import Store

NAME = "names.json"


def write(store: Store, content: str, names: list[str]) -> None:
    """Keep one name for each image, in the order of the data; those that are kept already stay."""
    publish_json(store.shared(content[:16]) / NAME, {"names": names})


def read(store: Store, key: str) -> list[str] | None:
    """The names by the first 16 digits of the data's content; None where they have none."""
    content = read_json(store.shared(key) / NAME)
    names = content.get("names") if isinstance(content, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else None
