"""Tables folded from results: each line once, and none lost, whatever has become of the tables before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from difgen_cli.store import Home, Store, tables
from difgen_cli.store.results import publish_result

DECLARED = {
    "COLUMNS": {"score": ("float64", "", "how good")},
    "TABLES": {"parts": {"part": ("int64", "", "which")}},
}


def _publish(store: Store, key: str) -> Home:
    """One result with a table of two lines."""
    home = Home(store.root / "trajectories" / f"net-{'0' * 16}")
    context = {"metric": "taste", "key": key, "kind": "model", "home": "0" * 16, "step": 1, "cell": "c", "seconds": 0.1,
               "provenance": {}}  # fmt: skip
    publish_result(home, key, context, {"score": 1.0}, {"parts": {"part": np.arange(2)}}, DECLARED)
    return home


def _lines(store: Store) -> dict[str, Counter[str]]:
    """How many lines each table has of each result."""
    paths = {"taste": store.tables / "metrics" / "taste.parquet", "parts": store.tables / "parts.parquet"}
    return {name: Counter(pq.read_table(path)["key"].to_pylist()) for name, path in paths.items()}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("harm", [_cut, Path.unlink])
@pytest.mark.parametrize("table", ["parts.parquet", "metrics/taste.parquet"])
@pytest.mark.parametrize("more", [True, False], ids=["more results since", "none since"])
def test_a_table_cut_short_or_deleted_is_made_again_whole(
    tmp_path: Path, table: str, harm: Callable[[Path], None], more: bool
) -> None:
    store = Store(tmp_path)
    for key in ("first", "second"):
        _publish(store, key)
    tables.fold(store)
    harm(store.tables / table)
    keys = ["first", "second"]
    if more:
        _publish(store, "third")
        keys.append("third")
    tables.fold(store)
    assert _lines(store) == {"taste": Counter(keys), "parts": Counter(2 * keys)}


def test_a_result_whose_table_is_cut_short_is_set_aside_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    home = _publish(store, "first")
    _publish(store, "second")
    _cut(home.result_table("first", "parts"))
    tables.fold(store)
    assert home.results() == {"second"}
    assert not home.result_table("first", "parts").exists(), "or what is computed again finds its name taken"
    assert _lines(store) == {"taste": Counter(["second"]), "parts": Counter({"second": 2})}


def test_a_fold_that_was_killed_in_the_middle_is_done_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _publish(store, "first")
    tables.fold(store)
    before = (store.tables / "metrics" / "taste.parquet").read_bytes()
    _publish(store, "second")
    tables.fold(store)
    (store.tables / "metrics" / "taste.parquet").write_bytes(before)  # written last
    tables.fold(store)
    assert _lines(store) == {"taste": Counter(["first", "second"]), "parts": Counter({"first": 2, "second": 2})}
