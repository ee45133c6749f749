"""`difgen score`: known answers for images of any model, the same numbers as a sweep, and clear words where it ends."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from difgen_cli.cli import app
from difgen_cli.data import Pool, digits, split
from difgen_cli.engine.store import sample_files

Score = Callable[..., Any]
N, H = 120, 400  # training and held-out images


@pytest.fixture(scope="module")
def pool() -> Pool:
    return digits.load()


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Score:
    """The command in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["score", *map(str, words)])


def found(score: Score, *words: Any) -> dict[str, Any]:
    """What the command says as JSON."""
    done = score(*words, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def as_npz(path: Path, images: np.ndarray) -> Path:
    np.savez(path, **{"points" if images.ndim == 2 else "images": images})
    return path


def as_folder(path: Path, images: np.ndarray) -> Path:
    path.mkdir()
    for i, image in enumerate(images):
        (path / f"{i:04d}.png").write_bytes(sample_files.png(image))
    return path


def as_parquet(path: Path, images: np.ndarray) -> Path:
    encoded = [{"bytes": sample_files.png(image), "path": None} for image in images]
    pq.write_table(pa.table({"image": pa.array(encoded, sample_files.IMAGE)}), path)
    return path


@pytest.fixture
def real(pool: Pool, tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """train.npz and test.npz, and what is in them."""
    train, test = pool.images[:N], pool.images[N : N + H]
    as_npz(tmp_path / "train.npz", train)
    as_npz(tmp_path / "test.npz", test)
    return train, test


DATA = ("--against", "train.npz", "--held-out", "test.npz")


# Known answers -------------------------------------------------------------------------------------------------------


def test_training_images_are_copies_and_the_gallery_shows_each_beside_itself(
    score: Score, real: tuple[np.ndarray, np.ndarray]
) -> None:
    train, _ = real
    as_folder(Path("generated"), train[30:90])
    said = found(score, "generated", *DATA)
    model = said["rows"]["model"]
    assert (model["mem_frac"], model["mem_frac_control"], model["mem_unique"]) == (1, 0, 60)
    assert model["train_pref_excess_lo"] > 0.2
    assert said["findings"][0] == "60 of 60 samples are identical to a training image in every value."
    assert "100 % of the samples are copies by the ratio rule, of 60 distinct training images" in said["findings"][1]
    assert "more than held-out images" in said["findings"][1]
    page = Path("report/generated/report.html").read_text()
    shown = base64.b64encode(sample_files.png(train[30])).decode()
    assert page.count(shown) >= 2  # the sample, and its nearest training image
    pairs = pd.read_csv("report/generated/pairs.csv")
    assert len(pairs) == 60
    assert (pairs["d1"] == 0).all()
    for sample, nearest in zip(pairs["sample"], pairs["nearest"], strict=True):
        assert nearest == f"train.npz, row {30 + int(sample[:4])}"


def test_held_out_images_as_samples_are_copied_as_often_as_the_control_says(
    score: Score, real: tuple[np.ndarray, np.ndarray]
) -> None:
    said = found(score, "test.npz", *DATA)
    model, heldout = said["rows"]["model"], said["rows"]["heldout"]
    assert model["mem_frac"] == model["mem_frac_control"] == heldout["mem_frac"] <= 0.01
    assert model["mem_frac_lo"] <= model["mem_frac_control_hi"]
    assert "does not find more copies among the samples than among held-out images" in said["findings"][0]
    assert model["train_pref_excess"] == pytest.approx(0, abs=0.1)
    assert model["copy_auc"] == 0.5


def test_copycat_and_held_out_stand_beside_the_samples(score: Score, real: tuple[np.ndarray, np.ndarray]) -> None:
    said = found(score, "test.npz", *DATA)
    assert list(said["rows"]) == ["model", "heldout", "copycat"]
    assert said["rows"]["copycat"]["mem_frac"] == 1
    table = pd.read_parquet("scores/tables/rows.parquet")
    assert sorted(table["kind"]) == ["copycat", "heldout", "model"]
    assert table["step"].isna().all()
    neighbours = pd.read_parquet("scores/tables/neighbours.parquet")
    assert (neighbours["kind"] == "model").sum() == H


def test_exact_copies_of_repeated_images_are_said_and_stand_first(
    score: Score, real: tuple[np.ndarray, np.ndarray]
) -> None:
    train, test = real
    as_npz(Path("train.npz"), np.concatenate([train, train[:30], train[:30]]))
    as_npz(Path("made.npz"), np.concatenate([test[300:380], train[:40]]))
    as_npz(Path("test.npz"), test[:300])
    said = found(score, "made.npz", *DATA, "--metrics", "memorization")
    model = said["rows"]["model"]
    assert (model["mem_identical"], model["train_distinct"], model["near_duplicates"]) == (40, N, 90)
    assert model["mem_frac"] == pytest.approx(1 / 3, abs=0.01)
    pairs = pd.read_csv("report/made/pairs.csv")
    assert pairs["identical"].tolist() == [True] * 40 + [False] * 80
    assert {int(name.rpartition(" ")[2]) for name in pairs["sample"][:40]} == set(range(80, 120))
    shown = Path("report/made/report.html").read_text()
    assert shown.count("<figcaption>identical</figcaption>") >= 24


def test_mirrored_copies_are_copies_where_training_is_said_to_have_been_mirrored(
    score: Score, real: tuple[np.ndarray, np.ndarray]
) -> None:
    train, _ = real
    as_npz(Path("made.npz"), train[:60, :, ::-1])
    metrics = ("--metrics", "memorization,aligned")
    plain = found(score, "made.npz", *DATA, *metrics)["rows"]["model"]
    keys = set(Path("scores").glob("*/*/results/*.json"))
    said = found(score, "made.npz", *DATA, *metrics, "--mirrored")["rows"]
    assert (plain["mem_identical"], said["model"]["mem_identical"]) == (0, 60)
    assert (said["model"]["mem_frac"], said["copycat"]["mem_frac"], said["heldout"]["mem_frac"]) == (1, 1, 0)
    assert plain["aligned_frac"] == 1
    assert plain["aligned_mirrored"] > 0.9
    assert said["model"]["aligned_mirrored"] == 0
    again = found(score, "made.npz", *DATA, *metrics)["rows"]["model"]
    assert again == plain
    assert len(set(Path("scores").glob("*/*/results/*.json"))) == 2 * len(keys)


def test_points_have_no_mirror_image(score: Score, tmp_path: Path) -> None:
    points = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    as_npz(tmp_path / "points.npz", points)
    refused = score("points.npz", "--against", "points.npz", "--mirrored")
    assert refused.exit_code != 0
    assert "--mirrored: points.npz holds points, which have no mirror image" in " ".join(refused.output.split())
    row = found(score, "points.npz", "--against", "points.npz", "--metrics", "aligned,memorization")["rows"]["model"]
    assert (row["aligned_frac"], row["mem_identical"]) == (None, 40)


# The numbers of a sweep ----------------------------------------------------------------------------------------------

GRID = """\
# Do the samples of a tiny network score alike, from a sweep and from their file?
base:
  data:      {name: digits, size: 64, held_out: 1700, seed: 3}
  model:     {name: mlp, width: 8, depth: 1}
  train:     {batch: 16, steps: 20}
  sample:    {name: euler, steps: 3, count: 96}
  score:     [memorization, preference, frechet]
"""
CONTEXT = ("home", "cell", "key", "identity", "slug", "step", "seed", "finished_at")


def measured(runs: Path) -> pd.DataFrame:
    """The metrics of the rows, by kind."""
    table = pd.read_parquet(runs / "tables" / "rows.parquet").set_index("kind").sort_index()
    units = {f.name for f in pq.read_schema(runs / "tables" / "rows.parquet") if (f.metadata or {}).get(b"meaning")}
    # What training and sampling took, and how they were computed, is not known of files.
    taken = {"nfe", "nfe_area", "sampling_seconds", "images_per_second", "roofline", "mfu"}
    return table[sorted(units - taken - {"train_way", "sample_way", "frozen_parameters", "grad_norm", "weight_path"})]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, difgen_in: Score) -> Path:
    """A sweep of one cell: its folder."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "tiny.yaml").write_text(GRID)
    done = difgen_in(folder, "sweep", "tiny.yaml", "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.long
def test_a_swept_cell_scored_from_its_own_file_has_the_same_numbers_to_the_last_digit(
    score: Score, swept: Path, pool: Pool
) -> None:
    file = next(swept.glob("runs/trajectories/*/samples/*.parquet"))
    np.savez("all.npz", images=pool.images, labels=pool.labels, classes=np.array(pool.classes))
    expected = measured(swept / "runs").loc[["copycat", "heldout", "model"]]
    for against in ("digits", "all.npz"):
        runs = Path(f"scores-{against}")
        subset = ("--set", "data.size=64", "--set", "data.seed=3", "--runs", runs)
        said = found(score, file, "--against", against, "--hold-out", 1700, *subset)
        pd.testing.assert_frame_equal(measured(runs)[expected.columns], expected, check_exact=True)
        assert said["left_out"] == {"gap": "needs the model itself (its denoiser), and only its images are given"}
    shared = {p.name for p in (swept / "runs/references").iterdir() if not p.name.startswith("ideal")}
    assert {p.name.rpartition("-")[2] for p in Path("scores-digits/references").iterdir()} == {
        name.rpartition("-")[2] for name in shared
    }


def test_in_the_run_directory_of_a_sweep_its_references_are_not_scored_again(
    score: Score, swept: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(swept / "runs", runs)
    before = set(runs.glob("references/*/results/*.json"))
    file = next(runs.glob("trajectories/*/samples/*.parquet"))
    subset = ("--set", "data.size=64", "--set", "data.seed=3", "--runs", runs)
    found(score, file, "--against", "digits", "--hold-out", 1700, "--metrics", "memorization,preference", *subset)
    assert set(runs.glob("references/*/results/*.json")) == before
    rows = pd.read_parquet(runs / "tables" / "rows.parquet")
    models = rows[rows["kind"] == "model"].sort_values("step")
    assert models["mem_frac"].nunique() == 1
    assert models["step"].isna().tolist() == [False, True]


def test_held_out_images_from_a_file_of_their_own_give_the_same_numbers(score: Score, swept: Path, pool: Pool) -> None:
    """All that does not depend on the order of the held-out images, which a file of their own shuffles."""
    file, parts = next(swept.glob("runs/trajectories/*/samples/*.parquet")), split(pool, held_out=1700)
    for name, places in {"rest": parts.rest, "test": parts.held_out}.items():
        np.savez(f"{name}.npz", images=pool.images[places], labels=pool.labels[places], classes=np.array(pool.classes))
    subset = ("--set", "data.size=64", "--set", "data.seed=3")
    row = found(score, file, "--against", "rest.npz", "--held-out", "test.npz", *subset)["rows"]["model"]
    expected = measured(swept / "runs").loc["model"]
    for name in (n for n in expected.index if n.startswith(("mem_", "copy_", "tile_", "extracted_", "near_"))):
        assert row[name] == expected[name], name
    for name in ("fd_test", "fd_train", "fd_floor_expected"):
        assert row[name] == pytest.approx(expected[name], rel=1e-6), name


# Kinds of files ------------------------------------------------------------------------------------------------------


def test_folder_parquet_and_npz_of_the_same_images_give_equal_rows(score: Score, pool: Pool) -> None:
    parts = {"train": pool.images[:60], "test": pool.images[60:200], "made": pool.images[40:100]}
    tables = []
    for kind, write in {"folder": as_folder, ".parquet": as_parquet, ".npz": as_npz}.items():
        names = {part: f"{part}-{kind}" if kind == "folder" else f"{part}{kind}" for part in parts}
        for part, images in parts.items():
            write(Path(names[part]), images)
        runs = Path(f"scores{kind}")
        found(score, names["made"], "--against", names["train"], "--held-out", names["test"], "--runs", runs)
        tables.append(measured(runs))
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)


def test_a_split_of_a_folder_of_parquet_files_is_named_like_a_folder_in_it(score: Score, pool: Pool) -> None:
    Path("fashion").mkdir()
    as_parquet(Path("fashion/train-00000-of-00002.parquet"), pool.images[:40])
    as_parquet(Path("fashion/train-00001-of-00002.parquet"), pool.images[40:80])
    as_parquet(Path("fashion/test-00000-of-00001.parquet"), pool.images[80:160])
    refused = score("fashion/test", "--against", "fashion")
    assert refused.exit_code == 2
    assert refused.stderr == "--against: fashion holds the splits test, train; name one: fashion/test\n"
    said = found(score, "fashion/test", "--against", "fashion/train", "--metrics", "memorization")
    assert said["rows"]["model"]["mem_frac"] == 0
    names = {pair["nearest"] for pair in said["pairs"]}
    assert any(name.startswith("train-00001-of-00002.parquet, row ") for name in names)


def test_points_are_scored_too_from_npz_and_from_difgens_own_samples(score: Score, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train, test, other = (rng.standard_normal((n, 2)).astype(np.float32) for n in (50, 300, 40))
    made = np.concatenate([train[:10], other])
    as_npz(Path("train.npz"), train)
    as_npz(Path("test.npz"), test)
    as_npz(Path("made.npz"), made)
    sample_files.write(tmp_path / "own.parquet", made, None)
    rows = [found(score, name, *DATA)["rows"]["model"] for name in ("made.npz", "own.parquet")]
    assert rows[0] == rows[1]
    assert rows[0]["mem_frac"] >= 0.2
    assert rows[0]["fd_features"] == "pixels"


def test_names_of_files_are_text_on_the_page_and_in_spreadsheets(score: Score, pool: Pool) -> None:
    folder = Path("<img src=x onerror=alert(1)>")
    folder.mkdir()
    names = ["=HYPERLINK(1).png", "<script>alert(1)<script>.png", "+cmd.png", "[red]bold[red].png"]
    for name, image in zip(names, pool.images, strict=False):
        (folder / name).write_bytes(sample_files.png(image))
    as_npz(Path("train.npz"), pool.images[:50])
    done = score(folder, "--against", "train.npz", "--out", "report")
    assert done.exit_code == 0, done.output
    assert str(folder) in done.stdout
    page = Path("report/report.html").read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;script&gt;.png" in page
    csv = Path("report/pairs.csv").read_text()
    assert "'=HYPERLINK(1).png" in csv
    assert "'+cmd.png" in csv
    assert not any(line.startswith(("=", "+")) for line in csv.splitlines())


# Without held-out images ---------------------------------------------------------------------------------------------


def test_without_held_out_images_controls_are_missing_and_the_report_says_what_cannot_be_said(
    score: Score, real: tuple[np.ndarray, np.ndarray]
) -> None:
    as_npz(Path("made.npz"), np.concatenate(real)[90:150])
    said = found(score, "made.npz", "--against", "train.npz")
    model = said["rows"]["model"]
    assert list(said["rows"]) == ["model", "copycat"]
    assert model["mem_frac"] == 0.5
    assert model["mem_frac_control"] is None
    assert "fd_test" not in model
    assert said["left_out"]["preference"] == "needs at least 2 held-out images, and there are none"
    page = Path("report/made/report.html").read_text()
    assert "No held-out images: it is not known" in page
    assert "without held-out images it is not known how many" in page


def test_samples_that_are_what_they_are_compared_with_are_told(
    score: Score, real: tuple[np.ndarray, np.ndarray]
) -> None:
    as_npz(Path("shuffled.npz"), np.concatenate([real[0][::-1], real[0][:5]]))
    own = "SAMPLES and --against are the same images: each is a copy of itself."
    assert own in found(score, "shuffled.npz", *DATA, "--metrics", "memorization")["notes"]
    Path("link.npz").symlink_to("test.npz")
    notes = found(score, "link.npz", *DATA, "--metrics", "memorization")["notes"]
    assert notes == ["SAMPLES and --held-out are the same files: no number compares the samples with other images."]


def test_held_out_images_drawn_from_the_training_data_come_with_a_warning(
    score: Score, real: tuple[np.ndarray, np.ndarray]
) -> None:
    as_npz(Path("made.npz"), real[1][:50])
    said = found(score, "made.npz", "--against", "train.npz", "--hold-out", 40)
    assert said["rows"]["model"]["mem_frac_control"] is not None
    assert "if the model was trained on them, the controls are training images" in said["notes"][0]


def test_held_out_images_that_were_trained_on_are_left_out_and_counted(
    score: Score, real: tuple[np.ndarray, np.ndarray]
) -> None:
    as_npz(Path("mixed.npz"), np.concatenate([real[0][:25], real[1][:60]]))
    said = found(score, "test.npz", "--against", "train.npz", "--held-out", "mixed.npz")
    assert said["notes"] == ["25 of 85 held-out images are in --against too, byte for byte: skipped."]
    assert said["rows"]["model"]["n_ref"] == 60


# Again, interrupted, in part -----------------------------------------------------------------------------------------


def test_a_second_call_computes_nothing_and_a_change_of_the_files_everything(
    score: Score, real: tuple[np.ndarray, np.ndarray]
) -> None:
    as_npz(Path("made.npz"), real[1][:50])
    first = found(score, "made.npz", *DATA)
    results = {p: p.stat().st_mtime_ns for p in Path("scores").glob("*/*/results/*.json")}
    report = {p: p.stat().st_mtime_ns for p in Path("report").rglob("*") if p.is_file()}
    again = score("made.npz", *DATA)
    assert "done" not in again.stderr
    assert {p: p.stat().st_mtime_ns for p in Path("scores").glob("*/*/results/*.json")} == results
    assert report
    assert {p: p.stat().st_mtime_ns for p in Path("report").rglob("*") if p.is_file()} == report, "nor draws anything"
    assert len(list(Path("scores").glob("grids/*/submissions/*"))) == 1
    as_npz(Path("made.npz"), real[0][:50])
    assert found(score, "made.npz", *DATA)["rows"]["model"]["mem_frac"] == 1
    assert first["rows"]["model"]["mem_frac"] == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # the worker gives it back


def test_another_metric_is_computed_alone(score: Score, real: tuple[np.ndarray, np.ndarray]) -> None:
    as_npz(Path("made.npz"), real[1][:50])
    found(score, "made.npz", *DATA, "--metrics", "memorization")
    before = set(Path("scores").glob("*/*/results/*.json"))
    said = found(score, "made.npz", *DATA, "--metrics", "memorization,preference", "--set", "preference.draws=6")
    assert len(set(Path("scores").glob("*/*/results/*.json")) - before) == 3
    assert "train_pref_excess" in said["rows"]["model"]


def test_an_interrupt_keeps_what_is_done_and_the_same_command_ends_with_the_same_numbers(
    score: Score, real: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    as_npz(Path("made.npz"), real[1][:50])
    command = [sys.executable, "-m", "difgen_cli", "score", "made.npz", *DATA, "--runs", "stopped"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not list(Path("stopped").glob("*/*/results/*.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err.endswith("interrupted: everything so far is kept; run the same command again to resume\n")
    assert 1 <= len(list(Path("stopped").glob("*/*/results/*.json"))) < 9
    found(score, "made.npz", *DATA, "--runs", "stopped")
    found(score, "made.npz", *DATA)
    pd.testing.assert_frame_equal(measured(Path("stopped")), measured(Path("scores")), check_exact=True)


def test_a_part_of_the_samples_is_drawn_and_keeps_its_names(score: Score, real: tuple[np.ndarray, np.ndarray]) -> None:
    as_folder(Path("made"), real[0][:100])
    said = found(score, "made", *DATA, "--count", 40)
    assert said["notes"] == ["40 of 100 samples, drawn at random."]
    pairs = pd.read_csv("report/made/pairs.csv")
    assert len(pairs) == 40
    assert pairs["sample"].max() > "0080"
    assert all(int(s[:4]) == int(n.rpartition(" ")[2]) for s, n in zip(pairs["sample"], pairs["nearest"], strict=True))


# Words ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("rgb.npz", *DATA), "SAMPLES: rgb.npz holds images of 8 × 8 pixels RGB, --against train.npz images of 8 × 8 "
         "pixels grey; bring one to the size and mode of the other"),
        (("large.npz", *DATA), "SAMPLES: large.npz holds images of 9 × 9 pixels grey, --against train.npz"),
        (("points.npz", *DATA), "SAMPLES: points.npz holds points of 64 dimensions, --against train.npz"),
        (("test.npz", "--against", "train.npz", "--held-out", "large.npz"), "--held-out: large.npz holds images of 9"),
        (("test.npz", "--against", "train.npz", "--held-out", "train.npz"), "--held-out: each of the 120 images is in "
         "--against too; give images that were not trained on"),
        (("none", *DATA), "SAMPLES: none: there is no such file or folder"),
        (("words.txt", *DATA), "SAMPLES: words.txt: neither a folder of images, nor Parquet"),
        (("empty", *DATA), "SAMPLES: empty: there is no image in this folder"),
        (("broken.npz", *DATA), "SAMPLES: broken.npz: this is not a whole .npz archive"),
        (("test.npz", *DATA, "--metrics", "gap"), "--metrics gap: needs the model itself (its denoiser)"),
        (("test.npz", *DATA, "--metrics", "memorisation"), "did you mean memorization?"),
        (("test.npz", *DATA, "--set", "gap.levels=4"), "--set gap.levels: needs the model itself"),
        (("test.npz", *DATA, "--set", "train.flip=true"), "--set train.flip: use --mirrored where training showed"),
        (("test.npz", *DATA, "--set", "preference.drawz=4"), "did you mean draws?"),
        (("test.npz", *DATA, "--features", "inceptoin"), "no feature space is called 'inceptoin'"),
        (("test.npz", *DATA, "--metrics", "memorization", "--features", "pca"), "none of memorization uses a feature"),
        (("test.npz", *DATA, "--hold-out", "5"), "--hold-out: draws held-out images from --against, --held-out names"),
        (("test.npz", "--against", "train.npz", "--hold-out", "500"), "500"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_is_said_in_one_sentence_and_nothing_is_written(
    score: Score, real: tuple[np.ndarray, np.ndarray], words: tuple[str, ...], sentence: str
) -> None:
    as_npz(Path("rgb.npz"), np.zeros((5, 8, 8, 3), np.uint8))
    as_npz(Path("large.npz"), np.zeros((5, 9, 9, 1), np.uint8))
    as_npz(Path("points.npz"), np.zeros((5, 64), np.float32))
    Path("words.txt").write_text("words")
    Path("broken.npz").write_text("broken")
    Path("empty").mkdir()
    done = score(*words)
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("scores").exists()


def test_samples_that_do_not_fit_into_memory_are_refused_with_the_count_that_does(
    score: Score, real: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_npz(Path("made.npz"), np.zeros((5000, 8, 8, 1), np.uint8))
    monkeypatch.setattr("difgen_cli.engine.doctor.machine.memory_bytes", lambda: (1 << 30, (400 << 20) + (1 << 21)))
    done = score("made.npz", *DATA)
    assert done.exit_code == 2
    assert "SAMPLES: 5,000 samples and 520 real images need about" in done.stderr
    count = done.stderr.strip().rpartition("use --count ")[2]
    assert 0 < int(count) < 5000
    assert score("made.npz", *DATA, "--count", count, "--metrics", "memorization").exit_code == 0


def test_a_damaged_image_among_the_samples_is_named(score: Score, real: tuple[np.ndarray, np.ndarray]) -> None:
    as_folder(Path("made"), real[0][:3])
    (Path("made") / "0001.png").write_bytes(b"no image")
    done = score("made", *DATA)
    assert done.exit_code == 2
    assert done.stderr.startswith("SAMPLES: ")
    assert done.stderr.endswith("made/0001.png: this is not an image: replace or remove it\n")
    Image.new("L", (9, 8)).save("made/0001.png")
    assert "made/0001.png: this image is 9 × 8 pixels grey, the first" in score("made", *DATA).stderr
