"""Files that a page carries: links whose address is the content, so that a page sent alone lacks nothing."""

from __future__ import annotations

import base64
import gzip
from html import escape
from urllib.parse import quote

import pandas as pd

from difgen_cli.report import spreadsheet

PLAIN_CHARACTERS = 200_000  # of an address, from which it is compressed: a page should stay light
MOST_CHARACTERS = 1_500_000  # of one: browsers open none of more than 2 MB
PLAIN = ",;:!*()=+-._~/'$@?[]{}|^ "  # what needs no escape in the address of a text


def text(words: str, name: str, content: str, kind: str) -> str:
    """A link `words` that saves a text as the file `name`, compressed where it is long; else where to find it."""
    address = f"data:{kind};charset=utf-8,{quote(content, safe=PLAIN)}"
    if len(address) <= PLAIN_CHARACTERS:
        return _link(words, name, address)
    packed = binary(f"{words} (gzip)", f"{name}.gz", gzip.compress(content.encode(), mtime=0), "application/gzip")
    if len(packed) <= MOST_CHARACTERS:
        return packed
    return f"<span>{escape(name)} is too large for this page: the folder of the report has it.</span>"


def binary(words: str, name: str, content: bytes, kind: str) -> str:
    """The same of bytes."""
    return _link(words, name, f"data:{kind};base64,{base64.b64encode(content).decode()}")


def csv(frame: pd.DataFrame, name: str, words: str = "CSV") -> str:
    """A link that saves a table, without formulas."""
    return text(words, name, spreadsheet.text(frame), "text/csv")


def _link(words: str, name: str, address: str) -> str:
    return f'<a download="{escape(name)}" href="{escape(address)}">{escape(words)}</a>'
