"""The ratio rule and its companions: known answers on digits, closed forms, peers, and degenerate inputs."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from difgen_cli.data import Pool, scaled, sigma_data, split, to_uint8
from difgen_cli.data.digits import load
from difgen_cli.diffusion import IdealDenoiser, to_array, to_tensor
from difgen_cli.metrics import memorization, wilson
from difgen_cli.metrics.memorization import COLUMNS, TABLES, auroc, copy_tail, measure, tile_ratio
from difgen_cli.neighbours import Repeats, mirror

Arrays = dict[str, np.ndarray]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


@pytest.fixture(scope="module")
def digits() -> Pool:
    return load()


def parts(pool: Pool, size: int, held_out: int = 512, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    found = split(pool, size=size, held_out=held_out, seed=seed)
    return scaled(pool.images[found.train]), scaled(pool.images[found.held_out])


def sample(denoiser: IdealDenoiser, count: int, shape: tuple[int, ...], sigma_d: float) -> torch.Tensor:
    """Euler steps down Karras's schedule, enough of them for the ideal denoiser."""
    ramp = torch.linspace(0, 1, 60, dtype=torch.float64)
    levels = sigma_d * torch.cat([(80 ** (1 / 7) * (1 - ramp) + 0.002 ** (1 / 7) * ramp) ** 7, torch.zeros(1)])
    x = levels[0] * torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))
    for now, later in pairwise(levels):
        x = x + (later - now) * (x - denoiser(x, now.expand(count))) / now
    return x


def test_sampling_the_ideal_denoiser_of_eight_images_returns_those_images(digits: Pool) -> None:
    train, held_out = parts(digits, 8)
    sigma_d = sigma_data(digits.images)
    x = sample(IdealDenoiser(to_tensor(train), sigma_d), 200, (1, 8, 8), sigma_d)
    result = measure(scaled(to_uint8(to_array(x))), train, held_out, shared)
    assert result.values["mem_frac"] == 1
    assert result.values["mem_unique"] == 8
    assert result.values["extracted_frac"] == 1
    assert result.values["copy_auc"] == 1
    assert result.values["tile_copy_frac"] == 1
    assert (result.tables["neighbours"]["d1"] == 0).all()


@pytest.mark.parametrize("size", [8, 64, 512, 898])
def test_held_out_images_as_samples_are_not_memorized(digits: Pool, size: int) -> None:
    found = []
    for seed in range(4):
        train, held_out = parts(digits, size, 899, seed)
        values = measure(held_out, train, held_out, shared).values
        assert values["mem_frac"] == values["mem_frac_control"]
        assert values["copy_auc"] == 0.5
        assert values["copy_tail"] == pytest.approx(0.01, abs=0.002)
        found.append(values["mem_frac"])
    assert np.mean(np.array(found, float)) <= 0.002


def test_every_column_and_table_is_there_with_its_type(digits: Pool) -> None:
    train, held_out = parts(digits, 32)
    result = measure(held_out[:50], train, held_out, shared, left_out=0)
    assert set(result.values) == set(COLUMNS)
    for name, (kind, *_) in COLUMNS.items():
        assert type(result.values[name]) is {"float64": float, "int64": int}[kind], name
    assert {name: list(table) for name, table in result.tables.items()} == {n: list(t) for n, t in TABLES.items()}
    for column, values in result.tables["neighbours"].items():
        assert values.dtype == np.dtype(TABLES["neighbours"][column][0])
        assert len(values) == 50


def test_neighbours_and_ratios_equal_scikit_learns(digits: Pool) -> None:
    train, held_out = parts(digits, 200)
    result = measure(held_out, train, held_out[:100], shared)
    flat = [array.reshape(len(array), -1).astype(np.float64) for array in (train, held_out)]
    distances, indices = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(flat[0]).kneighbors(flat[1])
    table = result.tables["neighbours"]
    np.testing.assert_allclose(table["d1"], distances[:, 0], rtol=1e-6)
    np.testing.assert_allclose(table["d2"], distances[:, 1], rtol=1e-6)
    np.testing.assert_array_equal(table["nn_index"], indices[:, 0])
    assert result.values["mem_frac_half"] == (distances[:, 0] / distances[:, 1] < 0.5).mean()


def test_copies_are_counted_however_often_each_training_image_is_copied(digits: Pool) -> None:
    train, held_out = parts(digits, 50)
    samples = np.concatenate([train[[4] * 30], train[:10], held_out[:60]])
    values = measure(samples, train, held_out, shared).values
    assert values["mem_frac"] == 0.4
    assert (values["mem_frac_lo"], values["mem_frac_hi"]) == wilson(40, 100)
    assert values["mem_unique"] == 10
    assert values["extracted_frac"] == 0.2
    assert values["extracted_cap"] == pytest.approx(1 - np.exp(-100 / 50))


def test_any_displacement_within_the_radius_is_caught(digits: Pool) -> None:
    train, held_out = parts(digits, 100)
    radius = memorization._reference(train, held_out)["within"] / (4 * 8)  # rms over 64 pixels
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(train.shape)
    noise /= np.sqrt((noise**2).mean(axis=(1, 2, 3), keepdims=True))
    moved = train + 0.999 * radius[:, None, None, None] * noise
    values = measure(moved.astype(np.float32), train, held_out, shared).values
    assert values["mem_frac"] == 1
    assert values["mem_radius_q50"] == pytest.approx(np.median(radius))
    assert values["mem_radius_q10"] == pytest.approx(np.quantile(radius, 0.1))


def test_the_rule_loses_power_as_the_subset_grows(digits: Pool) -> None:
    subsets = [parts(digits, size) for size in (16, 128, 1024)]
    power = [measure(held_out, train, held_out, shared).values["mem_power"] for train, held_out in subsets]
    assert 1 >= power[0] > power[1] > power[2] > 0  # type: ignore[operator]
    assert power[0] > 0.9  # type: ignore[operator]


def test_a_collage_of_quarters_is_a_copy_of_tiles_and_of_no_image(digits: Pool) -> None:
    train, held_out = parts(digits, 128)
    rng = np.random.default_rng(0)
    collage = np.empty((200, 8, 8, 1), np.float32)
    for rows in (slice(4), slice(4, 8)):
        for columns in (slice(4), slice(4, 8)):
            collage[:, rows, columns] = train[rng.integers(128, size=200), rows, columns]
    values = measure(collage, train, held_out, shared).values
    assert values["mem_frac"] < 0.02  # type: ignore[operator]
    assert values["tile_copy_frac"] > 0.8  # type: ignore[operator]
    assert values["tile_copy_frac_control"] < 0.02  # type: ignore[operator]


def test_tiles_cover_images_of_odd_size() -> None:
    train = np.random.default_rng(0).uniform(-1, 1, (10, 5, 7, 3)).astype(np.float32)
    copies = train.copy()
    assert tile_ratio(copies, Repeats.of(train)) == pytest.approx(np.zeros(10))
    copies[0, 4, 6, 0] += 5  # the last pixel belongs to a tile
    worst = tile_ratio(copies, Repeats.of(train))
    assert worst is not None
    assert worst[0] > 0.3


def test_near_duplicates_within_t_are_counted_and_those_left_out_of_h_are_told(digits: Pool) -> None:
    train, held_out = parts(digits, 60)
    train[1], train[2] = train[0], train[0]
    train[3] = train[4] + 0.04
    train[5] = train[6] + 0.051
    values = measure(held_out, train, held_out, shared, left_out=2).values
    assert values["near_duplicates"] == 5
    assert values["near_duplicates_held_out"] == 2
    train[8] = mirror(train)[9]
    assert measure(held_out, train, held_out, shared).values["near_duplicates"] == 5
    assert measure(held_out, train, held_out, shared, mirrored=True).values["near_duplicates"] == 7


def test_auroc_equals_scikit_learns_with_ties() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.integers(0, 8, 70) / 8, rng.integers(2, 10, 50) / 8
    truth = np.repeat([1, 0], [70, 50])
    assert auroc(low, high) == pytest.approx(roc_auc_score(truth, -np.concatenate([low, high])))


@pytest.mark.parametrize("held_out", [99, 300, 1000])
def test_copy_tail_is_one_percent_without_copies_and_its_interval_covers(held_out: int) -> None:
    rng = np.random.default_rng(held_out)
    found = [copy_tail(rng.random(500), rng.random(held_out)) for _ in range(300)]
    values = np.array([[f["copy_tail"], f["copy_tail_lo"], f["copy_tail_hi"]] for f in found], float)
    assert values[:, 0].mean() == pytest.approx(0.01, abs=0.002)
    assert ((values[:, 1] <= 0.01) & (values[:, 2] >= 0.01)).mean() >= 0.95
    copies = copy_tail(np.zeros(500), rng.random(held_out))
    assert copies["copy_tail"] == 1


def test_the_tail_of_too_few_held_out_images_is_missing() -> None:
    assert set(copy_tail(np.zeros(10), np.ones(98)).values()) == {None}


@pytest.mark.parametrize(("count", "total"), [(0, 10), (1, 10), (500, 1000), (10, 10), (3, 1_000_000)])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_wilson_interval_equals_scipys(count: int, total: int, level: float) -> None:
    peer = binomtest(count, total).proportion_ci(level, "wilson")
    assert wilson(count, total, level) == pytest.approx((peer.low, peer.high), abs=1e-12)
    assert wilson(0, 0) == (0, 1)


def test_a_single_training_image_has_no_ratio(digits: Pool) -> None:
    train, held_out = parts(digits, 1)
    result = measure(held_out, train, held_out, shared)
    defined = {name for name, value in result.values.items() if value is not None}
    of_images = {"near_duplicates", "train_distinct", "sample_distinct", "sample_constant"}
    assert defined == {"extracted_cap", "mem_identical"} | of_images
    assert np.isnan(result.tables["neighbours"]["d2"]).all()
    assert not result.tables["neighbours"]["memorized"].any()


def test_a_training_set_of_one_image_six_times_has_no_ratio_and_its_copies_are_counted() -> None:
    train = np.zeros((6, 4, 4, 1), np.float32)
    values = measure(train, train, train, shared).values
    assert (values["mem_frac"], values["copy_auc"], values["near_duplicates"]) == (None, None, 6)
    assert (values["mem_identical"], values["train_distinct"], values["sample_distinct"]) == (6, 1, 1)
    assert values["extracted_cap"] == 1 - np.exp(-6)
    assert not any(value != value for value in values.values() if isinstance(value, float))


@pytest.mark.parametrize(("size", "held_out", "samples"), [(2, 1, 1), (2, 512, 3), (1, 1, 1), (3, 2, 5)])
def test_few_images_give_values_or_none_and_never_nan(digits: Pool, size: int, held_out: int, samples: int) -> None:
    train, others = parts(digits, size, 512)
    values = measure(others[:samples], train, others[:held_out], shared).values
    assert set(values) == set(COLUMNS)
    assert all(value is None or np.isfinite(value) for value in values.values())  # type: ignore[arg-type]


def test_points_have_no_tiles() -> None:
    points = np.random.default_rng(0).standard_normal((30, 2)).astype(np.float32)
    values = measure(points[:10], points[10:20], points[20:], shared).values
    assert values["tile_copy_frac"] is None
    assert values["mem_frac"] is not None


def test_without_held_out_images_what_compares_with_them_is_missing_and_the_rest_is_the_same(digits: Pool) -> None:
    train, held_out = parts(digits, 100)
    samples = np.concatenate([train[:30], held_out[:50]])
    alone, beside = (measure(samples, train, h, shared).values for h in (held_out[:0], held_out))
    compared = {n for n in beside if "control" in n or n.startswith("copy_")}
    assert {name for name, value in alone.items() if value is None} == compared | {"near_duplicates_held_out"}
    assert all(alone[name] == beside[name] for name in set(beside) - compared)


def test_without_samples_or_training_images_one_sentence_says_so(digits: Pool) -> None:
    train, held_out = parts(digits, 4)
    with pytest.raises(ValueError, match="0 and 4"):
        measure(train[:0], train, held_out, shared)


def test_points_in_two_dimensions_are_memorized_by_chance_as_often_as_one_in_nine() -> None:
    # k² of the support: 11 % at a threshold of 1/3 for points that fill the plane.
    rng = np.random.default_rng(0)
    train, held_out = (rng.random((n, 2)).astype(np.float32) for n in (4000, 4000))
    control = measure(held_out[:10], train, held_out, shared).values["mem_frac_control"]
    assert control == pytest.approx(1 / 9, abs=0.015)
