"""A page in the browser of the person at this machine, where there is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def show(page: Path) -> str:
    """Open a page; what is to be said where it could not be opened, else nothing. It raises nothing."""
    if not _has_screen():
        where = "this is a remote shell" if "SSH_CONNECTION" in os.environ else "there is no screen here"
        return f"--open: {where}: open {page} on a machine that has one"
    import webbrowser

    try:
        opened = webbrowser.open(page.resolve().as_uri())
    except (webbrowser.Error, OSError):
        opened = False
    return "" if opened else f"--open: no browser was found: open {page} yourself, or name one in BROWSER"


def _has_screen() -> bool:
    """Whether a browser can show itself; on a bare terminal Python would start one that takes it over."""
    named = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in named)
