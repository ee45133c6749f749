"""Authenticity against the rule by brute force, its control on digits, and degenerate inputs."""

from collections.abc import Callable

import numpy as np
import pytest

from difgen_cli.data import scaled, split
from difgen_cli.data.digits import load
from difgen_cli.metrics.authenticity import COLUMNS, _difference, measure

Arrays = dict[str, np.ndarray]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def measured(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    values = measure(samples, train, held_out, flat, shared).values
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


def gaussian(n: int, seed: int, d: int = 4) -> np.ndarray:
    return np.random.default_rng((seed, n)).standard_normal((n, d)).astype(np.float32)


def digits(size: int) -> tuple[np.ndarray, np.ndarray]:
    found = split(load(), size=size, held_out=800)
    return scaled(load().images[found.train]), scaled(load().images[found.held_out])


def brute_force(queries: np.ndarray, train: np.ndarray) -> float:
    """Alaa et al. 2022, one image at a time."""
    count = 0
    for query in queries.astype(np.float64):
        distances = np.sqrt(((query - train) ** 2).sum(axis=1))
        nearest = int(distances.argmin())
        others = np.delete(train, nearest, axis=0).astype(np.float64)
        count += distances[nearest] > np.sqrt(((others - train[nearest]) ** 2).sum(axis=1)).min()
    return 100 * count / len(queries)


@pytest.mark.parametrize(("n", "d"), [(40, 3), (2, 5), (90, 50)])
def test_the_share_equals_the_rule_one_image_at_a_time(n: int, d: int) -> None:
    samples, train, held_out = 0.7 * gaussian(60, 1, d), gaussian(n, 2, d), gaussian(50, 3, d)
    values = measured(samples, train, held_out)
    assert values["auth_pct"] == pytest.approx(brute_force(samples, train))
    assert values["auth_pct_control"] == pytest.approx(brute_force(held_out, train))
    assert values["auth_pct_excess"] == pytest.approx(values["auth_pct"] - values["auth_pct_control"])


@pytest.mark.parametrize("size", [128, 512, 897])
def test_unseen_digits_are_authentic_about_half_of_the_time_and_copies_never(size: int) -> None:
    train, held_out = digits(size)
    values = measured(train, train, held_out)
    assert 37 < values["auth_pct_control"] < 62
    assert values["auth_pct"] == 0
    assert values["auth_pct_excess_hi"] < -30
    honest = measured(held_out, train, held_out)
    assert honest["auth_pct_excess"] == 0
    assert honest["auth_pct_excess_lo"] < 0 < honest["auth_pct_excess_hi"]


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe 1998, table II: 56/70 against 48/80.
    from difgen_cli.metrics import wilson

    found = _difference((0.8, *wilson(56, 70)), (0.6, *wilson(48, 80)))
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_intervals_cover_the_difference() -> None:
    train = gaussian(50, 1)
    found = [measured(0.9 * gaussian(200, s), train, gaussian(150, s)) for s in range(2, 302)]
    truth = np.mean([values["auth_pct_excess"] for values in found])
    low, high = (np.array([values[f"auth_pct_excess_{end}"] for values in found]) for end in ("lo", "hi"))
    assert 0.92 <= ((low <= truth) & (truth <= high)).mean() <= 0.98


def test_training_images_that_are_all_the_same_are_one_image_without_another() -> None:
    train = np.ones((6, 4), np.float32)
    values = measured(np.concatenate([train[:2], train[:6] + 1]), train, train)
    assert (values["auth_pct"], values["auth_pct_control"]) == (None, None)


def test_copies_of_repeated_images_are_no_more_authentic_than_those_of_single_ones() -> None:
    train, held_out = digits(128)
    noise = np.random.default_rng(0).standard_normal(train.shape, np.float32)
    samples = train + np.float32(0.03) * noise
    once, twice = measured(samples, train, held_out), measured(samples, np.concatenate([train, train]), held_out)
    assert (twice["auth_pct"], twice["auth_pct_control"]) == (0, once["auth_pct_control"])
    nearly = np.concatenate([train, train + np.float32(0.02) * noise[::-1]])
    assert measured(train, nearly, held_out)["auth_pct"] == 0


@pytest.mark.parametrize(("samples", "train", "held_out"), [(0, 5, 3), (3, 1, 3), (1, 2, 1), (5, 2, 2)])
def test_few_images_give_values_or_none_and_never_nan(samples: int, train: int, held_out: int) -> None:
    values = measured(gaussian(samples, 1), gaussian(train, 2), gaussian(held_out, 3))
    assert (values["auth_pct"] is None) == (samples == 0 or train == 1)
    assert np.isfinite([v for v in values.values() if isinstance(v, float)]).all()


def test_every_column_has_its_type_and_the_space_its_name() -> None:
    values = measured(gaussian(30, 1), gaussian(20, 2), gaussian(25, 3))
    for name, (kind, *_) in COLUMNS.items():
        assert type(values[name]) is {"float64": float, "string": str}[kind], name
    assert values["auth_features"] == "pixels"


def test_without_held_out_images_one_sentence_says_so() -> None:
    x = gaussian(5, 1)
    with pytest.raises(ValueError, match="authenticity needs 1 held-out images, there are 0"):
        measured(x, x, x[:0])
