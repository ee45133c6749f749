"""Text from outside: names of files as they can be printed, and paths as a shell would have expanded them."""

import os
import re
import unicodedata
from pathlib import Path

TURNING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # these turn the text around


def printable(text: str) -> str:
    """The same text where it can be printed and stored; control characters and bytes that are no UTF-8 as \\x1b."""
    return text if text.isascii() and text.isprintable() else "".join(map(_escaped, text))


def hyphenated(text: str) -> str:
    """Its lower-case letters a to z and digits, with a hyphen for all between: what no path or page stumbles over."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def expanded(path: Path) -> Path:
    """A path with `~` and `$HOME` replaced; a variable that is not set stays as it is written."""
    try:
        return Path(os.path.expandvars(path)).expanduser()
    except RuntimeError:  # ~name of a user who is not known
        return path


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python keeps it in names of files
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in TURNING:
        return character.encode("unicode_escape", "backslashreplace").decode("ascii")
    return character
