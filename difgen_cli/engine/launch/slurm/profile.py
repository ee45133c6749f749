"""A profile of difgen.toml: what to ask a cluster for. It belongs to a place and a person, never to a grid."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

from annotated_types import Ge, Gt
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.types import StringConstraints

from difgen_cli.config import SHELL, NotYours, PlaceError
from difgen_cli.engine.launch import LaunchError
from difgen_cli.engine.launch.slurm.inside import JOB_STARTED, SUBMISSION

USUAL_MINUTES = 240  # or what the partition allows, if that is less

Word = Annotated[str, StringConstraints(pattern=r"^[^\s'\"\\$`]+$")]  # a line of its own in what sbatch reads


class Profile(BaseModel):
    """The settings of a profile, with their defaults."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    gpus: Annotated[int, Ge(0)] = 0
    cpus: Annotated[int, Gt(0)] = 1
    memory_gb: Annotated[float, Gt(0)] | None = None
    walltime_minutes: Annotated[int, Gt(0)] = USUAL_MINUTES
    signal_seconds: Annotated[int, Gt(0)] = 120  # how long before its end a worker is told
    setup: tuple[str, ...] = ()  # lines of shell before the worker: the person's own

    @property
    def notice_seconds(self) -> int:
        """How long before its end a worker is told: never more than a quarter of its time."""
        return min(self.signal_seconds, self.walltime_minutes * 60 // 4)

    def usually(self, minutes: int) -> Profile:
        """With another walltime where the profile says none: it counts as unsaid, so that a partition may cut it."""
        if "walltime_minutes" in self.model_fields_set:
            return self
        return Profile.model_construct(_fields_set=self.model_fields_set, **{**dict(self), "walltime_minutes": minutes})

    def within(self, most_minutes: int | None, partition: str) -> Profile:
        """With the walltime that a partition allows; LaunchError where more was asked for: it would wait for ever."""
        if most_minutes is None or self.walltime_minutes <= most_minutes:
            return self
        if "walltime_minutes" in self.model_fields_set:
            raise LaunchError(
                f"difgen.toml: walltime_minutes = {self.walltime_minutes}: the partition {partition} allows "
                f"{most_minutes} minutes at most; a job that asks for more would wait for ever"
            )
        return self.model_copy(update={"walltime_minutes": most_minutes})

    def parameters(self, name: str, grid: str, workers: int) -> dict[str, Any]:
        """For submitit: an array that keeps `workers` of its tasks running. `srun` passes signals on to the worker."""
        own = {
            "slurm_partition": self.partition, "slurm_account": self.account, "slurm_qos": self.qos,
            "slurm_constraint": self.constraint, "slurm_gpus_per_node": self.gpus or None, "mem_gb": self.memory_gb,
        }  # fmt: skip
        return {k: v for k, v in own.items() if v is not None} | {
            "name": name,
            "slurm_comment": "difgen " + "".join(c if c.isalnum() or c in "._-" else "_" for c in grid),
            "timeout_min": self.walltime_minutes,
            "cpus_per_task": self.cpus,
            "slurm_array_parallelism": workers,
            "slurm_signal_delay_s": self.notice_seconds,
            "slurm_setup": [*_first_lines(name), *self.setup],
            "slurm_srun_args": ["--export=ALL", f"--cpus-per-task={self.cpus}"],
            "slurm_additional_parameters": {"requeue": True},
            "stderr_to_stdout": True,
        }


def _first_lines(name: str) -> list[str]:
    """What a job of difgen's own says of itself before anything else: when it began, and for which submission."""
    return [
        f"export {JOB_STARTED}=$(cut -d' ' -f1 /proc/uptime)",
        f'export {SUBMISSION}={shlex.quote(name)}@"${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}"',
    ]


def of(settings: dict[str, Any]) -> Profile:
    """A profile from what difgen.toml says; PlaceError for a setting that profiles do not have or cannot be so."""
    setup = settings.get(SHELL)
    if isinstance(setup, NotYours):
        raise PlaceError(setup.why)
    try:
        return Profile.model_validate({k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            allowed = ", ".join(Profile.model_fields)
            raise PlaceError(f"difgen.toml: {name}: unknown setting of a profile ({allowed})") from None
        raise PlaceError(f"difgen.toml: {name} = {first['input']!r}: {first['msg'].lower()}") from None
