"""The four tests of a claim: known answers by closed forms and by brute force, null worlds, and what would be seen."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom, fisher_exact, nct, t, ttest_ind

from difgen_cli.metrics._claim_share import share_used
from difgen_cli.metrics._claims import CAP, LEVEL, by_copies, by_images, by_models, by_twins
from difgen_cli.report.study.claims import holm


@pytest.mark.parametrize(("pairs", "right", "shown"), [(20, 16, True), (20, 15, False), (7, 7, True), (6, 6, False)])
def test_twins_are_coins_and_twenty_pairs_show_use_from_sixteen(pairs: int, right: int, shown: bool) -> None:
    kept = np.zeros(pairs)
    test = by_twins(np.where(np.arange(pairs) < right, 1.0, -1.0), kept)
    assert test.p == pytest.approx(binom.sf(right - 1, pairs, 0.5))
    assert (test.p <= LEVEL) == shown
    if pairs == 20:
        assert test.needed == 16
        assert test.seen is not None
        assert binom.sf(15, 20, test.seen) == pytest.approx(0.8)
    assert (test.needed is None) == (pairs == 6)
    assert by_twins(kept, kept).right == 0  # equal scores speak against it
    assert by_twins(kept, kept).p == 1


@pytest.mark.parametrize(("copied", "others"), [(0, 0), (1, 0), (5, 1), (8, 0), (3, 3), (0, 4)])
def test_copies_are_fishers_exact_test(copied: int, others: int) -> None:
    test = by_copies((copied, 60), (others, 50))
    p = fisher_exact([[copied, 60 - copied], [others, 50 - others]], alternative="greater").pvalue
    assert test.p == pytest.approx(p)
    assert test.needed is not None
    assert by_copies((test.needed, 60), (0, 50)).p <= LEVEL < by_copies((test.needed - 1, 60), (0, 50)).p
    assert by_copies((1, 5), (0, 500)).needed == 1  # one of five, of 505 images
    assert by_copies((3, 3), (0, 3)).needed is None  # three of three: p = 0.05


def models(
    seed: int, references: int, *, n: int = 20, control: int = 40, seen: float = 0.0, kind: float = 0.3, used: float = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `by_models` takes: levels of models and images, and what models make of the claim's kind as a whole."""
    chance, of_claim = np.random.default_rng((seed, references)), np.arange(n + control) < n
    trained = chance.random((references, n + control)) < seen
    common = chance.normal(0, 0.3, (references + 1, 1)) + chance.normal(0, kind, (references + 1, 1)) * of_claim
    phi = common + chance.normal(0, 1, n + control) + chance.normal(0, 0.2, (references + 1, n + control))
    phi[1:] += 0.5 * trained
    return phi[0] + used * of_claim, phi[1:], trained, of_claim


@pytest.mark.parametrize("references", [2, 3, 10])
def test_models_that_saw_nothing_are_one_more_draw_by_students_t(references: int) -> None:
    own, phi, trained, of_claim = models(1, references, used=0.8)
    test = by_models(own, phi, trained, of_claim)
    assert test is not None
    values = phi[:, of_claim].mean(axis=1) - phi[:, ~of_claim].mean(axis=1)
    effect = own[of_claim].mean() - own[~of_claim].mean() - values.mean()
    error = values.std(ddof=1) * np.sqrt(1 + 1 / references)
    assert test.effect == pytest.approx(effect)
    assert test.error == pytest.approx(error)
    assert test.p == pytest.approx(t.sf(effect / error, references - 1))
    assert (test.shift, test.power, test.references) == (None, None, references)
    if references > 2:  # the noncentral t of 1 degree is not to be had so far out
        limit = t.isf(LEVEL, references - 1)
        assert nct.sf(limit, references - 1, test.seen / error) == pytest.approx(0.8, abs=2e-3)


def test_one_model_alone_has_no_p_value_and_those_that_saw_the_claim_do_not_speak() -> None:
    own, phi, trained, of_claim = models(2, 4, used=0.8)
    assert by_models(own, phi[:1], trained[:1], of_claim) is None
    trained[:2, of_claim] = True
    spoken = by_models(own, phi, trained, of_claim)
    assert spoken is not None
    assert spoken.references == 2
    alone = by_models(own, phi[2:], trained[2:], of_claim)
    assert alone is not None
    assert spoken.p == pytest.approx(alone.p)
    trained[:3, of_claim] = True
    assert by_models(own, phi, trained, of_claim) is None


def test_images_that_a_model_saw_say_nothing_of_it_but_how_much_seeing_does() -> None:
    own, phi, trained, of_claim = models(3, 8, seen=0.3, kind=0.05)
    test = by_models(own, phi, trained, of_claim)
    louder = by_models(own, phi + 2.0 * trained, trained, of_claim)
    assert test is not None
    assert louder is not None
    assert louder.p == pytest.approx(test.p)
    assert test.shift is not None
    assert louder.shift == pytest.approx(test.shift + 2.0)
    assert test.shift == pytest.approx(0.5, abs=0.1)
    assert test.power is not None
    assert louder.power is not None
    assert test.power < louder.power


@pytest.mark.parametrize("seen", [0.0, 0.3])
@pytest.mark.parametrize("references", [2, 4, 10])
def test_images_of_one_kind_that_were_not_used_are_below_one_per_cent_in_one_per_cent_of_worlds(
    references: int, seen: float
) -> None:
    """And not in far fewer: the level is kept. A test over images takes what the kind has in common for use."""
    worlds, over_models, over_images = 250, [], []
    for seed in range(worlds):
        own, phi, trained, of_claim = models(seed, references, seen=seen)
        test = by_models(own, phi, trained, of_claim)
        over_models += [] if test is None else [test.p]
        if (references, seen) == (4, 0.0):
            beside = own - phi.mean(axis=0)
            over_images.append(ttest_ind(beside[of_claim], beside[~of_claim], alternative="greater").pvalue)
    p = np.array(over_models)
    assert (p < 0.01).sum() <= binom.isf(1e-3, len(p), 0.01)
    assert binom.ppf(1e-3, len(p), 0.05) <= (p < 0.05).sum() <= binom.isf(1e-3, len(p), 0.05)
    if over_images:
        assert np.mean(np.array(over_images) < 0.01) > 0.1


def test_control_images_are_a_permutation_test_that_is_capped_where_they_differ() -> None:
    claim, control = np.array([2.0, 3.0, 1.5]), np.array([0.0, 1.0, 2.5, 0.5])
    both = np.concatenate([claim, control])
    sums = [both[list(chosen)].sum() for chosen in combinations(range(7), 3)]
    exact = np.mean([s >= claim.sum() - 1e-9 for s in sums])
    assert by_images(claim, control, alike=True).p == pytest.approx(exact, abs=0.015)
    far = by_images(np.arange(30.0) + 100, np.arange(30.0), alike=True)
    assert far.p == pytest.approx(1e-4)
    capped = by_images(np.arange(30.0) + 100, np.arange(30.0), alike=False)
    assert (capped.p, capped.capped) == (CAP, True)
    assert by_images(np.arange(30.0), np.arange(30.0) + 100, alike=False).p == 1  # the cap raises no evidence


def test_several_claims_are_corrected_after_holm() -> None:
    corrected = holm(np.array([0.04, 0.001, np.nan, 0.03]))
    assert corrected[[0, 1, 3]] == pytest.approx([0.06, 0.003, 0.06])
    assert np.isnan(corrected[2])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_that_was_used_comes_back_with_its_interval_or_not_at_all(share: float) -> None:
    estimates = []
    for seed in range(40):
        chance = np.random.default_rng(seed)
        n, control, pool, references = 50, 60, 200, 6
        of_claim, of_pool = np.arange(n + control + pool) < n, np.arange(n + control + pool) >= n + control
        trained = (chance.random((references, n + control + pool)) < 0.3) & (of_claim | of_pool)
        phi = chance.normal(0, 1, n + control + pool) + chance.normal(0, 0.3, (references + 1, n + control + pool))
        phi[1:] += 0.6 * trained
        phi[0, : round(share * n)] += 0.6
        estimate = share_used(phi[0], phi[1:], trained, of_claim, of_pool)
        assert estimate is not None
        estimates.append(estimate)
        assert (
            share_used(phi[0], phi[1:3], trained[:2], of_claim, of_pool) is None
        )  # two models say nothing of a spread
    value, lower, upper = np.array(estimates).T
    assert value.mean() == pytest.approx(share, abs=0.06)
    assert ((lower <= share) & (share <= upper)).mean() >= 0.9
