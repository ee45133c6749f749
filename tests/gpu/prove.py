"""What only a card can show, in eight minutes at most: one table for benchmarks/NOTES.md, and 1 where a line is red.

    make gpu-test                      # on the first card
    make gpu-test DEVICE=cpu           # what a CPU can do of it: shows that the command runs
    python tests/gpu/prove.py --device cpu --quick --only training sweep

Each part has a process of its own, and seconds that it may take; one that takes more is ended and red. The table comes
on stdout, all else on stderr. Exit code 0: all as wanted; 1: something is not; 3: there is no such device here. It has
not been run on a GPU yet.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
NO_DEVICE, RED = 3, 1


@dataclass(frozen=True)
class Line:
    """One line of the table. ok: None where nothing is wanted, or this device cannot show it."""

    check: str
    wanted: str
    measured: str
    ok: bool | None
    seconds: float = 0.0


@dataclass(frozen=True)
class Setup:
    """Where a part runs. quick: as small as shows that it runs. folder: its own, empty."""

    device: str
    quick: bool
    folder: Path

    @property
    def card(self) -> bool:
        return self.device.startswith("cuda")

    def sized(self, card: int, cpu: int, quick: int) -> int:
        return card if self.card else quick if self.quick else cpu


# Part -> the module that has it, and seconds on a card: eight minutes in all.
PARTS = {
    "training": ("computing", 60), "modes": ("computing", 110), "precision": ("computing", 20),
    "sampling": ("computing", 30), "plugins": ("computing", 60), "names": ("working", 20),
    "memory": ("working", 60), "packing": ("working", 50), "sweep": ("working", 40), "full": ("working", 30),
}  # fmt: skip
MOST_SECONDS = 480
OF_CPU = 30  # times as long on a CPU, which others may use too
SLOW = ("modes", "plugins", "packing")  # left out by --quick


def main() -> int:
    """The command, or one of its parts."""
    given = arguments()
    if given.part:
        return run_part(given.part, Setup(given.device, given.quick, Path(given.folder)))
    if given.device.startswith("cuda") and (why := unusable(given.device)):
        print(f"{why}; `make gpu-test DEVICE=cpu` runs what a CPU can show", file=sys.stderr)
        return NO_DEVICE
    parts = given.only or [name for name in PARTS if not (given.quick and name in SLOW)]
    lines: list[Line] = []
    for part in parts:
        lines += proved(part, given.device, given.quick)
    print("\n".join(table(lines)), flush=True)
    return RED if any(line.ok is False for line in lines) else 0


def arguments() -> argparse.Namespace:
    """The words of the command."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default=os.environ.get("DEVICE") or "cuda", help="cuda, cuda:1 or cpu")
    options.add_argument("--quick", action="store_true", help="seconds, for tests: without what takes long")
    options.add_argument("--only", nargs="+", choices=PARTS, help="parts")
    options.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options.add_argument("--folder", help=argparse.SUPPRESS)
    return options.parse_args()


def unusable(device: str) -> str | None:
    """Why there is no such card; None where there is."""
    import torch

    if not torch.cuda.is_available():
        return "no card is at hand that torch can use"
    number = int(device.partition(":")[2] or 0)
    return f"there is no {device} here" if number >= torch.cuda.device_count() else None


def proved(part: str, device: str, quick: bool) -> list[Line]:
    """The lines of a part, from a process of its own, which is ended when its time is up."""
    budget = PARTS[part][1] * (1 if device.startswith("cuda") else OF_CPU)
    print(f"{part}: at most {budget} s", file=sys.stderr, flush=True)
    command = [sys.executable, str(Path(__file__)), "--part", part, "--device", device, *["--quick"] * quick]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [*command, "--folder", folder], stdout=subprocess.PIPE, text=True, timeout=budget, check=False,
                env={**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"},
            )  # fmt: skip
            output, why = done.stdout, "" if done.returncode == 0 else f"its process ended with {done.returncode}"
        except subprocess.TimeoutExpired as late:
            output, why = _text(late.stdout), f"not done after {budget} s"
    lines = [Line(**json.loads(line)) for line in output.splitlines() if line.startswith('{"check"')]
    if why or not lines:
        return [*lines, Line(part, f"done in {budget} s", why or "it said nothing", False, time.monotonic() - start)]
    return lines


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def run_part(part: str, setup: Setup) -> int:
    """A part in this process: each line as JSON, with the seconds since the one before."""
    since = time.monotonic()
    for line in getattr(importlib.import_module(PARTS[part][0]), f"prove_{part}")(setup):
        now = time.monotonic()
        print(json.dumps(asdict(line) | {"seconds": now - since}), flush=True)
        since = now
    return 0


def table(lines: Iterable[Line]) -> Iterator[str]:
    """Markdown, with the verdict of each line, and where all of it was measured."""
    yield f"{where()}\n"
    yield "| check | wanted | measured | verdict | s |"
    yield "|---|---|---|---|---|"
    for line in lines:
        verdict = {None: "–", True: "pass", False: "**FAIL**"}[line.ok]
        cells = (line.check, line.wanted, line.measured, verdict, f"{line.seconds:.1f}")
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def where() -> str:
    """The date, the card or processor, torch and what it is built for."""
    import torch

    from difgen_cli.engine.cost.device import processor

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else f"no GPU ({processor()})"
    return f"{time.strftime('%Y-%m-%d')}, {card}, torch {torch.__version__}, CUDA {torch.version.cuda}"


if __name__ == "__main__":
    sys.modules.setdefault("prove", sys.modules["__main__"])  # whose lines the parts make
    sys.exit(main())
