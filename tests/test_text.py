"""Text from outside: what can be printed stays, what cannot is escaped; paths are those that a shell would give."""

import os
from pathlib import Path

import pytest

from difgen_cli.text import expanded, printable


@pytest.mark.parametrize("text", ["a.png", "naïve café ü.png", "图像 1.png", "👩‍🚀.png", "<b>[red].png", "a\xa0b"])
def test_what_can_be_printed_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (os.fsdecode(b"caf\xe9.png"), "caf\\xe9.png"), ("a\x1b[31mb", "a\\x1b[31mb"), ("a\nb\tc\x00", "a\\nb\\tc\\x00"),
        ("\ud800", "\\ud800"), ("gnp\u202e.exe", "gnp\\u202e.exe"), ("a\u2028b", "a\\u2028b"), ("a\x85b", "a\\x85b"),
    ],
)  # fmt: skip
def test_what_cannot_be_printed_or_stored_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode("utf-8")


def test_a_path_is_expanded_as_a_shell_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("DISK", "/disk")
    monkeypatch.delenv("NOWHERE", raising=False)
    for said, meant in {
        "~/data": "/somewhere/data", "$HOME/data": "/somewhere/data", "${DISK}/a b": "/disk/a b", "a~b": "a~b",
        "$NOWHERE/a": "$NOWHERE/a", "~nobody-of-this-name/a": "~nobody-of-this-name/a", "data": "data",
    }.items():  # fmt: skip
        assert expanded(Path(said)) == Path(meant)
