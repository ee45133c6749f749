"""Find a plug-in, read what it asks for, and import it when it is needed.

A plug-in is a file with one entry function. Its positional parameters name its inputs; its typed keyword-only
parameters, with literal defaults, are its settings. Both are read from the syntax tree, so that planning
never imports a plug-in, and with it torch. The file's name is the plug-in's name: there is no registry.
"""

from __future__ import annotations

import ast
import difflib
import importlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from difgen_cli.engine import columns, inputs, setting_types
from difgen_cli.engine.fingerprint import of_reached
from difgen_cli.engine.importing import user_module

PACKAGE = Path(__file__).parent.parent
REQUIRED = object()  # the default of a setting that has none
# Settings of sampling that mean nothing to a sampler of difgen 0.1, which is given unit noise and makes its own levels.
OF_LEVELS = ("steps", "rho", "sigma_min", "sigma_max", "levels", "every", "start")


class PluginError(ValueError):
    """A plug-in that is missing or cannot be read; one sentence for a person."""


@dataclass(frozen=True)
class Kind:
    """What plug-ins of one kind look like: their folder, their entry function, and the folder's own function."""

    folder: str
    entry: str | None  # the plug-in's function; None where the section has no plug-ins
    own: str | None = None  # the function of the package itself, whose settings every plug-in of it shares
    own_file: str = "__init__.py"  # the file in that folder which defines it
    helper: str | None = None  # another function of a plug-in, whose positional parameters are inputs too
    groups: tuple[tuple[str, str], ...] = ()  # maps among the shared settings: a function of the folder, and its file


KINDS = {
    "data": Kind("data", "load", "split", groups=(("canaries", "_canaries.py"),)),
    "condition": Kind("condition", "fit", "alter"),
    "model": Kind("models", "build", "denoiser"),
    "objective": Kind("objectives", "loss", "levels", helper="draw"),
    "train": Kind("diffusion", None, "train", "training.py"),
    "post_training": Kind("post_training", "apply"),
    "sample": Kind("sampling", "sample", "draw"),
    "guide": Kind("guidance", "negative", "term"),
    "score": Kind("metrics", "measure"),
    "features": Kind("features", "fit"),
}
SECTIONS = tuple(k for k in KINDS if k != "features")  # what a grid may set; a feature space is named by others
GRID_PARTS = {  # of a grid file, and what each is for
    "base": "The settings of every cell, section by section: data, model, train, sample, score and others.",
    "axes": "Settings that vary, such as data.size: [16, 64, 256]. Cells are all combinations of their values.",
    "zip": "Axes that move together, value by value.",
    "fork": "From which step trainings branch off (at), and what changes from there (change).",
    "refine": "Results decide which values of an axis are run: {axis, metric, level, first}. Others are not needed.",
    "seeds": "How many trainings each combination has, or their numbers: other subsets, initialisations and batches.",
    "include": "Cells besides the combinations, each a map of settings.",
    "skip": "Combinations that are left out, each by values or comparisons such as '>= 512'.",
}
COLUMN_SECTIONS = (*SECTIONS, "fork")  # whose settings a row has: where a grid forks, a row says how


@dataclass(frozen=True)
class Setting:
    """One keyword-only parameter: its name, its type as pydantic checks it, its default."""

    name: str
    type: Any
    default: Any

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


@dataclass(frozen=True)
class Signature:
    """What a file says of itself, read without running it."""

    name: str
    file: Path
    version: int | str
    inputs: tuple[str, ...]
    settings: dict[str, Setting]
    constants: dict[str, Any] = field(default_factory=dict)  # upper-case literals: COLUMNS, TABLES, HELD_OUT_MIN …
    functions: frozenset[str] = frozenset()  # what else the file defines: canonical, embed
    refuses: bool = False  # whether the function itself raises errors, as for settings that do not fit together

    @property
    def builtin(self) -> bool:
        """Whether it is of this package, and not a user's."""
        return self.file.is_relative_to(PACKAGE)

    @property
    def label(self) -> str:
        """The file as an error names it: `models/mlp.py`."""
        return f"{self.file.parent.name}/{self.file.name}"


@dataclass(frozen=True)
class Library:
    """The plug-ins at hand: those of the package, and those in a `plugins/` folder beside the grid."""

    user: Path | None = None

    def names(self, kind: str) -> list[str]:
        """Every plug-in of a kind, sorted."""
        return sorted(self._files(kind))

    def signature(self, kind: str, name: str) -> Signature:
        """Inputs and settings of a plug-in; raises PluginError for a name that no file bears, or an unknown input."""
        files = self._files(kind)
        if name not in files:
            close = difflib.get_close_matches(str(name), files, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise PluginError(f"no {KINDS[kind].folder} plug-in is called {name!r} ({', '.join(sorted(files))}){hint}")
        spec, builtin = KINDS[kind], files[name].is_relative_to(PACKAGE)
        signature = read(files[name], spec.entry or "", builtin=builtin, helper=spec.helper)
        if wrong := inputs.mistake(kind, signature.inputs):
            raise PluginError(f"{signature.file}: {spec.entry}: {wrong}")
        return signature

    def own(self, kind: str, name: str | None = None) -> Signature | None:
        """The settings that all plug-ins of a section share, from the package's own function; with the defaults that
        a plug-in's constant DEFAULTS puts in their place, where one is named, and without those that it cannot use."""
        if (spec := KINDS[kind]).own is None:
            return None
        shared = read(PACKAGE / spec.folder / spec.own_file, spec.own, builtin=True)
        for group, file in spec.groups:
            shared = _with_group(shared, group, read(PACKAGE / spec.folder / file, group, builtin=True))
        return shared if name is None or spec.entry is None else _as_taken(shared, self.signature(kind, name))

    def module(self, kind: str, name: str) -> ModuleType:
        """The plug-in itself, imported."""
        return _import(self._files(kind)[name])

    def _files(self, kind: str) -> dict[str, Path]:
        folder = KINDS[kind].folder
        files = dict(_listing(PACKAGE / folder))
        if self.user is not None:
            _check_folders(self.user)
            for name, file in _listing(self.user / folder).items():
                if name in files:
                    raise PluginError(f"{file}: {name} is a built-in plug-in; give yours another name")
                files[name] = file
        return files


def _with_group(shared: Signature, group: str, own: Signature) -> Signature:
    """A section's shared settings with those of a map among them, which are called by its name and theirs."""
    inner = {f"{group}.{key}": replace(s, name=f"{group}.{key}") for key, s in own.settings.items()}
    read_when = {f"{group}.{k}": (f"{group}.{k_of}", v) for k, (k_of, v) in own.constants.get("READ_WHEN", {}).items()}
    constants = shared.constants | {"READ_WHEN": shared.constants.get("READ_WHEN", {}) | read_when}
    return replace(shared, settings=shared.settings | inner, constants=constants)


def _as_taken(shared: Signature, plugin: Signature) -> Signature:
    """The settings that a section's plug-ins share, as one of them has them."""
    unit_noise = inputs.takes_noise(plugin.inputs)
    settings = {k: s for k, s in shared.settings.items() if not (unit_noise and k in OF_LEVELS)}
    for key, default in plugin.constants.get("DEFAULTS", {}).items():
        if key not in settings:
            raise PluginError(f"{plugin.file}: DEFAULTS names {key}, which is none of {', '.join(settings)}")
        settings[key] = replace(settings[key], default=default)
    return shared if settings == shared.settings else replace(shared, settings=settings)


@cache
def _check_folders(user: Path) -> None:
    """Raise PluginError for a folder of no kind: nothing in it would ever be found. Files are not looked at."""
    kinds = [kind.folder for kind in KINDS.values() if kind.entry]
    for folder in sorted(user.iterdir()):
        if folder.name in kinds or folder.name.startswith(("_", ".")) or not folder.is_dir():
            continue
        close = difflib.get_close_matches(folder.name, kinds, n=1)
        raise PluginError(
            f"{folder}: no kind of plug-in has this folder ({', '.join(kinds)}); rename it to "
            f"{close[0] if close else 'one of them'}, or to _{folder.name} if it holds helper modules"
        )


@cache
def _listing(folder: Path) -> dict[str, Path]:
    return {f.stem: f for f in sorted(folder.glob("*.py")) if not f.stem.startswith("_")}


@cache
def _import(file: Path) -> ModuleType:
    if file.is_relative_to(PACKAGE):
        return importlib.import_module(".".join(("difgen_cli", *file.relative_to(PACKAGE).with_suffix("").parts)))
    return user_module(file)


@cache
def read(file: Path, function: str, *, builtin: bool, helper: str | None = None) -> Signature:
    """The signature of `function` in `file`, from its syntax tree; the inputs of a helper are among its own."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    except (SyntaxError, UnicodeDecodeError, OSError) as error:
        raise PluginError(f"{file}: not readable as Python ({error})") from error
    definitions = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function]
    if not definitions:
        raise PluginError(f"{file}: a plug-in in this folder must define a function {function}(...)")
    arguments = definitions[0].args
    helpers = [n.args for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == helper]
    positional = [a.arg for each in (arguments, *helpers) for a in (*each.posonlyargs, *each.args)]
    named = tuple(dict.fromkeys(positional))
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    settings = {a.arg: Setting(a.arg, _type(a, file), _default(a, d, file)) for a, d in pairs}
    constants = _constants(tree)
    if function == KINDS["score"].entry and (wrong := columns.mistake(tree)):
        raise PluginError(f"{file}:{wrong}")
    # A user's file without a VERSION is versioned by its code: an edit makes new results, never silently old ones.
    try:
        version = constants.pop("VERSION", None if builtin else of_reached(file))
    except (SyntaxError, UnicodeDecodeError, OSError) as error:
        raise PluginError(f"{file}: imports a module that is not readable as Python ({error})") from error
    if version is None:
        raise PluginError(f"{file}: no VERSION")
    name = file.parent.name if file.stem == "__init__" else file.stem
    functions = frozenset(n.name for n in tree.body if isinstance(n, ast.FunctionDef))
    refuses = any(isinstance(n, ast.Raise) for n in ast.walk(definitions[0]))
    return Signature(name, file, version, named, settings, constants, functions, refuses)


def _constants(tree: ast.Module) -> dict[str, Any]:
    constants = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id.isupper():
                with suppress(ValueError):  # computed: not a declaration
                    constants[target.id] = ast.literal_eval(node.value)
    return constants


def _default(argument: ast.arg, node: ast.expr | None, file: Path) -> Any:
    if node is None:
        return REQUIRED
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise PluginError(f"{file}:{node.lineno}: the default of {argument.arg} must be a literal") from None


def _type(argument: ast.arg, file: Path) -> Any:
    if argument.annotation is None:
        raise PluginError(f"{file}:{argument.lineno}: the setting {argument.arg} has no type")
    try:
        return setting_types.read(argument.annotation)
    except (KeyError, TypeError, ValueError, AttributeError):
        text = ast.unparse(argument.annotation)
        raise PluginError(
            f"{file}:{argument.lineno}: the type {text} of {argument.arg} cannot be read; use bool, int, float, str, "
            "Path, Literal[...], tuple[int, ...], X | None, or Annotated[X, Gt(0)] with Gt, Ge, Lt, Le"
        ) from None
