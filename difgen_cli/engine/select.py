"""Which cell a person means: an index of `plan`, the beginning of a key, or KEY=VALUE filters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from difgen_cli.engine.grid.document import GridError, suggest
from difgen_cli.engine.grid.values import filter_of
from difgen_cli.engine.plan import plan_table
from difgen_cli.engine.plan.filters import listed, shown
from difgen_cli.engine.store import RunFolder, Store, notes

SHORTEST = 4  # digits of a key that are taken for one
KEY = re.compile(rf"[0-9a-f]{{{SHORTEST},16}}")
OWN = ("kind", "seed", "step")  # what every cell has in addition to its settings
SHOWN = 5  # values that an error lists


@dataclass(frozen=True)
class SelectedCell:
    """One line of a grid's plan."""

    grid: str  # the grid's folder
    index: int
    kind: str
    seed: int
    step: int | None
    trajectory: str  # key of the trajectory, or of the reference
    slug: str
    key: str
    settings: dict[str, Any]  # as the grid says them where it does

    def run_folder(self, store: Store) -> RunFolder:
        """Where its files lie."""
        return store.run_folder(self.trajectory, self.slug, reference=self.kind != "model")


@dataclass(frozen=True)
class Lines:
    """The plan of one grid, column by column; read once."""

    folder: Path
    columns: dict[str, Any]
    count: int

    @staticmethod
    def read(store: Store, grid: str | None) -> Lines:
        """Read the plan of a grid by its name, or of the newest grid. Raises GridError where none was swept."""
        folder = folder_of(store, grid)
        table = plan_table.read(folder / "plan.parquet")
        return Lines(folder, {name: table[name] for name in table.column_names}, table.num_rows)

    @property
    def name(self) -> str:
        return self.folder.name.rpartition("-")[0]

    def settings(self) -> list[str]:
        """The settings that may distinguish cells: axes first."""
        axes = [n.removeprefix("axis.") for n in self.columns if n.startswith("axis.")]
        others = [n for n in self.columns if "." in n and not n.startswith(("axis.", "result."))]
        return list(dict.fromkeys([*axes, *OWN, *others]))

    def values(self, path: str) -> list[Any]:
        """A setting of every cell: what the grid says where it does, the canonical setting elsewhere."""
        declared = self.columns[f"axis.{path}"].to_pylist() if f"axis.{path}" in self.columns else [None] * self.count
        plain = self.columns[path].to_pylist() if path in self.columns else [None] * self.count
        return [b if a is None else a for a, b in zip(declared, plain, strict=True)]

    def cell(self, at: int) -> SelectedCell:
        """One line."""
        line = {name: column[at].as_py() for name, column in self.columns.items()}
        settings = {n: v for n, v in line.items() if "." in n and not n.startswith(("axis.", "result."))}
        declared = {n.removeprefix("axis."): v for n, v in line.items() if n.startswith("axis.") and v is not None}
        return SelectedCell(self.folder.name, line["index"], line["kind"], line["seed"], line["step"], line["home"],
                    line["slug"], line["cell"], settings | declared)  # fmt: skip


def existing(runs: Path) -> Path:
    """The same folder; GridError where it is no run directory."""
    if not Store(runs).is_run_directory:
        raise GridError(f"{runs}: no run directory; make one with: difgen sweep grids/smoke.yaml")
    return runs


def find(store: Store, words: Sequence[str], grid: str | None = None) -> list[SelectedCell]:
    """Every cell that all the words name. Raises GridError where one of them names none."""
    lines = Lines.read(store, grid)
    return [lines.cell(at) for at in _matching(lines, words)]


def one(store: Store, words: Sequence[str], grid: str | None = None) -> SelectedCell:
    """The one cell that the words name. Raises GridError where they name several, and how to choose."""
    lines = Lines.read(store, grid)
    rows = _matching(lines, words)
    trajectories, keys = lines.columns["home"], lines.columns["cell"]
    if len({(trajectories[at].as_py(), keys[at].as_py()) for at in rows}) > 1:  # two lines may be the same work
        raise GridError(f"{' '.join(words)}: {len(rows):,} cells of grid {lines.name} match; {_advice(lines, rows)}")
    return lines.cell(rows[0])


def tagged(store: Store, tag: str, grid: str | None = None) -> list[Path]:
    """The folders of all grids, or of those of one name, that have a tag. Raises GridError where none has."""
    folders = [folder for folder in store.grids() if grid in (None, folder.name, folder.name.rpartition("-")[0])]
    tags = {folder: notes.read(folder).tags for folder in folders}
    chosen = [folder for folder in folders if tag in tags[folder]]
    if not chosen:
        every = sorted({one for some in tags.values() for one in some})
        raise GridError(
            f"--tag {tag}: no grid has this tag ({', '.join(every) or 'none has any'}){suggest(tag, every)}"
        )
    return chosen


def folder_of(store: Store, grid: str | None) -> Path:
    """The folder of the newest grid of a name, or of all. Raises GridError where none was swept."""
    folders = store.grids()
    chosen = [f for f in folders if grid in (None, f.name, f.name.rpartition("-")[0])]
    if chosen:
        return chosen[-1]
    names = ", ".join(sorted({f.name.rpartition("-")[0] for f in folders})) or "none"
    asked = f"--grid {grid}: no such grid" if grid else "no grid"
    raise GridError(f"{asked} was swept into {store.root} ({names})")


def _matching(lines: Lines, words: Sequence[str]) -> list[int]:
    """Positions of the lines that every word matches; references only where a word asks for them."""
    rows = list(range(lines.count))
    if all("=" in w for w in words) and not any(w.partition("=")[0].strip() == "kind" for w in words):
        kinds = lines.columns["kind"].to_pylist()
        rows = [at for at in rows if kinds[at] == "model"]
    for word in words:
        rows = _filtered(lines, rows, word) if "=" in word else _named(lines, rows, word)
    return rows


def _filtered(lines: Lines, rows: list[int], word: str) -> list[int]:
    """The rows whose setting fits KEY=VALUE."""
    path, _, wanted = (part.strip() for part in word.partition("="))
    paths = lines.settings()
    if path not in paths:
        close = get_close_matches(path, paths, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(paths[: 2 * SHOWN])} …"
        raise GridError(f"{word}: no cell of grid {lines.name} has the setting {path or 'without a name'}; {hint}")
    if not wanted:
        raise GridError(f"{word}: write KEY=VALUE, such as data.size=64 or 'data.size=<100'")
    _, holds = filter_of(word)
    values, as_shown = lines.values(path), {part.strip() for part in wanted.split(",")}
    left = [at for at in rows if values[at] is not None and (holds(values[at]) or shown(values[at]) in as_shown)]
    if not left:
        raise GridError(f"{word}: no cell matches; {path} is {listed((values[at] for at in rows), SHOWN)}")
    return left


def _named(lines: Lines, rows: list[int], word: str) -> list[int]:
    """The rows with an index, or with a key of cell or trajectory that begins so; a folder's name ends with its key."""
    if word.isdigit() and int(word) < lines.count:
        return [at for at in rows if at == int(word)] or _none(lines, word)
    begin = word.rstrip("/").rpartition("/")[2].rpartition("-")[2].lower()
    if not KEY.fullmatch(begin):
        raise GridError(
            f"{word}: a cell is an index below {lines.count:,} of `difgen plan`, the first {SHORTEST} or more digits "
            "of a key, or KEY=VALUE filters such as data.size=64"
        )
    keys = zip(lines.columns["cell"].to_pylist(), lines.columns["home"].to_pylist(), strict=True)
    fit = {at for at, pair in enumerate(keys) if any(key.startswith(begin) for key in pair)}
    return [at for at in rows if at in fit] or _none(lines, word)


def _none(lines: Lines, word: str) -> list[int]:
    raise GridError(f"{word}: no such cell in grid {lines.name}; `difgen plan` lists them, --grid names another grid")


def _advice(lines: Lines, rows: list[int]) -> str:
    """The fewest settings that distinguish rows, with their values."""
    groups: list[tuple[Any, ...]] = [()] * len(rows)
    parts = []
    candidates = {path: [values[at] for at in rows] for path in lines.settings()[:20] if (values := lines.values(path))}
    while len(set(groups)) < len(rows) and candidates:
        path = max(candidates, key=lambda p: len({(*t, v) for t, v in zip(groups, candidates[p], strict=True)}))
        finer = [(*t, v) for t, v in zip(groups, candidates[path], strict=True)]
        if len(set(finer)) == len(set(groups)):
            break
        groups = finer
        parts.append(f"{path}={'|'.join(listed(candidates.pop(path), SHOWN).split(', '))}")
    return f"add {' '.join(parts)}" if parts else "give an index of `difgen plan`"
