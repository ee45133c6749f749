"""Copies that were moved, mirrored, toned or smoothed, on synthetic images, digits and photographs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from difgen_cli.data import scaled
from difgen_cli.data.digits import load
from difgen_cli.metrics import Result, Value, _alignment, aligned, wilson
from difgen_cli.metrics._alignment import AlignmentReference, inside, sides, unit
from difgen_cli.metrics.aligned import COLUMNS, HOW, TABLES, changed, measure
from difgen_cli.neighbours import mirror

Arrays = dict[str, np.ndarray]
Images = tuple[np.ndarray, np.ndarray, np.ndarray]  # training, held-out and new ones
Change = Callable[[np.ndarray], np.ndarray]
REAL = Path(os.environ.get("DIFGEN_TEST_DATA", ""))
PHOTOGRAPHS = [pytest.param(name, marks=pytest.mark.long) for name in ("fashion_mnist", "cifar10")]
KINDS = ("shifted", "mirrored", "toned", "smoothed")


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def synthetic(n: int) -> np.ndarray:
    """(n, 16, 16, 3), as smooth as photographs are."""
    noise = np.random.default_rng(1).standard_normal((n, 16, 16, 3))
    images = gaussian_filter(noise, (0, 1, 1, 0)) + 2 * gaussian_filter(noise, (0, 3, 3, 0))
    return np.asarray(0.8 * images / abs(images).max(axis=(1, 2, 3), keepdims=True), np.float32)


def photographs(name: str, n: int) -> np.ndarray:
    if "DIFGEN_TEST_DATA" not in os.environ or not (REAL / name).is_dir():
        pytest.skip(f"DIFGEN_TEST_DATA names no folder with {name}/")
    batch = next(pq.ParquetFile(min((REAL / name).glob("train-*.parquet"))).iter_batches(n))
    column = next(c for c in batch.columns if pa.types.is_struct(c.type))
    images = [np.asarray(Image.open(io.BytesIO(png))) for png in column.field("bytes").to_pylist()]
    return scaled(np.stack(images).reshape(n, *images[0].shape[:2], -1))


@pytest.fixture(scope="module", params=["synthetic", "digits", *PHOTOGRAPHS])
def world(request: pytest.FixtureRequest) -> Images:
    if request.param == "digits":
        images = scaled(load().images[np.random.default_rng(0).permutation(1797)[:480]])
    else:
        images = synthetic(480) if request.param == "synthetic" else photographs(request.param, 480)
    train, held_out, new = np.split(images, [300, 440])
    return train, held_out, new


def stored(images: np.ndarray) -> np.ndarray:
    """As a file of 8 bits holds them."""
    return np.asarray(np.clip(np.rint((images + 1) * 127.5), 0, 255) / 127.5 - 1, np.float32)


def moved(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """By so many pixels, the edge repeated."""
    wide = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    return wide[:, 1 - rows : 1 - rows + images.shape[1], 1 - columns : 1 - columns + images.shape[2]]


def blurred(sigma: float, mode: str = "nearest") -> Change:
    return lambda x: stored(gaussian_filter(x, (0, sigma, sigma, 0), mode=mode))


CHANGES: dict[str, tuple[Change, str]] = {
    "moved to the right": (lambda x: moved(x, 0, 1), "shifted"),
    "moved diagonally": (lambda x: moved(x, -1, 1), "shifted"),
    "moved and toned": (lambda x: stored(0.85 * moved(x, 1, 0) + 0.05), "shifted"),
    "mirrored": (mirror, "mirrored"),
    "mirrored and moved": (lambda x: moved(mirror(x), 1, 0), "mirrored"),
    "contrast": (lambda x: stored(0.6 * x), "toned"),
    "brightness": (lambda x: stored(0.8 * x - 0.2), "toned"),
    "blurred by one pixel": (blurred(1), "smoothed"),
    "blurred by two pixels": (blurred(2), "smoothed"),
    "blurred, reflected at the border": (blurred(1, "reflect"), "smoothed"),
}


KEPT: dict[tuple[bytes, bytes, bool], Arrays] = {}


def run(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, mirrored: bool = False) -> Result:
    """What all samples share is computed once for each training set, as a worker does."""
    key = train.tobytes(), held_out.tobytes(), mirrored

    def kept(_: str, compute: Callable[[], Arrays]) -> Arrays:
        if key not in KEPT:
            KEPT[key] = compute()
        return KEPT[key]

    return measure(samples, train, held_out, kept, mirrored)


def measured(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, mirrored: bool = False) -> dict[str, Value]:
    return run(samples, train, held_out, mirrored).values


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_caught_and_told_by_what_was_done_to_them(change: str, world: Images) -> None:
    train, held_out, _ = world
    made, kind = CHANGES[change]
    result = run(made(train[:60]), train, held_out)
    values, table = result.values, result.tables["aligned"]
    assert values["aligned_power"] >= 0.97  # type: ignore[operator]
    assert values["aligned_control"] <= 0.01  # type: ignore[operator]
    assert values["aligned_smoothed_control"] <= 0.01  # type: ignore[operator]
    if kind != "smoothed":
        assert values["aligned_frac"] >= 0.98  # type: ignore[operator]
    plain = (table["how"] == "plain").mean()
    assert values[f"aligned_{kind}"] >= 0.94 - plain  # type: ignore[operator]
    right = np.isin(table["how"], ["plain", kind])
    assert (table["nn_index"][right] == np.arange(60)[right]).mean() > 0.97
    assert sum(values[f"aligned_{k}"] for k in KINDS) <= 1 - plain + 1e-9  # type: ignore[misc]


@pytest.mark.parametrize("change", ["none", "moved diagonally", "mirrored", "contrast", "blurred by one pixel",
                                    "blurred by two pixels"])  # fmt: skip
def test_unseen_images_are_no_copies_however_they_are_changed(change: str, world: Images) -> None:
    train, held_out, new = world
    made = CHANGES[change][0] if change != "none" else np.asarray
    values = measured(made(np.concatenate([new, held_out[:40]])), train, held_out)
    assert max(float(values[name] or 0) for name in ("aligned_frac", *[f"aligned_{k}" for k in KINDS])) <= 0.01


def test_what_the_plain_rule_catches_is_explained_by_nothing(world: Images) -> None:
    train, held_out, new = world
    samples = np.concatenate([train[:30], new[:10]])
    values = measured(samples, train, held_out)
    assert values["aligned_frac"] == 0.75
    assert (values["aligned_frac_lo"], values["aligned_frac_hi"]) == wilson(30, 40)
    assert [values[f"aligned_{k}"] for k in KINDS] == [0, 0, 0, 0]
    mirrored = measured(mirror(samples), train, held_out, True)
    assert (mirrored["aligned_frac"], mirrored["aligned_mirrored"]) == (0.75, 0)


@pytest.mark.parametrize("how", ["mirrored", "moved diagonally", "contrast", "twice"])
def test_a_training_set_that_holds_its_images_changed_too_hides_no_copy(how: str, world: Images) -> None:
    train, held_out, new = world
    others = CHANGES[how][0](train[:100]) if how != "twice" else train[:100]
    values = measured(CHANGES["moved to the right"][0](train[:50]), np.concatenate([train[:100], others]), held_out)
    assert values["aligned_frac"] >= 0.96  # type: ignore[operator]
    assert measured(new, np.concatenate([train[:100], others]), held_out)["aligned_frac"] <= 0.02  # type: ignore[operator]


def test_images_of_one_colour_are_never_copies_nor_neighbours(world: Images) -> None:
    train, held_out, _ = world
    grey = np.full_like(train[:20], 0.3)
    values = measured(np.concatenate([grey, train[:20]]), np.concatenate([grey[:3] - 0.5, train]), held_out)
    assert values["aligned_frac"] == 0.5
    nothing = measured(train[:5], grey, held_out)
    assert set(nothing.values()) == {None}


def test_noise_is_not_told_as_a_change(world: Images) -> None:
    train, held_out, _ = world
    noisy = stored(train[:60] + 0.1 * np.random.default_rng(0).standard_normal(train[:60].shape))
    values = measured(noisy, train, held_out)
    assert max(float(values[f"aligned_{k}"] or 0) for k in KINDS) <= 0.04


def test_distances_are_those_of_brute_force(world: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    train, _, new = world
    train, queries = train[:50], np.concatenate([new[:12], moved(train[:4], 1, 1)])
    exact = np.full((len(queries), len(train)), np.inf)
    height, width = train.shape[1:3]
    for i, query in enumerate(queries):
        for side in (query, query[:, ::-1]):
            for r in range(3):
                for c in range(3):
                    a = side[r : r + height - 2, c : c + width - 2].astype(np.float64).ravel()
                    for j, image in enumerate(train):
                        b = image[1:-1, 1:-1].astype(np.float64).ravel()
                        cosine = np.corrcoef(a, b)[0, 1]
                        exact[i, j] = min(exact[i, j], np.sqrt(max(0, 2 - 2 * cosine)))
    for most in (1 << 26, 1 << 12):  # at once, and in parts
        monkeypatch.setattr(_alignment, "MOST", most)
        distances, places = AlignmentReference(train, np.arange(50), 1).aligned(queries)
        np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :2], atol=1e-5)
        np.testing.assert_array_equal(places[:, 0], exact.argmin(axis=1))


def test_smoothing_is_scipys() -> None:
    images = synthetic(5)
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    for border, mode in (("edge", "nearest"), ("symmetric", "reflect")):
        for sigma in (0.6, 1.0, 2.2):
            at = _alignment.LEAST * np.exp(
                _alignment.STEP * np.rint(np.log(sigma / _alignment.LEAST) / _alignment.STEP)
            )
            expected = gaussian_filter(planes.astype(np.float64), (0, 0, at, at), mode=mode)
            found = _alignment.smoothed(planes, sigma, border)
            np.testing.assert_allclose(found, expected, atol=2e-3)


def test_each_pair_has_the_smoothing_that_fits_it_best(world: Images) -> None:
    train = world[0][:6]
    made = np.concatenate([blurred(s)(train[i : i + 1]) for i, s in enumerate((0.6, 0.9, 1.2, 1.5, 1.9, 2.4))])
    found = AlignmentReference(train, np.arange(6), 1).fitted(made, np.arange(6)[:, None])
    plain = np.linalg.norm(unit(inside(made, 1)) - unit(inside(train, 1)), axis=1)
    assert (found[:, 0] < 0.2 * plain).all()


def test_points_and_images_too_small_to_be_moved_have_no_values() -> None:
    rng = np.random.default_rng(0)
    for shape in ((2,), (3, 9, 1)):
        x = rng.standard_normal((20, *shape)).astype(np.float32)
        result = measure(x[:5], x[5:10], x[10:], shared)
        assert set(result.values) == set(COLUMNS)
        assert set(result.values.values()) == {None}
        assert {len(column) for column in result.tables["aligned"].values()} == {0}


def test_without_held_out_images_controls_are_missing_and_the_rest_is_the_same(world: Images) -> None:
    train, held_out, _ = world
    samples = moved(train[:20], 0, 1)
    alone, beside = (measured(samples, train, h) for h in (held_out[:0], held_out))
    controls = {name for name in COLUMNS if "control" in name}
    assert {name for name, value in alone.items() if value is None} == controls
    assert all(alone[name] == beside[name] for name in set(COLUMNS) - controls)


def test_every_column_has_its_type_and_a_larger_shift_finds_more(world: Images) -> None:
    train, held_out, _ = world
    result = run(train[:10], train, held_out)
    for name, (kind, *_) in COLUMNS.items():
        assert type(result.values[name]) is {"float64": float}[kind], name
    table = result.tables["aligned"]
    assert list(table) == list(TABLES["aligned"])
    assert set(table["how"]) <= set(HOW)
    if train.shape[1] > 8:
        far = moved(moved(train[:30], 0, 1), 0, 1)
        near, farther = (measure(far, train, held_out, shared, shift=s).values["aligned_frac"] for s in (1, 2))
        assert farther == 1
        assert near < 0.7  # type: ignore[operator]


def test_one_or_two_training_images(world: Images) -> None:
    train, held_out, _ = world
    for one in (train[:1], train[[0] * 5], np.concatenate([train[:1], mirror(train[:1])])):
        assert set(measured(train[:3], one, held_out).values()) == {None}
    assert measured(mirror(train[:2]), train[:2], held_out)["aligned_frac"] == 1


def test_probes_are_changed_in_each_way() -> None:
    images = synthetic(300)
    made = changed(images, 1)
    ways = AlignmentReference(images, np.arange(300), 1).ways(made, np.arange(300))
    kinds = np.digitize(ways.argmin(axis=1), [1, 9])
    assert (np.bincount(kinds, minlength=3) > 70).all()
    assert (ways.min(axis=1) < 0.1).all()
    assert len(sides(images, 1)) == 18


def test_without_samples_one_sentence_says_so(world: Images) -> None:
    train, held_out, _ = world
    with pytest.raises(ValueError, match="aligned needs samples and training images: there are 0 and 300"):
        measured(train[:0], train, held_out)


def test_the_metric_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys; import difgen_cli.metrics.aligned; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert aligned.VERSION == 1
