"""What a section of a cell says, checked against the signatures of the functions that will use it.

A section's settings are those of its package's own function plus its plug-in's. Each distinct section is checked once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from difgen_cli import contents
from difgen_cli.engine.grid.document import GridError, Place, suggest
from difgen_cli.engine.grid.values import Given, Spaced, number
from difgen_cli.engine.plugins import KINDS, Library, PluginError, Setting, Signature
from difgen_cli.text import printable

# data and model must be named
DEFAULT_PLUGIN = {"condition": "none", "objective": "edm", "post_training": "none", "sample": "heun"}
AGAINST = "against"  # a metric's positional parameter that stands for another data set
DEFAULT_SCORE = ("memorization", "preference", "frechet", "gap")


@dataclass(frozen=True, eq=False)
class Section:
    """A plug-in with its settings in canonical form."""

    kind: str
    name: str  # the plug-in; for train, "train"
    signature: Signature
    settings: dict[str, Any]  # of the plug-in's function: every one, defaults filled in
    own: dict[str, Any]  # of the package's own function: likewise
    own_signature: Signature | None

    @cached_property
    def changed(self) -> dict[str, Any]:
        """The plug-in's settings that differ from their defaults: what is hashed, and what its function is given."""
        return _changed(self.signature, self.settings)

    @cached_property
    def changed_own(self) -> dict[str, Any]:
        """The same for the package's own function."""
        return _changed(self.own_signature, self.own) if self.own_signature else {}

    @cached_property
    def columns(self) -> dict[str, Any]:
        """Every setting by its dotted path, for tables."""
        named = {} if self.kind == "train" else {"name": self.name}
        return {f"{self.kind}.{k}": v for k, v in (named | self.own | self.settings).items()}


def _changed(signature: Signature, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the default, but for settings that are not read under the value of another one.

    A constant READ_WHEN = {setting: (another, values)} says so; values None: all but the default.
    """
    read_when = signature.constants.get("READ_WHEN", {})
    unread = {k for k, (other, values) in read_when.items() if not _has(signature, settings, other, values)}
    return {k: v for k, v in sorted(settings.items()) if k not in unread and v != signature.settings[k].default}


def _has(signature: Signature, settings: Mapping[str, Any], name: str, values: Iterable[Any] | None) -> bool:
    """Whether a setting has one of these values; None: any but its default."""
    value = settings.get(name)
    return bool(value != signature.settings[name].default if values is None else value in values)


@cache
def shaping(train: Section, objective: Section) -> tuple[tuple[str, Any], ...]:
    """The settings of training that shape the weights: all that differ from the default, but for how long it lasts."""
    unread = set() if horizon(train, objective) else {"steps"}
    return tuple((k, v) for k, v in train.changed.items() if k not in unread)


def in_closed_form(signature: Signature) -> bool:
    """Whether a model is made of the training images themselves, or of what they were drawn from, and not trained."""
    return bool({"train", "population"} & set(signature.inputs))


def is_pretrained(signature: Signature) -> bool:
    """Whether a model is made of weights that somebody else trained."""
    return "pretrained" in signature.inputs


def untrained(signature: Signature) -> bool:
    """Whether no training here makes a model."""
    return in_closed_form(signature) or is_pretrained(signature)


def wants(section: Section, name: str) -> bool:
    """Whether a plug-in is given an input: it names it, and its settings are such that it needs it."""
    return needs(section.signature, section.settings, name)


def needs(signature: Signature, settings: Mapping[str, Any], name: str) -> bool:
    """The same of a signature with settings."""
    needed = signature.constants.get("INPUT_WHEN", {}).get(name)
    return name in signature.inputs and (needed is None or settings[needed[0]] == needed[1])


def horizon(*sections: Section) -> tuple[str, Any] | None:
    """A setting, by its dotted path, whose value depends on where the run ends, so that a shorter run is another run.

    A constant HORIZON = {setting: values} says so; values None: all but the default.
    """
    for section in sections:
        if name := ends(section.signature, section.settings):
            return f"{section.kind}.{name}", section.settings[name]
    return None


def ends(signature: Signature, settings: Mapping[str, Any]) -> str | None:
    """The first such setting of a plug-in."""
    named = signature.constants.get("HORIZON", {}).items()
    return next((name for name, values in named if _has(signature, settings, name, values)), None)


def resolve(
    kind: str, given: Mapping[str, Given], library: Library, others: Iterable[str] = (), path: str | None = None,
    *, alone: bool = False,
) -> Section:  # fmt: skip
    """Check one section: `given` maps setting names to values, `others` are the plug-ins that the grid names for it.

    A setting that only another of those plug-ins takes is dropped; one that none takes raises GridError. `path` is
    what errors call the section, where that is not its kind. `alone`: without the settings of its package's own
    function.
    """
    path = path or kind
    name = str(given["name"].value) if "name" in given else DEFAULT_PLUGIN.get(kind, kind)
    place = given["name"].place if "name" in given else None
    if KINDS[kind].entry and name == kind:
        raise GridError(f"{path}.name: not given; name one of {', '.join(library.names(kind))}")
    signature = _signature(kind, name, library, place, path)
    own = None if alone else _own(kind, name, library, place)
    shared = own.settings if own and own is not signature else {}
    # A plug-in that calls something else by the name of a shared setting has its own in the place of that.
    hidden = {k for k, s in shared.items() if k in signature.settings and signature.settings[k].type != s.type}
    accepted = signature.settings | {k: s for k, s in shared.items() if k not in hidden}
    elsewhere = {s for other in others for s in _taken(kind, other, library, place, alone=alone)}
    checked: dict[str, Any] = {}
    for key, value in given.items():
        if key in accepted:
            checked[key] = check(f"{path}.{key}", accepted[key], value)
        elif key != "name" and key not in elsewhere:
            raise GridError(_unknown(f"{path}.{key}", key, signature, accepted), value.place)
    for key, setting in accepted.items():
        if setting.required and key not in checked:
            raise GridError(f"{path}.{key}: not given, and {signature.label} needs it", place)
        checked.setdefault(key, setting.default)
    plugin_settings = {k: v for k, v in checked.items() if k in signature.settings}
    own_settings = {k: shared[k].default if k in hidden else v for k, v in checked.items() if k in shared}
    if "canonical" in signature.functions:
        try:
            simplest, plugin_settings = library.module(kind, name).canonical(plugin_settings)
        except ValueError as error:
            refused = given.get(str(error).partition(":")[0])
            raise GridError(f"{path}.{error}", refused.place if refused else place) from None
        if simplest != name:
            signature = library.signature(kind, simplest)
            defaults = {k: s.default for k, s in signature.settings.items()}
            name, plugin_settings = simplest, defaults | plugin_settings
    signature = _reading(kind, signature, plugin_settings)
    return Section(kind, name, signature, plugin_settings, own_settings, own if own is not signature else None)


def resolve_metric(
    metric: str, given: Mapping[str, Given], library: Library, place: Place | None, compared: Iterable[str] = ()
) -> tuple[Section, Section | None]:
    """Check the settings of one metric under `score:`; and those of the data set that it compares with, if it does.

    A metric whose positional parameters name `against` takes a map of that name: a data plug-in and its settings, or
    such of the others that the grid names there, `compared`.
    """
    signature = _signature("score", metric, library, place)
    other = None
    if AGAINST in signature.inputs:
        path, inner = f"score.{metric}.{AGAINST}", {k: g for k, g in given.items() if k.startswith(f"{AGAINST}.")}
        if f"{AGAINST}.name" not in inner:
            raise GridError(f"{path}: name another data set, by its plug-in and its settings: {{name: digits}}", place)
        other = resolve("data", {k.partition(".")[2]: g for k, g in inner.items()}, library, compared, path, alone=True)
        given = {k: g for k, g in given.items() if k not in inner}
    for key, value in given.items():
        if key not in signature.settings:
            raise GridError(_unknown(f"score.{metric}.{key}", key, signature, signature.settings), value.place)
    settings = {
        k: check(f"score.{metric}.{k}", s, given[k]) if k in given else s.default for k, s in signature.settings.items()
    }
    return Section("score", metric, _reading("score", signature, settings), settings, {}, None), other


def _reading(kind: str, signature: Signature, settings: Mapping[str, Any]) -> Signature:
    """A user's plug-in as it reads the files that its settings name: others make another version of it. Data are known
    by what is read of them."""
    if kind == "data" or signature.builtin:
        return signature
    # A default is a literal, and so text.
    texts = [Path(v) for k, v in settings.items() if isinstance(v, str) and _accepts(signature.settings[k].type, Path)]
    paths = [v for v in settings.values() if isinstance(v, Path)] + [path for path in texts if path.exists()]
    if not paths:
        return signature
    files = [f for p in paths for f in ([p] if p.is_file() else sorted(f for f in p.rglob("*") if f.is_file()))]
    digest = hashlib.sha256(b"".join(bytes.fromhex(contents.sha256(f)) for f in files)).hexdigest()[:16]
    return replace(signature, version=f"{signature.version}+{digest}")


def _signature(kind: str, name: str, library: Library, place: Place | None, path: str | None = None) -> Signature:
    if KINDS[kind].entry is None:
        own = library.own(kind)
        if own is not None:
            return own
    try:
        return library.signature(kind, name)
    except PluginError as error:
        raise GridError(f"{path or kind}{'' if kind == 'score' else '.name'}: {error}", place) from None


def _own(kind: str, name: str, library: Library, place: Place | None) -> Signature | None:
    """The settings that all plug-ins of a section share, as one of them has them."""
    if kind == "model" and untrained(_signature(kind, name, library, place)):
        return None  # it is a denoiser already, or says itself how it is read
    try:
        return library.own(kind, name)
    except PluginError as error:
        raise GridError(f"{kind}.name: {error}", place) from None


def _taken(kind: str, name: str, library: Library, place: Place | None, *, alone: bool) -> set[str]:
    """All settings that a plug-in of a section takes; alone: without those of its package's own function."""
    own = None if alone else _own(kind, name, library, place)
    return {*_signature(kind, name, library, place).settings, *(own.settings if own else ())}


def _unknown(path: str, key: str, signature: Signature, accepted: Mapping[str, Setting]) -> str:
    names = ", ".join(sorted(accepted)) or "it takes none"
    if inner := sorted(name.partition(".")[2] for name in accepted if name.startswith(f"{key}.")):
        return f"{path}: must be a map of {', '.join(inner)}, such as {{{inner[0]}: …}}"
    return f"{path}: unknown setting of {signature.label} ({names}){suggest(key, accepted)}"


def check(path: str, setting: Setting, given: Given) -> Any:
    """A value as the setting's type, strictly; raises GridError that says what is allowed."""
    value = meant(setting, given.value)
    if any(type(v) is int and abs(v) >= 2**63 for v in (value if isinstance(value, tuple) else (value,))):
        raise GridError(f"{path}: must be below 2^63 (9.2e18) in size", given.place)
    if isinstance(value, str) and _accepts(setting.type, Path):
        value = Path(value)
    try:
        return _adapter(setting.type).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        what = first["msg"].replace("Input should be", "must be").replace("a valid tuple", "a list in [ ]").lower()
        shown = "nothing" if given.value is None else repr(given.value)
        raise GridError(f"{path}: {what}, not {shown}", given.place) from None


def meant(setting: Setting, value: Any) -> Any:
    """A grid's value as a setting takes it: a count as a whole number, a spaced value rounded where it has to be."""
    value = number(value)
    if not isinstance(value, Spaced):
        return value
    return round(value) if _accepts(setting.type, int) and not _accepts(setting.type, float) else float(value)


@cache
def _adapter(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_, config=ConfigDict(strict=True, allow_inf_nan=False))


def _accepts(type_: Any, plain: type) -> bool:
    """Whether a plain type is among those that an annotation allows."""
    if type_ is plain:
        return True
    return get_origin(type_) is not tuple and any(
        _accepts(a, plain) for a in get_args(type_) if isinstance(a, type) or get_args(a)
    )


def as_text(value: Any) -> Any:
    """A setting's value as a table or JSON file holds it: lists as JSON, paths as text that can be printed."""
    if isinstance(value, tuple | list):
        return json.dumps(list(value))
    return printable(str(value)) if isinstance(value, Path) else value
