"""How samples come in groups, which are drawn together: prompts, classes, sub-folders."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli import sheets
from difgen_cli.engine.grid.document import GridError

if TYPE_CHECKING:
    import numpy as np

    from difgen_cli.data import Pool

ALLOWED = "folder, label, or a CSV or Parquet file with the columns sample,group or index,group"
LEAST = 5  # groups below which no interval over them is told, as metrics/_groups has it


@dataclass(frozen=True)
class Groups:
    """Which group each scored sample is in: numbers from 0, in the order in which the groups come."""

    ids: np.ndarray  # (n,) int64
    how: str  # what said so, in words

    @property
    def count(self) -> int:
        return int(self.ids.max()) + 1

    @property
    def content(self) -> str:
        """SHA-256: the same whatever the groups are called."""
        return hashlib.sha256(b"groups" + self.ids.tobytes()).hexdigest()

    @property
    def key(self) -> str:
        return self.content[:16]

    @property
    def note(self) -> str:
        few = f"; below {LEAST} groups there is no interval" if self.count < LEAST else ""
        return (
            f"The samples come in {self.count:,} groups, {self.how}: intervals are over draws of groups, not of single "
            f"samples{few}. Measures that do not support groups have no interval."
        )


def read(spec: str, names: list[str], pool: Pool, chosen: np.ndarray) -> Groups:
    """The groups of the chosen samples. GridError in one sentence where one has none, or all are in one.

    names: of all samples, as `pairs.csv` has them. pool: what was read of them.
    """
    import numpy as np

    groups: list[str] | dict[int, str]
    if spec == "folder":
        groups, how = _folders(names), "by folder"
    elif spec == "label":
        groups, how = _labels(pool), "by label"
    elif Path(spec).is_file():
        groups, how = _listed(Path(spec), names, chosen.tolist()), f"as {spec} has them"
    else:
        raise GridError(f"--group {spec}: there is no such file; write {ALLOWED}")
    numbers: dict[str, int] = {}
    ids = [numbers.setdefault(groups[place], len(numbers)) for place in chosen.tolist()]
    if len(numbers) < 2:
        only = next(iter(numbers), "")
        raise GridError(f"--group {spec}: all {len(ids):,} samples are in one group ({only or 'of no name'})")
    return Groups(np.array(ids, np.int64), how)


def _folders(names: list[str]) -> list[str]:
    """The sub-folder of each sample's file."""
    if not all("/" in name for name in names):
        raise GridError(f"--group folder: {names[0]} lies in no sub-folder of SAMPLES; write {ALLOWED}")
    return [str(Path(name).parent) for name in names]


def _labels(pool: Pool) -> list[str]:
    if pool.labels is None:
        raise GridError(f"--group label: no labels are stored with the samples; write {ALLOWED}")
    return [str(label) for label in pool.labels]


def _listed(path: Path, names: list[str], chosen: Iterable[int]) -> dict[int, str]:
    """The group of each chosen sample, by its place; the file may list more."""
    which, samples, groups = _read(path)
    by_name = which == "sample"
    places: Mapping[str, int] = {name: place for place, name in enumerate(names)} if by_name else {}
    if by_name and len(places) < len(names):
        raise GridError(f"--group {path}: several samples have the same name; give the column index in place of sample")
    by_place: dict[int, str] = {}
    for sample, group in zip(samples, groups, strict=True):
        place = places.get(str(sample)) if by_name else _place(path, sample)
        if place is None:
            continue
        if group is None or str(group) == "":
            raise GridError(f"--group {path}: {sample} has no group; give each sample one")
        if by_place.setdefault(place, str(group)) != str(group):
            both = f"{by_place[place]} and {group}"
            raise GridError(f"--group {path}: {sample} is in the groups {both}; give each sample one")
    lacking = [place for place in chosen if place not in by_place]
    if lacking:
        raise GridError(
            f"--group {path}: {len(lacking):,} of {len(names):,} samples are not in it, the first {names[lacking[0]]} "
            f"(index {lacking[0]}); list every sample"
        )
    return by_place


def _place(path: Path, value: Any) -> int:
    place = sheets.whole(value)
    if place is None:
        raise GridError(f"--group {path}: the index {value!r} is not a whole number; indices count from 0")
    return place


def _read(path: Path) -> tuple[str, list[Any], list[Any]]:
    """The column that says which sample a row is about, `sample` or `index`, and its values and groups."""
    try:
        sheet = sheets.read(path)
        which, group = sheet.first("sample", "index"), sheet.first("group")
    except sheets.SheetError as error:
        raise GridError(f"--group {path}: {error}; write {ALLOWED}") from error
    if which is None or group is None:
        raise GridError(f"--group {path}: its columns are {', '.join(sheet.columns) or 'none'}; write {ALLOWED}")
    return which, sheet.columns[which], sheet.columns[group]
