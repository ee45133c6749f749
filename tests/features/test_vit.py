"""DINO, iBOT and MoCo v3: agreement with transformers on the same weights, the layouts of their files, refusals."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import published
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from difgen_cli.cli import app
from difgen_cli.data import scaled
from difgen_cli.features import WeightsError, dino, fetch, find, ibot, mocov3

# The class token's first values for published.images((2, 32, 32, 3)), by ViTModel of transformers 5.24.0 with torch
# 2.13.0 (norms of 1e-6, no pooling) on images resized by Pillow 13.0.0. By heads of attention and width.
PEER = {
    (2, 128): [[0.8136590, 0.2471285, -0.0445469, 0.8933477], [0.5813982, 0.3190673, 0.3881714, 1.2580873]],
    (12, 96): [[0.5381779, -1.1651775, -1.2788343, -0.6761693], [1.2125119, -0.2511277, -0.8256533, -0.1755273]],
}
IMAGES = scaled(published.images((2, 32, 32, 3)))
SPACES = [(dino, (2, 128)), (ibot, (2, 128)), (mocov3, (12, 96))]
spaces = pytest.mark.parametrize(("space", "size"), SPACES, ids=lambda value: getattr(value, "WEIGHTS", None))


def published_file(space: ModuleType, entries: published.Entries) -> dict[str, object]:
    """The weights as their authors' files have them."""
    if space is dino:
        return dict(entries)
    if space is ibot:
        return {"state_dict": entries | {"masked_embed": torch.zeros(1, 128)}}
    own = {f"module.base_encoder.{name}": value for name, value in entries.items()}
    other = {f"module.momentum_encoder.{name}": torch.zeros_like(value) for name, value in entries.items()}
    heads = {"module.base_encoder.head.0.weight": torch.zeros(3, 96), "module.predictor.0.weight": torch.zeros(3, 3)}
    return {"state_dict": own | other | heads, "epoch": 300, "arch": "vit_base"}


@spaces
def test_features_are_those_of_transformers_from_the_published_layout(
    space: ModuleType, size: tuple[int, int], tmp_path: Path
) -> None:
    entries = published.vit(14, size[1], 4 * size[1])
    path = tmp_path / f"{space.WEIGHTS}.pth"
    torch.save(published_file(space, entries), path)
    state = space.fit(path)
    assert set(state) == set(entries)
    features = space.embed(IMAGES, state)
    assert features.shape == (2, size[1])
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[:, :4], PEER[size], rtol=1e-4, atol=2e-6)


OLD = {"blocks": "encoder.layer", "qkv": "attention.attention.{}", "proj": "attention.output.dense",
       "fc1": "intermediate.dense", "fc2": "output.dense", "parts": ("query", "key", "value")}  # fmt: skip
NEW = {"blocks": "layers", "qkv": "attention.{}", "proj": "attention.o_proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2",
       "parts": ("q_proj", "k_proj", "v_proj")}  # fmt: skip


@pytest.mark.parametrize("names", [OLD, NEW], ids=["old", "new"])
@pytest.mark.parametrize("prefix", ["", "vit."])
def test_files_of_transformers_load_as_the_same_network(names: dict[str, object], prefix: str, tmp_path: Path) -> None:
    entries = published.vit(2, 128, 64)
    made = {
        "embeddings.cls_token": entries["cls_token"],
        "embeddings.position_embeddings": entries["pos_embed"],
        "embeddings.patch_embeddings.projection.weight": entries["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": entries["patch_embed.proj.bias"],
        "layernorm.weight": entries["norm.weight"],
        "layernorm.bias": entries["norm.bias"],
        "pooler.dense.weight": torch.zeros(128, 128),
    }
    for block in range(2):
        ours, theirs = f"blocks.{block}.", f"{names['blocks']}.{block}."
        for part in ("weight", "bias"):
            qkv = entries[f"{ours}attn.qkv.{part}"].chunk(3)
            for name, value in zip(names["parts"], qkv, strict=True):  # type: ignore[call-overload]
                made[f"{theirs}{str(names['qkv']).format(name)}.{part}"] = value.contiguous()
            pairs = {"attn.proj": "proj", "mlp.fc1": "fc1", "mlp.fc2": "fc2"}
            made |= {f"{theirs}{names[name]}.{part}": entries[f"{ours}{own}.{part}"] for own, name in pairs.items()}
            made[f"{theirs}layernorm_before.{part}"] = entries[f"{ours}norm1.{part}"]
            made[f"{theirs}layernorm_after.{part}"] = entries[f"{ours}norm2.{part}"]
    save_file({f"{prefix}{name}": value for name, value in made.items()}, tmp_path / "dino.safetensors")
    state = dino.fit(tmp_path / "dino.safetensors")
    assert set(state) == set(entries)
    assert all(np.array_equal(state[name], entries[name].numpy()) for name in entries)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda e: e.pop("norm.weight"), "there is no norm.weight"),
        (lambda e: e.update({"blocks.0.ls1.gamma": torch.ones(128)}), "blocks.0.ls1.gamma is unknown"),
        (lambda e: e.update({"norm.bias": torch.zeros(7)}), r"norm.bias has the shape \(7,\), not \(128,\)"),
        (lambda e: e.clear(), "there is no patch_embed.proj.weight"),
        (lambda e: e.update({"cls_token": torch.ones(1, 1, 3)}), "cls_token has the shape"),
    ],
)
@pytest.mark.parametrize("space", [dino, ibot, mocov3], ids=lambda space: str(space.WEIGHTS))
def test_a_file_of_another_network_is_refused_by_what_is_wrong(
    space: ModuleType, change: object, says: str, tmp_path: Path
) -> None:
    entries = published.vit(2, 128, 64)
    change(entries)  # type: ignore[operator]
    path = tmp_path / f"{space.WEIGHTS}.pth"
    torch.save(entries, path)
    with pytest.raises(WeightsError, match=says) as raised:
        space.fit(path)
    assert "not the weights of a vision transformer of" in str(raised.value)


def test_a_file_with_code_in_it_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.write_text, (tmp_path / "run", "x"))

    torch.save({"state_dict": Trap()}, tmp_path / "ibot.pth")
    with pytest.raises(WeightsError, match="no whole file of weights"):
        ibot.fit(tmp_path / "ibot.pth")
    assert not (tmp_path / "run").exists()


def test_there_is_nothing_to_fetch_and_the_command_says_where_files_are(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"facebookresearch/moco-v3 as mocov3\.safetensors or mocov3\.pth"):
        fetch("mocov3", tmp_path)
    with pytest.raises(WeightsError, match=r"the weights dino \(dino.safetensors\) are not in"):
        find("dino", [tmp_path])
    listed = CliRunner().invoke(app, ["weights", "list", "--folder", str(tmp_path)]).output
    assert "dino: not on this machine; Apache-2.0" in listed
    (tmp_path / "dino.pth").write_bytes(b"x")
    assert find("dino", [tmp_path]) == tmp_path / "dino.pth"
