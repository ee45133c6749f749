"""The Fréchet distance against closed forms, a peer, simulations, and where the rank is deficient."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import sqrtm

from difgen_cli.data import scaled, split
from difgen_cli.data.digits import load
from difgen_cli.metrics import Result, frechet
from difgen_cli.metrics.frechet import (
    COLUMNS,
    Moments,
    distance,
    expected_floor,
    floor,
    measure,
    moments,
    standard_error,
)

Arrays = dict[str, np.ndarray]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def measured(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    return measure(samples, train, held_out, flat, shared).values  # type: ignore[return-value]


def gaussian(n: int, d: int, seed: int, scale: float = 1.0) -> np.ndarray:
    """Features with the standard deviations 0.3 … 2, rotated; the same distribution for every seed."""
    rotation, _ = np.linalg.qr(np.random.default_rng(d).standard_normal((d, d)))
    return scale * np.random.default_rng((seed, n)).standard_normal((n, d)) * np.linspace(0.3, 2, d) @ rotation


def test_distance_of_gaussians_is_the_closed_form() -> None:
    mean, a, b = np.array([1.0, -2.0, 0.5]), np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 0.5])
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    one, other = Moments(mean, np.diag(a) @ rotation), Moments(np.zeros(3), np.diag(b) @ rotation)
    assert distance(one, other) == pytest.approx(float(mean @ mean + np.sum((a - b) ** 2)))


def test_distance_equals_the_matrix_square_root_where_that_is_well_conditioned() -> None:
    x, y = gaussian(400, 10, 1), gaussian(300, 10, 2, 1.3) + 0.2
    sigma_x, sigma_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    peer = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(sigma_x + sigma_y - 2 * sqrtm(sigma_x @ sigma_y).real)
    assert distance(moments(x), moments(y)) == pytest.approx(float(peer), rel=1e-8)


@pytest.mark.parametrize(("n", "m", "d"), [(30, 20, 100), (200, 20, 50), (20, 200, 50), (500, 400, 512)])
def test_distance_is_exact_where_there_are_fewer_samples_than_dimensions(n: int, m: int, d: int) -> None:
    x, y = gaussian(n, d, 1), gaussian(m, d, 2)
    assert distance(moments(x), moments(x)) == pytest.approx(0, abs=1e-9 * d)
    centred = [(z - z.mean(0)) / np.sqrt(len(z) - 1) for z in (x, y)]
    nuclear = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    traces = sum(float(np.sum(z**2)) for z in centred)
    peer = np.sum((x.mean(0) - y.mean(0)) ** 2) + traces - 2 * nuclear
    assert distance(moments(x), moments(y)) == pytest.approx(float(peer), rel=1e-9)


def test_distance_does_not_care_for_constant_features_or_rotations() -> None:
    x, y = gaussian(50, 8, 1), gaussian(60, 8, 2)
    rotation, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((8, 8)))
    plain = distance(moments(x), moments(y))
    assert distance(moments(x @ rotation), moments(y @ rotation)) == pytest.approx(plain)
    wide = [np.concatenate([z, np.ones((len(z), 5))], axis=1) for z in (x, y)]
    assert distance(moments(wide[0]), moments(wide[1])) == pytest.approx(plain)


@pytest.mark.parametrize(("n", "m", "d"), [(500, 400, 16), (1000, 2000, 64), (3000, 500, 8)])
def test_the_expected_floor_is_what_a_simulation_finds(n: int, m: int, d: int) -> None:
    found = [distance(moments(gaussian(n, d, s)), moments(gaussian(m, d, s + 9999))) for s in range(2000 // d)]
    exact = Moments(np.zeros(d), np.diag(np.linspace(0.3, 2, d)))
    assert expected_floor(exact, n, m) == pytest.approx(np.mean(found), rel=0.07)


def test_samples_of_the_true_distribution_tend_to_the_floor() -> None:
    """Known answer 3: what the Wiener denoiser draws from Gaussian data is Gaussian."""
    train, held_out = gaussian(600, 12, 1), gaussian(800, 12, 2)
    found = [measured(gaussian(n, 12, 3), train, held_out) for n in (250, 500, 2000)]
    for values in found:
        assert values["fd_test"] == pytest.approx(values["fd_floor_expected"], rel=0.35)
        assert values["fd_floor"] == pytest.approx(values["fd_floor_expected"], rel=0.35)
    assert found[0]["fd_test"] > found[1]["fd_test"] > found[2]["fd_test"]


@pytest.mark.parametrize("train", [1000, 50])
def test_the_floor_is_real_against_real_even_without_enough_real_images(train: int) -> None:
    found = [floor(gaussian(train, 10, s), gaussian(400, 10, s + 50), 500) for s in range(20)]
    truth = [distance(moments(gaussian(500, 10, s + 100)), moments(gaussian(400, 10, s + 150))) for s in range(20)]
    assert np.mean(found) == pytest.approx(np.mean(truth), rel=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "m", "d"), [(600, 400, 16), (600, 40, 64), (600, 800, 64)])
def test_standard_error_is_the_spread_over_fresh_samples(n: int, m: int, d: int) -> None:
    reference = moments(gaussian(m, d, 0))
    found = []
    for seed in range(1, 61):
        x = gaussian(n, d, seed, 1.3) + 0.1
        g = moments(x)
        found.append((distance(g, reference), standard_error(x, g, reference)))
    values, errors = np.array(found, float).T
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.3)


def test_standard_error_is_missing_where_samples_do_not_span_the_reference() -> None:
    x, y = gaussian(30, 64, 1), gaussian(100, 64, 2)
    assert standard_error(x, moments(x), moments(y)) is None


def test_an_interval_is_given_above_three_floors_only_and_is_even_on_a_log_scale() -> None:
    train, held_out = gaussian(300, 10, 2), gaussian(200, 10, 3)
    near, far = (measured(gaussian(300, 10, 1, scale), train, held_out) for scale in (1.0, 1.5))
    assert near["fd_test"] < 3 * near["fd_floor_expected"]
    assert near["fd_test_lo"] is near["fd_test_hi"] is None
    assert near["fd_se"] > 0
    assert far["fd_test"] > 3 * far["fd_floor_expected"]
    assert far["fd_test_lo"] * far["fd_test_hi"] == pytest.approx(far["fd_test"] ** 2)
    half_width = np.log(far["fd_test_hi"] / far["fd_test_lo"]) / 2
    assert half_width == pytest.approx(1.96 * far["fd_se"] / far["fd_test"], rel=1e-4)


def test_a_copycat_beats_nothing_but_looks_like_an_honest_model() -> None:
    """Known answer 6: at 512 training images the copycat's distance is near the floor, far below a poor model's."""
    found = split(load(), size=512, held_out=700)
    train, held_out = (scaled(load().images[i]) for i in (found.train, found.held_out))
    rng = np.random.default_rng(0)
    copies = train[rng.integers(512, size=1000)]
    blurred = copies * np.float32(0.8)
    values, poor = measured(copies, train, held_out), measured(blurred, train, held_out)
    assert values["fd_test"] == pytest.approx(values["fd_copycat"], rel=0.35)
    assert values["fd_gap"] > 0.2 * values["fd_test"]
    assert poor["fd_test"] > 1.5 * values["fd_test"]


def test_the_gap_of_an_honest_model_is_zero_however_few_training_images_there_are() -> None:
    for size in (20, 200):
        gaps, spread = [], []
        for seed in range(30):
            values = measured(gaussian(400, 10, seed), gaussian(size, 10, seed + 50), gaussian(300, 10, seed + 100))
            gaps.append(values["fd_gap"])
            spread.append(values["fd_train"])
        assert abs(np.mean(gaps)) < 4 * np.std(gaps) / np.sqrt(30) + 0.01 * np.mean(spread)


def test_held_out_images_as_samples_are_compared_with_training_images_only() -> None:
    train, held_out = gaussian(300, 6, 1), gaussian(300, 6, 2)
    values = measured(held_out, train, held_out)
    assert values["fd_test"] is values["fd_gap"] is values["fd_se"] is None
    assert values["fd_train"] == pytest.approx(values["fd_floor_expected"], rel=0.5)
    assert measured(np.concatenate([held_out[:50], train[:50]]), train, held_out)["fd_test"] is not None


def test_references_have_equal_numbers_of_images_and_the_row_says_how_many() -> None:
    large = measured(gaussian(300, 6, 1), gaussian(900, 6, 2), gaussian(200, 6, 3))
    assert (large["n_gen"], large["n_ref"], large["n_ref_train"]) == (300, 200, 200)
    assert large["fd_gap"] == pytest.approx(large["fd_test"] - large["fd_train"])
    small = measured(gaussian(300, 6, 1), gaussian(50, 6, 2), gaussian(200, 6, 3))
    assert (small["n_ref"], small["n_ref_train"]) == (200, 50)


def test_every_column_is_there_with_its_type_and_the_spaces_name() -> None:
    class Space:
        name = "digits-cnn64"

        def __call__(self, images: np.ndarray) -> np.ndarray:
            return flat(images)

    result: Result = measure(gaussian(50, 4, 1) + 3, gaussian(30, 4, 2), gaussian(40, 4, 3), Space(), shared)
    assert set(result.values) == set(COLUMNS)
    for name, (kind, *_) in COLUMNS.items():
        assert type(result.values[name]) is {"float64": float, "int64": int, "string": str}[kind], name
    assert result.values["fd_features"] == "digits-cnn64"


@pytest.mark.parametrize(("samples", "train", "held_out"), [(1, 5, 5), (2, 1, 2), (2, 2, 2), (5, 1, 3), (3, 40, 4)])
def test_few_images_give_values_or_none_and_never_nan(samples: int, train: int, held_out: int) -> None:
    values = measured(gaussian(samples, 6, 1), gaussian(train, 6, 2), gaussian(held_out, 6, 3))
    assert set(values) == set(COLUMNS)
    numbers = [value for value in values.values() if isinstance(value, float)]
    assert np.isfinite(numbers).all()
    assert (values["fd_test"] is None) == (samples == 1)
    assert (values["fd_train"] is None) == (samples == 1 or train == 1)


def test_images_that_are_all_the_same_have_the_distance_of_their_means() -> None:
    values = measured(np.zeros((9, 5)), np.ones((10, 5)), np.ones((8, 5)))
    assert (values["fd_test"], values["fd_train"], values["fd_floor"], values["fd_se"]) == (5, 5, 0, 0)


def test_features_that_are_not_finite_are_one_sentence() -> None:
    x = gaussian(10, 3, 1)
    with pytest.raises(ValueError, match="NaN or infinite"):
        measure(x, x, x, lambda images: images * np.nan, shared)
    with pytest.raises(ValueError, match="2 held-out images"):
        measure(x, x, x[:1], flat, shared)


@pytest.mark.parametrize("n", [60, 65, 200])
def test_moments_in_blocks_of_rows_are_those_of_all_rows_at_once(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = gaussian(n, 40, 1).astype(np.float32), gaussian(300, 40, 2)
    whole, reference = moments(x), moments(y)
    error = standard_error(x, whole, reference)
    monkeypatch.setattr(frechet, "ROWS", 64)
    parts = moments(x)
    assert parts.root.dtype == np.float64
    np.testing.assert_allclose(parts.mean, x.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(parts.root.T @ parts.root, np.cov(x.astype(np.float64), rowvar=False), atol=1e-12)
    assert distance(parts, reference) == pytest.approx(distance(whole, reference), rel=1e-10)
    assert distance(parts, whole) == pytest.approx(0, abs=1e-9)
    assert standard_error(x, parts, reference) == pytest.approx(error, rel=1e-8)


def test_the_interval_of_the_gap_is_as_wide_as_other_samples_make_it_vary() -> None:
    train, held_out = gaussian(150, 8, 1), gaussian(300, 8, 2)
    found = [measured(gaussian(400, 8, seed, 1.2), train, held_out) for seed in range(10, 160)]
    gaps = np.array([values["fd_gap"] for values in found])
    ends = np.array([[values["fd_gap_lo"], values["fd_gap_hi"]] for values in found])
    assert np.diff(ends).mean() == pytest.approx(2 * 1.96 * gaps.std(ddof=1), rel=0.15)
    covered = ((ends[:, 0] <= gaps.mean()) & (gaps.mean() <= ends[:, 1])).sum()
    assert 132 <= covered <= 150
    np.testing.assert_allclose(ends.mean(axis=1), gaps)


def test_without_a_derivative_the_gap_has_no_interval() -> None:
    values = measured(gaussian(20, 50, 1), gaussian(200, 50, 2), gaussian(200, 50, 3))
    assert values["fd_gap"] is not None
    assert (values["fd_gap_lo"], values["fd_gap_hi"]) == (None, None)


def relative_gaps(shift: float, seeds: int = 30) -> list[dict[str, float]]:
    """Samples of where T comes from; H is `shift` away in every direction."""
    return [
        measured(gaussian(300, 10, seed), gaussian(200, 10, seed + 50), gaussian(200, 10, seed + 100) + shift)
        for seed in range(seeds)
    ]


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_relative_gap_of_an_honest_model_is_zero_even_where_held_out_images_come_from_elsewhere(
    shift: float,
) -> None:
    values = relative_gaps(shift)
    relative, shifts = (np.array([value[name] for value in values]) for name in ("fd_gap_rel", "fd_shift"))
    assert abs(relative.mean()) < 3 * relative.std(ddof=1) / np.sqrt(len(relative))
    assert shifts.mean() == pytest.approx(10 * shift**2, abs=0.15)
    assert (shifts > 0).all() or shift == 0
    plain = np.mean([value["fd_gap"] / value["fd_train"] for value in values])
    assert abs(plain) < 0.3 if shift == 0 else plain > 3, plain


def test_a_distance_that_chance_explains_is_no_shift() -> None:
    shifts = np.array([value["fd_shift"] for value in relative_gaps(0.0, 60)])
    assert (shifts >= 0).all()
    assert (shifts > 0).mean() <= 0.1, "one-sided, 2.5 % expected"


def test_the_relative_gap_is_the_gap_of_copies_in_units_of_the_distance_to_training_images() -> None:
    train, held_out = gaussian(150, 8, 1), gaussian(300, 8, 2)
    drawn = np.random.default_rng(0).integers(150, size=400)
    values = measured(train[drawn] + gaussian(400, 8, 3, 0.1), train, held_out)
    expected = (values["fd_gap"] - values["fd_shift"]) / values["fd_train"]
    assert values["fd_gap_rel"] == pytest.approx(expected)
    assert values["fd_gap_rel_lo"] > 0


def test_the_interval_of_the_relative_gap_is_as_wide_as_other_samples_make_it_vary() -> None:
    train, held_out = gaussian(150, 8, 1), gaussian(300, 8, 2)
    found = [measured(gaussian(400, 8, seed, 2.0), train, held_out) for seed in range(10, 110)]
    gaps = np.array([values["fd_gap_rel"] for values in found])
    ends = np.array([[values["fd_gap_rel_lo"], values["fd_gap_rel_hi"]] for values in found])
    assert np.diff(ends).mean() == pytest.approx(2 * 1.96 * gaps.std(ddof=1), rel=0.2)
    np.testing.assert_allclose(np.log1p(ends).mean(axis=1), np.log1p(gaps))
