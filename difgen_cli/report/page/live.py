"""A page that loads itself anew while a sweep fills it: one line in its head, put in and taken out again."""

from __future__ import annotations

SECONDS = 10
# no script, so that it works under any policy of the page; a browser keeps its place, as on any reload of the same page
HOOK = f'<meta http-equiv="refresh" content="{SECONDS}">'
HEAD = "<head>"


def reloading(page: str) -> str:
    """The page with the line."""
    return page if HOOK in page else page.replace(HEAD, HEAD + HOOK, 1)


def still(page: str) -> str:
    """The page without it, letter by letter as it was."""
    return page.replace(HEAD + HOOK, HEAD, 1)
