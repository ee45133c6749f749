"""The trainings that are left: what others need of them, what they need of others, and from which step they go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from difgen_cli.engine.plan import Dependency, Plan, Trajectory
from difgen_cli.engine.plan.recipes import BEGINNINGS
from difgen_cli.engine.plan.work import Training

if TYPE_CHECKING:
    from difgen_cli.engine.plan.pending import StoredRuns


def lacking(plan: Plan, steps: dict[str, set[int]], stored: StoredRuns) -> tuple[list[Training], list[str]]:
    """The trainings that lack something, and what they train again. `steps`: the wanted snapshots by trajectory."""
    wanted: dict[bool, dict[str, set[int]]] = {False: steps, True: {}}  # whether the whole state -> by trajectory
    missing: dict[str, tuple[set[int], set[int]]] = {}
    begins: dict[str, int] = {}
    wanting = list(steps)
    for key in wanting:  # grows while it is read: what a trajectory begins with, or learns from, may need others
        run = stored.trajectory(key)
        missing[key] = steps.get(key, set()) - run.snapshots, wanted[True].get(key, set()) - run.states
        if not any(missing[key]):
            continue
        begins[key] = run.checkpoint_before(*missing[key])
        for other in _needed(plan, key, begins[key]).values():
            if other.step is not None:
                wanted[other.whole].setdefault(other.run_key, set()).add(other.step)
                wanting.append(other.run_key)
    trainings: list[Training] = []
    retrained: list[str] = []
    for key in dict.fromkeys(wanting):
        snapshots, states = (tuple(sorted(each)) for each in missing[key])
        if not snapshots and not states:
            continue
        trajectory, first = plan.trajectories[key], max(begins[key], plan.trajectories[key].first)
        retrained += _again(trajectory, stored.trajectory(key).snapshots, first, snapshots, states)
        needs = _needed(plan, key, begins[key])
        trainings.append(Training(key, trajectory.slug, snapshots, trajectory.batch, needs, first, states))
    return sorted(trainings, key=lambda t: (-t.cost, t.slug)), retrained


def _needed(plan: Plan, key: str, first: int) -> dict[str, Dependency]:
    """The weights of others that a training is given which goes on from a checkpoint at step `first`; 0: from none."""
    needs = plan.needs(plan.trajectories[key])
    return {role: other for role, other in needs.items() if not first or role not in BEGINNINGS}


def _again(
    trajectory: Trajectory, snapshots: set[int], first: int, lacking: Sequence[int], states: Sequence[int]
) -> Iterator[str]:
    """What is trained again from `first`, since no snapshot, or no state for a fork, was kept on the way."""
    furthest = max(snapshots, default=0)
    if lacking and lacking[0] < furthest:
        yield f"{trajectory.slug}: an earlier snapshot was not kept, so it is trained again"
    elif states and first < min(states[0], furthest):
        yield f"{trajectory.slug}: its state at step {states[0]} was not kept, so it is trained again to fork there"
