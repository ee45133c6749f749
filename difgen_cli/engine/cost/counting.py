"""The work of networks, for a process that must not import torch: counted by another one, once, and kept for the user.

`python -m difgen_cli.engine.cost.counting` reads {"plugins", "networks": {key: …}, "limits": {key: …}} on stdin and
writes a line of JSON for each, [key, numbers], until it is stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from difgen_cli.engine.cost import cache
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store.files import StoreError, read_json, replace_json

PATIENCE_SECONDS = 30.0  # for all that a plan asks; what is counted by then is kept, and the next plan goes on
MOST = 256  # networks of one plan that are asked for
BATCH = 128  # at which they are: FLOPs of an image do not depend on it

Numbers = dict[str, tuple[float, float]]  # FLOPs and bytes of a training image; or of a second


@dataclass(frozen=True)
class Keyed:
    """A question whose answer is kept under its hash."""

    @cached_property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Network(Keyed):
    """What decides the work of an image: plug-in, version, settings, shape (C, H, W) or (D,), labels or none."""

    name: str
    version: int | str
    settings: Mapping[str, Any]
    shape: tuple[int, ...]
    conditional: bool


@dataclass(frozen=True)
class Machine(Keyed):
    """A device of this machine, cpu or cuda, by the name that rows give it."""

    kind: str
    name: str
    threads: int


def counted(questions: Sequence[Network | Machine], plugins: Path | None) -> Numbers:
    """FLOPs and bytes by key: of one training image of a network, or at most of a second of a machine.

    Of what could be counted, now or before; nothing here is an error.
    """
    return asked("work.json", questions, plugins, __name__, PATIENCE_SECONDS)


def asked(
    name: str, questions: Sequence[Network | Machine], plugins: Path | None, module: str, patience_seconds: float,
    keeps: Callable[[Any], bool] = lambda _: True,
) -> dict[str, Any]:  # fmt: skip
    """Answers that are something, by key: those kept in a file of the user's cache folder, else those of a module that
    runs in a process of its own. `keeps`: which of them are asked for once only.
    """
    where = cache.folder()
    file = where / name if where else None
    known: dict[str, Any] = (file and read_json(file)) or {}
    lacking = {q.key: q for q in questions if q.key not in known}
    if lacking:
        known |= _ask(lacking, plugins, module, patience_seconds)
        if file:
            with suppress(StoreError):  # else it is asked again next time
                replace_json(file, {key: answer for key, answer in known.items() if keeps(answer)})
    return {q.key: known[q.key] for q in questions if known.get(q.key)}


def _ask(
    questions: dict[str, Network | Machine], plugins: Path | None, module: str, patience_seconds: float
) -> dict[str, Any]:
    """The answers of a process of its own: it may be as slow as torch is to import, or fail."""
    kinds = {"networks": Network, "machines": Machine}
    asked = {n: {k: asdict(q) for k, q in questions.items() if isinstance(q, kind)} for n, kind in kinds.items()}
    try:
        with subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(json.dumps({"plugins": plugins, **asked}, default=str), patience_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
    except OSError:
        return {}
    return dict(json.loads(line) for line in said.splitlines() if line.endswith("]"))


def main() -> None:
    """Answer stdin; nothing stands for what cannot be counted, so that it is not tried again."""
    import torch

    from difgen_cli.engine.cost import flops, machine

    asked = json.load(sys.stdin)
    for key, m in asked["machines"].items():
        torch.set_num_threads(m["threads"])
        limits = machine.limits(m["kind"])
        _say(key, None if limits is None else (limits.flops_per_second, limits.bytes_per_second))
    library = Library(Path(asked["plugins"]) if asked["plugins"] else None)
    for key, n in asked["networks"].items():
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in n["settings"].items()}
        shape, classes = tuple(n["shape"]), 1 if n["conditional"] else 0
        try:
            with torch.device("meta"):
                network = library.module("model", n["name"]).build(shape, classes, **settings)
            work = flops.training(network, shape, BATCH)
        except Exception:  # a plug-in may be anything; not to know its work harms nothing
            work = None
        _say(key, None if work is None else (work.flops, work.bytes))


def _say(key: str, numbers: tuple[float, float] | None) -> None:
    print(json.dumps([key, numbers]), flush=True)


if __name__ == "__main__":
    main()
