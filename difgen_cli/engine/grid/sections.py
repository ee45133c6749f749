"""The sections of a grid's `base`, flattened to dotted paths such as score.memorization.rule."""

from __future__ import annotations

from collections.abc import Iterator

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from difgen_cli.engine.grid.document import GridError, Place, mapping, refuse_anchor, scalar, suggest
from difgen_cli.engine.grid.document import place as place_of
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plugins import KINDS, SECTIONS


def base_settings(node: Node) -> dict[str, Given]:
    """What `base` says, by dotted path. Raises GridError."""
    return {
        path: given
        for section, (value, place) in mapping(node, "base").items()
        for path, given in _section(section, value, place)
    }


def _section(section: str, node: Node, place: Place) -> Iterator[tuple[str, Given]]:
    if section not in SECTIONS:
        raise GridError(f"{section}: unknown section ({', '.join(SECTIONS)}){suggest(section, SECTIONS)}", place)
    if section in ("guide", "score") and isinstance(node, SequenceNode):  # a plain list is short for a map of defaults
        refuse_anchor(node)
        if not node.value:
            what = "metric" if section == "score" else "term"
            raise GridError(f"{section} names no {what}; leave it out for the default", place_of(node))
        for item in node.value:
            yield f"{section}.{scalar(item)}", Given(True, place_of(item))
        return
    if section in ("guide", "objective"):  # a term is a map, and so is what a worse self or a teacher has otherwise
        yield from nested(section, node, place)
        return
    if section != "score":
        for name, (value, where) in mapping(node, section).items():
            if (section, name) == ("train", "start"):
                yield from _start(value, where)
            elif name in dict(KINDS[section].groups) and isinstance(value, MappingNode):
                yield from nested(f"{section}.{name}", value, where) if value.value else ()
            else:
                yield f"{section}.{name}", Given(scalar(value), place_of(value))
        return
    for metric, (value, where) in mapping(node, section).items():
        yield f"score.{metric}", Given(True, where)
        if not (isinstance(value, ScalarNode) and scalar(value) is None):
            yield from _settings(f"score.{metric}", value)


def _start(node: Node, place: Place) -> Iterator[tuple[str, Given]]:
    """What the trajectory has otherwise with whose weights a training begins."""
    if not isinstance(node, MappingNode) or not node.value:
        raise GridError(
            "train.start: name what is different in the training whose weights this one begins with, such as "
            "{train.steps: 500}",
            place,
        )
    yield from nested("train.start", node, place)


def _settings(path: str, node: Node) -> Iterator[tuple[str, Given]]:
    """The settings of a metric; a map among them, such as another data set, has settings of its own."""
    for name, (value, _) in mapping(node, path).items():
        if isinstance(value, MappingNode):
            yield from _settings(f"{path}.{name}", value)
        else:
            yield f"{path}.{name}", Given(scalar(value), place_of(value))


def nested(path: str, node: Node, place: Place) -> Iterator[tuple[str, Given]]:
    """Every value below a node by its dotted path; an empty map says that something is named, and no more."""
    if not isinstance(node, MappingNode) and "." in path:
        yield path, Given(scalar(node), place_of(node))
        return
    parts = mapping(node, path)
    if not parts and "." in path:
        yield path, Given(None, place)
    for name, (value, where) in parts.items():
        yield from nested(f"{path}.{name}", value, where)


def check_path(path: str, place: Place) -> None:
    """Raise GridError for a dotted path that is no setting of a section."""
    section, _, rest = path.partition(".")
    if section == "seed":
        raise GridError("seed is no axis; write `seeds: 3` beside axes", place)
    if section in SECTIONS and not rest:
        raise GridError(f"{path}: a whole section is no setting; name one of it, such as {path}.name", place)
    if section not in SECTIONS:
        sections = ", ".join(SECTIONS)
        raise GridError(
            f"{path}: a setting is named section.name, with a section of {sections}{suggest(section, SECTIONS)}", place
        )
