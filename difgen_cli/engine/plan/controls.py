"""The control that metrics need where the data bring held-out images of their own."""

from __future__ import annotations

from collections.abc import Mapping

from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan.sections import DEFAULT_SCORE
from difgen_cli.engine.plugins import Library

BLIND = "blind"  # the metric that tells T from H without any model
CLAIMS = "NON_MEMBERS"  # the constant of a metric that names its columns that take H for what T could have been


def with_blind(given: Mapping[str, Given], library: Library) -> tuple[dict[str, Given], list[str]]:
    """What `score:` says, with `blind` added where it is missing and a metric claims something of H; and a note.

    For data that say themselves which images are held out: those that difgen draws are of the same pool.
    """
    metrics = {path for path in given if "." not in path} or set(DEFAULT_SCORE)
    metrics |= {path.partition(".")[0] for path in given}
    has = metrics & set(library.names("score"))  # any other is refused elsewhere
    claiming = sorted(metric for metric in has if library.signature("score", metric).constants.get(CLAIMS))
    if BLIND in metrics or not claiming:
        return dict(given), []
    note = (
        f"the metric {BLIND} is added: the data bring held-out images of their own, and any difference from the "
        f"training images would look like a trace of training ({', '.join(claiming)})"
    )
    return {metric: Given(True) for metric in metrics} | dict(given) | {BLIND: Given(True)}, [note]
