"""How long a report of 20,000 rows takes:  python benchmarks/report.py [rows]

The rows are made up (tests/report/synthetic.py); making them is not counted. Reported: reading the rows into
curves, the terminal's table, the whole `report.write` with the figures' share, `report.write` again where nothing has
changed, and the figures at a paper's two widths in three formats.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "report"))

import synthetic

from difgen_cli import report
from difgen_cli.report.figures import listing
from difgen_cli.report.study import curves, last_snapshots


def study(rows: int) -> report.Study:
    """Five axes in the proportions of a large grid, three seeds, about `rows` cells, some missing and failed."""
    steps = max(2, round(rows / (3 * 5 * 16 * 7)))
    axes = {
        "model.width": [32, 64, 128, 256, 512],
        "train.steps": [250 * (i + 1) for i in range(steps)],
        "data.size": [2**k for k in range(4, 20)],
        "condition.clusters": [1, 2, 5, 10, 20, 50, 100],
    }
    return synthetic.study(axes, seeds=3, missing=range(0, 300, 7), failed=range(1, 300, 7))


def timed(name: str, call: object, *arguments: object) -> object:
    start = time.perf_counter()
    result = call(*arguments)  # type: ignore[operator]
    print(f"{name:<28} {time.perf_counter() - start:7.2f} s")
    return result


def main(rows: int) -> None:
    made = study(rows)
    print(f"{len(made.rows):,} rows, {len(made.tables['noise']):,} rows of the noise table")
    read = timed("rows to curves", curves.read, made)
    timed("last snapshots over seeds", last_snapshots.read, read)
    timed("figures drawn", listing.draw, read)
    with tempfile.TemporaryDirectory() as folder:
        timed("report.write, everything", report.write, made, Path(folder))
        timed("the same again", report.write, made, Path(folder))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        page = (Path(folder) / "report.html").stat().st_size
        print(f"{size / 1e6:.1f} MB written, the page {page / 1e6:.1f} MB")
        timed("figures for a paper", lambda: report.write(made, Path(folder), paper=True))
        size = sum(path.stat().st_size for path in (Path(folder) / "paper").rglob("*") if path.is_file())
        print(f"{size / 1e6:.1f} MB of them")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
