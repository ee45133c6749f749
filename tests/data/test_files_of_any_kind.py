"""Files told by what they are: read by their own plug-in, with held-out images from files of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from difgen_cli.data import DataError, Pool, split
from difgen_cli.data.files import kind_of, listing, load, names
from difgen_cli.data.parquet import load as load_parquet
from difgen_cli.engine.store import sample_files


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 5, 3), np.uint8)


def written(folder: Path, of: np.ndarray, labels: np.ndarray | None = None) -> dict[str, Path]:
    """The same images as a folder, as Parquet, as a folder of Parquet and as .npz."""
    made = {"folder": folder / "folder", "parquet": folder / "a.parquet", "npz": folder / "a.npz"}
    for i, image in enumerate(of):
        place = made["folder"] / (str(labels[i]) if labels is not None else "")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i:03d}.png").write_bytes(sample_files.png(image))
    sample_files.write(made["parquet"], of, labels)
    np.savez(made["npz"], images=of, **({} if labels is None else {"labels": labels}))
    (folder / "many").mkdir()
    sample_files.write(folder / "many" / "0.parquet", of[:3], None if labels is None else labels[:3])
    sample_files.write(folder / "many" / "1.parquet", of[3:], None if labels is None else labels[3:])
    return made | {"many": folder / "many"}


@pytest.mark.parametrize("labelled", [False, True])
def test_every_kind_gives_the_same_pool_and_says_beforehand_how_much_there_is(tmp_path: Path, labelled: bool) -> None:
    of, labels = images(8), np.repeat(np.arange(2), 4) if labelled else None
    for kind, path in written(tmp_path, of, labels).items():
        pool = load(path=path)
        assert kind_of(path) == ("parquet" if kind == "many" else kind)
        assert np.array_equal(pool.images, of), kind
        assert pool.labels is None if labels is None else np.array_equal(pool.labels, labels)
        assert listing(path) == (8, (6, 5, 3))
        assert len(names(path)) == 8
    assert names(tmp_path / "many")[3] == "1.parquet, row 0"
    assert names(tmp_path / "folder")[5] == ("1/005.png" if labelled else "005.png")


def test_held_out_images_come_from_their_own_files_whole_and_shuffled(tmp_path: Path) -> None:
    for part, of in {"train": images(10), "test": images(7, 1)}.items():
        np.savez(tmp_path / f"{part}.npz", images=of)
    pool = load(path=tmp_path / "train.npz", held_out_path=tmp_path / "test.npz")
    parts = split(pool, held_out=7)
    assert sorted(parts.rest) == list(range(10))
    assert sorted(parts.held_out) == list(range(10, 17))
    assert list(parts.held_out) != list(range(10, 17))
    assert np.array_equal(np.sort(pool.images[10:], axis=0), np.sort(images(7, 1), axis=0))


def test_labels_are_kept_where_the_classes_of_one_part_begin_those_of_the_other(tmp_path: Path) -> None:
    for name, labels in {"train": [0, 1, 2], "test": [1, 0, 1]}.items():
        np.savez(tmp_path / f"{name}.npz", images=images(3), labels=np.array(labels))
    np.savez(tmp_path / "cats.npz", images=images(3), labels=np.zeros(3, int), classes=np.array(["cat"]))
    np.savez(tmp_path / "none.npz", images=images(3))

    def both(test: str) -> Pool:
        return load(path=tmp_path / "train.npz", held_out_path=tmp_path / f"{test}.npz")

    assert both("test").classes == ("0", "1", "2")
    assert list(both("test").labels) == [0, 1, 2, 1, 0, 1]  # type: ignore[arg-type]
    assert both("cats").labels is None
    assert both("none").labels is None


def test_parts_of_different_shape_are_refused_in_one_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", images=images(3))
    np.savez(tmp_path / "grey.npz", images=images(3)[..., :1])
    with pytest.raises(DataError, match=r"grey\.npz: images of 5 × 6 pixels grey, but .*train\.npz: images .* RGB"):
        load(path=tmp_path / "train.npz", held_out_path=tmp_path / "grey.npz")


def test_parquet_holds_points_and_labels_that_are_all_missing_are_none(tmp_path: Path) -> None:
    points = np.arange(8, dtype=np.float32).reshape(4, 2)
    sample_files.write(tmp_path / "points.parquet", points, None)
    pool = load_parquet(path=tmp_path / "points.parquet")
    assert np.array_equal(pool.images, points)
    assert pool.labels is None
    assert listing(tmp_path / "points.parquet") == (4, (2,))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1.0, 2.0], [1.0]], "row 1: `x` is no list of as many numbers as the first row has"),
        ([[1.0, 2.0], None], "row 1: `x` is no list"),
        ([[1.0, 2.0], [1.0, float("nan")]], "row 1: `x` holds NaN or an infinite value"),
        ([[1.0, None]], "row 0: `x` is no list"),
    ],
)
def test_a_defect_of_points_is_one_sentence_that_names_the_row(tmp_path: Path, rows: list[object], said: str) -> None:
    pq.write_table(pa.table({"x": rows}), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=said):
        load_parquet(path=tmp_path / "bad.parquet")
