"""A real Chromium without a window, and pages opened in it from files, with everything they ask for and complain of."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))

import synthetic

from difgen_cli import report

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FOUR = {
    "train.steps": [250, 1000, 4000],
    "data.size": [32, 128, 512],
    "model.width": [64, 256],
    "condition.clusters": [1, 10],
}


@dataclass(frozen=True)
class Opened:
    """A page that is alive, the addresses that it asked for, and what went wrong in it."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @cached_property
    def listeners(self) -> dict[str, Callable[[Any], None]]:
        """What hears what the page asks for and complains of."""
        return {
            "request": lambda request: self.requests.append(request.url),
            "pageerror": lambda error: self.errors.append(str(error)),
            "console": lambda line: self.errors.append(line.text) if line.type == "error" else None,
        }

    def until(self, condition: str, seconds: float = 30) -> None:
        """Wait until an expression holds. Asked from outside: the page's policy forbids what Playwright would plant."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"not within {seconds:.0f} s: {condition}"
            time.sleep(0.02)

    def choose(self, control: str, value: str) -> None:
        """Choose in a control of the curves, and wait until they are drawn anew."""
        before = self.page.evaluate("document.documentElement.dataset.drawn")
        self.page.select_option(f'[id="choose-{control}"]', value)  # a dot in an id is no class
        self.until(f"document.documentElement.dataset.drawn !== '{before}'")

    def state(self) -> dict[str, Any]:
        """What is chosen, as every part of the page reads it."""
        found: dict[str, Any] = self.page.evaluate("State.get()")
        return found


def _chromium() -> str | None:
    named = os.environ.get("DIFGEN_CHROMIUM")
    return named or next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium with a profile of its own, which is thrown away."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install '.[dev]'")
    program = _chromium()
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium, or its path in DIFGEN_CHROMIUM")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=program, headless=True, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="session")
def tab(browser: Any) -> Iterator[Any]:
    """A tab in which one page is opened after another: in a new one each takes a second of processor more."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def visit(browser: Any, tab: Any) -> Iterator[Callable[..., Opened]]:
    """Open a report from its file and wait until it answers; a test's second, and one with options, in a new tab.

    afresh: in a new tab, as when times are taken.
    """
    opened_pages: list[Opened] = []

    def visit(path: Path, *, wide: int = 1280, scheme: str = "light", hash: str = "", afresh: bool = False,
              **options: Any) -> Opened:  # fmt: skip
        viewport = {"width": wide, "height": 900}
        if afresh or opened_pages or options:
            opened = Opened(browser.new_context(viewport=viewport, color_scheme=scheme, **options).new_page())
        else:
            opened = Opened(tab)
            tab.set_viewport_size(viewport)
            tab.emulate_media(color_scheme=scheme)
        opened_pages.append(opened)
        for event, heard in opened.listeners.items():
            opened.page.on(event, heard)
        opened.page.goto(path.as_uri() + hash)
        opened.until("document.documentElement.dataset.ready")
        return opened

    yield visit
    for opened in opened_pages:
        if opened.page is not tab:
            opened.page.context.close()
            continue
        for event, heard in opened.listeners.items():
            tab.remove_listener(event, heard)
        tab.evaluate("localStorage.clear()")
        tab.goto("about:blank")
        tab.mouse.move(0, 0)


@pytest.fixture(scope="session")
def four(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[report.Study, Path]:
    """A study of four axes and three seeds with missing and failed cells, and its page."""
    study = synthetic.study(FOUR, seeds=3, missing=[0, 1], failed=[2])
    return study, report.write(study, tmp_path_factory.mktemp("four")).page
