"""Membership by the loss: brute force, peers, twins, and degenerate inputs."""

import numpy as np
import pytest
from denoisers import CPU, OfLabel, Wiener, digit_parts, gaussian
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve
from torch import nn

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics._noise import bank
from difgen_cli.metrics.membership import COLUMNS, measure, twin_aucs

Values = dict[str, float]
WORDS = ("025", "050", "100")


def run(denoiser: nn.Module, train: np.ndarray, held_out: np.ndarray, sigma_d: float, **settings: int) -> Values:
    values = measure(denoiser, train, held_out, None, None, sigma_d, **settings).values  # type: ignore[arg-type]
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


def images_of(points: np.ndarray) -> np.ndarray:
    """Points (n, 4) as images (n, 2, 2, 1)."""
    return points.reshape(-1, 2, 2, 1)


def loss_of(images: np.ndarray, split: int, sigma: float, shrink: float) -> np.ndarray:
    """The mean over 8 draws of ‖shrink (x₀ + σn) − x₀‖²/d, in float64."""
    noise = bank(images, None, 8, split, CPU).noise.double().numpy().reshape(len(images), 8, -1)
    clean = images[:, None].astype(np.float64)
    return ((shrink * (clean + sigma * noise) - clean) ** 2).mean(axis=(1, 2))


def test_the_score_is_minus_the_loss_over_eight_draws_for_as_many_images_of_both_splits() -> None:
    train, held_out = gaussian(50, 1), 1.1 * gaussian(80, 2)
    values = run(Wiener(0.7), train, held_out, 0.7)
    assert values["mia_images"] == 50
    for relative, word in zip((0.25, 0.5, 1.0), WORDS, strict=True):
        shrink = 1 / (1 + relative**2)
        scores = [-loss_of(x[:50], split, relative * 0.7, shrink) for split, x in enumerate((train, held_out))]
        expected = roc_auc_score(np.repeat([1, 0], 50), np.concatenate(scores))
        assert values[f"mia_auc_{word}"] == pytest.approx(expected, abs=1e-12)
        assert values[f"mia_auc_{word}_lo"] < expected < values[f"mia_auc_{word}_hi"]


def test_a_model_that_has_seen_neither_split_leaks_nothing() -> None:
    values = run(Wiener(0.7), gaussian(600, 1), gaussian(600, 2), 0.7)
    for word in WORDS:
        assert values[f"mia_auc_{word}_lo"] <= 0.5 <= values[f"mia_auc_{word}_hi"]


def test_intervals_of_a_model_without_leak_hold_one_half(monkeypatch: pytest.MonkeyPatch) -> None:
    held = []
    for seed in range(300):
        monkeypatch.setattr("difgen_cli.metrics._noise.SEED", seed)  # noise is chance too, but for the bank
        values = run(Wiener(0.7), gaussian(40, seed), gaussian(40, seed + 1000), 0.7)
        held += [values[f"mia_auc_{word}_lo"] <= 0.5 <= values[f"mia_auc_{word}_hi"] for word in WORDS]
    assert 0.92 <= np.mean(held) <= 0.98


def test_a_perfect_memorizer_gives_its_training_images_away() -> None:
    train, held_out, _, sigma_d = digit_parts(64)
    values = run(IdealDenoiser(to_tensor(train), sigma_d), train, held_out, sigma_d)
    for word in WORDS:
        assert values[f"mia_auc_{word}"] == values[f"mia_auc_{word}_hi"] == 1
        assert 0.95 < values[f"mia_auc_{word}_lo"] < 1
    assert values["mia_tpr_at_1pct"] is None  # 64 images of H


def test_the_share_found_at_one_per_cent_of_false_alarms() -> None:
    train, held_out = 0.9 * gaussian(1100, 1), 1.1 * gaussian(1200, 2)
    values = run(Wiener(0.7), train, held_out, 0.7, images=2000)
    scores = [-loss_of(x[:1100], split, 0.35, 0.8) for split, x in enumerate((train, held_out))]
    alarms, found, _ = roc_curve(np.repeat([1, 0], 1100), np.concatenate(scores), drop_intermediate=False)
    share = found[alarms <= 0.01].max()
    assert values["mia_tpr_at_1pct"] == pytest.approx(share, abs=1e-12)
    interval = binomtest(round(share * 1100), 1100).proportion_ci(0.95, "exact")
    ends = values["mia_tpr_at_1pct_lo"], values["mia_tpr_at_1pct_hi"]
    assert ends == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_no_share_is_given_where_its_threshold_would_rest_on_less_than_ten_images() -> None:
    small, large = gaussian(999, 1), gaussian(1200, 2)
    for train, held_out in ((small, large), (large, small)):
        assert run(Wiener(0.7), train, held_out, 0.7)["mia_tpr_at_1pct"] is None
    assert run(Wiener(0.7), large, large, 0.7, images=999)["mia_tpr_at_1pct"] is None
    assert run(Wiener(0.7), large, large, 0.7, images=1000)["mia_tpr_at_1pct"] is not None


def test_labels_stay_with_their_images_and_unknown_conditions_are_left_out() -> None:
    labels = np.random.default_rng(0).permutation(80)
    train = np.repeat(labels[:, None], 4, axis=1).astype(np.float32)
    held_out, of_held_out = np.concatenate([train[:5] + 900, train[:40]]), np.concatenate([[700] * 5, labels[:40]])
    values = measure(OfLabel(80), train, held_out, labels, of_held_out, 1.0).values  # type: ignore[arg-type]
    assert values["mia_images"] == 40
    assert values["mia_auc_050"] == pytest.approx(0.5)  # every image has the same loss


def test_twins_tell_their_halves_apart_and_change_places() -> None:
    halves = digit_parts(100)[0]
    one, other, sigma_d = halves[:50], halves[50:], 0.75
    models = [IdealDenoiser(to_tensor(half), sigma_d) for half in (one, other)]
    found = twin_aucs(*models, one, other, None, None, sigma_d)
    assert [found[f"mia_twin_auc_{word}"] for word in WORDS] == [1, 1, 1]
    swapped = twin_aucs(*models, other, one, None, None, sigma_d)  # each half against the other's model
    assert [swapped[f"mia_twin_auc_{word}"] for word in WORDS] == [0, 0, 0]
    assert set(found) == {f"mia_twin_auc_{word}{end}" for word in WORDS for end in ("", "_lo", "_hi")}


def test_the_twin_score_is_the_difference_of_losses_on_the_same_noise() -> None:
    one, other = gaussian(60, 1), 1.2 * gaussian(70, 2)
    found = twin_aucs(Wiener(0.7), Wiener(0.7, 0.6), one, other, None, None, 0.7)
    for relative, word in zip((0.25, 0.5, 1.0), WORDS, strict=True):
        sigma, shrink = relative * 0.7, 1 / (1 + relative**2)
        scores = [
            loss_of(x[:60], split, sigma, 0.6 * shrink) - loss_of(x[:60], split, sigma, shrink)
            for split, x in enumerate((one, other))
        ]
        expected = roc_auc_score(np.repeat([1, 0], 60), np.concatenate(scores))
        assert found[f"mia_twin_auc_{word}"] == pytest.approx(expected, abs=1e-12)


def test_twins_that_are_one_model_are_told_apart_by_nothing() -> None:
    found = twin_aucs(Wiener(0.7), Wiener(0.7), gaussian(60, 1), gaussian(60, 2), None, None, 0.7)
    assert found["mia_twin_auc_050"] == 0.5


def test_twins_are_compared_on_the_conditions_of_both() -> None:
    labels = np.repeat([0, 1, 2], 10)
    images, others = (labels[:, None] + 0.1 * gaussian(30, seed) for seed in (1, 2))
    found = twin_aucs(OfLabel(3), OfLabel(2), images[:20], others[10:], labels[:20], labels[10:], 1.0)
    assert found["mia_twin_auc_050"] == 0.5  # OfLabel(2) refuses the label 2
    with pytest.raises(ValueError, match="same conditions in both halves"):
        twin_aucs(OfLabel(), OfLabel(), images[:10], images[20:], labels[:10], labels[20:], 1.0)


@pytest.mark.parametrize(("size", "held_out"), [(1, 1), (1, 9), (2, 2), (9, 1)])
def test_few_images_give_values_or_none_and_never_nan(size: int, held_out: int) -> None:
    values = run(Wiener(0.7), gaussian(size, 1), gaussian(held_out, 2), 0.7)
    assert all(value is None or np.isfinite(value) for value in values.values())
    assert (values["mia_auc_050_lo"] is None) == (min(size, held_out) == 1)


def test_images_that_are_all_the_same_are_one_image_and_say_nothing() -> None:
    same = np.full((20, 4), 0.5, np.float32)
    values = run(IdealDenoiser(to_tensor(same), 0.7), same, same, 0.7)
    assert (values["mia_auc_050"], values["mia_auc_050_lo"], values["mia_images"]) == (0.5, None, 1)


def test_repeats_count_once_on_either_side() -> None:
    train, held_out = gaussian(60, 1), gaussian(50, 2)
    once = run(Wiener(0.7), train, held_out, 0.7)
    twice = run(Wiener(0.7), np.repeat(train, 3, axis=0), np.concatenate([held_out, held_out[:30]]), 0.7)
    assert twice == once
    capped = run(Wiener(0.7), np.repeat(train, 3, axis=0), held_out, 0.7, images=20)
    assert capped == run(Wiener(0.7), train, held_out, 0.7, images=20)


def test_images_of_both_halves_are_members_of_neither() -> None:
    one, other = gaussian(60, 1), 1.2 * gaussian(70, 2)
    expected = twin_aucs(Wiener(0.7), Wiener(0.7, 0.6), images_of(one), images_of(other), None, None, 0.7)
    both = images_of(gaussian(20, 3))
    halves = (np.concatenate([both, images_of(part)]) for part in (one, other))
    assert twin_aucs(Wiener(0.7), Wiener(0.7, 0.6), *halves, None, None, 0.7) == expected


def test_what_cannot_be_measured_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="there are 5 and 0"):
        run(Wiener(0.7), gaussian(5, 1), gaussian(5, 2)[:0], 0.7)
    with pytest.raises(ValueError, match="did the training diverge"):
        run(Wiener(0.7, np.nan), gaussian(5, 1), gaussian(5, 2), 0.7)
