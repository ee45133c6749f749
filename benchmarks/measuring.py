"""What the benchmarks share: contestants measured in turn, what the machine is, and how numbers are printed."""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

MATRIX = 1536  # rows and columns of the product whose rate is the machine's; 27 MiB in all
READY = 0.7  # of the time that a team has, for its first slice
Named = TypeVar("Named", bound=Hashable)
SECONDS = ("wall_seconds", "processor_seconds")


@dataclass(frozen=True)
class Spent:
    """Time that something took: on the wall, and of the processor (user and system, with ended children)."""

    wall_seconds: float
    processor_seconds: float


def spent(run: Callable[[], object]) -> Spent:
    """The time of one call; that which a team has measured itself."""
    wall, processor = time.perf_counter(), _processor_seconds()
    found = run()
    return found if isinstance(found, Spent) else Spent(time.perf_counter() - wall, _processor_seconds() - processor)


def _processor_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class LateError(RuntimeError):
    """A team was not done in time, or one of its processes has ended; one clause."""


class Team:
    """Processes that each do a slice of work when all are told to; they wait in between, and end with this one.

    `make()`, which can be pickled, gives each process its work: a function that does a slice of it. until: the moment
    of `time.monotonic` by which all has to be done, and the first slice, for which it prepares itself, in READY of the
    time until then; who is late is ended, LateError.
    """

    def __init__(
        self, processes: int, threads: int, make: Callable[[], Callable[[], object]], until: float = math.inf
    ) -> None:
        context = multiprocessing.get_context("forkserver")  # which imports the benchmark once, and computes nothing
        now = time.monotonic()
        self.until, self.ends = now + READY * (until - now), until
        self.members, self.processes = [], []
        for _ in range(processes):
            here, there = context.Pipe()
            self.processes.append(context.Process(target=_work, args=(there, threads, make), daemon=True))
            self.processes[-1].start()
            there.close()
            self.members.append(here)

    def __call__(self) -> Spent:
        """From the word to the last one's end; processor seconds of all."""
        start = time.perf_counter()
        try:
            for member in self.members:
                member.send(True)
            processor = sum(self._answer(member) for member in self.members)
        except (EOFError, OSError, LateError) as error:
            self.leave()
            raise LateError(str(error) or "its process has ended") from None
        self.until = self.ends
        return Spent(time.perf_counter() - start, processor)

    def _answer(self, member: Connection) -> float:
        left = None if self.until == math.inf else max(0.0, self.until - time.monotonic())
        if not member.poll(left):
            raise LateError("its time is up")
        return float(member.recv())

    def leave(self) -> None:
        """Let the processes end; those whose time is up are ended."""
        for member in self.members:
            member.close()
        for process in self.processes if self.until < math.inf else ():
            process.kill()


def _work(told: Connection, threads: int, make: Callable[[], Callable[[], object]]) -> None:
    import torch

    torch.set_num_threads(threads)
    work = make()
    with suppress(EOFError):
        while told.recv():
            start = time.process_time()
            work()
            told.send(time.process_time() - start)


@dataclass(frozen=True)
class Entry:
    """Who takes part, in how many processes, of how many threads each."""

    who: str
    processes: int
    threads: int


def on_cores(cores: int, ours: str, peers: Iterable[str]) -> list[Entry]:
    """Everyone on so many cores: we in as many processes, the others in one with as many threads, and as we are."""
    return [Entry(ours, cores, 1), *(Entry(who, p, t) for who in peers for p, t in ((1, cores), (cores, 1)))]


def teams_in_turn(
    entries: Iterable[Entry], work: Callable[[str], Callable[[], object]], repeats: int, until: float = math.inf
) -> dict[Entry, list[Spent]]:
    """What each takes for the work of a slice in each of its processes: `work(who)` gives it, and can be pickled.

    until: as `Team` has it; whoever has done no slice by then is left out.
    """
    teams = {entry: Team(entry.processes, entry.threads, partial(work, entry.who), until) for entry in entries}
    try:
        return in_turn(teams, repeats)
    finally:
        for team in teams.values():
            team.leave()


def in_turn(contestants: Mapping[Named, Callable[[], object]], repeats: int) -> dict[Named, list[Spent]]:
    """Each contestant once to warm up, then ours, peer, ours, peer …, so that what the machine does meets all alike.

    The last one is warmed up first: where time is up, the peers of one that is long in preparing are there. Whoever is
    late then or at its first slice is left out, and a later round in which somebody is late is.
    """
    ready = {name: run for name, run in reversed(contestants.items()) if _done(run)}
    times: dict[Named, list[Spent]] = {name: [] for name in contestants if name in ready}
    for _ in range(repeats):
        round_ = {name: _done(partial(spent, contestants[name])) for name in times}
        if not all(times.values()):
            times = {name: [] for name in times if round_[name]}
        elif not all(round_.values()):
            break
        for name, of_round in times.items():
            of_round += round_[name]
    return {name: of_rounds for name, of_rounds in times.items() if of_rounds}


def _done(run: Callable[[], Any]) -> list[Any]:
    """What a call gives, alone in a list; empty where it is late."""
    try:
        return [run()]
    except LateError:
        return []


def medians(times: list[Spent]) -> dict[str, float]:
    """Median wall and processor seconds."""
    return {what: statistics.median(getattr(t, what) for t in times) for what in SECONDS}


def times_as_fast(ours: list[Spent], theirs: list[Spent], scale: float = 1.0) -> dict[str, float]:
    """How many times as fast we are, by wall and by processor: medians over neighbouring runs, times `scale`."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        f"ratio_{what.split('_')[0]}": scale * statistics.median(getattr(b, what) / getattr(a, what) for a, b in pairs)
        for what in SECONDS
    }


def matrix_product() -> tuple[Callable[[], object], float]:
    """A float32 product of the machine's libraries, and its floating-point operations."""
    import torch

    a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    out = torch.empty(MATRIX, MATRIX)
    return lambda: torch.mm(a, b, out=out), 2.0 * MATRIX**3


def flops(run: Callable[[], object]) -> float:
    """Floating-point operations of the matrix products and convolutions in one call, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def machine(*packages: str) -> dict[str, Any]:
    """Where and with what a number was measured."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": {name: _version(name) for name in ("difgen", "torch", "numpy", *packages)},
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def parser(text: str | None, repeats: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="seconds, for tests: the numbers mean nothing")
    made.add_argument("--json", action="store_true", help="one line of JSON for the machine, then one a measurement")
    made.add_argument("--repeats", type=int, default=repeats, help="interleaved repeats (default: %(default)s)")
    return made


@dataclass
class Results:
    """Lines as they are measured: JSON at once, or a table of `columns` at the end."""

    benchmark: str
    as_json: bool
    columns: tuple[str, ...]
    packages: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> Results:
        about = {"benchmark": self.benchmark, **machine(*self.packages)}
        if self.as_json:
            print(json.dumps(about), flush=True)
        else:
            versions = ", ".join(f"{k} {v}" for k, v in about.pop("versions").items() if v)
            print("; ".join(f"{k}: {v}" for k, v in about.items()) + f"; {versions}", flush=True)
        return self

    def add(self, **row: Any) -> None:
        """One measurement."""
        self.rows.append(row)
        if self.as_json:
            print(json.dumps({"benchmark": self.benchmark, **row}), flush=True)

    def __exit__(self, *error: object) -> None:
        if self.rows and not self.as_json:
            print("\n".join(self._markdown()), flush=True)

    def _markdown(self) -> Iterator[str]:
        yield f"| {' | '.join(c.replace('_', ' ') for c in self.columns)} |"
        yield "|" + "---|" * len(self.columns)
        for row in self.rows:
            yield f"| {' | '.join(_shown(row.get(c)) for c in self.columns)} |"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
