"""Workers killed at random moments: the tables are those of an undisturbed run, bit for bit in all but times and hosts.

DIFGEN_CHAOS_KILLS says how many kills (3; `make chaos`: 10), DIFGEN_CHAOS_SEED which moments.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd

from difgen_cli.store.attempts import gone

KILLS = int(os.environ.get("DIFGEN_CHAOS_KILLS", "3"))
SEED = int(os.environ.get("DIFGEN_CHAOS_SEED", str(random.randrange(10**6))))

GRID = f"""\
# Does a sweep survive whatever is done to its workers?
base:
  data:      {{name: digits, held_out: 900}}
  condition: {{name: kmeans}}
  model:     {{name: mlp, width: 32}}
  train:     {{batch: 64}}
  sample:    {{name: heun, steps: 6, count: 64}}
axes:
  train.steps: [400, {1000 + 800 * KILLS}]
  data.size:   [16, 64]
  condition.clusters: [1, 4]
"""
QUICK = {**os.environ, "OMP_NUM_THREADS": "1", "DIFGEN_CHECKPOINT_SECONDS": "0.5"}
COMMAND = [sys.executable, "-m", "difgen_cli", "-q", "sweep", "chaos.yaml", "--workers", "2", "--cluster", "local"]


def _workers(runs: Path) -> list[int]:
    """Process numbers of the workers that are at work now."""
    badges = []
    for path in runs.glob("grids/*/submissions/*/workers/*.json"):
        with suppress(OSError, json.JSONDecodeError):
            badges.append(json.loads(path.read_text()))
    return [b["owner"]["pid"] for b in badges if b["state"] == "running" and not gone(b["owner"])]


def _family(runs: Path) -> list[int]:
    """The launchers of a run directory, to be killed with all their children."""
    owners = [json.loads(p.read_text())["owner"] for p in runs.glob("grids/*/submissions/*/launcher.json")]
    return [o["pid"] for o in owners if not gone(o)]


def _kill(process: subprocess.Popen[bytes], runs: Path, chance: random.Random) -> str:
    """One worker alone, or everything at once, as when a machine loses power."""
    workers = _workers(runs)
    if chance.random() < 0.5 and workers:
        os.kill(chance.choice(workers), signal.SIGKILL)
        return "a worker"
    for pid in _family(runs):  # submitit's controllers live in the launcher's session
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    process.kill()
    process.wait()
    return "everything"


def _equal_content(runs: Path) -> tuple[dict[str, str], dict[str, pd.DataFrame]]:
    """Weights and samples by hash, and every table without times and hosts."""
    from test_sweep import rows

    files = [*runs.glob("*/*/samples/*.parquet")]
    hashes = {str(f.relative_to(runs)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    from safetensors.numpy import load_file

    for file in runs.glob("trajectories/*/snapshots/*.safetensors"):
        tensors = load_file(file)
        digest = hashlib.sha256(b"".join(k.encode() + tensors[k].tobytes() for k in sorted(tensors)))
        hashes[str(file.relative_to(runs))] = digest.hexdigest()
    tables = {"rows": rows(runs)}
    for name in ("noise", "neighbours"):
        table = pd.read_parquet(runs / "tables" / f"{name}.parquet")
        order = [c for c in ("key", "split", "sigma", "seed") if c in table]
        tables[name] = table.sort_values(order).reset_index(drop=True)
    return hashes, tables


def test_killing_workers_at_random_moments_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "chaos.yaml").write_text(GRID)
    undisturbed = [*COMMAND, "--runs", "calm"]
    started = time.monotonic()
    subprocess.run(undisturbed, cwd=tmp_path, env=QUICK, check=True, capture_output=True)
    seconds = time.monotonic() - started
    chance, runs = random.Random(SEED), tmp_path / "runs"
    killed: list[str] = []
    process = subprocess.Popen(COMMAND, cwd=tmp_path, env=QUICK, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while len(killed) < KILLS:
        assert time.monotonic() < deadline, f"seed {SEED}: only {killed} of {KILLS} kills in ten minutes"
        time.sleep(chance.uniform(0.1, max(1.0, seconds / 2 / KILLS)))
        if process.poll() is not None:
            if process.returncode == 0:
                break  # it finished before the last kill; what was killed so far counts
            process = subprocess.Popen(
                COMMAND, cwd=tmp_path, env=QUICK, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        elif _workers(runs):
            killed.append(_kill(process, runs, chance))
    assert killed, "nothing was killed: the sweep is too short for this test"
    if process.poll() is None:
        process.wait(300)
    final = subprocess.run(COMMAND, cwd=tmp_path, env=QUICK, capture_output=True, text=True, timeout=300, check=False)
    assert final.returncode == 0, f"seed {SEED}, killed {killed}: {final.stderr}"
    subprocess.run(
        [sys.executable, "-m", "difgen_cli", "report", "runs"], cwd=tmp_path, check=True, capture_output=True
    )
    (hashes, tables), (calm_hashes, calm_tables) = _equal_content(runs), _equal_content(tmp_path / "calm")
    assert hashes == calm_hashes, f"seed {SEED}, killed {killed}"
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, calm_tables[name], obj=f"{name} (seed {SEED}, killed {killed})")
    print(f"killed {len(killed)} times (seed {SEED}): {', '.join(killed)}; undisturbed {seconds:.0f} s")
