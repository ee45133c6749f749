"""Every planted world on every data set at hand: what is read, what is said, what is wrong.

    python tests/planted/table.py [--data fashion] [--only mirrored] [--sentences]

Exits with 1 where a number or a sentence is not what the world is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))

from planted.data import at_hand, load
from planted.read import Read, read
from planted.worlds import WORLDS, World

DRAWS = 3  # of T, H and samples, where a single one may be wrong by chance
TRAIN, HELD_OUT, NEW, SAMPLES = 1000, 700, 300, 300
COLUMNS = {  # column -> its header
    "mem_identical": "ident", "sample_distinct": "distinct", "mem_frac": "mem", "mem_frac_control": "ctl",
    "mem_power": "power", "mem_unique": "unique", "copy_tail": "tail", "tile_copy_frac": "tile",
    "aligned_frac": "align", "aligned_control": "ctl", "aligned_shifted": "moved", "aligned_mirrored": "mirr",
    "aligned_toned": "toned", "aligned_smoothed": "smooth", "train_pref_excess": "pref",
    "train_pref_excess_lo": "lo", "train_pref_excess_hi": "hi", "train_pref_share": "share",
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=at_hand(), action="append", help="default: all at hand")
    parser.add_argument("--only", default="", help="worlds whose name has this in it")
    parser.add_argument("--sentences", action="store_true", help="print what is said of each world")
    options = parser.parse_args()
    console = Console(width=190)
    wrong = 0
    for name in options.data or at_hand():
        table = Table("world", *COLUMNS.values(), "s", "wrong", title=name)
        with tempfile.TemporaryDirectory() as folder:
            for world in WORLDS:
                if options.only.lower() not in world.name.lower() or (world.only and name not in world.only):
                    continue
                start = time.perf_counter()
                found, faults = judged(world, name, Path(folder))
                wrong += bool(faults)
                cells = [_written(found.row.get(column)) for column in COLUMNS]
                seconds = f"{time.perf_counter() - start:.0f}"
                table.add_row(world.name, *cells, seconds, faults or "–")
                print(f"{name}: {world.name}: {faults or 'right'}", file=sys.stderr, flush=True)
                if options.sentences:
                    print(*(f"    {sentence}" for sentence in found.sentences), sep="\n", flush=True)
        console.print(table)
    print(f"{wrong} worlds are read or told wrongly" if wrong else "every world is read and told as it is")
    return 1 if wrong else 0


def judged(world: World, name: str, folder: Path) -> tuple[Read, str]:
    """What the first draw reads, and what is wrong: in most of three draws, where one may be wrong by chance."""
    found = [read(world, load(name, TRAIN, HELD_OUT, NEW), SAMPLES, folder)]
    if world.by_chance and found[0].faults:
        others = (load(name, TRAIN, HELD_OUT, NEW, draw) for draw in range(1, DRAWS))
        found += [read(world, data, SAMPLES, folder / str(k)) for k, data in enumerate(others)]
    wrong = [each for each in found if each.faults]
    if 2 * len(wrong) <= len(found):
        return found[0], ""
    return found[0], "; ".join(wrong[0].faults)


def _written(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) > 1 or float(value).is_integer() else f"{value:.3f}".replace("0.", ".", 1)


if __name__ == "__main__":
    raise SystemExit(main())
