"""Samples that a model makes again: closed form, brute force, and degenerate samples."""

import numpy as np
import pytest
from denoisers import digit_parts

from difgen_cli.data import scaled, to_uint8
from difgen_cli.metrics import Value
from difgen_cli.metrics.clique import COLUMNS, measure


def values_of(samples: np.ndarray) -> dict[str, Value]:
    values = measure(samples).values
    assert set(values) == set(COLUMNS)
    return values


def test_held_out_images_are_all_different() -> None:
    values = values_of(digit_parts(64)[1])
    assert (values["clique_frac"], values["clique_frac_lo"], values["clique_largest"]) == (0, 0, 1)
    assert 0.01 < values["clique_frac_hi"] < 0.02  # type: ignore[operator]


@pytest.mark.parametrize(("images", "count"), [(20, 10), (50, 60), (200, 100)])
def test_of_copies_of_n_images_it_is_the_birthday_problem(images: int, count: int) -> None:
    """1 − (1 − 1/N)^(n − 1), which the ideal denoiser draws."""
    train, shares = digit_parts(images)[0], []
    for seed in range(200):
        samples = train[np.random.default_rng(seed).integers(images, size=count)]
        shares.append(values_of(samples)["clique_frac"])
    expected = 1 - (1 - 1 / images) ** (count - 1)
    error = np.std(shares) / np.sqrt(len(shares))  # type: ignore[arg-type]
    assert np.mean(shares) == pytest.approx(expected, abs=4 * error)  # type: ignore[arg-type]


def test_brute_force() -> None:
    chance = np.random.default_rng(0)
    train = digit_parts(40)[0]
    copies = train[chance.integers(40, size=60)] + 0.03 * chance.standard_normal((60, 8, 8, 1))
    samples = scaled(to_uint8(np.concatenate([copies, digit_parts(40)[1][:50]])))
    rms = np.sqrt(((samples[:, None].astype(np.float64) - samples[None]) ** 2).mean(axis=(2, 3, 4)))
    np.fill_diagonal(rms, np.inf)
    values = values_of(samples)
    assert values["clique_frac"] == (rms.min(axis=1) < 0.05).mean() > 0.1
    assert values["clique_frac_lo"] < values["clique_frac"] < values["clique_frac_hi"]  # type: ignore[operator]


def test_one_image_and_one_colour() -> None:
    same = np.full((30, 8, 8, 1), 0.5, np.float32)
    values = values_of(same)
    assert (values["clique_frac"], values["clique_frac_hi"], values["clique_largest"]) == (1, 1, 30)
    assert values["clique_constant"] == 30
    assert 0.7 < values["clique_frac_lo"] < 0.9  # type: ignore[operator]


def test_points_are_the_same_where_they_are_equal() -> None:
    points = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)
    assert values_of(points)["clique_frac"] == 0
    assert values_of(np.concatenate([points, points[:5]]))["clique_frac"] == 10 / 25


@pytest.mark.parametrize("count", [0, 1])
def test_one_sample_has_no_share(count: int) -> None:
    assert set(values_of(np.zeros((count, 8, 8, 1), np.float32)).values()) == {None}
