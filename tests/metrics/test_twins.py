"""Twins: copiers of disjoint halves disagree, networks that learned the distribution agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from difgen_cli.metrics import twins

CHANCE = np.random.default_rng(0)


@dataclass
class Made:
    """A trajectory by its samples and training images."""

    samples: np.ndarray
    train: np.ndarray


def images(count: int) -> np.ndarray:
    return CHANCE.standard_normal((count, 8, 8, 1))


def test_copiers_of_disjoint_halves_never_win() -> None:
    A, B = images(20), images(20)
    of_A, of_B = A[CHANCE.integers(20, size=300)], B[CHANCE.integers(20, size=300)]
    found = twins.measure(of_A, A, Made(of_B, B), Made(A[:1].repeat(300, 0), A))
    assert found.values["twin_win"] == 0
    assert abs(float(found.values["twin_cos"] or 0)) < 0.1


def test_networks_that_make_the_same_new_images_always_win() -> None:
    A, B, new = images(20), images(20), images(300)
    found = twins.measure(new, A, Made(new + 0.1 * images(300), B), Made(new, A))
    assert found.values["twin_win"] == 1
    assert float(found.values["twin_cos"] or 0) == pytest.approx(1 / np.sqrt(1 + 0.01), abs=0.01)
    assert found.values["twin_ceiling"] == pytest.approx(1)
    assert abs(float(found.values["twin_baseline"] or 0)) < 0.1


def test_brightness_and_contrast_do_not_count() -> None:
    A, new = images(20), images(50)
    found = twins.measure(new, A, Made(3 * new + 5, images(20)), Made(new - 2, A))
    assert found.values["twin_cos"] == pytest.approx(1)
    assert found.values["twin_ceiling"] == pytest.approx(1)


def test_a_half_point_is_for_each_side() -> None:
    """a is a training image of A, b is new and equals a: it wins over T_B alone."""
    A = images(5)
    found = twins.measure(A[:1].repeat(40, 0), A, Made(A[:1].repeat(40, 0), images(5)), Made(A[:1].repeat(40, 0), A))
    assert found.values["twin_win"] == 0.5


def test_the_largest_cosine_is_that_of_brute_force() -> None:
    x, train = twins.centred(images(30)), images(12)
    exact = [max(float(a @ t) for t in twins.centred(train)) for a in x]
    np.testing.assert_allclose(twins.nearest(x, train), exact, rtol=1e-12)


def test_constant_images_have_no_cosine_and_are_left_out() -> None:
    new, grey = images(10), np.zeros((10, 8, 8, 1))
    mixed = np.where(np.arange(10)[:, None, None, None] < 4, grey, new)
    found = twins.measure(mixed, images(3), Made(new, images(3)), Made(new, images(3)))
    assert found.values["twin_pairs"] == 6
    nothing = twins.measure(grey, images(3), Made(new, images(3)), Made(new, images(3)))
    assert (nothing.values["twin_pairs"], nothing.values["twin_cos"]) == (0, None)
    assert twins.nearest(twins.centred(new), grey).tolist() == [-1.0] * 10


def test_ceiling_and_baseline_have_intervals_like_the_cosine_that_is_read_between_them() -> None:
    A, B, new = images(20), images(20), images(200)
    found = twins.measure(new, A, Made(new + images(200), B), Made(new + 0.3 * images(200), A)).values
    for name in ("twin_cos", "twin_ceiling", "twin_baseline"):
        low, value, high = (float(found[n] or 0) for n in (f"{name}_lo", name, f"{name}_hi"))
        assert low < value < high
        assert high - low < 0.1
    one, other = twins.centred(new), twins.centred(np.asarray(new))
    pairs = twins.cosines(one, np.roll(other, 1, axis=0))
    spread = np.median(np.random.default_rng(1).choice(pairs, (2000, 200)), axis=1).std()
    own = twins.measure(new, A, Made(new, B), Made(new, A)).values
    width = float(own["twin_baseline_hi"] or 0) - float(own["twin_baseline_lo"] or 0)
    assert width == pytest.approx(2 * 1.96 * spread, rel=0.2)
    single = twins.measure(new[:1], A, Made(new[:1], B), Made(new[:1], A)).values
    assert (single["twin_baseline"], single["twin_baseline_lo"]) == (None, None)
