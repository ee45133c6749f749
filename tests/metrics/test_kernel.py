"""The kernel distance against a peer, closed forms, simulations, and degenerate inputs."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from difgen_cli.metrics import kernel
from difgen_cli.metrics.kernel import COLUMNS, distance, mean_within, measure

Arrays = dict[str, np.ndarray]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def measured(samples: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    values = measure(samples, held_out, flat, shared).values
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


def gaussian(n: int, seed: int, shift: float = 0.0, d: int = 6) -> np.ndarray:
    return np.random.default_rng((seed, n)).standard_normal((n, d)) + shift


def brute_force(x: np.ndarray, y: np.ndarray) -> float:
    """KID's U-statistic from scikit-learn's kernel matrices."""
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    m, n = len(x), len(y)
    pairs = (xx.sum() - np.trace(xx)) / (m * (m - 1)) + (yy.sum() - np.trace(yy)) / (n * (n - 1))
    return float(pairs - 2 * xy.mean())


@pytest.mark.parametrize(("m", "n", "d"), [(40, 30, 5), (17, 64, 200), (2, 2, 3)])
def test_the_distance_equals_scikit_learns_kernel_whatever_the_blocks(
    m: int, n: int, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "BLOCK", 7)
    x, y = gaussian(m, 1, 0.4, d), gaussian(n, 2, 0.0, d)
    assert measured(x, y)["kd_test"] == pytest.approx(brute_force(x, y), rel=1e-10)


def test_the_mean_over_random_subsets_that_kid_is_printed_as_agrees_within_its_error() -> None:
    x, y = gaussian(600, 1, 0.3), gaussian(500, 2)
    rng = np.random.default_rng(0)
    subsets = [brute_force(rng.permutation(x)[:100], rng.permutation(y)[:100]) for _ in range(200)]
    assert measured(x, y)["kd_test"] == pytest.approx(np.mean(subsets), abs=4 * np.std(subsets) / np.sqrt(200))


def test_the_error_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = gaussian(40, 1, 0.4), gaussian(30, 2)
    whole = measured(x, y)["kd_se"]
    monkeypatch.setattr(kernel, "BLOCK", 7)
    assert measured(x, y)["kd_se"] == pytest.approx(whole, rel=1e-10)


def test_points_at_two_places_have_the_closed_form() -> None:
    a, b = np.array([1.0, 2.0, -1.0]), np.array([0.5, 0.0, 3.0])
    values = measured(np.tile(a, (6, 1)), np.tile(b, (9, 1)))
    k = lambda u, v: (u @ v / 3 + 1) ** 3  # noqa: E731
    assert values["kd_test"] == pytest.approx(k(a, a) + k(b, b) - 2 * k(a, b))
    assert values["kd_se"] is None or values["kd_se"] < 1e-7 * values["kd_test"]


@pytest.mark.parametrize(("m", "n"), [(60, 40), (20, 200)])
def test_equal_distributions_have_the_distance_zero_on_average_whatever_the_sizes(m: int, n: int) -> None:
    found = [measured(gaussian(m, s), gaussian(n, s + 10_000))["kd_test"] for s in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)
    assert min(found) < 0


@pytest.mark.parametrize(("m", "shift"), [(8, 0.0), (8, 0.5), (60, 0.0), (60, 0.5)])
def test_the_error_is_the_spread_over_fresh_samples_of_these_held_out_images(m: int, shift: float) -> None:
    y = gaussian(60, 99_999)
    within = mean_within(y)
    found = [distance(gaussian(m, s, shift), y, within) for s in range(1500)]
    variances = [0.0 if error is None else error**2 for _, error in found]
    assert np.mean(variances) == pytest.approx(np.var([value for value, _ in found]), rel=0.25)
    assert m == 8 or np.mean([error is None for _, error in found]) < 0.01


def test_the_interval_of_two_errors_covers_the_distance_to_these_held_out_images() -> None:
    y = gaussian(100, 99_999)
    within = mean_within(y)
    found = np.array([distance(gaussian(150, s, 0.3), y, within) for s in range(500)], float)
    covered = abs(found[:, 0] - found[:, 0].mean()) < 1.96 * found[:, 1]
    assert 0.92 < covered.mean() < 0.98


def test_held_out_images_as_samples_have_no_distance_to_themselves() -> None:
    held_out = gaussian(30, 1)
    values = measured(held_out[:20], held_out)
    assert values["kd_test"] is values["kd_se"] is None
    assert (values["kd_n_gen"], values["kd_n_ref"]) == (20, 30)


@pytest.mark.parametrize(("m", "n"), [(0, 5), (1, 5), (2, 2), (3, 2), (4, 2)])
def test_few_images_give_values_or_none_and_never_nan(m: int, n: int) -> None:
    values = measured(gaussian(m, 1), gaussian(n, 2))
    assert (values["kd_test"] is None) == (m < 2)
    assert values["kd_se"] is None or m >= 4
    assert np.isfinite([v for v in values.values() if isinstance(v, float)]).all()


def test_every_column_has_its_type() -> None:
    values = measured(gaussian(30, 1).astype(np.float32), gaussian(20, 2).astype(np.float32))
    for name, (kind, *_) in COLUMNS.items():
        assert type(values[name]) is {"float64": float, "int64": int, "string": str}[kind], name


def test_too_few_held_out_images_and_features_that_are_not_finite_are_one_sentence() -> None:
    x = gaussian(5, 1)
    with pytest.raises(ValueError, match=r"kernel needs 2 held-out images, there are 1: raise data\.held_out"):
        measured(x, x[:1])
    with pytest.raises(ValueError, match="NaN or infinite"):
        measure(x, x + 1, lambda images: images * np.nan, shared)
