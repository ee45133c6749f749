"""In this very process: for debugging. One worker, one unit after another."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.worker import work_on
from difgen_cli.engine.worker.submission_spec import SIGNALS, StopFlag, SubmissionSpec


def run(submission: Submission, device: str | None, say: Callable[[str], None]) -> str:
    """Work through a submission here; returns done, interrupted or refused."""
    spec = SubmissionSpec.read(submission.folder)
    os.environ.setdefault("OMP_NUM_THREADS", str(spec.threads))
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        return work_on(spec, 0, "cuda" if device else "cpu", StopFlag(), say)
    finally:
        for number, handler in before.items():  # what comes after the work is this process's own, and ends at once
            signal.signal(number, handler)
        submission.close("it ran in the process that made it")
