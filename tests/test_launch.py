"""Launching: what each worker sees, that code runs as submitted, and what SLURM is asked for."""

from __future__ import annotations

import gc
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from difgen_cli import config
from difgen_cli.config import PlaceError
from difgen_cli.engine import worker
from difgen_cli.engine.launch import (
    LaunchError,
    keep_code,
    local_devices,
    slurm,
    threads_each,
    visible_gpus,
    worker_environment,
)
from difgen_cli.engine.launch.local import memory_kills
from difgen_cli.engine.launch.slurm import TaskArray, profile
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.launch.worker_pool import resolve_pool
from difgen_cli.engine.store import Store
from difgen_cli.engine.store.files import publish_json


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
    assert visible_gpus() == ["GPU-1", "GPU-2"]
    monkeypatch.setenv("PATH", "/nonexistent")
    assert visible_gpus() == []


def test_each_worker_has_its_own_gpu_and_jobs_share_them_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-x")
    assert local_devices(None, 1) == ("4", "GPU-x")
    assert local_devices(None, 2) == ("4", "GPU-x", "4", "GPU-x")
    assert local_devices(3, 2) == ("4", "GPU-x", "4")
    assert threads_each(("4", "GPU-x")) == max(1, len(os.sched_getaffinity(0)) // 2)


def test_on_a_cpu_there_is_one_worker_a_core_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    devices = local_devices(None, 1)
    assert devices == (None,) * len(os.sched_getaffinity(0))
    assert threads_each(devices) == 1
    assert local_devices(5, 1) == (None,) * 5


def test_a_worker_sees_its_device_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom difgen_cli.engine import worker\n"
        "def spy(spec, number, device, flag, say, log, allocation):\n"
        "    import os\n    assert 'torch' not in sys.modules\n    print(os.environ['CUDA_VISIBLE_DEVICES'], device)\n"
        "worker.work_on = spy\nworker.SubmissionSpec.read = staticmethod(lambda folder: spec)\n"
        "class spec: runs = code = None\n"
        "worker.main('x', 0, 'MIG-7'); worker.main('x', 0, None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["MIG-7 cuda", " cpu"]


def test_no_garbage_is_searched_for_in_what_a_worker_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """But only where the process was begun for the work: elsewhere what is there may be garbage later."""
    imported: list[tuple[str, bool]] = []
    frozen = gc.get_freeze_count()
    monkeypatch.setattr(importlib, "import_module", lambda name: imported.append((name, gc.isenabled())))
    monkeypatch.setitem(sys.modules, "torch", sys)
    worker._import_torch()
    assert (imported, gc.get_freeze_count()) == ([], frozen)
    monkeypatch.delitem(sys.modules, "torch")
    worker._import_torch()
    assert imported == [("difgen_cli.engine.worker.context", False)]
    assert gc.get_freeze_count() > frozen
    assert gc.isenabled()


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
    assert (second / "difgen_cli" / "engine" / "worker" / "__init__.py").exists()


def test_workers_import_the_kept_code_and_not_the_working_tree(tmp_path: Path) -> None:
    code = keep_code(Store(tmp_path / "runs"), None)
    done = subprocess.run(
        [sys.executable, "-c", "import difgen_cli; print(difgen_cli.__file__)"],
        env=worker_environment(code, 1), cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(code / "difgen_cli" / "__init__.py")


def test_a_profile_becomes_slurm_parameters() -> None:
    said = profile.of({"partition": "gpu", "gpus": 1, "walltime_minutes": 60, "cpus": 4, "setup": ["module load x"]})
    asked = said.parameters("difgen-01", "size", 8)
    assert (asked["slurm_partition"], asked["slurm_gpus_per_node"], asked["timeout_min"]) == ("gpu", 1, 60)
    assert (asked["slurm_array_parallelism"], asked["slurm_signal_delay_s"]) == (8, 120)
    assert asked["slurm_srun_args"] == ["--export=ALL", "--cpus-per-task=4"]
    assert asked["slurm_setup"][-1] == "module load x"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"partitoin": "gpu"}, "partitoin: unknown setting"),
        ({"gpus": "two"}, "gpus = 'two'"),
        ({"walltime_minutes": 0}, "walltime_minutes = 0"),
        ({"partition": "a\n#SBATCH --uid=0"}, "partition"),
        ({"qos": "$(touch x)"}, "qos"),
        ({"setup": "module load x"}, "setup"),
    ],
)
def test_a_wrong_profile_is_one_sentence(said: dict[str, object], words: str) -> None:
    with pytest.raises(PlaceError) as error:
        profile.of(said)
    assert words in str(error.value)
    assert "\n" not in str(error.value).strip()


def test_a_worker_is_told_within_the_last_quarter_of_its_time() -> None:
    assert profile.of({"walltime_minutes": 4}).notice_seconds == 60
    assert profile.of({"walltime_minutes": 4, "signal_seconds": 20}).notice_seconds == 20


def test_a_grids_name_cannot_become_a_line_of_the_script() -> None:
    asked = profile.of({}).parameters("difgen-01", "x\nrm -rf ~; $(id)'", 1)
    assert re.fullmatch(r"difgen [\w.-]+", asked["slurm_comment"])


def test_a_walltime_beyond_the_partition_is_refused_where_it_was_asked_for_and_else_cut() -> None:
    assert profile.of({}).within(60, "main").walltime_minutes == 60
    with pytest.raises(LaunchError, match="main allows 60 minutes"):
        profile.of({"walltime_minutes": 90}).within(60, "main")


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    folder = tmp_path / "runs" / "grids" / "size-01234567" / "submissions" / "1"
    folder.mkdir(parents=True)
    publish_json(folder / "submission.json", {"name": "difgen-0123456789ab", "code": str(tmp_path)})
    return Submission(folder)


def _stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, sbatch: str) -> None:
    """An sbatch that keeps what submitit hands over; the real one has its own tests on a cluster."""
    for tool, body in {"sbatch": sbatch, "srun": "exit 0"}.items():
        (folder / tool).write_text(f"#!/bin/sh\n{body}\n")
        (folder / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_sbatch_is_given_the_array_through_submitit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, submission: Submission
) -> None:
    _stand_in(tmp_path, monkeypatch, 'cp "$1" "$0.script"; echo Submitted batch job 77')
    before = dict(os.environ)
    asked = TaskArray(profile.of({"partition": "p", "setup": ["module load x"]}), tasks=5, workers=3)
    assert slurm.start(submission, asked, "size") == ("77", asked)
    assert dict(os.environ) == before
    assert submission.receipt is not None
    assert (submission.receipt["job"], submission.receipt["tasks"]) == ("77", 5)
    script = (tmp_path / "sbatch.script").read_text()
    for line in ("--array=0-4%3", "--partition=p", "--comment='difgen size'", "--job-name=difgen-0123456789ab",
                 "--requeue", "module load x", "srun", "--export=ALL"):  # fmt: skip
        assert line in script, script


def test_what_sbatch_refuses_is_said_in_its_own_words_and_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, submission: Submission
) -> None:
    refuse = f"echo x >> {tmp_path}/calls; echo 'sbatch: error: invalid partition specified: moon' >&2; exit 1"
    _stand_in(tmp_path, monkeypatch, refuse)
    with pytest.raises(LaunchError, match="invalid partition specified: moon"):
        slurm.start(submission, TaskArray(profile.of({"partition": "moon"}), 8, 2), "size")
    assert submission.closed
    assert "moon" in (submission.receipt or {})["refused"]
    assert (tmp_path / "calls").read_text() == "x\n"  # a shorter array would not do either


LIMIT = "QOSMaxSubmitJobPerUserLimit"
REFUSED = f"sbatch: error: {LIMIT}\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy"


@pytest.mark.parametrize(
    ("words", "most", "asked"),
    [
        (REFUSED, 3, [10, 5, 2]),
        ("sbatch: error: AssocMaxSubmitJobLimit", 1, [10, 5, 2, 1]),
        ("sbatch: error: AssocGrpSubmitJobsLimit", 9, [10, 5]),
        ("sbatch: error: Batch job submission failed: Invalid job array specification", 8, [10, 5]),
    ],
)
def test_an_array_is_halved_until_it_is_within_the_limit_that_sbatch_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, submission: Submission, words: str, most: int, asked: list[int]
) -> None:
    _stand_in(tmp_path, monkeypatch, _limited(tmp_path / "asked", words, most))
    job, array = slurm.start(submission, TaskArray(profile.of({}), tasks=10, workers=4), "size")
    assert [int(n) for n in (tmp_path / "asked").read_text().split()] == asked
    assert (job, array.tasks, array.workers) == ("77", asked[-1], min(4, asked[-1]))
    assert array.refused == " ".join(words.split())
    assert submission.receipt is not None
    assert (submission.receipt["tasks"], submission.receipt["workers"]) == (array.tasks, array.workers)
    assert len(list((submission.folder / "log").glob("*.pkl"))) == array.tasks  # none of a task that was refused


def test_where_not_even_one_task_is_allowed_it_is_said_in_sbatchs_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, submission: Submission
) -> None:
    _stand_in(tmp_path, monkeypatch, _limited(tmp_path / "asked", REFUSED, 0))
    with pytest.raises(LaunchError, match=LIMIT):
        slurm.start(submission, TaskArray(profile.of({}), tasks=10, workers=4), "size")
    assert (tmp_path / "asked").read_text().split() == ["10", "5", "2", "1"]
    assert submission.closed
    assert LIMIT in (submission.receipt or {})["refused"]


def _limited(asked: Path, words: str, most: int) -> str:
    """An sbatch that writes down how many tasks it is asked for, and submits as many as a limit allows, or none."""
    count = r"""n=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$1"); n=$((${n:-0} + 1))"""
    return f"""{count}; echo $n >> {asked}
if [ $n -gt {most} ]; then printf '%s\n' "{words}" >&2; exit 1; fi
echo Submitted batch job 77"""


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


def test_kills_for_want_of_memory_are_counted_in_the_own_control_group(tmp_path: Path) -> None:
    process, groups = tmp_path / "self", tmp_path / "cgroup"
    process.mkdir()
    (groups / "job_1").mkdir(parents=True)
    (groups / "memory.events").write_text("oom 9\noom_kill 9\n")  # of the whole machine
    (groups / "job_1" / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (process / "cgroup").write_text("0::/job_1\n")
    assert memory_kills(process, groups) == 2
    (groups / "memory" / "slurm").mkdir(parents=True)
    (groups / "memory" / "slurm" / "memory.oom_control").write_text("under_oom 0\noom_kill 5\n")
    (process / "cgroup").write_text("4:memory:/slurm\n2:cpu,cpuacct:/\n")
    assert memory_kills(process, groups) == 5
    (process / "cgroup").write_text("0::/elsewhere\n")
    assert memory_kills(process, groups) == 0, "nobody tells"


def test_a_training_that_follows_a_larger_one_has_a_peak_of_its_own() -> None:
    code = (
        "from difgen_cli.engine.cost.device import forget_peak_memory, peak_memory_bytes\n"
        "large = bytearray(300 << 20)\nhigh = peak_memory_bytes()\ndel large\n"
        "print(forget_peak_memory(), high - peak_memory_bytes() > 200 << 20)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() in (["True", "True"], ["False", "False"])


def test_lines_of_shell_are_taken_from_the_persons_own_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    (tmp_path / "own" / "difgen").mkdir(parents=True)
    mine = tmp_path / "own" / "difgen" / "difgen.toml"
    mine.write_text('[default]\nsetup = ["module load python"]\n')
    (tmp_path / "grids").mkdir()
    grid = tmp_path / "grids" / "x.yaml"
    for beside in (tmp_path / "grids", tmp_path):
        (beside / "difgen.toml").write_text('[default]\ncpus = 2\nsetup = ["touch pwned"]\n')
    said = profile.of(config.profile(None, grid))
    assert (said.setup, said.cpus) == (("module load python",), 2)
    mine.unlink()
    with pytest.raises(PlaceError, match=r"difgen\.toml: setup holds lines of shell"):
        profile.of(config.profile(None, grid))
    assert resolve_pool("inline", None, 1, config.profile(None, grid)).workers == 1, "no shell runs here"
