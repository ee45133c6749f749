"""The grids and policies that come with difgen: in its repository, or where it is installed from a wheel."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from difgen_cli.engine.plugins import PACKAGE

FOLDER = "share/difgen"  # of an installation, as pyproject.toml has it


def grids() -> dict[str, Path]:
    """The file of each grid by its name, sorted; none where they were removed."""
    return _files("grids", ".yaml")


def policies() -> dict[str, Path]:
    """The file of each policy of `difgen gate` by its name, in the same way."""
    return _files("policies", ".toml")


def _files(kind: str, suffix: str) -> dict[str, Path]:
    own = PACKAGE.parent
    files = own.glob(f"{kind}/*{suffix}") if (own / "pyproject.toml").is_file() else _installed(kind)
    return {file.stem: file for file in sorted(files)}


def _installed(kind: str) -> list[Path]:
    """Those of a kind that the installation has written down, wherever it has put them."""
    try:
        files = metadata.files("difgen") or []
    except metadata.PackageNotFoundError:
        return []
    return [
        path for file in files if f"{FOLDER}/{kind}/" in file.as_posix() if (path := Path(str(file.locate()))).is_file()
    ]
