"""What is asked of difgen's structure alone: how many records and concepts a cell meets, what a change touches.

The way from YAML to row is the modules grid, plan, launch, worker and store, with or without `engine/` before them.
Its records are the dataclasses, NamedTuples, TypedDicts and Protocols that these modules define.

The concepts that a cell meets are classes of the package that annotations of functions on the call path name. The path
begins at the public functions in the own files of `sweep` and `worker` (a worker is another process, which no call
reaches) and stays in these modules and `sweep`. A function is on it if one on it names it: as a function of the same
file, as one that its file imports, as `module.function`, or as a method of a class that the path names.

The files that a change touches are seen from an example of its kind: the files that name it, but for its own.
- A metric: files other than those that bear its name (the metric's and its figure's) with a string literal that equals
  one of its COLUMNS or TABLES. Given for `memorization`, and as the median over all metrics with TABLES.
- A setting of the optimizer: files of the engine in which `weight_decay` is an identifier, or a string is
  `weight_decay` or `train.weight_decay`. There is no file of its own, so that each of them counts.
- A launcher: files outside of `launch/` in which `slurm` or `local` is an identifier or a whole string.
Only Python files are read. A file that names the example for another reason counts too; one that builds the name from
parts does not.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from structure_reading import Function, Source, is_record

WAY = ("grid", "plan", "launch", "worker", "store")
METRIC, SETTING, LAUNCHERS = "memorization", "weight_decay", {"slurm", "local"}


def records(sources: Sequence[Source]) -> list[str]:
    """The records on the way from YAML to row, each with its file."""
    return [
        f"{source.path.as_posix()}:{node.name}"
        for source in _on_way(sources)
        for node in source.classes
        if is_record(node)
    ]


def concepts(sources: Sequence[Source]) -> list[str]:
    """The classes that a cell meets on the call path."""
    classes = {node.name for source in sources for node in source.classes}
    candidates = [(source, function) for source in _on_way(sources, "sweep") for function in source.functions]
    path = _Path(classes)
    reached = [
        (source, function)
        for source, function in candidates
        if source.stem == source.module in ("sweep", "worker") and function.owner is None and function.public
    ]
    while reached:
        for source, function in reached:
            path.add(source, function)
        candidates = [pair for pair in candidates if pair not in reached]
        reached = [pair for pair in candidates if path.names(*pair)]
    return sorted(path.annotated & classes)


class _Path:
    """The functions on the call path, as what all of them name."""

    def __init__(self, classes: set[str]) -> None:
        self.all_classes = classes
        self.classes: set[str] = set()
        self.annotated: set[str] = set()
        self.attributes: set[str] = set()
        self.within: set[tuple[Path, str]] = set()  # a file, and a name that is used in it
        self.imported: set[tuple[str, str]] = set()  # the last part of a module's path, and a name of that module

    def add(self, source: Source, function: Function) -> None:
        nodes = list(ast.walk(function.node))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
        imports = _imports(source)
        self.annotated |= set(_annotated(function))
        self.classes |= set(_names(function.node)) & self.all_classes
        self.attributes |= {node.attr for node in attributes}
        self.within |= {(source.path, name) for name in names}
        self.imported |= {imports[name] for name in names if name in imports}
        for node in attributes:
            if isinstance(node.value, ast.Name):
                _, module = imports.get(node.value.id, ("", node.value.id))
                self.imported.add((module, node.attr))

    def names(self, source: Source, function: Function) -> bool:
        """Whether a function on the path names this one."""
        name = function.node.name
        if function.owner is None:
            return (source.path, name) in self.within or (source.stem, name) in self.imported
        called = name in self.attributes or name.startswith("__")  # what calls __init__ or __len__ has not their name
        return called and function.owner in self.classes


@cache
def _imports(source: Source) -> dict[str, tuple[str, str]]:
    """What a file imports from modules: its name there -> the last part of the module's path, and its name in that."""
    return {
        (alias.asname or alias.name): ((node.module or "").rpartition(".")[2], alias.name)
        for node in source.nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def files_of_metric(sources: Sequence[Source], metric: str) -> list[str] | None:
    """The files that name a metric's columns or side tables; None where there is no such metric."""
    own = next((s for s in sources if s.path.parts[0] == "metrics" and s.stem == metric), None)
    if own is None or not (names := _keys(own, "COLUMNS") | _keys(own, "TABLES")):
        return None
    return [s.path.as_posix() for s in sources if s.stem != metric and s.strings & names]


def median_of_metrics(sources: Sequence[Source]) -> float | None:
    """The median number of files that name a metric, over the metrics with side tables."""
    metrics = [s.stem for s in sources if s.path.parts[0] == "metrics" and _keys(s, "TABLES")]
    counts = [len(files_of_metric(sources, metric) or ()) for metric in metrics]
    return statistics.median(counts) if counts else None


def files_of_setting(sources: Sequence[Source], setting: str = SETTING) -> list[str]:
    """The files of the engine that name a setting of the optimizer."""
    names = {setting, f"train.{setting}"}
    return [s.path.as_posix() for s in sources if not s.is_plugin and (setting in s.identifiers or s.strings & names)]


def files_of_launcher(sources: Sequence[Source]) -> list[str]:
    """The files outside of `launch/` that name a launcher."""
    return [s.path.as_posix() for s in sources if s.module != "launch" and (s.identifiers | s.strings) & LAUNCHERS]


def has_way(sources: Sequence[Source]) -> bool:
    """Whether a package is difgen: whether it has `sweep` and every module of the way."""
    return {"sweep", *WAY} <= {source.module for source in sources}


def _on_way(sources: Sequence[Source], *more: str) -> list[Source]:
    return [source for source in sources if source.module in (*WAY, *more)]


def _keys(source: Source, constant: str) -> set[str]:
    """The keys of a module's dictionary `constant`, as far as they are literals."""
    for node in source.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == constant for target in targets):
            written = next((n for n in ast.walk(node) if isinstance(n, ast.Dict)), None)
            keys: Iterable[ast.expr | None] = written.keys if written else ()
            return {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return set()


def _annotated(function: Function) -> Iterator[str]:
    """The names in the annotations of a function's parameters and of what it returns, in quotes too."""
    arguments = function.node.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for annotation in [*(p.annotation for p in parameters if p), function.node.returns]:
        if annotation is not None:
            yield from re.findall(r"\w+", ast.unparse(annotation))


def _names(node: ast.AST) -> Iterator[str]:
    """Names and last parts of dotted names below a node."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr
