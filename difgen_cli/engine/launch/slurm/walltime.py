"""How long a job is asked for, from what its work is expected to take."""

from __future__ import annotations

import math

from difgen_cli.engine.cost.estimate import Seconds
from difgen_cli.engine.cost.forecast import Forecast
from difgen_cli.engine.launch.slurm.profile import USUAL_MINUTES, Profile
from difgen_cli.format import duration

MARGIN = 1.25  # nodes are not all as fast, and files come over the network
MOST_DOUBT = 2.0  # a vague estimate should not make a job wait for a day: what is cut goes on
LEAST_MINUTES = 30  # less saves little: a job costs the scheduler, and the worker its start
ROUND_MINUTES = 10


def asked_for(profile: Profile, forecast: Forecast) -> tuple[Profile, str]:
    """A profile with the walltime to ask for; and where that comes from, unless it is the profile's own or the usual.

    Enough for the longest unit, so that none need be cut, and for all of a worker's share where that is within the
    usual walltime: short jobs start earlier. What is cut all the same goes on in the next job.
    """
    if "walltime_minutes" in profile.model_fields_set or forecast.wall.how == "unknown" or forecast.unknown:
        return profile, ""
    seconds = max(_safe(forecast.longest), min(_safe(forecast.wall), USUAL_MINUTES * 60 / MARGIN))
    minutes = max(LEAST_MINUTES, ROUND_MINUTES * math.ceil(MARGIN * seconds / 60 / ROUND_MINUTES))
    return profile.usually(minutes), f" (the longest unit is expected to take {duration(forecast.longest.value)})"


def _safe(seconds: Seconds) -> float:
    return seconds.value * min(seconds.factor, MOST_DOUBT)


def note(asked: Profile, forecast: Forecast) -> str | None:
    """Where something will not be done within the walltime that cannot be saved in the middle."""
    name, piece = forecast.piece.name, forecast.piece.seconds
    most = asked.walltime_minutes * 60 - asked.notice_seconds
    if piece.how == "unknown" or piece.value <= most:
        return None
    return (
        f"{name} of one cell is expected to take {duration(piece.value)}, and cannot be saved in the middle: "
        f"{asked.walltime_minutes} minutes will not do; raise walltime_minutes in the profile"
    )
