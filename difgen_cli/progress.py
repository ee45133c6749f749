"""The live view of a sweep: one bar per running trajectory; off a terminal one plain line every so often.

It only looks: what it shows is read from the attempts that workers write.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from difgen_cli.engine.plan.work import Scoring, Training, Work, is_done
from difgen_cli.engine.store import Home, Store
from difgen_cli.format import duration as duration

if TYPE_CHECKING:
    from rich.console import Console

TICK_SECONDS = 0.5
LINE_SECONDS = 10.0
ROOMY = 130  # columns of a terminal that has room for more than the speed


@dataclass
class Progress:
    """What is known of a submission's units at one moment."""

    images_done: float = 0.0
    images_all: float = 0.0
    trained: int = 0
    scored: int = 0
    failed: int = 0  # units that ended so; not those that wait for one of them in vain
    running: dict[str, dict[str, Any]] = field(default_factory=dict)  # slug -> last record of its training
    scoring: int = 0

    @property
    def phase(self) -> str:
        """What is done before the first step of any training."""
        return ", ".join(dict.fromkeys(r["phase"] for r in self.running.values() if r.get("phase"))) or "starting"


@dataclass
class Watcher:
    """Looks at the units of a submission again and again; what is done is not looked at twice."""

    store: Store
    work: Work
    open: list[Training | Scoring] = field(default_factory=list)
    settled: Progress = field(default_factory=Progress)
    words: str = ""  # of the cluster

    def __post_init__(self) -> None:
        self.open = [*self.work.trainings, *self.work.scorings]

    def look(self) -> Progress:
        """The state of things now."""
        now = Progress(trained=self.settled.trained, scored=self.settled.scored, failed=self.settled.failed)
        now.images_all = sum(t.cost for t in self.work.trainings)
        now.images_done = self.settled.images_done
        homes: dict[str, dict[str, dict[str, Any]]] = {}
        for unit in list(self.open):
            home = self._home(unit)
            if unit.home not in homes:
                homes[unit.home] = home.last_attempts()
            record = homes[unit.home].get(unit.unit)
            if record is not None or isinstance(unit, Scoring):
                self._account(unit, home, record or {}, homes[unit.home], now)
        return now

    def _account(self, unit: Training | Scoring, home: Home, record: dict[str, Any],
                 siblings: dict[str, dict[str, Any]], now: Progress) -> None:  # fmt: skip
        state = record.get("state")
        training = isinstance(unit, Training)
        hopeless = not training and siblings.get("train", {}).get("state") == "failed" and not state
        if state == "done" and is_done(unit, home):  # an earlier attempt may have done another part
            self._settle(unit, now, "trained" if training else "scored")
        elif state == "failed":
            self._settle(unit, now, "failed")
        elif hopeless:
            self._settle(unit, now)
        elif state == "running" and isinstance(unit, Training):
            now.running[unit.slug] = record
            now.images_done += float(record.get("step", 0)) * unit.batch
        elif state == "running":
            now.scoring += 1

    def _settle(self, unit: Training | Scoring, now: Progress, how: str | None = None) -> None:
        self.open.remove(unit)
        for look in (self.settled, now):
            if how:
                setattr(look, how, getattr(look, how) + 1)
            if isinstance(unit, Training):
                look.images_done += unit.cost

    def _home(self, unit: Training | Scoring) -> Home:
        return self.store.home_now(unit.home, unit.slug, reference=isinstance(unit, Scoring) and unit.reference)


class Liveness(Protocol):
    """How a submission stands: whether anything of it lives, and what to say of it."""

    @property
    def alive(self) -> bool: ...
    @property
    def words(self) -> str: ...


def watch(store: Store, work: Work, console: Console, standing: Callable[[], Liveness | None]) -> None:
    """Show a submission until its work is settled, or its standing says that its workers have ended.

    KeyboardInterrupt passes through.
    """
    watcher = Watcher(store, work)
    show: AbstractContextManager[Callable[[Progress], None]]
    show = _live(console, watcher) if console.is_terminal else nullcontext(_Lines(console, watcher))
    with show as update:
        while watcher.open and (now := standing()) is not None and now.alive:
            start = time.monotonic()
            watcher.words = now.words
            update(watcher.look())
            # Looking at many trajectories must not cost the workers their processor.
            time.sleep(max(TICK_SECONDS, 20 * (time.monotonic() - start)) if watcher.open else 0)
        update(watcher.look())


@dataclass
class _Lines:
    """Plain lines for logs and pipes."""

    console: Console
    watcher: Watcher
    start: float = field(default_factory=time.monotonic)
    last: float = 0.0
    finished: bool = False

    def __call__(self, look: Progress) -> None:
        moment, finished = time.monotonic(), not self.watcher.open
        if not self.finished and (finished or moment - self.last >= LINE_SECONDS):
            self.console.print(self._text(look, moment - self.start))
            self.last, self.finished = moment, finished

    def _text(self, look: Progress, seconds: float) -> str:
        work = self.watcher.work
        parts = [
            f"{look.trained} of {len(work.trainings)} trained",
            f"{look.scored} of {len(work.scorings)} scored",
            *([f"{look.failed} failed"] if look.failed else []),
        ]
        if any(isinstance(unit, Training) for unit in self.watcher.open):
            pace = f"{look.images_done / max(seconds, 1e-9):,.0f} images/s" if look.images_done else look.phase
            parts += [pace, f"{remaining(look, seconds)} left for training"]
        parts += [self.watcher.words] if self.watcher.words else []
        return f"[{duration(seconds)}] " + ", ".join(parts)


class _live(AbstractContextManager[Callable[[Progress], None]]):  # noqa: N801
    """Bars in a terminal."""

    def __init__(self, console: Console, watcher: Watcher) -> None:
        from rich.live import Live

        self.console, self.watcher, self.start = console, watcher, time.monotonic()
        self.live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Callable[[Progress], None]:
        self.live.__enter__()
        return self.update

    def __exit__(self, *about: Any) -> None:
        self.live.__exit__(*about)

    def update(self, look: Progress) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        seconds, work = time.monotonic() - self.start, self.watcher.work
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(width=self.console.width // 5, no_wrap=True)
        for _ in range(2):  # numbers are never cut
            table.add_column(no_wrap=True, justify="right")
        table.add_row(
            Text(f"training {look.trained} of {len(work.trainings)}", style="bold"),
            ProgressBar(max(look.images_all, 1), look.images_done if look.images_all else 1),
            f"{look.images_done / max(seconds, 1e-9):,.0f}/s",
            remaining(look, seconds),
        )
        table.add_row(
            Text(f"scoring {look.scored} of {len(work.scorings)}", style="bold"),
            ProgressBar(max(len(work.scorings), 1), look.scored),
            f"{look.scoring} now" if look.scoring else "",
            f"{look.failed} failed" if look.failed else "",
        )
        for slug, record in sorted(look.running.items())[: max(1, self.console.height - 4)]:
            table.add_row(
                Text("  " + shortened(slug, self.console.width * 4 // 5 - 38)),
                ProgressBar(record.get("target") or 1, record.get("step", 0), complete_style="cyan"),
                _speed(record, self.console.width),
                f"{record.get('step', 0)}/{record.get('target', '?')}",
            )
        words = [Text(self.watcher.words, style="dim")] if self.watcher.words else []
        self.live.update(Group(table, *words))


def shortened(slug: str, width: int) -> str:
    """A name whose middle is left out where it is too long: its end, the seed, tells it from others."""
    if len(slug) <= width:
        return slug
    kept = max(2, width - 1)
    return f"{slug[: kept // 2]}…{slug[-(kept - kept // 2) :]}"


def _speed(record: dict[str, Any], width: int) -> str:
    """Images a second and, where there is room, their share of the roofline; what is done before the first step."""
    if record.get("phase"):
        return str(record["phase"])
    rate, share = f"{record.get('images_per_second', 0):,.0f}/s", record.get("roofline")
    return rate if share is None or width < ROOMY else f"{rate} {share:.0%}"


def remaining(look: Progress, seconds: float) -> str:
    """Time left for training at the pace so far."""
    if not look.images_done or not look.images_all:
        return "?" if look.images_all else "none"
    return duration(seconds * (look.images_all - look.images_done) / look.images_done)
