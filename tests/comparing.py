"""What must be the same in two run directories of one grid, whatever befell their workers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
from safetensors.numpy import load_file
from test_sweep import rows

from difgen_cli.engine.store import Store, tables

Content = tuple[dict[str, str], dict[str, pd.DataFrame]]


def content(runs: Path) -> Content:
    """Hashes of weights and samples by path, and every table without times, hosts and provenance."""
    tables.fold(Store(runs))
    hashes = {str(f.relative_to(runs)): hashlib.sha256(f.read_bytes()).hexdigest() for f in _samples(runs)}
    hashes |= {str(f.relative_to(runs)): _weights_hash(f) for f in runs.glob("trajectories/*/snapshots/*.safetensors")}
    found = {"rows": rows(runs)}
    for name in ("noise", "neighbours"):
        if (path := runs / "tables" / f"{name}.parquet").exists():
            found[name] = _sorted(pd.read_parquet(path))
    return hashes, found


def _samples(runs: Path) -> list[Path]:
    return [f for f in runs.glob("*/*/samples/*.parquet") if not f.name.startswith(".")]


def _weights_hash(file: Path) -> str:
    """Of the tensors alone: a file also says how long its training took."""
    tensors = load_file(file)
    return hashlib.sha256(b"".join(k.encode() + tensors[k].tobytes() for k in sorted(tensors))).hexdigest()


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    order = [c for c in ("key", "split", "sigma", "seed") if c in table]
    return table.sort_values(order).reset_index(drop=True)


def assert_equal_content(runs: Path, calm: Path | Content, about: str = "") -> None:
    """The run directory holds what the undisturbed one holds, bit for bit, no more and no less."""
    hashes, found = content(runs)
    calm_hashes, calm_found = content(calm) if isinstance(calm, Path) else calm
    assert hashes == calm_hashes, about
    assert set(found) == set(calm_found), about
    for name, table in found.items():
        pd.testing.assert_frame_equal(table, calm_found[name], obj=f"{name} {about}".strip())
