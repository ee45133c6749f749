"""Folders and archives as people have them: what is a class, what is a split, and what is passed over by name."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from difgen_cli.data import DataError, LabelError, Pool
from difgen_cli.data.files import load as load_files
from difgen_cli.data.files import names
from difgen_cli.data.folder import load

IMAGES = np.random.default_rng(1).integers(0, 256, (6, 4, 4), np.uint8)


def written(root: Path, *files: str) -> Path:
    """An image for each name that ends like one, the k-th of them IMAGES[k]; words for the others."""
    images = iter(IMAGES)
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        if file.endswith(".png") and not Path(file).name.startswith("."):
            Image.fromarray(next(images)).save(root / file)
        else:
            (root / file).write_text("words")
    return root


def labelled(pool: Pool) -> dict[str, list[int]]:
    """Class -> the places in IMAGES of its images."""
    assert pool.labels is not None
    places = [next(k for k, of in enumerate(IMAGES) if np.array_equal(of, image[..., 0])) for image in pool.images]
    return {c: [p for p, k in zip(places, pool.labels, strict=True) if k == n] for n, c in enumerate(pool.classes)}


def test_what_is_passed_over_is_counted_and_named(tmp_path: Path) -> None:
    root = written(tmp_path, "a.png", "b.PNG", "b.heic", "c.heic", "notes.txt", "LICENSE", ".DS_Store")
    Image.fromarray(IMAGES[1]).save(root / "b.PNG", "PNG")
    pool = load(path=root)
    assert len(pool.images) == 2
    assert pool.notes == (f"passed over in {root}: 2 .heic, 1 without a suffix, 1 .txt, 1 hidden file",)
    assert load(path=written(tmp_path / "clean", "a.png")).notes == ()


@pytest.mark.parametrize(
    "left",
    ["__MACOSX/._a.png", "@eaDir/a.png/thumb.png", ".ipynb_checkpoints/a-checkpoint.png", "lost+found/x",
     "System Volume Information/x", "$RECYCLE.BIN/a.png", "#recycle/a.png", "@Recycle/a.png", "extras/.DS_Store"],
)  # fmt: skip
@pytest.mark.parametrize("classes", [False, True])
def test_a_folder_that_a_system_made_is_no_class_and_in_nobodys_way(tmp_path: Path, left: str, classes: bool) -> None:
    own = ("cat/a.png", "dog/b.png") if classes else ("a.png", "b.png")
    pool = load(path=written(tmp_path, *own, left, "Thumbs.db", "desktop.ini"))
    assert pool.classes == (("cat", "dog") if classes else ())
    np.testing.assert_array_equal(pool.images[..., 0], IMAGES[:2])
    assert len(pool.notes) == 1
    assert left.startswith("extras") or f"the folder {left.partition('/')[0]}/" in pool.notes[0]


def test_the_counters_of_edm_are_no_classes_and_its_labels_are_read(tmp_path: Path) -> None:
    root = written(tmp_path / "edm", "00000/img0.png", "00000/img1.png", "00001/img2.png", "00001/img3.png")
    files = [f"0000{k // 2}/img{k}.png" for k in range(4)]
    said = [[file, label] for file, label in zip(files, [1, 0, 2, 1], strict=True)]
    (root / "dataset.json").write_text(json.dumps({"labels": said}))
    pool = load(path=root)
    assert labelled(pool) == {"0": [1], "1": [0, 3], "2": [2]}
    assert pool.notes == ()
    with zipfile.ZipFile(tmp_path / "edm.zip", "w") as archive:
        for file in [*files, "dataset.json"]:
            archive.write(root / file, file)
    zipped = load(path=tmp_path / "edm.zip")
    np.testing.assert_array_equal(zipped.images, pool.images)
    assert labelled(zipped) == labelled(pool)
    assert names(tmp_path / "edm.zip") == files
    (root / "dataset.json").write_text('{"labels": null}')
    assert load(path=root).labels is None
    (root / "dataset.json").write_text(json.dumps({"labels": said[:3]}))
    with pytest.raises(LabelError, match=r"img3\.png: image 3 has no label") as error:
        load(path=root)
    assert len(error.value.images().images) == 4
    (root / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json: this is no list of file names and labels"):
        load(path=root)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", "file_name,label\nb.png,cat\na.png,dog\nc.png,cat\n"),
        ("metadata.csv", "\ufefffile_name;label\nb.png;cat\na.png;dog\nc.png;cat\n"),
        ("metadata.jsonl", '{"file_name": "b.png", "label": "cat"}\n{"file_name": "a.png", "label": "dog"}\n'
         '{"file_name": "c.png", "label": "cat"}\n'),
    ],
)  # fmt: skip
def test_labels_by_name_of_file_are_read_as_datasets_writes_them(tmp_path: Path, name: str, content: str) -> None:
    root = written(tmp_path, "a.png", "b.png", "c.png")
    (root / name).write_text(content, encoding="utf-8")
    assert labelled(load(path=root)) == {"cat": [1, 2], "dog": [0]}
    (root / name).write_text("file_name,caption\na.png,a cat\n" if name.endswith("csv") else '{"text": "x"}\n')
    assert load(path=root).labels is None
    assert f"1 {Path(name).suffix}" in load(path=root).notes[0]


@pytest.mark.parametrize("prefix", ["./", ".\\"])
def test_names_of_a_table_are_those_of_files_however_they_are_written(tmp_path: Path, prefix: str) -> None:
    root = written(tmp_path, "a.png", "b.png")
    (root / "metadata.csv").write_text(f"file_name,label\n{prefix}a.png,dog\n{prefix}b.png,cat\n")
    assert labelled(load(path=root)) == {"cat": [1], "dog": [0]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "file_name,label\ntrain/a.png,1\ntrain/b.png,0\n",
            r"it names none .* train/a\.png, and they are called a\.png",
        ),
        ("file_name,label\na.png,1\nb.png,0\n./a.png,0\n", r"a\.png has the labels 1 and 0: give it one"),
        ("file_name,label,Label\na.png,1,0\nb.png,0,0\n", "several columns are called label"),
    ],
)
def test_labels_that_fit_no_image_or_several_are_told(tmp_path: Path, content: str, words: str) -> None:
    root = written(tmp_path, "a.png", "b.png")
    (root / "metadata.csv").write_text(content)
    with pytest.raises(DataError, match=rf"metadata\.csv: {words}"):
        load(path=root)


def test_labels_of_files_that_are_not_there_are_counted(tmp_path: Path) -> None:
    root = written(tmp_path, "a.png", "b.png")
    (root / "metadata.csv").write_text("file_name,label\na.png,1\nb.png,0\nb.png,0\nc.png,1\nd.png,1\n")
    pool = load(path=root)
    assert labelled(pool) == {"0": [1], "1": [0]}
    assert pool.notes == (f"{root}/metadata.csv names 2 that are no image of this folder, such as c.png",)


def test_a_pipe_is_told_and_never_waited_for(tmp_path: Path) -> None:
    root = written(tmp_path, "a.png")
    os.mkfifo(root / "b.png")
    with pytest.raises(DataError, match=r"b\.png: this is no file but a pipe or a device"):
        load(path=root)


@pytest.mark.parametrize("pair", [("train", "test"), ("Train", "valid"), ("training", "validation"), ("test", "dev")])
@pytest.mark.parametrize("inner", ["", "cat/"])
def test_folders_that_are_splits_are_never_pooled(tmp_path: Path, pair: tuple[str, str], inner: str) -> None:
    root = written(tmp_path, *(f"{part}/{inner}{k}.png" for k, part in enumerate(pair)))
    both = ", ".join(sorted(pair))
    for read in (load, load_files):
        with pytest.raises(DataError, match=f"holds the splits {both}; name one: {root}/{min(pair)}$"):
            read(path=root)
        assert len(read(path=root / pair[0]).images) == 1


def test_a_cloned_repository_keeps_its_images_in_data(tmp_path: Path) -> None:
    root = written(tmp_path, "data/cat/a.png", "data/dog/b.png", "README.md", ".gitattributes", ".git/config")
    pool = load(path=root)
    assert labelled(pool) == {"cat": [0], "dog": [1]}
    assert pool.notes == (f"passed over in {root}: 1 .md, the folder .git/, 1 hidden file",)


def test_images_that_lie_deeper_are_refused_by_the_level_at_which_they_lie(tmp_path: Path) -> None:
    root = written(tmp_path, "breed0/young/a.png", "breed0/old/b.png", "breed1/young/c.png")
    with pytest.raises(DataError, match=rf"breed0: images lie in folders .*such as {root}/breed0$"):
        load(path=root)
    assert load(path=root / "breed0").classes == ("old", "young")


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    root, apart = written(tmp_path / "set", "cat/a.png"), written(tmp_path / "apart", "b.png")
    (root / "dog").symlink_to(apart)
    (root / "cow").symlink_to(apart)
    (root / "cat" / "circle").symlink_to(root)
    assert load(path=root).classes == ("cat", "cow", "dog")
    (root / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"gone\.png: this is a broken image"):
        load(path=root)


def test_a_folder_of_parquet_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no image in this folder, but Parquet \(data/a\.parquet\): say data\.name"):
        load(path=written(tmp_path, "data/a.parquet"))
    with pytest.raises(DataError, match=r"no image in this folder \(2 \.heic passed over\)"):
        load(path=written(tmp_path / "photos", "a.heic", "b.heic"))


@pytest.mark.parametrize("content", [b"words", b"PK\x05\x06", b"PK\x03\x04" + bytes(60)])
def test_an_archive_that_cannot_be_read_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip: this archive cannot be read"):
        load(path=tmp_path / "a.zip")


def test_names_that_are_no_text_are_escaped_wherever_they_are_shown(tmp_path: Path) -> None:
    root = written(tmp_path, "a.png")
    (root / "a.png").rename(root / os.fsdecode(b"caf\xe9.png"))
    Image.fromarray(IMAGES[1]).save(root / "b\x1b[31m\n.png")
    assert names(root) == ["b\\x1b[31m\\n.png", "caf\\xe9.png"]
    (root / "b\x1b[31m\n.png").write_text("words")
    with pytest.raises(DataError) as error:
        load(path=root)
    assert str(error.value).isprintable()
    (root / os.fsdecode(b"caf\xe9.png")).rename(root / os.fsdecode(b"\xff.png"))
    (root / "b\x1b[31m\n.png").unlink()
    (root / os.fsdecode(b"\xff.txt")).write_text("x")
    assert load(path=root).notes == (f"passed over in {root}: 1 .txt",)
