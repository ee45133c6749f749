"""Ways of samples in the plane: the sampler's own states, closed forms of one point, and what is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from denoisers import ErrorProne

from difgen_cli.data import DataError, circle, split
from difgen_cli.diffusion import DenoiserLike, IdealDenoiser
from difgen_cli.guidance import auto, guided, term
from difgen_cli.metrics import paths
from difgen_cli.sampling import draw, heun, states

TRAIN = np.array([[12, 12], [12, -12], [-12, 12], [-12, -12]], np.float32)
HELD_OUT = np.array([[0, 12], [0, -12]], np.float32)
SIGMAS, COUNT = (0.25, 0.5, 1.0), 12
WAY: dict[str, Any] = {"count": COUNT, "steps": 30, "sigma_max": 20.0, "sigma_min": 0.05}


def measured(denoiser: DenoiserLike, followed: DenoiserLike, train: np.ndarray = TRAIN, **others: Any) -> Any:
    """The metric for points at σ_d = 1, and the samples."""
    labels = others.pop("train_labels", None)
    shares = None if labels is None else np.bincount(labels) / len(labels)
    drawn = draw(followed, heun.sample, (2,), shares, **WAY)
    at = partial(_states, followed, shares)
    own = {"train_labels": labels, "held_out_labels": None, "sample_labels": drawn.labels} | others
    return paths.measure(at, denoiser, drawn.x, train, HELD_OUT, sigma_data=1.0, **{"sigmas": SIGMAS} | own), drawn


def _states(followed: DenoiserLike, shares: Any, levels: Any, *, estimates: Any) -> tuple[np.ndarray, ...]:
    return states(followed, heun.sample, (2,), shares, "cpu", at=levels, estimates=estimates, **WAY)


def lines_of(result: Any, kind: str) -> dict[str, np.ndarray]:
    table = result.tables["paths"]
    assert set(table) == set(paths.TABLES["paths"])
    return {name: values[table["kind_of_point"] == kind] for name, values in table.items()}


def test_the_ways_are_the_samplers_own_and_end_at_the_samples() -> None:
    own = ErrorProne(TRAIN, 1.0)
    result, drawn = measured(own, own, count=5)
    way, end = lines_of(result, "path"), lines_of(result, "end")
    levels, x = states(own, heun.sample, (2,), None, "cpu", at=SIGMAS, **WAY)
    assert result.values["paths_samples"] == 5
    for sigma, there in zip(levels, x, strict=True):
        of_level = way["sigma"] == sigma
        np.testing.assert_array_equal(np.stack([way["x"], way["y"]], 1)[of_level], there[:5])
    np.testing.assert_array_equal(np.stack([end["x"], end["y"]], 1), drawn.x[:5])
    np.testing.assert_array_equal(way["dx"], way["own_dx"])
    assert (way["label"] == -1).all()
    np.testing.assert_array_equal(np.stack([*(lines_of(result, "train")[a] for a in "xy")], 1), TRAIN)


def test_guidance_is_the_difference_of_two_estimates_and_the_ideal_is_the_nearest_point() -> None:
    """Where one point m counts, D = (δ²x + σ²m)/(σ² + δ²), and the ideal denoiser gives m."""
    own, worse, weight = ErrorProne(TRAIN, 1.0), ErrorProne(TRAIN, 1.5), 0.5
    followed = guided(own, [term(auto.negative(worse), weight=weight)])
    way = lines_of(measured(own, followed)[0], "path")
    near = TRAIN[np.linalg.norm(np.stack([way["x"], way["y"]], 1)[:, None] - TRAIN[None], axis=2).argmin(1)]
    for place, axis in enumerate("xy"):
        away, s2 = near[:, place] - way[axis], way["sigma"] ** 2
        np.testing.assert_allclose(way[f"train_d{axis}"], away, atol=1e-4)
        shares = [s2 / (s2 + delta**2) for delta in (1.0, 1.5)]
        np.testing.assert_allclose(way[f"own_d{axis}"], shares[0] * away, atol=1e-4)
        np.testing.assert_allclose(way[f"d{axis}"] - way[f"own_d{axis}"], weight * (shares[0] - shares[1]) * away,
                                   atol=1e-4)  # fmt: skip


def test_the_ideals_are_of_the_samples_own_condition_with_the_held_out_points_or_without() -> None:
    labels = np.array([0, 0, 1, 1])
    ideal = IdealDenoiser(torch.from_numpy(TRAIN), 1.0, torch.from_numpy(labels))
    result, _ = measured(ideal, ideal, train_labels=labels, held_out_labels=np.array([0, 1]), sigmas=(8.0,))
    way = lines_of(result, "path")
    assert set(way["label"]) == {0, 1}
    for part, tags, name in ((TRAIN, labels, "train"), (np.concatenate([TRAIN, HELD_OUT]), [*labels, 0, 1], "all")):
        for k, label in enumerate(way["label"]):
            own = part[np.array(tags) == label].astype(float)
            x = np.array([way["x"][k], way["y"][k]])
            weights = np.exp(-np.square(x - own).sum(1) / (2 * way["sigma"][k] ** 2))
            expected = weights @ own / weights.sum() - x
            np.testing.assert_allclose([way[f"{name}_dx"][k], way[f"{name}_dy"][k]], expected, atol=1e-4)
    assert np.abs(way["all_dx"] - way["train_dx"]).max() > 0.1


def test_the_end_is_measured_to_points_of_the_samples_condition() -> None:
    one, labels = TRAIN[:2], np.array([0, 1])
    ideal = IdealDenoiser(torch.from_numpy(one), 1.0, torch.from_numpy(labels))
    values = measured(ideal, ideal, train=one, train_labels=labels, held_out_labels=np.array([0, 1]))[0].values
    assert values["end_distance"] == pytest.approx(0, abs=1e-4)
    at_other = IdealDenoiser(torch.from_numpy(one[::-1].copy()), 1.0, torch.from_numpy(labels))
    values = measured(ideal, at_other, train=one, train_labels=labels, held_out_labels=np.array([0, 1]))[0].values
    assert values["end_distance"] == pytest.approx(24, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train": np.zeros((4, 3), np.float32)}, "two dimensions"),
        ({"sigmas": (0.0, 1.0)}, "above 0"),
        ({"train": TRAIN[:0]}, "no training points|there are none"),
    ],
)
def test_what_has_no_ways_is_refused_in_a_sentence(settings: dict[str, Any], words: str) -> None:
    own = ErrorProne(TRAIN, 1.0)
    with pytest.raises(ValueError, match=words):
        measured(own, own, **settings)


def test_the_circle_has_a_label_for_each_arc() -> None:
    pool = circle.load(points=20, classes=10)
    assert pool.labels is not None
    parts = split(pool, size=10, held_out=10)
    assert sorted(pool.labels[parts.train].tolist()) == sorted(pool.labels[parts.held_out].tolist()) == list(range(10))
    angles = np.unwrap(np.arctan2(*pool.images.T[::-1]))
    for label in range(10):
        assert np.ptp(angles[pool.labels == label]) == pytest.approx(2 * np.pi / 20, abs=1e-4)
    np.testing.assert_array_equal(circle.load(points=20).images, pool.images)
    assert circle.load(points=20).labels is None
    with pytest.raises(DataError, match="divisor of half"):
        circle.load(points=20, classes=4)
