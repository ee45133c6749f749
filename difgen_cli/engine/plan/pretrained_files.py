"""The files of weights that somebody else trained: read once while planning, then known by size and time."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli import contents
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan.pretrained import STEP, PretrainedFacts, files_of, of_section
from difgen_cli.engine.plan.sections import Section
from difgen_cli.engine.plan.work import tuples
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store

if TYPE_CHECKING:
    from difgen_cli.pretrained import PretrainedModel

ABOVE = 2  # folders above the weights in which a scheduler, or a description, may lie
LISTED = 8  # steps that a sentence names


class WeightFiles:
    """Finds what weights are in the store's cache, or by reading them; keeps what `save` will write."""

    def __init__(self, store: Store, library: Library) -> None:
        self.store, self.library = store, library
        self.sources: dict[str, dict[str, Any]] = {}  # identity -> where a worker finds the weights
        self.changed = False

    @cached_property
    def cache(self) -> dict[str, Any]:
        """What is known of weights, by where they come from; read where a grid names some."""
        return self.store.weights_read()

    def __call__(self, model: Section, root: Path, step: int | None) -> PretrainedFacts:
        """What the weights of a model section are at a step. GridError where they cannot be read, or are not there."""
        path = root / model.settings["path"]
        asked = of_section(model)
        if asked["description"] is not None:
            asked["description"] = root / asked["description"]
        if STEP in str(path):
            steps = files_of(path)
            if step is None or step not in steps:
                weights = _missing(path, step, steps)
                self.sources[weights.identity[:16]] = {"missing": weights.missing}
                return weights
            path = steps[step]
        source = self._source(path, asked)
        if source not in self.cache:
            self.cache[source] = self._read(path, asked)
            self.changed = True
        entry = self.cache[source]
        # JSON has lists where settings have tuples.
        plain = {"shape": tuple(entry["shape"]), **{part: tuples(entry[part]) for part in ("settings", "reading")}}
        weights = PretrainedFacts(**entry | plain)
        self.sources[weights.identity[:16]] = {"path": str(path.absolute()), "identity": weights.identity, **asked}
        return weights

    def identity(self, key: str) -> str:
        """The whole SHA-256 (hex) of weights that were found, by their key; empty where they are missing."""
        return str(self.sources[key].get("identity", ""))

    def save(self) -> None:
        """Keep what was read, and where workers find it."""
        for key, source in self.sources.items():
            self.store.save_weights_source(key, source)
        if self.changed:
            self.store.save_weights_read(self.cache)

    def _read(self, path: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
        from difgen_cli.pretrained import PretrainedError

        try:
            model = read(path, asked, self.library)
        except PretrainedError as error:
            raise GridError(f"model.path: {error}") from None
        described = model.described
        weights = PretrainedFacts(
            identity_of(model), model.form, described.network, dict(described.settings), described.shape,
            described.classes, dict(described.reading),
        )  # fmt: skip
        return asdict(weights)

    def _source(self, path: Path, asked: Mapping[str, Any]) -> str:
        """What is read, such that other content comes from elsewhere: settings, code, files by size and time."""
        near = [p for above in path.parents[:ABOVE] for p in (above / "scheduler", *above.glob("*.json"))]
        others = [asked["description"]] if asked["description"] else []
        files = [list(contents.stamps(each)) for each in (path, *sorted(near), *others)]
        own = [self.library.signature("model", name).version for name in _own(self.library)]
        parts = [str(path), asked, files, own, importlib.metadata.version("difgen")]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def read(path: Path, asked: Mapping[str, Any], library: Library) -> PretrainedModel:
    """The weights at a path, as a section of the grid asks for them. PretrainedError where they cannot be used."""
    from difgen_cli import pretrained

    networks = {}
    if asked["description"] is not None or (path / "difgen.json").is_file():
        networks = {name: library.module("model", name) for name in _own(library)}
    return pretrained.read(path, asked["choice"], asked["description"], asked["reading"], networks)


def identity_of(model: PretrainedModel) -> str:
    """SHA-256 (hex) of what the files hold, of which weights in them are meant, and of what these are for."""
    described = model.described
    about = [described.network, dict(described.settings), described.shape, described.classes]
    text = json.dumps([model.content, model.choice, about], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _own(library: Library) -> Iterator[str]:
    """Networks of the user's own."""
    return (name for name in library.names("model") if not library.signature("model", name).builtin)


def _missing(path: Path, step: int | None, steps: Mapping[int, Path]) -> PretrainedFacts:
    """Weights of a step that is not there, between others: their cells fail. GridError for any other such step."""
    shown = list(map(str, steps))
    some = ", ".join(shown if len(shown) <= LISTED else [*shown[: LISTED // 2], "…", *shown[-LISTED // 2 :]])
    if not steps:
        raise GridError(f"model.path: {path}: there is no such file or folder, whatever the step: correct the path")
    if step is None:
        raise GridError(f"model.path: {path}: {STEP} stands for train.steps, which is not given; there are {some}")
    why = f"{path}: there are no weights of step {step}; there are those of {some}"
    if not min(steps) < step < max(steps):
        raise GridError(f"train.steps: {why}")
    return PretrainedFacts(hashlib.sha256(f"missing {path} {step}".encode()).hexdigest(), "missing", missing=why)
