"""The run directory: only this package knows its folders and file names, and every file appears whole.

grids/<name>-<hash>/            grid.yaml, plan.parquet, refine.json, decisions.parquet, notes/, submissions/
trajectories/<slug>-<key>/      spec.json, env.json, attempts/, checkpoints/, snapshots/, states/, samples/, results/
references/<slug>-<key>/        samples/, results/ of held-out images, copies and the ideal denoiser
shared/homes/<key>              names of folders above, each of which is one key's alone
shared/<key>/                   decoded data, labels, feature spaces, reference statistics, code as submitted
tables/*.parquet                folded from the results; rebuildable
distrusted/<slug>-<key>/        trajectories that an older difgen trained wrong, set aside
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar
from weakref import finalize

import numpy as np

from difgen_cli.engine.store import attempts, failures
from difgen_cli.engine.store.access import ANSWERS, StoreError, acted, exists, names, remade, status, tried
from difgen_cli.engine.store.attempts import Attempt, Claimant
from difgen_cli.engine.store.files import publish, publish_json, read_json, replace_json
from difgen_cli.engine.store.run_folder import RunFolder

__all__ = ["RunFolder", "Store", "StoreError"]

Arrays = dict[str, np.ndarray]
T = TypeVar("T")


@dataclass
class Store:
    """One run directory."""

    root: Path
    _run_folders: dict[str, Path] = field(default_factory=dict)
    _all: list[Path] = field(default_factory=list)
    _eager: set[Path] = field(default_factory=set)
    _own_tables: Path | None = None  # of somebody who only reads

    def __post_init__(self) -> None:
        self.root = self.root.absolute()

    def check_writable(self) -> None:
        """Raise StoreError where this process cannot write here."""
        probe = self.root / f".probe.{secrets.token_hex(8)}"

        def act() -> None:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)

        acted(self.root, act)

    # Trajectories and references -----------------------------------------------------------------------------------

    def run_folder(self, key: str, slug: str, *, reference: bool = False) -> RunFolder:
        """The folder of a trajectory or reference, there or not; found by its key whatever its slug."""
        if not self._run_folders:
            self.refresh()
        kind = "references" if reference else "trajectories"
        return RunFolder(self._run_folders.get(key) or self.root / kind / f"{slug}-{key}")

    def run_folder_now(self, key: str, slug: str, *, reference: bool = False, make: bool = False) -> RunFolder:
        """The same, also where another process has begun it meanwhile under another slug: one key has one folder.

        `make`: begin it where nobody has, so that all others find it by this slug.
        """
        folder = self.run_folder(key, slug, reference=reference)
        if key not in self._run_folders:
            named = self.shared("homes") / key
            if make and not exists(folder.path):
                publish_json(named, folder.path.name)
            name = read_json(named) or folder.path.name
            folder = RunFolder(folder.path.parent / Path(str(name)).name)
            if exists(folder.path) or make:
                self._run_folders[key] = folder.path
        return folder

    def refresh(self) -> None:
        """List the trajectories and references anew."""
        rooms = [self.root / kind for kind in ("trajectories", "references")]
        self._all = [room / name for room in rooms for name in sorted(names(room))]
        for path in reversed(self._all):  # of two with one key, as 0.1.0 could make them, all take the first
            self._run_folders[path.name.rpartition("-")[2]] = path

    def named(self, name: str) -> RunFolder | None:
        """The trajectory or reference of a folder's name, if it is there."""
        places = (self.root / kind / Path(name).name for kind in ("trajectories", "references"))
        return next((RunFolder(place) for place in places if exists(place)), None)

    def run_folders(self) -> list[RunFolder]:
        """Every trajectory and reference, also where two have one key."""
        self.refresh()
        return [RunFolder(path) for path in self._all]

    def way(self, folder: RunFolder) -> str | None:
        """How a trajectory was computed when it was begun, read once where that is as written; None before that."""
        if folder.path in self._eager:
            return "eager"
        environment = folder.environment()
        way = str(environment.get("way", "eager")) if environment else None
        if way == "eager":
            self._eager.add(folder.path)
        return way

    # Shared artefacts ----------------------------------------------------------------------------------------------

    def shared(self, key: str) -> Path:
        return self.root / "shared" / key

    def once(self, key: str, name: str, compute: Callable[[], Arrays], claimant: Claimant | None = None) -> Arrays:
        """Arrays that many units share: read, or computed by one claimant while the others wait."""
        path, folder = self.shared(key) / f"{name}.npz", self.shared(key) / "attempts"
        claimant = claimant or Claimant()
        while True:
            if (arrays := remade(path, _read_npz)) is not None:
                return arrays
            attempt = attempts.claim(folder, name, claimant, partial(exists, path))
            if attempt is not None:
                return _compute(attempt, path, compute)
            if (past := attempts.history(folder, name)) and past[-1][1]["state"] == "failed":
                raise RuntimeError(f"{key}/{name}: {past[-1][1].get('cause', 'failed')}")
            claimant.check()
            time.sleep(0.2)

    def save_pool(
        self, content: str, images: np.ndarray, labels: np.ndarray | None, facts: dict[str, Any],
        population: Arrays | None = None,
    ) -> None:  # fmt: skip
        """Keep decoded data under its content, so that workers use what was planned, and start at once."""
        folder = self.shared(content[:16])
        if population is not None:
            publish(folder / "population.npz", lambda p: _write_npz(p, population))
        publish(folder / "images.npy", lambda p: _write_npy(p, images))
        if labels is not None:
            publish(folder / "labels.npy", lambda p: _write_npy(p, labels))
        replace_json(folder / "pool.json", facts)

    def has_pool(self, content: str) -> bool:
        return read_json(self.shared(content[:16]) / "pool.json") is not None

    def pool_shape(self, key: str) -> tuple[int, ...] | None:
        """(H, W, C) or (D,) of a data set that is kept here, by the first 16 digits of its content."""
        facts = read_json(self.shared(key) / "pool.json")
        return tuple(facts["shape"]) if facts else None

    def pool(self, key: str) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
        """Images (memory-mapped), labels and facts of a data set by the first 16 digits of its content."""
        folder = self.shared(key)
        facts = read_json(folder / "pool.json")
        images = remade(folder / "images.npy", lambda path: np.load(path, mmap_mode="r"))
        if facts is None or images is None:
            raise self._lacking(folder)
        labels = self._part(folder / "labels.npy", np.load, wanted=facts.get("labelled", False))
        return images, labels, facts

    def population(self, key: str) -> Arrays | None:
        """The parameters of the distribution that a data set was drawn from, where they are known."""
        facts = read_json(self.shared(key) / "pool.json") or {}
        return self._part(self.shared(key) / "population.npz", _read_npz, wanted=facts.get("population", False))

    def _part(self, path: Path, parse: Callable[[Path], T], *, wanted: bool) -> T | None:
        """A part of a data set that is kept here; StoreError where it is wanted, and missing or damaged."""
        part = remade(path, parse)
        if part is None and wanted:
            raise self._lacking(path.parent)
        return part

    def _lacking(self, folder: Path) -> StoreError:
        """What to say where a part of a data set is missing; the next sweep finds it not kept, and keeps it again."""
        with suppress(*ANSWERS, StoreError):
            tried(folder, (folder / "pool.json").unlink, reading=False)
        return StoreError(f"{folder}: the data of this run are missing; run `difgen sweep` with its grid again")

    def save_given(self, content: str, labels: np.ndarray) -> None:
        """Keep labels from a user's file under their content."""
        publish(self.shared(content[:16]) / "given.npy", lambda p: _write_npy(p, labels))

    def given(self, key: str) -> np.ndarray:
        """Labels from a user's file, one for each image of the data set, by the first 16 digits of their content."""
        path = self.shared(key) / "given.npy"
        labels: np.ndarray | None = remade(path, np.load)
        if labels is None:
            raise StoreError(f"{path}: the labels of this run are missing; run `difgen sweep` with its grid again")
        return labels

    def save_weights_source(self, key: str, source: dict[str, Any]) -> None:
        """Say where weights that somebody else trained lie, under the first 16 digits of their identity."""
        replace_json(self.shared(key) / "weights.json", source)

    def weights_source(self, key: str) -> dict[str, Any]:
        """What was said of them last."""
        path = self.shared(key) / "weights.json"
        source = read_json(path)
        if not isinstance(source, dict):
            raise StoreError(f"{path}: where the weights of this run lie is missing; run `difgen sweep` again")
        return source

    def weights_read(self) -> dict[str, Any]:
        """What is known of such weights, by where they come from."""
        content = read_json(self.root / "shared" / "weights.json")
        return content if isinstance(content, dict) else {}

    def save_weights_read(self, content: dict[str, Any]) -> None:
        replace_json(self.root / "shared" / "weights.json", content)

    @cached_property
    def facts_path(self) -> Path:
        """What is known of data sets, by where they come from."""
        return self.root / "shared" / "facts.json"

    def facts(self) -> dict[str, Any]:
        content = read_json(self.facts_path)
        return content if isinstance(content, dict) else {}

    def save_facts(self, facts: dict[str, Any]) -> None:
        if facts != self.facts():
            replace_json(self.facts_path, facts)

    # Grids ---------------------------------------------------------------------------------------------------------

    def grid(self, name: str, hash_: str) -> Path:
        return self.root / "grids" / f"{name}-{hash_}"

    @property
    def is_run_directory(self) -> bool:
        """Whether a grid was ever swept into it, or at least begun."""
        return exists(self.root / "grids")

    def grids(self) -> list[Path]:
        """Folders of the grids that were swept here, the oldest plan first: a note makes no grid newer."""
        folders = [self.root / "grids" / n for n in names(self.root / "grids")]
        dated = [(about.st_mtime, f) for f in folders if (about := status(f / "plan.parquet"))]
        return [folder for _, folder in sorted(dated, key=lambda pair: pair[0])]

    @property
    def counting_on(self) -> Path:
        """The lock of who removes what no plan needs, and of who plans with what is there."""
        return self.root / "shared" / ".lock"

    def grids_folder(self, name: str) -> Path:
        """The folder of a grid by its very name, hash and all."""
        return self.root / "grids" / Path(name).name

    @property
    def tables(self) -> Path:
        return self._own_tables or self.root / "tables"

    @property
    def reads_only(self) -> bool:
        return self._own_tables is not None

    def only_read(self) -> None:
        """Leave the run directory as it is from now on: tables are this process's own, begun with those of it."""
        own = Path(mkdtemp(prefix="difgen-"))
        finalize(self, shutil.rmtree, own, ignore_errors=True)
        if exists(self.tables):
            hidden = shutil.ignore_patterns(".*")
            tried(self.tables, lambda: shutil.copytree(self.tables, own, ignore=hidden, dirs_exist_ok=True))
        self._own_tables = own


def _compute(attempt: Attempt, path: Path, compute: Callable[[], Arrays]) -> Arrays:
    """Shared arrays by the one that claimed them. What goes wrong is the unit's to tell: another may do better."""
    try:
        with attempt.beating():
            arrays = compute()
            publish(path, lambda p: _write_npz(p, arrays))
    except BaseException as error:
        with suppress(StoreError):
            ending = failures.of_exception(error, path.parents[2])
            attempt.end("interrupted", ending=ending, cause=f"{type(error).__name__}: {error}")
        raise
    attempt.end("done")
    return arrays


def _read_npz(path: Path) -> Arrays:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        return {k: data[k] for k in data.files}


def _write_npz(path: Path, arrays: Arrays) -> None:
    with path.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)


def _write_npy(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)
