"""The precision of a step's matrix products and convolutions: fp32, tf32 or bf16."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def products(precision: str) -> Iterator[None]:
    """Matrix products and convolutions of float32 within: in TF32 for tf32, in full for all else.

    torch's own default is neither: TF32 for convolutions alone. Nothing changes on a CPU.
    """
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    wanted = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = wanted
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def arithmetic(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Matrix products and convolutions in bfloat16 within, or nothing."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
