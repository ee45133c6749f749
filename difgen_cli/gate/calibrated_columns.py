"""Membership calibrated by the other seeds, as columns of the rows: a reading of all models of a grid together."""

from __future__ import annotations

from typing import Any

from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.engine.store import Store
from difgen_cli.gate.columns import ENDS, PERMUTED, DeclaredColumn
from difgen_cli.report.study import calibrated, loading

METRIC = "exposure"  # whose losses, image by image, it is read from
IMAGES = "images_in"
BARE = ("plain_auc", calibrated.CONTROL)  # which need no permuted control


def declared() -> dict[str, DeclaredColumn]:
    """What is to be known of the columns of `calibrated_runs.csv`, as of those of a metric."""
    columns = {IMAGES: _column(ColumnSpec("images"), None), PERMUTED: _column(ColumnSpec(), None)}
    for name in (*calibrated.AREAS, *calibrated.SHARES):
        lower, upper = (f"{name}{end}" for end in ENDS)
        unit = "share" if name in calibrated.SHARES else ""
        spec = ColumnSpec(unit, n=IMAGES, control="" if name in BARE else PERMUTED)
        columns |= {name: _column(spec, (lower, upper))}
        columns |= {end: _column(spec, None) for end in (lower, upper)}
    return columns


def values(store: Store, cells: set[str]) -> dict[str, dict[str, Any]]:
    """Its line of each of the cells that has one, over all grids of a run directory; of several grids the newest."""
    lines: dict[str, dict[str, Any]] = {}
    names = declared().keys()
    for study in loading.gather(store):
        for line in calibrated.read(study.curves).runs.to_dict("records"):
            if line["cell"] in cells:
                lines[str(line["cell"])] = {str(name): value for name, value in line.items() if name in names}
    return lines


def _column(spec: ColumnSpec, ends: tuple[str, str] | None) -> DeclaredColumn:
    return DeclaredColumn(METRIC, spec, True, ends)
