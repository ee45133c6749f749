"""How densely images lie: distances by hand, near-duplicates as one image, mirror images, and too few of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from difgen_cli.report.study import density


def test_the_spacing_is_the_distance_to_the_fifth_nearest_other_image() -> None:
    x = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    distances = density.apart(x, np.arange(40))
    by_hand = cdist(x, x)
    assert density.spacing(distances) == pytest.approx(np.sort(by_hand, axis=1)[:, 5], abs=1e-5)
    among = np.arange(40) % 4 == 0
    np.fill_diagonal(by_hand, np.inf)
    assert density.to_nearest(distances, among) == pytest.approx(by_hand[:, among].min(axis=1), abs=1e-5)
    assert np.isnan(density.to_nearest(distances, np.zeros(40, bool))).all()
    assert np.isnan(density.spacing(density.apart(x[:4], np.arange(4)))).all()
    assert np.isnan(density.spacing(density.apart(x[:5], np.arange(5)))).all(), "each of five has four others"


def test_near_duplicates_are_one_image_and_no_neighbours_of_one_another() -> None:
    """Three images are six times each in the pool: the fifth nearest of the others is none of their repeats."""
    x = np.arange(10, dtype=np.float32)[:, None] ** 2
    repeated = np.concatenate([x, np.repeat(x[:3], 5, axis=0)])
    group = np.concatenate([np.arange(10), np.repeat(np.arange(3), 5)])
    once = density.spacing(density.apart(x, np.arange(10)))
    assert density.spacing(density.apart(repeated, group)) == pytest.approx(once[group])
    among = np.arange(10) == 0
    assert np.isnan(density.to_nearest(density.apart(repeated, group), among)[group == 0]).all()


def test_a_mirror_image_is_as_near_as_the_image_where_training_mirrored() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (7, 4, 4, 1)).astype(np.float32)
    both = np.concatenate([x, x[:, :, ::-1]])
    plain, mirrored = (density.apart(both, np.arange(14), mirrored=m) for m in (False, True))
    assert (plain[np.arange(7), np.arange(7) + 7] > 0.1).all()
    assert mirrored[np.arange(7), np.arange(7) + 7] == pytest.approx(0, abs=1e-3)
    assert (mirrored <= plain).all()
