"""`difgen score` and `difgen data` on files as people have them: one input, one rule; and what is left out is said."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from difgen_cli import sweep
from difgen_cli.cli import app
from difgen_cli.engine.store import sample_files
from difgen_cli.score import Prepared, Request, prepare, sources

Run = Callable[..., Result]
IMAGES = np.random.default_rng(5).integers(0, 256, (60, 8, 8, 3), np.uint8)
TRAIN, OTHER = IMAGES[:24], IMAGES[24:]
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [*map(str, words)])


def folder(path: str, images: np.ndarray) -> None:
    Path(path).mkdir(parents=True)
    for k, image in enumerate(images):
        Image.fromarray(image).save(Path(path) / f"{k:02d}.png")


def parquet(path: str, images: np.ndarray, column: str = "image", **more: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    encoded = pa.array([{"bytes": sample_files.png(image), "path": None} for image in images], STRUCT)
    pq.write_table(pa.table({column: encoded, **more}), path)


def prepared(samples: str, against: str, **settings: str) -> Prepared:
    """A request read and planned, and not computed."""
    request = Request(samples=Path(samples), against=Path(against), metrics=("memorization",), settings=settings)
    return prepare(request, Path("scores"))


def identical(found: Prepared) -> int:
    """Samples that equal a training image in every value."""
    given, ours = (found.planned.finder.pool(content).images for content in (found.content, _against(found)))
    return len({image.tobytes() for image in given} & {image.tobytes() for image in ours})


def _against(found: Prepared) -> str:
    return next(content for content in found.planned.finder.loaded if content != found.content)


def test_names_that_are_no_text_reach_tables_escaped(run: Run) -> None:
    folder("samples", TRAIN[:4])
    folder("train", TRAIN)
    (Path("samples") / "00.png").rename(Path("samples") / os.fsdecode(b"caf\xe9.png"))
    (Path("samples") / "01.png").rename(Path("samples") / "b\x1b[31m.png")
    Path("samples").rename(os.fsdecode(b"s\xe9"))
    Path("train").rename(os.fsdecode(b"t\xe9"))
    samples, train = os.fsdecode(b"s\xe9"), os.fsdecode(b"t\xe9")
    found = prepared(samples, train)
    assert sources.names(found.samples) == ["02.png", "03.png", "b\\x1b[31m.png", "caf\\xe9.png"]
    sweep.record(found.planned)
    table = pq.read_table(found.planned.folder / "plan.parquet")
    assert table["model.name"].to_pylist()[0] == "s\\xe9"
    assert table["data.path"].to_pylist()[0] == "t\\xe9"
    assert table.schema.metadata[b"question"].decode() == "Do the samples in s\\xe9 copy images of t\\xe9?"
    assert json.loads((found.planned.folder / "grid.yaml").read_text())["score"]["samples"] == "s\\xe9"


def test_a_split_is_named_alike_in_every_command_and_labels_that_nobody_needs_stop_none(run: Run) -> None:
    words = ["a", None, "b", "a"]
    parquet("set/data/train-00000-of-00001.parquet", TRAIN, "img", label=pa.array(words * 6))
    parquet("set/data/train_extra-00000-of-00001.parquet", OTHER[:8], "img", label=pa.array(words * 2))
    folder("samples", np.concatenate([TRAIN[:2], OTHER[:6]]))
    refused = run("score", "samples", "--against", "set")
    assert refused.exit_code == 2
    assert refused.stderr == "--against: set holds the splits train, train_extra; name one: set/train\n"
    checked = run("data", "parquet", "set")
    assert checked.exit_code == 2
    assert checked.stderr.endswith("set holds the splits train, train_extra; name one: data.split: train\n")
    for words_ in (("set/data/train",), ("set/train",), ("set", "--set", "split=train")):
        checked = run("data", "parquet", *words_)
        assert checked.exit_code == 2
        assert checked.stderr.endswith(
            "-of-00001.parquet, row 1: image 1 has no label: give every image one, or none\n"
        )
    found = prepared("samples", "set/train")
    assert (found.against.count, identical(found)) == (24, 2)
    assert any(n.startswith("Labels are not used: ") and "row 1: image 1 has no label" in n for n in found.notes)


def test_what_does_not_fit_is_converted_by_the_settings_that_the_refusal_names(run: Run) -> None:
    large = TRAIN[:4].repeat(2, axis=1).repeat(2, axis=2)
    folder("samples", large)
    np.savez("train.npz", images=np.ascontiguousarray(TRAIN[..., 0]))
    refused = run("score", "samples", "--against", "train.npz")
    assert refused.exit_code == 2
    assert refused.stderr.endswith(
        "bring one to the size and mode of the other, or convert them by --set data.resize=8 --set data.mode=rgb\n"
    )
    folder("colour", TRAIN)
    found = prepared("samples", "colour", **{"data.resize": "8", "data.resize_filter": "box"})
    assert identical(found) == 4, "each pixel is the mean of four equal ones"
    assert run("score", "samples", "--against", "colour", "--set", "data.mode=pink").exit_code == 2
    assert run("score", "samples", "--against", "colour", "--set", "data.resise=8").exit_code == 2


def test_what_is_passed_over_is_said_by_score_and_by_data(run: Run) -> None:
    folder("samples", TRAIN[:3])
    (Path("samples") / "more.heic").write_text("no image here")
    folder("train", TRAIN)
    checked = run("data", "folder", "samples")
    assert checked.exit_code == 0
    assert checked.stdout.splitlines()[0] == "3 images of 8×8×3 uint8"
    assert checked.stdout.splitlines()[-1].endswith("samples: 1 .heic")
    notes = prepared("samples", "train").notes
    assert any(note.endswith("samples: 1 .heic.") and note.startswith("Passed over in ") for note in notes)


@pytest.mark.parametrize("text", ["~/colour", "$HOME/colour"])
def test_paths_that_no_shell_expanded_are_expanded(run: Run, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    folder("colour", TRAIN[:3])
    assert run("data", "folder", text).exit_code == 0
    assert "colour: there is no such" not in run("score", text, "--against", "nowhere").stderr


@pytest.mark.parametrize("words", [("digits", "--set", "size=3"), ("parquet", "nowhere"), ("npz", "--set", "path")])
def test_settings_of_data_are_checked_as_a_grids_are(run: Run, words: tuple[str, ...]) -> None:
    done = run("data", *words)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
