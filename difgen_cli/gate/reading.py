"""A policy from its TOML file: every key is checked, and what is wrong is said with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.engine.grid import shipped
from difgen_cli.engine.grid.document import GridError, Place, suggest
from difgen_cli.gate import policy as parts
from difgen_cli.gate.columns import PERMUTED, DeclaredColumn
from difgen_cli.gate.document import PolicyReader, places_of
from difgen_cli.gate.policy import NamedWeights, Policy, Rule

LARGEST_BYTES = 1 << 20
TOP = (
    "name", "release", "attacker", "declared", "weights", "selection", "rules", "controls", "attacks",
)  # fmt: skip
LIMITS = ("column", "at_most", "at_least", "least_n", "n_column", "bound")
RULE_KEYS = ("question", *LIMITS, "least_power", "power_column")
CONTROL_KEYS = (*LIMITS, "kind")
N, POWER = ("n", "least_n", "n_column"), ("power", "least_power", "power_column")
POSITION = re.compile(r" \(at line (\d+), column (\d+)\)")
HEX = re.compile(r"[0-9a-f]{64}")


def file_of(name: Path) -> Path:
    """The file of a policy, by its path or by the name of one that is shipped. GridError where there is none."""
    if name.is_file():
        return name
    policies = shipped.policies()
    if str(name) in policies:
        return policies[str(name)]
    raise GridError(
        f"POLICY: {name}: there is no such file; shipped are {', '.join(policies)}{suggest(name.stem, policies)}"
    )


def read(file: Path, columns: Mapping[str, DeclaredColumn], others: Iterable[str] = ()) -> Policy:
    """The policy in a file. GridError, one sentence with its line, for what is wrong in it."""
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise GridError(f"{file}: it has more than {LARGEST_BYTES >> 20} MB, and no policy needs as much")
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise GridError(f"{file}: not a text file in UTF-8") from None
    except OSError as error:
        raise GridError(f"{file}: cannot be read ({error.strerror})") from None
    try:
        return parsed(text, columns, others, file)
    except GridError as error:
        error.file = file
        raise


def parsed(
    text: str, columns: Mapping[str, DeclaredColumn], others: Iterable[str] = (), file: Path | None = None
) -> Policy:
    """The policy that a text is. columns: by name; others: further columns of the rows. GridError as `read`."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = POSITION.search(str(error))
        place = Place(int(at[1]), int(at[2])) if at else None
        raise GridError(f"not TOML: {POSITION.sub('', str(error)).rstrip('.')}", place) from None
    reader = PolicyReader(places_of(text), columns, frozenset(others))
    top = reader.table(content, "", TOP)
    rules = _rules(reader, top)
    controls = _controls(reader, top, rules)
    required, not_applicable = _attacks(reader, top)
    selection = reader.table(top.get("selection", {}), "selection", ("correction",))
    correction = parts.NO_CORRECTION
    if "correction" in selection:
        correction = reader.word(selection, "selection", "correction", parts.CORRECTIONS)
    return Policy(
        name=reader.word(top, "", "name"), text=text, release=reader.word(top, "", "release", parts.RELEASES),
        attacker=reader.word(top, "", "attacker", parts.ATTACKERS), rules=rules, controls=controls,
        required=required, not_applicable=not_applicable, weights=_weights(reader, top, file), correction=correction,
        declared=_declared(reader, top), file=file,
    )  # fmt: skip


def _rules(reader: PolicyReader, top: Mapping[str, Any]) -> tuple[Rule, ...]:
    given = top.get("rules")
    if not isinstance(given, list) or not given:
        raise reader.error("rules", "a policy has at least one [[rules]]")
    return tuple(_rule(reader, table, f"rules[{k}]", RULE_KEYS) for k, table in enumerate(given))


def _rule(reader: PolicyReader, given: Any, path: str, keys: tuple[str, ...], control: str = "") -> Rule:
    table = reader.table(given, path, keys)
    name = reader.column(table, path, "column")
    column = reader.columns.get(name)
    at_most, at_least = (reader.number(table, path, key) for key in ("at_most", "at_least"))
    _check_limits(reader, path, column, at_most, at_least)
    bound = reader.word(table, path, "bound", parts.BOUNDS) if "bound" in table else "interval"
    if bound == "value" and column is not None and column.ends is not None:
        raise reader.error(f"{path}.bound", f"{name} has an interval, of which the bad end is judged; leave bound out")
    if bound == "interval" and (column is None or column.ends is None):
        raise reader.error(
            f"{path}.column", f'{name} has no interval; write bound = "value" if its value alone may be judged'
        )
    spec = column.spec if column else ColumnSpec()
    least_n, n_column = _beside(reader, table, path, name, N, spec.n, needed=not control)
    least_power, power_column = None, ""
    if not control:
        least_power, power_column = _beside(reader, table, path, name, POWER, spec.power, needed=True)
    kind = reader.word(table, path, "kind", parts.KINDS) if "kind" in table else "model"
    question = parts.CONTROLS[control] if control else reader.word(table, path, "question")
    n = None if least_n is None else int(least_n)
    return Rule(
        question, name, at_most, at_least, n, n_column, least_power, power_column, bound, control, kind,
    )  # fmt: skip


def _check_limits(
    reader: PolicyReader, path: str, column: DeclaredColumn | None, at_most: float | None, at_least: float | None
) -> None:
    if at_most is None and at_least is None:
        raise reader.error(path, "no limit is given; add at_most or at_least")
    if at_most is not None and at_least is not None and at_least > at_most:
        raise reader.error(f"{path}.at_least", f"{at_least:g} is above at_most, {at_most:g}: nothing could pass")
    if column is not None and column.is_share:
        for key, limit, always in (("at_most", at_most, 1.0), ("at_least", at_least, 0.0)):
            if limit is not None and not 0 <= limit <= 1:
                raise reader.error(f"{path}.{key}", f"{limit:g} is no share; 1 % is 0.01")
            if limit == always:
                raise reader.error(f"{path}.{key}", f"no share is beyond {limit:g}: the rule could not fail")


def _beside(
    reader: PolicyReader, table: Mapping[str, Any], path: str, name: str, keys: tuple[str, str, str], own: str,
    *, needed: bool,
) -> tuple[float | None, str]:  # fmt: skip
    """The least value of a column beside that of a rule, and its name: the declared one, or another that is named.

    needed: where there is such a column, how much is enough must be said.
    """
    what, least, named = keys
    limit = reader.whole(table, path, least) if what == "n" else reader.number(table, path, least)
    column = reader.column(table, path, named) if named in table else own
    if limit is None and ((column and needed) or named in table):
        raise reader.error(
            f"{path}.{least}", f"not given; {column} says the {what} of {name}, so say how much is enough"
        )
    if limit is not None and not column:
        raise reader.error(f"{path}.{least}", f"nothing declares the {what} of {name}; name its column as {named}")
    if limit is not None and limit <= 0:
        raise reader.error(f"{path}.{least}", f"must be above 0, not {limit:g}")
    return limit, column if limit is not None else ""


def _controls(reader: PolicyReader, top: Mapping[str, Any], rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    given = reader.table(top.get("controls", {}), "controls", parts.CONTROLS)
    controls = tuple(_rule(reader, table, f"controls.{name}", CONTROL_KEYS, name) for name, table in given.items())
    for k, rule in enumerate(rules):
        for control, why in _needed(reader, rule).items():
            if control not in given:
                raise reader.error(f"rules[{k}].column", f"{rule.column} {why}; add [controls.{control}]")
    return controls


def _needed(reader: PolicyReader, rule: Rule) -> dict[str, str]:
    """The controls that a rule cannot be without, and why."""
    column = reader.columns.get(rule.column)
    if column is None:
        return {}
    needed = {}
    if column.foreign:
        needed["blind"] = "takes held-out images for what training images could have been"
    if column.spec.control == PERMUTED:
        needed["permuted"] = "is calibrated by other seeds, and reads 0.5 where their subsets are drawn again"
    elif column.spec.control:
        needed["held_out_copies"] = f"says little without {column.spec.control}, the same of held-out images"
    return needed


def _attacks(reader: PolicyReader, top: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, str]]:
    table = reader.table(top.get("attacks", {}), "attacks", ("required", "not_applicable"))
    required = table.get("required", [])
    if not isinstance(required, list):
        raise reader.error("attacks.required", "must be a list of attack classes")
    for one in required:
        reader.word({"required": one}, "attacks", "required", parts.ATTACK_CLASSES)
    reasons = reader.table(table.get("not_applicable", {}), "attacks.not_applicable", parts.ATTACK_CLASSES)
    for one in reasons:
        reader.word(reasons, "attacks.not_applicable", one)
        if one in required:
            raise reader.error("attacks.required", f"{one} is required, and not applicable as well; choose one")
    return tuple(dict.fromkeys(required)), dict(reasons)


def _weights(reader: PolicyReader, top: Mapping[str, Any], file: Path | None) -> NamedWeights:
    table = reader.table(top.get("weights", {}), "weights", ("file", "sha256", "step"))
    digests = table.get("sha256", [])
    digests = digests if isinstance(digests, list) else [digests]
    for digest in digests:
        if not isinstance(digest, str) or not HEX.fullmatch(digest.lower()):
            raise reader.error("weights.sha256", f"{digest!r} is no SHA-256, which has 64 hexadecimal digits")
    path = Path(reader.word(table, "weights", "file")) if "file" in table else None
    if path is not None and file is not None:
        path = file.parent / path
    return NamedWeights(tuple(d.lower() for d in digests), path, reader.whole(table, "weights", "step"))


def _declared(reader: PolicyReader, top: Mapping[str, Any]) -> datetime | None:
    value = top.get("declared")
    if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
        raise reader.error("declared", "must be a time with its zone and without quotes, such as 2026-01-31T12:00:00Z")
    return value
