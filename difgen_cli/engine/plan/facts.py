"""Facts about data sets, for planning: loaded and hashed once, then known by where they come from."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli import contents
from difgen_cli.engine.plan import Facts, channels_first
from difgen_cli.engine.plan.pretrained import PretrainedFacts
from difgen_cli.engine.plan.pretrained_files import WeightFiles
from difgen_cli.engine.plan.recipes import Recipe, canaries_of
from difgen_cli.engine.plan.sections import Section
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store, pool_names
from difgen_cli.text import expanded

if TYPE_CHECKING:
    from difgen_cli.data import Pool, Split


class Finder:
    """Finds facts in the store's cache, or by loading the data; keeps what `save` will write."""

    def __init__(self, store: Store, library: Library, root: Path) -> None:
        self.store, self.library, self.root = store, library, root
        self.cache = store.facts()
        self.facts: dict[Section, Facts] = {}
        self.loaded: dict[str, Any] = {}  # content -> Pool
        self.named: dict[str, list[str]] = {}  # content -> what its images are called
        self.given: dict[tuple[Section, Section], tuple[str, Any]] = {}  # condition and data section -> content, labels
        self.notes: list[str] = []
        self.weights = WeightFiles(store, library)

    def __call__(self, section: Section) -> Facts:
        """Facts of a data section; raises DataError in one sentence where the data are bad."""
        if section not in self.facts:
            self.facts[section] = self._find(section)
        return self.facts[section]

    def labels(self, condition: Section, data: Section) -> str:
        """Content of the labels that a condition reads from a file, one for each image of a data set.

        ValueError in one sentence where the file is bad.
        """
        sections = (condition, data)
        if sections not in self.given:
            path = condition.settings["path"]
            if path is None:
                raise ValueError("not given: name a CSV, Parquet or .npy file with a label for each image")
            plugin, names = self.library.module("data", data.name), None
            if "names" in data.signature.functions:
                names = plugin.names(**self._settings(data))
            labels = self.library.module("condition", condition.name).read(self._rooted(path), self(data).images, names)
            self.given[sections] = hashlib.sha256(f"{labels.dtype}".encode() + labels.tobytes()).hexdigest(), labels
        return self.given[sections][0]

    def held_out(self, section: Section) -> int:
        """Held-out images that do not occur in the rest as well, byte for byte: only these are compared with."""
        from difgen_cli import data

        content, own = self(section).content, section.own
        entry = next(e for e in self.cache.values() if e["content"] == content)
        counts = entry.setdefault("apart", {})
        at = f"{own['held_out']} {own['held_out_seed']}"
        if at not in counts:
            chosen = {k: own[k] for k in ("held_out", "held_out_seed")}
            counts[at] = len(data.split(self.pool(content), **chosen).held_out)
        return int(counts[at])

    def pretrained(self, model: Section, step: int | None) -> PretrainedFacts:
        """What weights that somebody else trained are; GridError in one sentence where they are bad."""
        return self.weights(model, self.root, step)

    def _find(self, section: Section) -> Facts:
        source = self._source(section)
        entry = self.cache.get(source) if self._is_declared(section) else None
        if entry and (entry["content"] in self.loaded or self.store.has_pool(entry["content"])):
            return _facts(entry)
        return self._load(section, source)

    def _load(self, section: Section, source: str) -> Facts:
        from difgen_cli import data

        unlabelled = ""
        try:
            pool = self.library.module("data", section.name).load(**self._settings(section))
        except data.LabelError as error:  # whoever needs labels is told why there are none
            pool, unlabelled = error.images(), str(error)
        content = data.content(pool)
        self.loaded[content] = pool
        if "names" in section.signature.functions:
            self.named[content] = self.library.module("data", section.name).names(**self._settings(section))
        self.cache[source] = {
            "name": section.name, "content": content, "images": len(pool.images), "shape": list(pool.images.shape[1:]),
            "labelled": pool.labels is not None, "classes": list(pool.classes),
            "sigma_data": data.sigma_data(pool.images), "unlabelled": unlabelled, "notes": list(pool.notes),
            "held_out": None if pool.held_out is None else pool.held_out.tolist(),
            "population": pool.population is not None,
        }  # fmt: skip
        return _facts(self.cache[source])

    def save(self) -> None:
        """Keep what was loaded, so that workers use the data as planned, and the next plan loads no images."""
        for content, pool in self.loaded.items():
            entry = next(e for e in self.cache.values() if e["content"] == content)
            population = pool.population.arrays() if pool.population else None
            self.store.save_pool(content, pool.images, pool.labels, entry, population)
        for content, names in self.named.items():
            pool_names.write(self.store, content, names)
        if self.loaded:
            self.store.save_facts(self.cache)
        self.loaded.clear()
        for content, labels in self.given.values():
            self.store.save_given(content, labels)
        self.weights.save()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What a network sees of each data set that is known, by key: (C, H, W) of images, (D,) of points."""
        return {entry["content"][:16]: channels_first(tuple(entry["shape"])) for entry in self.cache.values()}

    def pool(self, content: str) -> Pool:
        """The data of this content, found before."""
        data: Pool = self.loaded.get(content) or pool(self.store, content[:16])
        return data

    def _rooted(self, path: Path) -> Path:
        return self.root / expanded(path)

    def _settings(self, section: Section) -> dict[str, Any]:
        """What a data plug-in is given."""
        return {k: self._rooted(v) if isinstance(v, Path) else v for k, v in section.changed.items()}

    def _is_declared(self, section: Section) -> bool:
        """Whether all that a data plug-in reads is known: a user's may read files that none of its settings names."""
        signature, values = section.signature, section.settings.values()
        if signature.builtin or "SOURCES" in signature.constants:
            return True
        if any(isinstance(v, Path) for v in values) and not any(isinstance(v, str) for v in values):
            return True
        note = (
            f"{signature.label} is loaded for each plan, since it does not say which files it reads: a constant "
            "SOURCES names them, () for none"
        )
        self.notes += [note] if note not in self.notes else []
        return False

    def _source(self, section: Section) -> str:
        """Where data come from, such that other data come from elsewhere: settings, code, files by size and time."""
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in self._settings(section).items()}
        paths = [v for v in section.settings.values() if isinstance(v, Path)]
        paths += map(Path, section.signature.constants.get("SOURCES", ()))
        files = [list(contents.stamps(self._rooted(path))) for path in paths]
        parts = [section.name, section.signature.version, settings, files, importlib.metadata.version("scikit-learn")]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def _facts(entry: dict[str, Any]) -> Facts:
    """Facts as the cache has them; 0.1.0 did not keep all."""
    return Facts(
        entry["content"], entry["images"], tuple(entry["shape"]), entry["labelled"], entry.get("population", False),
        entry.get("held_out") is not None, entry.get("unlabelled", ""), tuple(entry.get("notes", ())),
        len(entry.get("classes", ())), entry.get("sigma_data"),
    )  # fmt: skip


def pool(store: Store, key: str) -> Pool:
    """The data set that a run directory keeps under a key, its images memory-mapped."""
    import numpy as np

    from difgen_cli import data

    images, labels, facts = store.pool(key)
    held_out = None if facts.get("held_out") is None else np.array(facts["held_out"], np.int64)
    population_arrays = store.population(key)
    population = None if population_arrays is None else data.Population.of(population_arrays)
    return data.Pool(images, labels, tuple(facts["classes"]), held_out, population)


def split(pool: Pool, recipe: Recipe) -> Split:
    """The split of a pool that is described by the recipe of a training subset, with canaries or without, or of images
    to be unlearnt."""
    from difgen_cli import data

    marked = recipe if recipe.operation.kind == "unlearn" else recipe.inputs.get("unlearn")
    subset = (marked or recipe).inputs.get("subset", recipe)
    own = (subset.settings | marked.settings | {"retrain": marked is not recipe}) if marked else subset.settings
    holdout = subset.inputs["holdout"]
    return data.split(pool, canaries_of(holdout), **holdout.settings, **own)
