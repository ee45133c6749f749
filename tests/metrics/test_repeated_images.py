"""Repeats and near-duplicates of a training image are one image: what memorization says of planted worlds."""

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

from difgen_cli.data import scaled
from difgen_cli.metrics import Value, memorization, wilson
from difgen_cli.neighbours import mirror, nearer, nearest

Arrays = dict[str, np.ndarray]
Images = tuple[np.ndarray, np.ndarray, np.ndarray]  # training, held-out and new ones, all distinct
REAL = Path(os.environ.get("DIFGEN_TEST_DATA", ""))
PHOTOGRAPHS = [pytest.param(name, marks=pytest.mark.long) for name in ("fashion_mnist", "cifar10")]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def synthetic(n: int) -> np.ndarray:
    """(n, 16, 16, 3) that vary slowly, each pixel within [−1, 1] and its mirror image another image."""
    noise = np.random.default_rng(1).uniform(-1, 1, (n, 16, 16, 3)).cumsum(axis=1).cumsum(axis=2)
    return np.asarray(noise / abs(noise).max(axis=(1, 2, 3), keepdims=True), np.float32)


def photographs(name: str, n: int) -> np.ndarray:
    """The first n of a data set, as its Parquet files hold them."""
    if not (REAL / name).is_dir() or "DIFGEN_TEST_DATA" not in os.environ:
        pytest.skip(f"DIFGEN_TEST_DATA names no folder with {name}/")
    batch = next(pq.ParquetFile(min((REAL / name).glob("train-*.parquet"))).iter_batches(n))
    column = next(c for c in batch.columns if pa.types.is_struct(c.type))
    images = [np.asarray(Image.open(io.BytesIO(png))) for png in column.field("bytes").to_pylist()]
    return scaled(np.stack(images).reshape(n, *images[0].shape[:2], -1))


@pytest.fixture(scope="module", params=["synthetic", *PHOTOGRAPHS])
def world(request: pytest.FixtureRequest) -> Images:
    images = synthetic(600) if request.param == "synthetic" else photographs(request.param, 600)
    train, held_out, new = np.split(images, [200, 500])
    return train, held_out, new


def measured(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, mirrored: bool = False) -> dict[str, Value]:
    return memorization.measure(samples, train, held_out, shared, mirrored).values


def off_by(images: np.ndarray, rms: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(images.shape, np.float32)
    return images + np.float32(rms) * noise


def version_2(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, mirrored: bool) -> dict[str, Value]:
    """The formulas of version 2 for its main columns, which knew nothing of repeats."""

    def ratio(queries: np.ndarray) -> np.ndarray:
        d = nearest(queries, train, mirrored=mirrored)[0]
        return np.divide(d[:, 0], d[:, 1], out=np.ones(len(d)), where=d[:, 1] > 0)

    def tiled(queries: np.ndarray) -> np.ndarray:
        worst, half = np.zeros(len(queries)), [slice(None, train.shape[1] // 2), slice(train.shape[1] // 2, None)]
        for tile in ((slice(None), rows, columns) for rows in half for columns in half):
            d = nearest(queries[tile], train[tile])
            d = nearer(d, nearest(queries[tile], mirror(train)[tile])) if mirrored else d
            worst = np.maximum(worst, np.divide(d[0][:, 0], d[0][:, 1], out=np.ones(len(worst)), where=d[0][:, 1] > 0))
        return worst

    own, control = ratio(samples), ratio(held_out)
    noise = np.random.default_rng(1).standard_normal(train.shape, np.float32)
    within = nearest(train, train, 1, exclude_self=True, mirrored=mirrored)[0][:, 0]
    unique = len(np.unique(nearest(samples, train, mirrored=mirrored)[1][own < 1 / 3, 0]))
    radius = np.quantile(within / (4 * np.sqrt(train[0].size)), [0.1, 0.5])
    return {
        "mem_frac": float((own < 1 / 3).mean()), "mem_frac_half": float((own < 1 / 2).mean()),
        "mem_frac_lo": wilson(int((own < 1 / 3).sum()), len(own))[0],
        "mem_frac_control": float((control < 1 / 3).mean()),
        "mem_power": float((ratio(train + np.float32(0.1) * noise) < 1 / 3).mean()), "mem_unique": unique,
        "mem_radius_q10": float(radius[0]), "mem_radius_q50": float(radius[1]),
        "extracted_frac": unique / len(train), "extracted_cap": float(-np.expm1(-len(samples) / len(train))),
        "copy_auc": memorization.auroc(own, control), **memorization.copy_tail(own, control),
        "tile_copy_frac": float((tiled(samples) < 1 / 3).mean()),
        "tile_copy_frac_control": float((tiled(held_out) < 1 / 3).mean()),
    }  # fmt: skip


@pytest.mark.parametrize("mirrored", [False, True])
def test_without_repeats_every_number_is_version_2s_to_the_last_bit(world: Images, mirrored: bool) -> None:
    train, held_out, new = world
    train[:9, :8, :8] = -1  # images that share a quarter alone are no repeats
    samples = np.concatenate([train[:40], off_by(train[40:80], 0.2, 0), mirror(train)[80:90], new])
    found, expected = measured(samples, train, held_out, mirrored), version_2(samples, train, held_out, mirrored)
    assert found["train_distinct"] == len(train)
    assert {name: found[name] for name in expected} == expected


REPEATED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "twice": lambda t: np.concatenate([t, t]),
    "three times": lambda t: np.concatenate([t, t, t]),
    "30 of them three times": lambda t: np.concatenate([t, t[:30], t[:30]]),
    "with near-duplicates": lambda t: np.concatenate([t, off_by(t, 0.02, 3)]),
}


@pytest.mark.parametrize("how", REPEATED)
def test_copies_of_repeated_images_are_copies_and_held_out_images_are_none(how: str, world: Images) -> None:
    train, held_out, new = world
    repeated = REPEATED[how](train)
    copies = measured(train, repeated, held_out)
    assert (copies["mem_frac"], copies["mem_identical"], copies["mem_unique"]) == (1, 200, 200)
    assert (copies["train_distinct"], copies["extracted_frac"]) == (200, 1)
    assert copies["extracted_cap"] == pytest.approx(1 - np.exp(-1))
    assert copies["mem_frac_control"] <= 0.01  # type: ignore[operator]
    assert measured(new, repeated, held_out)["mem_frac"] <= 0.01  # type: ignore[operator]
    once = measured(train, train, held_out)
    if how != "with near-duplicates":
        for name in ("copy_auc", "copy_tail", "mem_frac_control", "tile_copy_frac", "tile_copy_frac_control"):
            assert copies[name] == once[name], name


def test_a_hundred_of_three_hundred_samples_equal_to_thirty_images_that_stand_three_times(world: Images) -> None:
    train, held_out, new = world
    repeated = REPEATED["30 of them three times"](train)
    samples = np.concatenate([new, held_out[200:], train[np.arange(100) % 30]])
    result = memorization.measure(samples, repeated, held_out[:200], shared)
    values, table = result.values, result.tables["neighbours"]
    assert values["mem_frac"] == pytest.approx(100 / 300, abs=0.007)
    assert values["mem_frac_lo"] < 1 / 3 < values["mem_frac_hi"]  # type: ignore[operator]
    assert (values["mem_identical"], values["sample_constant"]) == (100, 0)
    assert values["mem_unique"] in (30, 31, 32)
    assert (values["near_duplicates"], values["sample_distinct"]) == (90, 230)
    first = np.lexsort((table["d1"], table["nearness"]))[:100]
    assert sorted(first) == list(range(200, 300))


def test_mirrored_repeats_are_repeats_where_training_was_mirrored(world: Images) -> None:
    train, held_out, _ = world
    repeated = np.concatenate([train, mirror(train)[:50]])
    seen, unseen = (measured(mirror(train)[:100], repeated, held_out, mirrored) for mirrored in (True, False))
    assert (seen["mem_frac"], seen["mem_identical"], seen["train_distinct"]) == (1, 100, 200)
    assert (seen["mem_unique"], seen["sample_distinct"]) == (100, 100)
    assert (unseen["mem_identical"], unseen["train_distinct"]) == (50, 250)
    assert measured(held_out, repeated, held_out, True)["mem_frac"] <= 0.01  # type: ignore[operator]
    pairs = np.concatenate([train[:20], mirror(train)[:20]])
    assert [measured(pairs, train, held_out, m)["sample_distinct"] for m in (True, False)] == [20, 40]


def test_of_one_distinct_image_however_often_the_identical_samples_are_told(world: Images) -> None:
    train, held_out, _ = world
    for repeats in (1, 2, 50):
        result = memorization.measure(np.concatenate([train[:1], held_out[:9]]), train[[0] * repeats], held_out, shared)
        assert (result.values["mem_frac"], result.values["mem_identical"]) == (None, 1)
        table = result.tables["neighbours"]
        assert table["nearness"].argmin() == 0
        assert table["identical"].tolist() == [True] + [False] * 9
        assert np.isfinite(table["nearness"]).all()
    alone = memorization.measure(np.concatenate([held_out[:9], train[:1]]), train[:1], held_out[:0], shared)
    order = np.lexsort((alone.tables["neighbours"]["d1"], alone.tables["neighbours"]["nearness"]))
    assert order[0] == 9


def test_two_distinct_images_have_a_ratio(world: Images) -> None:
    train, held_out, _ = world
    values = measured(train[:2], train[[0, 1, 1, 1]], held_out)
    assert (values["mem_frac"], values["mem_unique"], values["extracted_frac"]) == (1, 2, 1)


def test_samples_of_one_image_or_one_colour_are_told(world: Images) -> None:
    train, held_out, new = world
    one = measured(new[[0] * 30], train, held_out)
    assert (one["sample_distinct"], one["sample_constant"], one["mem_identical"]) == (1, 0, 0)
    grey = np.concatenate([np.full_like(new[:30], 0.1), new[:10]])
    of_grey = measured(grey, train, held_out)
    assert (of_grey["sample_distinct"], of_grey["sample_constant"]) == (11, 30)
    colours = np.ones_like(new[:3]) * np.linspace(-1, 1, new.shape[-1], dtype=np.float32)
    assert measured(colours, train, held_out)["sample_constant"] == 3


def test_intervals_of_tiles_and_of_the_auroc_hold_their_values(world: Images) -> None:
    train, held_out, new = world
    values = measured(np.concatenate([train[:50], new]), train, held_out)
    for name in ("copy_auc", "tile_copy_frac", "tile_copy_frac_control"):
        assert values[f"{name}_lo"] <= values[name] <= values[f"{name}_hi"], name  # type: ignore[operator]
        assert values[f"{name}_lo"] < values[f"{name}_hi"], name  # type: ignore[operator]
    tiled = values["tile_copy_frac"]
    assert isinstance(tiled, float)
    assert (values["tile_copy_frac_lo"], values["tile_copy_frac_hi"]) == wilson(round(tiled * 150), 150)


def test_equal_points_are_one_point() -> None:
    points = np.random.default_rng(0).standard_normal((90, 2)).astype(np.float32)
    train, held_out = np.concatenate([points[:30], points[:30]]), points[30:]
    values = measured(points[:40], train, held_out)
    assert (values["mem_identical"], values["train_distinct"], values["sample_distinct"]) == (30, 30, 40)
    assert values["mem_frac"] >= 0.75  # type: ignore[operator]
    assert values["sample_constant"] is None
    assert values["near_duplicates"] is None
