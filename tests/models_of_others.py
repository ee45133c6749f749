"""Models that stand for those of other people: trained here for seconds on digits, and written in others' formats.

One was shown some digits many times, by the recipe and in the layout of diffusers; one saw many digits once, by those
of EDM; one learnt a few digits by heart, and is a module of its author's own.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from difgen_cli.data import digits
from difgen_cli.models import unet2d
from difgen_cli.models._unet2d_names import settings_of

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "pretrained"), str(HERE / "models")]
import files_of_others as others  # noqa: E402
from edm import Edm, Weights, evaluate, random_weights  # noqa: E402

REPEATED, TIMES, ONCE = 4, 30, 56  # images of the set with repeats, how often they stand in it, and the others
GENERAL, FEW = 300, 52  # training images of the two others
HELD_OUT = 200
BETAS = (1e-4, 0.02)  # of diffusers' linear schedule
UNET2D = others.UNET2D | {
    "in_channels": 1, "out_channels": 1, "block_out_channels": [8, 16, 128], "norm_num_groups": 4,
    "down_block_types": ["DownBlock2D"] * 3, "up_block_types": ["UpBlock2D"] * 3, "add_attention": False,
}  # fmt: skip
EDM = Edm(channels=1, width=16, multipliers=(1, 2), blocks=1, attention=(), classes=10)
DESCRIBED: dict[str, Any] = {
    "network": "mine", "settings": {"width": 192}, "shape": [1, 8, 8],
    "reading": {"prediction": "clean", "schedule": "linear", "noise_input": "timestep", "unit": 1.0},
}  # fmt: skip


def shuffled() -> tuple[np.ndarray, np.ndarray]:
    """Digits (1797, 8, 8) uint8 in an order that says nothing, and their labels."""
    pool, order = digits.load(), np.random.default_rng(0).permutation(1797)
    assert pool.labels is not None
    return pool.images[order, :, :, 0], pool.labels[order]


def save(folder: Path, images: np.ndarray, labels: np.ndarray | None = None) -> Path:
    """PNG files in a folder, or each in that of its class."""
    for index, image in enumerate(images):
        place = folder if labels is None else folder / str(labels[index])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index:04d}.png")
    return folder


def scaled(images: np.ndarray) -> Tensor:
    """(N, 1, 8, 8) in [−1, 1]."""
    return torch.from_numpy(images)[:, None] / 127.5 - 1


def averaged(parameters: Sequence[Tensor], step: int, averages: Sequence[Tensor]) -> None:
    """Move the running average of weights on by a step."""
    with torch.no_grad():
        torch._foreach_lerp_(list(averages), list(parameters), 1 - min(0.99, (1 + step) / (10 + step)))


def ddpm(network: nn.Module, images: Tensor, steps: int, batch: int, lr: float) -> Iterator[tuple[int, nn.Module]]:
    """Train to predict the image at any of 1,000 timesteps, weighted by the ratio of image to noise, up to 20.

    The step, and the average of the weights.
    """
    kept, average = torch.cumprod(1 - torch.linspace(*BETAS, 1000), 0), copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
    chance = torch.Generator().manual_seed(0)
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = lr * min(1, step / 50) * (1 + np.cos(np.pi * step / steps)) / 2
        clean = images[torch.randint(len(images), (batch,), generator=chance)]
        noise, times = torch.randn(clean.shape, generator=chance), torch.randint(1000, (batch,), generator=chance)
        share = kept[times].view(-1, 1, 1, 1)
        seen = share.sqrt() * clean + (1 - share).sqrt() * noise
        optimizer.zero_grad()
        error = network(seen, times.float(), None) - clean
        ((share / (1 - share)).clamp(max=20) * error.square()).mean().backward()
        optimizer.step()
        averaged(list(network.parameters()), step, list(average.parameters()))
        yield step, average


def edm(images: Tensor, labels: Tensor, steps: int, batch: int, lr: float) -> Weights:
    """Train EDM's network as Karras et al. (2022) do, σ_d = 0.5; the average."""
    weights = {name: tensor.requires_grad_() for name, tensor in random_weights(EDM).items()}
    trained = [tensor for name, tensor in weights.items() if not name.endswith("resample_filter")]
    with torch.no_grad():
        for name, tensor in weights.items():  # what a block ends with begins at zero, as EDM's does
            if ".conv1." in name or "aux_conv" in name:
                tensor.mul_(1e-5)
    average = {name: tensor.detach().clone() for name, tensor in weights.items()}
    optimizer, chance = torch.optim.Adam(trained, lr=lr), torch.Generator().manual_seed(0)
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = lr * min(1, step / 30)
        order = torch.randint(len(images), (batch,), generator=chance)
        clean, given = images[order], nn.functional.one_hot(labels[order], EDM.classes).float()
        sigma = (1.2 * torch.randn(batch, generator=chance) - 1.2).exp().view(-1, 1, 1, 1)
        noisy = clean + sigma * torch.randn(clean.shape, generator=chance)
        whole = sigma.square() + 0.25
        wanted = (clean - 0.25 / whole * noisy) / (0.5 * sigma / whole.sqrt())
        optimizer.zero_grad()
        output = evaluate(EDM, weights, noisy / whole.sqrt(), sigma.flatten().log() / 4, given)
        (output - wanted).square().mean().backward()
        optimizer.step()
        averaged(list(weights.values()), step, list(average.values()))
    return average


# What their authors leave ---------------------------------------------------------------------------------------------


def repeats_of_diffusers(folder: Path, steps: Sequence[int] = (80, 300)) -> None:
    """`train/`, `test/`, and `out/` as diffusers' training script for images without conditions leaves it.

    4 of the 60 training images stand 30 times in `train/`, under other names.
    """
    images, _ = shuffled()
    shown = np.concatenate([images[:REPEATED].repeat(TIMES, axis=0), images[REPEATED : REPEATED + ONCE]])
    save(folder / "train", shown)
    save(folder / "test", images[-HELD_OUT:])
    torch.manual_seed(0)
    network, out = unet2d.build((1, 8, 8), 0, **settings_of(UNET2D)), folder / "out"
    for step, average in ddpm(network, scaled(shown), steps[-1], 32, 5e-3):
        for part, one in (("unet", network), ("unet_ema", average)) if step in steps else ():
            place = others.diffusers_folder(out / f"checkpoint-{step}" / part, one.state_dict(), UNET2D)
            (place / "scheduler_config.json").unlink()  # that of the pipeline says it
    others.pipeline(out, average.state_dict(), config=UNET2D)
    scheduler = json.dumps(others.SCHEDULER | {"prediction_type": "sample"})
    (out / "scheduler" / "scheduler_config.json").write_text(scheduler)


def general_of_edm(folder: Path, steps: int = 120) -> None:
    """`train/` and `test/` with a folder for each digit, and `network-snapshot-000019.pkl` as EDM leaves it."""
    images, labels = shuffled()
    save(folder / "train", images[:GENERAL], labels[:GENERAL])
    save(folder / "test", images[-HELD_OUT:], labels[-HELD_OUT:])
    weights = edm(scaled(images[:GENERAL]), torch.from_numpy(labels[:GENERAL]).long(), steps, 64, 4e-3)
    inner = {
        "img_resolution": EDM.size, "in_channels": 1, "out_channels": 1, "label_dim": EDM.classes,
        "model_channels": EDM.width, "channel_mult": list(EDM.multipliers), "num_blocks": EDM.blocks,
        "attn_resolutions": [], "dropout": 0.13,
    }  # fmt: skip
    outer = {"img_resolution": EDM.size, "img_channels": 1, "label_dim": EDM.classes, "use_fp16": False}
    content = {"ema": others.edm_network(weights, inner, outer), "dataset_kwargs": others.EasyDict(path="digits.zip")}
    others.pickled(folder / "network-snapshot-000019.pkl", content)


def few_of_a_module(folder: Path, code: str, steps: int = 1500, shown: np.ndarray | None = None) -> None:
    """`train/`, `test/`, and the weights of a module in `code`, with that file and what describes it.

    shown: (N, 8, 8) uint8, what it is trained on.
    """
    images, _ = shuffled()
    shown = images[:FEW] if shown is None else shown
    save(folder / "train", shown)
    save(folder / "test", images[-HELD_OUT:])
    module = folder / "plugins" / "models" / "mine.py"
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("mine_of_the_document", module)
    assert spec is not None
    assert spec.loader is not None
    mine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mine)
    torch.manual_seed(0)
    network = mine.build((1, 8, 8), 0, **DESCRIBED["settings"])
    *_, (_, average) = ddpm(network, scaled(shown), steps, 64, 4e-3)
    torch.save({"state_dict": average.state_dict(), "epoch": 1500}, folder / "weights.pt")
    (folder / "mine.json").write_text(json.dumps(DESCRIBED, indent=1))
