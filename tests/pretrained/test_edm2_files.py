"""Pickles of EDM2: the denoiser of the paper from the same weights, nothing of them run, and what is refused.

The files imitate EDM2's as they are remembered (`files_of_others.py`); that published ones are read is not shown.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from difgen_cli.models import edm2
from difgen_cli.models._edm2_names import from_edm2
from difgen_cli.pretrained import PretrainedError, read, write

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "models"))
import files_of_others as others
from edm2 import Edm2Toy, evaluate, random_weights

CANARY = "canary"
SOURCE = f"open({CANARY!r}, 'w')\n"
PLAIN, LABELLED = Edm2Toy(), Edm2Toy(classes=3, multipliers=(1, 2), attention=(8,), head=8)
TOYS = {"without classes": PLAIN, "with classes": LABELLED}


def arguments(toy: Edm2Toy) -> dict[str, Any]:
    """Those of the preconditioning, as EDM2's training gives them."""
    return {
        "img_resolution": toy.size, "img_channels": toy.channels, "label_dim": toy.classes, "use_fp16": True,
        "sigma_data": 0.5, "logvar_channels": 3, "model_channels": toy.width, "channel_mult": list(toy.multipliers),
        "num_blocks": toy.blocks, "attn_resolutions": [*toy.attention, 64], "channels_per_head": toy.head,
        "dropout": 0.1,
    }  # fmt: skip


def file(path: Path, toy: Edm2Toy, weights: dict[str, Tensor], protocol: int = 4, **changed: Any) -> Path:
    """A snapshot, with the encoder of images beside the network, whose arrays are of numpy."""
    passed = (toy.size, toy.channels, toy.classes)
    network = others.edm2_network(weights, arguments(toy) | changed, passed, source=SOURCE)
    encoder = others.Stored("StabilityVAEEncoder", {"vae_name": "x"}, SOURCE)
    vars(encoder)["scale"] = np.float32([0.1, 0.2]) / np.float32(0.5)
    vars(encoder)["bias"] = np.float32(0.5)
    loss = others.Stored("EDM2Loss", {"P_mean": -0.4, "P_std": 1.0}, SOURCE)
    content = {"encoder": encoder, "dataset_kwargs": others.EasyDict(path="x.zip"), "loss_fn": loss, "ema": network}
    return others.pickled(path, others.EasyDict(content), protocol)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("toy", TOYS.values(), ids=TOYS)
@torch.no_grad()
def test_a_pickle_of_edm2_is_read_to_the_network_that_it_was_made_of_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy: Edm2Toy, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = random_weights(toy)
    model = read(file(tmp_path / "edm2-snapshot.pkl", toy, weights, protocol))
    network = edm2.build(
        (toy.channels, toy.size, toy.size), toy.classes, width=toy.width, depth=toy.blocks,
        multipliers=toy.multipliers, attention=toy.attention, head_channels=toy.head, dropout=0.1,
    ).eval()  # fmt: skip
    network.load_state_dict(from_edm2(weights))
    assert same(model.weights, network.state_dict())
    assert (model.form, model.described.network, model.described.classes) == ("edm2", "edm2", toy.classes)
    assert model.described.reading == {"unit": 0.5}
    x = torch.randn(3, toy.channels, toy.size, toy.size, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(3) if toy.classes else None
    assert torch.equal(model.build()(x, torch.zeros(3), labels), network(x, torch.zeros(3), labels))
    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize("toy", TOYS.values(), ids=TOYS)
@torch.no_grad()
def test_a_pickle_of_edm2_is_read_to_the_denoiser_of_the_paper(tmp_path: Path, toy: Edm2Toy) -> None:
    """D = c_skip x + c_out F(c_in x; ln σ / 4) with σ_d = 0.5, whatever that of the data is."""
    weights = random_weights(toy)
    denoiser = read(file(tmp_path / "x.pkl", toy, weights)).denoiser(0.3)
    sigma = torch.tensor([0.01, 0.5, 60.0])
    x = torch.randn(3, toy.channels, toy.size, toy.size, generator=torch.Generator().manual_seed(1))
    s, total = sigma.view(-1, 1, 1, 1), (sigma.square() + 0.25).view(-1, 1, 1, 1)
    for labels in (torch.arange(3), None) if toy.classes else (None,):
        zeros = torch.zeros(3, toy.classes) if toy.classes else None
        output = evaluate(toy, weights, x / total.sqrt(), sigma.log() / 4, zeros if labels is None else torch.eye(3))
        expected = 0.25 / total * x + 0.5 * s / total.sqrt() * output
        torch.testing.assert_close(denoiser(x, sigma, labels), expected, rtol=0, atol=1e-5)


def test_weights_of_half_precision_and_old_names_of_numpy_are_read(tmp_path: Path) -> None:
    halves = {name: tensor.half() for name, tensor in random_weights(PLAIN).items()}
    path = file(tmp_path / "x.pkl", PLAIN, halves, 3)  # names are text in protocol 3
    content = path.read_bytes()
    assert b"numpy._core.multiarray" in content
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    model = read(path)
    assert all(tensor.dtype == torch.float32 for tensor in model.weights.values())
    assert same({name: tensor.half() for name, tensor in model.weights.items()}, from_edm2(halves))


@torch.no_grad()
def test_what_is_converted_is_read_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from difgen_cli.cli import app

    monkeypatch.chdir(tmp_path)
    file(tmp_path / "x.pkl", LABELLED, random_weights(LABELLED))
    with pytest.raises(SystemExit) as ended:
        app(["weights", "convert", "x.pkl", "out"])
    assert ended.value.code == 0
    numbers = sum(tensor.numel() for tensor in random_weights(LABELLED).values())
    assert capsys.readouterr().out.startswith(f"out: edm2, {numbers:,} weights of edm2, shape (4, 8, 8), 3 classes, ")
    model, again = read(Path("x.pkl")), read(Path("out"))
    assert same(again.weights, model.weights)
    assert again.described == model.described
    assert same(load_file("out/weights.safetensors"), model.weights)
    assert not Path(CANARY).exists()


@pytest.mark.parametrize("prefix", ["", "unet.", "module.unet."])
def test_named_tensors_are_converted_from_edm2s_names(tmp_path: Path, prefix: str) -> None:
    weights = random_weights(PLAIN)
    write(read(file(tmp_path / "x.pkl", PLAIN, weights)), tmp_path / "out")
    tensors = {f"{prefix}{name}": tensor for name, tensor in weights.items()}
    if prefix:
        tensors[f"{prefix.removesuffix('unet.')}logvar_linear.weight"] = torch.ones(1, 3)
    save_file(tensors, tmp_path / "x.safetensors")
    model = read(tmp_path / "x.safetensors", description=tmp_path / "out" / "difgen.json")
    assert same(model.weights, from_edm2(weights))


# What is refused ------------------------------------------------------------------------------------------------------

Change = Callable[[dict[str, Tensor]], object]


def weights_of(change: Change) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        weights = random_weights(PLAIN)
        change(weights)
        return file(path, PLAIN, weights)

    return make


def given(**changed: Any) -> Callable[[Path], Path]:
    return lambda path: file(path, PLAIN, random_weights(PLAIN), **changed)


def of_classes(*classes: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        network = others.edm2_network(random_weights(PLAIN), arguments(PLAIN), (), (classes[0], classes[1]), SOURCE)
        return others.pickled(path, {"ema": network})

    return make


def without_names(path: Path) -> Path:
    network = others.edm2_network(random_weights(PLAIN), arguments(PLAIN))
    network._init_args = (8, 4, 0)
    return others.pickled(path, {"ema": network})


BLOCK = "dec.2x2_block0"
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a wrong shape": (
        weights_of(lambda w: w.update({f"{BLOCK}.emb_gain": torch.zeros(2)})), r"has the shape \(2,\), and edm2 of",
    ),
    "a kernel of another size": (
        weights_of(lambda w: w.update({f"{BLOCK}.conv_res0.weight": torch.zeros(24, 48, 1, 1)})),
        "first.weight has the shape",
    ),
    "queries that are no three": (
        weights_of(lambda w: w.update({f"{BLOCK}.attn_qkv.weight": torch.zeros(71, 24, 1, 1)})),
        "it cannot be read|has the shape",
    ),
    "NaN": (weights_of(lambda w: w["emb_noise.weight"].fill_(float("nan"))), "embedding.noise.weight holds NaN"),
    "infinity": (weights_of(lambda w: w["out_gain"].fill_(float("inf"))), "gain holds NaN or infinite"),
    "a missing tensor": (weights_of(lambda w: w.pop("emb_noise.weight")), "there is no embedding.noise.weight"),
    "missing phases": (weights_of(lambda w: w.pop("emb_fourier.phases")), "there is no embedding.features.phases"),
    "an unknown tensor": (weights_of(lambda w: w.update({"enc.8x8_extra": torch.ones(1)})), "has no such weight"),
    "labels of a network without classes": (
        weights_of(lambda w: w.update({"emb_label.weight": torch.zeros(24, 3)})), "labels.layer.weight is unknown",
    ),
    "a class of its own": (of_classes("MyPrecond", "UNet"), "the class MyPrecond is no network of difgen's"),
    "a network of its own": (of_classes("Precond", "MyUNet"), "the class MyUNet is no network of difgen's"),
    "a network of EDM's": (of_classes("Precond", "SongUNet"), "the class SongUNet is no network of difgen's"),
    "arguments in order": (without_names, "Precond was made without named arguments"),
    "an unknown argument": (given(encoder_type="x"), "edm2 does not know the argument encoder_type"),
    "another balance": (given(res_balance=0.5), "res_balance: 0.5 is not supported by edm2; it has 0.3 alone"),
    "another filter": (given(resample_filter=[1, 3, 3, 1]), "resample_filter: .* is not supported by edm2"),
    "another width": (given(model_channels=16), "has the shape"),
    "a width of words": (given(model_channels="x"), "width: must be a valid integer"),
    "a billion channels": (given(model_channels=10**9), "width is 1000000000"),
    "a billion blocks": (given(num_blocks=10**9), "depth is 1000000000"),
    "a side of words": (given(img_resolution="x"), "invalid literal|cannot be read"),
    "no side": (given(img_resolution=None), "cannot be read"),
    "a list of words": (given(channel_mult=["x", "y"]), "multipliers"),
    "many levels": (given(channel_mult=[1] * 70), "multipliers has 70 values"),
    "heads that do not fit": (given(channels_per_head=7), "head_channels must divide"),
    "no spread": (given(sigma_data=0.0), "reading.unit: must be greater than 0"),
    "modules nested deeply": (
        lambda path: others.nested_modules(path, "Precond", "UNet", "unet", ("img_resolution", "img_channels")),
        "nested too deeply",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_none_of_edm2s_is_refused_in_one_sentence_and_nothing_of_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    from difgen_cli.cli import app

    make, words = REFUSED[case]
    make(tmp_path / "x.pkl")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        app(["weights", "convert", "x.pkl", "out"])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out, len(printed.err.splitlines())) == (2, "", 1), printed.err
    assert printed.err.startswith("x.pkl: "), printed.err
    assert re.search(words, printed.err), printed.err
    assert not (tmp_path / CANARY).exists()
    assert not (tmp_path / "out").exists()


def test_of_two_networks_the_average_is_taken_unless_asked(tmp_path: Path) -> None:
    raw, ema = random_weights(PLAIN, 1), random_weights(PLAIN, 2)
    networks = {key: others.edm2_network(w, arguments(PLAIN)) for key, w in (("net", raw), ("ema", ema))}
    path = others.pickled(tmp_path / "x.pkl", networks)
    assert same(read(path).weights, from_edm2(ema))
    assert same(read(path, "raw").weights, from_edm2(raw))
    with pytest.raises(PretrainedError, match="it has no raw weights"):
        read(file(tmp_path / "y.pkl", PLAIN, ema), "raw")
