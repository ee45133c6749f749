"""When a policy was written: by the commit that holds it, else by what it declares."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from difgen_cli.gate.policy import Policy

SECONDS = 10  # that git may take


@dataclass(frozen=True)
class WrittenAt:
    """time: None where it is not shown. by: `git commit …`, or `declared`. why: where not, the end of a sentence."""

    time: datetime | None = None
    by: str = ""
    why: str = ""


def written(policy: Policy) -> WrittenAt:
    """When the policy was written, as far as that is shown.

    Of a file that git knows only its commit counts, and only of these very bytes: a declared time could be older than
    what was changed since.
    """
    file = policy.file
    if file is not None and _git(file, "ls-files", "--error-unmatch", "--", file.name) is not None:
        if _git(file, "cat-file", "blob", f"HEAD:./{file.name}") != policy.text.encode():
            return WrittenAt(why="it was changed after its last commit")
        commit = _git(file, "log", "-1", "--no-show-signature", "--format=%H %cI", "--", file.name) or b""
        name, _, at = commit.decode().strip().partition(" ")
        return WrittenAt(datetime.fromisoformat(at), f"git commit {name}") if at else WrittenAt(why="git has no commit")
    if policy.declared is not None:
        return WrittenAt(policy.declared, "declared")
    return WrittenAt(why="no commit holds it, and it declares no time")


def _git(file: Path, *arguments: str) -> bytes | None:
    """What git prints in the folder of a file; None where it fails, or there is none."""
    command = ["git", "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(command, cwd=file.absolute().parent, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
