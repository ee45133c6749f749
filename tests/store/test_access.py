"""What cannot be read now is tried again and never taken for damaged; what is damaged is made again."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from difgen_cli.engine.store import Store, StoreError, access, attempts, files
from difgen_cli.engine.store.access import DamagedError, NotWritableError, parsed, remade, tried
from difgen_cli.engine.store.attempts import Claimant, claim, history
from difgen_cli.engine.store.files import publish_json, read_json, replace_json, temporary_name


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "PAUSES_SECONDS", (0.0, 0.0, 0.0))


def _failing(number: int, times: int, act: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but the first calls fail."""
    left = [times]

    def fails(*arguments: Any, **settings: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(number, os.strerror(number), str(arguments[0]) if arguments else None)
        return act(*arguments, **settings)

    return fails


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EINTR, errno.EAGAIN, errno.ETIMEDOUT])
def test_a_passing_error_is_tried_again_and_a_lasting_one_is_a_sentence(tmp_path: Path, number: int) -> None:
    assert tried(tmp_path, _failing(number, 3, lambda: 7)) == 7
    with pytest.raises(StoreError, match=rf"{tmp_path}: .*run the same command again"):
        tried(tmp_path, _failing(number, 4, lambda: 7))


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP])
def test_every_other_error_of_the_system_is_one_sentence(tmp_path: Path, number: int) -> None:
    with pytest.raises(StoreError, match=str(tmp_path)):
        tried(tmp_path, _failing(number, 1, lambda: 7))


def test_an_error_that_a_library_hides_behind_its_own_is_the_systems(tmp_path: Path) -> None:
    """As torch's writer does: it raises a RuntimeError of its own while it handles that of the file."""
    errors = iter([errno.EIO, errno.EACCES])

    def act() -> None:
        try:
            raise OSError(next(errors), "of the file")
        finally:
            raise RuntimeError("unexpected pos 64 vs 0")

    with pytest.raises(NotWritableError, match="not writable"):
        tried(tmp_path / "file", act, reading=False)
    assert next(errors, None) is None, "the passing one was tried again"


def test_an_error_that_was_handled_before_is_not_that_of_an_access(tmp_path: Path) -> None:
    def act() -> None:
        raise ValueError("of its own")

    try:
        raise PermissionError(errno.EACCES, "of another")
    except PermissionError:
        with pytest.raises(ValueError, match="of its own"):
            tried(tmp_path / "file", act)


def test_what_is_missing_is_no_failure(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json") is None
    assert access.names(tmp_path / "none") == []
    assert not access.exists(tmp_path / "none")
    assert remade(tmp_path / "none.npz", np.load) is None


ARRAYS = {"x": np.arange(10_000.0)}


def _shared(store: Store) -> dict[str, tuple[Path, Callable[[], Any]]]:
    """Every kind of file in `shared/`, and how it is read, or made again where a worker can."""
    images = np.arange(400, dtype=np.uint8).reshape(100, 2, 2, 1)
    facts = {
        "content": "c" * 64,
        "shape": [2, 2, 1],
        "images": 100,
        "labelled": True,
        "population": True,
        "classes": [],
    }
    store.save_pool("c" * 64, images, np.arange(100), facts, ARRAYS)
    store.save_given("g" * 64, np.arange(100))
    store.once("k", "statistics", lambda: ARRAYS)
    pool = store.shared("c" * 16)
    return {
        "statistics.npz": (store.shared("k") / "statistics.npz", lambda: store.once("k", "statistics", lambda: ARRAYS)),
        "images.npy": (pool / "images.npy", lambda: store.pool("c" * 16)),
        "labels.npy": (pool / "labels.npy", lambda: store.pool("c" * 16)),
        "population.npz": (pool / "population.npz", lambda: store.population("c" * 16)),
        "pool.json": (pool / "pool.json", lambda: store.pool("c" * 16)),
        "given.npy": (store.shared("g" * 16) / "given.npy", lambda: store.given("g" * 16)),
    }


SHARED = ["statistics.npz", "images.npy", "labels.npy", "population.npz", "pool.json", "given.npy"]


@pytest.mark.parametrize("cut", [0, 4, 0.5, -1])
@pytest.mark.parametrize("name", SHARED)
def test_a_shared_file_that_is_cut_short_is_made_again(tmp_path: Path, name: str, cut: float) -> None:
    store = Store(tmp_path)
    path, read = _shared(store)[name]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut) if cut == 0.5 else int(cut)])
    if name == "pool.json" and cut == -1:
        pytest.skip("the line break alone is lacking: it is whole")
    if name == "statistics.npz":
        np.testing.assert_array_equal(read()["x"], ARRAYS["x"])
    else:
        with pytest.raises(StoreError, match="run `difgen sweep` with its grid again"):
            read()
        assert name == "given.npy" or not store.has_pool("c" * 64), "the next sweep would not write it"
        _, read = _shared(store)[name]  # as the next sweep does
        read()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("name", ["statistics.npz", "population.npz"])
@pytest.mark.parametrize("place", [30, 100, 500, 40_000])
def test_a_flipped_bit_in_an_archive_is_seen(tmp_path: Path, name: str, place: int) -> None:
    store = Store(tmp_path)
    path, read = _shared(store)[name]
    content = bytearray(path.read_bytes())
    content[place] ^= 0x55
    path.write_bytes(content)
    if name == "statistics.npz":
        np.testing.assert_array_equal(read()["x"], ARRAYS["x"])
    else:
        with pytest.raises(StoreError):
            read()
    assert path.with_suffix(".broken").exists()


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EACCES])
def test_a_shared_file_that_cannot_be_read_stays(
    tmp_path: Path, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    path, read = _shared(store)[name]
    for owner, how in ((np, "load"), (Path, "read_bytes")):
        monkeypatch.setattr(owner, how, _failing(number, 99, getattr(owner, how)))
    with pytest.raises(StoreError, match=r"not readable|run the same command again"):
        read()
    monkeypatch.undo()
    assert path.exists()
    assert not list(tmp_path.rglob("*.broken"))
    assert store.has_pool("c" * 64)


def test_want_of_memory_says_nothing_of_a_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "t.parquet")
    for error in (MemoryError("no"), pa.ArrowMemoryError("no"), RuntimeError("CUDA error: unspecified launch failure")):

        def fails(path: Path, error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error)):
            remade(tmp_path / "t.parquet", fails)
    assert (tmp_path / "t.parquet").exists()


def test_of_two_readers_of_a_damaged_file_the_later_leaves_what_was_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK")

    def slow(p: Path) -> None:
        p.unlink()
        np.savez(p, **ARRAYS)  # another has set it aside and made it again
        raise EOFError

    assert remade(path, slow) is None
    assert parsed(path, lambda p: np.load(p)["x"].size) == 10_000


def test_a_heartbeat_survives_whatever_happens_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = claim(tmp_path, "train", Claimant(lease_seconds=0.08))
    assert attempt is not None
    errors = iter([OSError(errno.ESTALE, "stale"), PermissionError(13, "no"), RuntimeError("what"), MemoryError()])
    real = attempts.read_json

    def fails(path: Path) -> Any:
        if threading.current_thread() is not threading.main_thread() and (error := next(errors, None)):
            raise error
        return real(path)

    monkeypatch.setattr(attempts, "read_json", fails)
    with attempt.beating():
        until = time.monotonic() + 10
        while real(attempt.path)["counter"] < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert next(errors, None) is None, "not all of them came"
    assert real(attempt.path)["counter"] >= 3


def test_a_link_whose_reply_is_lost_is_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, lost = os.link, [True]

    def link(source: Any, to: Any) -> None:
        real(source, to)
        if lost.pop() if lost else False:
            raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", link)
    attempt = claim(tmp_path, "train", Claimant())
    assert attempt is not None, "the unit would belong to a process that does not know"
    assert [record["token"] for _, record in history(tmp_path, "train")] == [attempt.record["token"]]
    assert not publish_json(attempt.path, {}), "and that of another is not"


def test_a_rename_whose_reply_is_lost_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace

    def rename(source: Path, to: Path) -> Path:
        real(source, to)
        raise OSError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(Path, "replace", rename)
    replace_json(tmp_path / "a.json", {"a": 1})
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


@pytest.mark.parametrize("number", sorted(files.WITHOUT_LINKS))
def test_a_file_system_without_links_will_do(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", _failing(number, 99, os.link))
    assert publish_json(tmp_path / "a.json", 1)
    assert not publish_json(tmp_path / "a.json", 2)
    assert read_json(tmp_path / "a.json") == 1


def test_processes_of_one_number_on_two_machines_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)
    assert len({temporary_name(tmp_path / "code") for _ in range(20)}) == 20


def test_where_nothing_may_be_written_is_told_from_every_other_trouble(tmp_path: Path) -> None:
    with pytest.raises(NotWritableError):
        tried(tmp_path, _failing(errno.EROFS, 1, lambda: 7), reading=False)
    with pytest.raises(StoreError, match="not readable"):
        tried(tmp_path, _failing(errno.EACCES, 1, lambda: 7))
    with pytest.raises(DamagedError):
        parsed(tmp_path / "x", lambda _: files.loads("{") or pq.read_table(pa.BufferReader(b"PAR1")))
