"""Do two networks make images that are alike in a feature space from the same noise, and are these no copies?"""

from typing import Annotated, Protocol

import numpy as np
from annotated_types import Ge, Le

from difgen_cli.metrics import Result, Value
from difgen_cli.metrics._features import Embed, features_of, name_of, sides_of
from difgen_cli.metrics._similarity import cosines, nearest_cosines, share_columns

VERSION = 1

COLUMNS = {
    "rp": (
        "float64",
        "share",
        "reproducibility score: pairs of samples of two networks from the same noise with a cosine above 0.6 "
        "(Zhang et al. 2024, by SSCD)",
        {"label": "reproducibility score", "scale": "share"},
    ),
    "rp_lo": ("float64", "share", "lower end of its 95 % Wilson interval over samples"),
    "rp_hi": ("float64", "share", "upper end of its 95 % Wilson interval over samples"),
    "rp_baseline": ("float64", "share", "the same for shuffled pairs: what any two samples have in common"),
    "rp_baseline_lo": ("float64", "share", "lower end of its 95 % Wilson interval over samples"),
    "rp_baseline_hi": ("float64", "share", "upper end of its 95 % Wilson interval over samples"),
    "rp_ceiling": ("float64", "share", "the same for a network trained on the same half, from other initial weights"),
    "rp_ceiling_lo": ("float64", "share", "lower end of its 95 % Wilson interval over samples"),
    "rp_ceiling_hi": ("float64", "share", "upper end of its 95 % Wilson interval over samples"),
    "rp_uncopied": (
        "float64",
        "share",
        "pairs that are alike, of which neither sample is as similar to an image that its network was trained on",
        {"label": "alike without being copies", "scale": "share"},
    ),
    "rp_uncopied_lo": ("float64", "share", "lower end of its 95 % Wilson interval over samples"),
    "rp_uncopied_hi": ("float64", "share", "upper end of its 95 % Wilson interval over samples"),
    "rp_features": ("string", "", "the feature space"),
}


class Reproduced(Protocol):
    """Another trajectory: its samples from the same noise, and its training images."""

    samples: np.ndarray
    train: np.ndarray


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    twin: Reproduced,
    sibling: Reproduced,
    embed: Embed,
    mirrored: bool = False,
    *,
    threshold: Annotated[float, Ge(-1), Le(1)] = 0.6,
    features: str = "pixels",
) -> Result:
    """The share of pairs of samples, of this network and of its twin, whose features have a cosine above a threshold.

    The twin is trained on the other half of the data, the sibling on the same one. Two networks that copy different
    halves make different images: rp is then near its baseline. Two that learnt the distribution make the same new ones:
    rp_uncopied is then near rp. Read both between baseline and ceiling, since a threshold means something in its own
    space alone. `mirrored`: training showed mirror images too, and a sample is as near to T as its nearer side.

    threshold: of the cosine.
    features: the feature space.
    """
    a, b, c = (features_of("reproducibility", embed, part) for part in (samples, twin.samples, sibling.samples))
    alike = cosines(a, b) > threshold
    copied = np.zeros(len(alike), bool)
    for drawn, seen in ((samples, train), (twin.samples, twin.train)):
        sides = sides_of("reproducibility", embed, drawn, mirrored)
        copied |= nearest_cosines(sides, features_of("reproducibility", embed, seen)) > threshold
    values: dict[str, Value] = dict.fromkeys(COLUMNS) | {"rp_features": name_of(embed, features)}
    values |= share_columns("rp", alike) | share_columns("rp_uncopied", alike & ~copied)
    values |= share_columns("rp_ceiling", cosines(a, c) > threshold)
    if len(a) > 1:
        values |= share_columns("rp_baseline", cosines(a, np.roll(b, 1, axis=0)) > threshold)
    return Result(values)
