"""Samples that come in groups, such as the images of one prompt: which results change with them.

A metric that knows what to do with groups has an input `groups`. Every other that sees the samples takes them for
independent: where they are not, its values stand, and its intervals over samples are missing.
"""

from __future__ import annotations

from difgen_cli.engine.plugins import Signature

ENDS = ("_lo", "_hi", "_se")
# Intervals of real images, which are what they are whatever the samples: controls, and held-out against other data.
OF_REAL_IMAGES = ("_control_", "ood_auroc_", "ood_fpr95_")


def independent(signature: Signature) -> tuple[str, ...]:
    """The columns of a metric that hold for independent samples alone, and are missing where samples are not."""
    if "samples" not in signature.inputs or "groups" in signature.inputs:
        return ()
    columns = signature.constants.get("COLUMNS", {})
    ends = (name for name in columns if name.endswith(ENDS))
    return tuple(name for name in ends if not any(part in name for part in OF_REAL_IMAGES))


def concern(signature: Signature) -> bool:
    """Whether a metric's result is another one where the samples come in groups."""
    return "groups" in signature.inputs or bool(independent(signature))
