"""Membership by the loss: brute force, peers, twins, and degenerate inputs."""

import weakref

import numpy as np
import pytest
from denoisers import CPU, OfLabel, Wiener, digit_parts, gaussian
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics._noise import bank, losses
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


def test_the_two_other_scores_are_those_of_float64() -> None:
    """The error of the mean of the same 8 reconstructions, and the 4-norm of one query without noise."""
    train, held_out = gaussian(50, 1), 1.1 * gaussian(80, 2)
    values = run(Wiener(0.7), train, held_out, 0.7)
    for relative, word in zip((0.25, 0.5, 1.0), WORDS, strict=True):
        shrink, sigma, means, norms = 1 / (1 + relative**2), relative * 0.7, [], []
        for split, x in enumerate((train, held_out)):
            noise = bank(x[:50], None, 8, split, CPU).noise.double().numpy().reshape(50, 8, -1)
            clean = x[:50].astype(np.float64)
            means.append(-(((shrink * (clean[:, None] + sigma * noise)).mean(axis=1) - clean) ** 2).sum(axis=1))
            norms.append(-((((1 - shrink) * clean) / sigma) ** 4).sum(axis=1))
        for name, scores in (("mean", means), ("clean", norms)):
            expected = roc_auc_score(np.repeat([1, 0], 50), np.concatenate(scores))
            assert values[f"mia_{name}_auc_{word}"] == pytest.approx(expected, abs=1e-12)
            assert values[f"mia_{name}_auc_{word}_lo"] < expected < values[f"mia_{name}_auc_{word}_hi"]


def test_an_image_costs_nine_evaluations_at_a_level() -> None:
    counted: dict[float, int] = {}

    class Counting(Wiener):
        def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
            counted[float(sigma[0])] = counted.get(float(sigma[0]), 0) + len(x)
            return super().forward(x, sigma, labels)

    run(Counting(0.7), gaussian(30, 1), gaussian(40, 2), 0.7)
    assert list(counted.values()) == [2 * 30 * (8 + 1)] * 3


def test_what_is_denoised_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors are the same whatever the blocks are, also where an image's draws lie in several of them."""
    x = gaussian(21, 3)
    made = bank(x, None, 8, 0, CPU)
    whole = losses(Wiener(0.7), made, [0.3])
    shrink, mean = 1 / (1 + (0.3 / 0.7) ** 2), made.noise.double().numpy().reshape(21, 8, -1).mean(axis=1)
    assert np.allclose(whole.bias[:, 0], ((shrink * (x + 0.3 * mean) - x) ** 2).mean(axis=1), rtol=1e-5)
    for pairs in (1, 3, 8, 20):
        monkeypatch.setattr("difgen_cli.metrics._noise.BLOCK_ELEMENTS", 8 * pairs)
        monkeypatch.setattr("difgen_cli.metrics._noise.BLOCK_PAIRS", pairs)
        alive: list[weakref.ref[Tensor]] = []
        most = 0

        class Watched(Wiener):
            def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
                nonlocal most
                given = super().forward(x, sigma, labels)
                alive.append(weakref.ref(given))  # noqa: B023
                most = max(most, sum(one() is not None for one in alive))  # noqa: B023
                return given

        parts = losses(Watched(0.7), made, [0.3])
        assert len(alive) == -(-168 // pairs)
        assert most <= 2
        for name in ("mean", "square", "root"):
            assert np.array_equal(getattr(parts, name), getattr(whole, name))
        assert np.allclose(parts.bias, whole.bias, rtol=1e-12)


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
        assert values[f"mia_mean_auc_{word}"] == values[f"mia_clean_auc_{word}"] == 1
    assert (values["mia_tpr_10fp"], values["mia_tpr_10fp_rate"]) == (1, 10 / 64)
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


def test_shares_at_the_declared_level() -> None:
    train, held_out = 0.9 * gaussian(1100, 1), 1.1 * gaussian(1200, 2)
    values = run(Wiener(0.7), train, held_out, 0.7, images=2000)
    of_T, of_H = (-loss_of(x[:1100], split, 0.175, 1 / (1 + 0.0625)) for split, x in enumerate((train, held_out)))
    assert values["mia_tpr_1pct_025"] == (of_T > np.sort(of_H)[-12]).mean()  # 11 of 1,100 are above it
    assert values["mia_tpr_10fp"] == (of_T > np.sort(of_H)[-11]).mean()
    assert values["mia_tpr_10fp_rate"] == 10 / 1100
    assert values["mia_tail"] == (of_H < np.sort(of_T)[11]).mean() > 0.01
    interval = binomtest(round(values["mia_tail"] * 1100), 1100).proportion_ci(0.95, "exact")
    assert (values["mia_tail_lo"], values["mia_tail_hi"]) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_shares_of_models_that_leak_all_and_nothing() -> None:
    large, other = gaussian(1000, 1), gaussian(1000, 2)
    values = run(IdealDenoiser(to_tensor(large), 0.7), large, other, 0.7)
    assert (values["mia_tpr_1pct_025"], values["mia_tpr_10fp"]) == (1, 1)
    assert values["mia_tail"] > 0.99
    values = run(Wiener(0.7), large, other, 0.7)
    for name in ("mia_tail", "mia_tpr_1pct_025", "mia_tpr_10fp"):
        assert 0 < values[name] < 0.025  # about 0.01
    few = run(Wiener(0.7), gaussian(10, 1), gaussian(10, 2), 0.7)
    assert few["mia_tpr_10fp"] is few["mia_tpr_10fp_rate"] is few["mia_tail"] is None


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
