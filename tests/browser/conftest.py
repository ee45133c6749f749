"""A real Chromium without a window, and pages opened in it from files, with everything they ask for and complain of."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open a report from its file and wait until it answers."""
    contexts = []

    def visit(path: Path, *, wide: int = 1280, scheme: str = "light", hash: str = "", **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": wide, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.page.on("console", lambda said: said.type == "error" and opened.errors.append(said.text))
        opened.page.goto(path.as_uri() + hash)
        opened.until("document.documentElement.dataset.ready")
        return opened

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def four(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[report.Study, Path]:
    """A study of four axes and three seeds with missing and failed cells, and its page."""
    study = synthetic.study(FOUR, seeds=3, missing=[0, 1], failed=[2])
    return study, report.write(study, tmp_path_factory.mktemp("four")).page
