"""Files that a page carries: links whose address is the content, so that a page sent alone lacks nothing."""

from __future__ import annotations

import base64
import gzip
from html import escape
from urllib.parse import quote

import pandas as pd

from difgen_cli.report import spreadsheet

MOST_CHARACTERS = 1_500_000  # of an address: browsers open none of more than 2 MB
PLAIN = ",;:!*()=+-._~/'$@?[]{}|^ "  # what needs no escape in the address of a text


def text(words: str, name: str, content: str, kind: str) -> str:
    """A link `words` that saves a text as the file `name`; compressed where an address would be too long for it."""
    address = f"data:{kind};charset=utf-8,{quote(content, safe=PLAIN)}"
    if len(address) > MOST_CHARACTERS:
        return binary(f"{words} (gzip)", f"{name}.gz", gzip.compress(content.encode(), mtime=0), "application/gzip")
    return _link(words, name, address)


def binary(words: str, name: str, content: bytes, kind: str) -> str:
    """The same of bytes."""
    return _link(words, name, f"data:{kind};base64,{base64.b64encode(content).decode()}")


def csv(frame: pd.DataFrame, name: str, words: str = "CSV") -> str:
    """A link that saves a table, without formulas."""
    return text(words, name, spreadsheet.text(frame), "text/csv")


def _link(words: str, name: str, address: str) -> str:
    return f'<a download="{escape(name)}" href="{escape(address)}">{escape(words)}</a>'
