"""One worker, which reads nothing that is written after it was submitted, and no pickle.

submitit's own entry point waits for a pickle that is moved into place after submission: a crash in between would leave
a whole array without work; and whoever may write to a shared run directory could put another in its place.
A worker needs no more than the folder of its submission and its own number.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from difgen_cli.engine import worker
from difgen_cli.engine.worker.submission_spec import SubmissionSpec

CPU, ARRAY = "cpu", "array"


def command(device: str | None, number: int | None = None) -> str:
    """What submitit is to call python: its own words follow, of which the last is the folder of the logs.

    `number`: the worker's place; None for tasks of an array, each of which knows its own.
    """
    return shlex.join([sys.executable, "-u", "-m", __name__, device or CPU, ARRAY if number is None else str(number)])


def main(device: str, number: str, log: Path) -> None:
    """Work on the submission whose logs lie in a folder."""
    os.environ["SUBMITIT_FOLDER"] = str(log)  # where a worker's own log is found
    from submitit import JobEnvironment

    job = JobEnvironment()
    print(f"Starting with {job}", flush=True)  # by this line `difgen logs` knows where a worker begins
    from difgen_cli.engine.launch.launcher import choose

    spec = SubmissionSpec.read(log.parent)
    allocation = replace(choose(spec.launcher)[1].inside(spec), log=Path(job.paths.stdout))
    place = allocation.number if number == ARRAY else int(number)
    worker.main(str(log.parent), place, None if device == CPU else device, allocation)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[-1]))
