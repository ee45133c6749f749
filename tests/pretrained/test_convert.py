"""`difgen weights convert`: what it prints and writes, and what it says of a command that is wrong."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from difgen_cli.models import unet2d
from difgen_cli.models._unet2d_names import settings_of

sys.path.insert(0, str(Path(__file__).parent))
import files_of_others as others


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    from difgen_cli.cli import app

    with pytest.raises(SystemExit) as ended:
        app(["weights", *arguments])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    monkeypatch.chdir(tmp_path)
    return others.random_state(unet2d.build((3, 8, 8), 0, **settings_of(others.UNET2D)))


def test_a_model_is_converted_and_described(state: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]) -> None:
    others.pipeline(Path("model"), state)
    code, out, err = run(capsys, "convert", "model", "out", "--reading", "prediction=velocity", "--reading", "unit=0.5")
    assert (code, err) == (0, "")
    files = [Path("model/unet/config.json"), Path("model/unet/diffusion_pytorch_model.safetensors")]
    digests = "\n".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    numbers = sum(tensor.numel() for tensor in state.values())
    assert out.strip() == (
        f"out: unet2d, {numbers:,} weights of diffusers, shape (3, 8, 8), 0 classes, read as prediction velocity, unit "
        f"0.5, noise_input timestep, schedule linear, SHA-256 {hashlib.sha256(digests.encode()).hexdigest()}"
    )
    written = load_file("out/weights.safetensors")
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], state[name]) for name in state)
    code, _, err = run(capsys, "convert", "model", "out")
    assert (code, err) == (2, "out/difgen.json: this file is there already: name another folder, or add --force\n")
    assert json.loads(Path("out/difgen.json").read_text())["reading"]["prediction"] == "velocity"
    assert run(capsys, "convert", "model", "out", "--force")[0] == 0
    assert json.loads(Path("out/difgen.json").read_text())["reading"]["prediction"] == "noise"


def test_a_state_dict_is_converted_with_the_description_that_convert_writes(
    state: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    others.pipeline(Path("model"), state)
    assert run(capsys, "convert", "model", "one")[0] == 0
    torch.save({"ema": {f"module.{name}": tensor for name, tensor in state.items()}, "model": state}, "x.pt")
    code, out, _ = run(capsys, "convert", "x.pt", "two", "--network", "one/difgen.json", "--weights", "ema")
    assert (code, "weights (ema) of state dict" in out) == (0, True)
    assert Path("two/weights.safetensors").read_bytes() == Path("one/weights.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("convert",), "name the weights to read and a folder to write: weights convert SOURCE OUT"),
        (("convert", "model"), "name the weights to read and a folder to write: weights convert SOURCE OUT"),
        (("convert", "nowhere", "out"), "nowhere: there is no such file or folder: name the weights to read"),
        (("convert", "model", "out", "--weights", "mean"), "--weights mean: choose from ema, raw"),
        (("convert", "model", "out", "--weights", "ema"), "there is no running average beside it"),
        (("convert", "model", "out", "--reading", "noise"), "--reading noise: write KEY=VALUE, such as prediction="),
        (("convert", "model", "out", "--reading", "wrong=1"), "reading.wrong is unknown: it takes prediction, unit,"),
        (("convert", "model", "out", "--reading", "unit=x"), "reading.unit: must be a valid number, not x"),
        (("convert", "model", "out", "--reading", "unit=-1"), "reading.unit: must be greater than 0, not -1"),
        (("convert", "model", "model/model_index.json"), "model/model_index.json: this is a file: name a folder"),
        (("convert", "model/unet/config.json", "out"), "it does not say which network it is for"),
        (("list", "--force"), "weights list: --force belongs to convert; leave it out"),
        (("fetch", "inception", "out"), "weights fetch: OUT belongs to convert; leave it out"),
        (("turn",), "weights turn: choose from list, fetch, verify, convert"),
    ],
)
def test_a_wrong_command_is_one_sentence(
    state: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    others.pipeline(Path("model"), state)
    code, out, err = run(capsys, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert words in err
    assert not Path("out").exists()
