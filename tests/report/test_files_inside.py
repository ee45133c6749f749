"""A file inside a page is as it was, plain or compressed; one that is too large is named instead."""

from __future__ import annotations

import base64
import gzip
import html
import random
from urllib.parse import unquote

import pytest

from difgen_cli.report.page import files


def content(length: int, letters: str) -> str:
    return "".join(random.Random(0).choices(letters, k=length))


@pytest.mark.parametrize("text", ["", 'a,"b"\n<b>&amp;%25 +é #1\n', content(1000, "<>&\"'%# é\n,")])
def test_a_short_text_is_an_address_that_gives_it_back(text: str) -> None:
    link = files.text("CSV", 'a"b.csv', text, "text/csv")
    address = html.unescape(link.split('href="')[1].split('"')[0])
    assert unquote(address.partition(",")[2]) == text
    assert link.startswith('<a download="a&quot;b.csv" ')
    assert "#" not in address


def test_a_long_text_is_compressed_and_gives_itself_back() -> None:
    text = content(400_000, "01,\n")
    link = files.text("CSV", "long.csv", text, "text/csv")
    assert 'download="long.csv.gz"' in link
    assert len(link) < len(text) / 2
    assert gzip.decompress(base64.b64decode(link.split("base64,")[1].split('"')[0])).decode() == text


def test_what_is_too_large_is_named() -> None:
    link = files.text("CSV", "huge.csv", content(2_500_000, "0123456789abcdef"), "text/csv")
    assert link == "<span>huge.csv is too large for this page: the folder of the report has it.</span>"
