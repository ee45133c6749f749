"""What a training may begin with: the weights of another (`train.start`), or the whole state of its trunk (`fork`)."""

from __future__ import annotations

from collections.abc import Sequence

from difgen_cli.engine.grid import fork
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan.derive import RunRecipe
from difgen_cli.engine.plan.points import START, Where
from difgen_cli.engine.plan.sections import Section, horizon

HELD_OUT = (
    "data.held_out", "data.held_out_seed", "data.canaries.count", "data.canaries.repeats", "data.canaries.kind",
    "data.canaries.seed",
)  # fmt: skip


def check_held_out(run: RunRecipe, where: Where) -> None:
    """GridError where a training begins with weights that have seen images which are held out from it."""
    start, ours = run.trajectory.inputs.get("start"), run.subset.inputs["holdout"]
    theirs = start.inputs["trajectory"].inputs["subset"].inputs["holdout"] if start else ours
    if theirs.key != ours.key and theirs.inputs["pool"].key == ours.inputs["pool"].key:
        path = next((path for path in HELD_OUT if where(f"{START}.{path}")), "data.held_out")
        raise GridError(
            f"{START}.{path}: the weights that training begins with have seen images that are held out here; hold out "
            "the same ones",
            where(f"{START}.{path}"),
        )


def check_past(train: Section, at: int, where: Where) -> None:
    """GridError where a cell of a grid that forks lies before the fork."""
    steps = train.settings["steps"]
    if steps <= at:
        raise GridError(
            f"{fork.AT}: forks at step {at}, and step {steps}, which is read, is its trunk's; use train.steps above "
            f"{at}, or skip: [{{{fork.CHANGE}: '!= {fork.UNCHANGED}', train.steps: '<= {at}'}}]",
            where("train.steps") or where(fork.AT),
        )


def check_fork(
    trunk: RunRecipe, trained: Sequence[Section], run: RunRecipe, train: Section, at: int, where: Where
) -> None:
    """GridError where a training cannot go on from the state of its trunk.

    trained: sections `train` and `objective`, as the trunk was trained.
    """
    before, after = (section.settings["optimizer"] for section in (trained[0], train))
    if before != after:
        raise GridError(
            f"{fork.CHANGE}: train.optimizer: {after} needs moments of its own, and the state of the trunk has those "
            f"of {before}; train the trunk by {after}, or begin with its weights alone by train.start",
            where("train.optimizer"),
        )
    steps = trained[0].settings["steps"]
    if (ends := horizon(*trained)) and steps < at:
        raise GridError(
            f"{fork.AT}: the trunk ends at step {steps} by {ends[0]}: {ends[1]}; fork there or before", where(fork.AT)
        )
    if trunk.subset.inputs["holdout"].key != run.subset.inputs["holdout"].key:
        path = next((path for path in (*HELD_OUT, "data.name") if where(path)), "data")
        raise GridError(
            f"{fork.CHANGE}: {path}: a fork has the data set and the held-out images of its trunk; change data.size, "
            "data.half or data.seed",
            where(path),
        )
