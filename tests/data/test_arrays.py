"""NumPy files as the tools of the field write them, and what is said of those that cannot be used."""

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difgen_cli.data import DataError, LabelError
from difgen_cli.data.files import listing
from difgen_cli.data.files import load as load_files
from difgen_cli.data.npz import load

IMAGES = np.random.default_rng(3).integers(0, 256, (5, 6, 6, 3), np.uint8)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_the_files_of_adm_and_edm_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", arr_0=IMAGES, arr_1=np.array([3, 1, 1, 0, 2]))
    pool = load_files(path=path)
    np.testing.assert_array_equal(pool.images, IMAGES)
    assert pool.labels is not None
    assert pool.labels.tolist() == [3, 1, 1, 0, 2]
    assert listing(path) == (5, (6, 6, 3))
    assert load(path=saved(tmp_path / "b.npz", arr_0=IMAGES, arr_1=np.zeros((5, 2)))).labels is None


def test_a_single_array_is_read_whatever_it_is_called_and_of_several_the_named_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", samples=IMAGES, seeds=np.arange(5))
    np.testing.assert_array_equal(load(path=path).images, IMAGES)
    several = saved(
        tmp_path / "b.npz", x_train=IMAGES, y_train=np.array([[0], [1], [1], [0], [1]])[:, 0], x_test=IMAGES[:2]
    )
    with pytest.raises(
        DataError, match=r"neither `images` nor `points`, only x_train \(uint8, 5 × 6 × 6 × 3\), y_train"
    ):
        load(path=several)
    pool = load_files(path=several, image="x_train", label="y_train")
    assert pool.labels is not None
    assert pool.labels.tolist() == [0, 1, 1, 0, 1]
    for name, setting in (("image", {"image": "x"}), ("label", {"image": "x_train", "label": "x"})):
        with pytest.raises(DataError, match=rf"b\.npz: there is no array `x`, only .*: correct data\.{name}"):
            load(path=several, **setting)


def test_a_plain_array_is_read(tmp_path: Path) -> None:
    for of in (IMAGES, IMAGES[..., 0], np.zeros((5, 2), np.float32)):
        np.save(tmp_path / "a.npy", of)
        pool = load_files(path=tmp_path / "a.npy")
        np.testing.assert_array_equal(pool.images.reshape(of.shape), of)
        assert listing(tmp_path / "a.npy") == (5, pool.images.shape[1:])


@pytest.mark.parametrize("name", ["images", "arr_0", "points"])
@pytest.mark.parametrize(
    ("array", "words"),
    [
        (IMAGES.transpose(0, 3, 1, 2), r"shape \(5, 3, 6, 6\), .*channels come last, transpose it by x.transpose"),
        (IMAGES[:, None, :, :, 0], r"shape \(5, 1, 6, 6\), .*channels come last"),
        ((IMAGES / 255).astype(np.float32), r"float32 with values from \S+ to \S+, not uint8: .* by \(255 \* x\)"),
        ((IMAGES / 127.5 - 1).astype(np.float16), r"float16 with values from -1 to \S+, not uint8: .* by \(127\.5"),
        (IMAGES.astype(np.int64), r"int64 with values from 0 to 255, not uint8: convert it by x\.round\(\)\.astype"),
        (IMAGES.astype(np.float64), r"float64 with values from 0 to 255, not uint8: convert it by x\.round"),
        (IMAGES > 99, r"bool with values from 0 to 1, not uint8: convert it by \(255 \* x\)"),
        (IMAGES.astype(np.uint16) * 257, r"uint16 with values from 0 to 65535, not uint8: convert it$"),
        (np.full((5, 6, 6, 3), np.nan, np.float32), r"float32, not uint8, and holds NaN"),
        (IMAGES[..., [0] * 5], r"shape \(5, 6, 6, 5\), not \(M, H, W\)"),
        (np.uint8(3), r"shape \(\)"),
        (np.zeros(3, np.uint8), r"shape \(3,\)"),
    ],
)  # fmt: skip
def test_listing_and_reader_say_the_same_of_arrays_that_cannot_be_used(
    tmp_path: Path, name: str, array: np.ndarray, words: str
) -> None:
    path = saved(tmp_path / "a.npz", **{name: array})
    if name == "points":
        words = r"`points` (is \w+, not float32: convert it|has the shape .*, not \(M, D\))"
    for read in (listing, lambda path: load(path=path)):
        with pytest.raises(DataError, match=words) as error:
            read(path)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)


def test_the_conversions_that_are_named_give_back_the_images(tmp_path: Path) -> None:
    for x, remedy in (
        ((IMAGES / 255).astype(np.float32), lambda x: (255 * x).round().astype("uint8")),
        ((IMAGES / 127.5 - 1).astype(np.float32), lambda x: (127.5 * x + 127.5).round().astype("uint8")),
        (IMAGES.astype(np.int64), lambda x: x.round().astype("uint8")),
    ):
        np.testing.assert_array_equal(load(path=saved(tmp_path / "a.npz", images=remedy(x))).images, IMAGES)


def test_opaque_alpha_is_dropped_and_conversions_are_those_of_files(tmp_path: Path) -> None:
    opaque = np.concatenate([IMAGES, np.full((5, 6, 6, 1), 255, np.uint8)], axis=-1)
    path = saved(tmp_path / "a.npz", images=opaque)
    np.testing.assert_array_equal(load(path=path).images, IMAGES)
    assert listing(path) == (5, (6, 6, 3))
    opaque[2, 0, 0, 3] = 7
    with pytest.raises(DataError, match=r"a\.npz, image 2: images of mode RGBA are not supported"):
        load(path=saved(path, images=opaque))
    pool = load(path=path, mode="grey", resize=2)
    assert pool.images.shape == (5, 2, 2, 1)
    assert pool.notes == ("1 of the images has transparent pixels: transparency is dropped",)
    with pytest.raises(LabelError, match=r"`labels` of shape \(4,\).* do not fit 5 images"):
        load(path=saved(path, images=IMAGES, labels=np.arange(4)))


def forged(shape: str, data: bytes) -> bytes:
    """A .npy file whose header claims a shape."""
    file = io.BytesIO()
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_a_header_that_claims_more_than_is_there_allocates_nothing(tmp_path: Path, suffix: str) -> None:
    path, data = tmp_path / f"a{suffix}", forged("(30000000000000, 1, 1, 1)", b"1234")
    if suffix == ".npy":
        path.write_bytes(data)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", data)
    for read in (listing, load_files):
        with pytest.raises(DataError, match="claims 30,000,000,000,000 bytes, and 4 are there"):
            read(path=path)


@pytest.mark.parametrize("cut", [0, 4, 60, -1])
def test_a_file_cut_anywhere_is_one_sentence(tmp_path: Path, cut: int) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:cut])
    with pytest.raises(DataError, match=r"a\.npy: (this file cannot be read|the header of the array claims)"):
        load(path=tmp_path / "a.npy")


def archive(tmp_path: Path, **arrays: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.savez(tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


def test_npz_holds_images_labels_and_names_or_points(tmp_path: Path) -> None:
    images = IMAGES[:3, ..., 0]
    pool = load(path=archive(tmp_path, images=images, labels=np.array([1, 0, 1], np.uint8), classes=["a", "b"]))
    np.testing.assert_array_equal(pool.images[..., 0], images)
    assert pool.labels is not None
    assert (pool.labels.dtype, pool.labels.tolist(), pool.classes) == (np.int64, [1, 0, 1], ("a", "b"))
    points = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    np.testing.assert_array_equal(load(path=archive(tmp_path, points=points)).images, points)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"x_train": np.zeros((2, 2, 2), np.uint8), "x_test": np.zeros((2, 2, 2), np.uint8)},
            ["neither `images` nor `points`", "x_train (uint8, 2 × 2 × 2)", "data.image"],
        ),
        ({"images": np.zeros((2, 2, 2), np.float32)}, ["`images` is float32", "uint8"]),
        ({"points": np.zeros((2, 2))}, ["`points` is float64", "float32"]),
        ({"points": np.array([[0, 1], [np.nan, 1]], np.float32)}, ["row 1", "NaN"]),
        ({"points": np.array([[0, np.inf]], np.float32)}, ["row 0", "infinite"]),
        ({"images": np.zeros((2, 2), np.uint8)}, ["shape (2, 2)"]),
        ({"images": np.zeros((0, 2, 2), np.uint8)}, ["shape (0, 2, 2, 1)"]),
        ({"images": np.zeros((2, 2, 2), np.uint8), "labels": np.arange(3)}, ["(3,)", "2 images"]),
        ({"images": np.zeros((2, 2, 2), np.uint8), "labels": np.ones(2)}, ["float64", "whole number"]),
        ({"images": np.zeros((2, 2, 2), np.uint8), "labels": np.array([0, -1])}, ["label -1 of image 1"]),
        ({"images": np.array([{}, {}], dtype=object)}, ["pickled", "code"]),
    ],
)
def test_a_defect_of_an_npz_is_one_sentence_that_names_it(
    tmp_path: Path, arrays: dict[str, np.ndarray], words: list[str]
) -> None:
    with pytest.raises(DataError) as error:
        load(path=archive(tmp_path, **arrays))
    message = str(error.value)
    assert "a.npz" in message
    assert all(word in message for word in words), message


def test_files_that_are_no_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load(path=tmp_path / "nowhere.npz")
    for content in (b"text", b"PK\x03\x04cut"):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"x\.npz"):
            load(path=tmp_path / "x.npz")
    np.save(tmp_path / "y.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"neither `images` nor `points`, only an array \(float64, 3\)"):
        load(path=tmp_path / "y.npy")


def test_arrays_that_are_not_read_are_named(tmp_path: Path) -> None:
    images = np.zeros((3, 4, 4), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(3), classes=np.array(["a", "b", "c"]))
    assert load(path=tmp_path / "a.npz").notes == ()
    np.savez(tmp_path / "a.npz", images=images, points=np.zeros((3, 2), np.float32), mu=np.zeros(5))
    assert load(path=tmp_path / "a.npz").notes == (
        f"not read of {tmp_path}/a.npz: points (float32, 3 × 2), mu (float64, 5)",
    )
