"""The grids that come with difgen: in its repository, or where it is installed from a wheel."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from difgen_cli.engine.plugins import PACKAGE

FOLDER = "share/difgen/grids"  # of an installation, as pyproject.toml has it


def grids() -> dict[str, Path]:
    """The file of each grid by its name, sorted; none where they were removed."""
    own = PACKAGE.parent
    files = own.glob("grids/*.yaml") if (own / "pyproject.toml").is_file() else _installed()
    return {file.stem: file for file in sorted(files)}


def _installed() -> list[Path]:
    """Those that the installation has written down, wherever it has put them."""
    try:
        files = metadata.files("difgen") or []
    except metadata.PackageNotFoundError:
        return []
    return [path for file in files if FOLDER in file.as_posix() if (path := Path(str(file.locate()))).is_file()]
