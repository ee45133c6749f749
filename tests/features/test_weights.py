"""Files of weights: found in order, proved by their hash, and fetched whole or not at all."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from difgen_cli import features
from difgen_cli.features import WEIGHTS, WeightsError, fetch, find, verify

BODY = bytes(range(256)) * 20_000  # 5 MB: several chunks


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes]]]:
    """An address, and the bodies that it serves by path."""
    bodies: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bodies.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", bodies
        http.shutdown()
        thread.join()


@pytest.fixture
def small(server: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The table's entry with a small file of ours in place of the real one."""
    address, bodies = server
    weights = replace(
        WEIGHTS["inception"],
        files=("w.pth", "other-name.pth"),
        size_bytes=len(BODY),
        sha256=hashlib.sha256(BODY).hexdigest(),
        url=f"{address}/w",
    )
    monkeypatch.setattr(features, "WEIGHTS", {"inception": weights})
    bodies["/w"] = BODY
    return bodies


def test_fetching_leaves_the_whole_file_and_nothing_else(small: dict[str, bytes], tmp_path: Path) -> None:
    path = fetch("inception", tmp_path / "new" / "folder")
    assert path.read_bytes() == BODY
    assert verify(path).name == "inception"
    assert [file.name for file in path.parent.iterdir()] == ["w.pth"]
    small.clear()
    assert fetch("inception", path.parent) == path  # there already: no download


@pytest.mark.parametrize("body", [BODY[:-1], BODY[:-1] + b"x", BODY + b"x" * 3_000_000, b""])
def test_a_file_with_another_hash_is_never_kept(small: dict[str, bytes], tmp_path: Path, body: bytes) -> None:
    small["/w"] = body
    with pytest.raises(WeightsError, match="nothing was kept"):
        fetch("inception", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_says_so(small: dict[str, bytes], tmp_path: Path) -> None:
    small.clear()
    with pytest.raises(WeightsError, match=r"download failed \(.*404"):
        fetch("inception", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_found_under_any_of_its_names_in_the_order_of_the_folders(
    small: dict[str, bytes], tmp_path: Path
) -> None:
    for place in ("b/other-name.pth", "c/w.pth"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_bytes(BODY)
    folders = [tmp_path / name for name in "abc"]
    assert find("inception", folders) == tmp_path / "b/other-name.pth"
    with pytest.raises(WeightsError, match="difgen weights fetch inception"):
        find("inception", folders[:1])
    with pytest.raises(WeightsError, match="choose from inception"):
        find("incption", folders)


def test_size_and_hash_are_both_checked(small: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(BODY[:-1])
    with pytest.raises(WeightsError, match="bytes long"):
        verify(path)
    path.write_bytes(BODY[:-1] + b"x")
    with pytest.raises(WeightsError, match="SHA-256"):
        verify(path)
    with pytest.raises(WeightsError, match=r"unknown\.pth"):
        verify(tmp_path / "unknown.pth")


def test_the_table_names_the_file_by_the_start_of_its_hash() -> None:
    for weights in WEIGHTS.values():
        assert all(weights.sha256[:8] in file for file in weights.files)
        assert weights.url.startswith("https://")
        assert weights.url.endswith(weights.files[0])
