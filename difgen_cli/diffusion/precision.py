"""How precisely a device computes: the products of a step in fp32, tf32 or bf16, and all else the same each time.

Everything that changes torch's flags of arithmetic is here. They are set by their older names (`allow_tf32`): torch
2.13 refuses to read these where the newer ones (`fp32_precision`) were set one by one, and its compiler reads both.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch


def repeatable() -> None:
    """A card computes the same twice, and float32 in full: torch's defaults are faster and neither.

    Sampling and scoring are in float32 whatever a training was in, which sets the precision of its own steps. An
    operation that has no repeatable form warns, and goes on. For processes whose device is a card; not run on one yet.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS adds in any order; read at its first use
    _allow_tf32(False)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Else all new memory would be written once more.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # The gradients of fused attention are summed in any order, where warnings alone are asked for even flash's.
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)


@contextlib.contextmanager
def products(precision: str) -> Iterator[None]:
    """Matrix products and convolutions of float32 within: in TF32 for tf32, in full for all else.

    torch's own default is neither: TF32 for convolutions alone. Nothing changes on a CPU.
    """
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    _allow_tf32(precision == "tf32")
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def arithmetic(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Matrix products and convolutions in bfloat16 within, or nothing."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
