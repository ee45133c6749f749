"""The folder of one trajectory or reference: where its files lie, and what is there."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difgen_cli.engine.store import attempts
from difgen_cli.engine.store.access import ANSWERS, names, text
from difgen_cli.engine.store.attempts import Attempt, Claimant
from difgen_cli.engine.store.files import loads, read_json, remove

PROGRESS = re.compile(r"progress\.\d+\.jsonl")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one trajectory or reference."""

    path: Path

    @property
    def key(self) -> str:
        """Of the trajectory or reference, which its folder's name ends with."""
        return self.path.name.rpartition("-")[2]

    def snapshots(self) -> set[int]:
        """Steps whose weights are here."""
        return {int(n[:-12]) for n in names(self.path / "snapshots") if n.endswith(".safetensors")}

    def snapshot(self, step: int) -> Path:
        """The weights after a step, there or not."""
        return self.path / "snapshots" / f"{step}.safetensors"

    def states(self) -> set[int]:
        """Steps at which others may fork: the whole state is here."""
        return {int(n[:-3]) for n in names(self.path / "states") if n.endswith(".pt")}

    def state(self, step: int) -> Path:
        """The whole state after a step, for training that forks, there or not: written once, as a snapshot is."""
        return self.path / "states" / f"{step}.pt"

    def weights(self, step: int, *, whole: bool) -> Path:
        """What others need after a step, there or not: the whole state, or the averaged weights alone."""
        return self.state(step) if whole else self.snapshot(step)

    def samples(self, key: str) -> Path:
        """The samples of this key, there or not."""
        return self.path / "samples" / f"{key}.parquet"

    def sampled(self) -> set[str]:
        """Keys of the samples that are here."""
        return {n[:-8] for n in names(self.path / "samples") if n.endswith(".parquet")}

    def results(self) -> set[str]:
        """Keys of the results that are here."""
        return {n[:-5] for n in names(self.path / "results") if n.endswith(".json")}

    def result(self, key: str) -> Path:
        """The values of a result, there or not."""
        return self.path / "results" / f"{key}.json"

    def result_files(self, key: str) -> list[Path]:
        """A result's tables, and its values, which say that all is there, last."""
        folder = self.path / "results"
        tables = (n for n in names(folder) if n.startswith(f"{key}.") and n.endswith(".parquet"))
        return [*(folder / n for n in sorted(tables)), self.result(key)]

    def result_table(self, key: str, table: str) -> Path:
        """A table of a result, there or not."""
        return self.path / "results" / f"{key}.{table}.parquet"

    def checkpoints(self) -> dict[int, Path]:
        """Checkpoints by step."""
        folder = self.path / "checkpoints"
        return {int(n[:-3]): folder / n for n in names(folder) if n.endswith(".pt")}

    def checkpoint(self, step: int) -> Path:
        """The whole state after a step, there or not, from which this training goes on: replaced by later ones."""
        return self.path / "checkpoints" / f"{step}.pt"

    def prune(self, keep: int) -> None:
        """Drop all checkpoints but the two furthest and the one just written."""
        checkpoints = self.checkpoints()
        for step in sorted(checkpoints)[:-2]:
            if step != keep:
                remove(checkpoints[step])

    @property
    def environment_path(self) -> Path:
        """The file behind `environment`."""
        return self.path / "env.json"

    def environment(self) -> dict[str, Any]:
        """Where, with what and how a trajectory has been trained since its first attempt; nothing before it."""
        return read_json(self.environment_path) or {}

    def spec(self) -> dict[str, Any]:
        """What a trajectory or reference is made of: its key, and recipes by key; nothing before its first attempt."""
        return read_json(self.path / "spec.json") or {}

    def progress(self, number: int) -> Path:
        """The losses that one attempt at the training wrote."""
        return self.path / f"progress.{number}.jsonl"

    def losses(self) -> list[tuple[int, float]]:
        """(step, loss of that batch) as training went; what a later attempt trained again counts as it was then."""
        losses: dict[int, float] = {}
        numbers = sorted(int(n.split(".")[1]) for n in names(self.path) if PROGRESS.fullmatch(n))
        for number in numbers:
            lines = [line for row in _lines(self.progress(number)) if isinstance(line := loads(row), dict)]
            read = {int(x["step"]): float(x["loss"]) for x in lines if {"step", "loss"} <= x.keys()}
            first, last = min(read, default=math.inf), max(read, default=math.inf)
            losses = {step: loss for step, loss in losses.items() if not first <= step <= last} | read
        return sorted(losses.items())

    def claim(self, unit: str, claimant: Claimant, complete: Callable[[], bool] = lambda: False) -> Attempt | None:
        """Claim a unit here: see `attempts.claim`."""
        return attempts.claim(self.path / "attempts", unit, claimant, complete)

    def attempt(self, unit: str, number: int) -> Path:
        """The record of one attempt, there or not."""
        return self.path / "attempts" / f"{unit}.{number}.json"

    def history(self, unit: str) -> list[tuple[int, dict[str, Any]]]:
        """Every attempt at a unit with its number, oldest first."""
        return attempts.history(self.path / "attempts", unit)

    def failed(self, unit: str) -> bool:
        """Whether the last attempt at a unit failed."""
        past = self.history(unit)
        return bool(past) and past[-1][1]["state"] == "failed"

    def record_death(self, unit: str, number: int, ending: str, by: str) -> None:
        """Write down how an attempt ended whose owner is gone."""
        attempts.record_death(self.path / "attempts", unit, number, ending, by)

    def last_attempts(self) -> dict[str, dict[str, Any]]:
        """The last attempt at every unit that was ever claimed here."""
        last: dict[str, int] = {}
        for name in names(self.path / "attempts"):
            unit, _, number = name.removesuffix(".json").rpartition(".")
            if number.isdigit() and name.endswith(".json") and not name.startswith("."):
                last[unit] = max(last.get(unit, 0), int(number))
        return {u: attempts.read(self.path / "attempts", u, n) for u, n in last.items()}

    def release(self, unit: str) -> None:
        """Let a failed unit be tried again, keeping its history."""
        attempts.release(self.path / "attempts", unit)


def _lines(path: Path) -> list[str]:
    try:
        return text(path).splitlines()
    except ANSWERS:
        return []
