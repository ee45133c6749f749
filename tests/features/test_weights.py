"""Files of weights: found in order, proved by their hash, and fetched whole or not at all."""

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from difgen_cli import features
from difgen_cli.features import WEIGHTS, WeightsError, fetch, find, identity, proved, verify

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


def test_an_own_file_is_what_its_hash_says_and_is_taken_where_the_known_one_is_not(
    small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(features, "WEIGHTS", {"inception": replace(features.WEIGHTS["inception"], own=("own.pth",))})
    own, known = tmp_path / "own.pth", tmp_path / "w.pth"
    own.write_bytes(b"anything")
    sha256 = hashlib.sha256(b"anything").hexdigest()
    assert find("inception", [tmp_path]) == own
    assert not proved(own, "inception")
    assert identity(own, "inception") == sha256
    found = verify(own)
    assert (found.name, found.sha256, found.size_bytes) == ("inception", sha256, 8)
    own.write_bytes(b"something else")
    assert identity(own, "inception") != sha256
    known.write_bytes(b"the wrong bytes, which planning does not read")
    assert find("inception", [tmp_path]) == known
    assert identity(known, "inception") == hashlib.sha256(BODY).hexdigest()
    with pytest.raises(WeightsError, match="bytes long"):
        verify(known)


def test_the_table_is_whole() -> None:
    fetched = {name: weights for name, weights in WEIGHTS.items() if weights.files}
    assert set(fetched) == {"inception", "dinov2", "dinov2_small", "clip", "sscd"}
    for weights in fetched.values():
        assert re.fullmatch("[0-9a-f]{64}", weights.sha256)
        assert weights.size_bytes > 80_000_000
        assert weights.url.startswith("https://")
        assert weights.url.endswith(weights.files[0])
        assert weights.licence in ("Apache-2.0", "MIT")
    assert set(WEIGHTS) - set(fetched) == {"dino", "ibot", "mocov3"}
    for name in set(WEIGHTS) - set(fetched):
        assert not proved(Path(WEIGHTS[name].own[0]), name)
    names = [file for weights in WEIGHTS.values() for file in (*weights.files, *weights.own)]
    assert len(names) == len(set(names))


def test_names_and_addresses_that_bear_a_hash_bear_the_right_one() -> None:
    assert all(WEIGHTS["inception"].sha256[:8] in file for file in WEIGHTS["inception"].files)
    assert WEIGHTS["clip"].sha256 in WEIGHTS["clip"].url
