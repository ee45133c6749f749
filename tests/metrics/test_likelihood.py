"""The feature likelihood divergence against the paper's procedure in autograd, and what it sees and does not."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from difgen_cli.metrics import likelihood
from difgen_cli.metrics.likelihood import COLUMNS, likelihoods, measure, scale_of

Arrays = dict[str, np.ndarray]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def measured(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    values = measure(samples, train, held_out, flat, shared).values
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


def gaussian(n: int, seed: int, d: int = 8) -> np.ndarray:
    return np.random.default_rng((seed, n)).standard_normal((n, d)) * np.linspace(0.5, 3, d) + 1


def by_autograd(train: np.ndarray, centres: np.ndarray, batch: int = 10_000) -> np.ndarray:
    """log σ² by the procedure that the paper's authors published: torch's Adam on the mean log-likelihood."""
    x, mu = torch.from_numpy(train), torch.from_numpy(centres)
    n, d = x.shape
    squared = ((x[:, None] - mu) ** 2).sum(dim=2)
    origin = 0.9**2 * ((x - x.mean(dim=0)) ** 2).sum(dim=1)
    s = ((squared.min(dim=0).values + 1e-3) / d).log().requires_grad_()
    s0 = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([s, s0], lr=0.5)
    order = torch.from_numpy(np.random.default_rng((likelihood.SEED, 1)).permutation(n))
    for _ in range(50):
        for rows in order.split(batch):
            optimizer.zero_grad()
            constant = d / 2 * np.log(2 * np.pi)
            parts = -squared[rows] / (2 * s.exp()) - d / 2 * s - constant - np.log(len(mu))
            rest = -origin[rows] / (2 * s0.exp()) - d / 2 * s0 - constant
            (-torch.logsumexp(torch.cat([parts, rest[:, None]], dim=1), dim=1).mean() / d).backward()
            optimizer.step()
            with torch.no_grad():
                s.clamp_(-40, 20)
    return s.detach().numpy()


def negative_log_likelihood(x: np.ndarray, centres: np.ndarray, log_variances: np.ndarray) -> float:
    """-100/d E log p with scipy's normal densities."""
    d = x.shape[1]
    parts = [
        multivariate_normal(mean, np.exp(s) * np.eye(d)).logpdf(x)
        for mean, s in zip(centres, log_variances, strict=True)
    ]
    return float(-100 / d * np.mean(logsumexp(np.array(parts), axis=0) - np.log(len(centres))))


@pytest.mark.parametrize(("n", "m", "d", "batch"), [(60, 40, 8, 10_000), (30, 80, 40, 10_000), (50, 20, 5, 15)])
def test_the_whole_procedure_equals_autograd_and_scipys_densities(
    n: int, m: int, d: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "BLOCK", 300)  # several blocks
    monkeypatch.setattr(likelihood, "BATCH", batch)
    train, held_out, samples = gaussian(n, 1, d), gaussian(n, 2, d), 0.9 * gaussian(m, 3, d)
    mean, deviation = held_out.mean(axis=0), held_out.std(axis=0, ddof=1)
    t, h, g = ((part - mean) / deviation for part in (train, held_out, samples))
    log_variances = by_autograd(t, g, batch)
    values = measured(samples, train, held_out)
    nll = negative_log_likelihood(h, g, log_variances)
    assert values["fld_nll"] == pytest.approx(nll, rel=1e-6)
    assert values["fld_gap"] == pytest.approx(negative_log_likelihood(t, g, log_variances) - nll, rel=1e-6)
    shuffled = np.random.default_rng((likelihood.SEED, 2)).permutation(t)
    half = min(m, n // 2)
    baseline = negative_log_likelihood(h, shuffled[:half], by_autograd(shuffled[half:], shuffled[:half], batch))
    assert values["fld_baseline"] == pytest.approx(baseline, rel=1e-6)
    assert values["fld"] == pytest.approx(nll - baseline, rel=1e-5)


def test_real_images_score_zero_as_samples_where_they_are_as_many_as_in_the_baseline() -> None:
    found = [measured(gaussian(100, s), gaussian(200, s + 99), gaussian(200, s + 198)) for s in range(20)]
    spread = np.std([values["fld"] for values in found]) / np.sqrt(20)
    # The baseline fits its variances on half as many images: less than a hundredth of a nat.
    assert abs(np.mean([values["fld"] for values in found])) < 4 * spread + 1


def test_quality_diversity_and_novelty_all_cost() -> None:
    train, held_out, honest = gaussian(300, 1), gaussian(300, 2), gaussian(300, 3)
    rng = np.random.default_rng(0)
    perfect = measured(honest, train, held_out)["fld"]
    poor = measured(honest + rng.standard_normal(honest.shape) * honest.std(axis=0), train, held_out)["fld"]
    narrow = measured(honest[:, :1] * 0 + honest[rng.integers(5, size=300)], train, held_out)["fld"]
    copies = measured(train, train, held_out)["fld"]
    assert perfect + 5 < min(poor, narrow)
    assert copies > 1000 > poor


def test_the_gap_of_an_honest_model_is_its_control_and_that_of_copies_far_below() -> None:
    parts = [[gaussian(150, s + i * 100) for i in range(3)] for s in range(20)]
    found = [measured(*part) for part in parts]
    gaps, controls = (np.array([v[name] for v in found]) for name in ("fld_gap", "fld_gap_control"))
    assert gaps.mean() < 0  # the variances have seen T
    assert gaps.mean() == pytest.approx(controls.mean(), abs=0.5 * abs(controls.mean()))
    samples, train, held_out = parts[0]
    few_copies = measured(np.concatenate([samples[:120], train[:30]]), train, held_out)
    assert few_copies["fld_gap"] < gaps.min() - 5


def test_the_scale_and_origin_of_a_feature_and_constant_ones_do_not_matter() -> None:
    parts = [gaussian(60, s) for s in (1, 2, 3)]
    plain = measured(*parts)
    moved = measured(*(np.linspace(0.1, 50, 8) * part - 7 for part in parts))
    wide = measured(*(np.concatenate([part, np.full((60, 3), 2.5) + s], axis=1) for s, part in enumerate(parts)))
    for name in ("fld", "fld_nll", "fld_gap", "fld_gap_control"):
        assert moved[name] == pytest.approx(plain[name], rel=1e-5)
        assert wide[name] == pytest.approx(plain[name], rel=1e-12)
    assert plain["fld_dimensions"] == wide["fld_dimensions"] == 8


def test_the_fit_makes_training_images_more_likely_than_where_it_started() -> None:
    train, centres = gaussian(100, 1), gaussian(60, 2)
    squared = ((train[:, None] - centres) ** 2).sum(axis=2)
    start = np.log(squared.min(axis=0) / 8)
    assert likelihoods(centres, train, train)[0] < negative_log_likelihood(train, centres, start) - 5


def test_more_samples_than_the_limit_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "SAMPLES", 50)
    values = measured(gaussian(200, 1), gaussian(80, 2), gaussian(90, 3))
    assert (values["fld_n_gen"], values["fld_n_train"]) == (50, 80)


def test_held_out_images_as_samples_have_no_likelihood() -> None:
    held_out = gaussian(40, 1)
    values = measured(held_out, gaussian(30, 2), held_out)
    assert values["fld"] is values["fld_gap"] is values["fld_nll"] is None


def test_copies_alone_give_a_number_however_large() -> None:
    train = gaussian(20, 1).astype(np.float32)
    values = measured(train[np.random.default_rng(0).integers(20, size=100)], train, gaussian(30, 2))
    assert values["fld"] > 1e4
    assert values["fld_gap"] < -1e4
    assert np.isfinite(values["fld"])


@pytest.mark.parametrize(
    ("samples", "train", "held_out"), [(0, 5, 5), (1, 1, 2), (1, 2, 2), (2, 1, 3), (5, 3, 2), (3, 40, 4)]
)
def test_few_images_give_values_or_none_and_never_nan(samples: int, train: int, held_out: int) -> None:
    values = measured(gaussian(samples, 1, 30), gaussian(train, 2, 30), gaussian(held_out, 3, 30))
    assert np.isfinite([v for v in values.values() if isinstance(v, float)]).all()
    assert (values["fld_gap"] is None) == (samples == 0)
    assert (values["fld"] is None) == (samples == 0 or train == 1)


def test_images_that_are_all_the_same_leave_no_feature() -> None:
    values = measured(gaussian(9, 1), np.full((8, 8), 0.1), np.full((8, 8), 0.1))
    assert values["fld_dimensions"] == 0
    assert values["fld"] is values["fld_gap"] is values["fld_nll"] is None
    assert not scale_of(np.zeros((5, 3))).kept.any()
    same_samples = measured(np.zeros((9, 8)), np.zeros((7, 8)), gaussian(8, 1))
    assert np.isfinite([v for v in same_samples.values() if isinstance(v, float)]).all()


def test_every_column_has_its_type() -> None:
    values = measured(gaussian(30, 1).astype(np.float32), gaussian(20, 2).astype(np.float32), gaussian(25, 3))
    for name, (kind, *_) in COLUMNS.items():
        assert type(values[name]) is {"float64": float, "int64": int, "string": str}[kind], name


def test_without_held_out_or_training_images_one_sentence_says_so() -> None:
    x = gaussian(5, 1)
    with pytest.raises(ValueError, match="likelihood needs 2 held-out images, there are 1"):
        measured(x, x, x[:1])
    with pytest.raises(ValueError, match="likelihood needs training images"):
        measured(x, x[:0], x)


def test_intervals_are_over_held_out_images_each_less_its_own_baseline() -> None:
    samples, train, held_out = gaussian(80, 1), gaussian(60, 2), gaussian(50, 3)
    values = measured(samples, train, held_out)
    scale = likelihood.scale_of(held_out)
    of_samples = likelihood.evaluated(scale(samples), scale(train), scale(held_out))[1]
    shuffled = np.random.default_rng((likelihood.SEED, 2)).permutation(scale(train))
    baseline = likelihood.evaluated(shuffled[:30], shuffled[30:], scale(held_out))[1]
    for name, each in (("fld", of_samples - baseline), ("fld_gap", of_samples)):
        half = 1.959964 * each.std(ddof=1) / np.sqrt(50)
        assert values[f"{name}_hi"] - values[name] == pytest.approx(half, rel=1e-6)
        assert values[name] - values[f"{name}_lo"] == pytest.approx(half, rel=1e-6)
    assert values["fld"] == pytest.approx((of_samples - baseline).mean())


def test_intervals_hold_what_other_held_out_images_give() -> None:
    samples, train = gaussian(60, 1), gaussian(60, 2)
    found = [measured(samples, train, gaussian(80, seed)) for seed in range(100, 220)]
    for name in ("fld", "fld_gap"):
        truth = np.mean([values[name] for values in found])
        assert sum(values[f"{name}_lo"] <= truth <= values[f"{name}_hi"] for values in found) >= 105, name


def test_an_image_in_both_halves_of_the_baseline_is_no_sample_that_copies() -> None:
    samples, train, held_out = gaussian(60, 1), gaussian(80, 2), gaussian(50, 3)
    once = measured(samples, train, held_out)
    twice = measured(samples, np.concatenate([train, train]), np.concatenate([held_out, held_out]))
    assert twice["fld_baseline"] == pytest.approx(once["fld_baseline"], rel=0.02)
    assert twice["fld_gap_control"] == pytest.approx(once["fld_gap_control"], abs=5)
