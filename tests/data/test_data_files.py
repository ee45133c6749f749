"""Parquet files and folders of images: what is read, and how each defect is reported."""

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from difgen_cli.data import DataError
from difgen_cli.data.folder import load as load_folder
from difgen_cli.data.parquet import load as load_parquet


def png(array: np.ndarray, mode: str | None = None) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, "png")
    return file.getvalue()


def random_images(count: int, shape: tuple[int, ...] = (6, 5), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_parquet(
    path: Path, encoded: list[bytes | None], labels: list[Any] | None = None, names: list[str] | None = None
) -> Path:
    columns: dict[str, Any] = {"image": pa.array([{"bytes": data, "path": None} for data in encoded], IMAGE)}
    if labels is not None:
        columns["label"] = pa.array(labels)
    table = pa.table(columns)
    if names:
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, path)
    return path


IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_parquet_gives_back_pixels_labels_and_class_names(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = random_images(7, shape)
    labels = [0, 1, 1, 0, 1, 0, 0]
    pool = load_parquet(path=write_parquet(tmp_path / "a.parquet", [png(i) for i in images], labels, ["cat", "dog"]))
    np.testing.assert_array_equal(pool.images, images.reshape(7, 6, 5, -1))
    assert pool.labels is not None
    np.testing.assert_array_equal(pool.labels, labels)
    assert pool.classes == ("cat", "dog")


def test_parquet_files_of_a_split_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    images = random_images(6)
    for name, part in {"train-1": images[2:4], "train-0": images[:2], "test-0": images[4:]}.items():
        write_parquet(tmp_path / f"{name}.parquet", [png(i) for i in part])
    pool = load_parquet(path=tmp_path, split="train")
    np.testing.assert_array_equal(pool.images[..., 0], images[:4])
    assert pool.labels is None
    assert pool.classes == ()
    assert len(load_parquet(path=tmp_path, split="train+test").images) == 6
    with pytest.raises(DataError, match=r"holds the splits test, train; name one: data\.split: test"):
        load_parquet(path=tmp_path)


def test_without_metadata_classes_are_named_by_their_numbers(tmp_path: Path) -> None:
    pool = load_parquet(path=write_parquet(tmp_path / "a.parquet", [png(i) for i in random_images(2)], [0, 2]))
    assert pool.classes == ("0", "1", "2")


def test_palette_and_bilevel_images_are_read_as_what_they_show(tmp_path: Path) -> None:
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[:2] = (255, 0, 51)  # in the web palette, which Pillow converts to
    path = write_parquet(tmp_path / "p.parquet", [png(colours, "P"), png(colours)])
    np.testing.assert_array_equal(load_parquet(path=path).images, [colours, colours])
    grey = np.where(np.eye(4, dtype=bool), 255, 0).astype(np.uint8)
    path = write_parquet(tmp_path / "1.parquet", [png(grey, "1")])
    np.testing.assert_array_equal(load_parquet(path=path).images[0, ..., 0], grey)


def truncated(tmp_path: Path) -> dict[str, Any]:
    good = [png(i) for i in random_images(3, (40, 40))]
    return {"path": write_parquet(tmp_path / "t.parquet", [*good[:2], good[2][:-400]])}


def other_size(tmp_path: Path) -> dict[str, Any]:
    return {"path": write_parquet(tmp_path / "s.parquet", [png(random_images(1, (6, w))[0]) for w in (5, 5, 7)])}


def other_mode(tmp_path: Path) -> dict[str, Any]:
    shapes = ((6, 5), (6, 5), (6, 5, 3))
    return {"path": write_parquet(tmp_path / "m.parquet", [png(random_images(1, s)[0]) for s in shapes])}


def with_alpha(tmp_path: Path) -> dict[str, Any]:
    return {"path": write_parquet(tmp_path / "a.parquet", [png(random_images(1, (6, 5, 4))[0])])}


def sixteen_bits(tmp_path: Path) -> dict[str, Any]:
    return {"path": write_parquet(tmp_path / "b.parquet", [png(np.zeros((4, 4), np.uint16))])}


def no_image_column(tmp_path: Path) -> dict[str, Any]:
    pq.write_table(pa.table({"img": ["a.png"], "label": [0]}), tmp_path / "c.parquet")
    return {"path": tmp_path / "c.parquet"}


def image_of_numbers(tmp_path: Path) -> dict[str, Any]:
    pq.write_table(pa.table({"image": [[1, 2]]}), tmp_path / "n.parquet")
    return {"path": tmp_path / "n.parquet"}


def not_embedded(tmp_path: Path) -> dict[str, Any]:
    return {"path": write_parquet(tmp_path / "e.parquet", [png(random_images(1)[0]), None])}


def not_an_image(tmp_path: Path) -> dict[str, Any]:
    return {"path": write_parquet(tmp_path / "x.parquet", [b"hello"])}


def not_parquet(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "z.parquet").write_text("no")
    return {"path": tmp_path / "z.parquet"}


def no_rows(tmp_path: Path) -> dict[str, Any]:
    return {"path": write_parquet(tmp_path / "0.parquet", [])}


def unlabelled_row(tmp_path: Path) -> dict[str, Any]:
    return {"path": write_parquet(tmp_path / "l.parquet", [png(i) for i in random_images(3)], [0, None, 1])}


def label_outside(tmp_path: Path) -> dict[str, Any]:
    images = [png(i) for i in random_images(3)]
    return {"path": write_parquet(tmp_path / "o.parquet", images, [0, 1, 5], ["a", "b"])}


def fractions_for_labels(tmp_path: Path) -> dict[str, Any]:
    return {"path": write_parquet(tmp_path / "w.parquet", [png(i) for i in random_images(1)], [0.5])}


def classes_differ(tmp_path: Path) -> dict[str, Any]:
    image = [png(random_images(1)[0])]
    write_parquet(tmp_path / "a.parquet", image, [0], ["a", "b"])
    write_parquet(tmp_path / "b.parquet", image, [0], ["b", "a"])
    return {"path": tmp_path}


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        (truncated, ["t.parquet, row 2", "broken", "replace"]),
        (other_size, ["s.parquet, row 2", "7 × 6", "5 × 6"]),
        (other_mode, ["m.parquet, row 2", "RGB", "grey"]),
        (with_alpha, ["a.parquet, row 0", "RGBA", "convert"]),
        (sixteen_bits, ["b.parquet, row 0", "I;16", "convert"]),
        (no_image_column, ["c.parquet", "no column `image`", "img"]),
        (image_of_numbers, ["n.parquet", "list", "struct"]),
        (not_embedded, ["e.parquet, row 1", "no bytes"]),
        (not_an_image, ["x.parquet, row 0", "not an image"]),
        (not_parquet, ["z.parquet", "cannot be read"]),
        (no_rows, ["0.parquet", "no rows"]),
        (unlabelled_row, ["l.parquet, row 1", "no label"]),
        (label_outside, ["o.parquet, row 2", "label 5", "2 classes"]),
        (fractions_for_labels, ["w.parquet", "float", "whole numbers"]),
        (classes_differ, ["differ", "class names"]),
        (lambda tmp_path: {"path": tmp_path / "nowhere"}, ["nowhere", "no such file"]),
        (lambda tmp_path: {"path": tmp_path}, ["no *.parquet file"]),
        (lambda tmp_path: other_size(tmp_path) | {"path": tmp_path, "split": "dev"}, ["'dev'", "s.parquet"]),
    ],
)
def test_a_defect_of_a_parquet_file_is_one_sentence_that_names_it(
    tmp_path: Path, defect: Callable[[Path], dict[str, Any]], words: list[str]
) -> None:
    with pytest.raises(DataError) as error:
        load_parquet(**defect(tmp_path))
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(array))


def test_sub_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    images = random_images(3)
    for name, image in zip(("dog/0.png", "cat/b.png", "cat/a.png"), images, strict=True):
        save(tmp_path / name, image)
    (tmp_path / "cat" / "notes.txt").write_text("passed over")
    (tmp_path / ".hidden").mkdir()
    pool = load_folder(path=tmp_path)
    np.testing.assert_array_equal(pool.images[..., 0], images[[2, 1, 0]])
    assert pool.labels is not None
    assert pool.labels.tolist() == [0, 0, 1]
    assert pool.classes == ("cat", "dog")


def test_a_folder_without_sub_folders_has_no_labels(tmp_path: Path) -> None:
    images = random_images(2, (4, 4, 3))
    for name, image in zip(("2.png", "10.png"), images, strict=True):
        save(tmp_path / name, image)
    pool = load_folder(path=tmp_path)
    np.testing.assert_array_equal(pool.images, images[::-1])
    assert pool.labels is None


def test_a_defect_of_a_folder_is_one_sentence_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_folder(path=tmp_path / "nowhere")
    with pytest.raises(DataError, match="no image in this folder"):
        load_folder(path=tmp_path)
    save(tmp_path / "cat" / "a.png", random_images(1)[0])
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match=r"dog: there is no image"):
        load_folder(path=tmp_path)
    (tmp_path / "dog" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(DataError, match=r"b\.png"):
        load_folder(path=tmp_path)
    save(tmp_path / "loose.png", random_images(1)[0])
    with pytest.raises(DataError, match=r"loose\.png"):
        load_folder(path=tmp_path)


def real(name: str) -> Path:
    folder = os.environ.get("DIFGEN_TEST_DATA")
    if not folder:
        pytest.skip("DIFGEN_TEST_DATA is not set")
    return Path(folder) / name


def seconds_of(work: Callable[[], object]) -> float:
    """Of processor, whatever else runs."""
    start = time.process_time()
    work()
    return time.process_time() - start


def test_reading_takes_little_more_than_decoding() -> None:
    path = real("fashion_mnist")

    def decode() -> np.ndarray:
        encoded = pq.read_table(path / "test-00000-of-00001.parquet").column("image").to_pylist()
        return np.stack([np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in encoded])

    ratios = [seconds_of(lambda: load_parquet(path=path, split="test")) / seconds_of(decode) for _ in range(2)]
    assert min(ratios) < 3  # 1.3 to 1.8 with nothing else running


def test_sixty_thousand_images_are_read() -> None:
    pool = load_parquet(path=real("fashion_mnist"), split="train")
    assert pool.images.shape == (60_000, 28, 28, 1)
    assert pool.labels is not None
    assert np.bincount(pool.labels).tolist() == [6000] * 10
    assert pool.classes[::9] == ("T-shirt/top", "Ankle boot")
    assert pool.images.mean() == pytest.approx(255 * 0.2860, rel=1e-3)  # the set's published mean
