"""Launchers: where workers run, how many, on which devices, and with which copy of the code.

Every launcher but `inline` runs a copy of the code, kept by hash, so that editing while jobs wait does no harm.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from difgen_cli import __version__
from difgen_cli.engine.cost.device import cards_of_driver, nvidia_smi, seen
from difgen_cli.engine.plugins import PACKAGE
from difgen_cli.engine.store import Store, code

CHECKPOINT_SECONDS = 60.0  # of training between two checkpoints: the most that a killed worker loses


class LaunchError(RuntimeError):
    """The cluster or the machine refused; one sentence. Exit code 3."""


def local_devices(workers: int | None, jobs_per_gpu: int) -> tuple[str | None, ...]:
    """What each worker of this machine sees: `jobs_per_gpu` see each visible GPU by its name; without one there is a
    worker per core, which sees the CPU alone (None).
    """
    shared = tuple(visible_gpus()) * jobs_per_gpu
    return shared[: workers or None] or (None,) * (workers or _cores())


def threads_each(devices: Sequence[str | None]) -> int:
    """Threads for each of these workers: workers on GPUs share the cores, others have one each."""
    return 1 if devices[0] is None else max(1, _cores() // len(devices))


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def hide_unusable() -> str | None:
    """Hide GPUs that are named and that torch cannot use from this process and its workers; says so in a sentence.

    A variable that an image sets, or a driver that lists a card, says nothing of the torch that is installed.
    """
    names = visible_gpus()
    usable = seen(",".join(names)) if names else None
    if usable is None or usable.count >= len(names) or (usable.count and any(n.startswith("MIG-") for n in names)):
        return None  # of several slices a process sees the first alone
    source = "CUDA_VISIBLE_DEVICES" if "CUDA_VISIBLE_DEVICES" in os.environ else "the driver"
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[: usable.count])
    left = f"the first {usable.count} of them" if usable.count else "none of them, so workers run on the CPU"
    return f"GPU {', '.join(names)}: named by {source}, but torch can use {left}"


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, else all that the driver lists.

    The driver's are unique identifiers, since its numbers are not CUDA's; a card that is cut into slices is its slices.
    """
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is not None:
        names = [n.strip() for n in variable.split(",")]
        return names[: next((i for i, n in enumerate(names) if n in ("", "-1", "NoDevFiles")), len(names))]
    listed = nvidia_smi("-L")
    return _listed(listed.stdout.splitlines()) if listed else cards_of_driver()


def _listed(lines: Sequence[str]) -> list[str]:
    """The names in the lines of `nvidia-smi -L`; a number where a line has no identifier."""
    cards: list[list[str]] = []
    for line in lines:
        named = re.search(r"\(UUID: ((?:GPU|MIG)-[\w/-]+)\)", line)
        if line.startswith("GPU "):
            cards.append([named[1] if named else str(len(cards))])
        elif named and cards:
            cards[-1].append(named[1])
    return [name for card in cards for name in (card[1:] or card)]


def environment() -> dict[str, Any]:
    """What rows say of their making: commit, dirty flag, version, command."""
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "difgen": __version__,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def keep_code(store: Store, plugins: Path | None) -> Path:
    """The package and the plug-ins beside the grid, as they are now, in the run directory."""
    return code.keep(store, {"difgen_cli": PACKAGE} | ({"plugins": plugins} if plugins else {}))


def worker_environment(copy: Path, threads: int) -> dict[str, str]:
    """The environment of a worker: the copied code comes first, and no library takes more threads than it should."""
    limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {
        **os.environ,
        **dict.fromkeys(limits, str(threads)),
        "PYTHONPATH": os.pathsep.join([str(copy), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONSAFEPATH": "1",
    }
