"""Detection by classes: closed forms on Gaussians, scikit-learn, and inputs without classes."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import chi2, ncx2, norm
from sklearn.neighbors import KNeighborsClassifier

from difgen_cli.metrics._features import unit
from difgen_cli.metrics.ood_classes import COLUMNS, measure, nearness, votes

Arrays = dict[str, np.ndarray]
Classes = np.ndarray | None
DIMENSIONS, APART = 5, 3.0  # two classes at ±3 on the first axis, of unit covariance
MANY = 6000


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def two(n: int, seed: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Points of the two classes, and their classes."""
    rng = np.random.default_rng((seed, n))
    classes = np.arange(n) % 2
    x = scale * rng.standard_normal((n, DIMENSIONS))
    x[:, 0] += APART * (2 * classes - 1)
    return x.astype(np.float32), classes


def between(n: int, seed: int) -> np.ndarray:
    """Points midway between the classes."""
    return np.random.default_rng((seed, n)).standard_normal((n, DIMENSIONS)).astype(np.float32)


def measured(other: np.ndarray, samples: np.ndarray | None = None, *, classes: bool = True) -> dict[str, float]:
    (train, of_T), (held_out, of_H) = two(MANY, 1), two(MANY, 2)
    own: tuple[Classes, Classes] = (of_T, of_H) if classes else (None, None)
    drawn = held_out if samples is None else samples
    values = measure(drawn, train, held_out, *own, other, flat, shared, images=MANY).values
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


def test_mahalanobis_is_the_closed_form_of_gaussians_and_the_relative_one_is_blind_across() -> None:
    """Images that are shifted by 2 across the axis of the classes: χ² against noncentral χ².

    The relative distance depends on the first axis alone, where both are the same.
    """
    other, _ = two(MANY, 3)
    other[:, 1] += 2
    values = measured(other)
    of_central, of_shifted = chi2(DIMENSIONS), ncx2(DIMENSIONS, 4.0)
    truth = float(integrate.quad(lambda t: of_central.pdf(t) * of_shifted.sf(t), 0, 80)[0])
    assert values["ood_mahalanobis_auroc"] == pytest.approx(truth, abs=0.01)
    assert values["ood_mahalanobis_auroc_lo"] < truth < values["ood_mahalanobis_auroc_hi"]
    assert values["ood_mahalanobis_fpr95"] == pytest.approx(of_shifted.cdf(of_central.ppf(0.95)), abs=0.015)
    assert values["ood_relative_mahalanobis_auroc"] == pytest.approx(0.5, abs=0.01)
    assert values["ood_probe_auroc"] == pytest.approx(0.5, abs=0.01)


def test_the_relative_distance_and_the_probe_have_their_closed_forms_between_the_classes() -> None:
    """The relative score is 0.9 x² − 6 |x| of the first axis: how far |x| is from 10/3. The probe sees |x| itself.

    Mahalanobis' distance sees the four other axes too, which tell nothing.
    """
    values = measured(between(MANY, 4))

    def of_relative(n: float) -> float:
        far, near = abs(abs(APART + n) - 10 / 3) + 10 / 3, 10 / 3 - abs(abs(APART + n) - 10 / 3)
        return float(norm.pdf(n) * (2 * norm.sf(far) + max(0.0, 1 - 2 * norm.sf(near))))

    def of_probe(t: float) -> float:
        return float(2 * norm.pdf(t) * (norm.sf(t - APART) + norm.cdf(-t - APART)))

    for rule, density, start in (("relative_mahalanobis", of_relative, -8.0), ("probe", of_probe, 0.0)):
        truth = float(integrate.quad(density, start, 8.0, limit=200)[0])
        assert values[f"ood_{rule}_auroc"] == pytest.approx(truth, abs=0.006)
        assert 0.5 < values["ood_mahalanobis_auroc"] < truth - 0.01


def test_samples_of_the_same_kind_are_as_near_as_held_out_ones_and_noisier_ones_are_not() -> None:
    other = between(500, 4)
    alike, noisy = (measured(other, two(4000, 5, scale)[0]) for scale in (1.0, 1.5))
    for rule in ("mahalanobis", "relative_mahalanobis", "probe"):
        assert abs(alike[f"ood_samples_{rule}_auroc"] - 0.5) < 0.03
    assert noisy["ood_samples_mahalanobis_auroc_lo"] > 0.75
    assert measured(other)["ood_samples_mahalanobis_auroc"] is None  # held-out images beside themselves


def test_a_change_of_the_scale_of_features_changes_nothing() -> None:
    (train, of_T), (part, _) = two(3000, 1), two(50, 2)
    stretch = np.array([1, 20, 0.1, 3, 7])
    plain, stretched = nearness(train.astype(float), of_T)(part), nearness(train * stretch, of_T)(part * stretch)
    assert stretched == pytest.approx(plain, rel=1e-6)


def test_votes_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    train, queries = (unit("ood_classes", rng.standard_normal((n, 4))) for n in (200, 100))
    classes = rng.integers(3, 7, 200)
    for k in (1, 4, 10):
        theirs = KNeighborsClassifier(k).fit(train, classes).predict(queries)
        assert (votes(queries, train, classes, k) == theirs).all()
    assert (votes(queries, train, classes, 999) == np.bincount(classes).argmax()).all()


def test_the_accuracy_of_neighbours_is_that_of_the_best_rule_where_classes_are_far_apart() -> None:
    """Overlap of two Gaussians at ±3: an image is on its own side with Φ(3). By cosine the side is all that counts."""
    values = measured(between(100, 4))
    assert values["ood_knn_acc"] == pytest.approx(norm.cdf(APART), abs=0.006)
    assert values["ood_knn_acc_lo"] < values["ood_knn_acc"] < values["ood_knn_acc_hi"]


def test_without_classes_all_of_the_training_set_is_one() -> None:
    """The covariance of all has 1 + 9 on the first axis: images between the classes are then nearer."""
    values = measured(between(MANY, 4), classes=False)
    assert values["ood_mahalanobis_auroc"] < 0.5
    assert values["ood_relative_mahalanobis_auroc"] is values["ood_probe_auroc"] is values["ood_knn_acc"] is None
    (train, _), (held_out, _) = two(60, 1), two(60, 2)
    same = measure(train, train, held_out, *[np.zeros(60, np.int64)] * 2, held_out, flat, shared).values
    assert same["ood_probe_auroc"] is None
    assert same["ood_knn_acc"] == 1


def test_fewer_images_than_features_and_features_without_spread_have_finite_numbers() -> None:
    rng = np.random.default_rng(1)
    train, other = rng.standard_normal((2, 6, 40)).astype(np.float32)
    values = measure(other, train, other[:2], np.arange(6) % 2, np.arange(2), other, flat, shared).values
    assert np.isfinite([v for v in values.values() if isinstance(v, float)]).all()
    still = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)
    assert nearness(still.astype(float), np.repeat([0, 1], 4))(np.array([[0.0, 0.0]])) == pytest.approx(-1)
