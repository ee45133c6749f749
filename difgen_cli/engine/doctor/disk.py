"""The run directory's file system, tried out: whether files appear whole and once, how fast, and by which clock."""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path
from statistics import median

from difgen_cli.engine.doctor import Fact
from difgen_cli.engine.store.files import explain

ROUNDS = 20
SLOW_SECONDS = 0.25  # for one file: a claim takes one, a checkpoint one, a heartbeat one
LITTLE_BYTES = 1 << 30
FEW_FILES = 10_000
APART_SECONDS = 5.0
LOCAL = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"})


def facts(runs: Path, cluster: bool) -> list[Fact]:
    """What is known of a run directory's disk; where it is not there yet, of the nearest folder above it.

    `cluster`: whether machines other than this one will write to it.
    """
    folder = next(p for p in (runs.absolute(), *runs.absolute().parents) if p.is_dir())
    disk_facts = [_kind(folder, cluster), *_room(folder)]
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor.", dir=folder) as name:
            return [*disk_facts, *_tried(Path(name))]
    except OSError as error:
        return [*disk_facts, Fact("writing", str(explain(error, folder)), "bad", "give a folder that you may write to")]


def _kind(folder: Path, cluster: bool) -> Fact:
    kind = file_system(folder)
    if cluster and kind in LOCAL:
        advice = "on a cluster the run directory must be seen by every node: give one with --runs"
        return Fact("file system", f"{kind}, which is this machine's own", "note", advice)
    return Fact("file system", kind)


def file_system(path: Path) -> str:
    """The type of the file system that holds a path, as the kernel names it."""
    real, best = str(path.resolve()), ("", "unknown")
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    for line in lines:
        first, _, last = line.partition(" - ")
        place = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), first.split()[4])  # \040 is a space
        inside = real == place or real.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best[0]):  # of two at one place the later covers the earlier
            best = (place, last.split()[0])
    return best[1]


def _room(folder: Path) -> list[Fact]:
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    low = free_bytes < LITTLE_BYTES
    facts = [Fact("free space", f"{free_bytes / (1 << 30):,.1f} GiB", "note" if low else "ok",
                  "`difgen gc` removes what no row needs" if low else "")]  # fmt: skip
    if disk.f_files and disk.f_favail < FEW_FILES:
        facts.append(Fact("free files", f"{disk.f_favail:,}", "note", "a sweep writes about ten files for each cell"))
    return facts


def _tried(folder: Path) -> list[Fact]:
    took = sorted(_round(folder, k) for k in range(ROUNDS))
    slow = median(took) > SLOW_SECONDS
    return [
        Fact("one file", f"{median(took) * 1000:.1f} ms (median of {ROUNDS}; slowest {took[-1] * 1000:.1f} ms)",
             "note" if slow else "ok", "small cells wait for this disk: fewer workers, larger cells" if slow else ""),
        _once(folder),
        _links(folder),
        _clock(folder),
    ]  # fmt: skip


def _round(folder: Path, number: int) -> float:
    """Seconds that a file takes as results are written: created, flushed, linked to its name, and renamed."""
    start = time.monotonic()
    temporary, name = folder / f"{number}.tmp", folder / f"{number}.json"
    with temporary.open("wb") as file:
        file.write(b"{}\n" * 100)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, name)
    except OSError:
        name.touch()
    temporary.replace(name)
    return time.monotonic() - start


def _once(folder: Path) -> Fact:
    """Whether a name can be taken once only."""
    (folder / "taken").open("xb").close()
    try:
        (folder / "taken").open("xb").close()
    except FileExistsError:
        return Fact("exclusive creation", "works")
    return Fact("exclusive creation", "does not work: two workers may take one unit", "bad", "use another disk")


def _links(folder: Path) -> Fact:
    (folder / "file").touch()
    (folder / "other").touch()
    try:
        os.link(folder / "file", folder / "link")
        os.link(folder / "other", folder / "link")
    except FileExistsError:
        return Fact("hard links", "work")
    except OSError as error:
        advice = "two workers may sometimes train the same unit; its results stay correct"
        return Fact("hard links", f"do not work ({error.strerror})", "note", advice)
    return Fact("hard links", "replace a name that is taken: two workers may take one unit", "bad", "use another disk")


def _clock(folder: Path) -> Fact:
    """The disk's clock, which stamps files, compared with this machine's."""
    before = time.time()
    (folder / "stamped").write_bytes(b"now")
    stamped, after = (folder / "stamped").stat().st_mtime, time.time()
    apart = stamped - after if stamped > after else min(0.0, stamped - before)
    if abs(apart) < APART_SECONDS:
        return Fact("clock", "the disk's and this machine's agree")
    ahead = "ahead of" if apart > 0 else "behind"
    return Fact("clock", f"the disk's is {abs(apart):,.0f} s {ahead} this machine's", "note",
                "claims do not depend on it; times that people read do")  # fmt: skip
