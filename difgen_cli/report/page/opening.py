"""What was found, at the head of a page: the first sentences in sight, all others under a heading that opens."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from difgen_cli.report.findings import FIRST


def block(sentences: Sequence[str]) -> str:
    """Sentences, the most important first, as HTML; nothing where there are none."""
    if not sentences:
        return ""
    first, further = ("".join(f"<li>{escape(s)}</li>" for s in part) for part in (sentences[:FIRST], sentences[FIRST:]))
    more = f"<details><summary>More findings</summary><ul>{further}</ul></details>" if further else ""
    head = '<section class="findings" aria-labelledby="findings-title"><h2 id="findings-title">Findings</h2>'
    return f"{head}<ul>{first}</ul>{more}</section>"
