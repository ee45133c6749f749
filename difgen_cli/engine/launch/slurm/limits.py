"""Submit limits: which of the accounting's many hold for a user's next job, and how much room they leave. Pure.

Limits stand in the partition's QOS, the job's QOS, the user's association, and the accounts above it; the first of
these to set a limit of a kind is the one that holds (SLURM's "Resource Limits", hierarchy).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

OWN = ("defaultaccount", "account", "partition", "maxsubmit", "grpsubmit", "defaultqos", "qos")
ACCOUNT = ("account", "parentname", "grpsubmit")
QOS = ("name", "flags", "maxsubmitpu", "maxsubmitpa", "grpsubmit")
QUEUE = "%u|%a|%q|%P"  # user, account, QOS, partitions of each job; squeue's --format


@dataclass(frozen=True)
class Room:
    """How many jobs may be in the queue under the tightest limit, and how many are; each task of an array is a job."""

    limit: int
    queued: int
    why: str

    @property
    def left(self) -> int:
        """Jobs that may still be submitted."""
        return max(0, self.limit - self.queued)


@dataclass(frozen=True)
class Job:
    """One line of the queue."""

    user: str
    account: str
    qos: str
    partitions: tuple[str, ...]


@dataclass(frozen=True)
class Limit:
    """At most so many jobs of those that count; None: whoever, whatever."""

    most: int
    why: str
    user: str | None = None
    accounts: frozenset[str] | None = None
    qos: str | None = None
    partition: str | None = None

    def counts(self, job: Job) -> bool:
        """Whether a job uses up this limit."""
        return (
            self.user in (None, job.user)
            and (self.accounts is None or job.account in self.accounts)
            and self.qos in (None, job.qos)
            and (self.partition is None or self.partition in job.partitions)
        )


@dataclass(frozen=True)
class Accounting:
    """What `sacctmgr` prints, as rows of the fields above."""

    user: str
    own: tuple[dict[str, str], ...]
    accounts: dict[str, dict[str, str]]
    qualities: dict[str, dict[str, str]]


def accounting(user: str, own: str, accounts: str, qualities: str) -> Accounting:
    """From three answers of `sacctmgr -nP` in the formats OWN, ACCOUNT and QOS."""
    return Accounting(
        user,
        tuple(_rows(own, OWN)),
        {row["account"]: row for row in _rows(accounts, ACCOUNT)},
        {row["name"]: row for row in _rows(qualities, QOS)},
    )


def queue(text: str) -> list[Job]:
    """From `squeue -rh` in the format QUEUE."""
    lines = (line.strip().split("|") for line in text.splitlines())
    return [Job(u, a, q, tuple(p.split(","))) for u, a, q, p in (f for f in lines if len(f) == 4)]


def tightest(found: list[Limit], jobs: list[Job]) -> Room:
    """The limit that leaves least."""
    rooms = [Room(f.most, sum(map(f.counts, jobs)), f.why) for f in found]
    return min(rooms, key=lambda r: r.left)


def found(
    known: Accounting, account: str | None, qos: str | None, partition: str | None, partition_qos: str | None
) -> list[Limit]:
    """Limits on jobs of the user, of an account, and in all, that hold for his next job."""
    mine = _association(known, account, partition)
    paid_by = account or mine.get("account", "")
    holding: dict[str, Limit] = {}
    for name, place in _layers(known, qos or _usual_qos(mine), partition, partition_qos):
        for kind, limit in _of_quality(known.qualities[name], known.user, paid_by, place).items():
            holding.setdefault(kind, limit)
    most = _number(mine.get("maxsubmit"))
    if most is not None and not holding.keys() & {"user", "account"}:
        why = f"association with account {paid_by}: {most} jobs"
        place = mine["partition"] or None
        holding["user"] = Limit(most, why, known.user, frozenset({paid_by}), partition=place)
    return [*holding.values(), *([] if "together" in holding else _of_accounts(known, mine))]


def _rows(text: str, fields: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        values = line.split("|")
        if len(values) == len(fields):
            yield dict(zip(fields, values, strict=True))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _association(known: Accounting, account: str | None, partition: str | None) -> dict[str, str]:
    """The user's association with the account, his default one unless said, rather the partition's own; {} for none."""
    fit = [
        row
        for row in known.own
        if row["account"] == (account or row["defaultaccount"]) and row["partition"] in ("", partition)
    ]
    return max(fit, key=lambda row: bool(row["partition"]), default={})


def _usual_qos(mine: dict[str, str]) -> str:
    """The QOS of a job that asks for none."""
    allowed = [q for q in mine.get("qos", "").split(",") if q]
    return mine.get("defaultqos") or (allowed[0] if len(allowed) == 1 else "normal")


def _layers(
    known: Accounting, qos: str, partition: str | None, partition_qos: str | None
) -> list[tuple[str, str | None]]:
    """QOS in the order in which their limits hold, each with the partition whose jobs count; None: jobs of that QOS."""
    layers = [(partition_qos or "", partition), (qos, None)]
    if "OverPartQOS" in known.qualities.get(qos, {}).get("flags", "").split(","):
        layers.reverse()
    return [(name, place) for name, place in layers if name in known.qualities]


def _of_quality(row: dict[str, str], user: str, account: str, partition: str | None) -> dict[str, Limit]:
    """The limits that one QOS sets, by kind."""
    name = row["name"]
    among = {"partition": partition} if partition else {"qos": name}
    kinds = {
        "user": (row["maxsubmitpu"], "jobs a user", {"user": user}),
        "account": (row["maxsubmitpa"], "jobs an account", {"accounts": frozenset({account})}),
        "together": (row["grpsubmit"], "jobs in all", {}),
    }
    return {
        kind: Limit(int(most), f"QOS {name}: {most} {words}", **among, **who)  # type: ignore[arg-type]
        for kind, (most, words, who) in kinds.items()
        if most.isdigit()
    }


def _of_accounts(known: Accounting, mine: dict[str, str]) -> list[Limit]:
    """Limits on all jobs of the association and of each account above it, with the accounts below."""
    if not mine:
        return []
    found, account = [], mine["account"]
    own = _number(mine["grpsubmit"])
    if own is not None:
        why = f"association with account {account}: {own} jobs in all"
        found.append(Limit(own, why, known.user, frozenset({account})))
    seen: set[str] = set()
    while account in known.accounts and account not in seen:
        seen.add(account)
        most = _number(known.accounts[account]["grpsubmit"])
        if most is not None:
            found.append(Limit(most, f"account {account}: {most} jobs in all", accounts=_below(known, account)))
        account = known.accounts[account]["parentname"]
    return found


def _below(known: Accounting, account: str) -> frozenset[str]:
    """An account and every account under it."""
    inside = {account}
    while True:
        more = {name for name, row in known.accounts.items() if row["parentname"] in inside} - inside
        if not more:
            return frozenset(inside)
        inside |= more
