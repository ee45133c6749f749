"""Out-of-distribution detection: peers, definitions by brute force, planted answers, coverage, degenerate inputs."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from difgen_cli.metrics.ood import COLUMNS, fpr95, measure, similarities, unit

Arrays = dict[str, np.ndarray]
Values = dict[str, float]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def cloud(n: int, seed: int, towards: int = 0, d: int = 6, width: float = 0.4) -> np.ndarray:
    """Points about one of the axes."""
    x = width * np.random.default_rng((seed, n)).standard_normal((n, d))
    x[:, towards] += 1
    return x.astype(np.float32)


def measured(
    samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, against: np.ndarray, **settings: object
) -> Values:
    values = measure(samples, train, held_out, against, flat, shared, **settings).values  # type: ignore[arg-type]
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


def by_definition(inside: np.ndarray, outside: np.ndarray) -> float:
    """The lowest false positive rate among all thresholds that at least 95 % of `inside` reach."""
    thresholds = [t for t in inside if np.mean(inside >= t) >= 0.95]
    return min(float(np.mean(outside >= t)) for t in thresholds)


def brute_force(part: np.ndarray, train: np.ndarray, similarity: str, k: int) -> np.ndarray:
    """One pair at a time, in float64."""
    cosines = np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in train.astype(float)] for a in part.astype(float)])
    ordered = -np.sort(-cosines, axis=1)[:, :k]
    return {"cosine": ordered[:, 0], "top_k": ordered.mean(axis=1), "nearest": ordered[:, -1]}[similarity]


@pytest.mark.parametrize(("similarity", "k"), [("cosine", 1), ("top_k", 3), ("nearest", 4), ("top_k", 999)])
def test_every_similarity_gives_what_scikit_learn_makes_of_it_pair_by_pair(similarity: str, k: int) -> None:
    samples, train, held_out, other = cloud(40, 1, 1), cloud(30, 2), cloud(70, 3), cloud(50, 4, 2)
    values = measured(samples, train, held_out, other, similarity=similarity, k=k)
    inside = brute_force(held_out, train, similarity, min(k, 30))
    for name, part in (("ood", other), ("ood_samples", samples)):
        outside = brute_force(part, train, similarity, min(k, 30))
        labels, scores = np.repeat([1, 0], [70, len(part)]), np.concatenate([inside, outside])
        assert values[f"{name}_auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
        assert values[f"{name}_fpr95"] == pytest.approx(false[np.argmax(true >= 0.95)], abs=1e-12)
        assert values[f"{name}_fpr95"] == pytest.approx(by_definition(inside, outside), abs=1e-12)
    assert (values["ood_images"], values["ood_features"]) == (50, "auto")


def test_scores_are_cosines_and_distances_of_normalised_features() -> None:
    train, part = cloud(30, 2), 5 * cloud(20, 3)
    queries, references = unit("ood", part), unit("ood", train)
    cosine = similarities(queries, references, "cosine", 7)
    np.testing.assert_allclose(cosine, brute_force(part, train, "cosine", 7), atol=1e-6)
    nearest = similarities(queries, references, "nearest", 7)
    np.testing.assert_allclose(1 - nearest**2 / 2, brute_force(part, train, "nearest", 7), atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_scores_that_tie_pass_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inside, outside = rng.integers(0, 6, 90).astype(float), rng.integers(-3, 4, 60).astype(float)
    value, lower, upper = fpr95(inside, outside)
    assert value == pytest.approx(by_definition(inside, outside), abs=1e-12)
    assert lower <= value <= upper


def test_exactly_one_in_twenty_may_fail() -> None:
    inside = np.arange(40.0)
    assert fpr95(inside, np.array([1.5]))[0] == 0  # 0 and 1 fail: the threshold is 2
    assert fpr95(inside, np.array([2.0]))[0] == 1
    assert fpr95(inside[:39], np.array([1.0]))[0] == 1  # of 39 one fails
    assert fpr95(inside[:19], np.array([-0.5, 0.0]))[0] == 0.5  # of 19 none


@pytest.mark.parametrize(
    ("n", "m", "shift"), [(50, 500, 1.0), (100, 100, 2.0), (500, 200, 0.0), (500, 500, 3.0), (1000, 1000, 4.5)]
)
def test_the_interval_of_the_false_positive_rate_covers_the_truth(n: int, m: int, shift: float) -> None:
    truth, covered = 1 - norm.cdf(norm.ppf(0.05) + shift), 0
    for seed in range(300):
        rng = np.random.default_rng((seed, n, m))
        _, lower, upper = fpr95(rng.standard_normal(n) + shift, rng.standard_normal(m))
        covered += lower <= truth <= upper
    assert 0.92 <= covered / 300 <= 0.995  # wider than it need be where few held-out images decide the threshold


def test_the_intervals_cover_what_more_images_would_give_for_this_training_set() -> None:
    settings = {"width": 0.8, "d": 3}
    train = cloud(60, 1, **settings)  # type: ignore[arg-type]
    many = measured(train, train, cloud(4000, 2, **settings), cloud(4000, 3, 1, **settings))  # type: ignore[arg-type]
    covered = {"ood_auroc": 0, "ood_fpr95": 0}
    for seed in range(200):
        held_out, other = cloud(150, seed + 10, **settings), cloud(150, seed + 500, 1, **settings)  # type: ignore[arg-type]
        values = measured(train, train, held_out, other)
        for name in covered:
            covered[name] += values[f"{name}_lo"] <= many[name] <= values[f"{name}_hi"]
    assert all(0.9 <= count / 200 <= 0.995 for count in covered.values()), covered


def test_other_images_are_told_from_held_out_ones_and_good_samples_are_not() -> None:
    train, held_out, samples, other = (cloud(400, n, 3 * (n == 4), width=0.25) for n in (1, 2, 3, 4))
    values = measured(samples, train, held_out, other)
    assert values["ood_auroc_lo"] > 0.98
    assert values["ood_fpr95_hi"] < 0.1
    assert values["ood_samples_auroc_lo"] <= 0.5 <= values["ood_samples_auroc_hi"]
    assert values["ood_samples_fpr95_lo"] <= 0.95 <= values["ood_samples_fpr95_hi"]


def test_copies_are_more_similar_to_the_training_set_than_unseen_images_of_its_kind() -> None:
    train = cloud(100, 1)
    values = measured(train[np.arange(150) % 100], train, cloud(300, 2), cloud(50, 3, 2))
    assert values["ood_samples_auroc"] == 0
    assert values["ood_samples_fpr95"] == 1
    assert (values["ood_samples_auroc_lo"], values["ood_samples_fpr95_hi"]) == (0, 1)


def test_no_more_images_than_asked_for_are_compared_however_they_are_sorted() -> None:
    train, held_out, other = cloud(50, 1), cloud(400, 2), np.concatenate([cloud(300, 3), cloud(300, 4, 2)])
    values = measured(cloud(500, 5), train, held_out, other, images=200)
    assert values["ood_images"] == 200
    assert 0.6 < values["ood_auroc"] < 0.9  # half of the other data set is of this kind: the first 200 all are


def test_held_out_images_are_not_compared_with_themselves_and_the_rest_is_computed_once() -> None:
    train, held_out, other, calls = cloud(50, 1), cloud(60, 2), cloud(40, 3, 2), []

    def counted(name: str, compute: Callable[[], Arrays]) -> Arrays:
        calls.append(name)
        return compute()

    values = measure(held_out, train, held_out, other, flat, counted).values
    assert values["ood_samples_auroc"] is values["ood_samples_fpr95"] is values["ood_samples_fpr95_lo"] is None
    assert values["ood_auroc"] > 0.9  # type: ignore[operator]
    assert calls == ["scores"]


@pytest.mark.parametrize(("samples", "train", "held_out", "other"), [(0, 1, 1, 1), (1, 1, 2, 3), (2, 2, 1, 1)])
def test_few_images_give_values_or_none_and_never_nan(samples: int, train: int, held_out: int, other: int) -> None:
    values = measured(cloud(samples, 1), cloud(train, 2), cloud(held_out, 3), cloud(other, 4))
    assert (values["ood_samples_auroc"] is None) == (samples == 0)
    assert values["ood_fpr95_lo"] <= values["ood_fpr95"] <= values["ood_fpr95_hi"]
    assert np.isfinite([v for v in values.values() if isinstance(v, float)]).all()


def test_identical_images_tie() -> None:
    same = np.ones((20, 4), np.float32)
    values = measured(same, same, 2 * same, same[:7])
    assert values["ood_auroc"] == 0.5
    assert values["ood_fpr95"] == 1


def test_every_column_has_its_type() -> None:
    values = measured(cloud(20, 1), cloud(20, 2), cloud(20, 3), cloud(20, 4))
    for name, (kind, *_) in COLUMNS.items():
        assert type(values[name]) is {"float64": float, "int64": int, "string": str}[kind], name


def test_what_cannot_be_compared_is_one_sentence() -> None:
    x = cloud(5, 1)
    with pytest.raises(ValueError, match="ood needs 1 held-out images"):
        measured(x, x, x[:0], x)
    with pytest.raises(ValueError, match="have no direction: choose another space"):
        measured(x, x, x, np.zeros((2, 6), np.float32))
    with pytest.raises(ValueError, match="NaN or infinite features"):
        measured(x, x, x, np.full((2, 6), np.nan, np.float32))


@pytest.mark.parametrize("similarity", ["cosine", "top_k", "nearest"])
def test_repeats_of_a_training_image_are_one_of_the_nearest(similarity: str) -> None:
    samples, train, held_out, other = cloud(40, 1, 1), cloud(30, 2), cloud(70, 3), cloud(50, 4, 2)
    once = measured(samples, train, held_out, other, similarity=similarity, k=4)
    assert measured(samples, np.repeat(train, 3, axis=0), held_out, other, similarity=similarity, k=4) == once
