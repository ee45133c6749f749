"""A real SLURM cluster of virtual nodes on this machine: started, broken on purpose, mended and wiped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

LAB = Path(__file__).parent / "lab"
NO_PACKAGES = 3  # start.sh's exit code
FULL_NODES = "--partition=main --exclusive --time=5"


class LabError(Exception):
    """No cluster can be started here; one sentence says why."""


@dataclass(frozen=True)
class Lab:
    """One cluster: its nodes are node1, node2, ...; partition `main` preempts partition `scavenge`."""

    state: Path
    nodes: int
    settings: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def start(nodes: int = 2, **settings: str) -> Lab:
        """A fresh cluster in a folder of its own, with lab/lib.sh's settings; raises LabError where it cannot be."""
        if why := _lacking():
            raise LabError(why)
        state = Path(tempfile.mkdtemp(prefix="lab"))
        ports = {"LAB_BASE_PORT": str(_free_ports(nodes))}
        lab = Lab(state, nodes, {"LAB_STATE": str(state), "LAB_NODES": str(nodes), **ports, **settings})
        try:
            lab.up()
        except (LabError, RuntimeError):
            lab.wipe()
            raise
        return lab

    def up(self) -> None:
        """Start whatever of the cluster is down; nodes that a fault left down or drained come back."""
        done = self._script("start.sh")
        if done.returncode == NO_PACKAGES:
            raise LabError(f"the SLURM lab needs packages that cannot be installed: {done.stderr.strip()[-200:]}")
        if done.returncode != 0:  # a machine that has all it needs must not skip its tests
            raise RuntimeError(f"the SLURM lab did not start: {done.stdout[-500:]} {done.stderr[-500:]}")

    def wipe(self) -> None:
        """End every daemon and task of the cluster and delete its folder."""
        self._script("stop.sh", "--wipe")
        shutil.rmtree(self.state, ignore_errors=True)

    def stop(self, daemon: str) -> None:
        """End one daemon by SIGTERM: slurmctld or slurmdbd. `up` starts it again."""
        self._script("stop.sh", "--only", daemon)

    def node(self, action: str, name: str) -> None:
        """What befalls a node: kill (the machine dies), lose (slurmd dies, its tasks live) or start."""
        assert self._script("node.sh", action, name).returncode == 0, f"node.sh {action} {name}"

    def _script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # In a session of its own and with its output in files: daemons inherit what they are started with.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                [str(LAB / name), *arguments], env={**os.environ, **self.settings}, cwd="/", stdin=subprocess.DEVNULL,
                stdout=out, stderr=err, timeout=300, check=False, start_new_session=True,
            )  # fmt: skip
            err.seek(0)
            out.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())

    @property
    def environment(self) -> dict[str, str]:
        """What makes SLURM's commands speak to this cluster."""
        return {"SLURM_CONF": str(self.state / "etc" / "slurm.conf")}

    def run(self, *command: str) -> str:
        """A SLURM command's output; AssertionError with its words where it fails."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def queue(self, *more: str) -> list[dict[str, str]]:
        """Every job or array task that squeue lists, one by one: its id, array id, state, node and name."""
        out = self.run("squeue", "--noheader", "--array", "--format", "%A|%i|%T|%N|%j", *more)
        return [
            dict(zip(("job", "id", "state", "node", "name"), line.split("|", 4), strict=True))
            for line in out.splitlines()
        ]

    def running(self) -> list[dict[str, str]]:
        """The running tasks of difgen."""
        return [j for j in self.queue("--states", "RUNNING") if j["name"].startswith("difgen")]

    def state_of(self, job: str) -> str:
        """A job's state as squeue has it; empty where it is not in the queue."""
        return next((j["state"] for j in self.queue() if j["job"] == job), "")

    @contextmanager
    def crowded(self) -> Iterator[str]:
        """A job of partition `main` that asks for all nodes; yields its id, and ends it."""
        out = self.run("sbatch", "--parsable", "--output=/dev/null", f"--nodes={self.nodes}", *FULL_NODES.split(),
                       "--job-name=crowd", "--wrap=sleep 200")  # fmt: skip
        try:
            yield out.strip()
        finally:
            self.run("scancel", out.strip())

    def calm_down(self) -> None:
        """Cancel all jobs, bring everything back up, and wait until the queue is empty."""
        self.up()
        if ids := [j["job"] for j in self.queue()]:
            self.run("scancel", *ids)
        await_that(lambda: not self.queue(), 60, "the queue is empty")


def _lacking() -> str | None:
    """Why no cluster can be started here; None where one can."""
    if os.geteuid() != 0:
        return "the SLURM lab needs root"
    if len(tempfile.gettempdir()) > 60:
        return f"the SLURM lab keeps sockets in the temporary folder, and {tempfile.gettempdir()} is too long for them"
    if shutil.which("slurmctld") is None and shutil.which("apt-get") is None:
        return "the SLURM lab needs Debian's packages, and there is no apt-get"
    apart = ["unshare", "--uts", "--pid", "--mount", "--mount-proc", "--fork", "true"]
    if shutil.which("unshare") is None or subprocess.run(apart, capture_output=True, check=False).returncode != 0:
        return "the SLURM lab needs namespaces of its own for its nodes (unshare, CAP_SYS_ADMIN)"
    return None


def _free_ports(nodes: int) -> int:
    """The first of a stretch of free ports: +0 slurmctld, +2 slurmdbd, +10 and on slurmd."""
    for base in range(17000 + os.getpid() % 500 * 20, 32000, 20):
        if all(_free(base + offset) for offset in (0, 2, *range(10, 10 + nodes))):
            return base
    raise LabError("the SLURM lab found no free ports between 17000 and 32000")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def await_that(holds: Callable[[], object], seconds: float, what: str, every_seconds: float = 0.2) -> None:
    """Wait until something holds; AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(every_seconds)
