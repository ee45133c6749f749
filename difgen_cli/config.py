"""Where things lie on this machine: settings for a place, never part of a study.

Flags win over the environment (`DIFGEN_*`), the environment over `difgen.toml` beside the grids, and that over the
one in the user's configuration folder.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHELL = "setup"  # the setting of a profile that is run


class NotYours:
    """Stands for lines of shell in a file next to a grid, which may come from anyone."""

    def __init__(self, file: Path) -> None:
        self.why = (
            f"{file}: {SHELL} holds lines of shell, which are taken from your own {_user_file()} alone, since a grid's "
            "folder may come from anyone; move the line there"
        )


class PlaceError(ValueError):
    """A profile that is missing or wrong; one sentence. Exit code 2."""


def data_root() -> Path:
    """The folder against which a grid's relative data paths are read."""
    return Path(os.environ.get("DIFGEN_DATA") or Path.cwd())


def weights_folders() -> list[Path]:
    """Where files of weights are looked for, in order."""
    torch_home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    own = [Path(os.environ["DIFGEN_WEIGHTS"])] if os.environ.get("DIFGEN_WEIGHTS") else []
    return [p.expanduser() for p in (*own, Path(torch_home) / "hub" / "checkpoints")]


def gate_key() -> Path:
    """Where the auditor's key lies, under which evidence names images."""
    return Path(os.environ.get("DIFGEN_GATE_KEY") or _user_folder() / "gate.key").expanduser()


def compiling() -> str:
    """Whether trainings are compiled: `auto` where that pays, `never`, or `always`. Raises PlaceError."""
    value = os.environ.get("DIFGEN_COMPILE") or "auto"
    if value not in ("auto", "never", "always"):
        raise PlaceError(f"$DIFGEN_COMPILE: {value!r}: choose auto, never or always")
    return value


def profile(name: str | None, grid: Path) -> dict[str, Any]:
    """A named profile, `default` where none is named: partition, account, walltime and the like."""
    files = _files(grid)
    merged: dict[str, Any] = {}
    names: set[str] = set()
    for file in reversed(files):
        profiles = _read(file)
        names |= set(profiles)
        settings = dict(profiles.get(name or "default", {}))
        if SHELL in settings and file != _user_file():
            settings[SHELL] = merged.get(SHELL) or NotYours(file)
        merged |= settings
    if name is not None and name not in names:
        where = ", ".join(str(f) for f in files)
        raise PlaceError(f"--profile {name}: no such profile ({', '.join(sorted(names)) or 'none'} in {where})")
    return merged


def profiles(grid: Path) -> dict[str, Path]:
    """The profiles that a grid may name, each with the file that says most of it."""
    return {name: file for file in reversed(_files(grid)) for name in _read(file)}


def _files(grid: Path) -> list[Path]:
    """Where profiles are looked for, those that win first."""
    return [grid.parent / "difgen.toml", grid.parent.parent / "difgen.toml", _user_file()]


def _user_file() -> Path:
    return _user_folder() / "difgen.toml"


def _user_folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "difgen"


def _read(file: Path) -> Mapping[str, dict[str, Any]]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlaceError(f"{file}: not TOML ({error})") from None
    wrong = next((k for k, v in content.items() if not isinstance(v, dict)), None)
    if wrong is not None:
        raise PlaceError(f"{file}: {wrong} is outside a profile; write it below a line such as [default]")
    return content
