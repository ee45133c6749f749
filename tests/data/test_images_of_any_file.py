"""Image files as people have them: what of them is applied, what is converted when asked for, and what is said."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from difgen_cli.data import Conversion, DataError, decode
from difgen_cli.data._decoding import notes, suffixes
from difgen_cli.data.folder import load

SEEN = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)  # upright, as a person sees it
TURNS = {  # EXIF's tag -> how a file stores what is seen
    1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1), 6: lambda x: x.swapaxes(0, 1)[::-1], 7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x.swapaxes(0, 1)[:, ::-1],
}  # fmt: skip


def encoded(array: np.ndarray, form: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(array))
    (image.convert(mode) if mode else image).save(file, form, **options)
    return file.getvalue()


def oriented(tag: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = tag
    return exif


def one(data: bytes, conversion: Conversion | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    seen: Counter[str] = Counter()
    return decode([data], 1, lambda _: "a file", conversion or Conversion(), seen)[0], notes(seen)


@pytest.mark.parametrize("tag", TURNS)
@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_an_image_is_turned_as_its_exif_says(tag: int, form: str, options: dict[str, Any]) -> None:
    if form == "TIFF":  # whose orientation is a tag of its own
        data = encoded(TURNS[tag](SEEN), form, tiffinfo={0x0112: tag})
    else:
        data = encoded(TURNS[tag](SEEN), form, exif=oriented(tag), **options)
    np.testing.assert_array_equal(one(data)[0], SEEN)


def test_a_photo_stored_sideways_is_the_photo_upright() -> None:
    photo = np.kron(SEEN, np.ones((8, 8, 1), np.uint8))
    stored = encoded(TURNS[6](photo), "JPEG", quality=95, exif=oriented(6))
    plain = np.asarray(Image.open(io.BytesIO(encoded(TURNS[6](photo), "JPEG", quality=95))).rotate(270, expand=True))
    found, said = one(stored)
    np.testing.assert_array_equal(found, plain)
    assert found.shape == (48, 32, 3)
    assert said == ()
    assert np.array_equal(found, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(stored)))))


def test_metadata_that_cannot_be_read_turn_nothing() -> None:
    np.testing.assert_array_equal(one(encoded(SEEN, exif=b"Exif\0\0no metadata"))[0], SEEN)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_is_dropped_where_every_pixel_is_opaque_and_refused_where_one_is_not(mode: str) -> None:
    image = Image.fromarray(SEEN).convert("L" if mode == "LA" else "RGB")
    plain = np.asarray(image.convert("P").convert("RGB") if mode == "PA" else image)
    file, clear = io.BytesIO(), io.BytesIO()
    whole = image.convert("P").convert("PA") if mode == "PA" else image.convert(mode)
    whole.save(file, "TIFF" if mode == "PA" else "PNG")
    np.testing.assert_array_equal(one(file.getvalue())[0], plain.reshape(6, 4, -1))
    whole.putalpha(Image.new("L", whole.size, 200))
    whole.save(clear, "TIFF" if mode == "PA" else "PNG")
    with pytest.raises(DataError, match=f"mode {mode} are not supported: convert .* or use --set data.mode=rgb"):
        one(clear.getvalue())
    found, said = one(clear.getvalue(), Conversion("rgb"))
    assert found.shape == (6, 4, 3)
    assert said == ("1 of the images has transparent pixels: transparency is dropped",)


def test_a_palette_with_transparency_is_read_where_no_pixel_is_transparent() -> None:
    palette = Image.fromarray(SEEN).convert("P", palette=Image.Palette.ADAPTIVE)
    shown = np.asarray(palette.convert("RGB"))
    used, unused = int(np.asarray(palette)[0, 0]), 255
    for index, opaque in ((unused, True), (used, False)):
        file = io.BytesIO()
        palette.save(file, "PNG", transparency=index)
        if opaque:
            np.testing.assert_array_equal(one(file.getvalue())[0], shown)
        else:
            with pytest.raises(DataError, match="mode P with transparency"):
                one(file.getvalue())


@pytest.mark.parametrize(("mode", "channels"), [("rgb", 3), ("grey", 1)])
@pytest.mark.parametrize("stored", ["L", "RGB", "CMYK", "P", "1"])
def test_any_mode_of_eight_bits_becomes_the_one_that_is_asked_for(mode: str, channels: int, stored: str) -> None:
    image = Image.fromarray(SEEN).convert(stored)
    file = io.BytesIO()
    image.save(file, "TIFF")
    expected = image if stored in ("L", "1") and mode == "grey" else image.convert("RGB")
    expected = expected.convert("RGB" if mode == "rgb" else "L")
    found = one(file.getvalue(), Conversion(mode))[0]
    np.testing.assert_array_equal(found, np.asarray(expected).reshape(6, 4, channels))


def test_sixteen_bits_are_refused_whatever_is_asked_for() -> None:
    for conversion in (Conversion(), Conversion("rgb")):
        with pytest.raises(DataError, match="mode I;16 are not supported: convert them to 8-bit L or RGB"):
            one(encoded(np.zeros((4, 4), np.uint16)), conversion)


@pytest.mark.parametrize("name", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
def test_resizing_is_what_pillow_makes_of_it_by_the_filter_that_is_named(name: str) -> None:
    expected = Image.fromarray(SEEN).resize((3, 3), Image.Resampling[name.upper()])
    np.testing.assert_array_equal(one(encoded(SEEN), Conversion(None, 3, name))[0], np.asarray(expected))


def test_images_of_several_sizes_and_modes_are_read_together_when_asked_for(tmp_path: Path) -> None:
    for name, image in {"a": SEEN, "b": SEEN[:4], "c": SEEN[..., 0]}.items():
        Image.fromarray(np.ascontiguousarray(image)).save(tmp_path / f"{name}.png")
    with pytest.raises(DataError, match=r"b\.png: this image is 4 × 4 .* convert them by --set data.resize=4$"):
        load(path=tmp_path)
    pool = load(path=tmp_path, mode="rgb", resize=4)
    assert pool.images.shape == (3, 4, 4, 3)
    np.testing.assert_array_equal(pool.images[1], SEEN[:4])


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_more_frames_than_one_are_counted_and_the_first_is_read(form: str) -> None:
    frames = [Image.fromarray(np.full((4, 4, 3), level, np.uint8)) for level in (0, 255)]
    file = io.BytesIO()
    frames[0].save(
        file, form, save_all=True, append_images=frames[1:], **({"lossless": True} if form == "WEBP" else {})
    )
    found, said = one(file.getvalue())
    assert not found.any()
    assert said == ("1 of the images has more frames than one: only the first of each is read",)


def test_a_colour_profile_that_is_not_applied_is_counted() -> None:
    for options, known in (
        ({"icc_profile": b"Adobe RGB (1998)"}, False),
        ({"icc_profile": b"sRGB IEC61966-2.1"}, True),
    ):
        found, said = one(encoded(SEEN, **options))
        np.testing.assert_array_equal(found, SEEN)
        profiled = ("1 of the images has a colour profile that is not applied: values are taken as they are stored",)
        assert said == (() if known else profiled)


@pytest.mark.parametrize("suffix", [".avif", ".jfif", ".JPE", ".tga", ".jp2", ".pnm", ".ico", ".qoi", ".apng"])
def test_whatever_pillow_reads_is_an_image(tmp_path: Path, suffix: str) -> None:
    assert suffix.lower() in suffixes()
    grey = np.kron(SEEN[:4, :, 0], np.ones((8, 8), np.uint8))
    Image.fromarray(grey).convert("RGB").save(tmp_path / f"a{suffix}")
    pool = load(path=tmp_path, mode="rgb")
    assert len(pool.images) == 1
    assert abs(pool.images[0].astype(int).mean() - grey.mean()) < 6
    assert pool.notes == () or suffix == ".ico"


def test_what_runs_other_programs_or_holds_no_pixels_is_never_opened(tmp_path: Path) -> None:
    assert not {".eps", ".ps", ".pdf", ".wmf", ".h5", ".grib", ".mpg"} & suffixes()
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EOF\n")
    with pytest.raises(DataError, match=r"a\.png: this is not an image"):
        load(path=tmp_path)


def test_a_pointer_of_git_lfs_is_told_from_a_broken_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(DataError, match=r"a\.png: this is a pointer of Git LFS.*git lfs pull"):
        load(path=tmp_path)
