"""Evidence held against the rows that it names: everything is computed again, and each difference is named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.store import Store
from difgen_cli.gate import checks, evidence, material, reading, schema, subject
from difgen_cli.gate.age import WrittenAt, written
from difgen_cli.gate.checks import Judging
from difgen_cli.gate.policy import NamedWeights, Policy
from difgen_cli.gate.sources import Declarations

LARGEST_BYTES = 32 << 20
NOT_COMPARED = ("created", "tool", "commitment")  # when and by which difgen it was made; its own hash
SHOWN = 60  # characters of a value in a sentence


@dataclass(frozen=True)
class Verified:
    """differences: each in one sentence; none where the evidence is true. unchecked: what could not be compared."""

    document: Mapping[str, Any]
    differences: list[str]
    unchecked: list[str]


def read(file: Path) -> dict[str, Any]:
    """The object in a file. GridError where it cannot be read, or is no evidence of this layout."""
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise ValueError(f"more than {LARGEST_BYTES >> 20} MB")
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refused)
    except OSError as error:
        raise GridError(f"--verify: {file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise GridError(f"--verify: {file}: is no JSON of evidence ({error})") from None
    if not isinstance(document, dict) or document.get("schema") != evidence.NAME:
        raise GridError(f"--verify: {file}: is no evidence of the layout {evidence.NAME}")
    return document


def verified(
    document: Mapping[str, Any], store: Store, declared: Declarations, policy_file: Path | None, key: bytes | None,
    *, key_is_given: bool,
) -> Verified:  # fmt: skip
    """Compare evidence with what the rows say now. policy_file: that it must be of; key: of the auditor."""
    wrong = list(schema.mistakes(document))
    if wrong:
        return Verified(document, [f"{wrong[0]}: it is not as difgen writes evidence"], [])
    differences: list[str] = []
    unchecked: list[str] = []
    if evidence.commitment(document) != document["commitment"]["sha256"]:
        differences.append("commitment: the evidence was changed after it was written")
    try:
        policy, at = _policy(document, declared, policy_file, differences, unchecked)
    except GridError as error:
        return Verified(document, [*differences, f"policy.text: is no policy ({error})"], unchecked)
    again = _again(document, store, declared, policy, at, _usable(document, key, key_is_given, differences, unchecked))
    skipped = () if again["material"]["key_id"] is not None else ("material.key_id", *ROOTS)
    differences += _named(list(_different(document, again, "", skipped)))
    return Verified(document, differences, unchecked)


ROOTS = ("material.train.root", "material.held_out.root")


def _policy(
    document: Mapping[str, Any], declared: Declarations, file: Path | None, differences: list[str],
    unchecked: list[str],
) -> tuple[Policy, WrittenAt]:  # fmt: skip
    """The policy of the evidence, and when it was written: by its file where that is given."""
    about = document["policy"]
    policy = reading.parsed(about["text"], declared.columns, declared.others)
    if policy.sha256 != about["sha256"]:
        differences.append("policy.sha256: is not that of policy.text")
    if policy.weights.path is not None:  # it is relative to a file that may be elsewhere
        named = NamedWeights(tuple(document["subject"]["named_by_policy"]), None, policy.weights.step)
        policy = replace(policy, weights=named)
    time = datetime.fromisoformat(about["written_at"]) if about["written_at"] else None
    at = WrittenAt(time, about["shown_by"] or "", about["not_shown"] or "")
    if file is None:
        if at.by == "declared" and time != policy.declared:
            differences.append("policy.written_at: is not what policy.text declares")
        if at.by != "declared":
            unchecked.append("when the policy was written: give its file, POLICY, before RUNS")
        return policy, at
    of_file = reading.read(file, declared.columns, declared.others)
    if of_file.sha256 != policy.sha256:
        differences.append(
            f"policy: {file} is another policy (SHA-256 {of_file.sha256[:12]}…) than that of the evidence"
        )
        return policy, at
    return policy, written(of_file)


def _usable(
    document: Mapping[str, Any], key: bytes | None, is_given: bool, differences: list[str], unchecked: list[str]
) -> bytes | None:
    """The key, if it is that of the evidence."""
    if key is not None and material.key_id(key) == document["material"]["key_id"]:
        return key
    if is_given:
        differences.append("material.key_id: the key is another one than that of the evidence")
    unchecked.append("the images: their roots need the auditor's key, --key FILE")
    return None


def _again(
    document: Mapping[str, Any], store: Store, declared: Declarations, policy: Policy, at: WrittenAt, key: bytes | None
) -> dict[str, Any]:
    """The evidence as it would be written now."""
    cell = document["subject"]["cell"]
    of_cell = subject.JudgedModel()
    if cell is not None and subject.has_cell(store, cell):
        of_cell = subject.gather(store, [cell], None, policy, declared.columns, declared.library)
    named = NamedWeights(tuple(document["subject"]["released"]))
    judging = Judging(policy, of_cell, declared.columns, declared.library, named, at)
    return evidence.build(judging, checks.judged(judging), store, key)


def _different(stated: Any, again: Any, at: str, skipped: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(path, sentence) of each value that differs."""
    if at in skipped or at in NOT_COMPARED:
        return
    if isinstance(stated, Mapping) and isinstance(again, Mapping):
        for name in sorted({*stated, *again}):
            below = f"{at}.{name}" if at else name
            yield from _different(stated.get(name), again.get(name), below, skipped)
    elif isinstance(stated, list) and isinstance(again, list) and len(stated) == len(again):
        for k, (one, other) in enumerate(zip(stated, again, strict=True)):
            yield from _different(one, other, f"{at}[{k}]", skipped)
    elif stated != again or isinstance(stated, bool) != isinstance(again, bool):
        yield at, f"{at}: the evidence has {_short(stated)}, and the rows give {_short(again)}"


def _named(different: list[tuple[str, str]]) -> list[str]:
    """The sentences, without those about sentences whose numbers differ anyway."""
    others = {path.rpartition(".")[0] for path, _ in different if not path.endswith(".sentence")}
    return [text for path, text in different if not (path.endswith(".sentence") and path.rpartition(".")[0] in others)]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. ValueError for a key that is given twice: readers would differ in which of them counts."""
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is given twice")
    return content


def _refused(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")
