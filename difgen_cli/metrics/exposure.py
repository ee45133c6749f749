"""The denoising loss image by image, of the pool and of held-out images, under noise that only the image decides."""

import hashlib
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from difgen_cli.metrics import Result, Shared
from difgen_cli.metrics._noise import Bank, device_of, losses, within
from difgen_cli.metrics.membership import DECLARED, DRAWS

if TYPE_CHECKING:
    import torch

    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is

COLUMNS = {
    "exposure_train": ("int64", "images", "of T, whose loss the table exposure has", {"role": "count"}),
    "exposure_rest": ("int64", "images", "of the pool without T and H, whose loss it has", {"role": "count"}),
    "exposure_heldout": ("int64", "images", "of H, whose loss it has", {"role": "count"}),
}
TABLES = {
    "exposure": {
        "split": ("string", "", "train, rest (neither T nor H) or heldout, byte for byte"),
        "image": ("int64", "", "its place among the images that are not held out, or among the held-out ones, from 0"),
        "loss": ("float64", "", "mean of |D(x + sigma n) - x|^2 / d over 8 draws of noise, at 0.25 sigma_d"),
    }
}
TRAIN, REST, HELD_OUT = "train", "rest", "heldout"
STREAM = 5  # of noise, beside that of the bank


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    rest: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    rest_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    sigma_data: float,
    shared: Shared,
    *,
    images: Annotated[int, Ge(2)] = 2048,
) -> Result:
    """The table `exposure`: one line for each image, each of them 8 evaluations of the network.

    Which images those are, and the noise that they are given, follows from each image alone. So all models that are
    trained on parts of one pool are asked about the same images under the same noise, and the report compares them
    image by image: see its `calibrated.csv` and `images.csv`. Images of a condition that T does not have are left out,
    and so are exact repeats of an image. No lines where the denoiser is not for 0.25 sigma_d.

    images: of the pool without H, and of H, at most; chosen by a hash of the image.
    """
    chosen = shared("chosen", lambda: _chosen(train, rest, held_out, images))
    parts = (
        (np.where(chosen["trained"], TRAIN, REST), chosen["rest"], rest, rest_labels),
        (np.full(len(chosen["held_out"]), HELD_OUT), chosen["held_out"], held_out, held_out_labels),
    )
    splits, places, values = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for split, at, x, labels in parts if within(denoiser, DECLARED * sigma_data) else ():
        asked = np.ones(len(at), bool) if labels is None or train_labels is None else np.isin(labels[at], train_labels)
        if asked.any():
            of_kept = None if labels is None else labels[at[asked]]
            bank = bank_by_image(x[at[asked]], of_kept, DRAWS, device_of(denoiser))
            splits.append(split[asked])
            places.append(at[asked])
            values.append(losses(denoiser, bank, [DECLARED * sigma_data]).mean[:, 0])
    table = {
        "split": np.concatenate([*splits, np.zeros(0, np.str_)]),
        "image": np.concatenate([*places, np.zeros(0, np.int64)]),
        "loss": np.concatenate([*values, np.zeros(0)]),
    }
    counts = {f"exposure_{split}": int((table["split"] == split).sum()) for split in (TRAIN, REST, HELD_OUT)}
    return Result({**counts}, {"exposure": table})


def bank_by_image(images: np.ndarray, labels: np.ndarray | None, draws: int, device: "torch.device") -> Bank:
    """Every image with `draws` draws of unit noise, the same for the same image wherever it stands.

    images (n, H, W, C) or (n, D), labels (n,). The noise is seeded with a 128-bit hash of the image's values.
    """
    import torch

    from difgen_cli.diffusion import to_tensor

    x = to_tensor(images)
    noise = np.empty((len(images), draws, *x.shape[1:]), np.float32)
    for row, image in zip(noise, images, strict=True):
        seed = (STREAM, int.from_bytes(_identity(image), "big"))
        row[:] = np.random.default_rng(seed).standard_normal(row.shape, np.float32)
    repeated = None if labels is None else torch.from_numpy(labels).repeat_interleave(draws).to(device)
    drawn = torch.from_numpy(noise).flatten(0, 1).to(device)
    return Bank(x.repeat_interleave(draws, dim=0).to(device), drawn, repeated, np.full(draws, 1 / draws))


def _chosen(train: np.ndarray, rest: np.ndarray, held_out: np.ndarray, images: int) -> dict[str, np.ndarray]:
    """Places in `rest` and `held_out`, ascending, of the images with the lowest hashes, and which of `rest` T has."""
    trained = {_identity(image) for image in train}
    of_rest, names = _lowest(rest, images)
    return {
        "rest": of_rest, "held_out": _lowest(held_out, images)[0],
        "trained": np.array([name in trained for name in names], bool),
    }  # fmt: skip


def _lowest(x: np.ndarray, count: int) -> tuple[np.ndarray, list[bytes]]:
    """Places, ascending, of the `count` images with the lowest hashes, each repeat once, and these hashes."""
    first: dict[bytes, int] = {}
    for place, image in enumerate(x):
        first.setdefault(_identity(image), place)
    lowest = sorted(sorted(first)[:count], key=first.__getitem__)
    return np.array([first[name] for name in lowest], np.int64), lowest


def _identity(image: np.ndarray) -> bytes:
    return hashlib.blake2b((image + np.float32(0)).tobytes(), digest_size=16).digest()  # no −0
