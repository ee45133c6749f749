"""What the middle of the network knows of the classes: logistic regression on its hidden state (a linear probe)."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.metrics import Result, Shared, wilson
from difgen_cli.metrics._logistic import fit
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, Bank, bank_of_pairs, denoise, device_of, within

if TYPE_CHECKING:
    import torch
    from torch import nn

    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
HELD_OUT_MIN = 1

COLUMNS = {
    "probe_acc_025": ("float64", "share", "held-out images classified by the middle of the network at 0.25 sigma_d"),
    "probe_acc_025_lo": ("float64", "share", "lower end of its 95 % Wilson interval, given the probe"),
    "probe_acc_025_hi": ("float64", "share", "upper end of its 95 % Wilson interval, given the probe"),
    "probe_acc_050": ("float64", "share", "the same at 0.5 sigma_d"),
    "probe_acc_050_lo": ("float64", "share", "lower end of its 95 % interval"),
    "probe_acc_050_hi": ("float64", "share", "upper end of its 95 % interval"),
    "probe_acc_100": ("float64", "share", "the same at sigma_d"),
    "probe_acc_100_lo": ("float64", "share", "lower end of its 95 % interval"),
    "probe_acc_100_hi": ("float64", "share", "upper end of its 95 % interval"),
    "probe_acc_025_control": ("float64", "share", "by the noisy pixels themselves at 0.25 sigma_d"),
    "probe_acc_050_control": ("float64", "share", "by the noisy pixels themselves at 0.5 sigma_d"),
    "probe_acc_100_control": ("float64", "share", "by the noisy pixels themselves at sigma_d"),
}

NAMED = {0.25: "025", 0.5: "050", 1.0: "100"}  # noise levels in units of σ_d


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    held_out: np.ndarray,
    train_classes: np.ndarray | None,
    held_out_classes: np.ndarray | None,
    sigma_data: float,
    shared: Shared,
    *,
    pairs: Annotated[int, Gt(0)] = 1024,
) -> Result:
    """Accuracy on noisy held-out images of a logistic regression fitted on noisy training images.

    Features are the output of the network's `middle`, else of the middle one of its `blocks`, averaged over pixels,
    with the condition dropped: it would tell the class. Each is standardised on T; the penalty is scikit-learn's.
    Held-out images of classes that T lacks stay in: no probe can name them. All is None where the data have no labels,
    where T has a single class, and for a denoiser without such a network, as the ideal one.

    pairs: of image and noise in each split, at least.
    """
    values: dict[str, float | int | str | bool | None] = dict.fromkeys(COLUMNS)
    inside = middle(denoiser)
    if train_classes is None or held_out_classes is None or inside is None or len(np.unique(train_classes)) < 2:
        return Result(values)
    if not len(held_out):
        raise ValueError("probe needs held-out images: raise data.held_out")
    device = device_of(denoiser)
    learnt = bank_of_pairs(train, None, pairs, TRAIN, device)
    asked = bank_of_pairs(held_out, None, pairs, HELD_OUT, device)
    classes = _classes(train_classes, learnt), _classes(held_out_classes, asked)
    levels = {word: relative * sigma_data for relative, word in NAMED.items()}
    controls = shared("pixels", lambda: {w: _of_pixels(learnt, asked, classes, s) for w, s in levels.items()})
    images = len(asked.images) // asked.draws
    for word, sigma in levels.items():
        if not within(denoiser, sigma):
            continue
        name = f"probe_acc_{word}"
        share = accuracy((hidden(denoiser, inside, learnt, sigma), hidden(denoiser, inside, asked, sigma)), classes)
        lower, upper = wilson(share * images, images)  # the draws of an image count once
        values |= {name: share, f"{name}_lo": lower, f"{name}_hi": upper, f"{name}_control": float(controls[word])}
    return Result(values)


def middle(denoiser: "DenoiserLike") -> "nn.Module | None":
    """The module in the middle of the denoiser's network; None where it has neither `middle` nor `blocks`."""
    from torch import nn

    network = getattr(denoiser, "network", None)
    inside = getattr(network, "middle", None)
    if isinstance(inside, nn.ModuleList):
        return inside[-1]
    if isinstance(inside, nn.Module):
        return inside
    blocks = getattr(network, "blocks", None)
    return blocks[(len(blocks) - 1) // 2] if isinstance(blocks, nn.ModuleList) and len(blocks) else None


def hidden(denoiser: "DenoiserLike", inside: "nn.Module", bank: Bank, sigma: float) -> np.ndarray:
    """What `inside` gives for each pair at an absolute noise level, averaged over pixels: (p, features) float64."""
    import torch

    seen: list[torch.Tensor] = []

    def keep(_module: "nn.Module", _inputs: tuple[object, ...], output: "torch.Tensor") -> None:
        seen.append(output.flatten(2).mean(2) if output.dim() > 2 else output)

    handle = inside.register_forward_hook(keep)
    try:
        denoise(denoiser, bank, sigma)
    finally:
        handle.remove()
    states = torch.cat(seen).double().cpu().numpy()
    if not np.isfinite(states).all():
        raise ValueError(
            f"probe: the network gives NaN or infinite values at sigma {sigma:.3g}: did the training diverge?"
        )
    return np.asarray(states)


def accuracy(features: tuple[np.ndarray, np.ndarray], classes: tuple[np.ndarray, np.ndarray]) -> float:
    """The share of the second group that a logistic regression fitted on the first classifies rightly."""
    return float((fit(features[0], classes[0]).classify(features[1]) == classes[1]).mean())


def _of_pixels(learnt: Bank, asked: Bank, classes: tuple[np.ndarray, np.ndarray], sigma: float) -> np.ndarray:
    """The accuracy of the same regression on x₀ + σn itself."""
    learnt_x, asked_x = ((b.images + sigma * b.noise).flatten(1).double().cpu().numpy() for b in (learnt, asked))
    return np.array(accuracy((learnt_x, asked_x), classes))


def _classes(classes: np.ndarray, bank: Bank) -> np.ndarray:
    """The class of each pair."""
    return np.repeat(classes[: len(bank.images) // bank.draws], bank.draws)
