"""The inputs that plug-ins of each kind can have: the names that their positional parameters may bear."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

OF_SUBSET = ("train", "train_labels", "classifier")  # what samplers and terms of guidance may have of T
INPUTS: dict[str, tuple[str, ...]] = {
    "data": (),
    "condition": (
        "images", "labels", "held_out", "held_out_labels", "train", "embed", "given", "held_out_given",
    ),
    "model": ("shape", "classes", "train", "train_labels", "sigma_data", "population", "pretrained"),
    "objective": (
        "denoiser", "batch", "draws", "teacher", "average", "hidden", "heads", "targets", "ideal", "sigma_data",
        "unlearn",
    ),
    "post_training": ("weights", "others", "rng", "shape", "train", "train_labels"),
    "sample": ("denoiser", "x", "levels", "labels", "rng", *OF_SUBSET),
    "guide": ("denoiser", "shape", "weak", "continued", *OF_SUBSET),
    "score": (
        "samples", "sample_labels", "train", "held_out", "rest", "train_labels", "train_confidence", "rest_labels",
        "held_out_labels", "train_classes", "held_out_classes", "sigma_data", "denoiser", "embed", "shared", "states",
        "walks", "twin", "sibling", "reference", "against", "mirrored", "left_out", "groups", "unlearn", "coins",
        "canaries", "claims", "references",
    ),
    "features": ("images", "labels", "weights"),
}  # fmt: skip
BY_PLACE = {"model": 2, "sample": 4}  # so many of the first are passed by place: networks may call them as they like


def takes_noise(parameters: Sequence[str]) -> bool:
    """Whether a sampler is one of difgen 0.1: it is given unit noise, and makes its own levels."""
    return len(parameters) > 1 and parameters[1] == "noise"


def mistake(kind: str, parameters: Sequence[str]) -> str:
    """What is wrong with the positional parameters of a plug-in: a sentence; empty where nothing is."""
    allowed, first = INPUTS[kind], BY_PLACE.get(kind, 0)
    if kind == "sample" and takes_noise(parameters):
        allowed, first = ("denoiser", "noise", "labels"), 3
    if "sample_labels" in parameters and "samples" not in parameters:
        return "the parameter sample_labels goes with samples; name both"
    unknown = next((name for name in parameters[first:] if name not in allowed), None)
    if unknown is None:
        return ""
    close = difflib.get_close_matches(unknown, allowed, n=1)
    return (
        f"the parameter {unknown} is no input that such a plug-in can have ({', '.join(allowed) or 'it has none'})"
        f"{f'; did you mean {close[0]}?' if close else ''}; settings come after a `*`"
    )
