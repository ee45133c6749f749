"""In this very process: for debugging. One worker, one unit after another."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from difgen_cli.engine.launch import local_devices, threads_each
from difgen_cli.engine.launch.launcher import Launcher, LaunchRequest, SubmissionStatus, observe_processes
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.launch.worker_pool import WorkerPool, local_pool
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


class InlineLauncher(Launcher):
    """One worker in the command's own process."""

    here = True
    foreground = True

    def pool(self, workers: int | None, jobs_per_gpu: int, profile: Mapping[str, Any]) -> WorkerPool:
        return local_pool("inline", local_devices(1, 1))

    def submit(self, request: LaunchRequest) -> Submission:
        devices = local_devices(1, 1)
        submission = request.write("inline", 1, threads_each(devices))
        run(submission, devices[0], request.print)
        return submission

    def poll(self, submissions: Sequence[Submission]) -> list[SubmissionStatus]:
        return [observe_processes(s, not (s.closed or s.abandoned)) for s in submissions]

    def cancel(self, submissions: Sequence[Submission]) -> list[str]:
        return [f"{s.name}: runs on {s.intent.get('owner', {}).get('host')}; cancel it there" for s in submissions]


LAUNCHER = InlineLauncher
