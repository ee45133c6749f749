"""What a pickle of EDM2 says of its network (Karras et al. 2024): arguments of `Precond` as settings of `edm2`.

The names of arguments and their defaults are those of the paper and as they are remembered, since no published file was
at hand; an argument that is not listed here is refused, and no value is guessed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from difgen_cli.pretrained.files import PretrainedError, converted, shown
from difgen_cli.pretrained.record import Described

DEFAULTS: dict[str, Any] = {  # of EDM2's network, for arguments that a file leaves out
    "label_dim": 0, "sigma_data": 0.5, "model_channels": 192, "channel_mult": [1, 2, 3, 4], "num_blocks": 3,
    "attn_resolutions": [16, 8], "channels_per_head": 64, "dropout": 0.0,
}  # fmt: skip
ONE_FORM: dict[str, Any] = {  # that edm2 has one form of
    "channel_mult_noise": None, "channel_mult_emb": None, "label_balance": 0.5, "concat_balance": 0.5,
    "res_balance": 0.3, "attn_balance": 0.3, "clip_act": 256, "resample_filter": [1, 1],
}  # fmt: skip
WITHOUT_EFFECT = ("use_fp16", "logvar_channels")  # on the weights of the denoiser
REQUIRED = ("img_resolution", "img_channels")


def described(path: Path, outer: Mapping[str, Any], inner: Mapping[str, Any]) -> Described:
    """What the weights are for, by the arguments of the preconditioning and of the network in it.

    Raises PretrainedError for an argument that edm2 has no such value of, or that is unknown.
    """
    given = DEFAULTS | ONE_FORM | dict(outer) | dict(inner)
    allowed = {*DEFAULTS, *ONE_FORM, *WITHOUT_EFFECT, *REQUIRED}
    if unknown := sorted(shown(name) for name in given if name not in allowed):
        raise PretrainedError(
            f"{path}: edm2 does not know the argument {unknown[0]} of its network: take weights of configuration G"
        )
    for name, form in ONE_FORM.items():
        if given[name] != form and not (isinstance(form, list) and given[name] == tuple(form)):
            raise PretrainedError(f"{path}: {name}: {shown(given[name])} is not supported by edm2; it has {form} alone")

    def convert() -> Described:
        side, multipliers = int(given["img_resolution"]), tuple(given["channel_mult"])
        heights = [side >> level for level in range(len(multipliers))]
        settings = {
            "width": given["model_channels"], "depth": given["num_blocks"], "multipliers": multipliers,
            "attention": tuple(height for height in given["attn_resolutions"] if height in heights),
            "head_channels": given["channels_per_head"], "dropout": float(given["dropout"]),
        }  # fmt: skip
        shape = (int(given["img_channels"]), side, side)
        return Described("edm2", settings, shape, int(given["label_dim"]), {"unit": float(given["sigma_data"])})

    return converted(path, convert)
