"""One task of the array, which reads nothing that is written after sbatch.

submitit's own entry point waits for a pickle that is moved into place when sbatch has answered: a crash in between
would leave a whole array without work. A task needs no more than the folder of its submission and its own number.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from difgen_cli import worker


def command(device: str | None) -> str:
    """What submitit is to call python: its own words follow, of which the last is the folder of the logs."""
    return shlex.join([sys.executable, "-u", "-m", __name__, device or "cpu"])


def main(device: str, log: Path) -> None:
    """Work on the submission whose logs lie in a folder."""
    os.environ["SUBMITIT_FOLDER"] = str(log)  # where a worker's own log is found
    from submitit import JobEnvironment

    print(f"Starting with {JobEnvironment()}", flush=True)  # by this line `difgen logs` knows where a worker begins
    number = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))  # submitit makes no array of a single task
    worker.main(str(log.parent), number, device if device == worker.SCHEDULED else None)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[-1]))
