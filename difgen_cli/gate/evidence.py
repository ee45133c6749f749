"""Evidence: what was asked, measured and answered, as JSON that a release can carry: no image, no name of one.

Numbers that are not there are null. The commitment is the SHA-256 of the canonical JSON of all the rest.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import difgen_cli
from difgen_cli.engine.store import Store
from difgen_cli.gate import checks, material, schema
from difgen_cli.gate.checks import Check, Judging
from difgen_cli.gate.columns import PERMUTED
from difgen_cli.gate.intervals import number
from difgen_cli.gate.material import ImageSet
from difgen_cli.gate.policy import BONFERRONI
from difgen_cli.gate.weights import digests_of
from difgen_cli.report.study import blind

NAME = "difgen/evidence/1"
IDENTITY = ("kind", "seed", "step", "home", "cell")
COMMITMENT = "commitment"
ELSEWHERE = "What was measured in other run directories is not known."
WRITABLE = "Who may write to the run directory could have changed its rows before the gate read them."


def build(judging: Judging, listed: Sequence[Check], store: Store, key: bytes | None) -> dict[str, Any]:
    """The evidence of checks, whole and committed to; without a key, without roots of the images."""
    policy, subject = judging.policy, judging.subject
    sets = material.of_subject(store, subject, key)
    content: dict[str, Any] = {
        "schema": NAME,
        "tool": {"name": "difgen", "version": difgen_cli.__version__, "metrics": _metrics(judging)},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "subject": _subject(judging),
        "material": material.plain(sets, key),
        "declared": {
            "release": policy.release, "attacker": policy.attacker, "training_known": is_training_known(judging),
        },
        "policy": _policy(judging),
        "verdict": str(checks.verdict(listed)),
        "checks": [{f.name: getattr(check, f.name) for f in fields(Check)} for check in listed],
        "coverage": [
            dict(zip(("attack_class", "reference", "status", "method"), line, strict=True))
            for line in checks.coverage(judging)
        ],
        "controls": _controls(judging),
        "selection": {
            "snapshots_seen": subject.models, "thresholds_seen": len(subject.rows), "correction": judging.correction,
        },
        "limits": list(_limits(judging, sets)),
        "rows": [{"cell": str(row["cell"]), "sha256": _of_row(judging, row)} for row in subject.rows],
    }  # fmt: skip
    plain: dict[str, Any] = without_nan(content)
    plain[COMMITMENT] = {"sha256": commitment(plain)}
    if wrong := list(schema.mistakes(plain)):
        raise AssertionError(f"the evidence does not fit its own schema: {wrong[0]}")
    return plain


def canonical(content: Mapping[str, Any]) -> bytes:
    """One text for one content: keys sorted, no spaces, UTF-8."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def commitment(content: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of all but the commitment itself."""
    return hashlib.sha256(canonical({k: v for k, v in content.items() if k != COMMITMENT})).hexdigest()


def without_nan(value: Any) -> Any:
    """The same as JSON holds it: a number that is not there is null, words are plain."""
    if isinstance(value, Mapping):
        return {str(name): without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, str) else value


def is_training_known(judging: Judging) -> bool:
    """Whether the training images are: of a model that was trained here, or where a metric compared with them."""
    if judging.subject.is_trained_here:
        return True
    measured = {
        column.metric
        for name, column in judging.columns.items()
        if any(number(row.get(name)) is not None for row in judging.subject.rows)
    }
    return any("train" in judging.library.signature("score", metric).inputs for metric in measured)


def _metrics(judging: Judging) -> dict[str, Any]:
    rules = (*judging.policy.rules, *judging.policy.controls)
    metrics = sorted({judging.columns[rule.column].metric for rule in rules if rule.column in judging.columns})
    return {metric: judging.library.signature("score", metric).version for metric in metrics}


def _subject(judging: Judging) -> dict[str, Any]:
    subject, weights = judging.subject, judging.subject.weights
    step = number(subject.row.get("step"))
    named = (digests_of(one, weights, judging.library) for one in (judging.named, judging.policy.weights))
    released, by_policy = map(list, named)
    return {
        "weights_sha256": weights.sha256, "files": list(weights.files), "released": released,
        "named_by_policy": by_policy, "identity": weights.identity or None, "step": None if step is None else int(step),
        "averaging": weights.averaging or None, "transform": weights.transform, "parameters": weights.parameters,
        "cell": str(subject.row["cell"]) if subject.rows else None,
    }  # fmt: skip


def _policy(judging: Judging) -> dict[str, Any]:
    policy, written = judging.policy, judging.written
    at = written.time.isoformat() if written.time else None
    return {
        "name": policy.name, "sha256": policy.sha256, "text": policy.text,
        "written_before": at if judging.is_older else None, "written_at": at, "shown_by": written.by or None,
        "not_shown": written.why or None, "rules": [rule.words for rule in policy.rules],
    }  # fmt: skip


def _controls(judging: Judging) -> dict[str, float | None]:
    """The controls of membership, and of the first rule whose column has one."""
    subject, row = judging.subject, judging.subject.row
    with_control = [
        rule.column
        for rule in judging.policy.rules
        if (column := judging.columns.get(rule.column)) and column.spec.control not in ("", PERMUTED)
    ]
    name = with_control[0] if with_control else ""
    of_held_out = judging.columns[name].spec.control if name else ""
    references = {kind: number(subject.references.get(kind, {}).get(name)) for kind in ("copycat", "ideal")}
    return {
        "blind_auc": number(row.get(blind.AREA)), "permuted_auc": number(row.get(PERMUTED)),
        "held_out_copies": number(row.get(of_held_out)), **references,
    }  # fmt: skip


def _limits(judging: Judging, sets: Mapping[str, ImageSet]) -> Iterator[str]:
    """What the evidence does not say."""
    left_out = [attack for attack, _, status, _ in checks.coverage(judging) if status == "not_run"]
    if left_out:
        yield f"Not run: {', '.join(left_out)}. What was not run is not shown."
    yield "It holds for these files of weights, and for no change of them."
    subject = judging.subject
    if not subject.is_trained_here and "train" in sets:
        yield "That these are the images that the model was trained on is declared, and cannot be checked."
        if "held_out" in sets and sets["held_out"].source == "same_pool":
            yield "The held-out images were drawn from those; that the model never saw them is declared."
    if not subject.is_trained_here and subject.weights.averaging in ("ema", "raw"):
        yield (
            f"Only the {subject.weights.averaging} weights were measured; of others in the same files nothing is said."
        )
    if judging.correction == BONFERRONI and subject.models > 1:
        yield "Intervals are widened for the number of models, which makes them too wide rather than too narrow."
    if judging.written.time is not None:
        how = "declared" if judging.written.by == "declared" else "that of a commit, which its author can set"
        yield f"When the policy was written is {how}."
    yield ELSEWHERE
    yield WRITABLE


def _of_row(judging: Judging, row: Mapping[str, Any]) -> str:
    """SHA-256 of a row's settings and of the values that the policy looks at."""
    names = {*IDENTITY, *(name for name in row if "." in name and not name.startswith("score."))}
    for rule in (*judging.policy.rules, *judging.policy.controls):
        declared = judging.columns.get(rule.column)
        names |= {rule.column, rule.n_column, rule.power_column, *((declared and declared.ends) or ())}
    values = {name: row[name] for name in sorted(names) if row.get(name) is not None}
    plain = {name: v if isinstance(v, bool | int | float | str) else str(v) for name, v in values.items()}
    return hashlib.sha256(canonical(without_nan(plain))).hexdigest()
