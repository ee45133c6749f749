"""`difgen doctor`: facts of this machine, of its disk and of a cluster, and what each means for a sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from difgen_cli.engine import doctor
from difgen_cli.engine.doctor import Fact, disk, machine, scheduler

Run = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = {
    "AccountingStorageType": "accounting_storage/slurmdbd",
    "AuthInfo": "cred_expire=7", "ClusterName": "lab", "JobRequeue": "1", "KillWait": "30 sec", "MaxArraySize": "1001",
    "MaxJobCount": "10000", "PreemptMode": "REQUEUE", "PreemptType": "preempt/partition_prio",
    "SlurmctldParameters": "preempt_send_user_signal", "SLURM_VERSION": "23.11.4",
}  # fmt: skip
PARTITIONS = """\
PartitionName=main Default=YES MaxTime=1-00:00:00 DefaultTime=01:00:00 PriorityTier=10 PreemptMode=OFF TotalNodes=4 \
TRES=cpu=16,gres/gpu=8
PartitionName=scavenge Default=NO GraceTime=20 MaxTime=UNLIMITED PriorityTier=1 PreemptMode=REQUEUE TotalNodes=4
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Fact]]:
    """A cluster of stand-in programs that print what the real ones do; the real one has its own tests."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def program(name: str, body: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)

    def facts(
        parts: str = PARTITIONS, sacct: str = "exit 0", partition: str | None = None, **changed: str
    ) -> dict[str, Fact]:
        (folder / "config").write_text("".join(f"{k} = {v}\n" for k, v in (CONFIG | changed).items()))
        (folder / "partitions").write_text(parts)
        show = f"*config*) cat {folder}/config;; *) cat {folder}/partitions;;"
        program("scontrol", f'case "$*" in ping) echo "Slurmctld(primary) at head is UP";; {show} esac')
        program("sacct", sacct)
        program("sbatch", "exit 1")
        return {fact.name: fact for fact in scheduler.facts({"partition": partition} if partition else {})}

    return facts


def test_a_good_cluster_is_told_without_complaint(cluster: Callable[..., dict[str, Fact]]) -> None:
    facts = cluster()
    assert {fact.verdict for fact in facts.values()} == {"ok"}
    assert facts["cluster"].value == "lab, SLURM 23.11.4"
    assert facts["arrays"].value == "1,001 tasks at most (MaxArraySize)"
    assert facts["preemption"].value == "scavenge (REQUEUE, 20 s of grace)"
    assert facts["before it"].value.startswith("USR2 comes first")
    assert facts["requeue"].value == "a requeued job starts again after 7 s at the earliest"
    assert facts["partition main"].value == "4 nodes, 8 GPUs, 1,440 min at most, 60 min unless asked, the default"
    assert facts["partition scavenge"].value == "4 nodes, GPUs unknown, no time limit"


@pytest.mark.parametrize(
    ("changed", "name", "verdict", "words"),
    [
        ({"SlurmctldParameters": "(null)"}, "before it", "note", "only SIGTERM, 50 s or so before the end"),
        ({"parts": PARTITIONS.replace("REQUEUE", "CANCEL")}, "after it", "note", "cancelled, not requeued"),
        ({"parts": PARTITIONS.replace("REQUEUE", "GANG,SUSPEND")}, "after it", "note", "suspended"),
        ({"PreemptType": "preempt/none"}, "preemption", "ok", "no partition is preempted"),
        ({"JobRequeue": "0"}, "requeue", "note", "JobRequeue=0"),
        ({"MaxArraySize": "1"}, "arrays", "note", "switched off"),
        ({"AccountingStorageType": "(null)"}, "accounting", "note", "none"),
        ({"sacct": "echo 'sacct: error: no route to host' >&2; exit 1"}, "accounting", "note", "no route to host"),
        ({"partition": "moon"}, "profile", "bad", "partition moon, which is not here (main, scavenge)"),
        ({"parts": PARTITIONS.replace("YES", "NO")}, "profile", "bad", "no partition is the default"),
    ],
)
def test_what_a_cluster_lacks_is_named_with_its_meaning(
    cluster: Callable[..., dict[str, Fact]], changed: dict[str, str], name: str, verdict: str, words: str
) -> None:
    fact = cluster(**changed)[name]
    assert (fact.verdict, words in fact.value) == (verdict, True), fact
    assert bool(fact.advice) == (verdict != "ok")


def test_without_a_cluster_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    facts = scheduler.facts({})
    assert [(fact.name, fact.verdict) for fact in facts] == [("none", "ok")]


def test_programs_that_reach_no_controller_are_told_of(cluster: Callable[..., dict[str, Fact]], tmp_path: Path) -> None:
    cluster()
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\necho 'slurm_load_ctl_conf error: no config' >&2; exit 1\n")
    (fact,) = scheduler.facts({})
    assert (fact.name, fact.verdict) == ("controller", "note")
    assert fact.value == "sbatch is installed, but reaches no controller: slurm_load_ctl_conf error: no config"


def test_a_silent_controller_is_bad_news_and_no_error(cluster: Callable[..., dict[str, Fact]], tmp_path: Path) -> None:
    cluster()
    (tmp_path / "bin" / "scontrol").write_text(
        '#!/bin/sh\n[ "$1" = ping ] && echo "Slurmctld(primary) at head is DOWN" && exit\necho no contact >&2; exit 1\n'
    )
    facts = scheduler.facts({})
    assert [(fact.name, fact.verdict) for fact in facts] == [("controller", "bad")]
    assert "no contact" in facts[0].value


def test_gpus_are_named_with_their_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [fact.value for fact in machine.machine()][-1] == "none; workers run on CPU cores"
    tool = tmp_path / "nvidia-smi"
    listing = "NVIDIA H200, 143771\nNVIDIA H200, 143771\nTesla T4, 15360\n"
    tool.write_text(f'#!/bin/sh\n[ "$1" = -L ] && printf "GPU 0: a\\nGPU 1: b\\nGPU 2: c\\n" || printf "{listing}"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    facts = {fact.name: fact for fact in machine.machine()}
    assert facts["GPUs"].value == "3 visible; the driver lists 2 × NVIDIA H200 of 140.4 GiB, 1 × Tesla T4 of 15.0 GiB"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert {f.name: f for f in machine.machine()}["GPUs"].value.startswith("1 visible ($CUDA_VISIBLE_DEVICES 1)")


def test_a_missing_package_and_a_missing_data_root_are_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "no-such-package"))
    last = machine.versions()[-1]
    assert (last.value, last.verdict, last.advice) == ("not installed", "bad", "pip install no-such-package")
    monkeypatch.setenv("DIFGEN_DATA", str(tmp_path / "nowhere"))
    _, facts = machine.places(None)
    assert facts[0].verdict == "bad"


def test_profiles_are_named_with_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids" / "difgen.toml").write_text('[cluster]\npartition = "gpu"\n')
    (tmp_path / "config" / "difgen").mkdir(parents=True)
    (tmp_path / "config" / "difgen" / "difgen.toml").write_text('[cluster]\naccount = "me"\n[mine]\ngpus = 1\n')
    settings, facts = machine.places("cluster")
    assert settings == {"partition": "gpu", "account": "me"}
    own = tmp_path / "config" / "difgen" / "difgen.toml"
    assert facts[-1].value == f"cluster ({Path('grids') / 'difgen.toml'}), mine ({own})"


def test_a_disk_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    facts = {fact.name: fact for fact in disk.facts(tmp_path / "runs" / "not yet there", cluster=False)}
    assert {facts[name].verdict for name in ("exclusive creation", "hard links", "clock", "file system")} == {"ok"}
    assert "ms (median of 20" in facts["one file"].value
    assert os.listdir(tmp_path) == []


def test_the_file_system_is_the_innermost_mount(tmp_path: Path) -> None:
    assert disk.file_system(Path("/proc/self")) == "proc"
    known = subprocess.run(
        ["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert disk.file_system(tmp_path)[:3] == known[:3]  # ext4 is ext2/ext3 to stat


def test_a_folder_that_cannot_be_written_is_bad() -> None:
    facts = disk.facts(Path("/proc/self"), cluster=False)
    assert facts[-1].verdict == "bad"
    assert facts[-1].advice


def test_on_a_cluster_a_disk_of_this_machine_alone_is_worth_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(disk, "file_system", lambda _: "tmpfs")
    assert disk.facts(tmp_path, cluster=True)[0].verdict == "note"
    monkeypatch.setattr(disk, "file_system", lambda _: "nfs4")
    assert disk.facts(tmp_path, cluster=True)[0].verdict == "ok"


@pytest.mark.parametrize(("ahead", "words"), [(600.0, "behind"), (-600.0, "ahead of"), (0.0, "agree")])
def test_a_clock_that_is_apart_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ahead: float, words: str
) -> None:
    here = time.time
    monkeypatch.setattr(disk.time, "time", lambda: here() + ahead)
    facts = {fact.name: fact for fact in disk.facts(tmp_path, cluster=False)}
    assert words in facts["clock"].value
    assert facts["clock"].verdict == ("note" if ahead else "ok")


def test_the_command_prints_every_section_and_its_json_says_the_same(tmp_path: Path, difgen: Run) -> None:
    done = difgen("doctor", "--runs", "somewhere")
    assert done.returncode == 0, done.stderr
    for title in ("versions", "this machine", "SLURM", "run directory somewhere", "places"):
        assert f"\n{title}\n" in "\n" + done.stdout
    said = json.loads(difgen("doctor", "--json").stdout)
    assert said["schema"] == 1
    assert [s["title"] for s in said["sections"]] == [
        "versions",
        "this machine",
        "SLURM",
        "run directory runs",
        "places",
    ]
    assert set(said["sections"][0]["facts"][0]) == {"name", "value", "verdict", "advice"}
    assert os.listdir(tmp_path) == [], "looking leaves nothing"


def test_bad_news_is_exit_code_1(difgen: Run, tmp_path: Path) -> None:
    done = difgen("doctor", DIFGEN_DATA=str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "nowhere: no such folder  [bad]" in done.stdout


def test_a_profile_that_is_missing_is_exit_code_2(difgen: Run) -> None:
    done = difgen("doctor", "--profile", "moon")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such profile" in done.stderr


def test_asking_never_imports_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from difgen_cli.engine import doctor; doctor.gather(Path('.'));"
        "print(sorted({'torch', 'submitit', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_gravest_verdict_counts() -> None:
    section = doctor.DoctorSection("x", [Fact("a", ""), Fact("b", "", "note")])
    assert doctor.worst([section]) == "note"
    assert doctor.worst([section, doctor.DoctorSection("y", [Fact("c", "", "bad")])]) == "bad"
