"""Weights of others, read as data: the same tensors bit for bit, and the same outputs, for each format."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from difgen_cli.diffusion import schedules
from difgen_cli.models import dit, unet2d
from difgen_cli.models._edm_names import from_edm
from difgen_cli.models._unet2d_names import settings_of
from difgen_cli.pretrained import PretrainedError, PretrainedModel, read, write

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "models"))
import files_of_others as others
from edm import Edm, evaluate, random_weights


def unet(**config: Any) -> nn.Module:
    whole = others.UNET2D | config
    return unet2d.build((3, 8, 8), 0, **settings_of(whole)).eval()


def batch(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# diffusers ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_network_in_the_layout_of_diffusers_gives_the_same_outputs(tmp_path: Path) -> None:
    network = unet()
    network.load_state_dict(others.random_state(network))
    model = read(others.diffusers_folder(tmp_path / "m", network.state_dict()))
    assert (model.described.network, model.described.shape, model.described.classes) == ("unet2d", (3, 8, 8), 0)
    assert model.described.reading == {
        "prediction": "noise", "unit": 1.0, "noise_input": "timestep", "schedule": "linear",
    }  # fmt: skip
    x, times = batch(4, 3, 8, 8), torch.tensor([0.0, 1.0, 400.5, 999.0])
    assert torch.equal(model.build()(x, times, None), network(x, times, None))
    denoiser = model.denoiser(0.5)
    level = schedules.levels("linear")[250].float()  # the noise of timestep 250
    s = torch.full((4,), float(level))
    expected = x - s.view(-1, 1, 1, 1) * network(
        x / (1 + s.square()).sqrt().view(-1, 1, 1, 1), 250 * torch.ones(4), None
    )
    torch.testing.assert_close(denoiser(x, s), expected, rtol=0, atol=2e-5 * float(level))


def test_a_pipeline_a_checkpoint_and_parts_hold_the_same_weights(tmp_path: Path) -> None:
    state = others.random_state(unet())
    whole = read(others.diffusers_folder(tmp_path / "whole", state))
    folder = others.pipeline(tmp_path / "pipeline", state)
    assert same(read(folder).weights, state)
    assert read(folder).described == read(folder / "unet").described == whole.described
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(state, folder / "unet" / "diffusion_pytorch_model.bin")
    assert same(read(folder).weights, state)
    (folder / "unet" / "diffusion_pytorch_model.bin").unlink()
    names = sorted(state)
    parts = {"a": names[:20], "b": names[20:]}
    for part, own in parts.items():
        save_file({name: state[name] for name in own}, folder / "unet" / f"{part}.safetensors")
    index = {"weight_map": {name: f"{part}.safetensors" for part, own in parts.items() for name in own}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert same(read(folder).weights, state)


def test_the_average_that_lies_beside_a_network_is_chosen_by_name(tmp_path: Path) -> None:
    raw, ema = others.random_state(unet(), 1), others.random_state(unet(), 2)
    others.pipeline(tmp_path, raw)
    others.diffusers_folder(tmp_path / "unet_ema", ema)
    with pytest.raises(PretrainedError, match="unet_ema lies beside it: choose with --weights ema or --weights raw"):
        read(tmp_path / "unet")
    assert same(read(tmp_path / "unet", "raw").weights, raw)
    assert same(read(tmp_path, "ema").weights, ema)
    assert read(tmp_path, "ema").choice == "ema"


@torch.no_grad()
def test_of_a_learned_variance_the_first_half_of_the_channels_is_the_prediction(tmp_path: Path) -> None:
    network, wide = unet(), unet()
    state = others.random_state(network)
    network.load_state_dict(state)
    wide = dict(state)
    for name in ("conv_out.weight", "conv_out.bias"):
        wide[name] = torch.cat([state[name], batch(*state[name].shape)])
    model = read(others.diffusers_folder(tmp_path / "m", wide, others.UNET2D | {"out_channels": 6}))
    x, times = batch(2, 3, 8, 8), torch.tensor([3.0, 700.0])
    assert torch.equal(model.build()(x, times, None), network(x, times, None))


def test_every_label_of_a_table_is_a_class(tmp_path: Path) -> None:
    network = unet2d.build((3, 8, 8), 4, dropped_row=False, **settings_of(others.UNET2D))
    state = others.random_state(network)
    model = read(others.diffusers_folder(tmp_path / "m", state, others.UNET2D | {"num_class_embeds": 4}))
    assert model.described.classes == 4
    assert same(model.weights, state)


@pytest.mark.parametrize(
    ("changed", "reading"),
    [
        ({"prediction_type": "sample"}, {"prediction": "clean", "schedule": "linear"}),
        (
            {"prediction_type": "v_prediction", "beta_schedule": "squaredcos_cap_v2"},
            {"prediction": "velocity", "schedule": "cosine"},
        ),
        (
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
            {"prediction": "noise", "schedule": "scaled_linear"},
        ),
        (
            {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195},
            {"prediction": "noise", "schedule": "scaled_linear", "betas": (0.0015, 0.0195)},
        ),
        ({"trained_betas": [0.1, 0.2, 0.3]}, {"prediction": "noise", "betas": (0.1, 0.2, 0.3)}),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, {"prediction": "flow"}),
    ],
)
def test_the_scheduler_says_how_weights_are_read(
    tmp_path: Path, changed: dict[str, Any], reading: dict[str, Any]
) -> None:
    folder = others.diffusers_folder(tmp_path, others.random_state(unet()), None, others.SCHEDULER | changed)
    assert read(folder).described.reading == {"unit": 1.0, "noise_input": "timestep", **reading}


def test_levels_of_foreign_schedules_are_those_of_their_betas(tmp_path: Path) -> None:
    """ᾱ is the product of 1 − β, and s² = (1 − ᾱ) / ᾱ."""
    for number, (changed, betas) in enumerate(
        [
            ({"beta_end": 0.01}, torch.linspace(1e-4, 0.01, 1000, dtype=torch.float64)),
            ({"num_train_timesteps": 50}, torch.linspace(1e-4, 0.02, 50, dtype=torch.float64)),
            ({"trained_betas": [0.1, 0.2, 0.3]}, torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)),
        ]
    ):
        folder = others.diffusers_folder(
            tmp_path / str(number), others.random_state(unet()), None, others.SCHEDULER | changed
        )
        kept = (1 - betas).cumprod(0)
        levels = ((1 - kept) / kept).sqrt()
        denoiser = read(folder).denoiser(0.5)
        assert denoiser.sigma_range == pytest.approx((float(levels[0]), float(levels[-1])), rel=1e-5)
        assert denoiser.noise_input is not None
        steps = denoiser.noise_input(levels.float())
        torch.testing.assert_close(steps, torch.arange(len(betas)).float(), rtol=0, atol=5e-3)


def test_a_reading_that_the_caller_gives_replaces_that_of_the_scheduler(tmp_path: Path) -> None:
    folder = others.diffusers_folder(tmp_path, others.random_state(unet()))
    (folder / "scheduler_config.json").unlink()
    with pytest.raises(PretrainedError, match=r"no scheduler_config.json says how its output is read"):
        read(folder)
    whole = {"prediction": "flow", "unit": 1.0, "noise_input": "time"}
    assert read(folder, reading={"prediction": "flow", "noise_input": "time"}).described.reading == whole
    (folder / "scheduler_config.json").write_text(json.dumps(others.SCHEDULER | {"beta_end": 0.01}))
    assert read(folder, reading={"prediction": "velocity"}).described.reading == {
        "prediction": "velocity", "unit": 1.0, "noise_input": "timestep", "schedule": "linear", "betas": (1e-4, 0.01),
    }  # fmt: skip
    assert "betas" not in read(folder, reading={"schedule": "cosine"}).described.reading
    edm = edm_file(tmp_path / "n.pkl", Edm(), random_weights(Edm()))
    assert read(edm, reading={"unit": 0.25}).described.reading == {"unit": 0.25}
    with pytest.raises(PretrainedError, match=r"reading\.prediction: must be 'edm', 'noise'.*, not wrong"):
        read(edm, reading={"prediction": "wrong"})


# diffusers' own networks, where it is installed -----------------------------------------------------------------------


def diffusers_of(name: str) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what diffusers imports
        module = pytest.importorskip("diffusers", reason="diffusers is not installed: the extra bench has it")
    return getattr(module, name)


@torch.no_grad()
def test_what_diffusers_saves_is_read_to_its_outputs(tmp_path: Path) -> None:
    config = {key: value for key, value in others.UNET2D.items() if not key.startswith("_")}
    network = diffusers_of("UNet2DModel")(**config).eval()
    network.load_state_dict(others.random_state(network))
    network.save_pretrained(tmp_path)
    diffusers_of("DDPMScheduler")().save_pretrained(tmp_path)
    x, times = batch(3, 3, 8, 8), torch.tensor([0.0, 10.0, 999.0])
    torch.testing.assert_close(read(tmp_path).build()(x, times, None), network(x, times).sample, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_dit_that_diffusers_saves_is_read_to_its_outputs(tmp_path: Path) -> None:
    network = diffusers_of("DiTTransformer2DModel")(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=3, sample_size=8,
        num_embeds_ada_norm=5,
    ).eval()  # fmt: skip
    state = others.random_state(network)
    for name in state:  # one embedding for all blocks, as the published weights have it
        state[name] = state[name.replace("blocks.1.norm1.emb", "blocks.0.norm1.emb").replace(
            "blocks.2.norm1.emb", "blocks.0.norm1.emb")]  # fmt: skip
    network.load_state_dict(state)
    network.save_pretrained(tmp_path)
    diffusers_of("DDIMScheduler")().save_pretrained(tmp_path)
    model = read(tmp_path)
    assert model.described.classes == 5
    x, times, labels = batch(3, 4, 8, 8), torch.tensor([0.0, 10.0, 999.0]), torch.tensor([0, 3, 5])
    expected = network(x, times, labels).sample[:, :4]
    torch.testing.assert_close(model.build()(x, times, labels), expected, rtol=0, atol=1e-5)


def test_a_dit_in_the_names_of_diffusers_is_the_same_network(tmp_path: Path) -> None:
    """The names as diffusers has them, written out here: this test needs no diffusers."""
    network = dit.build((4, 8, 8), 5, width=16, depth=2, heads=2, learned_variance=True)
    state = others.random_state(network)
    theirs: dict[str, Tensor] = {}
    outer = {"first": "pos_embed.proj", "modulation": "proj_out_1", "last": "proj_out_2"}
    inner = {"modulation": "norm1.linear", "out": "attn1.to_out.0", "inner": "ff.net.0.proj", "outer": "ff.net.2"}
    embedding = {
        "first": "timestep_embedder.linear_1", "second": "timestep_embedder.linear_2",
        "labels.table": "class_embedder.embedding_table",
    }  # fmt: skip
    for name, tensor in state.items():
        layer, _, part = name.rpartition(".")
        if layer in outer:
            theirs[f"{outer[layer]}.{part}"] = tensor
        elif layer.startswith("embedding."):
            for block in range(2):
                own = embedding[layer.removeprefix("embedding.")]
                theirs[f"transformer_blocks.{block}.norm1.emb.{own}.{part}"] = tensor.clone()
        else:
            _, block, kind = layer.split(".")
            if kind == "qkv":
                for third, letter in zip(tensor.chunk(3), "qkv", strict=True):
                    theirs[f"transformer_blocks.{block}.attn1.to_{letter}.{part}"] = third.clone()
            else:
                theirs[f"transformer_blocks.{block}.{inner[kind]}.{part}"] = tensor
    config = {
        "_class_name": "DiTTransformer2DModel", "num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4,
        "out_channels": 8, "num_layers": 2, "sample_size": 8, "patch_size": 2, "num_embeds_ada_norm": 5,
        "norm_type": "ada_norm_zero", "activation_fn": "gelu-approximate", "attention_bias": True, "norm_eps": 1e-5,
    }  # fmt: skip
    model = read(others.diffusers_folder(tmp_path / "m", theirs, config))
    assert same(model.weights, state)
    assert model.described.settings["freq_shift"] == 1
    assert model.described.settings["mlp_eps"] == 1e-5
    theirs["transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias"] += 1
    with pytest.raises(PretrainedError, match="it differs from that of the first block"):
        read(others.diffusers_folder(tmp_path / "m", theirs, config))


# EDM ------------------------------------------------------------------------------------------------------------------

NCSNPP = Edm(16, classes=4, fourier=True, residual=True, taps=(1, 3, 3, 1), attention=(16,), augment=9)
EDMS = {"DDPM++": Edm(), "NCSN++ with labels": NCSNPP}


def edm_arguments(edm: Edm) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the inner and of the outer class, as EDM's training gives them."""
    inner = {
        "img_resolution": edm.size, "in_channels": edm.channels, "out_channels": edm.channels,
        "label_dim": edm.classes, "augment_dim": edm.augment, "model_channels": edm.width,
        "channel_mult": list(edm.multipliers), "num_blocks": edm.blocks, "attn_resolutions": list(edm.attention),
        "embedding_type": "fourier" if edm.fourier else "positional", "channel_mult_noise": 2 if edm.fourier else 1,
        "encoder_type": "residual" if edm.residual else "standard", "resample_filter": list(edm.taps), "dropout": 0.13,
    }  # fmt: skip
    outer = {"img_resolution": edm.size, "img_channels": edm.channels, "label_dim": edm.classes, "use_fp16": False}
    return inner, outer


def edm_file(path: Path, edm: Edm, weights: dict[str, Tensor], protocol: int = 4) -> Path:
    inner, outer = edm_arguments(edm)
    content = {"ema": others.edm_network(weights, inner, outer), "dataset_kwargs": others.EasyDict(path="x.zip")}
    return others.pickled(path, content, protocol)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("case", EDMS)
def test_the_tensors_of_a_pickle_of_edm_are_recovered_bit_for_bit(tmp_path: Path, case: str, protocol: int) -> None:
    edm = EDMS[case]
    weights = random_weights(edm)
    model = read(edm_file(tmp_path / "network-snapshot.pkl", edm, weights, protocol))
    assert len(model.weights) > 50
    assert same(model.weights, from_edm(weights))
    assert (model.described.shape, model.described.classes) == ((edm.channels, edm.size, edm.size), edm.classes)


@pytest.mark.parametrize("case", EDMS)
@torch.no_grad()
def test_a_pickle_of_edm_is_read_to_the_denoiser_of_edm(tmp_path: Path, case: str) -> None:
    """D = c_skip x + c_out F(c_in x; ln σ / 4) with σ_d = 0.5 (Karras 2022, table 1), whatever the data's σ_d is."""
    edm = EDMS[case]
    weights = random_weights(edm)
    denoiser = read(edm_file(tmp_path / "network-snapshot.pkl", edm, weights)).denoiser(0.3)
    sigma, x = torch.tensor([0.01, 0.5, 3.0, 60.0]), batch(4, edm.channels, edm.size, edm.size)
    labels = torch.tensor([0, 1, 2, 3]) if edm.classes else None
    one_hot = torch.eye(4)[:, : edm.classes] if edm.classes else None
    s, total = sigma.view(-1, 1, 1, 1), (sigma.square() + 0.25).view(-1, 1, 1, 1)
    output = evaluate(edm, weights, x / total.sqrt(), sigma.log() / 4, one_hot)
    expected = 0.25 / total * x + 0.5 * s / total.sqrt() * output
    torch.testing.assert_close(denoiser(x, sigma, labels), expected, rtol=0, atol=1e-5)


def test_of_a_pickle_with_two_networks_the_average_is_taken_unless_asked(tmp_path: Path) -> None:
    edm, (inner, outer) = Edm(), edm_arguments(Edm())
    raw, ema = random_weights(edm, 1), random_weights(edm, 2)
    content = {"net": others.edm_network(raw, inner, outer), "ema": others.edm_network(ema, inner, outer)}
    path = others.pickled(tmp_path / "both.pkl", content)
    assert same(read(path).weights, from_edm(ema))
    assert read(path).choice == "ema"
    assert same(read(path, "raw").weights, from_edm(raw))
    path = edm_file(tmp_path / "one.pkl", edm, raw)
    assert read(path).choice == ""
    with pytest.raises(PretrainedError, match="it has no raw weights, but ema, dataset_kwargs"):
        read(path, "raw")


@pytest.mark.parametrize(
    ("classes", "changed", "words"),
    [
        (("VPPrecond", "SongUNet"), {}, "the class VPPrecond is no network of difgen's"),
        (("EDMPrecond", "DhariwalUNet"), {}, "the class DhariwalUNet is no network of difgen's"),
        (("Precond", "SongUNet"), {}, "it holds no network of EDM"),
        (("EDMPrecond", "SongUNet"), {"encoder_type": "skip"}, "embedding_type or encoder_type"),
        (("EDMPrecond", "SongUNet"), {"decoder_type": "skip"}, "decoder_type: skip is not supported"),
        (("EDMPrecond", "SongUNet"), {"model_channels": 12}, "has the shape"),
    ],
)
def test_networks_of_edm_that_difgen_has_not_are_refused_by_name(
    tmp_path: Path, classes: tuple[str, str], changed: dict[str, Any], words: str
) -> None:
    inner, outer = edm_arguments(Edm())
    network = others.edm_network(random_weights(Edm()), inner | changed, outer, classes)
    with pytest.raises(PretrainedError, match=words):
        read(others.pickled(tmp_path / "x.pkl", {"ema": network}))


# state dicts ----------------------------------------------------------------------------------------------------------


def description(path: Path, **changed: Any) -> Path:
    fields = {
        "network": "unet2d", "settings": settings_of(others.UNET2D), "shape": [3, 8, 8],
        "reading": {"prediction": "noise", "unit": 1.0, "noise_input": "timestep", "schedule": "linear"},
    }  # fmt: skip
    path.write_text(json.dumps(fields | changed))
    return path


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".pth"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": {f"model.{name}": t for name, t in state.items()}, "epoch": 3, "lr": [0.1]},
        lambda state: {"model": {f"module.{name}": t for name, t in state.items()}},
        lambda state: {f"_orig_mod.module.{name}": t for name, t in state.items()},
        lambda state: {"ema": state},
        lambda state: {
            "state_dict": {n: nn.Parameter(t) for n, t in state.items()},
            "size": torch.Size([3]),
            "on": {1},
        },
    ],
)
def test_a_state_dict_is_read_with_a_description(tmp_path: Path, suffix: str, wrap: Callable[..., Any]) -> None:
    state = others.random_state(unet())
    path = tmp_path / f"x{suffix}"
    torch.save(wrap(state), path)
    model = read(path, description=description(tmp_path / "network.json"))
    assert same(model.weights, state)
    assert model.form == "state dict"
    with pytest.raises(PretrainedError, match="it does not say which network it is for"):
        read(path)


def test_of_a_checkpoint_with_an_average_one_is_chosen(tmp_path: Path) -> None:
    raw, ema = others.random_state(unet(), 1), others.random_state(unet(), 2)
    torch.save({"model": raw, "ema": ema, "step": 7}, tmp_path / "x.pt")
    described = description(tmp_path / "network.json")
    with pytest.raises(PretrainedError, match="two sets of weights: choose with --weights ema or --weights raw"):
        read(tmp_path / "x.pt", description=described)
    assert same(read(tmp_path / "x.pt", "ema", described).weights, ema)
    assert same(read(tmp_path / "x.pt", "raw", described).weights, raw)


def test_weights_of_half_precision_become_float32_exactly(tmp_path: Path) -> None:
    state = {name: tensor.half() for name, tensor in others.random_state(unet()).items()}
    model = read(others.diffusers_folder(tmp_path, state))
    assert all(tensor.dtype == torch.float32 for tensor in model.weights.values())
    assert same({name: tensor.half() for name, tensor in model.weights.items()}, state)


# identity, and what is written ----------------------------------------------------------------------------------------


def test_the_content_is_that_of_the_bytes_whatever_the_path(tmp_path: Path) -> None:
    state = others.random_state(unet())
    one = others.diffusers_folder(tmp_path / "a" / "one", state)
    config, weights = one / "config.json", one / "diffusion_pytorch_model.safetensors"
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (config, weights)]
    assert read(one).content == hashlib.sha256("\n".join(digests).encode()).hexdigest()
    two = others.diffusers_folder(tmp_path / "two", state)
    assert read(two).content == read(one).content
    state["conv_in.bias"] = state["conv_in.bias"] + 1
    others.diffusers_folder(tmp_path / "two", state)
    assert read(two).content != read(one).content
    edm = edm_file(tmp_path / "n.pkl", Edm(), random_weights(Edm()))
    assert read(edm).content == hashlib.sha256(edm.read_bytes()).hexdigest()


@pytest.mark.parametrize("source", ["diffusers", "edm"])
@torch.no_grad()
def test_what_is_written_is_read_to_the_same_bits(tmp_path: Path, source: str) -> None:
    if source == "edm":
        model = read(edm_file(tmp_path / "n.pkl", NCSNPP, random_weights(NCSNPP)))
    else:
        scheduler = others.SCHEDULER | {"num_train_timesteps": 50}
        model = read(others.diffusers_folder(tmp_path / "m", others.random_state(unet()), None, scheduler))
    write(model, tmp_path / "out")
    again: PretrainedModel = read(tmp_path / "out")
    assert same(again.weights, model.weights)
    assert again.described == model.described
    assert same(load_file(tmp_path / "out" / "weights.safetensors"), model.weights)
    assert json.loads((tmp_path / "out" / "difgen.json").read_text())["source"]["content"] == model.content
    before = (tmp_path / "out" / "weights.safetensors").read_bytes()
    with pytest.raises(PretrainedError, match="this file is there already: name another folder, or add --force"):
        write(model, tmp_path / "out")
    assert (tmp_path / "out" / "weights.safetensors").read_bytes() == before
    write(model, tmp_path / "out", replace=True)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["difgen.json", "weights.safetensors"]


def test_weights_stay_what_they_were_when_the_file_changes_later(tmp_path: Path) -> None:
    state = others.random_state(unet())
    model = read(others.diffusers_folder(tmp_path, state))
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    with file.open("r+b") as handle:
        handle.seek(-4000, 2)
        handle.write(b"\0" * 4000)
    assert same(model.weights, state)


def test_links_of_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    cache, state = tmp_path / "models--a--b", others.random_state(unet())
    folder = others.diffusers_folder(cache / "snapshots" / "0123", state)
    (cache / "blobs").mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(cache / "blobs" / f"{number}")
        file.symlink_to(f"../../blobs/{number}")
    assert same(read(folder).weights, state)
