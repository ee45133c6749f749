"""DINOv2: agreement with transformers on the same weights, positions by brute force, both layouts of files."""

from pathlib import Path

import numpy as np
import published
import pytest
import torch
from safetensors.torch import save_file

from difgen_cli.data import scaled
from difgen_cli.features import State, WeightsError, dinov2, dinov2_small
from difgen_cli.features._entries import filled

# The class token's first values for published.images((2, 32, 32, 3)), by Dinov2Model of transformers 5.23.0 with torch
# 2.13.0 on images resized by Pillow 13.0.0. For a grid of 37 its positions were replaced by the brute-force ones below:
# transformers resamples them without the offset.
PEER = {
    16: [[-1.6883156, -0.3543618, 0.0959813, -0.792881], [-1.1977991, -1.080207, 0.0921332, -0.7255704]],
    37: [[-1.6807777, -0.4474934, 0.1227333, -0.806173], [-1.1261965, -1.0220892, -0.0567591, -0.6781241]],
}
IMAGES = scaled(published.images((2, 32, 32, 3)))


def state_of(entries: published.Entries) -> State:
    return {name: value.numpy() for name, value in entries.items()}


@pytest.mark.parametrize("grid", [16, 37])
def test_features_are_those_of_transformers(grid: int) -> None:
    features = dinov2.embed(IMAGES, state_of(published.dinov2(grid)))
    assert features.shape == (2, 128)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[:, :4], PEER[grid], rtol=1e-4, atol=1e-6)


def cubic(x: float, a: float = -0.75) -> float:
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (16, 20)])
def test_positions_are_resampled_with_the_offset_of_the_published_code(rows: int, columns: int) -> None:
    network = filled(dinov2.network, state_of(published.dinov2(37, width=64, hidden=8, depth=1)))
    assert isinstance(network, dinov2.VisionTransformer)
    learnt = network.pos_embed[0, 1:].reshape(37, 37, 64).double().numpy()

    def weights(size: int) -> np.ndarray:
        matrix = np.zeros((size, 37))
        for i in range(size):
            source = (i + 0.5) * 37 / (size + 0.1) - 0.5
            for j in range(int(np.floor(source)) - 1, int(np.floor(source)) + 3):
                matrix[i, np.clip(j, 0, 36)] += cubic(source - j)
        return matrix

    expected = np.einsum("ai,bj,ijd->abd", weights(rows), weights(columns), learnt).reshape(-1, 64)
    ours = network.positions(rows, columns)[0]
    np.testing.assert_allclose(ours[1:], expected, atol=1e-5)
    assert torch.equal(ours[0], network.pos_embed[0, 0])
    assert network.positions(37, 37) is network.pos_embed


def as_in_transformers(entries: published.Entries, names: dict[str, str]) -> published.Entries:
    """The same weights under the names of transformers, written out by hand."""
    made = {
        "embeddings.cls_token": entries["cls_token"],
        "embeddings.mask_token": torch.zeros(1, 128),
        "embeddings.position_embeddings": entries["pos_embed"],
        "embeddings.patch_embeddings.projection.weight": entries["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": entries["patch_embed.proj.bias"],
        "layernorm.weight": entries["norm.weight"],
        "layernorm.bias": entries["norm.bias"],
    }
    for block in range(2):
        ours, theirs = f"blocks.{block}.", f"encoder.layer.{block}."
        for part in ("weight", "bias"):
            q, k, v = entries[f"{ours}attn.qkv.{part}"].chunk(3)
            made |= {
                f"{theirs}attention.{names[n]}.{part}": x.contiguous() for n, x in zip("qkv", (q, k, v), strict=True)
            }
            made[f"{theirs}attention.{names['o']}.{part}"] = entries[f"{ours}attn.proj.{part}"]
            made |= {
                f"{theirs}{n}.{part}": entries[f"{ours}{n}.{part}"] for n in ("norm1", "norm2", "mlp.fc1", "mlp.fc2")
            }
        made |= {f"{theirs}layer_scale{i}.lambda1": entries[f"{ours}ls{i}.gamma"] for i in (1, 2)}
    return made


@pytest.mark.parametrize(
    "names",
    [
        {"q": "attention.query", "k": "attention.key", "v": "attention.value", "o": "output.dense"},
        {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj"},
    ],
)
def test_the_published_file_and_those_of_transformers_load_as_the_same_network(
    names: dict[str, str], tmp_path: Path
) -> None:
    entries = published.dinov2(4)
    torch.save(entries | {"mask_token": torch.zeros(1, 128)}, tmp_path / "dinov2.pth")
    save_file(as_in_transformers(entries, names), tmp_path / "dinov2.safetensors")
    loaded = [dinov2.fit(tmp_path / file) for file in ("dinov2.pth", "dinov2.safetensors")]
    for state in loaded:
        assert set(state) == set(entries)
        assert all(np.array_equal(state[name], entries[name].numpy()) for name in entries)


def test_features_depend_neither_on_the_batch_nor_on_the_run() -> None:
    state = state_of(published.dinov2(4, width=64, hidden=64, depth=1))
    images = scaled(published.images((19, 8, 8, 1)))
    together = dinov2.embed(images, state)
    assert together.shape == (19, 64)
    np.testing.assert_array_equal(dinov2.embed(images, state), together)
    np.testing.assert_array_equal(dinov2.embed(images[17:18], state), together[17:18])
    assert dinov2.embed(images[:0], state).shape == (0, 64)


def test_torchs_random_numbers_are_not_touched() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    dinov2.embed(IMAGES[:1], state_of(published.dinov2(4, width=64, hidden=8, depth=1)))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("space", "width", "hidden", "depth"), [("vits14", 384, 1536, 12), ("vitl14", 1024, 4096, 24)])
def test_parameters_of_the_published_networks_are_counted(space: str, width: int, hidden: int, depth: int) -> None:
    """22,056,576 and 304,368,640 by the published code, less the mask token, which only training uses."""
    shapes = {
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "pos_embed": (1, 37**2 + 1, width),
        "blocks.0.mlp.fc1.bias": (hidden,),
    } | {f"blocks.{block}.norm1.weight": (width,) for block in range(depth)}
    with torch.device("meta"):
        network = dinov2.network({name: torch.empty(shape) for name, shape in shapes.items()})
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == {"vits14": 22_056_576, "vitl14": 304_368_640}[space] - width


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda e: e.pop("norm.weight"), "there is no norm.weight"),
        (lambda e: e.pop("patch_embed.proj.weight"), "there is no patch_embed.proj.weight"),
        (lambda e: e.update(register_tokens=torch.zeros(1, 4, 128)), "register_tokens is unknown"),
        (lambda e: e.update({"norm.bias": torch.zeros(7)}), r"norm.bias has the shape \(7,\), not \(128,\)"),
        (lambda e: e.clear(), "there is no patch_embed.proj.weight"),
    ],
)
def test_a_file_of_another_network_is_refused_by_what_is_wrong(change: object, says: str, tmp_path: Path) -> None:
    entries = published.dinov2(4)
    change(entries)  # type: ignore[operator]
    torch.save(entries, tmp_path / "dinov2.pth")
    with pytest.raises(WeightsError, match=says) as raised:
        dinov2.fit(tmp_path / "dinov2.pth")
    assert "not the weights of DINOv2 without registers" in str(raised.value)


@pytest.mark.parametrize(
    ("space", "file", "size"),
    [(dinov2, "dinov2_vitl14_pretrain.pth", "1217586395"), (dinov2_small, "dinov2_vits14_pretrain.pth", "88283115")],
)
def test_the_known_file_must_have_its_size_and_hash(space: object, file: str, size: str, tmp_path: Path) -> None:
    torch.save(published.dinov2(4), tmp_path / file)
    with pytest.raises(WeightsError, match=f"bytes long, not {size}: delete it and run `difgen weights fetch"):
        space.fit(tmp_path / file)  # type: ignore[attr-defined]


def test_the_small_network_is_the_same_space_of_another_size(tmp_path: Path) -> None:
    entries = published.dinov2(4)
    torch.save(entries, tmp_path / "dinov2_small.pth")
    state = dinov2_small.fit(tmp_path / "dinov2_small.pth")
    np.testing.assert_array_equal(dinov2_small.embed(IMAGES, state), dinov2.embed(IMAGES, state_of(entries)))
