"""The confidence of labels: margins by brute force, shares of planted clusters, and what the metric makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from difgen_cli.condition import Labels, alter, kmeans, labels, temi
from difgen_cli.metrics.cluster_confidence import measure


def itself(points: np.ndarray) -> np.ndarray:
    return points


def test_the_margin_of_kmeans_is_that_of_its_centres() -> None:
    points = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    found = kmeans.fit(points, points[:0], itself, clusters=4)
    assert found.confidence is not None
    centres = np.stack([points[found.rest == label].mean(axis=0) for label in range(4)])
    for point, label, confidence in zip(points, found.rest, found.confidence, strict=True):
        apart = np.linalg.norm(centres - point, axis=1)
        others = np.delete(apart, label)
        assert confidence == pytest.approx(max(0.0, 1 - apart[label] / others.min()), abs=1e-5)
    assert np.ptp(found.confidence) > 0.5
    alone = kmeans.fit(np.zeros((5, 2), np.float32), points[:0, :2], itself, clusters=2)
    assert alone.confidence is not None
    assert alone.confidence.tolist() == [1] * 5  # one centre: there is no other one


def test_temi_is_less_certain_at_the_border_of_two_clusters() -> None:
    chance = np.random.default_rng(1)
    places = chance.uniform(-1, 1, 200)  # along a line without a gap
    points = np.stack([places, 0.05 * chance.standard_normal(200)], axis=1).astype(np.float32)
    found = temi.fit(points, points[:0], itself, clusters=2, steps=30, heads=2, neighbours=5)
    assert found.confidence is not None
    assert found.confidence.min() >= 0.5, "the share of the larger one of two"
    first, second = sorted((places[found.rest == label] for label in (0, 1)), key=lambda one: float(one.mean()))
    from_border = np.abs(places - (first.max() + second.min()) / 2)
    assert found.confidence[from_border < 0.1].mean() < 0.95
    assert found.confidence[from_border > 0.4].mean() > 0.99


def test_only_labels_that_are_as_fitted_have_one() -> None:
    fitted = Labels(np.arange(4), np.zeros(0, np.int64), 4, np.full(4, 0.5))
    assert alter(fitted, np.arange(4), permuted=True).confidence is None
    assert alter(fitted, np.arange(4)).confidence is not None
    assert labels.fit(np.arange(4), np.zeros(0, np.int64)).confidence is None
    with pytest.raises(ValueError, match="one number for each of the 4 labels"):
        Labels(np.arange(4), np.zeros(0, np.int64), 4, np.full(3, 0.5))


def test_the_metric_has_a_line_for_each_condition_the_least_certain_first() -> None:
    of_T, confidence = np.array([1, 0, 1, 0, 2, 0]), np.array([0.2, 0.9, 0.4, 0.7, 0.5, np.nan])
    result = measure(np.zeros((3, 2)), np.array([1, 1, 0]), of_T, confidence)
    table = result.tables["cluster_confidence"]
    assert table["label"].tolist() == [1, 2, 0]
    assert table["images"].tolist() == [2, 1, 2]  # the last image of condition 0 is a canary, without a confidence
    assert table["samples"].tolist() == [2, 0, 1]
    np.testing.assert_allclose(table["confidence"], [0.3, 0.5, 0.8])
    assert np.isnan(table["confidence_lo"]).tolist() == [False, True, False]
    half = t.ppf(0.975, 4) * np.std([0.2, 0.9, 0.4, 0.7, 0.5], ddof=1) / np.sqrt(5)
    assert result.values["confidence"] == pytest.approx(0.54)
    assert result.values["confidence_lo"] == pytest.approx(0.54 - half)


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_without_conditions_or_confidence_there_is_none(absent: int) -> None:
    given = [np.array([0]), np.array([0]), np.array([0.5])]
    result = measure(np.zeros((1, 2)), *(None if k == absent else part for k, part in enumerate(given)))
    assert set(result.values.values()) == {None}
    assert all(len(column) == 0 for column in result.tables["cluster_confidence"].values())
