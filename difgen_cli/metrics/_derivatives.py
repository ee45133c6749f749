"""Products of ∂D/∂x with vectors, for whatever can be differentiated: from the left by vjp, from the right by jvp.

Items of a batch do not see each other, so that copies of one image, each with a vector of its own, give many products
in one evaluation. What was compiled is computed as it is written: compilers differentiate once, and never
forwards.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from warnings import catch_warnings, filterwarnings

if TYPE_CHECKING:
    from torch import Tensor

    from difgen_cli.diffusion import DenoiserLike


def vjp(denoiser: "DenoiserLike", x: "Tensor", sigma: float, labels: "Tensor | None", cotangents: "Tensor") -> "Tensor":
    """uᵀ ∂D/∂x of each item, for x and u like (B, C, H, W) or (B, D) at one absolute σ, like x.

    ValueError for a denoiser whose estimate does not depend on x as far as torch can see.
    """
    import torch

    with torch.enable_grad(), _as_written():
        x = x.detach().requires_grad_()
        denoised = denoiser(x, x.new_full((len(x),), sigma), labels)
        if not denoised.requires_grad:
            raise ValueError(
                "the denoiser has no derivative: its forward is computed without gradients; "
                "remove torch.no_grad, torch.inference_mode and detach from it"
            )
        (product,) = torch.autograd.grad(denoised, x, cotangents)
    return product


def jvp(denoiser: "DenoiserLike", x: "Tensor", sigma: float, labels: "Tensor | None", tangents: "Tensor") -> "Tensor":
    """∂D/∂x v of each item, for x and v like (B, C, H, W) or (B, D) at one absolute σ, like x."""
    import torch
    from torch.autograd import forward_ad
    from torch.nn.attention import SDPBackend, sdpa_kernel

    # Fused attention has no forward derivative, and torch 2.13 warns of its own table of forward derivatives.
    with torch.no_grad(), _as_written(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level(), catch_warnings():
        filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
        denoised = denoiser(forward_ad.make_dual(x.detach(), tangents), x.new_full((len(x),), sigma), labels)
        product = forward_ad.unpack_dual(denoised).tangent
    return torch.zeros_like(x) if product is None else product


@contextmanager
def _as_written() -> Iterator[None]:
    """Compiled modules compute as they are written; nothing where no compiler was ever loaded."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    import torch

    with torch.compiler.set_stance("force_eager"):
        yield
