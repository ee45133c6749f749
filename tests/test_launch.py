"""Launching: what each worker sees, that code runs as submitted, and what SLURM is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from difgen_cli.launch import LaunchError, keep_code, local_slots, slurm, visible_gpus, worker_environment
from difgen_cli.store import Store


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("0,1", ["0", "1"]),
        ("3", ["3"]),
        ("GPU-8f5c, MIG-1a2b", ["GPU-8f5c", "MIG-1a2b"]),
        ("", []),
        ("-1", []),
        ("0,-1,2", ["0"]),  # the driver ignores what follows an invalid name
        ("NoDevFiles", []),
    ],
)
def test_gpus_are_those_of_the_inherited_variable(monkeypatch: pytest.MonkeyPatch, said: str, names: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    assert visible_gpus() == names


def test_without_the_variable_the_driver_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: Some card (UUID: GPU-1)'\necho 'GPU 1: Some card (UUID: GPU-2)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("PATH", "/nonexistent")
    assert visible_gpus() == []


def test_each_worker_has_its_own_gpu_and_jobs_share_them_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-x")
    assert local_slots(None, 1).devices == ("4", "GPU-x")
    assert local_slots(None, 2).devices == ("4", "GPU-x", "4", "GPU-x")
    assert local_slots(3, 2).devices == ("4", "GPU-x", "4")


def test_on_a_cpu_there_is_one_worker_a_core_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    slots = local_slots(None, 1)
    assert slots.devices == (None,) * len(os.sched_getaffinity(0))
    assert slots.threads == 1
    assert local_slots(5, 1).devices == (None,) * 5


def test_a_worker_sees_its_device_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom difgen_cli import worker\n"
        "def spy(order, number, device, flag):\n"
        "    import os\n    assert 'torch' not in sys.modules\n    print(os.environ['CUDA_VISIBLE_DEVICES'], device)\n"
        "worker.work_on = spy\nworker.Order.read = staticmethod(lambda folder: None)\n"
        "worker.main('x', 0, 'MIG-7'); worker.main('x', 0, None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["MIG-7 cuda", " cpu"]


def test_code_is_kept_by_its_content(tmp_path: Path) -> None:
    store, plugins = Store(tmp_path / "runs"), tmp_path / "plugins"
    (plugins / "models").mkdir(parents=True)
    file = plugins / "models" / "mine.py"
    file.write_text("A = 1\n")
    first = keep_code(store, plugins)
    assert keep_code(store, plugins) == first
    file.write_text("A = 2\n")
    second = keep_code(store, plugins)
    assert second != first
    assert (first / "plugins" / "models" / "mine.py").read_text() == "A = 1\n"
    assert (second / "difgen_cli" / "worker" / "__init__.py").exists()


def test_workers_import_the_kept_code_and_not_the_working_tree(tmp_path: Path) -> None:
    code = keep_code(Store(tmp_path / "runs"), None)
    done = subprocess.run(
        [sys.executable, "-c", "import difgen_cli; print(difgen_cli.__file__)"],
        env=worker_environment(code, 1), cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(code / "difgen_cli" / "__init__.py")


def test_a_profile_becomes_slurm_parameters_and_knows_its_words() -> None:
    asked = slurm.parameters({"partition": "gpu", "gpus": 1, "walltime_minutes": 60, "cpus": 4}, "size", 8)
    assert (asked["slurm_partition"], asked["slurm_gpus_per_node"], asked["timeout_min"]) == ("gpu", 1, 60)
    assert asked["slurm_array_parallelism"] == 8
    assert "--cpus-per-task=4" in asked["slurm_srun_args"]
    with pytest.raises(LaunchError, match="partitoin: unknown setting"):
        slurm.parameters({"partitoin": "gpu"}, "size", 8)


def test_sbatch_is_given_the_array_through_submitit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in sbatch keeps what submitit hands over; the real one has its own tests on a cluster."""
    for tool, body in {"sbatch": 'cp "$1" "$0.script"; echo Submitted batch job 77', "srun": "exit 0"}.items():
        (tmp_path / tool).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    folder = tmp_path / "submission"
    folder.mkdir()
    ids = slurm.start(folder, 3, 1, {"partition": "p", "setup": ["module load x"]}, tmp_path, "size")
    assert ids == ["77_0", "77_1", "77_2"]
    script = (tmp_path / "sbatch.script").read_text()
    for line in ("--array=0-2%3", "--partition=p", "--comment='difgen size'", "module load x", "srun", "--export=ALL"):
        assert line in script, script


def test_what_sbatch_refuses_is_said_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: moon' >&2; exit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    folder = tmp_path / "submission"
    folder.mkdir()
    with pytest.raises(LaunchError, match="invalid partition specified: moon"):
        slurm.start(folder, 1, 1, {"partition": "moon"}, tmp_path, "size")


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        ("Slurmctld(primary) at head is UP", True),
        ("Slurmctld(primary) at head is DOWN", True),  # then sbatch will say so, and nothing runs on the login node
        ("", False),  # the programs are installed and no cluster is configured
    ],
)
def test_slurm_is_chosen_where_a_cluster_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, there: bool
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert not slurm.available()
    for tool in ("sbatch", "scontrol"):
        (tmp_path / tool).write_text(f"#!/bin/sh\necho '{answer}'\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.available() is there
