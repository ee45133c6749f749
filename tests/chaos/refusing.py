"""A sweep on a file system that refuses: commands in processes of their own, forked from one that has imported all.

Run with `refuse.so` preloaded and `tests` in PYTHONPATH, with grid and library as arguments. A line of JSON on standard
input is one command, {"runs", "first", "times", "period", "error", "call", "path", "recorded"}; one on standard output
says how it ended and how many calls there were. Each call, or each that failed where any does, is a line of the file
`recorded`.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
from pathlib import Path

import forking

from difgen_cli.cli import main


def command(grid: str, runs: str) -> int:
    """One sweep in this process; its exit code, or 70 where a thread of it ended by an error."""
    broken: list[object] = []
    threading.excepthook = lambda about: broken.append(about)
    sys.argv = ["difgen", "-q", "sweep", grid, "--runs", runs, "--cluster", "inline"]
    try:
        main()
    except SystemExit as ended:
        return 70 if broken else int(ended.code or 0)
    return 70 if broken else 0


def serve(grid: str, library: str) -> None:
    """Answer each line with the end of one command."""
    fault = ctypes.CDLL(library)
    fault.refused.restype, fault.what.restype = ctypes.c_long, ctypes.c_char_p
    for line in sys.stdin:
        asked = json.loads(line)
        runs, log = asked["runs"], Path(asked["runs"] + ".log")
        child = os.fork()
        if child == 0:
            with log.open("a") as words:
                os.dup2(words.fileno(), 1)
                os.dup2(words.fileno(), 2)
            if asked["recorded"]:
                fault.record(
                    os.open(asked["recorded"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), int(asked["first"] > 0)
                )
            fault.aim(asked["call"].encode(), asked["path"].encode())
            fault.refuse(
                runs.encode(), *(ctypes.c_long(asked[n]) for n in ("first", "times", "period")), asked["error"]
            )
            code = command(grid, runs)
            calls, what = fault.refused(), fault.what().decode()
            fault.refuse(b"", ctypes.c_long(0), ctypes.c_long(0), ctypes.c_long(0), 0)
            Path(runs + ".json").write_text(json.dumps({"calls": calls, "what": what}))
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        about = json.loads(Path(runs + ".json").read_text()) if os.WIFEXITED(status) else {}
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)} | about), flush=True)


if __name__ == "__main__":
    forking.import_all()
    serve(*sys.argv[1:])
