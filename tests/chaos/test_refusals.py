"""A file system that fails at any one place costs nothing but the time of the next command.

Each access to the run directory during a small sweep fails in turn, with each of the errors below: once, as a network
file system hiccups, or so often that trying again does not help. Accesses are of one kind where one call meets one kind
of file. DIFGEN_REFUSALS says what is tried:

- a number (18): so many accesses, each of another kind as far as there are kinds, drawn by DIFGEN_CHAOS_SEED;
- `passing`: each error that passes, once, at one access of each PERIOD, from each number on (300 sweeps), then each at
  one access of each kind that these did not meet, since an access that is tried again moves all later numbers;
- `kinds`: one access of each kind with one error; `errors`: one of each kind with each error (hours);
- `all`: every access, with each error, both ways (days).
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import pytest
from comparing import assert_equal_content, content

HERE = Path(__file__).parent
WANTED = os.environ.get("DIFGEN_REFUSALS", "18")
SEED = int(os.environ.get("DIFGEN_CHAOS_SEED", str(random.randrange(10**6))))
ERRORS = (errno.ESTALE, errno.EIO, errno.EACCES, errno.EINTR, errno.ENOSPC)
PASSING = (errno.ESTALE, errno.EIO, errno.EINTR)
PERIOD = 100  # accesses between two that fail in one sweep
TIMES = (1, 12)  # 12: more often than an access is tried, and than the one after it
ENDINGS = (0, 3)  # all was done, or the machine refused
GRID = """\
# Does a sweep survive whatever its file system refuses?
base:
  data:   {name: digits, held_out: 900}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16}
  sample: {name: euler, steps: 2, count: 32}
  score:  [memorization]
axes:
  train.steps: [10, 20]
  data.size:   [16]
"""
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """A process that runs a command, on a file system that refuses."""
    folder, compiler = tmp_path_factory.mktemp("refusing"), shutil.which("cc")
    if compiler is None:
        pytest.skip("a file system that refuses needs a C compiler and a preloaded library")
    library = folder / "refuse.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, HERE / "refuse.c", "-ldl"], check=True)
    (folder / "grid.yaml").write_text(GRID)
    own = {
        "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "DIFGEN_COMPILE": "never", "DIFGEN_LEASE_SECONDS": "0.4",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(HERE / "refusing.py"), str(folder / "grid.yaml"), str(library)],
        cwd=folder, env={**os.environ, **own}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    def run(
        runs: Path, first: int = 0, times: int = 0, error: int = 0, period: int = 0, kind: str = "",
        recorded: Path | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        call, _, path = kind.partition(" ")
        path = re.sub(r"/code$", "/*", path)  # all files of the copied code are one kind
        asked = {"runs": str(runs), "first": first, "times": times, "period": period, "error": error}
        asked |= {"call": call, "path": f"{runs}{path}" if kind else "", "recorded": str(recorded or "")}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    yield run
    process.stdin.close()
    process.stdout.close()
    process.wait(60)


def test_an_access_that_fails_harms_nothing(ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calm = tmp_path / "calm"
    done = ask(calm, recorded=tmp_path / "calls")
    assert done["code"] == 0, (tmp_path / "calm.log").read_text()
    expected, kinds = content(calm), _kinds(calm, tmp_path / "calls")
    assert sum(kinds.values()) == done["calls"]
    if WANTED == "passing":
        reached = _passing(ask, tmp_path, expected, kinds)
        outcome = (
            f"{sum(reached.values()):,} failures at {len(reached)} kinds of access, each once with "
            f"{' or '.join(errno.errorcode[e] for e in PASSING)}, changed nothing"
        )
        assert len(reached) > 0.98 * len(kinds), sorted(set(kinds) - set(reached))
    else:
        ends = [_one(ask, tmp_path / "runs", *fault, expected) for fault in _chosen(kinds)]
        outcome = f"{sum(ends)} of {len(ends)} refusals were met and changed nothing"
        # How often a kind is met differs by a few between sweeps, as heartbeats do, so that the last may not come.
        assert sum(ends) >= 0.95 * len(ends) - 1
    with capsys.disabled():
        print(f"\n{outcome}, of {done['calls']} accesses of {len(kinds)} kinds (seed {SEED})")


def _kinds(runs: Path, calls: Path) -> Counter[str]:
    """How often each call meets each file, named without keys, counts and words drawn for it; all code is one file."""
    kinds: Counter[str] = Counter()
    for call in calls.read_text().splitlines():
        name = re.sub(r"(/shared/\.?code-[^/]+)/.*", r"\1/code", call.replace(str(runs), ""))
        name = re.sub(r"/\.tmp\w{6}\b", "/.tmp*", name).removesuffix(" (deleted)")
        kinds[re.sub(r"[0-9a-f]{8,}|[0-9]+", "*", name)] += 1
    return kinds


def _passing(ask: Ask, folder: Path, expected: Any, kinds: Counter[str]) -> Counter[str]:
    """Sweeps that end as if nothing had been refused; the failures by kind of access.

    One access of each PERIOD fails, from each place on; then one of each kind that was not met.
    """
    runs, failures = folder / "runs", folder / "failures"

    def sweep(error: int, first: int, period: int, kind: str = "") -> None:
        disturbed = ask(runs, first, 1, error, period, kind, failures)
        where = kind or f"{first} and each {period} after it"
        about = f"{errno.errorcode[error]} at {where}\n{Path(f'{runs}.log').read_text()}"
        assert disturbed["code"] == 0, about
        _unharmed(runs, expected, about)

    for error, first in product(PASSING, range(1, PERIOD + 1)):
        sweep(error, first, PERIOD)
    for error, kind in product(PASSING, sorted(set(kinds) - set(_kinds(runs, failures)))):
        sweep(error, 1, 0, kind)
    return _kinds(runs, failures)


def _chosen(kinds: Counter[str]) -> list[tuple[str, int, int, int]]:
    """The accesses that fail: kind, and which of that kind; the error of each, and how many times."""
    chance, each = random.Random(SEED), sorted(kinds.items())
    if WANTED == "all":
        accesses = [(kind, number) for kind, count in each for number in range(1, count + 1)]
        return [(*access, error, times) for access, error, times in product(accesses, ERRORS, TIMES)]
    if WANTED == "errors":
        drawn = [(kind, count, error) for kind, count in each for error in ERRORS]
    else:
        chance.shuffle(each)
        wanted = len(each) if WANTED == "kinds" else int(WANTED)
        drawn = [(kind, count, chance.choice(ERRORS)) for kind, count in islice(cycle(each), wanted)]
    return [(kind, chance.randint(1, count), error, chance.choice(TIMES)) for kind, count, error in drawn]


def _one(ask: Ask, runs: Path, kind: str, number: int, error: int, times: int, expected: Any) -> bool:
    """One command one of whose accesses of a kind fails, and the next command; whether it came so far."""
    disturbed = ask(runs, number, times, error, kind=kind)
    log = Path(f"{runs}.log")
    about = f"{kind} ({number}): {errno.errorcode[error]} {times} times (seed {SEED})\n{log.read_text()}"
    assert disturbed["code"] in ENDINGS, about
    assert ask(runs)["code"] == 0, about + log.read_text()
    _unharmed(runs, expected, about)
    return bool(disturbed["what"])


def _unharmed(runs: Path, expected: Any, about: str) -> None:
    """A run directory holds what an undisturbed sweep makes, and no trace of damage; it is removed."""
    log = Path(f"{runs}.log")
    assert "Traceback" not in log.read_text(), about
    assert not list(runs.rglob("*.broken")), about
    records = [json.loads(p.read_text()) for p in runs.glob("*/*/attempts/*.json")]
    assert "failed" not in {record.get("state") for record in records}, about
    # "killed" is right of a process that could not write down how it ended.
    assert "error" not in {record.get("ending") for record in records}, about
    assert_equal_content(runs, expected, about)
    shutil.rmtree(runs)
    log.unlink()
