"""A report that follows a sweep: written again whenever rows have arrived, until there is nothing left to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from difgen_cli import report
from difgen_cli.format import counted
from difgen_cli.report import Study
from difgen_cli.report.page import live

PAUSE_SECONDS = 2.0  # between two looks
SHARE = 4  # of a core's time, one part in so many goes into drawing


@dataclass
class Watch:
    """pulse: cheap, and changes when results arrive. studies: the costly look, each with its folder. alive: whether
    anybody is still at it.
    """

    pulse: Callable[[], object]
    studies: Callable[[], list[tuple[Study, Path]]]
    alive: Callable[[], bool]
    pages: list[Path] = field(default_factory=list)

    def run(self, say: Callable[[str], None]) -> bool:
        """Write until every planned cell is done or nobody is left; returns whether all are done.

        However it ends, by Ctrl-C too, the pages are whole, and load themselves no more.
        """
        with self._stilled():
            for done, planned in self._looks(say):
                if done == planned:
                    return True
        return False

    def _looks(self, say: Callable[[str], None]) -> Iterator[tuple[int, int]]:
        """How many cells are done of how many, after each writing; ends with a last look when nobody is left."""
        seen: object = None
        while True:
            alive, pulse = self.alive(), self.pulse()  # in this order: what the last one left is seen
            start = time.monotonic()
            if pulse != seen:
                seen = pulse
                done, planned = self._write()
                say(f"{done:,} of {counted(planned, 'cell')}: {', '.join(map(str, self.pages))}")
                yield done, planned
            if not alive:
                return
            time.sleep(max(PAUSE_SECONDS, (SHARE - 1) * (time.monotonic() - start)))

    def _write(self) -> tuple[int, int]:
        studies = self.studies()
        for study, folder in studies:
            page = folder / "report.html"
            self.pages = list(dict.fromkeys([*self.pages, page]))
            report.write(study, folder, live=True)
        states = [state for study, _ in studies for state in study.rows["state"]]
        return sum(state == "done" for state in states), len(states)

    @contextmanager
    def _stilled(self) -> Iterator[None]:
        try:
            yield
        finally:
            for page in self.pages:
                if page.exists():
                    report.publish(page, live.still(page.read_text(encoding="utf-8")))
