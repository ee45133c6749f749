"""Labels that a user gives: three kinds of files, and one sentence for each way in which they do not fit."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from difgen_cli.condition import file

LABELS = np.array([4, 0, 4, 7])


def table(path: Path, index: list[int], label: list[int | None]) -> Path:
    pq.write_table(pa.table({"index": index, "label": label}), path)
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_all_three_kinds_of_files_give_the_same_labels(tmp_path: Path) -> None:
    order = [2, 0, 3, 1]
    lines = "".join(f"{k},extra,{LABELS[k]}\n" for k in order)
    np.save(tmp_path / "a.npy", LABELS.astype(np.uint8))
    files = [
        text(tmp_path / "a.csv", f"index,name,label\n{lines}"),
        table(tmp_path / "a.parquet", order, LABELS[order].tolist()),
        tmp_path / "a.npy",
    ]
    for path in files:
        found = file.read(path, 4)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, LABELS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("index,label\n0,1\n1,1\n", "2 labels do not fit 4 images"),
        ("index,label\n0,1\n1,1\n1,2\n3,1\n", "image 1 has 2 labels and image 2 none"),
        ("index,label\n0,1\n1,1\n2,2\n4,1\n", "index 4 is no image of the pool: they run from 0 to 3"),
        ("index,label\n0,1\n1,1\n2,2\n3,-1\n", "the label of image 3 is -1: labels are 0 or above"),
        ("index,label\n0,1\n1,cat\n2,2\n3,1\n", "line 3: the label 'cat' is no whole number"),
        ("index,label\n0,1\n1\n2,2\n3,1\n", "line 3: the label None is no whole number"),
        ("index,label\n0,1e99\n", "line 2: the label '1e99' is no whole number"),
        ("index,label\n0,99999999999999999999\n", "is no whole number"),
        ("image,label\n0,1\n", "there is no column index: begin with a line index,label"),
        ("", "there is no column index"),
        ("index,label,label\n0,1,2\n", "several columns are called label"),
        ("index;cluster\n0;1\n", "there are index, cluster, separated by semicolons"),
        ("file,label\na.png,1\n", r"no files that `file` could name"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_one_sentence(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        file.read(text(tmp_path / "a.csv", content), 4)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "a.csv"))


def test_other_files_that_do_not_fit_are_refused_in_one_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((4, 2), int))
    np.save(tmp_path / "real.npy", np.zeros(4))
    np.save(tmp_path / "code.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "archive.npz", LABELS)
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    (tmp_path / "bytes.csv").write_bytes(b"index,label\n\xff,0\n")
    (tmp_path / "labels.txt").write_text("0", encoding="utf-8")
    cases = {
        "wide.npy": r"int64 of shape \(4, 2\), not one row of whole numbers",
        "real.npy": "float64 of shape",
        "code.npy": "this is no plain array",
        "archive.npy": "this is an archive",
        "cut.parquet": "this Parquet file cannot be read",
        "bytes.csv": "this is no CSV text",
        "labels.txt": "neither CSV",
        "missing.csv": "there is no such file",
    }
    for name, words in cases.items():
        with pytest.raises(ValueError, match=words):
            file.read(tmp_path / name, 4)
    missing = table(tmp_path / "missing.parquet", [0, 1, 2, 3], [1, None, 1, 1])
    with pytest.raises(ValueError, match="label is int64 with 1 missing values"):
        file.read(missing, 4)


@pytest.mark.parametrize(
    "content",
    [
        "index;label\n2;4\n0;4\n3;7\n1;0\n",
        "index\tlabel\n2\t4\n0\t4\n3\t7\n1\t0\n",
        "index|label\n2|4\n0|4\n3|7\n1|0\n",
        " Index , LABEL \n2,4\n0, 4\n\n3,7\n1,0\n\n",
        "index,label\r\n2,4.0\r\n0,4.00\r\n3,7.\r\n1,0.0\r\n",
        "index;label\n2;4,0\n0;4,0\n3;7,0\n1;0,0\n",
        "\ufeffindex,label\n2,4\n0,4\n3,7\n1,0\n",
    ],
    ids=["semicolons", "tabs", "bars", "capitals and blanks", "decimals", "German decimals", "byte order mark"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_table_is_read_as_any_spreadsheet_writes_it(tmp_path: Path, content: str, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(content.removeprefix("\ufeff" * (encoding != "utf-8")).encode(encoding))
    np.testing.assert_array_equal(file.read(tmp_path / "a.csv", 4), LABELS)


def test_labels_are_matched_by_name_of_file_however_files_are_sorted(tmp_path: Path) -> None:
    names = ["cat/1.png", "cat/10.png", "cat/2.png", "dog/1.png"]
    for column in ("file", "filename", "file_name"):
        path = text(tmp_path / "a.csv", f"{column},label\ncat/2.png,4\n10.png,0\ndog/1.png,7\ncat/1.png,4\n")
        np.testing.assert_array_equal(file.read(path, 4, names), LABELS)
    path = text(tmp_path / "b.csv", "file,label\n1.png,4\n10.png,0\n2.png,4\ndog/1.png,7\n")
    with pytest.raises(ValueError, match=r"1\.png is no image of this data set: name each as the first is, cat/1\.png"):
        file.read(path, 4, names)


def test_words_are_labels_where_none_is_a_number(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "index,label\n0,eel\n1,ant\n2,eel\n3,fox\n")
    assert file.read(path, 4).tolist() == [1, 0, 1, 2]
