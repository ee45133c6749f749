"""What it costs to read weights of others: seconds, the most memory, and one evaluation of the denoiser.

    python benchmarks/reading.py

Random weights of EDM's network for CIFAR-10 (55.7 million parameters) are written in each form that difgen reads. Each
is read in a process of its own on one thread; `peak` is the most memory of that process above what it had before, as a
multiple of the weights in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from difgen_cli import pretrained
from difgen_cli.models import unet2d
from difgen_cli.models._unet2d_names import settings_of

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS / "pretrained"), str(TESTS / "models")]
import edm  # noqa: E402
import files_of_others as others  # noqa: E402

CIFAR = edm.Edm(32, 3, 128, (2, 2, 2), 4, (16,), augment=9)
TOY = edm.Edm()
UNET2D = others.UNET2D | {  # of about as many parameters
    "sample_size": 32, "block_out_channels": [160, 320, 320], "layers_per_block": 3, "norm_num_groups": 32,
    "attention_head_dim": 8, "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip


def write(folder: Path, network: edm.Edm, unet: dict[str, object]) -> dict[str, Path]:
    """The weights in every form: what to read of each."""
    weights = edm.random_weights(network)
    inner = {
        "img_resolution": network.size, "in_channels": network.channels, "out_channels": network.channels,
        "label_dim": 0, "augment_dim": network.augment, "model_channels": network.width,
        "channel_mult": list(network.multipliers), "num_blocks": network.blocks,
        "attn_resolutions": list(network.attention),
    }  # fmt: skip
    pickled = others.pickled(folder / "edm.pkl", {"ema": others.edm_network(weights, inner)})
    pretrained.write(pretrained.read(pickled), folder / "difgen")
    torch.save(pretrained.read(pickled).weights, folder / "state.pt")
    state = others.random_state(unet2d.build((3, 32, 32), 0, **settings_of(unet)))
    return {
        "pickle of EDM": pickled,
        "safetensors of difgen": folder / "difgen",
        "state dict of torch": folder / "state.pt",
        "folder of diffusers": others.diffusers_folder(folder / "diffusers", state, unet),
    }


def most() -> int:
    """The most memory that this process had, in bytes. Linux counts that of its parent in `ru_maxrss`, but not here."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def measured(path: Path, batch: int) -> dict[str, float]:
    """What one process sees that reads a file, and evaluates its denoiser once."""

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:  # all code is loaded, and does not count
        toy = write_toy(Path(name))
        pretrained.read(toy).denoiser(0.5)(torch.zeros(1, 3, 8, 8), torch.ones(1))
    before, begun = most(), time.perf_counter()
    description = path.parent / "difgen" / "difgen.json" if path.suffix == ".pt" else None
    model = pretrained.read(path, description=description)
    read, after_read = time.perf_counter() - begun, most()
    nbytes = sum(tensor.nbytes for tensor in model.weights.values())
    begun = time.perf_counter()
    denoiser = model.denoiser(0.5)
    built, after_built, parameters = time.perf_counter() - begun, most(), nbytes // 4
    x = torch.randn(batch, *model.described.shape)
    with torch.no_grad():
        denoiser(x, torch.ones(batch))
        begun, processor = time.perf_counter(), time.process_time()
        denoiser(x, torch.ones(batch))
    return {
        "parameters": parameters, "read_seconds": read, "peak_of_reading": (after_read - before) / nbytes,
        "build_seconds": built, "peak_of_both": (after_built - before) / nbytes,
        "evaluation_seconds": time.perf_counter() - begun,
        "evaluation_processor_seconds": time.process_time() - processor,
        "peak_with_evaluation": (most() - before) / nbytes,
    }  # fmt: skip


def write_toy(folder: Path) -> Path:
    inner = {
        "img_resolution": TOY.size, "in_channels": 3, "out_channels": 3, "model_channels": TOY.width,
        "channel_mult": list(TOY.multipliers), "num_blocks": TOY.blocks, "attn_resolutions": list(TOY.attention),
    }  # fmt: skip
    return others.pickled(folder / "toy.pkl", {"ema": others.edm_network(edm.random_weights(TOY), inner)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16, help="images of the evaluation")
    parser.add_argument("--quick", action="store_true", help="a small network: the numbers mean nothing")
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of:
        print(json.dumps(measured(options.of, options.batch)))
        return
    with tempfile.TemporaryDirectory() as name:
        files = write(Path(name), TOY if options.quick else CIFAR, others.UNET2D if options.quick else UNET2D)
        for form, path in files.items():
            values = in_own_process(path, options.batch)
            shown = {k: value if isinstance(value, int) else float(f"{value:.3g}") for k, value in values.items()}
            print(json.dumps({"form": form, **shown}), flush=True)


def in_own_process(path: Path, batch: int) -> dict[str, float]:
    """What `measured` says in a process of its own, on one thread."""
    command = [sys.executable, __file__, "--of", str(path), "--batch", str(batch)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    values: dict[str, float] = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout
    )
    return values


if __name__ == "__main__":
    main()
