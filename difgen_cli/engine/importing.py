"""Import a user's plug-in such that it can import modules beside it: `from ._near`, `from .._all`, `plugins._all`."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

SHARED = "plugins"  # the name by which plug-ins may import from their own folder, whatever else is called so


def user_module(file: Path) -> ModuleType:
    """The module of `plugins/<kind>/<name>.py`, under a name of its own for each folder of plug-ins.

    Raises ImportError for what is no Python file, and whatever the file raises.
    """
    top = file.parent.parent
    name = f"difgen_plugins_{hashlib.sha256(str(top).encode()).hexdigest()[:8]}"
    _package(name, top)
    _share(top)
    _package(f"{name}.{file.parent.name}", file.parent)
    return _executed(f"{name}.{file.parent.name}.{file.stem}", file)


def _share(top: Path) -> None:
    """Let `plugins` be this folder: the modules of another one, imported before under that name, are those of others.

    The name stays after the import, since functions may import when they run.
    """
    if top.name != SHARED:
        return
    present = sys.modules.get(SHARED)
    if present is None or list(getattr(present, "__path__", ())) != [str(top)]:
        for name in [n for n in sys.modules if n == SHARED or n.startswith(f"{SHARED}.")]:
            del sys.modules[name]
        _package(SHARED, top)


def _package(name: str, folder: Path) -> None:
    """A folder as a package, whether it has an `__init__.py` or not; one that is there stays."""
    if name in sys.modules:
        return
    if (folder / "__init__.py").is_file():
        _executed(name, folder / "__init__.py", [str(folder)])
        return
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[name] = importlib.util.module_from_spec(spec)


def _executed(name: str, file: Path, places: list[str] | None = None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
