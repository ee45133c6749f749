"""What workers do with a card: name it, give its memory back, share it, fill a run directory, and survive its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
from prove import Line, Setup

ROOT = Path(__file__).parent.parent.parent
UNITS = 20
MIB = 1 << 20
MOST_GROWTH_MIB = 64  # between the fifth unit and the last: what Python and its libraries keep for themselves
LIMIT_MIB = 48  # of memory that is left to a training that is to run out of it

MANY = """\
# Do twenty units leave nothing behind?
base:
  data:   {name: digits, held_out: 900, size: 64}
  model:  {name: unet, depth: 1, multipliers: [1, 2]}
  train:  {batch: 32, steps: 5}
  sample: {name: euler, steps: 2, count: 32}
  score:  [gap]
axes:
  model.width: [WIDTH]
seeds: 10
"""
FULL = """\
# What becomes of a training that runs out of memory?
base:
  data:   {name: digits, held_out: 900, size: 16}
  model:  {name: mlp, width: 2048, depth: 3}
  train:  {batch: 16, steps: STEPS}
  sample: {name: euler, steps: 2, count: 16}
  score:  [clique]
"""
# `difgen` in a process whose trainings, and nothing else, have so little memory left.
LIMITED = """\
import resource, sys
import torch
import difgen_cli.cli
from difgen_cli.engine.worker.training import TrainingRun

def limit(left):
    if "DEVICE" != "cpu":
        share = left / torch.cuda.get_device_properties(0).total_memory if left else 1.0
        torch.cuda.set_per_process_memory_fraction(share, 0)
        return
    pages = int(open("/proc/self/statm").read().split()[0])
    most = pages * resource.getpagesize() + left if left else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))

run = TrainingRun.run

def limited(self):
    limit(LEFT)
    try:
        return run(self)
    finally:
        limit(0)

TrainingRun.run = limited
sys.argv = ["difgen", *sys.argv[1:]]
difgen_cli.cli.main()
"""


def environment(setup: Setup) -> dict[str, str]:
    """That of a command which uses the device, and no other."""
    return {**os.environ, "OMP_NUM_THREADS": "1"} | ({} if setup.card else {"CUDA_VISIBLE_DEVICES": ""})


def difgen(setup: Setup, *words: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command in the part's folder; `code` in place of the command itself."""
    start = ["-m", "difgen_cli"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *start, *words], cwd=setup.folder, env=environment(setup), text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def last(done: subprocess.CompletedProcess[str]) -> str:
    """The exit code, and the last line where it is not 0."""
    lines = done.stdout.strip().splitlines()
    return f"exit code {done.returncode}" + (f": {lines[-1][:160]}" if done.returncode and lines else "")


def prove_names(setup: Setup) -> Iterator[Line]:
    """A card, or each slice of one, is known by its identifier, to torch as to the driver."""
    from difgen_cli.engine import launch
    from difgen_cli.engine.cost.device import card, seen

    if not setup.card:
        names = launch.visible_gpus() if "CUDA_VISIBLE_DEVICES" not in os.environ else []
        yield Line("names of cards", "identifiers that torch can use", f"{len(names)} cards", None)
        return
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    names = launch.visible_gpus()
    with ThreadPoolExecutor() as together:  # each look imports torch
        list(together.map(seen, [*names, ",".join(names)]))
    of_slices = [name for name in names if name.startswith("MIG-")]
    ok = bool(names) and all(name.startswith(("GPU-", "MIG-")) for name in names)
    yield Line("names of cards", "GPU-… or MIG-…", ", ".join(names), ok)
    for name in names:
        looked, called = seen(name), card(name)
        ok = looked is not None and looked.count == 1 and called == looked.name
        yield Line(f"{name} alone", "one device, of one name", f"torch: {looked}; driver: {called}", ok)
    note = launch.hide_unusable()
    yield Line("all of them", "torch can use each", note or "no note", note is None)
    yield Line("slices", "listed where the card has any", f"{len(of_slices)} slices", True if of_slices else None)


def prove_memory(setup: Setup) -> Iterator[Line]:
    """Memory after a trial of modes, of a resumed training, and over many units; each row has its training's own."""
    from computing import a_unet, ready, trained
    from torch import cuda

    ready(setup)
    if setup.card:
        yield from of_trials(setup)
        cuda.reset_peak_memory_stats()
        state = trained(setup, a_unet(setup, 0.0), "bf16", 4)
        alone, saved = cuda.max_memory_allocated(), on_host(state.checkpoint())
        del state
        cuda.empty_cache()
        cuda.reset_peak_memory_stats()
        trained(setup, a_unet(setup, 0.0), "bf16", 8, saved)
        ratio = cuda.max_memory_allocated() / alone
        yield Line("peak of a resumed training", "at most 1.05 of one from the start", f"{ratio:.3f}", ratio <= 1.05)
    else:
        yield Line("memory of a card after trials and resuming", "given back", "", None)
    yield from of_units(setup)
    yield from of_rows(setup)


def on_host(content: Any) -> Any:
    """As a checkpoint is loaded."""
    if isinstance(content, dict):
        return {key: on_host(value) for key, value in content.items()}
    return content.cpu() if hasattr(content, "cpu") else content


def of_trials(setup: Setup) -> Iterator[Line]:
    """Graphs and compiled code of a trial are given back."""
    from computing import a_unet, shape, trained
    from torch import cuda

    from difgen_cli.engine.worker import modes

    trained(setup, a_unet(setup, 0.0), "fp32", 2)
    modes.forget(setup.device)
    before = cuda.memory_reserved()
    # The same steps as those of `modes`, whose compiled code torch keeps on the disk.
    trained(setup, a_unet(setup, 0.0), "fp32", 6, mode=modes.training_mode("graphed", shape(setup), setup.device))
    during = cuda.memory_reserved()
    modes.forget(setup.device)
    left = (cuda.memory_reserved() - before) / MIB
    words = f"{left:.0f} MiB of {(during - before) / MIB:.0f} MiB"
    yield Line("kept after graphed steps", f"at most {MOST_GROWTH_MIB} MiB", words, left <= MOST_GROWTH_MIB)


def of_units(setup: Setup) -> Iterator[Line]:
    """What this process holds when each of twenty units or more begins."""
    import torch

    from difgen_cli.cli import main
    from difgen_cli.engine.worker.context import WorkerContext

    held: list[float] = []
    settle = WorkerContext.settle

    def noting(context: WorkerContext, run_key: str) -> None:
        settle(context, run_key)
        held.append(torch.cuda.memory_reserved() / MIB if setup.card else resident_mib())

    WorkerContext.settle = noting  # type: ignore[method-assign]
    (setup.folder / "many.yaml").write_text(MANY.replace("WIDTH", str(setup.sized(32, 4, 4))), encoding="utf-8")
    sys.argv = ["difgen", "sweep", "many.yaml", "--cluster", "inline", "--quiet"]
    os.chdir(setup.folder)
    os.environ |= environment(setup)
    sys.stdout, kept = sys.stderr, sys.stdout
    try:
        main()
    except SystemExit:
        pass
    finally:
        sys.stdout, WorkerContext.settle = kept, settle  # type: ignore[method-assign]
    growth = held[-1] - held[4] if len(held) > 4 else float("nan")
    ok = len(held) >= UNITS and growth <= MOST_GROWTH_MIB
    words = f"{len(held)} units, {growth:+.0f} MiB from the fifth on"
    yield Line("memory over twenty units", f"at most {MOST_GROWTH_MIB} MiB more", words, ok)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def of_rows(setup: Setup) -> Iterator[Line]:
    """A small training after a large one does not carry its memory: one worker, the largest first."""
    widths = f"{setup.sized(16, 4, 4)}, {setup.sized(256, 64, 48)}"
    text = MANY.replace("WIDTH", widths).replace("seeds: 10\n", "")
    (setup.folder / "two.yaml").write_text(text, encoding="utf-8")
    done = difgen(setup, "sweep", "two.yaml", "--cluster", "inline", "--quiet", "--runs", "two")
    if done.returncode:
        yield Line("peak memory of each training", "done", last(done), False)
        return
    rows = pd.read_parquet(setup.folder / "two" / "tables" / "rows.parquet")
    peaks = rows[rows["kind"] == "model"].groupby("model.width")["peak_memory_bytes"].max() / MIB
    words, ok = ", ".join(f"width {w}: {p:.0f} MiB" for w, p in peaks.items()), peaks.iloc[0] < peaks.iloc[-1]
    device = rows["train_device"].dropna().iloc[0]
    yield Line("peak memory of each training", "that of the small one is smaller", f"{words} ({device})", bool(ok))


def prove_packing(setup: Setup) -> Iterator[Line]:
    """`--jobs-per-gpu auto`: the probe, on the plan's own kind of training."""
    from difgen_cli.engine import launch
    from difgen_cli.engine.cost import packing
    from difgen_cli.engine.cost.bench import Subject

    packing.BUDGET_SECONDS, packing.SLICE_SECONDS = setup.sized(30, 60, 60), setup.sized(2, 1, 1)
    side, width = setup.sized(32, 8, 8), setup.sized(16, 4, 4)
    subject = Subject("unet", {"width": width, "depth": 1}, (3, side, side), batch=setup.sized(128, 8, 8))
    device = (launch.visible_gpus() or ["0"])[0] if setup.card else None
    most = min(8 if setup.card else 2, len(os.sched_getaffinity(0)))
    chosen = packing.probe([(subject, 1e12)], device, most, None)
    rates = ", ".join(f"{n}: {rate:,.0f}/s" for n, rate in chosen.images_per_second.items())
    ok, words = 1 <= chosen.jobs <= most and len(chosen.images_per_second) > 1, f"{chosen.jobs}, {chosen.why} ({rates})"
    yield Line("workers that share the device", "more than one count tried", words, ok)


def prove_sweep(setup: Setup) -> Iterator[Line]:
    """The smoke grid, twice, and its report."""
    grid = str(ROOT / "grids" / "smoke.yaml")
    words = ("sweep", grid, "--quiet", *(("--set", "train.steps=20") if setup.quick else ()))
    first = difgen(setup, *words)
    yield Line("grids/smoke.yaml", "exit code 0", last(first), first.returncode == 0)
    if first.returncode:
        return
    rows = pd.read_parquet(setup.folder / "runs" / "tables" / "rows.parquet")
    devices = sorted(set(rows["train_device"].dropna()))
    expected = here(setup)
    yield Line("its rows say where", expected, ", ".join(devices), devices == [expected])
    again = difgen(setup, *words[:2], *words[3:])
    ok = again.returncode == 0 and "nothing to do" in again.stdout
    yield Line("the same sweep again", "nothing to do", "nothing to do" if ok else last(again), ok)
    report = difgen(setup, "report", "runs", "--out", "report")
    page = setup.folder / "report" / "report.html"
    ok = report.returncode == 0 and page.exists()
    size = f"{page.stat().st_size / 1e6:.1f} MB" if page.exists() else last(report)
    yield Line("its report", "a page", size, ok)


def here(setup: Setup) -> str:
    from difgen_cli.engine.cost.machine import device_name

    return device_name(setup.device)


def prove_full(setup: Setup) -> Iterator[Line]:
    """Out of memory: the unit fails with that cause, its checkpoint stays, and the next sweep goes on from there."""
    grid = setup.folder / "full.yaml"
    limited = LIMITED.replace("DEVICE", setup.device).replace("LEFT", str(LIMIT_MIB * MIB))
    sweep = ("sweep", "full.yaml", "--cluster", "inline", "--quiet")
    grid.write_text(FULL.replace("STEPS", "4"), encoding="utf-8")
    first = difgen(setup, *sweep)
    yield Line("a training of 4 steps", "exit code 0", last(first), first.returncode == 0)
    before = checkpoints(setup)
    grid.write_text(FULL.replace("STEPS", "8"), encoding="utf-8")
    difgen(setup, *sweep, code=limited)
    ending = endings(setup)
    words = ", ".join(ending) or "done"
    yield Line("8 steps without enough memory", "out_of_memory", words, ending == ["out_of_memory"])
    kept = checkpoints(setup)
    yield Line("its checkpoint", "kept", ", ".join(kept), bool(kept) and kept == before)
    after = difgen(setup, *sweep, "--retry", "failed")
    images = [record.get("images") for record in attempts(setup) if record.get("state") == "done"]
    ok = after.returncode == 0 and 4 * 16 in images and 8 * 16 not in images
    yield Line("with enough memory again", "goes on from step 4", f"{last(after)}; images of each {images}", ok)


def checkpoints(setup: Setup) -> list[str]:
    return sorted(path.name for path in setup.folder.glob("runs/**/checkpoints/*"))


def attempts(setup: Setup) -> list[dict[str, Any]]:
    """Those of trainings."""
    paths = sorted(setup.folder.glob("runs/**/attempts/train.*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def endings(setup: Setup) -> list[str]:
    """Of trainings that failed."""
    return [str(record.get("ending")) for record in attempts(setup) if record.get("state") == "failed"]
