"""What only a card can show, in eight minutes at most: one table for benchmarks/NOTES.md, and 1 where a line is red.

    make gpu-test                      # on the first card
    make gpu-test DEVICE=cpu           # what a CPU can do of it: shows that the command runs
    python tests/gpu/prove.py --device cpu --quick --only training sweep

Each part has a process of its own, and seconds that it may take beside those that the parts before it left; one that
takes more is ended and red, with the lines that it has. Lines come on stdout as parts end, all else on stderr. Exit
code 0: all as wanted; 1: something is not; 3: there is no such device here. It has not been run on a GPU yet.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
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
    """Where a part runs. quick: as small as shows that it runs. folder: its own, empty. side: pixels, on a card."""

    device: str
    quick: bool
    folder: Path
    side: int = 32

    @property
    def card(self) -> bool:
        return self.device.startswith("cuda")

    def sized(self, card: int, cpu: int, quick: int) -> int:
        return card if self.card else quick if self.quick else cpu


# Part -> the module that has it, and seconds on a card: eight minutes in all. What is surely soon done comes first, and
# leaves its seconds to the parts that compile; memory compiles what modes has.
PARTS = {
    "names": ("working", 20), "precision": ("computing", 20), "training": ("computing", 50),
    "sampling": ("computing", 30), "modes": ("computing", 130), "memory": ("working", 60),
    "plugins": ("computing", 50), "sweep": ("working", 45), "full": ("working", 35), "packing": ("working", 40),
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
    print("| check | wanted | measured | verdict | s |\n|---|---|---|---|---|", flush=True)
    lines: list[Line] = []
    left = 0.0
    for part in parts:
        budget = left + PARTS[part][1] * (1 if given.device.startswith("cuda") else OF_CPU)
        start = time.monotonic()
        of_part = proved(part, given.device, given.quick, budget)
        left = budget - (time.monotonic() - start)
        print("\n".join(map(row, of_part)), flush=True)
        lines += of_part
    print(f"\n{where()}", flush=True)
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


def proved(part: str, device: str, quick: bool, budget: float) -> list[Line]:
    """The lines of a part, from a process of its own, which is ended with all that it began when its time is up."""
    print(f"{part}: at most {budget:.0f} s", file=sys.stderr, flush=True)
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), "--part", part, "--device", device]
    start = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, subprocess.Popen(
        [*command, *["--quick"] * quick, "--folder", folder], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"}, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate(timeout=max(0.0, budget))
            why = "" if process.returncode == 0 else f"its process ended with {process.returncode}"
        except subprocess.TimeoutExpired as late:
            output, why = _text(late.stdout), f"not done after {budget:.0f} s"
        finally:
            end(process.pid, folder)
    lines = [Line(**json.loads(line)) for line in output.splitlines() if line.startswith('{"check"')]
    if why or not lines:
        spent = time.monotonic() - start
        return [*lines, Line(part, f"done in {budget:.0f} s", why or "it said nothing", False, spent)]
    return lines


def end(group: int, folder: str) -> None:
    """End a part, its compilers, and the workers of its sweeps, which have sessions of their own, by the folder."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    for commands in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if os.fsencode(folder) in commands.read_bytes():
                os.kill(int(commands.parent.name), signal.SIGKILL)


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


def row(line: Line) -> str:
    """A line of the table in Markdown, with its verdict."""
    verdict = {None: "–", True: "pass", False: "**FAIL**"}[line.ok]
    cells = (line.check, line.wanted, line.measured, verdict, f"{line.seconds:.1f}")
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def where() -> str:
    """The date, the card or processor, torch and what it is built for."""
    import torch

    from difgen_cli.engine.cost.device import processor

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else f"no GPU ({processor()})"
    return f"{time.strftime('%Y-%m-%d')}, {card}, torch {torch.__version__}, CUDA {torch.version.cuda}"


if __name__ == "__main__":
    sys.modules.setdefault("prove", sys.modules["__main__"])  # whose lines the parts make
    sys.exit(main())
