"""Processes that train the same side by side on one device, each waiting for its turn to be measured.

They stay while more join them, so that each is started once; all end with it, and at its deadline.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any


class ProbeError(RuntimeError):
    """A process among the probes could not go on, or its time is up; one clause."""


class Probes:
    """Processes of `difgen_cli.engine.cost.probe` on one device, a GPU's name or None for the CPU."""

    def __init__(self, device: str | None, plugins: Path | None, budget_seconds: float) -> None:
        self.device, self.plugins = device, plugins
        self.members: list[subprocess.Popen[str]] = []
        self.everyone: list[subprocess.Popen[str]] = []
        self.words: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.over = threading.Event()
        self.timer = threading.Timer(budget_seconds, self._end)
        self.ends_at = time.monotonic() + budget_seconds

    def __enter__(self) -> Probes:
        self.timer.daemon = True
        self.timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.timer.cancel()
        self._end()
        for member in self.everyone:
            member.wait()
            for pipe in (member.stdin, member.stdout):
                with suppress(OSError):
                    if pipe:
                        pipe.close()
        self.words.close()

    def heaviest(self, tasks: Sequence[dict[str, Any]]) -> list[float]:
        """Peak bytes of a process, of each kind of memory, in the training that moves the most."""
        member = self._start(tasks)
        try:
            return [float(own) for own, _ in self._hear(member)["memory"]]
        finally:
            member.kill()

    def side_by_side(self, task: dict[str, Any], count: int, seconds: float) -> list[dict[str, Any]]:
        """What each of `count` processes says of `seconds` of training at once."""
        fresh = [self._start([task]) for _ in range(count - len(self.members))]
        for member in fresh:
            self._hear(member)
        self.members += fresh
        if time.monotonic() + seconds > self.ends_at:
            raise ProbeError("the time for probing is up")
        for member in self.members:
            self._tell(member, str(seconds))
        return [self._hear(member) for member in self.members]

    def _start(self, tasks: Sequence[dict[str, Any]]) -> subprocess.Popen[str]:
        try:
            member = subprocess.Popen(
                [sys.executable, "-m", "difgen_cli.engine.cost.probe"],
                env={**os.environ, "CUDA_VISIBLE_DEVICES": self.device or "", "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.words, text=True,
                start_new_session=True,  # Ctrl-C is for the command, which ends them
            )  # fmt: skip
        except OSError as error:
            raise ProbeError(f"it could not be started ({error})") from None
        self.everyone.append(member)
        if self.over.is_set():  # the deadline came in between
            member.kill()
        plugins = str(self.plugins) if self.plugins else None
        self._tell(member, json.dumps({"tasks": list(tasks), "plugins": plugins, "cuda": self.device is not None}))
        return member

    def _tell(self, member: subprocess.Popen[str], line: str) -> None:
        try:
            mouth = _pipe(member.stdin)
            mouth.write(line + "\n")
            mouth.flush()
        except OSError:
            raise ProbeError(self._cause()) from None

    def _hear(self, member: subprocess.Popen[str]) -> dict[str, Any]:
        line = _pipe(member.stdout).readline()
        if not line:
            raise ProbeError(self._cause())
        said: dict[str, Any] = json.loads(line)
        return said

    def _cause(self) -> str:
        """Why a member has ended: the time, else the last line that any of them wrote."""
        if self.over.is_set():
            return "the time for probing is up"
        self.words.seek(0)
        lines = [line.strip() for line in self.words if line.strip()]
        return lines[-1][:300] if lines else "its process ended without a word"

    def _end(self) -> None:
        self.over.set()
        for member in self.everyone:
            with suppress(OSError):
                member.kill()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise ProbeError("its process has no pipe")
    return pipe
