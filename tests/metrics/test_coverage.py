"""Precision, recall, density and coverage against the papers by brute force, closed forms, and degenerate inputs."""

from collections.abc import Callable

import numpy as np
import prdc
import pytest

from difgen_cli.metrics import coverage, wilson
from difgen_cli.metrics.coverage import COLUMNS, measure

Arrays = dict[str, np.ndarray]
FOUR = ("precision", "recall", "density", "coverage")


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def measured(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, k: int = 5) -> dict[str, float]:
    values = measure(samples, train, held_out, flat, shared, k=k).values
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


def gaussian(n: int, seed: int, d: int = 4) -> np.ndarray:
    return np.random.default_rng((seed, n)).standard_normal((n, d)).astype(np.float32)


def brute_force(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """Kynkäänniemi et al. 2019, eq. 1 and 2; Naeem et al. 2020, eq. 4 and 6; one pair at a time."""

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(np.sum((a.astype(np.float64) - b) ** 2)))

    def radii(points: np.ndarray) -> list[float]:
        n = range(len(points))
        return [sorted(distance(points[i], points[j]) for j in n if j != i)[k - 1] for i in n]

    of_real, of_fake = radii(real), radii(fake)
    inside = [[distance(f, r) <= radius for r, radius in zip(real, of_real, strict=True)] for f in fake]
    reached = [any(distance(r, f) <= radius for f, radius in zip(fake, of_fake, strict=True)) for r in real]
    return {
        "precision": float(np.mean([any(row) for row in inside])),
        "recall": float(np.mean(reached)),
        "density": float(np.sum(inside) / (k * len(fake))),
        "coverage": float(np.mean([any(column) for column in zip(*inside, strict=True)])),
    }


@pytest.mark.parametrize(("n", "d", "k"), [(40, 3, 5), (40, 100, 3), (7, 2, 5), (30, 1, 1)])
def test_all_four_equal_the_papers_one_pair_at_a_time(n: int, d: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "TILE", 100)  # several tiles
    real, fake = gaussian(n, 1, d), 0.8 * gaussian(n, 2, d) + np.float32(0.3)
    values = measured(fake, gaussian(n, 3, d), real, k)
    expected = brute_force(real, fake, k)
    assert {name: values[name] for name in FOUR} == pytest.approx(expected, rel=1e-12)
    control = brute_force(real, gaussian(n, 3, d), k)
    assert {name: values[f"{name}_control"] for name in FOUR} == pytest.approx(control, rel=1e-12)


@pytest.mark.parametrize(("n", "d", "k"), [(200, 8, 5), (150, 64, 3), (80, 2, 5)])
def test_all_four_equal_those_of_the_authors_of_density_and_coverage(n: int, d: int, k: int) -> None:
    real, fake = gaussian(n, 1, d), 0.9 * gaussian(n, 2, d) + np.float32(0.2)
    values = measured(fake, gaussian(n, 3, d), real, k)
    expected = prdc.compute_prdc(real_features=real.astype(float), fake_features=fake.astype(float), nearest_k=k)
    assert {name: values[name] for name in FOUR} == pytest.approx(expected, rel=1e-6)


def test_points_on_the_edge_of_a_ball_are_in_it() -> None:
    # On a lattice nearly every distance ties with a radius; off the origin products are rounded.
    lattice = np.array([[i, j] for i in range(6) for j in range(6)], np.float32) + np.float32(1000.1)
    real, fake = lattice[::2], lattice[1::2]
    values = measured(fake, lattice, real, 3)
    assert {name: values[name] for name in FOUR} == pytest.approx(brute_force(real, fake, 3), rel=1e-12)


def test_real_images_have_density_one_and_the_coverage_that_naeem_derives() -> None:
    n, k = 60, 5
    found = [measured(gaussian(n, s), gaussian(n, s + 500), gaussian(n, s + 1000)) for s in range(200)]
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])  # Naeem et al. 2020, lemma 2
    for group in ("", "_control"):
        of = {name: np.array([values[name + group] for values in found]) for name in FOUR}
        assert of["density"].mean() == pytest.approx(1, abs=4 * of["density"].std() / np.sqrt(200))
        assert of["coverage"].mean() == pytest.approx(expected, abs=4 * of["coverage"].std() / np.sqrt(200))
    means = [np.mean([values[name] for values in found]) for name in ("precision", "precision_control", "recall")]
    assert np.ptp(means) < 0.01


def test_intervals_of_precision_and_density_cover_what_more_samples_would_give() -> None:
    held_out, train = gaussian(100, 1), gaussian(50, 2)
    found = [measured(1.3 * gaussian(100, s), train, held_out) for s in range(3, 303)]
    for name in ("precision", "density"):
        low, high = (np.array([values[f"{name}_{end}"] for values in found]) for end in ("lo", "hi"))
        truth = np.mean([values[name] for values in found])
        assert 0.92 <= ((low <= truth) & (truth <= high)).mean() <= 0.98


def test_a_missing_mode_costs_recall_and_coverage_and_a_wrong_one_precision_and_density() -> None:
    a, b = (gaussian(n, seed) + np.float32(10 * (n == 101)) for n, seed in ((100, 1), (101, 2)))
    both = np.concatenate([gaussian(50, 3), gaussian(50, 4) + 10])
    missing = measured(a, a, both)
    assert missing["precision"] > 0.9
    assert missing["recall"] <= 0.5 >= missing["coverage"]
    wrong = measured(both, a, gaussian(100, 5))
    assert wrong["precision"] <= 0.5 < wrong["recall"]
    far = measured(b[:100] + 50, a, both)
    assert [far[name] for name in FOUR] == [0, 0, 0, 0]


def test_a_copier_of_many_training_images_looks_perfect() -> None:
    train, held_out = gaussian(300, 1), gaussian(300, 2)
    values = measured(train, train, held_out)
    for name in FOUR:
        assert values[name] == values[f"{name}_control"] > 0.8


def test_equal_numbers_are_compared_however_the_images_are_sorted() -> None:
    samples, held_out = gaussian(400, 1), gaussian(150, 2)
    values = measured(samples[samples[:, 0].argsort()], gaussian(20, 3), held_out)
    assert values["coverage_n"] == 150
    assert values["precision_control"] is None  # 20 training images are too few to be compared with 150
    assert values["coverage"] > 0.9  # the first 150 alone would lie in one half of the plane
    assert measured(samples[:80], gaussian(90, 3), held_out)["coverage_n"] == 80


def test_held_out_images_as_samples_are_not_compared_with_themselves() -> None:
    held_out = gaussian(30, 1)
    values = measured(held_out, gaussian(30, 2), held_out)
    assert {values[name] for name in FOUR} == {None}


def test_repeated_real_images_count_once_and_have_balls_of_the_size_of_others() -> None:
    samples, train, held_out = gaussian(30, 1), gaussian(40, 2), gaussian(20, 3)
    once = measured(samples, train, held_out)
    assert measured(samples, np.repeat(train, 2, axis=0), np.repeat(held_out, 9, axis=0)) == once
    same = np.full((9, 5), 0.1, np.float32)
    assert {measured(samples, same, same)[name] for name in FOUR} == {None}


def test_identical_samples_reach_nothing() -> None:
    values = measured(0.1 * gaussian(1, 7)[[0] * 20], gaussian(40, 2), gaussian(20, 3))
    assert values["recall"] == 0
    assert values["density_lo"] is None


@pytest.mark.parametrize(("samples", "train", "held_out"), [(0, 3, 9), (1, 1, 2), (5, 9, 9), (6, 1, 6), (9, 9, 5)])
def test_few_images_give_values_or_none_and_never_nan(samples: int, train: int, held_out: int) -> None:
    values = measured(gaussian(samples, 1), gaussian(train, 2), gaussian(held_out, 3))
    assert (values["precision"] is None) == (min(samples, held_out) <= 5)
    assert np.isfinite([v for v in values.values() if isinstance(v, float)]).all()


def test_every_column_has_its_type() -> None:
    values = measured(gaussian(30, 1), gaussian(40, 2), gaussian(20, 3))
    for name, (kind, *_) in COLUMNS.items():
        assert type(values[name]) is {"float64": float, "int64": int, "string": str}[kind], name


def test_too_few_held_out_images_are_one_sentence() -> None:
    with pytest.raises(ValueError, match="coverage needs 2 held-out images, there are 0"):
        measured(gaussian(5, 1), gaussian(5, 2), gaussian(0, 3))


def test_the_interval_of_recall_is_wilsons_over_the_held_out_images() -> None:
    values = measured(0.7 * gaussian(60, 1), gaussian(60, 3), gaussian(60, 2))
    assert (values["recall_lo"], values["recall_hi"]) == wilson(round(60 * values["recall"]), 60)


def test_the_jackknife_of_coverage_is_that_of_leaving_out_one_image_after_another() -> None:
    real, fake, k, n = gaussian(40, 1), 0.6 * gaussian(40, 2), 5, 40
    left_out = [brute_force(np.delete(real, j, axis=0), fake, k)["coverage"] for j in range(n)]
    variance = (n - 1) / n * np.sum((np.array(left_out) - np.mean(left_out)) ** 2) * ((n - 1) / n) ** 2
    values = measured(fake, gaussian(n, 3), real, k)
    share = values["coverage"]
    count = max(1, min(n, round(share * (1 - share) / (variance * n / (n - 1)))))
    assert 0 < share < 1
    assert (values["coverage_lo"], values["coverage_hi"]) == pytest.approx(wilson(share * count, count))


def test_the_interval_of_coverage_holds_what_other_held_out_images_give() -> None:
    """Where images around are held out too, coverage varies by more than independent draws would."""
    fake, train = 0.6 * gaussian(100, 1), gaussian(10, 3)
    found = [measured(fake, train, gaussian(100, seed)) for seed in range(100, 220)]
    truth = np.mean([values["coverage"] for values in found])
    for name, least in (("coverage", 110), ("recall", 107)):
        truth = np.mean([values[name] for values in found])
        assert sum(values[f"{name}_lo"] <= truth <= values[f"{name}_hi"] for values in found) >= least, name
