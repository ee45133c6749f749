"""CLIP's image tower: agreement with transformers on the same weights, the layouts of files, OpenAI's archive."""

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import published
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from difgen_cli import features
from difgen_cli.data import scaled
from difgen_cli.features import State, WeightsError, clip
from difgen_cli.features._entries import filled

# The first values for published.images((2, 50, 63, 3)), by CLIPVisionModelWithProjection of transformers 5.23.0 with
# torch 2.13.0 on images resized and cut by Pillow 13.0.0.
PEER = [[0.1659347, 3.4458523, -0.987985, 0.786991], [3.8575885, 2.8310304, 1.7673328, 1.9741766]]
ENTRIES = published.clip()
IMAGES = scaled(published.images((2, 50, 63, 3)))


@pytest.fixture
def state() -> State:
    return {name: value.numpy() for name, value in ENTRIES.items()}


def test_features_are_those_of_transformers(state: State) -> None:
    found = clip.embed(IMAGES, state)
    assert found.shape == (2, 16)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, :4], PEER, rtol=1e-4)


def as_in_transformers() -> published.Entries:
    """The same weights under the names of transformers, beside others that a whole CLIP has."""
    made = {
        "vision_model.embeddings.class_embedding": ENTRIES["class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": ENTRIES["conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": ENTRIES["positional_embedding"],
        "vision_model.embeddings.position_ids": torch.arange(10)[None],
        "visual_projection.weight": ENTRIES["proj"].T.contiguous(),
        "text_model.embeddings.token_embedding.weight": torch.zeros(5, 4),
        "logit_scale": torch.tensor(2.6),
    }
    for part in ("weight", "bias"):
        made[f"vision_model.pre_layrnorm.{part}"] = ENTRIES[f"ln_pre.{part}"]
        made[f"vision_model.post_layernorm.{part}"] = ENTRIES[f"ln_post.{part}"]
        for block in range(2):
            ours, theirs = f"transformer.resblocks.{block}.", f"vision_model.encoder.layers.{block}."
            qkv = ENTRIES[f"{ours}attn.in_proj_{part}"].chunk(3)
            made |= {f"{theirs}self_attn.{n}_proj.{part}": x.contiguous() for n, x in zip("qkv", qkv, strict=True)}
            names = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
                     "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}  # fmt: skip
            made |= {f"{theirs}{their}.{part}": ENTRIES[f"{ours}{our}.{part}"] for their, our in names.items()}
    return made


def test_the_layouts_of_openai_open_clip_and_transformers_load_as_the_same_network(tmp_path: Path) -> None:
    text = {"positional_embedding": torch.zeros(77, 8), "ln_final.weight": torch.zeros(8)}
    visual = {f"visual.{name}": value for name, value in ENTRIES.items()}
    torch.save({"state_dict": {f"module.{n}": v.half() for n, v in (visual | text).items()}}, tmp_path / "clip.pth")
    half = clip.fit(tmp_path / "clip.pth")
    save_file(as_in_transformers(), tmp_path / "clip.safetensors")
    whole = clip.fit(tmp_path / "clip.safetensors")
    torch.save(ENTRIES, tmp_path / "clip.pth")
    alone = clip.fit(tmp_path / "clip.pth")
    for name, value in ENTRIES.items():
        np.testing.assert_array_equal(whole[name], value.numpy())
        np.testing.assert_array_equal(alone[name], value.numpy())
        np.testing.assert_array_equal(half[name], value.half().float().numpy())
    assert set(half) == set(whole) == set(alone) == set(ENTRIES)


class Clip(nn.Module):
    """What OpenAI's archive is: a program with both towers, weights in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = filled(clip.network, {name: value.half().numpy() for name, value in ENTRIES.items()})
        self.positional_embedding = nn.Parameter(torch.zeros(77, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.positional_embedding.sum() + self.visual.proj.sum()


def test_openais_archive_is_opened_only_with_the_right_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-32.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(Clip(), torch.zeros(1), check_trace=False).save(path)
    with pytest.raises(WeightsError, match="bytes long, not 353976522"):
        clip.fit(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    known = replace(features.WEIGHTS["clip"], size_bytes=path.stat().st_size, sha256=sha256)
    monkeypatch.setattr(features, "WEIGHTS", {"clip": known})
    state = clip.fit(path)
    assert set(state) == set(ENTRIES)
    assert all(value.dtype == np.float32 for value in state.values())
    np.testing.assert_allclose(clip.embed(IMAGES, state)[:, :4], PEER, rtol=0.02)  # of half precision
    path.rename(tmp_path / "clip.pth")
    with pytest.raises(WeightsError, match="TorchScript, which is code"):
        clip.fit(tmp_path / "clip.pth")


def test_the_side_of_images_is_what_the_positions_stand_for() -> None:
    positions = {"positional_embedding": np.zeros((50, 768)), "conv1.weight": np.zeros((768, 3, 32, 32))}
    assert clip.preparation(positions).side == 224  # ViT-B/32


def test_a_file_without_an_image_tower_is_refused(tmp_path: Path) -> None:
    torch.save({"text_model.final_layer_norm.weight": torch.zeros(3)}, tmp_path / "clip.pth")
    with pytest.raises(WeightsError, match="not the weights of CLIP's image tower: there is no conv1"):
        clip.fit(tmp_path / "clip.pth")
    partial = {n: v.contiguous() for n, v in as_in_transformers().items() if ".1.self_attn.k_proj.weight" not in n}
    save_file(partial, tmp_path / "clip.safetensors")
    with pytest.raises(WeightsError, match=r"there is no .*1\.attn\.in_proj_weight"):
        clip.fit(tmp_path / "clip.safetensors")
