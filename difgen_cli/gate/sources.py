"""What is known of columns in a run directory: those of the metrics at hand, and the others that its rows have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store, tables
from difgen_cli.gate import calibrated_columns, columns
from difgen_cli.gate.columns import DeclaredColumn
from difgen_cli.report.study import loading


@dataclass(frozen=True)
class Declarations:
    """library: the plug-ins that the newest grid was swept with. columns: theirs, by name; others: of the rows."""

    library: Library
    columns: Mapping[str, DeclaredColumn]
    others: frozenset[str]


def declarations(store: Store) -> Declarations:
    """Read what metrics declare, membership calibrated over seeds too, and which other columns the rows have."""
    grids = store.grids()
    library = loading.library_of(store, grids[-1]) if grids else Library()
    declared = columns.of_library(library) | calibrated_columns.declared()
    others = frozenset(tables.fold(store).column_names) - declared.keys()
    return Declarations(library, declared, others)
