"""Tables folded from results: each line once, and none lost, whatever has become of the tables before."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from difgen_cli.engine.store import RunFolder, Store, tables
from difgen_cli.engine.store.results import publish_result

DECLARED = {
    "COLUMNS": {"score": ("float64", "", "how good")},
    "TABLES": {"parts": {"part": ("int64", "", "which")}},
}


def _publish(store: Store, key: str) -> RunFolder:
    """One result with a table of two lines."""
    folder = RunFolder(store.root / "trajectories" / f"net-{'0' * 16}")
    context = {"metric": "taste", "key": key, "kind": "model", "home": "0" * 16, "step": 1, "cell": "c", "seconds": 0.1,
               "provenance": {}}  # fmt: skip
    publish_result(folder, key, context, {"score": 1.0}, {"parts": {"part": np.arange(2)}}, DECLARED)
    return folder


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
    folder = _publish(store, "first")
    _publish(store, "second")
    _cut(folder.result_table("first", "parts"))
    tables.fold(store)
    assert folder.results() == {"second"}
    assert not folder.result_table("first", "parts").exists(), "or what is computed again finds its name taken"
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


@pytest.mark.parametrize("part", ["first.json", "first.parts.parquet"])
def test_a_result_that_cannot_be_read_now_stays_and_is_folded_later(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    folder = _publish(store, "first")
    _publish(store, "second")

    def forbid(act: Callable[..., Any]) -> Callable[..., Any]:
        def act_or_fail(path: Any, *arguments: Any, **settings: Any) -> Any:
            if str(path).endswith(part):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return act(path, *arguments, **settings)

        return act_or_fail

    monkeypatch.setattr(pq, "read_table", forbid(pq.read_table))
    monkeypatch.setattr(Path, "read_bytes", forbid(Path.read_bytes))
    tables.fold(store)
    assert "not readable" in capsys.readouterr().err
    assert _lines(store) == {"taste": Counter(["second"]), "parts": Counter({"second": 2})}
    monkeypatch.undo()
    assert folder.results() == {"first", "second"}
    assert not list(tmp_path.rglob("*.broken"))
    tables.fold(store)
    assert _lines(store) == {"taste": Counter(["first", "second"]), "parts": Counter({"first": 2, "second": 2})}


def test_a_flipped_bit_in_a_results_table_is_seen(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = _publish(store, "first").result_table("first", "parts")
    content = bytearray(path.read_bytes())
    content[40] ^= 0x10  # within its one page
    path.write_bytes(content)
    tables.fold(store)
    assert path.with_suffix(".broken").exists()
    assert not path.exists()


def test_lines_that_another_machine_has_overwritten_come_back(tmp_path: Path) -> None:
    """Two fold at the same time where the file system has no locks: one writes a table as it was before the other."""
    store = Store(tmp_path)
    _publish(store, "first")
    tables.fold(store)
    parts, taste = store.tables / "parts.parquet", store.tables / "metrics" / "taste.parquet"
    for late in (parts, taste, store.tables / "rows.parquet"):
        before = late.read_bytes()
        _publish(store, f"after {late.stem}")
        tables.fold(store)
        late.write_bytes(before)
        tables.fold(store)
        keys = [n.removesuffix(".json") for n in _names(store)]
        assert _lines(store) == {"taste": Counter(keys), "parts": Counter(2 * keys)}, late


def _names(store: Store) -> list[str]:
    return [p.name for p in store.root.glob("trajectories/*/results/*.json")]


def test_rows_that_another_machine_has_overwritten_come_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _publish(store, "first")
    before = tables.fold(store).schema.metadata[b"plans"]
    _publish(store, "second")
    assert tables.fold(store).schema.metadata[b"plans"] != before, "old rows would pass for those of all results"


def test_a_result_without_a_line_in_its_table_counts_as_folded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = RunFolder(store.root / "trajectories" / f"net-{'0' * 16}")
    context = {"metric": "taste", "key": "empty", "kind": "model", "home": "0" * 16, "step": 1, "cell": "c",
               "seconds": 0.1, "provenance": {}}  # fmt: skip
    publish_result(folder, "empty", context, {"score": 1.0}, {"parts": {"part": np.arange(0)}}, DECLARED)
    publish_result(folder, "none", context | {"key": "none"}, {"score": 1.0}, {}, DECLARED)
    tables.fold(store)
    files = [store.tables / "parts.parquet", store.tables / "metrics" / "taste.parquet"]
    before = [file.stat().st_mtime_ns for file in files]
    tables.fold(store)
    assert [file.stat().st_mtime_ns for file in files] == before, "made again for nothing"


@pytest.mark.parametrize("folded", [True, False], ids=["tables there", "none yet"])
def test_what_may_only_be_read_is_folded_elsewhere(
    tmp_path: Path, folded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    _publish(store, "first")
    if folded:
        tables.fold(store)
    _publish(store, "second")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    real = os.open

    def only_read(path: Any, flags: int, *arguments: Any, **settings: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and Path(path).is_relative_to(tmp_path):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real(path, flags, *arguments, **settings)

    def opened(path: Any, mode: str = "r", *arguments: Any, **settings: Any) -> Any:
        settings["opener"] = only_read
        return open(path, mode, *arguments, **settings)  # noqa: PTH123

    monkeypatch.setattr(Path, "open", lambda path, *a, **k: opened(path, *a, **k))
    make = Path.mkdir

    def only_made(path: Path, *arguments: Any, **settings: Any) -> None:
        if path.is_relative_to(tmp_path) and not path.exists():
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        make(path, *arguments, **settings)

    monkeypatch.setattr(Path, "mkdir", only_made)
    read = Store(tmp_path)
    tables.fold(read)
    assert _lines(read) == {"taste": Counter(["first", "second"]), "parts": Counter({"first": 2, "second": 2})}
    assert not read.tables.is_relative_to(tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
