"""Which files hold the weights that were audited, by SHA-256, and whether they are those that will be released."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difgen_cli import contents
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import pretrained_files
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plan.work import tuples
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import RunFolder, Store
from difgen_cli.gate.policy import NamedWeights

UNCHANGED = "none"
HEADER_BYTES = 100_000_000  # that of safetensors may be no longer


@dataclass(frozen=True)
class AuditedWeights:
    """The weights behind the rows.

    files: SHA-256 (hex) of each file. identity: what `difgen audit` prints of weights of somebody else, else empty.
    transform: what was done to them before they were measured. absent: why the files cannot be named; or nothing.
    """

    files: tuple[str, ...] = ()
    identity: str = ""
    averaging: str = ""
    transform: str = UNCHANGED
    parameters: int | None = None
    absent: str = ""
    asked: Mapping[str, Any] | None = None  # how weights of somebody else are read

    @property
    def sha256(self) -> str | None:
        """That of the one file, or of the list of those of all; None where there is none."""
        return contents.joined(self.files) if self.files else None


def audited(
    store: Store, library: Library, folder: RunFolder, row: Mapping[str, Any], recipe: Recipe | None
) -> AuditedWeights:
    """The weights of a row of a model. recipe: of its trajectory, where it is there."""
    transform = _transform(row)
    if recipe is None:
        return AuditedWeights(transform=transform, absent="the record of these weights is missing in the run directory")
    if "weights" in recipe.inputs:
        return _given(store, library, recipe.inputs["weights"].key, transform)
    step = row.get("step")
    if step is None or step != step:
        return AuditedWeights(transform=transform, absent="a model in closed form has no weights")
    path = folder.snapshot(int(step))
    if not path.is_file():
        return AuditedWeights(transform=transform, absent=f"the snapshot of step {int(step):,} is not there any more")
    return AuditedWeights((contents.sha256(path),), "", "ema", transform, _parameters(path))


def differs(named: NamedWeights, weights: AuditedWeights, step: Any, library: Library, by: str) -> str:
    """Why the weights that `by` names are not those that were audited, a sentence; empty where they are the same."""
    if named.step is not None and step != named.step:
        return (
            f"{by} names step {named.step:,}, and the rows are of {'no step' if step is None else f'step {step:,.0f}'}."
        )
    if not named.content:
        return ""
    if weights.absent:
        return f"What was audited cannot be compared with the file for release: {weights.absent}."
    if weights.transform != UNCHANGED:
        return (
            f"The rows are of weights after {weights.transform}, which no file of this run holds: audit the file that "
            "will be released itself (difgen audit FILE)."
        )
    digests, audited = set(digests_of(named, weights, library)), set(weights.files)
    if digests == audited:
        return ""
    if digests < audited:
        return f"{by} names {len(digests)} of the {len(audited)} files of the weights; name all of them."
    other = min(digests - audited)
    return (
        f"{by} names weights with SHA-256 {other[:12]}…, and the rows are of {min(audited)[:12]}…: audit the file that "
        "will be released."
    )


def digests_of(named: NamedWeights, weights: AuditedWeights, library: Library) -> tuple[str, ...]:
    """SHA-256 of the files that are named. GridError where a path leads to none."""
    if named.path is None:
        return named.sha256
    try:
        if named.path.is_dir():
            return (*named.sha256, *_of_folder(named.path, weights, library))
        return (*named.sha256, contents.sha256(named.path))
    except (OSError, ValueError) as error:
        if isinstance(error, GridError):
            raise
        why = error.strerror if isinstance(error, OSError) else error
        raise GridError(
            f"--weights: {named.path}: cannot be read ({why}); name the file that will be released"
        ) from None


def _of_folder(folder: Path, weights: AuditedWeights, library: Library) -> tuple[str, ...]:
    """The files of a folder, read as those that were audited."""
    if weights.asked is None:
        raise GridError(f"--weights: {folder}: a folder; name the file of the weights in it")
    return pretrained_files.read(folder, weights.asked, library).files


def _given(store: Store, library: Library, key: str, transform: str) -> AuditedWeights:
    source = store.weights_source(key)
    if missing := source.get("missing"):
        return AuditedWeights(transform=transform, absent=str(missing))
    asked: dict[str, Any] = {k: source[k] for k in ("choice", "description", "reading")}
    asked["description"] = Path(asked["description"]) if asked["description"] else None
    asked["reading"] = tuples(asked["reading"])
    identity = str(source["identity"])
    try:
        model = pretrained_files.read(Path(source["path"]), asked, library)
    except ValueError:
        return AuditedWeights((), identity, "", transform, absent="their files are gone, or cannot be read")
    if pretrained_files.identity_of(model) != identity:
        return AuditedWeights((), identity, "", transform, absent="their files hold other weights now")
    count = sum(tensor.numel() for tensor in model.weights.values())
    return AuditedWeights(model.files, identity, model.choice or "as given", transform, count, asked=asked)


def _transform(row: Mapping[str, Any]) -> str:
    """What post-training did, with its settings."""
    name = row.get("post_training.name")
    if not isinstance(name, str) or name == UNCHANGED:
        return UNCHANGED
    own = {k.partition(".")[2]: v for k, v in row.items() if k.startswith("post_training.") and not k.endswith(".name")}
    settings = [f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in sorted(own.items()) if _is_set(v)]
    return " ".join([name, *settings])


def _is_set(value: Any) -> bool:
    return value is not None and value == value


def _parameters(path: Path) -> int | None:
    """How many numbers a safetensors file holds, by its header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER_BYTES:
            return None
        header = json.loads(file.read(length))
    return int(sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"))
