"""The pull of conditions: closed forms, brute force, and conditions that one image alone has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from denoisers import digit_parts, shared
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import Result, Value
from difgen_cli.metrics.condition_pull import COLUMNS, TABLES, measure, pull

SIGMA_D = 0.8
SIGMAS = np.array([0.4, 0.8, 1.6])
TRAIN, HELD_OUT, _, _ = digit_parts(60)


class States:
    """Where samples are on a way that was walked: each with noise of its level."""

    def __init__(self, samples: np.ndarray, sigmas: np.ndarray = SIGMAS) -> None:
        self.samples, self.sigmas = samples, sigmas

    def __call__(self, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        noise = np.random.default_rng(5).standard_normal(self.samples.shape).astype(np.float32)
        at = [self.samples + np.float32(sigma) * noise for sigma in self.sigmas]
        return self.sigmas, np.stack(at) if at else np.empty((0, len(self.samples)))


class OneLabelAnImage(nn.Module):
    """Labels 0 … k − 1 have one training image each, given by heart; under all others, and none, data are Gaussian."""

    def __init__(self, train: np.ndarray) -> None:
        super().__init__()
        self.train_images, self.sigma_data = to_tensor(train), SIGMA_D

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        shared_by_many = x / (1 + (sigma / self.sigma_data).square()).view(-1, 1, 1, 1)
        if labels is None:
            return shared_by_many
        own = labels < len(self.train_images)
        given = self.train_images[labels.clamp(max=len(self.train_images) - 1)]
        return torch.where(own.view(-1, 1, 1, 1), given, shared_by_many)


def run(
    denoiser: nn.Module, samples: np.ndarray, labels: np.ndarray | None, train_labels: np.ndarray | None = None,
    sigmas: np.ndarray = SIGMAS,
) -> Result:  # fmt: skip
    done = measure(denoiser, States(samples, sigmas), samples, labels, TRAIN, train_labels, SIGMA_D, shared)
    assert set(done.values) == set(COLUMNS)
    assert {name: set(table) for name, table in done.tables.items()} == {n: set(t) for n, t in TABLES.items()}
    return done


def number(value: Value) -> float:
    assert isinstance(value, float | int)
    return float(value)


def test_without_a_condition_nothing_pulls() -> None:
    done = run(IdealDenoiser(to_tensor(TRAIN), SIGMA_D), TRAIN[:9], None)
    assert done.values["cfg_mag"] == 0
    assert done.values["cfg_mag_auc"] is None
    assert all(len(column) == 0 for table in done.tables.values() for column in table.values())


def test_a_condition_that_says_nothing_pulls_nothing() -> None:
    """All images have one label: with it and without it the ideal denoiser is the same."""
    ideal = IdealDenoiser(to_tensor(TRAIN), SIGMA_D, torch.zeros(len(TRAIN), dtype=torch.int64))
    done = run(ideal, TRAIN[:9], np.zeros(9, np.int64))
    assert done.values["cfg_mag"] == 0


def test_brute_force_with_the_ideal_denoiser_and_its_classes() -> None:
    labels = np.arange(60) % 4
    ideal = IdealDenoiser(to_tensor(TRAIN), SIGMA_D, torch.from_numpy(labels))
    samples, own = np.concatenate([TRAIN[:20], HELD_OUT[:10]]), np.arange(30) % 4
    done, states = run(ideal, samples, own, labels), States(samples)(())[1].astype(np.float64)
    means, flat_train = [], TRAIN.reshape(60, -1).astype(np.float64)
    for sigma, at in zip(SIGMAS, states.reshape(3, 30, -1), strict=True):
        logits = -((at[:, None] - flat_train) ** 2).sum(axis=2) / (2 * sigma**2)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        whole = weights / weights.sum(axis=1, keepdims=True) @ flat_train
        inside = np.exp(logits - logits.max(axis=1, keepdims=True)) * (labels == own[:, None])
        within = inside / inside.sum(axis=1, keepdims=True) @ flat_train
        means.append(np.linalg.norm(within - whole, axis=1) / (sigma * 8))
    expected = np.mean(means, axis=0)
    table = done.tables["condition_pull_samples"]
    np.testing.assert_allclose(table["cfg_mag"], expected, rtol=1e-4, atol=1e-6)
    assert number(done.values["cfg_mag"]) == pytest.approx(expected.mean(), rel=1e-4)
    assert number(done.values["cfg_mag_lo"]) < expected.mean() < number(done.values["cfg_mag_hi"])
    copies = np.arange(30) < 20
    np.testing.assert_array_equal(table["memorized"], copies)
    area = roc_auc_score(copies, table["cfg_mag"])
    assert number(done.values["cfg_mag_auc"]) == pytest.approx(area, abs=1e-12)
    assert area < 0.1  # a network that copies without its condition too is not pulled to its copies
    lines = done.tables["condition_pull"]
    np.testing.assert_array_equal(lines["train_images"], [15] * 4)
    for k in range(4):
        assert lines["cfg_mag"][k] == pytest.approx(expected[own == k].mean(), rel=1e-4)
        assert lines["copies"][k] == copies[own == k].sum()
    levels = done.tables["condition_pull_levels"]
    np.testing.assert_allclose(levels["cfg_mag"], np.mean(means, axis=1), rtol=1e-4)
    np.testing.assert_allclose(levels["sigma_rel"], SIGMAS / SIGMA_D)


def test_a_label_that_one_image_alone_has_tells_its_copies_from_all_other_samples() -> None:
    labels = np.arange(60)
    samples = np.concatenate([TRAIN[:20], HELD_OUT[:40]])
    done = run(OneLabelAnImage(TRAIN[:20]), samples, labels)
    assert done.values["cfg_mag_auc"] == 1
    assert number(done.values["cfg_mag_auc_lo"]) > 0.9
    np.testing.assert_array_equal(done.tables["condition_pull_levels"]["cfg_mag_auc"], [1, 1, 1])


def test_one_bad_label_hides_in_a_mean_and_has_a_line_of_its_own() -> None:
    labels = np.repeat([0, *range(1, 20)], 10)
    samples = np.concatenate([TRAIN[:1].repeat(10, 0), HELD_OUT[:190]])
    done = run(OneLabelAnImage(TRAIN[:1]), samples, labels)
    assert done.values["cfg_mag_most_label"] == 0
    assert number(done.values["cfg_mag_most"]) == pytest.approx(20 * number(done.values["cfg_mag"]))
    lines = done.tables["condition_pull"]
    np.testing.assert_array_equal(lines["copies"], [10, *[0] * 19])
    np.testing.assert_array_equal(lines["cfg_mag"] > 0, [True, *[False] * 19])


def test_of_few_samples_a_mean_has_no_interval_and_no_label_is_named() -> None:
    done = run(OneLabelAnImage(TRAIN[:4]), TRAIN[:4], np.arange(4))
    for name in ("cfg_mag_lo", "cfg_mag_auc", "cfg_mag_most", "cfg_mag_most_label"):
        assert done.values[name] is None  # all four are copies
    assert np.isnan(done.tables["condition_pull"]["cfg_mag_lo"]).all()


def test_at_levels_that_the_network_is_not_for_nothing_is_measured() -> None:
    done = run(OneLabelAnImage(TRAIN[:4]), TRAIN[:4], np.arange(4), sigmas=np.empty(0))
    assert set(done.values.values()) == {None}


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, x = np.arange(60) % 30, States(TRAIN)(())[1][1]
    whole = pull(OneLabelAnImage(TRAIN[:20]), x, 0.8, labels)
    monkeypatch.setattr("difgen_cli.metrics.condition_pull.BLOCK_ELEMENTS", 7 * 64)
    np.testing.assert_array_equal(pull(OneLabelAnImage(TRAIN[:20]), x, 0.8, labels), whole)
