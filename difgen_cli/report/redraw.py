"""A report that follows a sweep: it is drawn again when the rows have changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from difgen_cli import report
from difgen_cli.engine.plan.rounds import NOT_NEEDED
from difgen_cli.engine.store import Store, tables
from difgen_cli.format import counted
from difgen_cli.report import Study, overview
from difgen_cli.report.page.document import reloading

PAUSE_SECONDS = 2.0  # between two readings of the rows
SHARE = 4  # of a core's time, one part in so many goes into reading and drawing: workers need the processor


@dataclass
class Redraw(AbstractContextManager["Redraw"]):
    """Draws the pages of a run directory; at the end, also after Ctrl-C, browsers load them no more.

    studies: reads every study, each with the folder of its report. say: prints one line after each drawing.
    """

    store: Store
    studies: Callable[[], list[tuple[Study, Path]]]
    say: Callable[[str], None]
    complete: bool = False  # whether every planned cell was done at the last drawing
    _pages: list[Path] = field(default_factory=list)
    _rows: Any = None  # what the rows were made of at the last drawing
    _line: str = ""  # that was printed last
    _due: float = float("-inf")  # no reading before this time

    def __exit__(self, *_: object) -> None:
        for page in self._pages:
            if page.exists():
                report.publish(page, reloading(page.read_text(encoding="utf-8"), on=False))

    def if_changed(self) -> bool:
        """Draw if the rows have changed since the last drawing; returns whether every planned cell is done.

        Does nothing until the last call is three times as long ago as it took.
        """
        start = time.monotonic()
        if start >= self._due:
            rows = tables.fold(self.store).schema.metadata
            if rows != self._rows:
                self.draw()
                self._rows = rows
            end = time.monotonic()
            self._due = end + max(PAUSE_SECONDS, (SHARE - 1) * (end - start))
        return self.complete

    def draw(self) -> None:
        """Draw every page whose content has changed, and print how many cells are done, where that is news."""
        studies = self.studies()
        written = [(study, report.write(study, folder, reload=True)) for study, folder in studies]
        self._pages = list(dict.fromkeys([*self._pages, *(one.page for _, one in written)]))
        if len(written) > 1:
            overview.write(written, studies[0][1].parent)
        states = [state for study, _ in studies for state in study.rows["state"]]
        done = sum(state == "done" for state in states)
        self.complete = done + states.count(NOT_NEEDED) == len(states)
        line = f"{done:,} of {counted(len(states), 'cell')}: {', '.join(map(str, self._pages))}"
        if line != self._line:
            self.say(line)
        self._line = line
