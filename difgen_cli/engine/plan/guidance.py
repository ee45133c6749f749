"""What `guide:` says, checked: a sum of terms, each a plug-in with its settings and, where it has one, its worse self.

`guide: {cfg: {weight: 1.5}, auto: {weight: 0.5, weak: {train.steps: 500}}}` names two terms. `name:` chooses among the
terms (`auto`, `auto+cfg`, `none`), and a setting right below `guide:` is that of every term that takes it and has none
of its own: so `guide: {name: cfg, weight: 1.5}` is one term, and `guide.name` an axis over kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from difgen_cli.engine.grid.document import GridError, Place, suggest
from difgen_cli.engine.grid.values import Given, check_changes
from difgen_cli.engine.plan.recipes import Operation
from difgen_cli.engine.plan.sections import Section
from difgen_cli.engine.plan.sections import resolve as resolve_section
from difgen_cli.engine.plugins import Library, PluginError

VERSION = 1  # of how terms are summed
NONE = Operation("guide", "none", "1", {}).key({})  # as when `none` was a plug-in: samples without guidance stay valid
# What a worse self may differ in: it must see images of the same shape, under the same labels or none.
MAY_DIFFER = ("model.", "train.", "post_training.", "data.size", "data.half", "data.seed", "condition.name")


@dataclass(frozen=True, eq=False)
class Guidance:
    """The terms that have an effect, by name in alphabetical order; none: the network as it is.

    idle: terms that are chosen and have none, by their weight of 0 or since their worse self is the network itself.
    They are in no key, and yet in the rows: the start of a curve over weights would have no weight.
    """

    terms: dict[str, Section]
    weak: dict[str, dict[str, Given]]  # term -> what its worse self has otherwise, by dotted path
    places: dict[str, Place | None]
    idle: dict[str, Section] = field(default_factory=dict)

    @cached_property
    def columns(self) -> dict[str, Any]:
        """Every setting of the terms that are chosen by its dotted path, for tables."""
        return self._columns({name: both[name] for both in [self.terms | self.idle] for name in sorted(both)})

    @cached_property
    def acting(self) -> dict[str, Any]:
        """The same of the terms that have an effect alone."""
        return self._columns(self.terms)

    def _columns(self, terms: Mapping[str, Section]) -> dict[str, Any]:
        columns = {"guide.name": "+".join(terms) or "none"}
        for name, section in terms.items():
            columns |= {f"guide.{name}.{k}": v for k, v in (section.own | section.settings).items()}
            columns |= {f"guide.{name}.weak.{path}": given.value for path, given in self.weak.get(name, {}).items()}
        return columns

    @cached_property
    def operations(self) -> dict[str, Operation]:
        """By term, the part of its key that does not depend on its worse self, which enters by its own key."""
        return {
            name: Operation("guide", name, _version(section), section.changed | section.changed_own)
            for name, section in self.terms.items()
        }

    def without(self, names: Iterable[str]) -> Guidance:
        """The same with some terms idle."""
        idle = {n: s for n, s in self.terms.items() if n in names}
        return Guidance(
            {n: s for n, s in self.terms.items() if n not in names}, self.weak, self.places, self.idle | idle
        )

    def key(self, inputs: Mapping[str, Mapping[str, str]]) -> str:
        """From the keys of each term's inputs, by term and role."""
        if not self.terms:
            return NONE
        terms = {name: operation.key(inputs.get(name, {})) for name, operation in self.operations.items()}
        return Operation("guide", "sum", VERSION, {}).key(terms)


UNGUIDED = Guidance({}, {}, {})


def _version(section: Section) -> str:
    own = section.own_signature
    return f"{section.signature.version}.{own.version if own else ''}"


def resolve(given: Mapping[str, Given], library: Library, elsewhere: Iterable[str] = ()) -> Guidance:
    """Check what a point says below `guide:`, by dotted path; `elsewhere` are the terms that other points name."""
    plugins = library.names("guide")
    own: dict[str, dict[str, Given]] = {}
    common: dict[str, Given] = {}
    for path, value in given.items():
        term, _, setting = path.partition(".")
        if term in plugins:
            own.setdefault(term, {})
            if setting:
                own[term][setting] = value
            elif not _bare(value):
                raise GridError(f"guide.{term}: a term is a map of settings, such as {{weight: 1.5}}", value.place)
        elif path != "name":
            common[path] = value
    chosen = _chosen(given, own, library)
    takers = {name: _takes(name, library) for name in ({*chosen, *own, *elsewhere} or set(plugins))}
    for path, value in common.items():
        if not any(path.partition(".")[0] in takes for takes in takers.values()):
            _refuse(path, value, takers, library)
    terms = {name: _term(name, own.get(name, {}), common, library, _place(name, given)) for name in {*chosen, *own}}
    active = {name: terms[name][0] for name in sorted(chosen) if terms[name][0].own["weight"] != 0}
    idle = {name: terms[name][0] for name in chosen if name not in active}
    places = {name: _place(name, given) for name in active}
    return Guidance(active, {name: terms[name][1] for name in chosen if terms[name][1]}, places, idle)


def _chosen(given: Mapping[str, Given], own: Iterable[str], library: Library) -> list[str]:
    """The terms that `name:` chooses, else all that are mentioned."""
    if "name" not in given:
        return list(own)
    value, place = given["name"].value, given["name"].place
    names = [name for name in str(value).split("+") if name != "none"]
    for name in names:
        try:
            library.signature("guide", name)
        except PluginError as error:
            raise GridError(f"guide.name: {error}", place) from None
    return names


def _bare(value: Given) -> bool:
    """Whether a word is named and nothing said of it."""
    return value.value is None or value.value is True


def _takes(name: str, library: Library) -> set[str]:
    """The settings of a term, its worse self among them where it has one."""
    signature, shared = library.signature("guide", name), library.own("guide")
    return {*signature.settings, *(shared.settings if shared else ()), *({"weak"} & set(signature.inputs))}


def _refuse(path: str, value: Given, takers: Mapping[str, set[str]], library: Library) -> None:
    """GridError for a word below `guide:` that is no setting of any of its terms: it may be meant as a term."""
    word, accepted = path.partition(".")[0], sorted(set().union(*takers.values()))
    if "." in path or _bare(value):
        try:
            library.signature("guide", word)
        except PluginError as error:
            raise GridError(f"guide.{word}: {error}", value.place) from None
    listed = f"{', '.join(sorted(takers))} ({', '.join(accepted)})"
    raise GridError(f"guide.{path}: unknown setting of {listed}{suggest(word, accepted)}", value.place)


def _term(
    name: str, own: Mapping[str, Given], common: Mapping[str, Given], library: Library, place: Place | None
) -> tuple[Section, dict[str, Given]]:
    """One term, checked, and what its worse self has otherwise."""
    takes = _takes(name, library)
    settings = {path: value for path, value in common.items() if path.partition(".")[0] in takes} | dict(own)
    weak = {p.removeprefix("weak."): g for p, g in settings.items() if p.startswith("weak.") and "weak" in takes}
    rest = {p: g for p, g in settings.items() if not (p.startswith("weak.") and "weak" in takes)}
    section = resolve_section("guide", rest | {"name": Given(name, place or Place())}, library, path=f"guide.{name}")
    _check_interval(name, section, rest.get("interval"))
    if "weak" in takes:
        _check_weak(name, weak, place)
    return section, weak


def _check_interval(name: str, section: Section, given: Given | None) -> None:
    from difgen_cli import guidance

    try:
        guidance.span(section.own["interval"])
    except ValueError as error:
        raise GridError(f"guide.{name}.{error}", given.place if given else None) from None


def _check_weak(name: str, weak: Mapping[str, Given], place: Place | None) -> None:
    if not weak:
        raise GridError(
            f"guide.{name}.weak: not given; name what differs in the worse self, such as {{train.steps: 500}}", place
        )
    check_changes(f"guide.{name}.weak", weak, MAY_DIFFER, "a worse self may differ in model, train and post_training, "
                  "in data.size, data.half and data.seed, and in condition.name: none")  # fmt: skip
    for path, given in weak.items():
        if path == "condition.name" and given.value != "none":
            raise GridError(f"guide.{name}.weak.{path}: other labels than the network's mean nothing to it; use none",
                            given.place)  # fmt: skip


def _place(name: str, given: Mapping[str, Given]) -> Place | None:
    """Where a term is named first, or its weight is given."""
    candidates = [p for p in given if p == name or p.startswith(name + ".")] or [p for p in given if p == "name"]
    return given[candidates[0]].place if candidates else None
