"""Who would do the work, as `plan` and `sweep` reckon with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from difgen_cli.config import PlaceError
from difgen_cli.engine.cost.machine import device_name
from difgen_cli.engine.launch.slurm.launcher import WORKERS
from difgen_cli.engine.launch.worker_pool import WorkerPool, resolve_pool


def test_without_a_gpu_it_is_one_worker_a_core_on_the_processor_that_rows_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cores = len(os.sched_getaffinity(0))
    assert resolve_pool("local", None, 1, {}) == WorkerPool("local", cores, 1, "cpu", device_name("cpu"))
    assert resolve_pool("local", 7, 1, {}).workers == 7
    assert resolve_pool("inline", None, 1, {}).workers == 1


def test_with_gpus_it_is_the_card_that_the_driver_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\n[ "$2" = GPU-x ] && echo "NVIDIA H200"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-x,GPU-y")
    pool = resolve_pool("local", None, 2, {})
    assert (pool.workers, pool.kind, pool.device) == (4, "cuda", "NVIDIA H200")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1")
    assert resolve_pool("local", None, 1, {}).device is None, "the driver does not say"


def test_on_a_cluster_the_profile_says_what_workers_have_and_nobody_what_the_nodes_are():
    said = {"gpus": 1, "cpus": 8}
    assert resolve_pool("slurm", None, 1, said) == WorkerPool("slurm", WORKERS, 8, "cuda", None)
    assert resolve_pool("slurm", 32, 1, {}) == WorkerPool("slurm", 32, 1, "cpu", None)
    with pytest.raises(PlaceError, match="gpus"):
        resolve_pool("slurm", None, 1, {"gpus": "two"})
