"""A file system that fails at any one place costs nothing but the time of the next command.

Each access to the run directory during a small sweep fails in turn, with each of the errors below: once, as a network
file system hiccups, or so often that trying again does not help. DIFGEN_REFUSALS says at how many of the places (18,
drawn by DIFGEN_CHAOS_SEED; `all`: at each, with each error, both ways).
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from comparing import assert_equal_content, content

HERE = Path(__file__).parent
WANTED = os.environ.get("DIFGEN_REFUSALS", "18")
SEED = int(os.environ.get("DIFGEN_CHAOS_SEED", str(random.randrange(10**6))))
ERRORS = (errno.ESTALE, errno.EIO, errno.EACCES, errno.EINTR, errno.ENOSPC)
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
    own = {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "DIFGEN_COMPILE": "never", "DIFGEN_LEASE_SECONDS": "0.4"}
    process = subprocess.Popen(
        [sys.executable, str(HERE / "refusing.py"), str(folder / "grid.yaml"), str(library)],
        cwd=folder, env={**os.environ, **own}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    def run(runs: Path, first: int = 0, times: int = 0, error: int = 0) -> dict[str, Any]:
        asked = {"runs": str(runs), "first": first, "times": times, "error": error}
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
    places = ask(calm)
    assert places["code"] == 0, (tmp_path / "calm.log").read_text()
    expected = content(calm)
    tried = list(product(range(1, places["calls"] + 1), ERRORS, TIMES))
    if WANTED != "all":
        tried = random.Random(SEED).sample(tried, int(WANTED))
    reached = [_one(ask, tmp_path / "runs", *fault, expected) for fault in tried]
    with capsys.disabled():
        print(f"\n{sum(reached)} of {len(tried)} refusals at {places['calls']} places changed nothing (seed {SEED})")


def _one(ask: Ask, runs: Path, place: int, error: int, times: int, expected: Any) -> bool:
    """One command whose access number `place` fails, and the next; whether it came so far."""
    disturbed = ask(runs, place, times, error)
    log = Path(f"{runs}.log")
    about = (
        f"{disturbed['what']}: {errno.errorcode[error]} {times} times (place {place}, seed {SEED})\n{log.read_text()}"
    )
    assert disturbed["code"] in ENDINGS, about
    assert ask(runs)["code"] == 0, about + log.read_text()
    assert "Traceback" not in log.read_text(), about
    assert not list(runs.rglob("*.broken")), about
    records = [json.loads(p.read_text()) for p in runs.glob("*/*/attempts/*.json")]
    assert "failed" not in {record.get("state") for record in records}, about
    # "killed" is right of a process that could not write down how it ended.
    assert "error" not in {record.get("ending") for record in records}, about
    assert_equal_content(runs, expected, about)
    shutil.rmtree(runs)
    log.unlink()
    return bool(disturbed["what"])
