"""What stands in the project's documents."""

from __future__ import annotations

import re


def blocks(text: str, language: str) -> list[str]:
    """The contents of a document's fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
