"""One sweep on the lab: its folder, its command lines, what it left behind, and the faults that meet its workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from comparing import Content, assert_equal_content

from slurm.cluster import Lab, await_that

HERE = Path(__file__).parent
STEPS = 400  # of each trajectory of GRID
PACE_SECONDS = 0.02  # of sleep before each step: a trajectory takes ten seconds instead of one
GRID = f"""\
# Does a sweep on SLURM survive what clusters do?
base:
  data:      {{name: digits, held_out: 900}}
  condition: {{name: kmeans}}
  model:     {{name: paced}}
  train:     {{batch: 16}}
  sample:    {{name: euler, steps: 3, count: 32}}
  score:     [memorization]
axes:
  train.steps:        [100, {STEPS}]
  data.size:          [8, 16]
  condition.clusters: [1, 4]
"""
TRAJECTORIES = 4
QUICK = {
    "OMP_NUM_THREADS": "1", "DIFGEN_CHECKPOINT_SECONDS": "1", "DIFGEN_LEASE_SECONDS": "15", "NO_COLOR": "1",
    "COLUMNS": "120",
}  # fmt: skip
PROFILE = {"cpus": 1, "walltime_minutes": 10, "signal_seconds": 10}


@dataclass
class Study:
    """A grid in a folder of its own, swept on a lab; `environment` is that of its commands."""

    folder: Path
    lab: Lab | None
    environment: dict[str, str] = field(default_factory=dict)
    grid: str = "grid.yaml"
    begun: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @staticmethod
    def at(folder: Path, lab: Lab | None, grid: str = GRID, profile: Mapping[str, Any] | None = None,
           **environment: str) -> Study:  # fmt: skip
        """Write a grid, its plug-ins and a profile into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(HERE / "plugins", folder / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "grid.yaml").write_text(grid)
        study = Study(folder, lab, environment)
        study.profile(**(profile or {}))
        return study

    def profile(self, **more: Any) -> None:
        """Write the profile anew, with more settings than the usual ones."""
        lines = [f"{name} = {json.dumps(value)}" for name, value in (PROFILE | more).items()]
        (self.folder / "difgen.toml").write_text("\n".join(["[default]", *lines, ""]))

    def rename_grid(self, name: str) -> None:
        """Give the grid's file another name."""
        (self.folder / self.grid).rename(self.folder / name)
        self.grid = name

    # What a person types ---------------------------------------------------------------------------------------------

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def _environment(self) -> dict[str, str]:
        place = {"XDG_CONFIG_HOME": str(self.folder / ".config")}  # no profile of the one who runs the tests
        return {**os.environ, **QUICK, **place, **(self.lab.environment if self.lab else {}), **self.environment}

    def difgen(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """A command of difgen in the study's folder."""
        return subprocess.run(
            [sys.executable, "-m", "difgen_cli", *arguments], cwd=self.folder, env=self._environment(),
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def sweep(self, *more: str, workers: int = 4, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """`difgen sweep` on SLURM, to its end."""
        return self.difgen(*self._words(workers), *more, timeout=timeout)

    def begin(self, *more: str, workers: int = 4) -> subprocess.Popen[bytes]:
        """`difgen sweep` on SLURM, left to itself: `finish` waits for it."""
        with (self.folder / "said.txt").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "difgen_cli", *self._words(workers), *more], cwd=self.folder,
                env=self._environment(), stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
        self.begun.append(process)
        return process

    def _words(self, workers: int) -> list[str]:
        return ["sweep", self.grid, "--cluster", "slurm", "--workers", str(workers)]

    def finish(self, timeout: float = 240) -> None:
        """Wait for the sweep that was begun last; it must say that all is well."""
        try:
            code = self.begun[-1].wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the sweep goes on after {timeout:.0f} s: {self.story()}") from None
        assert code == 0, f"exit {code}: {self.story()}"

    def close(self) -> None:
        """End what was begun and is still there."""
        for process in self.begun:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    # What it left ----------------------------------------------------------------------------------------------------

    def attempts(self, unit: str = "*") -> list[dict[str, Any]]:
        """The last record of every attempt, by home, unit and number."""
        found = []
        for path in self.runs.glob(f"*/*/attempts/{unit}.json"):
            if path.name.split(".")[-2].isdigit() and not path.name.startswith("."):
                with suppress(OSError, json.JSONDecodeError):
                    found.append({"home": path.parent.parent.name, "file": path, **json.loads(path.read_text())})
        return sorted(found, key=lambda a: (a["home"], a["unit"], a["attempt"]))

    def ending_of(self, attempt: Mapping[str, Any]) -> dict[str, Any]:
        """What somebody else said of an attempt whose owner died without a word."""
        return _read(attempt["file"].with_suffix(".ending.json"))

    def endings(self, unit: str = "train.*") -> list[str | None]:
        """How attempts ended that are not done, in their own words or in those of who found them."""
        lost = [a for a in self.attempts(unit) if a["state"] != "done"]
        return [a.get("ending") or self.ending_of(a).get("ending") for a in lost]

    @staticmethod
    def task_of(attempt: Mapping[str, Any]) -> str:
        """The array task that owns an attempt, as SLURM's commands name it."""
        return f"{attempt['owner']['job']}_{attempt['owner']['task']}"

    def in_training(self, least_step: int = 30) -> list[dict[str, Any]]:
        """Attempts that train now and have saved something."""
        return [a for a in self.attempts("train.*") if a["state"] == "running" and STEPS > a["step"] >= least_step]

    def await_training(self, count: int = TRAJECTORIES, seconds: float = 90) -> list[dict[str, Any]]:
        """Wait until so many trajectories are in mid-training at once."""

        def under_way() -> bool:
            assert all(p.poll() in (None, 0) for p in self.begun), "the sweep has ended"
            return len(self.in_training()) >= count

        self._await(under_way, seconds, f"{count} trajectories in mid-training")
        return self.in_training()

    def _await(self, holds: Any, seconds: float, what: str) -> None:
        try:
            await_that(holds, seconds, what, every_seconds=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.story()}") from None

    def story(self) -> str:
        """What happened, for a person who reads a failed test: the sweep's words, attempts, queue and logs."""
        said = self.folder / "said.txt"
        lines = [said.read_text()[-2000:] if said.exists() else ""]
        for a in sorted(self.attempts(), key=lambda a: str(a.get("started"))):
            about = {k: a.get(k) for k in ("state", "step", "ending", "cause", "started", "ended", "submission")}
            owner = {k: a["owner"].get(k) for k in ("host", "pid", "job", "task", "restart")} if "owner" in a else {}
            lines.append(f"{a['home'][-8:]} {a['file'].name}: {about} {owner}")
        if self.lab:
            with suppress(AssertionError, subprocess.TimeoutExpired):
                lines.append(f"queue: {self.lab.queue()}")
        for log in sorted(self.runs.glob("grids/*/submissions/*/log/*"))[-8:]:
            if log.suffix in (".out", ".err") and (text := log.read_text(errors="replace").strip()):
                lines.append(f"{log.name}: {text[-600:]}")
        return "\n".join(lines)

    def submissions(self) -> list[dict[str, Any]]:
        """Every submission: its folder, its intent and its receipt, oldest first."""
        folders = sorted(self.runs.glob("grids/*/submissions/*"), key=lambda p: int(p.name))
        return [
            {"folder": f, "intent": _read(f / "submission.json"), "receipt": _read(f / "receipt.json")} for f in folders
        ]

    def processes(self) -> list[Process]:
        """Every living process that names the run directory, whichever node it is on."""
        return [p for p in map(_process, _pids()) if p is not None and str(self.runs) in p.command]

    def workers(self) -> list[Process]:
        """The processes of workers: what srun started, not the scripts around them."""
        return [p for p in self.processes() if "SLURM_PROCID" in p.environment and "srun" not in p.command]

    def worker_of(self, attempt: Mapping[str, Any]) -> Process:
        """The process that owns an attempt; in its node's namespace it has another number."""
        owner = attempt["owner"]
        return next(
            p for p in self.workers()
            if p.inner == owner["pid"] and p.environment["SLURMD_NODENAME"] == owner["host"]
        )  # fmt: skip

    def assert_whole(self, calm: Content | None, lost: int = 0) -> None:
        """Equal content; every attempt ended or taken over, at most `lost` beyond the first; nothing left behind."""
        if calm is not None:
            assert_equal_content(self.runs, calm, f"in {self.folder}: {self.story()}")
        self.assert_settled(lost)
        self.assert_nothing_left()

    def assert_settled(self, lost: int = 0) -> None:
        """Every unit ended with one attempt that is done, after at most `lost` others in all that ended otherwise."""
        by_unit: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for attempt in self.attempts():
            by_unit.setdefault((attempt["home"], attempt["unit"]), []).append(attempt)
        extra = len([a for a in self.attempts() if a["state"] == "done" and self.ending_of(a)])  # buried alive
        for unit, tries in by_unit.items():
            assert tries[-1]["state"] == "done", f"{unit}: {tries[-1]}"
            assert all(a["state"] != "done" for a in tries[:-1]), f"done twice: {unit}: {tries}"
            assert [a["attempt"] for a in tries] == list(range(1, len(tries) + 1)), unit
            extra += len(tries) - 1
        assert extra <= lost, f"{extra} attempts more than the {lost} that the faults explain: {self.story()}"

    def assert_goes_on(self) -> None:
        """Each attempt at a training began at the step that the one before it had saved."""
        for before, after in pairwise(self.attempts("train.*")):
            if before["home"] == after["home"]:
                assert after["from_step"] == before["step"] > 0, (before, after)

    def assert_nothing_left(self) -> None:
        """No job in the queue, no process anywhere, no half-written file but those of killed workers."""
        if self.lab:
            mine = {s["intent"].get("name", "difgen") for s in self.submissions() if s["intent"]}
            lab = self.lab
            self._await(lambda: not [j for j in lab.queue() if j["name"] in mine], 30, "no job of it is in the queue")
        self._await(lambda: not self.processes(), 30, "no process of it is left")


@dataclass(frozen=True)
class Process:
    """A process as this machine numbers it, and as its own namespace does (`inner`)."""

    pid: int
    inner: int
    command: str
    environment: dict[str, str]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _pids() -> list[int]:
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]


def _process(pid: int) -> Process | None:
    """What /proc says of a process; None where it has ended."""
    folder = Path("/proc") / str(pid)
    try:
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        status = dict(line.partition(":")[::2] for line in (folder / "status").read_text().splitlines())
        pairs = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    if not command or status["State"].strip()[:1] in "ZX":
        return None
    inner = int(status["NSpid"].split()[-1])
    return Process(pid, inner, command, dict(p.partition("=")[::2] for p in pairs if p))


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return found


def shim(folder: Path, program: str, script: str) -> str:
    """A program of this name that runs `script` (bash; $REAL is the true one); returns a PATH that finds it first."""
    real = shutil.which(program)
    folder.mkdir(exist_ok=True)
    path = folder / program
    path.write_text(f"#!/bin/bash\nREAL={real}\n{script}\n")
    path.chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])


@dataclass(frozen=True)
class Counting:
    """A search path on which squeue and sacct write a line for each call before they do what they are for."""

    folder: Path

    @property
    def path(self) -> str:
        note = 'echo "$(basename "$0") $PPID" >> "$(dirname "$0")/calls.txt"\nexec "$REAL" "$@"'
        shim(self.folder, "sacct", note)
        return shim(self.folder, "squeue", note)

    def calls(self) -> Counter[str]:
        """How often each was called, by whomever."""
        file = self.folder / "calls.txt"
        return Counter(line.split()[0] for line in file.read_text().splitlines()) if file.exists() else Counter()
