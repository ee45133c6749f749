"""Which weights are not to be trusted: what difgen 0.1.0 trained in a compiled way, and did not check.

torch 2.13 compiled the gradient of an upsampling to zero, so that most layers of a U-Net stayed what they were; with
dropout or a perturbed condition it drew other random numbers. Since then each way is checked before it is used, and
`env.json` says so. A trajectory without that mark counts only where its network is known to have been trained right.
What continues from such weights, or was measured beside them, counts no more than they do.

Samples that 0.1.0 drew with a compiled denoiser of right weights stay: its forward values were right.

Nothing is destroyed, and nothing here is written but by `set_aside`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from difgen_cli.engine.store import RunFolder, Store, submission_file
from difgen_cli.engine.store.access import exists, tried
from difgen_cli.engine.store.files import StoreError, explain, read_json

NAMED = 3  # trajectories that a sentence names


@dataclass(frozen=True)
class Rest:
    """Results and samples of one trajectory that rest on the weights of others, by their keys."""

    run_key: str
    results: frozenset[str]
    samples: frozenset[str]
    others: frozenset[str]


@dataclass(frozen=True)
class Distrusted:
    """What does not count: whole trajectories, and of others the results and samples that rest on those."""

    folders: dict[str, Path] = field(default_factory=dict)  # by key
    rests: tuple[Rest, ...] = ()
    ways: dict[str, str] = field(default_factory=dict)  # of the trajectories that were looked at: how they were trained

    def __bool__(self) -> bool:
        return bool(self.folders)

    @cached_property
    def _by_trajectory(self) -> dict[str, tuple[set[str], set[str]]]:
        by_trajectory: dict[str, tuple[set[str], set[str]]] = {}
        for rest in self.rests:
            results, samples = by_trajectory.setdefault(rest.run_key, (set(), set()))
            results |= rest.results
            samples |= rest.samples
        return by_trajectory

    def results(self, trajectory: str) -> set[str]:
        """Keys of those that do not count, of a trajectory which does."""
        return self._by_trajectory.get(trajectory, (set(), set()))[0]

    def samples(self, trajectory: str) -> set[str]:
        return self._by_trajectory.get(trajectory, (set(), set()))[1]

    def lines(self, trajectories: list[str], keys: list[list[str | None]]) -> list[bool]:
        """Of each line of a plan, with its trajectory and the keys of its results, whether it does not count."""
        return [
            key in self.folders or any(column[at] in self.results(key) for column in keys)
            for at, key in enumerate(trajectories)
        ]

    def sentence(self, keys: Iterable[str]) -> str:
        """What a reader must know of some trajectories; empty where there is nothing to say."""
        wrong = [self.folders[key].name.rpartition("-")[0] for key in keys if key in self.folders]
        if not wrong:
            return ""
        named = ", ".join(wrong[:NAMED]) + (f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else "")
        those = "1 trajectory was" if len(wrong) == 1 else f"{len(wrong):,} trajectories were"
        return (
            f"{those} trained compiled by difgen 0.1.0, which did not check its gradients: what rests on "
            f"them is stale, and `difgen sweep` trains anew: {named}"
        )


def find(store: Store, keys: Iterable[str] | None = None, rests: Callable[[], Iterable[Rest]] = tuple) -> Distrusted:
    """What does not count of some trajectories, default: of all; one small file of each is read, once.

    `rests`: what else is known to rest on weights of others; asked only where something does not count.
    """
    folders = {folder.key: folder for folder in store.run_folders() if folder.path.parent.name == "trajectories"}
    looked = folders if keys is None else {key: folders[key] for key in keys if key in folders}
    ways = {key: way for key, folder in looked.items() if (way := store.way(folder)) is not None}
    if not any(_wrong(looked[key], way) for key, way in ways.items()):
        return Distrusted(ways=ways)
    roots = {key for key, folder in folders.items() if _wrong(folder, store.way(folder))}
    return _resting(roots, folders, [*_of_submissions(store), *rests()], ways)


def _resting(roots: set[str], folders: dict[str, RunFolder], rests: list[Rest], ways: dict[str, str]) -> Distrusted:
    """The roots, all that continues from them, and what rests on any of these."""
    begun = {key: start for key, folder in folders.items() if (start := _start(folder.spec())) is not None}
    wrong, grown = set(roots), set(roots)
    while grown:
        grown = {key for key, start in begun.items() if start in wrong} - wrong
        wrong |= grown
    resting = tuple(rest for rest in rests if rest.others & wrong and rest.run_key not in wrong)
    return Distrusted({key: folders[key].path for key in sorted(wrong)}, resting, ways)


def _wrong(folder: RunFolder, way: str | None) -> bool:
    """Whether a trajectory was trained in a way that nobody checked, and which is not known to be right."""
    if way in (None, "eager") or folder.environment().get("checked"):
        return False
    return not _right(folder.spec())


def _right(spec: dict[str, Any]) -> bool:
    """Whether 0.1.0 compiled a trajectory's network right: without upsampling, and without drawing random numbers."""
    recipes = spec.get("recipe", {})
    trajectory = recipes.get(spec.get("key"), {})
    network = recipes.get(trajectory.get("inputs", {}).get("network"), {})
    if trajectory.get("settings", {}).get("condition_perturbation", 0):
        return False
    own = network.get("settings", {})  # those that are not the default, of which the U-Net's has three levels
    # No plug-in of a user is called like one of the package.
    return network.get("name") == "mlp" or (
        network.get("name") == "unet" and len(own.get("multipliers", (1, 2, 2))) == 1 and not own.get("dropout", 0)
    )


def _start(spec: dict[str, Any]) -> str | None:
    """The key of the trajectory that another begins with, or forks from."""
    recipes = spec.get("recipe", {})
    inputs = recipes.get(spec.get("key"), {}).get("inputs", {})
    start = inputs.get("start") or inputs.get("fork")
    trajectory: str | None = recipes.get(start, {}).get("inputs", {}).get("trajectory")
    return trajectory


def _of_submissions(store: Store) -> Iterator[Rest]:
    """What was measured or drawn with the weights of others, as submissions have said."""
    for grid in store.grids():
        for folder in submission_file.folders(grid):
            for unit in (read_json(folder / "work.json") or {}).get("scorings", ()):
                partners = unit.get("partners", {})
                guided = any(name.startswith("guide.") for name in partners)
                samples = frozenset({unit["samples"]} if guided else ())
                yield Rest(unit["home"], frozenset(unit["metrics"]), samples, _named(partners))
                yield from _drawn(partners)


def _drawn(partners: dict[str, Any]) -> Iterator[Rest]:
    """Samples of others that were drawn with the weights of others still."""
    for other in partners.values():
        own = other.get("partners", {})
        if own and other.get("samples"):
            yield Rest(other["home"], frozenset(), frozenset({other["samples"]}), _named(own))
        yield from _drawn(own)


def _named(partners: dict[str, Any]) -> frozenset[str]:
    return frozenset(key for p in partners.values() for key in ({p["home"]} | _named(p.get("partners", {}))))


def set_aside(store: Store, distrusted: Distrusted, keys: Iterable[str]) -> list[Path]:
    """Move trajectories that do not count, and what rests on them, to `distrusted/`; returns where they are now.

    What rests on them goes first: whoever is interrupted finds the rest again. Raises StoreError where that is not
    allowed, or somebody works there.
    """
    folders = {key: RunFolder(path) for key, path in distrusted.folders.items()}
    roots = set(keys) & distrusted.folders.keys()
    if not roots:
        return []
    going = _resting(roots, folders, list(distrusted.rests), {})
    for path in going.folders.values():
        _check_idle(store, path)
    moved = []
    for rest in going.rests:
        folder = store.run_folder(rest.run_key, "")
        files = [file for key in rest.results for file in folder.result_files(key)]
        files += [folder.samples(key) for key in rest.samples]
        present = [file for file in files if exists(file)]
        if present:
            moved.append(_moved(store, folder.path, present))
    for _, path in sorted(going.folders.items(), key=lambda item: item[0] in roots):
        if exists(path):
            moved.append(_moved(store, path))
    return moved


def _check_idle(store: Store, path: Path) -> None:
    from difgen_cli.engine.store import garbage

    if garbage.busy(RunFolder(path), garbage.disk_now(store.root)):
        raise StoreError(
            f"{path}: must be trained again, and a worker of an older difgen is running there; end it with "
            "`difgen cancel`"
        )


def _moved(store: Store, folder: Path, files: list[Path] | None = None) -> Path:
    """A run folder, or some files of it, under a free name in `distrusted/`."""
    room = store.root / "distrusted"
    names = itertools.chain([folder.name], (f"{folder.name}.{n}" for n in itertools.count(2)))
    to = next(room / name for name in names if not exists(room / name))
    try:
        if files is None:
            _move(folder, to)
        for file in files or ():
            with suppress(FileNotFoundError):  # another has moved it
                _move(file, to / file.relative_to(folder))
    except FileNotFoundError:  # another has moved it
        return to
    except FileExistsError as error:
        raise explain(error, folder) from error
    return to


def _move(path: Path, to: Path) -> None:
    def act() -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)

    tried(path, act, reading=False)
