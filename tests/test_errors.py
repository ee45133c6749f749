"""Bad input and bad machines: one sentence, the right exit code, nothing written, nothing lost."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

Run = Callable[..., subprocess.CompletedProcess[str]]


def _png(side: int = 8, mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side), 7 if mode == "L" else (1, 2, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def _parquet(path: Path, images: list[bytes]) -> None:
    struct = pa.array(
        [{"bytes": b, "path": None} for b in images], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    pq.write_table(pa.table({"image": struct, "label": pa.array([0] * len(images))}), path)


@pytest.fixture(scope="module")
def broken_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that cannot be data."""
    folder = tmp_path_factory.mktemp("broken")
    pq.write_table(pa.table({"picture": [1, 2]}), folder / "noimage.parquet")
    _parquet(folder / "truncated.parquet", [_png(), _png()[:40]])
    _parquet(folder / "mixed.parquet", [_png(8), _png(9)])
    _parquet(folder / "modes.parquet", [_png(8), _png(8, "RGB")])
    _parquet(folder / "empty.parquet", [])
    (folder / "text.parquet").write_text("this is no parquet file")
    whole = folder / "whole.parquet"
    _parquet(whole, [_png()] * 4)
    (folder / "cut.parquet").write_bytes(whole.read_bytes()[:-30])
    points = np.zeros((30, 2), np.float32)
    points[3, 1] = np.nan
    np.savez(folder / "nan.npz", points=points)
    np.savez(folder / "floats.npz", images=np.zeros((30, 8, 8, 1), np.float64))
    images = np.arange(30 * 64, dtype=np.uint8).reshape(30, 8, 8, 1)
    np.savez(folder / "labels.npz", images=images, labels=np.zeros(29, np.int64))
    np.savez(folder / "pickle.npz", images=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (folder / "junk.npz").write_bytes(b"junk")
    for name, images in {"sizes": [_png(8), _png(9)], "bad": [_png(), b"no image"], "none": []}.items():
        (folder / name).mkdir()
        for k, content in enumerate(images):
            (folder / name / f"{k}.png").write_bytes(content)
    return folder


_HEAD = "base:\n  data: {name: digits, held_out: 900}\n  model: {name: mlp}\n"
_DATA = "base:\n  data: {name: %s, path: %s, held_out: 2}\n  model: {name: mlp}\n"

# (grid, line and column if there are any, words)
BROKEN = {
    "unknown part": ("bases: {}", (1, 1), "did you mean base"),
    "unknown section": ("base: {date: {}}", (1, 8), "did you mean data"),
    "unknown key": (_HEAD + "axes:\n  model.widht: [64]\n", (5, 17), "did you mean width"),
    "unknown key in base": (_HEAD + "  train: {stpes: 5}\n", (4, 18), "did you mean steps"),
    "wrong type": (_HEAD + "axes:\n  model.width: [wide]\n", (5, 17), "valid integer"),
    "fraction": (_HEAD + "axes:\n  model.width: [1.5]\n", (5, 17), "valid integer"),
    "negative width": (_HEAD + "axes:\n  model.width: [64, -64]\n", (5, 21), "greater than 0"),
    "zero steps": (_HEAD + "axes:\n  train.steps: [0]\n", (5, 17), "greater than 0"),
    "NaN": (_HEAD + "  train: {lr: .nan}\n", (4, 15), "train.lr"),
    "infinity": (_HEAD + "  train: {lr: .inf}\n", (4, 15), "finite"),
    "nothing": (_HEAD + "  train: {lr: }\n", (4, 14), "not nothing"),
    "word of no choice": (_HEAD + "  train: {precision: fp8}\n", (4, 22), "'fp32' or 'bf16'"),
    "empty axis": (_HEAD + "axes:\n  model.width: []\n", (5, 16), "empty"),
    "axis that is no list": (_HEAD + "axes:\n  model.width: 64\n", (5, 16), "list of values"),
    "value twice": (_HEAD + "axes:\n  model.width: [64, 64]\n", (5, 21), "twice"),
    "duplicate key": (_HEAD + "axes:\n  model.width: [64]\n  model.width: [32]\n", (6, 3), "given twice"),
    "tab": ("base:\n\tdata: {name: digits}\n", (2, 1), "spaces"),
    "anchor": ("base: &here\n  data: {name: digits}\n", (1, 7), "anchors"),
    "alias": ("base: {data: {name: *here}}\n", (1, 21), "alias"),
    "tag": ("base: {data: {name: !!python/name:os.system x}}\n", (1, 21), "tags"),
    "list for a map": ("base: [data, model]\n", (1, 7), "must be a map"),
    "map for a value": ("base: {data: {name: {a: b}}}\n", (1, 21), "not a map"),
    "unclosed": ("base: {data: {name: digits}\n", (2, 1), "not YAML"),
    "empty file": ("", (1, 1), "empty"),
    "comment only": ("# hello\n", (1, 1), "empty"),
    "no data": ("base: {model: {name: mlp}}\n", None, "data.name: not given"),
    "no such model": ("base: {data: {name: digits}, model: {name: mpl}}\n", (1, 44), "did you mean mlp"),
    "no such metric": (_HEAD + "  score: [memorisation]\n", (4, 11), "did you mean memorization"),
    "subset too large": (_HEAD + "axes:\n  data.size: [16, 10k]\n", (5, 19), "more than the 897"),
    "all held out": (
        "base:\n  data: {name: digits, held_out: 1797}\n  model: {name: mlp}\n",
        (2, 34),
        "none to train on",
    ),
    "too few held out": (
        "base:\n  data: {name: digits, held_out: 0}\n  model: {name: mlp}\n",
        (2, 34),
        "held-out images",
    ),
    "clusters": (_HEAD + "  condition: {name: kmeans, clusters: 5000}\n", (4, 39), "more than the 897"),
    "horizon": (_HEAD + "  train: {schedule: cosine}\naxes:\n  train.steps: [1, 2]\n", (4, 21), "ends at train.steps"),
    "seeds": (_HEAD + "seeds: many\n", (4, 8), "seeds"),
    "skip all": (_HEAD + "axes: {model.width: [8]}\nskip: [{model.width: 8}]\n", (5, 7), "drops every cell"),
    "billions": (
        _HEAD + "axes: {model.width: {lin: [1, 99999, 99999]}, train.seed: {lin: [1, 99999, 99999]}}\n",
        (4, 1),
        "cells",
    ),
    "no labels": (
        "base: {data: {name: circle, held_out: 4}, model: {name: mlp}, condition: {name: labels}}\n",
        (1, 81),
        "no labels",
    ),
    "no known population": ("base: {data: {name: digits}, model: {name: population}}\n", (1, 44), "molrg, gaussians"),
    "population within clusters": (
        "base: {data: {name: gaussians}, condition: {name: kmeans}, model: {name: population}}\n",
        (1, 51),
        "within the components alone",
    ),
    "subspaces": ("base: {data: {name: molrg, rank: 50}, model: {name: mlp}}\n", (1, 21), "do not fit"),
    "no weights": (_HEAD + "  score: {frechet: {features: inception}}\n", (4, 31), "weights fetch inception"),
    "no such path": (_DATA % ("npz", "nowhere.npz"), (2, 27), "nowhere.npz"),
    "parquet without image": (_DATA % ("parquet", "noimage.parquet"), (2, 31), "image"),
    "truncated PNG": (_DATA % ("parquet", "truncated.parquet"), (2, 31), "truncated.parquet, row 1"),
    "mixed sizes": (_DATA % ("parquet", "mixed.parquet"), (2, 31), "9 × 9"),
    "mixed modes": (_DATA % ("parquet", "modes.parquet"), (2, 31), "RGB"),
    "empty parquet": (_DATA % ("parquet", "empty.parquet"), (2, 31), "empty.parquet"),
    "no parquet at all": (_DATA % ("parquet", "text.parquet"), (2, 31), "text.parquet"),
    "cut parquet": (_DATA % ("parquet", "cut.parquet"), (2, 31), "cut.parquet"),
    "NaN in an npz": (_DATA % ("npz", "nan.npz"), (2, 27), "NaN"),
    "floats for images": (_DATA % ("npz", "floats.npz"), (2, 27), "uint8"),
    "label count": (_DATA % ("npz", "labels.npz") + "  condition: {name: labels}\n", (4, 21), "29"),
    "pickle in an npz": (_DATA % ("npz", "pickle.npz"), (2, 27), "pickle.npz"),
    "junk npz": (_DATA % ("npz", "junk.npz"), (2, 27), "junk.npz"),
    "folder of mixed sizes": (_DATA % ("folder", "sizes"), (2, 30), "9 × 9"),
    "folder with a broken image": (_DATA % ("folder", "bad"), (2, 30), "1.png"),
    "empty folder": (_DATA % ("folder", "none"), (2, 30), "none"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_grid_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, broken_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    from difgen_cli.cli import app

    text, place, words = BROKEN[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFGEN_DATA", str(broken_data))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-torch-home"))
    monkeypatch.delenv("DIFGEN_WEIGHTS", raising=False)
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        app(["sweep", "grid.yaml"])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    sentence, _, caret = said.err.partition("\n")
    assert words in sentence, sentence
    where = f"grid.yaml:{place[0]}:{place[1]}: " if place else "grid.yaml: "
    assert sentence.startswith(where), sentence
    assert "Traceback" not in said.err
    if place and caret:
        assert caret.splitlines()[-1] == " " * (place[1] + 3) + "^"
    assert os.listdir(tmp_path) == ["grid.yaml"], "nothing is written or submitted"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sweep", "nowhere.yaml"], "cannot be read"),
        (["sweep", "tiny.yaml", "--cluster", "moon"], "choose from auto, local, slurm, inline"),
        (["sweep", "tiny.yaml", "--set", "width"], "KEY=VALUE"),
        (["sweep", "tiny.yaml", "--only", "data.size=7"], "matches"),
        (["sweep", "tiny.yaml", "--only", "data.sise=7"], "has this setting; did you mean data.size?"),
        (["sweep", "tiny.yaml", "--retry", "all"], "choose from failed"),
        (["sweep", "tiny.yaml", "--profile", "moon"], "no such profile"),
        (["report", "nowhere"], "no run directory"),
        (["status", "nowhere"], "no run directory"),
        (["weights", "fetch", "foo"], "inception"),
        (["data", "foo"], "digits"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_exit_code_2(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Run, arguments: list[str], words: str
) -> None:
    write_grid()
    done = difgen(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_run_directory_that_cannot_be_written_is_exit_code_3(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Run
) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    done = difgen("sweep", write_grid(), "--cluster", "inline")
    assert done.returncode == 3, done.stderr
    assert "runs" in done.stderr
    assert "Traceback" not in done.stderr


def _mounted(folder: Path, *options: str) -> bool:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "difgen", str(folder)],
                          capture_output=True, check=False)  # fmt: skip
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    folder = tmp_path / "disk"
    if shutil.which("mount") is None or not _mounted(folder, "size=48m"):
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_reported_and_what_was_finished_is_kept(
    small_disk: Path, tmp_path: Path, write_grid: Callable[..., Path], difgen: Run
) -> None:
    grid, runs = write_grid(), small_disk / "runs"
    assert difgen("sweep", grid, "--runs", runs, "--cluster", "inline", "--only", "data.size=8").returncode == 0
    before = {p: p.read_bytes() for p in runs.rglob("results/*.json")}
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"\0" * max(0, free - 30_000))
    done = difgen("sweep", grid, "--runs", runs, "--cluster", "inline")
    assert done.returncode == 3, done.stderr
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert all(p.read_bytes() == content for p, content in before.items())
    ballast.unlink()
    assert difgen("sweep", grid, "--runs", runs, "--cluster", "inline").returncode == 0
    table = pd.read_parquet(runs / "tables" / "rows.parquet")
    assert (table["kind"] == "model").sum() == 4


def test_a_read_only_run_directory_is_reported(small_disk: Path, write_grid: Callable[..., Path], difgen: Run) -> None:
    grid, runs = write_grid(), small_disk / "runs"
    assert difgen("sweep", grid, "--runs", runs, "--cluster", "inline", "--only", "data.size=8").returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = difgen("sweep", grid, "--runs", runs, "--cluster", "inline")
    assert done.returncode == 3, done.stderr
    assert "not writable" in done.stderr
    for looking in (["plan", grid, "--runs", runs], ["show", "0", "--runs", runs], ["report", runs]):
        done = difgen(*looking)
        assert done.returncode == 0, f"looking needs no writing: {done.stderr}"
    assert "2 of 4 cells done" in done.stdout


def test_a_traceback_is_shown_when_asked_for(write_grid: Callable[..., Path], tmp_path: Path) -> None:
    grid = write_grid("base: {}\n")
    command = [sys.executable, "-m", "difgen_cli", "--debug", "plan", str(grid)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr


def test_what_the_system_refuses_is_one_sentence(tmp_path: Path, write_grid: Callable[..., Path], difgen: Run) -> None:
    write_grid()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "difgen_cli", "plan", "tiny.yaml", "--json"],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "standard output: No space left on device\n")
    long = difgen("status", "x" * 300)
    assert long.returncode == 3
    assert "File name too long" in long.stderr
    assert "Traceback" not in long.stderr
    command = f"exec {sys.executable} -m difgen_cli plan tiny.yaml >&-"
    closed = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert closed.returncode == 0
    assert "Traceback" not in closed.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotADirectoryError(20, "Not a directory", "afile/x"), "afile/x: Not a directory\n"),
        (PermissionError(13, "Permission denied", "x"), "x: Permission denied\n"),
        (MemoryError("Unable to allocate 27 TiB"), "out of memory (Unable to allocate 27 TiB)"),
    ],
)
def test_an_error_of_the_machine_ends_with_3(error: Exception, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    import typer

    from difgen_cli.cli.app import errors

    with pytest.raises(typer.Exit) as ended, errors():
        raise error
    assert ended.value.exit_code == 3
    assert capfd.readouterr().err.startswith(said)
