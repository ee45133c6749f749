"""Commands in processes of their own, forked from one that has imported all: starting Python costs seconds each time.

A forked command is `python -m difgen_cli` in all but its start: it has its own process, folder, environment, standard
streams and exit code, and runs the package's `__main__`. What a start of Python reads from the environment cannot be
had so: `possible` says where a fresh Python is needed.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

# What Python, the dynamic linker and the libraries read once, when they are started.
READ_AT_START = ("PYTHON", "LD_", "OMP_", "MKL_", "OPENBLAS_", "MPL", "TORCH", "HOME")
LIBRARIES = (
    "torch", "pandas", "pyarrow.parquet", "safetensors.torch", "sklearn.datasets", "sklearn.cluster", "scipy.stats",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "PIL.Image",
)  # fmt: skip


class ForkServer:
    """A process that has imported all, and forks one for each command."""

    def __init__(self, folder: Path) -> None:
        self._address = str(folder / "socket")
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._address],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """End it; it has no commands any more."""
        self._process.communicate()

    def possible(self, environment: Mapping[str, str]) -> bool:
        """Whether a command in this environment does not need a Python of its own."""
        changed = {k for k, _ in self._environment.items() ^ environment.items()}
        return not any(name.startswith(READ_AT_START) for name in changed)

    def run(
        self, arguments: list[str], folder: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """What `subprocess.run` with captured output would answer."""
        with (
            socket.socket(socket.AF_UNIX) as connection,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):
            connection.connect(self._address)
            request = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
            socket.send_fds(connection, [b"streams"], [out.fileno(), err.fileno()])
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile() as answers:
                pid = int(answers.readline())
                if not select.select([connection], [], [], timeout)[0]:
                    os.kill(pid, 9)
                    raise subprocess.TimeoutExpired(arguments, timeout)
                code = int(answers.readline())
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


def serve(address: str) -> None:
    """Fork for each connection; returns in the process of a command, which is ready to run it."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    print("ready", flush=True)
    children: set[int] = set()
    while True:
        if 0 in select.select([listening, 0], [], [])[0]:
            sys.exit(0)
        connection, _ = listening.accept()
        children -= {pid for pid in children if os.waitpid(pid, os.WNOHANG)[0]}
        if pid := os.fork():
            connection.close()
            children.add(pid)
            continue
        listening.close()
        if _forked(connection):
            return


def _forked(connection: socket.socket) -> bool:
    """Whether this is the process of the command; the other waits for it, says how it ended, and ends."""
    _, streams, _, _ = socket.recv_fds(connection, len(b"streams"), 2)
    with connection.makefile() as lines:
        request = json.loads(lines.readline())
    if pid := os.fork():
        connection.sendall(f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    connection.close()
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    for place, stream in enumerate(streams, 1):
        os.dup2(stream, place)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = request["arguments"]
    sys.path[0] = request["folder"]
    return True


def import_all() -> None:
    """Every library that commands import, and the whole package; while nothing is garbage, none is searched for."""
    gc.disable()
    for name in LIBRARIES:
        importlib.import_module(name)
    import difgen_cli

    for module in pkgutil.walk_packages(difgen_cli.__path__, "difgen_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()
    gc.enable()


def run() -> int:
    """`python -m difgen_cli` to its end but for taking the interpreter apart, which takes longer than most commands."""
    code: object = 0
    try:
        runpy.run_module("difgen_cli", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    except Exception:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)  # type: ignore[call-overload]


if __name__ == "__main__":
    import_all()
    serve(sys.argv[1])
    os._exit(run())
