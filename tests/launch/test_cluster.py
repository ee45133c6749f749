"""What a cluster says, read from the texts that SLURM prints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from difgen_cli.engine.launch import LaunchError
from difgen_cli.engine.launch.slurm import cluster

# As `scontrol show config` of 22.05.8 prints it, without lines that nobody reads.
CONFIG = """\
Configuration data as of 2026-11-21T15:09:29
AccountingStorageEnforce = associations,limits,qos
AccountingStorageHost   = 127.0.0.1
AccountingStorageTRES   = cpu,mem,energy,node,billing,fs/disk,vmem,pages,gres/gpu
AccountingStorageType   = accounting_storage/slurmdbd
AuthInfo                = socket=/run/munge.socket,cred_expire=5
ClusterName             = lab
JobRequeue              = 1
KillWait                = 5 sec
MaxArraySize            = 20
MaxJobCount             = 10000
PreemptMode             = REQUEUE
PreemptType             = preempt/partition_prio
PreemptExemptTime       = 00:00:00
SchedulerParameters     = bf_interval=2,sched_interval=2,sched_min_interval=100000,batch_sched_delay=0
SlurmctldHost[0]        = head(127.0.0.1)
SlurmctldParameters     = preempt_send_user_signal
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at head is UP
"""

PARTITIONS = """\
PartitionName=main AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A \
DefaultTime=00:05:00 DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=UNLIMITED MaxTime=01:00:00 \
MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=node[1-4] PriorityJobFactor=1 PriorityTier=10 RootOnly=NO ReqResv=NO \
OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs=16 TotalNodes=4 SelectTypeParameters=NONE \
JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED TRES=cpu=16,mem=16000M,node=4,billing=16,gres/gpu=8
PartitionName=scavenge AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=NO QoS=N/A \
DefaultTime=00:05:00 DisableRootJobs=NO ExclusiveUser=NO GraceTime=20 Hidden=NO MaxNodes=UNLIMITED MaxTime=01:00:00 \
MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes=node[1-4] PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO \
OverSubscribe=NO OverTimeLimit=NONE PreemptMode=REQUEUE State=UP TotalCPUs=16 TotalNodes=4 SelectTypeParameters=NONE \
JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED TRES=cpu=16,mem=16000M,node=4,billing=16,gres/gpu=8
"""


def _config(**changed: str | None) -> cluster.Cluster:
    lines = [line for line in CONFIG.splitlines() if line.partition("=")[0].strip() not in changed]
    lines += [f"{name} = {value}" for name, value in changed.items() if value is not None]
    return cluster.cluster("\n".join(lines), PARTITIONS)


def test_the_facts_of_a_real_cluster() -> None:
    said = cluster.cluster(CONFIG, PARTITIONS)
    assert (said.name, said.version, said.max_array, said.max_jobs) == ("lab", "22.05.8", 20, 10_000)
    assert said.accounting
    assert (said.preempt_mode, said.preempt_user_signal, said.requeue) == ("REQUEUE", True, True)
    assert (said.kill_wait_seconds, said.requeue_wait_seconds) == (5, 5)
    assert said.partitions["main"] == cluster.Partition("main", 60, 5, 0, "OFF", 10, True, None, 4, 8)
    assert said.partitions["scavenge"] == cluster.Partition("scavenge", 60, 5, 20, "REQUEUE", 1, False, None, 4, 8)
    assert said.default == said.partitions["main"]


def test_what_a_cluster_does_not_say_is_slurms_default_or_unknown() -> None:
    said = cluster.cluster("SLURM_VERSION = 24.11.1", "")
    assert (said.max_array, said.max_jobs, said.default) == (None, None, None)
    assert not said.accounting
    assert not said.preempt_user_signal
    assert said.requeue
    assert (said.kill_wait_seconds, said.requeue_wait_seconds) == (30, 120)


@pytest.mark.parametrize(
    ("size", "scheduler", "most"),
    [("1001", "(null)", 1001), ("1001", "max_array_tasks=50,bf_continue", 50), ("1", "(null)", 0), ("0", "x=1", 0)],
)
def test_arrays_have_at_most_so_many_tasks(size: str, scheduler: str, most: int) -> None:
    asked = _config(MaxArraySize=size, SchedulerParameters=scheduler)
    assert (asked.max_array, asked.max_tasks) == (most, max(1, most))


@pytest.mark.parametrize(
    ("type_", "there"),
    [("accounting_storage/none", False), ("(null)", False), (None, False), ("accounting_storage/slurmdbd", True)],
)
def test_accounting_is_there_where_a_storage_is_configured(type_: str | None, there: bool) -> None:
    assert _config(AccountingStorageType=type_).accounting is there


def test_partitions_are_preempted_where_something_stands_above_them() -> None:
    assert [p.name for p in _config().preempted] == ["scavenge"]
    assert [p.name for p in _config(PreemptType="preempt/qos").preempted] == ["scavenge"]
    assert _config(PreemptType="preempt/none").preempted == []
    assert _config(PreemptMode="OFF").preempted == []
    same = PARTITIONS.replace("PriorityTier=10", "PriorityTier=1")
    assert cluster.cluster(CONFIG, same).preempted == []


def test_newer_versions_say_under_preemption_that_the_signal_is_sent() -> None:
    assert not _config(SlurmctldParameters="(null)").preempt_user_signal
    assert _config(SlurmctldParameters="(null)", PreemptParameters="send_user_signal,strict_order").preempt_user_signal
    assert _config(SlurmctldParameters="cloud_dns,preempt_send_user_signal").preempt_user_signal


def test_partitions_of_other_clusters() -> None:
    text = (
        "PartitionName=long Default=NO QoS=long_qos DefaultTime=NONE GraceTime=00:02:00 MaxTime=7-00:00:00 "
        "PriorityTier=100 PreemptMode=GANG,SUSPEND TotalNodes=12 TRES=cpu=16,mem=1T,gres/gpu=96,gres/gpu:a100=96\n"
        "PartitionName=old MaxTime=UNLIMITED DefaultTime=INFINITE Nodes=(null)\n"
        "PartitionName=cpu TRES=cpu=4 TotalNodes=1\n\n"
    )
    long, old, cpu = cluster.partitions(text, gpus_counted=True)
    assert long == cluster.Partition("long", 7 * 24 * 60, None, 120, "GANG,SUSPEND", 100, False, "long_qos", 12, 96)
    assert (old.max_minutes, old.default_minutes, old.nodes, old.preempt_mode) == (None, None, 0, "OFF")
    assert cpu.gpus == 0
    assert cluster.partitions(text, gpus_counted=False)[2].gpus is None  # nobody counts: unknown, not none


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5 sec", 5), ("0 min", 0), ("2 min", 120), ("20", 20), ("00:05:00", 300), ("05:00", 300),
        ("2-00:00:00", 172_800), ("1-12", 129_600), ("1-12:30", 131_400), ("UNLIMITED", None), ("INFINITE", None),
        ("N/A", None), ("NONE", None), ("(null)", None), ("", None), (None, None), ("soon", None), ("x-00:00", None),
    ],
)  # fmt: skip
def test_times_as_slurm_writes_them(text: str | None, expected: int | None) -> None:
    assert cluster.seconds(text) == expected


def test_a_silent_controller_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LaunchError, match="scontrol: no such program here"):
        cluster.ask()
    tool = tmp_path / "scontrol"
    tool.write_text("#!/bin/sh\necho 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2; exit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    with pytest.raises(LaunchError, match=r"scontrol show config: .*Unable to contact") as caught:
        cluster.ask()
    assert "\n" not in str(caught.value)
