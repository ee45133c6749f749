"""`difgen gate`: may these weights be released? A policy held against the rows, and evidence without images.

The gate is closed unless everything that the policy asks for was measured, on these very weights, and holds at the bad
end of its interval. What is missing, too little or of other weights is `insufficient`, never passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from difgen_cli.engine.store import Store
from difgen_cli.gate import age, checks, evidence, reading, subject, verify
from difgen_cli.gate.checks import Judging
from difgen_cli.gate.material import read_key
from difgen_cli.gate.policy import NamedWeights
from difgen_cli.gate.sources import declarations
from difgen_cli.gate.verify import Verified

__all__ = ["check", "judge", "read_key"]


def judge(
    policy: Path, store: Store, words: Sequence[str] = (), grid: str | None = None, released: Path | None = None,
    key: bytes | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Hold a policy against the weights that the words name, or the only ones; the evidence.

    released: the file or folder of weights that will be released. GridError for bad input, one sentence.
    """
    declared = declarations(store)
    read = reading.read(reading.file_of(policy), declared.columns, declared.others)
    of_weights = subject.gather(store, words, grid, read, declared.columns, declared.library)
    named = NamedWeights(path=released)
    judging = Judging(read, of_weights, declared.columns, declared.library, named, age.written(read))
    return evidence.build(judging, checks.judged(judging), store, key)


def check(
    file: Path, store: Store, policy: Path | None = None, key: bytes | None = None, *, key_is_given: bool = False
) -> Verified:
    """Hold evidence against the rows of a run directory. GridError where it cannot be read."""
    document = verify.read(file)
    of_file = None if policy is None else reading.file_of(policy)
    return verify.verified(document, store, declarations(store), of_file, key, key_is_given=key_is_given)
