"""The settings of `unet2d.py` for the `config.json` of a UNet2DModel of diffusers."""

from collections.abc import Mapping
from typing import Any

# What UNet2DModel takes that `unet2d` has one form of: other values are refused.
ONE_FORM: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "mid_block_type": ("UNetMidBlock2D",),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "class_embed_type": (None,),
}
SAME = (
    "layers_per_block", "add_attention", "attention_head_dim", "norm_num_groups", "norm_eps", "dropout",
    "resnet_time_scale_shift", "downsample_padding", "mid_block_scale_factor", "flip_sin_to_cos", "freq_shift",
)  # fmt: skip
DOWN, UP = {"DownBlock2D": False, "AttnDownBlock2D": True}, {"UpBlock2D": False, "AttnUpBlock2D": True}
# diffusers' own defaults, which old files leave out.
DEFAULTS = {
    "block_out_channels": (224, 448, 672, 896),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `unet2d.build`; shape and classes are the caller's.

    Of `num_class_embeds`, one is the row of the dropped condition, unless `dropped_row` is changed to False.

    Raises ValueError for a value that `unet2d` has no form of.
    """
    for name, forms in ONE_FORM.items():
        if (value := config.get(name, forms[0])) not in forms:
            raise ValueError(f"{name}: {value!r} is not supported by unet2d; it has {forms[0]!r} alone")
    widths, downs, ups = (tuple(config.get(name, default)) for name, default in DEFAULTS.items())
    for name, kinds, allowed in (("down_block_types", downs, DOWN), ("up_block_types", ups, UP)):
        if unknown := sorted(set(kinds) - set(allowed)):
            raise ValueError(f"{name}: {unknown[0]} is not supported by unet2d; it has {' and '.join(allowed)}")
    if not len(widths) == len(downs) == len(ups):
        raise ValueError(
            f"block_out_channels has {len(widths)} levels, the types of blocks {len(downs)} and {len(ups)}"
        )
    if config.get("attn_norm_num_groups") is not None:
        raise ValueError("attn_norm_num_groups is not supported by unet2d; it has norm_num_groups alone")
    if config.get("time_embedding_dim") not in (None, 4 * widths[0]):
        raise ValueError(f"time_embedding_dim must be 4 times the channels of the first level, {4 * widths[0]}")
    settings = {name: config[name] for name in SAME if name in config}
    return settings | {
        "block_out_channels": widths,
        "attention": tuple(level for level, kind in enumerate(downs) if DOWN[kind]),
        "up_attention": tuple(level for level, kind in enumerate(reversed(ups)) if UP[kind]),
    }
