"""DiT: the published numbers of weights, a published network in few lines, blocks that start as the identity."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from difgen_cli.models import dit
from difgen_cli.models._dit_names import from_published

PUBLISHED = {  # Peebles & Xie 2023, table 1, at 256 pixels: width, depth, heads, millions of weights with patches of 2
    "S": (384, 12, 6, 33),
    "B": (768, 12, 12, 130),
    "L": (1024, 24, 16, 458),
    "XL": (1152, 28, 16, 675),
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_the_published_networks_have_their_number_of_weights(size: str) -> None:
    width, depth, heads, millions = PUBLISHED[size]
    with torch.device("meta"):
        network = dit.build((4, 32, 32), 1000, width=width, depth=depth, heads=heads, patch=2, learned_variance=True)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6) == millions  # fixed positions are no weights


# A published network in few lines, with the names of its weights ------------------------------------------------------

CHANNELS, CLASSES, WIDTH, DEPTH, HEADS, PATCH = 3, 4, 16, 3, 2, 2
SHAPES = {
    "x_embedder.proj": (WIDTH, CHANNELS, PATCH, PATCH),
    "t_embedder.mlp.0": (WIDTH, 256),
    "t_embedder.mlp.2": (WIDTH, WIDTH),
    "final_layer.linear": (PATCH**2 * 2 * CHANNELS, WIDTH),
    "final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH),
}
for place in range(DEPTH):
    SHAPES |= {
        f"blocks.{place}.adaLN_modulation.1": (6 * WIDTH, WIDTH),
        f"blocks.{place}.attn.qkv": (3 * WIDTH, WIDTH),
        f"blocks.{place}.attn.proj": (WIDTH, WIDTH),
        f"blocks.{place}.mlp.fc1": (4 * WIDTH, WIDTH),
        f"blocks.{place}.mlp.fc2": (WIDTH, 4 * WIDTH),
    }


def random_weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = {"y_embedder.embedding_table.weight": torch.randn(CLASSES + 1, WIDTH, generator=generator)}
    for name, shape in SHAPES.items():
        weights[f"{name}.weight"] = torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))
        weights[f"{name}.bias"] = 0.2 * torch.randn(shape[0], generator=generator)
    return weights | {"pos_embed": torch.zeros(1, 1, WIDTH)}


def published(weights: dict[str, Tensor], x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
    """Noise estimate of a published DiT, image by image and head by head."""

    def linear(name: str, values: Tensor) -> Tensor:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        tokens = tokens - tokens.mean(-1, keepdim=True)
        return tokens / (tokens.square().mean(-1, keepdim=True) + 1e-6).sqrt() * (1 + scale) + shift

    outputs = []
    for image, time, label in zip(x, times, labels, strict=True):
        angles = time * 10_000 ** (-torch.arange(128) / 128)
        condition = linear("t_embedder.mlp.0", torch.cat([angles.cos(), angles.sin()]))
        condition = linear("t_embedder.mlp.2", functional.silu(condition))
        condition = functional.silu(condition + weights["y_embedder.embedding_table.weight"][label])
        rows, columns = image.shape[1] // PATCH, image.shape[2] // PATCH
        places = [(row, column) for row in range(rows) for column in range(columns)]
        cuts = [image[:, PATCH * r : PATCH * (r + 1), PATCH * c : PATCH * (c + 1)] for r, c in places]
        kernel = weights["x_embedder.proj.weight"].flatten(1)
        tokens = torch.stack([kernel @ cut.flatten() for cut in cuts]) + weights["x_embedder.proj.bias"]
        frequencies = 10_000 ** (-torch.arange(WIDTH // 4) / (WIDTH // 4))
        tokens = tokens + torch.stack(
            [
                torch.cat([(c * frequencies).sin(), (c * frequencies).cos(), (r * frequencies).sin(),
                           (r * frequencies).cos()])
                for r, c in places
            ]
        )  # fmt: skip
        for place in range(DEPTH):
            block = f"blocks.{place}"
            changes = linear(f"{block}.adaLN_modulation.1", condition).chunk(6)
            query, key, value = linear(f"{block}.attn.qkv", norm(tokens, *changes[:2])).chunk(3, dim=1)
            heads = []
            for head in torch.arange(WIDTH).chunk(HEADS):
                weight = (query[:, head] @ key[:, head].T / math.sqrt(WIDTH / HEADS)).softmax(dim=1)
                heads.append(weight @ value[:, head])
            tokens = tokens + changes[2] * linear(f"{block}.attn.proj", torch.cat(heads, dim=1))
            inner = functional.gelu(linear(f"{block}.mlp.fc1", norm(tokens, *changes[3:5])), approximate="tanh")
            tokens = tokens + changes[5] * linear(f"{block}.mlp.fc2", inner)
        values = linear(
            "final_layer.linear", norm(tokens, *linear("final_layer.adaLN_modulation.1", condition).chunk(2))
        )
        output = torch.zeros(2 * CHANNELS, *image.shape[1:])
        for (r, c), patch in zip(places, values, strict=True):
            cut = patch.view(PATCH, PATCH, 2 * CHANNELS).permute(2, 0, 1)
            output[:, PATCH * r : PATCH * (r + 1), PATCH * c : PATCH * (c + 1)] = cut
        outputs.append(output[:CHANNELS])
    return torch.stack(outputs)


@torch.no_grad()
def test_weights_of_a_published_network_give_its_output() -> None:
    weights = random_weights()
    network = dit.build(
        (CHANNELS, 6, 8), CLASSES, width=WIDTH, depth=DEPTH, heads=HEADS, patch=PATCH, learned_variance=True
    ).eval()
    network.load_state_dict(from_published(weights))
    x = torch.randn(3, CHANNELS, 6, 8, generator=torch.Generator().manual_seed(1))
    times, labels = torch.tensor([0.0, 3.5, 250.0]), torch.tensor([0, 2, CLASSES])
    expected = published(weights, x, times, labels)
    assert 0.1 < expected.std() < 10
    torch.testing.assert_close(network(x, times, labels), expected, rtol=0, atol=1e-5)


def test_weights_of_another_network_are_refused_by_name() -> None:
    for name in ("blocks.0.attn.q_norm.weight", "head.weight"):
        with pytest.raises(ValueError, match=f"{name}: DiT has no such weight"):
            from_published({name: torch.zeros(1)})


def test_every_block_starts_as_the_identity_and_the_output_at_zero() -> None:
    network = dit.build((3, 8, 8), 2, width=16, depth=2, heads=2)
    tokens, embedding = torch.randn(2, 16, 16), torch.randn(2, 16)
    for block in network.blocks:
        assert torch.equal(block(tokens, embedding), tokens)
    assert not network(torch.randn(2, 3, 8, 8), torch.zeros(2), None).any()


def test_the_noise_scale_multiplies_the_noise_level() -> None:
    torch.manual_seed(0)
    once, tenfold = (dit.DitEmbedding(0, 16, scale) for scale in (1.0, 10.0))
    tenfold.load_state_dict(once.state_dict())
    noise = torch.linspace(-1.4, 1.2, 5)
    torch.testing.assert_close(tenfold(noise, None), once(10 * noise, None), rtol=0, atol=1e-5)
    assert not torch.allclose(tenfold(noise, None), once(noise, None), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((2,), {}, "dit needs images"),
        ((1, 7, 8), {}, "patch must divide the height and width of the images, 7 × 8, not 2"),
        ((1, 8, 8), {"patch": 3}, "patch must divide the height and width of the images, 8 × 8, not 3"),
        ((1, 8, 8), {"width": 30, "heads": 2}, "width must be a multiple of 4 and of the 2 heads, not 30"),
        ((1, 8, 8), {"width": 32, "heads": 3}, "width must be a multiple of 4 and of the 3 heads, not 32"),
    ],
)
def test_settings_that_no_such_network_can_have_are_named(
    shape: tuple[int, ...], settings: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dit.build(shape, 0, **settings)
