"""The magnitude-preserving parts of EDM2 (Karras et al. 2024, section 2 and appendix B).

Each gives outputs of about unit variance for independent inputs of unit variance: weights are vectors of a fixed
length, sums and concatenations are divided by the length that they have, and no layer has a bias.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.models import perturbed, unlabelled
from difgen_cli.models._ddpmpp_layers import Resample, one_hot
from difgen_cli.models.unet import Dropout

EPS = 1e-4  # added to every length before it divides (algorithm 1 of the paper)
SILU_LENGTH = 0.596  # √E[silu(z)²] of a unit normal z
BALANCE = 0.3  # share of a residual branch, and of attention, in the sum that it ends with
EVEN = 0.5  # share of the label in the embedding, and of the skip connection in a concatenation
LARGEST = 256.0  # of an activation after a block, up or down
FILTER = (1, 1)  # taps by which the size changes: the mean of four pixels, and doubling


def normalised(x: Tensor, *sides: int) -> Tensor:
    """x divided by its root mean square along `sides`, to which EPS is added."""
    length: Tensor = torch.linalg.vector_norm(x, dim=sides, keepdim=True)
    return x / (length * math.sqrt(length.numel() / x.numel()) + EPS)


def mp_silu(x: Tensor) -> Tensor:
    """silu(x) / 0.596, like x."""
    return functional.silu(x) / SILU_LENGTH


def mp_sum(a: Tensor, b: Tensor, share: float) -> Tensor:
    """((1 − t) a + t b) / √((1 − t)² + t²) with t the share of b: like both."""
    return a.lerp(b, share) / math.hypot(1 - share, share)


def mp_cat(a: Tensor, b: Tensor, share: float) -> Tensor:
    """(B, A + C, H, W) from a (B, A, H, W) and b (B, C, H, W), of which b contributes the share whatever its width."""
    scale = math.sqrt(a.shape[1] + b.shape[1]) / math.hypot(1 - share, share)
    ours, theirs = scale * (1 - share) / math.sqrt(a.shape[1]), scale * share / math.sqrt(b.shape[1])
    return torch.cat([ours * a, theirs * b], dim=1)


class MpConv(nn.Conv2d):
    """A convolution whose weights have unit length for every output, whatever the parameter's own is; no bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        nn.init.normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, H, W) from (B, inputs, H, W)."""
        weight = normalised(self.weight, 1, 2, 3) / math.sqrt(self.weight[0].numel())
        return functional.conv2d(x, weight, padding=self.padding)

    @torch.no_grad()
    def constrain(self) -> None:
        """Set the parameter to what `forward` sees of it, up to a factor for all."""
        self.weight.copy_(normalised(self.weight, 1, 2, 3))


class MpLinear(nn.Linear):
    """The same for vectors."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        nn.init.normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs) from (B, inputs)."""
        return functional.linear(x, normalised(self.weight, 1) / math.sqrt(self.weight.shape[1]))

    @torch.no_grad()
    def constrain(self) -> None:
        """Set the parameter to what `forward` sees of it, up to a factor for all."""
        self.weight.copy_(normalised(self.weight, 1))


class MpFourierFeatures(nn.Module):
    """√2 cos(2π (f · noise level + φ)): f unit normal and φ uniform, drawn once, never trained."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        # In snapshots: no seed gives them. In radians, as EDM2's files are taken to have them.
        self.register_buffer("frequencies", 2 * math.pi * torch.randn(size))
        self.register_buffer("phases", 2 * math.pi * torch.rand(size))

    def forward(self, noise: Tensor) -> Tensor:
        """(B, size) from ln σ / 4 of shape (B,)."""
        return math.sqrt(2) * (torch.outer(noise, self.frequencies) + self.phases).cos()


class MpLabels(nn.Module):
    """A linear layer on the label as a one-hot vector times √classes, in an even sum with what it is added to.

    The dropped condition is a vector of zeros. In training what the layer gives is perturbed where `perturbation` is
    above 0, as in `ClassEmbedding`.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.perturbation = 0.0
        self.layer = MpLinear(classes, width) if classes else None

    def forward(self, hidden: Tensor, labels: Tensor | None) -> Tensor:
        """Like `hidden` (B, width), and itself without classes; labels (B,) in [0, classes], None: all dropped."""
        if self.layer is None:
            return unlabelled(hidden, labels)
        vectors = self.layer(one_hot(labels, self.classes, hidden))
        return mp_sum(hidden, perturbed(vectors, self.perturbation if self.training else 0.0), EVEN)


class MpBlock(nn.Module):
    """Two convolutions, scaled by the embedding in between, and attention; before all that the size may change.

    On the way down (`encodes`) the input is brought to its width first, and then to unit length at every pixel; on the
    way up only what is added to the branch is brought to its width.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        dropout: float,
        *,
        encodes: bool,
        heads: int = 0,
        resample: Resample | None = None,
    ) -> None:
        super().__init__()
        self.encodes = encodes
        self.resample = resample or nn.Identity()
        self.first = MpConv(outputs if encodes else inputs, outputs, 3)
        self.modulation = MpLinear(embedding, outputs)
        self.gain = nn.Parameter(torch.zeros(()))  # of the modulation, which begins without effect
        self.dropout = Dropout(dropout)
        self.second = MpConv(outputs, outputs, 3)
        self.shortcut = nn.Identity() if inputs == outputs else MpConv(inputs, outputs, 1)
        self.attention = CosineAttention(outputs, heads) if heads else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, outputs, H', W') from (B, inputs, H, W) and (B, embedding)."""
        x = self.resample(x)
        if self.encodes:
            x = normalised(self.shortcut(x), 1)
        scale = (self.gain * self.modulation(embedding) + 1)[:, :, None, None]
        hidden = self.second(self.dropout(mp_silu(self.first(mp_silu(x)) * scale)))
        x = mp_sum(x if self.encodes else self.shortcut(x), hidden, BALANCE)
        output: Tensor = self.attention(x)
        return output.clamp(-LARGEST, LARGEST)


class CosineAttention(nn.Module):
    """Self-attention over the pixels, in an uneven sum with its input; queries, keys and values have unit length."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = MpConv(channels, 3 * channels, 1), MpConv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Like x, which is (B, C, H, W)."""
        qkv = normalised(self.qkv(x).unflatten(1, (3, self.heads, -1)).flatten(4), 3)  # (B, 3, heads, d, H W)
        # Fused attention asks for contiguous channels.
        query, key, value = qkv.transpose(3, 4).contiguous().unbind(1)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return mp_sum(x, self.out(attended.transpose(2, 3).reshape(x.shape)), BALANCE)
