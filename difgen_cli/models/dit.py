"""A transformer on patches whose blocks start as the identity, DiT with adaLN-zero (Peebles & Xie 2023).

DiT-S, B, L and XL are `width` 384, 768, 1024, 1152, `depth` 12, 12, 24, 28 and `heads` 6, 12, 16, 16. Weights under the
names of the published ones are converted by `from_published` in `_dit_names.py`.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.models import ClassEmbedding, zero

VERSION = 1
EPS = 1e-6  # of every normalisation
NOISE_FEATURES = 256
MAX_PERIOD = 10_000
EMBEDDING_STD = 0.02  # of the initial weights that noise level and label enter by


@dataclass(frozen=True)
class DitSettings:
    """The settings of `build`."""

    width: int
    depth: int
    heads: int
    patch: int
    noise_scale: float
    learned_variance: bool
    freq_shift: int
    mlp_eps: float


def build(
    shape: tuple[int, ...],
    classes: int,
    *,
    width: Annotated[int, Gt(0)] = 384,
    depth: Annotated[int, Gt(0)] = 12,
    heads: Annotated[int, Gt(0)] = 6,
    patch: Annotated[int, Gt(0)] = 2,
    noise_scale: Annotated[float, Gt(0)] = 1.0,
    learned_variance: bool = False,
    freq_shift: Literal[0, 1] = 0,
    mlp_eps: Annotated[float, Gt(0)] = 1e-6,
) -> nn.Module:
    """F(x; noise, label) for images of `shape` (C, H, W), with `classes` conditions (0: none).

    width: channels of a token; a multiple of 4 and of heads.
    depth: blocks.
    heads: of the attention.
    patch: height and width of the pixels that are one token.
    noise_scale: factor of the noise level before its cosines and sines, whose periods reach from 2π to 63,000.
    learned_variance: the last layer also has the variances of the published networks, which are not returned.
    freq_shift: 1 makes the lowest frequency of the noise level exactly 1 / 10,000, as diffusers has it.
    mlp_eps: added to the variance of the normalisation before each perceptron; diffusers has 1e-5.

    Raises ValueError for points, sides that patch does not divide, and a width that 4 or heads do not divide.
    """
    if len(shape) != 3:
        raise ValueError(f"dit needs images (C, H, W), not points of shape {shape}: use the mlp")
    if shape[1] % patch or shape[2] % patch:
        raise ValueError(f"patch must divide the height and width of the images, {shape[1]} × {shape[2]}, not {patch}")
    if width % 4 or width % heads:
        raise ValueError(f"width must be a multiple of 4 and of the {heads} heads, not {width}")
    settings = DitSettings(width, depth, heads, patch, noise_scale, learned_variance, freq_shift, mlp_eps)
    return Dit(shape, classes, settings)


class Dit(nn.Module):
    """Patches as tokens with fixed positions, `depth` blocks, and patches again; the output starts at zero."""

    positions: Tensor

    def __init__(self, shape: tuple[int, ...], classes: int, settings: DitSettings) -> None:
        super().__init__()
        self.classes = classes
        channels, width, patch = shape[0], settings.width, settings.patch
        rows, columns = shape[1] // patch, shape[2] // patch
        self.embedding = DitEmbedding(classes, width, settings.noise_scale, settings.freq_shift)
        self.first = nn.Conv2d(channels, width, patch, stride=patch)
        nn.init.xavier_uniform_(self.first.weight.view(width, -1))
        nn.init.zeros_(self.first.bias)  # type: ignore[arg-type]  # it has one
        self.register_buffer("positions", positions(rows, columns, width), persistent=False)
        self.blocks = nn.ModuleList(DitBlock(width, settings.heads, settings.mlp_eps) for _ in range(settings.depth))
        self.middle = TokenMap(rows, columns)
        self.modulation = zero(nn.Linear(width, 2 * width))
        outputs = 2 * channels if settings.learned_variance else channels
        self.last = zero(nn.Linear(width, patch**2 * outputs))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Like x, which is (B, C, H, W)."""
        embedding = self.embedding(noise, labels)
        tokens = self.first(x).flatten(2).transpose(1, 2) + self.positions
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, embedding)
            if index == (len(self.blocks) - 1) // 2:
                tokens = self.middle(tokens).flatten(2).transpose(1, 2)
        shift, scale = self.modulation(embedding).unsqueeze(1).chunk(2, dim=-1)
        return self._image(self.last(modulated(tokens, shift, scale)), x)

    def _image(self, tokens: Tensor, x: Tensor) -> Tensor:
        """(B, C, H, W) like x from (B, tokens, patch² outputs); without the variances, where there are any."""
        rows, columns = self.middle.rows, self.middle.columns
        patch = x.shape[2] // rows
        patches = tokens.view(len(x), rows, columns, patch, patch, -1)
        image = patches.permute(0, 5, 1, 3, 2, 4).reshape(len(x), -1, *x.shape[2:])
        return image[:, : x.shape[1]]


class DitEmbedding(nn.Module):
    """Noise level and condition as one vector (B, width), after a silu: all that uses it begins with one."""

    frequencies: Tensor

    def __init__(self, classes: int, width: int, noise_scale: float, freq_shift: int = 0) -> None:
        super().__init__()
        half = NOISE_FEATURES // 2
        frequencies = noise_scale * torch.exp(-math.log(MAX_PERIOD) * torch.arange(half) / (half - freq_shift))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.first, self.second = nn.Linear(NOISE_FEATURES, width), nn.Linear(width, width)
        self.labels = ClassEmbedding(classes, width)
        for layer in (self.first, self.second):
            nn.init.normal_(layer.weight, std=EMBEDDING_STD)
            nn.init.zeros_(layer.bias)
        if self.labels.table is not None:
            nn.init.normal_(self.labels.table.weight, std=EMBEDDING_STD)

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """(B, width) from the noise level (B,) and labels (B,) or None."""
        angles = torch.outer(noise, self.frequencies)
        hidden = self.second(functional.silu(self.first(torch.cat([angles.cos(), angles.sin()], dim=1))))
        return functional.silu(self.labels(hidden, labels))


class DitBlock(nn.Module):
    """Attention and a perceptron; what each sees is scaled and shifted, and what it adds is gated, by the embedding."""

    def __init__(self, width: int, heads: int, mlp_eps: float = EPS) -> None:
        super().__init__()
        self.heads, self.mlp_eps = heads, mlp_eps
        self.modulation = zero(nn.Linear(width, 6 * width))  # gates of 0: the block starts as the identity
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for layer in (self.qkv, self.out, self.inner, self.outer):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        """Like `tokens`, (B, T, width), from the embedding (B, width)."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(embedding).unsqueeze(1).chunk(6, dim=-1)
        tokens = torch.addcmul(tokens, gate, self._attended(modulated(tokens, shift, scale)))
        inner = functional.gelu(self.inner(modulated(tokens, mlp_shift, mlp_scale, self.mlp_eps)), approximate="tanh")
        return torch.addcmul(tokens, mlp_gate, self.outer(inner))

    def _attended(self, tokens: Tensor) -> Tensor:
        qkv = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (3, B, heads, T, d)
        attended = functional.scaled_dot_product_attention(*qkv.unbind(0))
        output: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return output


class TokenMap(nn.Module):
    """Tokens as the image that they are of: where the hidden state in the middle of the network can be read."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, width, rows, columns) from (B, rows · columns, width), without a copy."""
        image: Tensor = tokens.transpose(1, 2).unflatten(2, (self.rows, self.columns))
        return image


def modulated(tokens: Tensor, shift: Tensor, scale: Tensor, eps: float = EPS) -> Tensor:
    """Tokens (B, T, width), each normalised, then times 1 + scale and plus shift, both (B, 1, width)."""
    normalised = functional.layer_norm(tokens, tokens.shape[-1:], eps=eps)
    return torch.addcmul(shift, normalised, scale + 1)


def positions(rows: int, columns: int, width: int) -> Tensor:
    """Sines and cosines of the column, then of the row, of every token: (rows · columns, width)."""
    quarter = width // 4
    frequencies = torch.exp(-math.log(MAX_PERIOD) * torch.arange(quarter, dtype=torch.float64) / quarter)
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()  # (tokens, 2): row, column
    angles = [torch.outer(places[:, side], frequencies) for side in (1, 0)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1).float()
