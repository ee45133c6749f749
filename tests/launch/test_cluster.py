"""What a cluster says, read from the texts that SLURM prints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from difgen_cli.engine.launch import LaunchError
from difgen_cli.engine.launch.slurm import cluster, limits
from difgen_cli.engine.launch.slurm.limits import Room

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
    assert said.limits_enforced
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
    assert _config(MaxArraySize=size, SchedulerParameters=scheduler).max_array == most


@pytest.mark.parametrize(
    ("type_", "there"),
    [("accounting_storage/none", False), ("(null)", False), (None, False), ("accounting_storage/slurmdbd", True)],
)
def test_accounting_is_there_where_a_storage_is_configured(type_: str | None, there: bool) -> None:
    assert _config(AccountingStorageType=type_).accounting is there


def test_limits_hold_only_where_they_are_enforced() -> None:
    assert not _config(AccountingStorageEnforce="none").limits_enforced
    assert not _config(AccountingStorageEnforce="associations").limits_enforced
    assert _config(AccountingStorageEnforce="associations,limits,qos,safe").limits_enforced


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


OWN = "lab|lab||||normal|limited,normal\nlab|root||||normal|limited,normal\n"
ACCOUNTS = "root||\nlab|root|\n"
QUALITIES = "normal||||\nlimited||8||\n"


def _limits(
    account: str | None = None,
    qos: str | None = None,
    partition: str = "main",
    partition_qos: str | None = None,
    own: str = OWN,
    accounts: str = ACCOUNTS,
    qualities: str = QUALITIES,
) -> list[tuple[int, str]]:
    known = limits.accounting("me", own, accounts, qualities)
    return [(f.most, f.why) for f in limits.found(known, account, qos, partition, partition_qos)]


def test_a_limit_is_that_of_the_asked_qos_or_of_the_usual_one() -> None:
    assert _limits() == []
    assert _limits(qos="limited") == [(8, "QOS limited: 8 jobs a user")]
    assert _limits(own="lab|lab||||limited|limited,normal\n") == [(8, "QOS limited: 8 jobs a user")]
    assert _limits(own="lab|lab|||||limited\n") == [(8, "QOS limited: 8 jobs a user")]  # the only one allowed
    assert _limits(qualities="normal|||5|\n") == [(5, "QOS normal: 5 jobs an account")]
    assert _limits(partition_qos="limited") == [(8, "QOS limited: 8 jobs a user")]


def test_the_first_layer_that_sets_a_limit_holds() -> None:
    qualities = "normal||100||\npart||3||\nfast|DenyOnLimit,OverPartQOS|50||\n"
    own = "lab|lab||7||normal|\n"
    assert _limits(own=own, qualities=qualities) == [(100, "QOS normal: 100 jobs a user")]
    assert _limits(own=own, qualities=qualities, partition_qos="part") == [(3, "QOS part: 3 jobs a user")]
    assert _limits(own=own, qualities=qualities, partition_qos="part", qos="fast") == [(50, "QOS fast: 50 jobs a user")]
    assert _limits(own=own) == [(7, "association with account lab: 7 jobs")]


def test_the_association_is_that_of_the_account_and_rather_of_the_partition() -> None:
    own = "lab|lab||9||normal|\nlab|other||6||normal|\nlab|lab|main|4||normal|\n"
    assert _limits(own=own)[0][0] == 4
    assert _limits(own=own, partition="cpu")[0][0] == 9
    assert _limits(own=own, account="other")[0][0] == 6
    assert _limits(own=own, account="unknown") == []


def test_accounts_above_limit_their_jobs_in_all() -> None:
    accounts = "root||\nfaculty|root|20\nlab|faculty|\nneighbours|faculty|\n"
    known = limits.accounting("me", OWN, accounts, QUALITIES)
    found = limits.found(known, None, None, "main", None)
    queue = limits.queue("me|lab|normal|main\nyou|neighbours|normal|cpu\nsomeone|root|normal|cpu\n")
    assert limits.tightest(found, queue) == Room(20, 2, "account faculty: 20 jobs in all")


def test_each_limit_counts_its_own_jobs_and_the_one_with_least_room_is_told() -> None:
    known = limits.accounting("me", OWN, ACCOUNTS, "normal|||12|15\npart||8||\n")
    found = limits.found(known, None, None, "main", "part")
    jobs = "me|lab|normal|main\n" * 3 + "me|lab|normal|cpu,main\n" + "you|lab|normal|cpu\n" * 6 + "not a line\n"
    rooms = {f.why: sum(map(f.counts, limits.queue(jobs))) for f in found}
    assert rooms == {
        "QOS part: 8 jobs a user": 4,
        "QOS normal: 12 jobs an account": 10,
        "QOS normal: 15 jobs in all": 10,
    }
    assert limits.tightest(found, limits.queue(jobs)) == Room(12, 10, "QOS normal: 12 jobs an account")
    assert Room(8, 11, "").left == 0


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
    assert cluster.room(None, None, None) is None
