"""SLURM's words stand in its own folder alone."""

from __future__ import annotations

import re
from pathlib import Path

import difgen_cli

PACKAGE = Path(difgen_cli.__file__).parent
WORDS = re.compile(r"slurm|sbatch|squeue|scancel|scontrol|sacct", re.IGNORECASE)
OWN = "engine/launch/slurm/"

# File -> the lines in which SLURM is named for people, or as a launcher's name.
EXCEPTIONS = {
    "cli/": r"on SLURM; their|^CLUSTERS = |Where to run: auto|SLURM's limits|GPUs, SLURM, the run",
    "engine/doctor/": ".",  # it shows what a cluster allows
    "engine/launch/launcher.py": r"for name, module in ",  # the registry
}


def test_slurms_words_stand_in_its_own_folder_alone() -> None:
    lines = [
        (path.relative_to(PACKAGE).as_posix(), line.strip())
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if WORDS.search(line)
    ]
    others = [(file, line) for file, line in lines if not file.startswith(OWN) and not _is_excepted(file, line)]
    assert others == []


def _is_excepted(file: str, line: str) -> bool:
    return any(file.startswith(place) and re.search(pattern, line) for place, pattern in EXCEPTIONS.items())
