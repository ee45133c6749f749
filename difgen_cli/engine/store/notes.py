"""What people note of a grid: sentences and tags, each addition a file of its own that is written once.

notes/<n>.json   when it was written, a note, tags that were added, tags that were removed

No key knows of them, and no other file is touched: what is newest, and what is done, stays so.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from difgen_cli.engine.store.access import names
from difgen_cli.engine.store.files import check_schema, publish_json, read_json
from difgen_cli.engine.store.processes import now

SCHEMA = 1
NOTE_CHARACTERS_MAX = 500
TAG_CHARACTERS_MAX = 40
TAG = re.compile(rf"\w[\w.+-]{{0,{TAG_CHARACTERS_MAX - 1}}}")


@dataclass(frozen=True)
class Annotation:
    """What somebody adds to the notes of a grid at one moment; `written` is an ISO time in UTC."""

    note: str = ""
    tags: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    written: str = ""

    def __bool__(self) -> bool:
        return bool(self.note or self.tags or self.removed)

    def fault(self) -> str | None:
        """Why it cannot be kept, in a sentence; None where it can."""
        for tag in (*self.tags, *self.removed):
            if not TAG.fullmatch(tag):
                return (
                    f"{tag!r} is no tag: write one word of at most {TAG_CHARACTERS_MAX} letters, digits, dots, "
                    "hyphens, underscores and plus signs"
                )
        if len(self.note) > NOTE_CHARACTERS_MAX:
            return f"a note of {len(self.note):,} characters: write at most {NOTE_CHARACTERS_MAX}"
        unprintable = next((character for character in self.note if not character.isprintable()), None)
        if unprintable is not None:
            return f"a note with the character U+{ord(unprintable):04X}: write one line of text that can be printed"
        return None


@dataclass(frozen=True)
class Notes:
    """All that was noted of one grid, oldest first."""

    annotations: list[Annotation] = field(default_factory=list)

    @property
    def tags(self) -> list[str]:
        """The tags that it has now, in the order in which they were added."""
        tags: dict[str, None] = {}
        for one in self.annotations:
            tags |= dict.fromkeys(one.tags)
            for tag in one.removed:
                tags.pop(tag, None)
        return list(tags)

    @property
    def sentences(self) -> list[str]:
        """Its tags, and each note with its day, for terminals and pages."""
        tags = [f"Tags: {', '.join(self.tags)}."] if self.tags else []
        return tags + [f"Note of {one.written[:10]}: {one.note}" for one in self.annotations if one.note]


def read(grid: Path) -> Notes:
    """The notes of a grid's folder. What nobody could have added with difgen is left out: it may not be printable."""
    folder = grid / "notes"
    numbers = sorted(int(name[:-5]) for name in names(folder) if re.fullmatch(r"[1-9]\d{0,8}\.json", name))
    annotations = (_read(folder / f"{number}.json") for number in numbers)
    return Notes([one for one in annotations if one is not None])


def add(grid: Path, annotation: Annotation | None) -> None:
    """Keep an annotation with a grid, if there is one; another process may add one at the same time."""
    if not annotation:
        return
    folder = grid / "notes"
    content = {"schema": SCHEMA, **asdict(annotation), "written": now()}
    number = 1 + max((int(name[:-5]) for name in names(folder) if re.fullmatch(r"\d+\.json", name)), default=0)
    while not publish_json(folder / f"{number}.json", content):
        number += 1


def _read(path: Path) -> Annotation | None:
    """One annotation; None where it is cut short, or could not have been added."""
    content: Any = read_json(path)
    if not isinstance(content, dict):
        return None
    check_schema(path, content.get("schema"), SCHEMA)
    note, written = content.get("note"), content.get("written")
    tags, removed = _words(content.get("tags")), _words(content.get("removed"))
    if not isinstance(note, str) or not isinstance(written, str) or tags is None or removed is None:
        return None
    annotation = Annotation(note, tags, removed, written)
    return annotation if annotation.fault() is None and re.fullmatch(r"[\d:+TZ-]{10,25}", written) else None


def _words(value: Any) -> tuple[str, ...] | None:
    """A list of words; None where it is anything else."""
    return tuple(value) if isinstance(value, list) and all(isinstance(word, str) for word in value) else None
