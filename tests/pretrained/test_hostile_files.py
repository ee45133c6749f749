"""Files made to harm whoever reads them: nothing in them runs, memory stays small, one sentence says what is wrong."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

from difgen_cli.models import unet2d
from difgen_cli.models._unet2d_names import settings_of

sys.path.insert(0, str(Path(__file__).parent))
import files_of_others as others

CANARY = "canary"
# What asks for much memory; each says so many bytes or numbers that a machine would not have them.
LARGE = (
    "a bomb", "nested archives", "a header of 100 GB", "a tensor of 100 GB", "a tensor of one number repeated",
    "an array of 64 GB in what torch saved", "an array of 64 GB in an old file of torch",
    "a storage of 64 GB in what torch saved", "an expanded tensor in what torch saved", "a memo of a large number",
    "a string longer than the file", "an array longer than the file", "a pickle of many operations",
    "a billion layers", "a billion channels", "a million levels", "a billion timesteps", "JSON nested deeply",
    "a header nested deeply",
)  # fmt: skip
MEGABYTES = 350  # that reading them may take above what reading a small model does
Make = Callable[[Path], Path]


def state() -> dict[str, torch.Tensor]:
    return others.random_state(unet2d.build((3, 8, 8), 0, **settings_of(others.UNET2D)))


def folder(path: Path, **changed: Any) -> Path:
    return others.diffusers_folder(path / "model", state(), others.UNET2D | changed)


def with_weights(path: Path, content: bytes, suffix: str = "safetensors") -> Path:
    """A folder of diffusers whose file of weights is this."""
    whole = folder(path)
    (whole / "diffusion_pytorch_model.safetensors").unlink()
    (whole / f"diffusion_pytorch_model.{suffix}").write_bytes(content)
    return whole


def with_header(path: Path, header: dict[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return with_weights(path, struct.pack("<Q", len(text) if length is None else length) + text + data)


class Runs:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {CANARY}",)


class Called:
    """Calls a function with a number where it is unpickled."""

    def __init__(self, function: Any, number: int) -> None:
        self.function, self.number = function, number

    def __reduce__(self) -> Any:
        return self.function, (self.number,)


class Evaluates:
    def __reduce__(self) -> Any:
        return eval, (f"open({CANARY!r}, 'w')",)


def written(path: Path, name: str, content: bytes | str) -> Path:
    file = path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def index_of(path: Path, *parts: Any) -> Path:
    """A folder whose index names these files."""
    whole = folder(path)
    (whole / "diffusion_pytorch_model.safetensors").rename(whole / "part.safetensors")
    index = {"weight_map": {f"x{place}": part for place, part in enumerate(parts)}}
    (whole / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    return whole


def pickled_network(path: Path, **state_of: Any) -> Path:
    """A pickle of EDM's layout whose network has this state."""
    network = others.Stored("EDMPrecond", {})
    vars(network).update(state_of)
    return others.pickled(path / "x.pkl", {"ema": network})


def storage_call(numel: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> Any:
    """A parameter of a tensor that says these sizes of a storage of two numbers."""

    class Tensor:
        def __reduce__(self) -> Any:
            two = torch.zeros(2).untyped_storage()
            storage = torch.storage.TypedStorage(wrap_storage=two, dtype=torch.float32, _internal=True)
            return torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, {})

    return Tensor()


def opcodes(path: Path, *parts: bytes) -> Path:
    return written(path, "x.pkl", b"".join(parts))


def bomb(path: Path) -> Path:
    """A gigabyte of zeros in a megabyte."""
    whole = folder(path)
    with zipfile.ZipFile(whole / "diffusion_pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        with archive.open("archive/data/0", "w") as entry:
            for _ in range(1024):
                entry.write(bytes(1 << 20))
    (whole / "diffusion_pytorch_model.safetensors").unlink()
    return whole


def nested(path: Path) -> Path:
    """Archives within archives, each of which says that it holds the same many bytes."""
    inner = b""
    for _ in range(5):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(8):
                archive.writestr(f"{number}.zip", inner or bytes(1 << 20))
        inner = stream.getvalue()
    return with_weights(path, inner, "bin")


def linked(path: Path) -> Path:
    whole = folder(path)
    (whole / "diffusion_pytorch_model.safetensors").rename(path / "elsewhere.safetensors")
    (whole / "diffusion_pytorch_model.safetensors").symlink_to(path / "elsewhere.safetensors")
    return whole


def endless(path: Path) -> Path:
    """A configuration that never ends."""
    whole = others.pipeline(path / "model", state())
    (whole / "unet" / "config.json").unlink()
    (whole / "unet" / "config.json").symlink_to("/dev/zero")
    return whole


def waiting(path: Path) -> Path:
    """Weights that are a pipe into which nobody writes."""
    whole = folder(path)
    (whole / "diffusion_pytorch_model.safetensors").unlink()
    os.mkfifo(whole / "diffusion_pytorch_model.safetensors")
    return whole


def changed_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Make:
    def make(path: Path) -> Path:
        whole, tensors = folder(path), state()
        change(tensors)
        save_file(tensors, whole / "diffusion_pytorch_model.safetensors")
        return whole

    return make


def pipeline_of(**index: Any) -> Make:
    return lambda path: others.pipeline(path / "model", state(), index=index)


def scheduler_of(**changed: Any) -> Make:
    return lambda path: others.diffusers_folder(path / "model", state(), None, others.SCHEDULER | changed)


def linked_part(path: Path) -> Path:
    whole = others.pipeline(path / "model", state())
    (whole / "unet").rename(path / "elsewhere")
    (whole / "unet").symlink_to(path / "elsewhere")
    return whole


def torchscript(path: Path) -> Path:
    whole = folder(path)
    (whole / "diffusion_pytorch_model.safetensors").unlink()
    with zipfile.ZipFile(whole / "diffusion_pytorch_model.bin", "w") as archive:
        archive.writestr("archive/constants.pkl", pickle.dumps(()))
        archive.writestr("archive/code/__torch__.py", f"open({CANARY!r}, 'w')")
    return whole


def saved(content: Any, archive: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=archive)
    return stream.getvalue()


def expanded(path: Path) -> Path:
    """A view of one number that says it has a trillion."""
    tensors = state() | {"conv_in.weight": torch.zeros(1).expand(10**6, 10**6)}
    return with_weights(path, saved(tensors), "bin")


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
MARK, STOP = b"(", b"."
SIZES = ("img_resolution", "in_channels", "out_channels")
NESTED = b")" + b"2\x86" * 60  # a pair of the same pair, sixty times: 2^60 parts
HOSTILE: dict[str, tuple[Make, str]] = {
    # pickles
    "a command": (lambda p: written(p, "x.pkl", pickle.dumps(Runs())), r"the pickle names posix.system"),
    "a command in an old protocol": (lambda p: written(p, "x.pkl", pickle.dumps(Runs(), 0)), r"names posix.system"),
    "an expression": (lambda p: written(p, "x.pkl", pickle.dumps({"ema": Evaluates()})), r"names builtins.eval"),
    "a command by INST": (
        lambda p: opcodes(p, MARK, f"S'touch {CANARY}'\n".encode(), b"iposix\nsystem\n", STOP), "an object by INST",
    ),
    "a command by OBJ": (
        lambda p: opcodes(p, MARK, b"cposix\nsystem\n", f"S'touch {CANARY}'\n".encode(), b"o", STOP), "posix.system",
    ),
    "an attribute of an allowed name": (
        lambda p: opcodes(p, b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93", STOP),
        "names collections.OrderedDict.__init__",
    ),
    "an extension code": (lambda p: opcodes(p, b"\x80\x02\x82\x01", STOP), "EXT1"),
    "source text in a class of its own": (
        lambda p: others.pickled(p / "x.pkl", {"ema": others.Stored("Evil", {}, f"open({CANARY!r}, 'w')")}),
        "the class Evil is no network",
    ),
    "a pickle that is cut": (
        lambda p: written(p, "x.pkl", pickle.dumps({"ema": list(range(100))})[:-20]), "it cannot be read",
    ),
    "a pickle of many operations": (lambda p: opcodes(p, b"}" * 2_100_000, STOP), "more operations than any"),
    "a string longer than the file": (
        lambda p: opcodes(p, b"\x80\x04\x8e", struct.pack("<Q", 1 << 40), b"x", STOP), "it cannot be read",
    ),
    "a memo of a large number": (lambda p: opcodes(p, b"Nr\xff\xff\xff\xff", STOP), "it holds no network"),
    "an array longer than the file": (
        lambda p: opcodes(p, b"\x80\x05\x96", struct.pack("<Q", 1 << 40), b"x", STOP), "it cannot be read",
    ),
    "a network that holds itself": (
        lambda p: _own_child(p), "holds no weights as expected",
    ),
    "a key that takes for ever to hash": (
        lambda p: opcodes(p, b"}", NESTED, b"Ns", STOP), "a key that is no plain value",
    ),
    "a name that takes for ever to print": (
        lambda p: _module_of(p, b"\x8c\x0aclass_name" + NESTED + b"s"), "the class a tuple is no network",
    ),
    "modules nested deeply": (
        lambda p: others.nested_modules(p / "x.pkl", "EDMPrecond", "SongUNet", "model", SIZES), "nested too deeply",
    ),
    "a tensor beyond its storage": (
        lambda p: _with_tensor(p, storage_call(2, (1000, 1000), (1000, 1))), "does not fit the 2 numbers",
    ),
    "a tensor of one number repeated": (
        lambda p: _with_tensor(p, storage_call(2, (10**6, 10**6), (0, 0))), "does not fit the 2 numbers",
    ),
    "a tensor before its storage": (
        lambda p: _with_tensor(p, storage_call(2, (1,), (1,), -5)), "a tensor has the size",
    ),
    "a command in what torch saved": (lambda p: with_weights(p, saved({"a": Runs()}), "bin"), "names posix.system"),
    "a command in an old file of torch": (
        lambda p: with_weights(p, pickle.dumps(Runs()), "bin"), "names posix.system",
    ),
    "a whole module in what torch saved": (
        lambda p: with_weights(p, saved(torch.nn.Linear(2, 2)), "bin"), "names torch.nn.modules.linear.Linear",
    ),
    "an array of 64 GB in what torch saved": (
        lambda p: with_weights(p, saved({"a": Called(bytearray, 1 << 36)}), "bin"), "names builtins.bytearray",
    ),
    "a storage of 64 GB in what torch saved": (
        lambda p: with_weights(p, saved({"a": Called(torch.UntypedStorage, 1 << 36)}), "bin"), "UntypedStorage",
    ),
    "an array of 64 GB in an old file of torch": (
        lambda p: with_weights(p, saved({"a": Called(bytearray, 1 << 36)}, False), "bin"), "names builtins.bytearray",
    ),
    "an expanded tensor in what torch saved": (expanded, "conv_in.weight has the shape"),
    # archives
    "a bomb": (bomb, r"archive/data.pkl in it is compressed"),
    "nested archives": (nested, "is compressed"),
    "code of TorchScript": (torchscript, "this is TorchScript, which is code"),
    "an archive that is cut": (lambda p: with_weights(p, saved(state())[:-3000], "bin"), "it cannot be read"),
    # safetensors
    "a header of 100 GB": (lambda p: with_header(p, {}, length=10**11), "says that it has 100,000,000,000 bytes"),
    "a header of less than its file": (lambda p: with_header(p, {"x": ENTRY}, bytes(400)), "400 follow"),
    "a tensor of 100 GB": (
        lambda p: with_header(p, {"x": {"dtype": "F32", "shape": [25 * 10**9], "data_offsets": [0, 10**11]}}, bytes(4)),
        "its header lists 100,000,000,000 bytes of weights, and 4 follow",
    ),
    "tensors that overlap": (
        lambda p: with_header(p, {"x": ENTRY, "y": ENTRY | {"data_offsets": [2, 6]}}, bytes(6)), "it cannot be read",
    ),
    "a header that is no JSON": (lambda p: with_header(p, b"{]"), "it cannot be read"),
    "a header nested deeply": (lambda p: with_header(p, b'{"x":' * 100_000), "nested too deeply"),
    "a header with a key twice": (
        lambda p: with_header(p, b'{"x":' + json.dumps(ENTRY).encode() + b',"x":1}', bytes(4)), "x is given twice",
    ),
    "safetensors that are cut": (lambda p: with_weights(p, save(state())[:-5000]), "copy it again"),
    "safetensors without a header": (lambda p: with_weights(p, b"abc"), "it cannot be read"),
    # weights that do not fit
    "NaN": (changed_weights(lambda s: s["conv_in.bias"].fill_(float("nan"))), "conv_in.bias holds NaN"),
    "infinity": (changed_weights(lambda s: s["conv_in.bias"].fill_(float("inf"))), "conv_in.bias holds NaN or infin"),
    "a wrong shape": (
        changed_weights(lambda s: s.update({"conv_in.bias": torch.zeros(9)})), r"conv_in.bias has the shape \(9,\)",
    ),
    "a weight too many": (changed_weights(lambda s: s.update(extra=torch.zeros(1))), "extra is unknown"),
    "a weight too few": (changed_weights(lambda s: s.pop("conv_in.bias")), "there is no conv_in.bias"),
    "whole numbers": (
        changed_weights(lambda s: s.update({"conv_in.bias": torch.zeros(8, dtype=torch.int64)})), "weights are floats",
    ),
    # configurations
    "a class of its own": (lambda p: folder(p, _class_name="MyUNet"), "the class MyUNet is none that difgen has"),
    "code for its class": (lambda p: folder(p, auto_map={"AutoModel": "evil.Evil"}), "auto_map names code"),
    "a module in a pipeline": (pipeline_of(unet=["evil", "UNet2DModel"]), "unet comes from evil, which is code"),
    "a module for another part": (pipeline_of(safety=["evil.code", "Check"]), "safety comes from evil.code"),
    "a pipeline of its own": (pipeline_of(_class_name=["pipeline", "Evil"]), "_class_name names code"),
    "a part that is a link": (linked_part, "a link that leads out of its folder"),
    "a scheduler of its own": (scheduler_of(_class_name="Evil"), "the scheduler Evil is none"),
    "a billion timesteps": (scheduler_of(num_train_timesteps=10**9), "1000000000 is no number of timesteps"),
    "a scheduler of words": (scheduler_of(beta_start="x"), "could not convert|cannot be read"),
    "a billion layers": (lambda p: folder(p, layers_per_block=10**9), "layers_per_block is 1000000000"),
    "a billion channels": (lambda p: folder(p, block_out_channels=[10**9, 10**9]), "block_out_channels is 1000000000"),
    "a million levels": (
        lambda p: folder(p, block_out_channels=[8] * 10**6, down_block_types=["DownBlock2D"] * 10**6,
                         up_block_types=["UpBlock2D"] * 10**6), "block_out_channels has 1,000,000 values",
    ),
    "a size of words": (lambda p: folder(p, sample_size="8"), "sample_size|'8' is no number"),
    "groups of a word": (lambda p: folder(p, norm_num_groups="x"), "norm_num_groups: must be a valid integer"),
    "JSON nested deeply": (lambda p: _config(p, '{"a":' + "[" * 200_000), "nested too deeply"),
    "JSON with a key twice": (lambda p: _config(p, '{"_class_name":"UNet2DModel","_class_name":"x"}'), "given twice"),
    "JSON of 40 MB": (lambda p: _config(p, '{"a":"' + "x" * (40 << 20) + '"}'), "more than 32 MB"),
    "JSON of a list": (lambda p: _config(p, "[1]"), "holds a list of JSON"),
    "JSON that is no text": (lambda p: _config(p, b"\xff\xfe\x00"), "it cannot be read"),
    "JSON with NaN": (lambda p: _config(p, '{"sample_size": NaN}'), "NaN is no number of JSON"),
    "a number of many digits": (lambda p: _config(p, '{"a":' + "9" * 100_000 + "}"), "it cannot be read"),
    # paths
    "a path in an index": (lambda p: index_of(p, "part.safetensors", "../../secret.safetensors"), "which is a path"),
    "an absolute path in an index": (lambda p: index_of(p, "/etc/passwd"), "which is a path"),
    "an index without files": (lambda p: index_of(p, 3), "must give the file of each tensor"),
    "an index of a missing file": (lambda p: index_of(p, "gone.safetensors"), "there is no such file"),
    "a terminal's codes in a name": (lambda p: index_of(p, "../\x1b[31mred"), r"\\x1b\[31mred, which is a path"),
    "a link out of the folder": (linked, "a link to a file outside of its folder"),
    "a pipe": (waiting, "this is no plain file"),
    "a link to an endless device": (endless, "a link to a file outside of its folder"),
}  # fmt: skip


def _config(path: Path, content: str | bytes) -> Path:
    whole = folder(path)
    written(whole, "config.json", content)
    return whole


def _own_child(path: Path) -> Path:
    network = others.Stored("EDMPrecond", {})
    inner = others.Stored("SongUNet", {"img_resolution": 8, "in_channels": 3, "out_channels": 3})
    network._modules["model"] = inner
    inner._modules["again"] = inner
    return others.pickled(path / "x.pkl", {"ema": network})


def _module_of(path: Path, items: bytes) -> Path:
    """A snapshot whose network is stored with these items beside its state, written by hand."""
    name = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
    return opcodes(path, b"\x80\x04}\x8c\x03ema", name, b"}\x8c\x05state}s", items, b"\x85Rs", STOP)


def _with_tensor(path: Path, tensor: Any) -> Path:
    network = others.Stored("EDMPrecond", {})
    inner = others.Stored("SongUNet", {"img_resolution": 8, "in_channels": 3, "out_channels": 3})
    network._modules["model"] = inner
    vars(inner)["_parameters"]["map_layer0.weight"] = tensor
    return others.pickled(path / "x.pkl", {"ema": network})


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence_and_nothing_of_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    from difgen_cli.cli import app

    make, words = HOSTILE[case]
    source = make(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        app(["weights", "convert", str(source), "out"])
    printed = capsys.readouterr()
    assert ended.value.code == 2, printed.err
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    assert printed.err.startswith(str(source)), printed.err
    assert re.search(words, printed.err), printed.err
    assert "Traceback" not in printed.err
    assert printed.err.rstrip("\n").isprintable()
    assert not (tmp_path / CANARY).exists()
    assert not (tmp_path / "out").exists()


def test_what_asks_for_much_memory_takes_little(tmp_path: Path) -> None:
    sources = []
    for number, case in enumerate(LARGE):
        (tmp_path / str(number)).mkdir()
        sources.append(str(HOSTILE[case][0](tmp_path / str(number))))
    whole = others.diffusers_folder(tmp_path / "whole", state())
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom difgen_cli.pretrained import PretrainedError, read\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "read(Path(sys.argv[1])).build()\nbefore = most()\n"
        "for source in sys.argv[2:]:\n"
        "    try: read(Path(source))\n"
        "    except PretrainedError: print(most() - before)\n"
    )
    command = [sys.executable, "-c", code, str(whole), *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    megabytes = dict(zip(LARGE, map(int, done.stdout.split()), strict=True))
    assert max(megabytes.values()) < MEGABYTES, megabytes
