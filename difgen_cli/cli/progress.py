"""The live view: of a sweep that this process has started, and of one that it only watches.

A terminal shows bars and one line for each running unit; a pipe or a log gets a plain line from time to time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from difgen_cli.engine.progress import Poll, Progress, RunningUnit, Tracker
from difgen_cli.format import counted, duration, shortened

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from difgen_cli.engine.store import Store

TICK_SECONDS = 0.5
BUSY_SHARE = 20  # one part in so many of a core's time goes into looking: workers need the processor
LINE_SECONDS = 10.0  # between plain lines
ROOMY = 100  # columns from which a terminal has room for a bar in each line
WIDE = 130  # and for the share of the roofline
NARROW = 60  # below there is no room for speeds
NAME_LEAST, GAP = 14, 2  # columns of a name with its indent, and between two columns

Update = Callable[[Progress], None]


def watch(console: Console, store: Store, poll: Poll, until: Callable[[], bool] = lambda: False) -> None:
    """Show the units of submissions until all are settled or no submission is alive; KeyboardInterrupt passes through.

    `poll`: the submissions that are alive now. `until`: called after each update; the view ends where it returns True.
    """
    tracker, clock = Tracker(store, poll), Clock()
    show: AbstractContextManager[Update] = (
        _Live(console, clock) if console.is_terminal else nullcontext(_Lines(console, clock))
    )
    with show as update:
        while True:
            start = time.monotonic()
            now = tracker.look()
            if tracker.units:
                update(now)
            seconds = time.monotonic() - start
            if now.finished or not now.submissions or until():
                return
            time.sleep(max(TICK_SECONDS, BUSY_SHARE * seconds))


@dataclass
class Clock:
    """The pace of training since the view began: what was trained before is no work of this time."""

    start: float = field(default_factory=time.monotonic)
    images_at_start: float | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def rate(self, now: Progress) -> float:
        """Training images a second, of all workers together; 0 where no training is left."""
        if self.images_at_start is None:
            self.images_at_start = now.images_done
        if now.images_done >= now.images_all:
            return 0.0
        return max(0.0, now.images_done - self.images_at_start) / max(self.seconds, 1e-9)

    def left(self, now: Progress) -> str:
        """Time left for training at this pace; empty where nothing is left, or no pace is known yet."""
        rate = self.rate(now)
        return f"{duration((now.images_all - now.images_done) / rate)} left" if rate else ""


@dataclass
class _Lines:
    """Plain lines for logs and pipes: the first at once, and the last at the end."""

    console: Console
    clock: Clock
    printed: float = float("-inf")

    def __call__(self, now: Progress) -> None:
        ended = now.finished or not now.submissions
        if ended or time.monotonic() - self.printed >= LINE_SECONDS:
            self.console.print(f"[{duration(self.clock.seconds)}] {line(now, self.clock)}")
            self.printed = time.monotonic()


def line(now: Progress, clock: Clock) -> str:
    """The progress in one line."""
    parts = [f"{now.trained} of {now.trainings} trained", f"{now.scored} of {now.scorings} scored"]
    parts += [f"{now.failed} failed"] if now.failed else []
    rate = clock.rate(now)
    parts += [f"{rate:,.0f} images/s"] if rate else []
    if now.submissions and not now.finished:
        parts += [now.activities]
        parts += [f"{left} for training"] if (left := clock.left(now)) else []
        parts += [status.words for status in now.submissions]
    return ", ".join(parts)


class _Live(AbstractContextManager[Update]):
    """Bars in a terminal, which disappear at the end."""

    def __init__(self, console: Console, clock: Clock) -> None:
        from rich.live import Live

        self.console, self.clock = console, clock
        self.live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Update:
        self.live.__enter__()
        return lambda now: self.live.update(render(now, self.clock, self.console.width, self.console.height))

    def __exit__(self, *about: Any) -> None:
        self.live.__exit__(*about)


def render(now: Progress, clock: Clock, width: int, height: int) -> RenderableType:
    """The view for a terminal of so many columns and rows."""
    from rich.console import Group
    from rich.text import Text

    heads = [_head(status.submission.name, status.words, width) for status in now.submissions]
    idle = [f"  {words}" for words in now.idle]
    room = max(1, height - len(heads) - len(idle) - 4)
    units = sorted(now.running, key=lambda unit: (not unit.training, unit.name))
    hidden = [f"  and {counted(len(units) - room, 'more unit')}"] if len(units) > room else []
    notes = [Text(note, style="dim", no_wrap=True, overflow="ellipsis") for note in [*idle, *hidden]]
    return Group(*(Text(head) for head in heads), _totals(now, clock, width), *_units(units[:room], width), *notes)


def _head(name: str, words: str, width: int) -> str:
    return f"{shortened(name, max(12, width - len(words) - 2))}: {words}"[:width]


def _totals(now: Progress, clock: Clock, width: int) -> RenderableType:
    """One bar of all training and one of all scoring."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True)
    for _ in range(2):
        table.add_column(no_wrap=True, justify="right")
    rate = clock.rate(now)
    table.add_row(
        Text(f"trained {now.trained} of {now.trainings}", style="bold"),
        ProgressBar(max(now.images_all, 1), now.images_done if now.images_all else 1),
        f"{rate:,.0f} images/s" if rate and width >= NARROW else "",
        clock.left(now),
    )
    table.add_row(
        Text(f"scored {now.scored} of {now.scorings}", style="bold"),
        ProgressBar(max(now.scorings, 1), now.scored if now.scorings else 1),
        f"{now.failed} failed" if now.failed else "",
        "",
    )
    return table


def _units(units: list[RunningUnit], width: int) -> list[RenderableType]:
    """One line for each running unit: its name, what is done, and how far it is; bars where there is room."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    if not units:
        return []
    rates = [speed(unit, width) for unit in units]
    counts = [f"{unit.done}/{unit.target}" if unit.target else "" for unit in units]
    bar_width = width // 5 if width >= ROOMY else 0
    room = width - bar_width - max(map(len, rates)) - max(map(len, counts)) - 2 * GAP - GAP * bool(bar_width)
    activities = [unit.activity[: max(1, room - NAME_LEAST - GAP)] for unit in units]  # numbers are never cut
    room -= max(map(len, activities)) + GAP
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    if bar_width:
        table.add_column(width=bar_width)
    for _ in range(2):
        table.add_column(no_wrap=True, justify="right")
    for unit, activity, *numbers in zip(units, activities, rates, counts, strict=True):
        bar = [ProgressBar(unit.target, unit.done, complete_style="cyan") if unit.target else ""] if bar_width else []
        table.add_row(Text("  " + shortened(unit.name, max(NAME_LEAST, room) - 2)), activity, *bar, *numbers)
    return [table]


def speed(unit: RunningUnit, width: int) -> str:
    """Images a second and, where there is room, their share of the roofline."""
    if not unit.images_per_second or width < NARROW:
        return ""
    rate = f"{unit.images_per_second:,.0f}/s"
    return rate if unit.roofline is None or width < WIDE else f"{rate} {unit.roofline:.0%}"
