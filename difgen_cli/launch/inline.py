"""In this very process: for debugging. One worker, one unit after another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from difgen_cli.worker import work_on
from difgen_cli.worker.order import Flag, Order


def run(folder: Path, device: str | None, say: Callable[[str], None]) -> str:
    """Work through a submission here; returns done, interrupted or refused."""
    order = Order.read(folder)
    os.environ.setdefault("OMP_NUM_THREADS", str(order.threads))
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    return work_on(order, 0, "cuda" if device else "cpu", Flag(), say)
