"""Versions, processors, memory and GPUs of this machine, and where its data, weights and profiles lie."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from difgen_cli import __version__, features
from difgen_cli import config as where
from difgen_cli.engine.cost.device import nvidia_smi
from difgen_cli.engine.doctor import Fact
from difgen_cli.engine.launch import visible_gpus

PACKAGES = ("torch", "submitit", "pyarrow", "numpy", "pandas", "scikit-learn", "scipy", "safetensors", "pydantic")
ANY_GRID = Path("grids") / "any.yaml"  # profiles are those that a grid in ./grids would find
GIB = 1 << 30


def versions() -> list[Fact]:
    """Of Python, difgen and its libraries, none of which is imported."""
    own = [Fact("difgen", __version__), Fact("python", f"{platform.python_version()} on {platform.platform()}")]
    return own + [_package(name) for name in PACKAGES]


def _package(name: str) -> Fact:
    try:
        return Fact(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Fact(name, "not installed", "bad", f"pip install {name}")


def machine() -> list[Fact]:
    """Cores, memory and GPUs that workers may use here."""
    usable, installed = usable_cores(), os.cpu_count() or 1
    cores = Fact("CPU cores", f"{usable} usable" + (f" of {installed}" if installed != usable else ""))
    return [cores, _memory(), *_gpus()]


def usable_cores() -> int:
    """Cores that this process may use: its affinity, or the quota of its control group where that is less."""
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    return min(cores, max(1, int(quota) // int(period))) if quota.isdigit() and period.isdigit() else cores


def memory_bytes() -> tuple[int, int]:
    """Memory of this machine, or of this process's control group, and what of it is free; (0, 0) where unknown."""
    lines = dict(line.partition(":")[::2] for line in _read("/proc/meminfo").splitlines())
    total, free = (int(lines.get(n, "0 kB").split()[0]) * 1024 for n in ("MemTotal", "MemAvailable"))
    most = _read("/sys/fs/cgroup/memory.max")
    if most.isdigit() and int(most) < total:
        total, free = int(most), min(free, int(most) - int(_read("/sys/fs/cgroup/memory.current") or 0))
    return total, free


def _memory() -> Fact:
    total, free = memory_bytes()
    if not total:
        return Fact("memory", "unknown")
    return Fact("memory", f"{total / GIB:.1f} GiB, {free / GIB:.1f} GiB available")


def _read(path: str) -> str:
    """A file that the kernel fills; empty where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _gpus() -> list[Fact]:
    visible = visible_gpus()
    if not visible:
        return [Fact("GPUs", "none; workers run on CPU cores")]
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    variable = f" ($CUDA_VISIBLE_DEVICES {asked})" if asked is not None else ""
    listed = _listed_gpus()
    if not listed:
        return [Fact("GPUs", f"{len(visible)} named{variable}, but nvidia-smi lists none", "note",
                     "repair the driver, or set CUDA_VISIBLE_DEVICES to nothing")]  # fmt: skip
    facts = [Fact("GPUs", f"{len(visible)} visible{variable}; the driver lists " + ", ".join(listed))]
    if "+cpu" in _package("torch").value:
        facts.append(Fact("torch and GPUs", "this torch is built for CPUs alone", "bad",
                          "install a torch built for CUDA, or set CUDA_VISIBLE_DEVICES to nothing"))  # fmt: skip
    return facts


def _listed_gpus() -> list[str]:
    """Names and memory of the GPUs that the driver lists, equal ones counted: `2 × NVIDIA H200 of 140.4 GiB`."""
    answer = nvidia_smi("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
    cards = []
    for line in answer.stdout.splitlines() if answer and answer.returncode == 0 else []:
        name, _, mebibytes = line.rpartition(",")
        size = f" of {int(mebibytes) / 1024:.1f} GiB" if mebibytes.strip().isdigit() else ""
        cards.append(name.strip() + size)
    return [f"{cards.count(card)} × {card}" for card in dict.fromkeys(cards)]


def places(profile: str | None) -> tuple[dict[str, Any], list[Fact]]:
    """The settings of a profile, and what is known of data, weights and profiles. Raises PlaceError."""
    settings = where.profile(profile, ANY_GRID)
    profiles = where.profiles(ANY_GRID)
    named = ", ".join(f"{name} ({file})" for name, file in sorted(profiles.items()))
    return settings, [
        _data_root(),
        *(_weights(name) for name in features.WEIGHTS),
        Fact("profiles", named or "none; on SLURM a difgen.toml next to the grids names partition, walltime and GPUs"),
    ]


def _data_root() -> Fact:
    root = where.data_root()
    value = f"{root}" if os.environ.get("DIFGEN_DATA") else f"{root}, the current folder ($DIFGEN_DATA is not set)"
    if not root.is_dir():
        return Fact("data root", f"{root}: no such folder", "bad", "set DIFGEN_DATA to the folder of your data sets")
    return Fact("data root", value)


def _weights(name: str) -> Fact:
    try:
        return Fact(f"weights {name}", str(features.find(name, where.weights_folders())))
    except features.WeightsError:
        spec = features.WEIGHTS[name]
        how = f"difgen weights fetch {name}" if spec.files else f"a file of {spec.url}"
        return Fact(f"weights {name}", "not here", "note", f"{how}, for metrics that use it")
