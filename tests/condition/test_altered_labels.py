"""Noisy and permuted labels; labels stay with their images whatever the subset; samples draw their proportions."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from difgen_cli.condition import Labels, alter, file, kmeans, labels, proportions, random, temi
from difgen_cli.data import scaled, split
from difgen_cli.data.digits import load
from difgen_cli.sampling import labels_of, starting_points

POOL = load()
PARTS = split(POOL, held_out=1500)
REST, HELD_OUT = scaled(POOL.images[PARTS.rest]), scaled(POOL.images[PARTS.held_out])
EVERYTHING = np.arange(len(REST))


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def own_labels() -> Labels:
    assert POOL.labels is not None
    return labels.fit(POOL.labels[PARTS.rest], POOL.labels[PARTS.held_out])


GIVEN = np.random.default_rng(0).integers(3, 40, size=len(POOL.images))
FITTED: dict[str, Callable[[np.ndarray], Labels]] = {
    "labels": lambda _: own_labels(),
    "kmeans": lambda _: kmeans.fit(REST, HELD_OUT, flat, clusters=12),
    "temi": lambda _: temi.fit(REST, HELD_OUT, flat, clusters=12, heads=2, steps=20),
    "file": lambda _: file.fit(GIVEN[PARTS.rest], GIVEN[PARTS.held_out]),
    "random": lambda train: random.fit(REST, HELD_OUT, train, clusters=12),
}


@cache
def whole_of(name: str) -> Labels:
    """Fitted to all images, once for the tests of this file, and not where it is only collected."""
    return FITTED[name](EVERYTHING)


@pytest.mark.parametrize("name", FITTED)
@given(size=st.integers(1, len(REST)), seed=st.integers(0, 99), noise=st.sampled_from([0.0, 0.3]))
def test_under_every_subset_an_image_has_the_label_that_it_has_in_the_whole(
    name: str, size: int, seed: int, noise: float
) -> None:
    train = np.searchsorted(PARTS.rest, split(POOL, held_out=1500, size=size, seed=seed).train)
    fitted = FITTED[name](train) if name in ("labels", "file", "random") else whole_of(name)  # these do not know T
    of_T, whole = (alter(made, subset, noise=noise) for made, subset in ((fitted, train), (whole_of(name), EVERYTHING)))
    np.testing.assert_array_equal(of_T.rest[train], whole.rest[train])
    shares = proportions(of_T.rest[train], of_T.classes)
    np.testing.assert_allclose(shares * size, [np.sum(whole.rest[train] == k) for k in range(of_T.classes)])


@pytest.mark.parametrize("name", FITTED)
def test_labels_are_numbered_without_gaps(name: str) -> None:
    made = whole_of(name)
    everyone = np.concatenate([made.rest, made.held_out])
    assert sorted(set(everyone)) == list(range(made.classes))


def test_labels_of_a_file_keep_their_order_and_their_images() -> None:
    made = whole_of("file")
    for given_labels, found in ((GIVEN[PARTS.rest], made.rest), (GIVEN[PARTS.held_out], made.held_out)):
        np.testing.assert_array_equal(np.unique(GIVEN)[found], given_labels)


def test_generated_labels_have_the_subsets_proportions() -> None:
    """χ² at 5,000 samples of each conditioning; the smallest p of five is below 0.002 in one of a hundred studies."""
    uniform = starting_points((1,), seed=0, start=0, count=5000)[1]
    for made in map(whole_of, FITTED):
        shares = proportions(made.rest[:64], made.classes)
        drawn = np.bincount(labels_of(uniform, shares), minlength=made.classes)  # type: ignore[arg-type]
        assert not drawn[shares == 0].any(), "a label that no training image has was asked for"
        assert chisquare(drawn[shares > 0], 5000 * shares[shares > 0]).pvalue > 0.002


def test_noise_replaces_its_share_by_the_other_labels_alike() -> None:
    count, classes, share = 200_000, 5, 0.3
    clean = Labels(np.full(count, 2), np.full(count, 4), classes)
    noisy = alter(clean, np.arange(10), noise=share)
    for before, after in ((clean.rest, noisy.rest), (clean.held_out, noisy.held_out)):
        wrong = after[after != before]
        assert len(wrong) / count == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / count))
        others = np.bincount(wrong, minlength=classes)[[k for k in range(classes) if k != before[0]]]
        assert chisquare(others).pvalue > 0.001


def test_all_labels_are_wrong_at_a_share_of_one_and_none_at_zero() -> None:
    clean = own_labels()
    assert (alter(clean, EVERYTHING, noise=1.0).rest != clean.rest).all()
    assert alter(clean, EVERYTHING) is clean
    np.testing.assert_array_equal(alter(clean, EVERYTHING, noise=1e-12).rest, clean.rest)


def test_less_noise_hits_a_part_of_the_same_images_in_the_same_way() -> None:
    clean = own_labels()
    little, much = (alter(clean, EVERYTHING, noise=share).rest for share in (0.1, 0.4))
    hit = little != clean.rest
    np.testing.assert_array_equal(little[hit], much[hit])
    assert (much != clean.rest).sum() > hit.sum() > 0


def test_a_single_label_has_no_wrong_one() -> None:
    single = Labels(np.zeros(5, np.int64), np.zeros(2, np.int64), 1)
    assert not alter(single, np.arange(5), noise=1.0).rest.any()


@given(size=st.integers(1, len(REST)), seed=st.integers(0, 99))
def test_permuted_labels_keep_the_subsets_histogram_exactly(size: int, seed: int) -> None:
    clean = own_labels()
    train = np.random.default_rng(seed).permutation(len(REST))[:size]
    permuted = alter(clean, train, permuted=True, seed=seed)
    np.testing.assert_array_equal(np.sort(permuted.rest[train]), np.sort(clean.rest[train]))
    assert permuted.classes == clean.classes


def test_a_permutation_leaves_no_similarity_and_is_of_its_seed() -> None:
    clean = own_labels()
    one, same, other = (alter(clean, EVERYTHING, permuted=True, seed=seed).rest for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.mean(one == other) < 0.2  # a tenth by chance
    assert np.mean(one == clean.rest) < 0.2


def test_held_out_images_draw_their_permuted_labels_from_the_subsets_proportions() -> None:
    count = 50_000
    clean = Labels(np.repeat([0, 1, 2], [50, 30, 20]), np.zeros(count, np.int64), 3)
    train = np.r_[0:40, 50:60]  # 40 of the first, 10 of the second, none of the third
    found = alter(clean, train, permuted=True)
    assert chisquare(np.bincount(found.held_out, minlength=3)[:2], [0.8 * count, 0.2 * count]).pvalue > 0.001
    assert not (found.held_out == 2).any()


def test_noise_of_held_out_images_has_the_law_of_the_training_images() -> None:
    """Else the loss of a model that knows nothing of its training images would differ between the two."""
    clean = own_labels()
    noisy = alter(clean, EVERYTHING, noise=0.5)
    assert np.mean(noisy.held_out != clean.held_out) == pytest.approx(0.5, abs=0.06)
