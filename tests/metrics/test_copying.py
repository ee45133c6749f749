"""The copying test against Meehan's formula by brute force, scipy, its null, and degenerate inputs."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from difgen_cli.data import scaled, split
from difgen_cli.data.digits import load
from difgen_cli.metrics import copying
from difgen_cli.metrics.copying import COLUMNS, c_t, measure, z_score

Arrays = dict[str, np.ndarray]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def measured(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, **settings: int) -> dict[str, float]:
    values = measure(samples, train, held_out, flat, shared, **settings).values
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


def digits(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T, H, and as many others that are neither."""
    pool = load()
    found = split(pool, size=size, held_out=600, seed=seed)
    others = np.setdiff1d(found.rest, found.train)
    return scaled(pool.images[found.train]), scaled(pool.images[found.held_out]), scaled(pool.images[others])


def clusters(n: int, seed: int, d: int = 5) -> np.ndarray:
    rng = np.random.default_rng((seed, n))
    return (rng.standard_normal((n, d)) + 6 * rng.integers(3, size=(n, 1))).astype(np.float32)


def brute_force(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, least: int) -> float:
    """C_T from Meehan et al. 2020, one pair at a time; the cells are the metric's own."""
    centres, labels = copying._partition(train, 3)

    def located(rows: np.ndarray) -> list[tuple[int, float]]:
        cells = [int(np.argmin(((row - centres) ** 2).sum(axis=1))) for row in rows]
        inside = {cell: train[labels == cell].astype(np.float64) for cell in set(cells)}
        return [
            (c, float(np.sqrt(((row - inside[c]) ** 2).sum(axis=1)).min())) for c, row in zip(cells, rows, strict=True)
        ]

    q_cells, p_cells = located(samples), located(held_out)
    total = weight = 0.0
    for cell in range(len(centres)):
        q, p = ([distance for c, distance in rows if c == cell] for rows in (q_cells, p_cells))
        if len(q) < least or len(p) < least:
            continue
        n, m = len(p), len(q)
        u = sum((a > b) + 0.5 * (a == b) for a in q for b in p)
        share = n / len(held_out)
        total += share * (u - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12)
        weight += share
    return total / weight


@pytest.mark.parametrize("least", [1, 30])
def test_the_statistic_equals_meehans_one_pair_at_a_time(least: int) -> None:
    train, held_out = clusters(60, 1), clusters(90, 2)
    samples = np.concatenate([train[:20], clusters(81, 3)])[:100]
    values = measured(samples, train, held_out, least=least)
    assert values["ct"] == pytest.approx(brute_force(samples, train, held_out, least), rel=1e-10)


def test_z_equals_scipys_without_continuity_correction() -> None:
    rng = np.random.default_rng(0)
    q, p = rng.standard_normal(70), rng.standard_normal(50) + 0.3
    peer = mannwhitneyu(q, p, alternative="less", method="asymptotic", use_continuity=False)
    u = float(peer.statistic)
    assert z_score(q, p) == pytest.approx((u - 70 * 50 / 2) / np.sqrt(70 * 50 * 121 / 12))
    assert z_score(np.ones(4), np.ones(6)) == 0


def test_copies_have_the_least_z_that_there_is() -> None:
    train, held_out = clusters(50, 1), clusters(300, 2)
    copies = train[np.random.default_rng(0).integers(50, size=300)]
    values = measured(copies, train, held_out, cells=1)
    assert values["ct"] == pytest.approx(-np.sqrt(3 * 300 * 300 / 601))


def test_honest_samples_have_mean_zero_and_the_deviation_that_the_row_says() -> None:
    found = [measured(clusters(150, s), clusters(60, s + 999), clusters(150, s + 1998)) for s in range(200)]
    z = np.array([values["ct"] / values["ct_null_sd"] for values in found])
    assert z.mean() == pytest.approx(0, abs=3 / np.sqrt(200))
    assert z.std() == pytest.approx(1, abs=0.15)
    assert found[0]["ct_null_sd"] < 0.7


@pytest.mark.parametrize("size", [64, 512])
def test_digits_that_are_copied_shrunken_or_neither(size: int) -> None:
    train, held_out, others = digits(size)
    noise = np.random.default_rng(0).standard_normal(held_out.shape).astype(np.float32)
    copies = train[np.random.default_rng(1).integers(size, size=600)] + np.float32(0.1) * noise
    values = measured(copies, train, held_out)
    assert values["ct"] < -15
    assert values["ct_shrunk"] < -2.5 * values["ct_null_sd"]  # nothing is copied there
    shrunken = train.mean(axis=0) + np.float32(0.8) * (held_out - train.mean(axis=0))
    assert measured(shrunken, train, held_out)["ct"] == pytest.approx(values["ct_shrunk"], abs=1e-6)
    assert abs(measured(others, train, held_out)["ct"]) < 4 * values["ct_null_sd"]


def test_held_out_images_as_samples_have_no_score() -> None:
    train, held_out, _ = digits(100)
    assert measured(held_out, train, held_out)["ct"] == pytest.approx(0, abs=1e-12)


def test_what_the_statistic_depends_on_is_in_the_row() -> None:
    values = measured(clusters(400, 1), clusters(50, 2), clusters(500, 3), images=300, least=30)
    assert (values["ct_n"], values["ct_m"], values["ct_cells"], values["ct_least"]) == (300, 300, 3, 30)
    assert values["ct_cells_used"] == 3


def test_cells_with_too_few_images_do_not_count() -> None:
    rows = np.column_stack([np.repeat([0, 1, 2], [30, 30, 5]), np.random.default_rng(0).random(65)])
    others = np.column_stack([np.repeat([0, 1, 2], [30, 4, 30]), np.random.default_rng(1).random(64)])
    statistic, deviation, used = c_t(rows, others, 20)
    assert statistic == z_score(rows[:30, 1], others[:30, 1])
    assert (deviation, used) == (1, 1)
    assert c_t(rows, others, 31) == (None, None, 0)


@pytest.mark.parametrize(
    ("samples", "train", "held_out"), [(0, 4, 30), (30, 1, 30), (30, 2, 30), (1, 1, 1), (40, 9, 3)]
)
def test_few_images_give_values_or_none_and_never_nan(samples: int, train: int, held_out: int) -> None:
    values = measured(clusters(samples, 1), clusters(train, 2), clusters(held_out, 3), least=5)
    assert np.isfinite([v for v in values.values() if isinstance(v, float)]).all()
    assert (values["ct"] is None) == (min(samples, held_out) < 5)
    assert values["ct_cells"] == min(3, train)


def test_identical_images_make_one_cell_and_no_difference() -> None:
    ones = np.ones((30, 4, 4, 1), np.float32)
    values = measured(ones, ones, ones)
    assert (values["ct"], values["ct_cells"], values["ct_shrunk"]) == (0, 1, 0)


def test_every_column_has_its_type() -> None:
    values = measured(clusters(100, 1), clusters(50, 2), clusters(90, 3))
    for name, (kind, *_) in COLUMNS.items():
        assert type(values[name]) is {"float64": float, "int64": int, "string": str}[kind], name


def test_without_held_out_or_training_images_one_sentence_says_so() -> None:
    x = clusters(5, 1)
    with pytest.raises(ValueError, match="copying needs 1 held-out images, there are 0"):
        measured(x, x, x[:0])
    with pytest.raises(ValueError, match="copying needs training images"):
        measured(x, x[:0], x)


@pytest.mark.parametrize("copied", [0.0, 0.3, 0.9])
def test_the_interval_holds_what_other_samples_and_held_out_images_give(copied: float) -> None:
    train, found = clusters(200, 2), []
    for seed in range(100):
        chance, samples = np.random.default_rng(seed), clusters(300, 10_000 + seed)
        own = chance.random(300) < copied
        samples[own] = train[chance.integers(200, size=own.sum())] + np.float32(0.05)
        found.append(measured(samples, train, clusters(300, 20_000 + seed)))
    truth = np.mean([values["ct"] for values in found])
    assert sum(values["ct_lo"] <= truth <= values["ct_hi"] for values in found) >= 87
    width = np.mean([values["ct_hi"] - values["ct_lo"] for values in found])
    assert width == pytest.approx(2 * 1.96 * np.std([values["ct"] for values in found]), rel=0.25)


def test_complete_separation_still_has_a_width() -> None:
    train, held_out = clusters(100, 1), clusters(200, 2)
    values = measured(np.repeat(train, 2, axis=0), train, held_out)
    assert values["ct_lo"] < values["ct"] < values["ct_hi"] < -5


def test_the_interval_is_of_the_same_statistic_and_null_where_that_is() -> None:
    values = measured(clusters(100, 1), clusters(50, 2), clusters(90, 3))
    assert values["ct_lo"] < values["ct"] < values["ct_hi"]
    few = measured(clusters(3, 1), clusters(50, 2), clusters(90, 3), least=5)
    assert (few["ct"], few["ct_lo"], few["ct_hi"]) == (None, None, None)
