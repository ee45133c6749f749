"""What the system tells of this machine without torch: names of processors and cards, memory of this process."""

from __future__ import annotations

import platform
import resource
import shutil
import subprocess
from functools import cache
from pathlib import Path


@cache
def processor() -> str:
    """The processor's name as the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    named = next((line for line in lines if line.startswith("model name")), "")
    return named.partition(":")[2].strip() or platform.machine()


@cache
def card(number: str) -> str | None:
    """The name of a GPU, by its number or its identifier; None where the driver does not say."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        asked = subprocess.run(
            [tool, "-i", number, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True,
            timeout=30, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None if asked.returncode == 0 else None


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
