"""Two networks from the same noise: copiers of disjoint halves, networks that make the same new images, brute force."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from difgen_cli.metrics import Value, flat, wilson
from difgen_cli.metrics.reproducibility import COLUMNS, measure


@dataclass
class Other:
    """A trajectory by its samples and training images."""

    samples: np.ndarray
    train: np.ndarray


def drawn(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 8, 8, 1)).astype(np.float32)


def run(samples: np.ndarray, train: np.ndarray, twin: Other, sibling: Other, **more: object) -> dict[str, Value]:
    values = measure(samples, train, twin, sibling, flat, **more).values  # type: ignore[arg-type]
    assert set(values) == set(COLUMNS)
    return values


A, B, NEW = drawn(20, 1), drawn(20, 2), drawn(100, 3)


def test_copiers_of_disjoint_halves_reproduce_nothing() -> None:
    chance = np.random.default_rng(0).integers(20, size=100)
    values = run(A[chance], A, Other(B[chance], B), Other(A[chance], A))
    assert (values["rp"], values["rp_uncopied"], values["rp_ceiling"]) == (0, 0, 1)
    assert values["rp_hi"] == wilson(0, 100)[1]


def test_copiers_of_the_same_images_reproduce_copies_alone() -> None:
    values = run(A.repeat(5, 0), A, Other(A.repeat(5, 0), A), Other(A.repeat(5, 0), A))
    assert (values["rp"], values["rp_uncopied"]) == (1, 0)
    assert values["rp_baseline"] == 0.8  # of five in a row four are like the next one


def test_the_same_new_images_are_reproduced_and_no_copies() -> None:
    values = run(NEW, A, Other(NEW + 0.1 * drawn(100, 4), B), Other(NEW, A))
    assert (values["rp"], values["rp_uncopied"], values["rp_baseline"], values["rp_ceiling"]) == (1, 1, 0, 1)


def test_a_pair_counts_as_copied_where_either_is_one() -> None:
    """The twin's sample is a copy of its own half, and the first network's is as near to that as the threshold says."""
    theirs = NEW.copy()
    values = run(NEW, A, Other(theirs, np.concatenate([B, theirs[:30]])), Other(NEW, A))
    assert (values["rp"], values["rp_uncopied"]) == (1, 0.7)


def test_the_threshold_is_of_the_cosine() -> None:
    angle = np.arccos(0.6)
    one = np.tile(np.array([1.0, 0.0]), (10, 1)).astype(np.float32)
    for turned, expected in ((angle - 0.01, 1.0), (angle + 0.01, 0.0)):
        other = np.tile([np.cos(turned), np.sin(turned)], (10, 1)).astype(np.float32)
        values = run(one, -one[:1], Other(other, -one[:1]), Other(one, -one[:1]))
        assert values["rp"] == expected
    assert run(one, -one[:1], Other(other, -one[:1]), Other(one, -one[:1]), threshold=0.5)["rp"] == 1


def test_mirror_images_are_copies_where_training_showed_them() -> None:
    values = run(A[:, :, ::-1], A, Other(A[:, :, ::-1], B), Other(A, A), mirrored=True)
    assert (values["rp"], values["rp_uncopied"]) == (1, 0)
    assert run(A[:, :, ::-1], A, Other(A[:, :, ::-1], B), Other(A, A))["rp_uncopied"] == pytest.approx(1)
