"""Guidance by stronger weight regularisation (Kaiser et al. 2024): away from the network fine-tuned with weight decay.

The negative errs where the network errs, and more: the two differ in nothing else.
"""

from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
CONTINUED = {"train.weight_decay": "decay", "train.steps": "steps"}  # setting of the training -> setting of this term


def negative(
    continued: "DenoiserLike",
    *,
    decay: Annotated[float, Gt(0)] = 1.0,
    steps: Annotated[int, Gt(0)] = 200,
) -> "DenoiserLike":
    """The network's averaged weights, trained on with decay: once for each snapshot, as a trajectory of its own.

    decay: λ of AdamW while it is trained on; each step shrinks all weights by a factor 1 − learning rate · λ.
    steps: how many steps it is trained on, with a new optimizer; everything else is as in the network's own training.
    """
    return continued
