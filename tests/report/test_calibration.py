"""Calibrated membership in numbers: least squares, twins, the ideal denoiser, LiRA's formula, planted worlds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm, t
from shadow_worlds import Pool
from sklearn.metrics import roc_auc_score

from difgen_cli.data import scaled, sigma_data
from difgen_cli.data.digits import load
from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import exposure
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, bank, losses
from difgen_cli.metrics._ranks import Auroc, auroc
from difgen_cli.metrics.membership import twin_aucs
from difgen_cli.report.study.calibration import delong, difference, lira, mean_auroc, shift, split_half, student

sys.path.insert(0, str(Path(__file__).parent.parent / "metrics"))
from denoisers import CPU, ErrorProne, gaussian, shared


def areas_of(phi: np.ndarray, trained: np.ndarray) -> tuple[list[float], list[float]]:
    """AUROC of the shifted difference and of φ alone, of every model, the others its references."""
    calibrated, plain = [], []
    for m in range(len(phi)):
        at = np.delete(np.arange(len(phi)), m)
        scores = difference(phi[m], phi[at], trained[at], shift(phi[at], trained[at]))
        calibrated.append(auroc(scores[trained[m]], scores[~trained[m]]).value)
        plain.append(auroc(phi[m, trained[m]], phi[m, ~trained[m]]).value)
    return calibrated, plain


def test_the_shift_is_that_of_least_squares_with_a_level_for_each_model_and_image() -> None:
    phi, trained, _ = Pool(images=40, size=15, count=4).draw(1)
    model, image = np.indices(phi.shape)
    levels = [*(model.reshape(-1) == k for k in range(4)), *(image.reshape(-1) == k for k in range(40))]
    columns = [trained.reshape(-1), *levels]
    solved = np.linalg.lstsq(np.stack(columns, axis=1).astype(float), phi.reshape(-1), rcond=None)[0]
    assert shift(phi, trained) == pytest.approx(solved[0], abs=1e-9)


def test_a_planted_shift_is_found_exactly_where_nothing_else_varies_and_one_reference_compares_the_means() -> None:
    phi, trained, _ = Pool(unequal=0, noise=0, leak=0.7).draw(2)
    assert shift(phi, trained) == pytest.approx(0.7, abs=1e-12)
    one, of_T = phi[:1], trained[:1]
    assert shift(one, of_T) == pytest.approx(one[of_T].mean() - one[~of_T].mean(), abs=1e-12)
    same = np.repeat(of_T, 2, axis=0)  # two references of one subset tell nothing image by image
    assert shift(phi[:2], same) == pytest.approx(np.mean([shift(phi[k : k + 1], of_T) for k in (0, 1)]), abs=1e-12)
    assert shift(phi, np.ones_like(trained)) == 0


def test_two_seeds_on_disjoint_halves_without_shift_are_twins() -> None:
    """The AUROC of loss_B − loss_A, interval and all, as the metric of twins has it."""
    A, B = gaussian(60, 1), gaussian(60, 2)
    models = [ErrorProne(half, 0.5) for half in (A, B)]
    values = twin_aucs(*models, A, B, None, None, 1.0)
    levels = np.array([0.25, 0.5, 1.0])
    banks = [bank(half, None, 8, split, CPU) for half, split in ((A, TRAIN), (B, HELD_OUT))]
    phi = np.stack([-np.concatenate([losses(model, part, levels).mean for part in banks]) for model in models])
    of_A = np.arange(120) < 60
    for k, word in enumerate(("025", "050", "100")):
        scores = difference(phi[0, :, k], phi[1:, :, k], ~of_A[None], 0.0)
        area, _ = delong(scores, of_A, ~of_A)
        ends = [values[f"mia_twin_auc_{word}{end}"] for end in ("", "_lo", "_hi")]
        assert [area.value, area.lower, area.upper] == pytest.approx(ends, abs=1e-12)


def test_the_ideal_denoiser_gives_all_of_its_images_away() -> None:
    pool = scaled(load().images[:400])
    sigma_d, phi, trained = sigma_data(load().images[:400]), [], []
    for seed in range(3):
        of_T = np.isin(np.arange(400), np.random.default_rng(seed).permutation(400)[:120])
        model = IdealDenoiser(to_tensor(pool[of_T]), sigma_d)
        table = exposure.measure(
            model, pool[of_T], pool, pool[:0], None, None, None, sigma_d, shared
        ).tables["exposure"]  # fmt: skip
        phi.append(-np.log(np.maximum(table["loss"], np.finfo(float).tiny)))
        trained.append(table["split"] == "train")
    calibrated, plain = areas_of(np.stack(phi), np.stack(trained))
    assert plain == [1, 1, 1]
    assert calibrated == [1, 1, 1]


def test_a_calibrated_score_is_not_below_the_plain_one_and_far_above_where_images_differ() -> None:
    for easy, least in ((0.0, -0.12), (0.3, 0.0), (1.0, 0.15)):
        gains = [np.subtract(*map(np.mean, areas_of(*Pool(easy=easy).draw(seed)[:2]))) for seed in range(20)]
        assert np.mean(gains) > least, easy


def test_labels_that_nothing_depends_on_are_not_told() -> None:
    """Over 200 worlds without a leak, whatever the images are like: the mean within three standard errors."""
    worlds = [Pool(leak=0, unequal=0, count=m).draw(seed) for m in (2, 3) for seed in range(100)]
    calibrated = [np.mean(areas_of(phi, trained)[0]) for phi, trained, _ in worlds]
    assert abs(np.mean(calibrated) - 0.5) < 3 * np.std(calibrated) / np.sqrt(200)


def test_images_that_no_reference_was_trained_on_are_like_the_others_with_the_shift_alone() -> None:
    """The trap: without it pool∖T reads far from one half against H, which no model was trained on."""
    shifted, unshifted = [], []
    for seed in range(20):
        phi, trained, of_H = Pool().draw(seed)
        delta = shift(phi[1:], trained[1:])
        for wanted, by in ((shifted, delta), (unshifted, 0.0)):
            scores = difference(phi[0], phi[1:], trained[1:], by)[~trained[0]]
            wanted.append(auroc(scores, of_H[0] - of_H[1:].mean(0)).value)
    assert np.mean(shifted) == pytest.approx(0.5, abs=0.01)
    assert np.mean(unshifted) < 0.42


def test_lira_is_the_likelihood_ratio_of_its_paper() -> None:
    phi, trained, _ = Pool(images=30, size=12, count=9).draw(3)
    own, references, subsets = phi[0], phi[1:], trained[1:]
    scores = lira(own, references, subsets, 0.5, own_spread=True)
    compared = 0
    for x in range(30):
        inside, outside = references[subsets[:, x], x], references[~subsets[:, x], x]
        if min(len(inside), len(outside)) > 1:
            laws = [norm(part.mean(), part.std(ddof=1)) for part in (inside, outside)]
            assert scores[x] == pytest.approx(laws[0].logpdf(own[x]) - laws[1].logpdf(own[x]), abs=1e-9)
            compared += 1
    assert compared > 15
    common = lira(own, references, subsets, 0.5, own_spread=False)
    spreads = []
    for among in (subsets, ~subsets):
        parts = [references[among[:, x], x] for x in range(30) if among[:, x].any()]
        squares = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
        spreads.append(np.sqrt(squares / sum(len(part) - 1 for part in parts)))
    x = int(np.flatnonzero(subsets.any(0) & ~subsets.all(0))[0])
    means = [references[subsets[:, x], x].mean(), references[~subsets[:, x], x].mean()]
    laws = [norm(*parameters) for parameters in zip(means, spreads, strict=True)]
    assert common[x] == pytest.approx(laws[0].logpdf(own[x]) - laws[1].logpdf(own[x]), abs=1e-9)


def test_students_score_is_that_of_the_conjugate_prior_and_shrinks() -> None:
    """One image that no reference was trained on: in, it has the prior alone."""
    phi, trained, _ = Pool(images=200, size=80, count=9).draw(4)
    own, references, subsets = phi[0], phi[1:], trained[1:]
    scores = student(own, references, subsets, 0.5)
    for x in (0, 7, 31):
        centre, ratio = (references[:, x] - 0.5 * subsets[:, x]).mean(), 0.0
        for sign, among, prior in ((1, subsets, centre + 0.5), (-1, ~subsets, centre)):
            values = references[among[:, x], x]
            count = among.sum(0)
            mean = np.where(among, references, 0).sum(0) / np.maximum(count, 1)
            pooled = (np.where(among, references - mean, 0) ** 2).sum() / np.maximum(count - 1, 0).sum()
            n = len(values)
            middle = (prior + values.sum()) / (1 + n)
            scale = 6 * pooled
            if n:
                scale += ((values - values.mean()) ** 2).sum() + n / (1 + n) * (values.mean() - prior) ** 2
            ratio += sign * t(6 + n, middle, np.sqrt(scale / (6 + n) * (1 + 1 / (1 + n)))).logpdf(own[x])
        assert scores[x] == pytest.approx(ratio, abs=1e-9)
    assert auroc(scores[trained[0]], scores[~trained[0]]).value > 0.7


def test_reliability_is_that_of_two_halves_of_references_stepped_up() -> None:
    """Scores of variance τ² in common and references of variance s² each: τ²/(τ² + s²/K)."""
    chance, n, tau, s = np.random.default_rng(5), 20_000, 0.6, 1.0
    own, nobody = tau * chance.standard_normal(n), np.zeros((4, n), bool)
    for K in (2, 4):
        references = s * chance.standard_normal((K, n))
        found = split_half(own, references, nobody[:K], 0.0, np.ones(n, bool))
        assert found == pytest.approx(tau**2 / (tau**2 + s**2 / K), abs=0.02)
    assert np.isnan(split_half(own, references[:1], nobody[:1], 0.0, np.ones(n, bool)))


def test_the_variance_of_one_model_is_delongs() -> None:
    chance = np.random.default_rng(6)
    scores, positive = chance.standard_normal(200), chance.random(200) < 0.4
    scores += 0.8 * positive
    area, variance = delong(scores, positive, ~positive)
    assert area == auroc(scores[positive], scores[~positive])
    assert area.value == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    drawn = [delong(*_again(k))[0].value for k in range(400)]
    assert np.sqrt(variance) == pytest.approx(np.std(drawn), rel=0.15)


def _again(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chance = np.random.default_rng((6, seed))
    positive = np.arange(200) < 80
    return chance.standard_normal(200) + 0.8 * positive, positive, ~positive


def test_the_interval_of_a_mean_holds_images_and_models() -> None:
    """The jackknife by its formula alone where models differ by no more than chance; t over models where they do."""
    left_out = np.array([0.70, 0.71, 0.72, 0.69, 0.68])
    alike = [Auroc(value, 0.6, 0.8) for value in (0.70, 0.70, 0.70)]
    half = t(4).ppf(0.975) * np.sqrt(4 / 5 * ((left_out - 0.7) ** 2).sum()) / (0.7 * 0.3)
    area = mean_auroc(alike, np.full(3, 1e-3), left_out)
    assert (area.lower, area.upper) == pytest.approx([expit(logit(0.7) - half), expit(logit(0.7) + half)], abs=1e-12)
    differ = [Auroc(value, 0.6, 0.8) for value in (0.60, 0.70, 0.80)]
    area = mean_auroc(differ, np.zeros(3), np.full(5, 0.7))
    half = t(2).ppf(0.975) * 0.1 / np.sqrt(3) / (0.7 * 0.3)
    assert (area.lower, area.upper) == pytest.approx([expit(logit(0.7) - half), expit(logit(0.7) + half)], abs=1e-12)
    apart = mean_auroc([Auroc(1.0, 0.9, 1.0), Auroc(1.0, 0.95, 1.0)], np.zeros(2), np.ones(5))
    assert apart == Auroc(1.0, 0.9, 1.0)
