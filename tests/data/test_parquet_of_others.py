"""Parquet files as the Hub and others write them: columns of other names, labels of other kinds, splits and folders."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from difgen_cli.data import DataError, LabelError
from difgen_cli.data.files import listing, meant, names
from difgen_cli.data.files import load as load_files
from difgen_cli.data.parquet import load

IMAGES = np.random.default_rng(2).integers(0, 256, (12, 4, 4), np.uint8)
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def structs(count: int, start: int = 0) -> pa.Array:
    return pa.array([{"bytes": png(image), "path": None} for image in IMAGES[start : start + count]], STRUCT)


def written(path: Path, columns: dict[str, Any], classes: dict[str, list[str]] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if classes:
        features = {name: {"names": names, "_type": "ClassLabel"} for name, names in classes.items()}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("kind", [STRUCT, pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("name", ["image", "img", "picture"])
def test_the_only_column_of_images_is_read_whatever_it_is_called(tmp_path: Path, kind: pa.DataType, name: str) -> None:
    values = structs(3) if kind == STRUCT else pa.array([png(image) for image in IMAGES[:3]], kind)
    path = written(tmp_path / "a.parquet", {"id": ["a", "b", "c"], name: values, "label": [1, 0, 1]})
    pool = load(path=path)
    np.testing.assert_array_equal(pool.images[..., 0], IMAGES[:3])
    assert pool.labels is not None
    assert pool.labels.tolist() == [1, 0, 1]
    assert listing(path) == (3, (4, 4, 1))


def test_of_several_columns_the_one_that_is_named_is_read(tmp_path: Path) -> None:
    columns = {"before": structs(2), "after": structs(2, 2), "fine": [0, 2], "coarse": [1, 0]}
    path = written(tmp_path / "a.parquet", columns, {"fine": ["a", "b", "c"], "coarse": ["x", "y"]})
    with pytest.raises(DataError, match=r"the columns before, after hold images: name one by data\.image"):
        load(path=path)
    pool = load(path=path, image="after")
    np.testing.assert_array_equal(pool.images[..., 0], IMAGES[2:4])
    assert pool.labels is None
    assert pool.notes == ("no labels are read: data.label could name fine or coarse",)
    named = load_files(path=path, image="after", label="fine")
    assert named.labels is not None
    assert (named.labels.tolist(), named.classes) == ([0, 2], ("a", "b", "c"))
    with pytest.raises(DataError, match="there is no column `after_all`, only before, after"):
        load(path=path, image="after_all")
    points = written(tmp_path / "b.parquet", {"latent": [[0.0, 1.0], [2.0, 3.0]]})
    np.testing.assert_array_equal(load(path=points, image="latent").images, [[0, 1], [2, 3]])


WORDS = ["dog", "cat", "dog", "ant"]


@pytest.mark.parametrize(
    ("values", "labels", "classes"),
    [
        (WORDS, [2, 1, 2, 0], ("ant", "cat", "dog")),
        (pa.array(WORDS, pa.large_string()), [2, 1, 2, 0], ("ant", "cat", "dog")),
        (pa.array(WORDS).dictionary_encode(), [2, 1, 2, 0], ("ant", "cat", "dog")),
        (pa.array([7, 7, 999, 7], pa.uint16()), [0, 0, 1, 0], ("7", "999")),
        ([9_000_000_000, 0, 0, 9_000_000_000], [1, 0, 0, 1], ("0", "9000000000")),
        (pa.array([2**64 - 1, 5, 5, 5], pa.uint64()), [1, 0, 0, 0], ("5", str(2**64 - 1))),
        ([True, False, True, True], [1, 0, 1, 1], ("0", "1")),
        ([1, 3, 3, 1], [1, 3, 3, 1], ("0", "1", "2", "3")),  # half of them occur: a part of a larger set
        ([-1, -1, -1, -1], None, ()),
        (pa.array([None] * 4, pa.int64()), None, ()),
        (pa.array([None] * 4, pa.string()), None, ()),
    ],
)
def test_labels_of_any_kind_are_numbered(tmp_path: Path, values: Any, labels: Any, classes: tuple[str, ...]) -> None:
    pool = load(path=written(tmp_path / "a.parquet", {"image": structs(4), "label": values}))
    assert (None if pool.labels is None else pool.labels.tolist()) == labels
    assert pool.classes == classes


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, None, 1] * 4, "row 1: image 1 has no label"),
        ([0, -1, 1] * 4, "row 1: label -1 of image 1 is no class"),
        ([0.5, 1.0, 1.0] * 4, r"the label 0.5 is of type float: give whole numbers, or words"),
        (["a", None, "b"] * 4, "row 1: image 1 has no label"),
        ([f"{k:x}" for k in range(12)], "12 images have 12 different labels, such as 0 and b: these name images"),
        ([10**15 + k for k in range(12)], "12 images have 12 different labels"),
        ([[0], [1], [0]] * 4, "of type list"),
    ],
)
def test_labels_that_cannot_be_used_stop_those_alone_who_need_them(tmp_path: Path, values: Any, words: str) -> None:
    path = written(tmp_path / "a.parquet", {"image": structs(12), "label": values})
    with pytest.raises(LabelError, match=words) as error:
        load(path=path)
    assert "\n" not in str(error.value)
    np.testing.assert_array_equal(error.value.images().images[..., 0], IMAGES)
    assert error.value.images().labels is None


def test_names_of_classes_that_are_given_bound_words_and_numbers(tmp_path: Path) -> None:
    named = {"label": ["cat", "dog", "eel"]}
    path = written(tmp_path / "a.parquet", {"image": structs(2), "label": ["dog", "cat"]}, named)
    pool = load(path=path)
    assert pool.labels is not None
    assert (pool.labels.tolist(), pool.classes) == ([1, 0], ("cat", "dog", "eel"))
    path = written(tmp_path / "b.parquet", {"image": structs(2), "label": ["dog", "fox"]}, named)
    with pytest.raises(LabelError, match="label fox of image 1 is not one of the 3 classes"):
        load(path=path)


SHARDS = {"train": (0, 4), "train_extra": (4, 3), "test": (7, 2)}


@pytest.mark.parametrize("name", ["{}-00000-of-00001.parquet", "{}.parquet", "{}.PARQUET", "{}_0.parquet"])
def test_a_split_is_the_one_of_just_this_name(tmp_path: Path, name: str) -> None:
    for split, (start, count) in SHARDS.items():
        written(tmp_path / name.format(split), {"image": structs(count, start)})
    for read in (load, load_files):
        with pytest.raises(DataError, match=r"holds the splits test, train, train_extra; name one: data\.split: test$"):
            read(path=tmp_path)
        for split, (start, count) in SHARDS.items():
            np.testing.assert_array_equal(
                read(path=tmp_path, split=split).images[..., 0], IMAGES[start : start + count]
            )
        assert len(read(path=tmp_path, split="train+test").images) == 6
    assert meant(tmp_path / "train") == (tmp_path, "train")
    with pytest.raises(DataError, match=r"no such file or folder: .*, and name the split by data\.split"):
        load(path=tmp_path / "train")


def test_a_beginning_names_a_split_where_none_has_just_this_name(tmp_path: Path) -> None:
    for split, (start, count) in SHARDS.items():
        written(
            tmp_path / f"{split.replace('train', 'validation')}-00000-of-00001.parquet",
            {"image": structs(count, start)},
        )
    assert len(load(path=tmp_path, split="valid").images) == 7
    with pytest.raises(DataError, match="no Parquet file's name begins with 'dev'"):
        load(path=tmp_path, split="dev")


@pytest.mark.parametrize(
    "layout",
    [
        "data/{}-00000-of-00001.parquet",
        "{}/0000.parquet",
        "default/{}/0000.parquet",
        "plain_text/{}-00000-of-00001.parquet",
    ],
)
def test_a_cloned_repository_is_read_where_its_files_lie(tmp_path: Path, layout: str) -> None:
    for split, (start, count) in (("train", (0, 4)), ("test", (7, 2))):
        written(tmp_path / layout.format(split), {"image": structs(count, start)})
    (tmp_path / "README.md").write_text("# A data set")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "a.parquet").write_text("no")
    with pytest.raises(DataError, match=r"holds the splits test, train; name one: data\.split: test"):
        load(path=tmp_path)
    pool = load_files(path=tmp_path, split="train")
    np.testing.assert_array_equal(pool.images[..., 0], IMAGES[:4])
    assert pool.notes == (f"passed over in {tmp_path}: 1 .md, the folder .git/",)
    assert names(tmp_path, "train")[0] == f"{layout.format('train')}, row 0"


def test_several_data_sets_in_one_repository_are_named(tmp_path: Path) -> None:
    for name in ("fine", "coarse"):
        written(tmp_path / name / "train-00000-of-00001.parquet", {"image": structs(2)})
    with pytest.raises(DataError, match=rf"lie in several of its folders; name one: {tmp_path}/coarse, .*/fine"):
        load(path=tmp_path)
    assert len(load(path=tmp_path / "fine").images) == 2


def test_images_beside_parquet_are_passed_over_by_name_and_images_alone_are_told(tmp_path: Path) -> None:
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"no \*\.parquet file in this folder, but images \(1\), which data\.name"):
        load(path=tmp_path)
    written(tmp_path / "a.parquet", {"image": structs(2)})
    assert load(path=tmp_path).notes == (f"passed over in {tmp_path}: 1 .png",)


def test_a_pointer_of_git_lfs_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(DataError, match="it is a pointer of Git LFS: `git lfs pull` fetches it"):
        load(path=tmp_path)


@pytest.mark.parametrize(("lacking", "words"), [((), None), ((1,), "only 2 of the 3 files of train are there")])
def test_files_of_a_split_that_are_not_there_are_told(
    tmp_path: Path, lacking: tuple[int, ...], words: str | None
) -> None:
    for number in {0, 1, 2} - set(lacking):
        written(tmp_path / f"train-{number:05d}-of-00003.parquet", {"image": structs(2)})
    notes = load(path=tmp_path).notes
    assert notes == () if words is None else (len(notes) == 1 and words in notes[0])
