"""What the system tells of this machine without torch: names of processors and cards, memory of this process."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PATIENCE_SECONDS = 120.0  # for torch to be imported, on a busy machine


@cache
def processor() -> str:
    """The processor's name as the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    named = next((line for line in lines if line.startswith("model name")), "")
    return named.partition(":")[2].strip() or platform.machine()


@dataclass(frozen=True)
class Seen:
    """The GPUs that torch can use: how many, and the name of the first."""

    count: int
    name: str | None


@cache
def seen(visible: str) -> Seen | None:
    """What torch sees where CUDA_VISIBLE_DEVICES is `visible`, asked in a process of its own; None for no answer."""
    code = "import torch; c = torch.cuda; n = c.device_count() if c.is_available() else 0; print(n)\n"
    code += "print(c.get_device_name(0) if n else '')"
    try:
        asked = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS,
            check=False, env={**os.environ, "CUDA_VISIBLE_DEVICES": visible},
        )  # fmt: skip
        count, name = asked.stdout.split("\n")[:2]
        return Seen(int(count), name or None)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None


@cache
def card(number: str) -> str | None:
    """The name of a GPU, by its number or its identifier; None where the driver does not say."""
    if number.startswith("MIG-") or shutil.which("nvidia-smi") is None:  # the tool takes no slice by its identifier
        gpus = seen(number)
        return gpus.name if gpus else None
    answer = nvidia_smi("-i", number, "--query-gpu=name", "--format=csv,noheader")
    return answer.stdout.strip() or None if answer and answer.returncode == 0 else None


def cards_of_driver(folder: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Cards by the driver's own files, where its tool is not installed, as in many containers: their identifiers.

    A card that nobody has used since the start has none there yet: its number in their order.
    """
    files = sorted(folder.glob("*/information"))
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]
    named = [re.search(r"^GPU UUID:\s*(GPU-[0-9a-f-]+)$", text, re.MULTILINE) for text in texts]
    return [name[1] if name else str(place) for place, name in enumerate(named)]


def nvidia_smi(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    """What the driver's tool answers; None where it is not installed, or does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        return subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None


def forget_peak_memory() -> bool:
    """Count the most memory that this process has held anew, from what it holds now; whether the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_memory_bytes() -> int:
    """The most memory that this process has held; where the system says so, not counting what it was forked from."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    held = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return 1024 * (int(held) if held else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
