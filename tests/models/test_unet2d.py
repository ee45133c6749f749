"""unet2d: the parameters and the output of diffusers' UNet2DModel, where diffusers is installed."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from difgen_cli.models import unet2d
from difgen_cli.models._unet2d_names import settings_of

SMALL: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled": {"resnet_time_scale_shift": "scale_shift"},
    "google's ddpm": {
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "downsample_padding": 0,
        "attention_head_dim": None,
        "norm_eps": 1e-6,
        "layers_per_block": 2,
    },
    "attention at other levels on the way up": {
        "block_out_channels": (8, 16, 12),
        "down_block_types": ("AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    },
    "no attention in the middle": {"add_attention": False, "mid_block_scale_factor": 1.5},
    "divided": {"mid_block_scale_factor": 2**0.5},
    "labels": {"num_class_embeds": 4},
}


def theirs(config: dict[str, Any]) -> nn.Module:
    """diffusers' network with every weight drawn at random; skips where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what diffusers imports
        diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: the extra bench has it")
        network = diffusers.UNet2DModel(in_channels=3, out_channels=3, **config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.1 * torch.randn(weights.shape, generator=generator))
    return network


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_weights_of_diffusers_fit_and_give_its_output(case: str) -> None:
    network = theirs(SMALL | CASES[case])
    config = dict(network.config)
    classes = (config["num_class_embeds"] or 1) - 1
    ours = unet2d.build((3, 8, 12), classes, **settings_of(config)).eval()
    assert set(ours.state_dict()) == set(network.state_dict())
    ours.load_state_dict(network.state_dict())
    x = torch.randn(4, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    times, labels = torch.tensor([0.0, 1.0, 400.5, 999.0]), torch.tensor([0, 1, 2, 3]) if classes else None
    expected = network(x, times, class_labels=labels).sample
    torch.testing.assert_close(ours(x, times, labels), expected, rtol=0, atol=1e-6 * expected.abs().max().item())


def test_the_parameters_of_a_network_have_the_names_of_diffusers() -> None:
    """A few of each part, as its weight files have them: this test needs no diffusers."""
    network = unet2d.build((3, 8, 8), 2, **settings_of(SMALL))
    names = set(network.state_dict())
    assert {
        "conv_in.weight",
        "time_embedding.linear_1.weight",
        "time_embedding.linear_2.bias",
        "class_embedding.weight",
        "down_blocks.0.resnets.0.time_emb_proj.weight",
        "down_blocks.0.downsamplers.0.conv.weight",
        "down_blocks.1.resnets.0.conv_shortcut.weight",
        "down_blocks.1.attentions.0.to_out.0.weight",
        "mid_block.attentions.0.group_norm.weight",
        "mid_block.resnets.1.conv2.bias",
        "up_blocks.0.upsamplers.0.conv.weight",
        "up_blocks.1.resnets.1.conv_shortcut.weight",
        "conv_norm_out.weight",
        "conv_out.bias",
    } <= names
    assert network.state_dict()["class_embedding.weight"].shape == (3, 32)


def test_the_network_of_googles_ddpm_has_its_number_of_weights() -> None:
    """35.7 million: DDPM's for CIFAR-10 (Ho et al. 2020), as diffusers has it."""
    with torch.device("meta"):
        network = unet2d.build(
            (3, 32, 32), 0, block_out_channels=(128, 256, 256, 256), attention=(1,), attention_head_dim=None
        )
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(35.7e6, abs=0.05e6)


def test_a_table_without_a_dropped_row_has_one_for_each_class() -> None:
    network = unet2d.build((3, 8, 8), 3, dropped_row=False, **settings_of(SMALL))
    assert network.state_dict()["class_embedding.weight"].shape[0] == 3
    x, noise = torch.zeros(2, 3, 8, 8), torch.zeros(2)
    assert network(x, noise, torch.tensor([0, 2])).shape == x.shape
    with pytest.raises(ValueError, match="no row for the dropped condition"):
        network(x, noise, None)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"act_fn": "gelu"}, "act_fn: 'gelu' is not supported"),
        ({"time_embedding_type": "fourier"}, "time_embedding_type: 'fourier'"),
        ({"center_input_sample": True}, "center_input_sample: True"),
        ({"down_block_types": ["SkipDownBlock2D", "DownBlock2D"]}, "down_block_types: SkipDownBlock2D"),
        ({"up_block_types": ["UpBlock2D", "MyBlock"]}, "up_block_types: MyBlock"),
        ({"up_block_types": ["UpBlock2D"]}, "block_out_channels has 2 levels"),
        ({"time_embedding_dim": 64}, "time_embedding_dim must be 4 times"),
        ({"attn_norm_num_groups": 2}, "attn_norm_num_groups is not supported"),
    ],
)
def test_a_config_that_unet2d_has_no_form_of_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_of(SMALL | config)


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((2,), {}, "unet2d needs images"),
        ((3, 8, 8), {"block_out_channels": ()}, "block_out_channels must be one or more multiples"),
        ((3, 8, 8), {"block_out_channels": (64, 100)}, "block_out_channels must be one or more multiples"),
        ((3, 8, 8), {"block_out_channels": (3,), "norm_num_groups": 1}, "must begin with an even number"),
        ((3, 10, 8), {}, "block_out_channels of 3 levels need a height and width that 4 divides, not 10 × 8"),
        ((3, 8, 7), {}, "block_out_channels of 3 levels need a height and width that 4 divides, not 8 × 7"),
        ((3, 8, 8), {"attention": (3,)}, "attention at level 3: the levels are 0, 1, 2"),
        ((3, 8, 8), {"up_attention": (-1,)}, "up_attention at level -1"),
        ((3, 8, 8), {"attention_head_dim": 48}, "attention_head_dim must divide the 128 channels of level 1"),
    ],
)
def test_settings_that_no_such_network_can_have_are_named(
    shape: tuple[int, ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        unet2d.build(shape, 0, **settings)
