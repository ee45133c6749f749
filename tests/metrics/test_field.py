"""The flow field: closed forms, where its points are, and what it refuses."""

import numpy as np
import pytest
import torch
from denoisers import OfLabel, Wiener
from torch import Tensor

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import Result
from difgen_cli.metrics.field import TABLES, measure, square

POINTS = np.array([[3.0, 4.0], [-3.0, 4.0], [0.0, -5.0]], np.float32)
UNSEEN = np.array([[5.0, 0.0]], np.float32)


def table(result: Result) -> dict[str, np.ndarray]:
    return result.tables["field"]


def test_the_ideal_denoiser_of_one_point_sends_every_place_there() -> None:
    one = POINTS[:1]
    lines = table(measure(IdealDenoiser(to_tensor(one), 1.0), one, UNSEEN, None, 1.0))
    np.testing.assert_allclose(lines["x"] + lines["dx"], 3.0, atol=1e-5)
    np.testing.assert_allclose(lines["y"] + lines["dy"], 4.0, atol=1e-5)


def test_a_wiener_filter_shrinks_towards_the_origin_as_it_must_at_each_level() -> None:
    lines = table(measure(Wiener(2.0), POINTS, UNSEEN, None, 2.0, sigmas=(0.5, 1.0)))
    shrink = 1 / (1 + lines["sigma_rel"] ** 2)
    np.testing.assert_allclose(lines["dx"], (shrink - 1) * lines["x"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lines["dy"], (shrink - 1) * lines["y"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lines["sigma"], 2 * lines["sigma_rel"])


def test_every_level_has_the_grid_and_all_points() -> None:
    result = measure(Wiener(2.0), POINTS, UNSEEN, None, 2.0, side=4)
    lines = table(result)
    assert result.values == {"field_points": 16}
    assert set(lines) == set(TABLES["field"])
    for sigma in (0.1, 0.2, 0.5):
        kinds, counts = np.unique(lines["kind_of_point"][lines["sigma_rel"] == sigma], return_counts=True)
        assert dict(zip(kinds, counts, strict=True)) == {"grid": 16, "train": 3, "held_out": 1}
    train = lines["kind_of_point"] == "train"
    np.testing.assert_array_equal(np.stack([lines["x"], lines["y"]], 1)[train][:3], POINTS)


def test_the_grid_is_square_about_the_training_points() -> None:
    grid = square(POINTS, 5, 0.2)
    assert grid.shape == (25, 2)
    low, high = grid.min(axis=0), grid.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, [0, -0.5], atol=1e-6)
    np.testing.assert_allclose(high - low, 2 * 1.2 * 4.5, rtol=1e-6)


def test_a_single_training_point_has_a_grid_of_some_width() -> None:
    assert np.ptp(square(POINTS[:1], 3, 0.5)[:, 0]) == pytest.approx(3.0)


def test_no_held_out_points_are_simply_not_in_the_table() -> None:
    lines = table(measure(Wiener(2.0), POINTS, UNSEEN[:0], None, 2.0))
    assert set(lines["kind_of_point"]) == {"grid", "train"}


def test_a_conditional_model_shows_the_condition_asked_for() -> None:
    labels = np.array([0, 1, 2])
    for condition in (0, 2):
        lines = table(measure(OfLabel(), POINTS, UNSEEN, labels, 2.0, condition=condition))
        np.testing.assert_allclose(lines["x"] + lines["dx"], condition + 0.1, atol=1e-5)
    with pytest.raises(ValueError, match="no training point has condition 5"):
        measure(OfLabel(), POINTS, UNSEEN, labels, 2.0, condition=5)


@pytest.mark.parametrize(
    ("train", "settings", "words"),
    [
        (np.zeros((4, 8, 8, 1), np.float32), {}, "two dimensions"),
        (np.zeros((4, 3), np.float32), {}, "two dimensions"),
        (np.zeros((0, 2), np.float32), {}, "no training points|there are none"),
        (POINTS, {"sigmas": (0.0, 1.0)}, "above 0"),
    ],
)
def test_what_has_no_field_is_refused_in_a_sentence(train: np.ndarray, settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        measure(Wiener(1.0), train, UNSEEN, None, 1.0, **settings)


def test_a_diverged_denoiser_is_named() -> None:
    def broken(x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.full_like(x, torch.nan)

    with pytest.raises(ValueError, match="did the training diverge"):
        measure(broken, POINTS, UNSEEN, None, 1.0)
