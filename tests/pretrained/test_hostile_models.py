"""Hostile files as models of a grid, of an audit and of `weights convert`: refused before anything is computed."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_hostile_files import CANARY, HOSTILE

KINDS = {
    "pickles that name other things": (
        "a command", "a command in an old protocol", "an expression", "a command by INST", "a command by OBJ",
        "a command in what torch saved", "a command in an old file of torch", "a whole module in what torch saved",
        "source text in a class of its own",
    ),
    "archives in archives": ("a bomb", "nested archives", "code of TorchScript"),
    "code of the model's own": (
        "a class of its own", "code for its class", "a module in a pipeline", "a pipeline of its own",
    ),
    "paths that lead elsewhere": ("a path in an index", "an absolute path in an index", "a link out of the folder"),
    "weights that do not fit": ("a wrong shape", "NaN"),
    "broken safetensors": ("safetensors that are cut", "a header of 100 GB", "a tensor of 100 GB"),
}  # fmt: skip
GRID = """\
# Is a file that somebody made to harm me refused?
base:
  data:   {name: files, path: train.npz, held_out_path: test.npz, held_out: 8}
  model:  {name: given, path: SOURCE}
  sample: {name: euler, steps: 2, count: 8}
  score:  [gap, memorization]
"""


def audited(source: Path) -> list[str]:
    return ["audit", str(source), "--against", "train.npz", "--held-out", "test.npz", "--count", "8"]


def planned(source: Path) -> list[str]:
    Path("grid.yaml").write_text(GRID.replace("SOURCE", str(source)))
    return ["plan", "grid.yaml"]


def converted(source: Path) -> list[str]:
    return ["weights", "convert", str(source), "out"]


WAYS: dict[str, Callable[[Path], list[str]]] = {"audit": audited, "plan": planned, "convert": converted}


@pytest.mark.parametrize("case", [case for cases in KINDS.values() for case in cases])
@pytest.mark.parametrize("way", WAYS)
def test_a_hostile_model_is_refused_in_one_sentence_and_nothing_of_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], way: str, case: str
) -> None:
    from difgen_cli.cli import app

    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(256, size=(24, 8, 8, 3), dtype=np.uint8)
    np.savez("train.npz", images=images[:16])
    np.savez("test.npz", images=images[16:])
    make, words = HOSTILE[case]
    source = make(tmp_path)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        app(WAYS[way](source))
    printed = capsys.readouterr()
    assert ended.value.code == 2, printed.err
    assert (printed.out, len(printed.err.splitlines())) == ("", 1), printed.err
    assert str(source) in printed.err, printed.err
    assert re.search(words, printed.err), printed.err
    assert printed.err.rstrip("\n").isprintable()
    assert not (tmp_path / CANARY).exists()
    computed = {
        file for file in set(tmp_path.rglob("*")) - before if file.suffix in (".safetensors", ".npy", ".parquet")
    }
    assert not computed


def test_the_same_file_made_well_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that what is refused is refused for what is wrong with it."""
    from test_hostile_files import folder

    from difgen_cli.cli import app

    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(256, size=(24, 8, 8, 3), dtype=np.uint8)
    np.savez("train.npz", images=images[:16])
    np.savez("test.npz", images=images[16:])
    for way in ("plan", "convert"):
        with pytest.raises(SystemExit) as ended:
            app(WAYS[way](folder(tmp_path / way)))
        assert not ended.value.code, capsys.readouterr().err
