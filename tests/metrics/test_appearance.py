"""Saturation and contrast against other libraries, and shares of classes whose distance is known."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv
from PIL import Image
from scipy.stats import entropy

from difgen_cli.metrics._histograms import distance, interval, reached_by_chance
from difgen_cli.metrics.appearance import COLUMNS, contrast, informations, measure, saturation

Arrays = dict[str, np.ndarray]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def means(images: np.ndarray) -> np.ndarray:
    """The mean colour of each image."""
    return images.reshape(len(images), -1, images.shape[-1]).mean(axis=1)


def coloured(n: int, seed: int, weights: tuple[float, ...] = (0.2, 0.3, 0.5)) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images that are mostly red, green or blue, and which."""
    rng = np.random.default_rng((seed, n))
    classes = rng.choice(3, n, p=weights)
    images = rng.uniform(-1, 0, (n, 4, 4, 3))
    images[np.arange(n), :, :, classes] += 0.9
    return images.astype(np.float32), classes


def measured(samples: np.ndarray, **more: np.ndarray) -> dict[str, float]:
    train, classes = coloured(600, 1)
    given: Arrays = {"train": train, "held_out": coloured(200, 2)[0], "train_classes": classes, **more}
    values = measure(samples, embed=means, shared=shared, **given).values
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


def test_saturation_is_that_of_matplotlib_and_contrast_that_of_pillows_luma() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), np.uint8)
    pixels[0] = 0
    images = pixels.astype(np.float32) / 127.5 - 1
    theirs = rgb_to_hsv(pixels / 255)[..., 1].mean(axis=(1, 2))
    assert saturation(images) == pytest.approx(theirs, abs=1e-6)
    luma = np.stack([np.asarray(Image.fromarray(one).convert("L"), float) / 255 for one in pixels])
    assert contrast(images) == pytest.approx(luma.std(axis=(1, 2)), abs=2e-3)  # Pillow rounds to bytes
    halves = np.stack([np.full((4, 4, 1), -1.0), np.full((4, 4, 1), 1.0)], axis=1).reshape(1, 8, 4, 1)
    assert contrast(halves.astype(np.float32)) == pytest.approx([0.5])


def test_grey_images_have_no_saturation() -> None:
    grey = np.random.default_rng(0).uniform(-1, 1, (50, 4, 4, 1)).astype(np.float32)
    for images in (grey, grey.repeat(3, axis=-1)):
        values = measured(images, train=images, held_out=images[:5], train_classes=None)  # type: ignore[arg-type]
        assert [values[f"saturation{end}"] for end in ("", "_lo", "_hi", "_train")] == [0] * 4
        assert values["contrast_lo"] < values["contrast"] < values["contrast_hi"]
        assert values["class_tv"] is values["class_score"] is None


def test_training_images_drawn_again_are_as_the_training_images_within_the_intervals() -> None:
    train, _ = coloured(600, 1)
    values = measured(train[np.random.default_rng(5).integers(0, 600, 400)])
    for name in ("saturation", "contrast"):
        assert values[f"{name}_lo"] < values[f"{name}_train"] < values[f"{name}_hi"]
    assert values["class_tv_lo"] == 0
    assert 0 < values["class_tv"] <= values["class_tv_null"]


def test_shares_of_classes_that_differ_have_their_distance() -> None:
    values = measured(coloured(4000, 3, (0.5, 0.3, 0.2))[0])
    truth = distance(np.bincount(coloured(600, 1)[1]) / 600, np.array([0.5, 0.3, 0.2]))
    assert values["class_tv_lo"] < truth < values["class_tv_hi"]
    assert values["class_tv"] == pytest.approx(truth, abs=0.02)
    assert values["class_tv_lo"] > values["class_tv_null"]
    assert distance(np.array([0.5, 0.5, 0]), np.array([0, 0.5, 0.5])) == 0.5
    only = measured(coloured(300, 3, (1, 0, 0))[0])
    assert only["class_tv"] == pytest.approx(0.8, abs=0.04)


def test_the_class_score_counts_classes_of_equal_share_that_are_seen_surely() -> None:
    equal = measured(coloured(3000, 3, (1 / 3, 1 / 3, 1 / 3))[0])
    assert equal["class_score"] == pytest.approx(3, abs=0.15)
    assert equal["class_score_lo"] < equal["class_score"] < equal["class_score_hi"]
    assert measured(coloured(300, 3, (1, 0, 0))[0])["class_score"] == pytest.approx(1, abs=0.05)
    truth = np.exp(entropy([0.2, 0.3, 0.5]))
    assert measured(coloured(3000, 3)[0])["class_score"] == pytest.approx(truth, rel=0.05)
    assert equal["class_score_heldout"] == pytest.approx(truth, rel=0.1)


def test_informations_are_divergences_from_the_mean() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(4), 30)
    p[0] = [1, 0, 0, 0]
    assert informations(p) == pytest.approx([entropy(one, p.mean(axis=0)) for one in p])


def test_what_chance_reaches_is_the_quantile_of_the_binomial_for_two_classes() -> None:
    """|K/n − ½| of K binomial."""
    from scipy.stats import binom

    assert reached_by_chance(np.array([0.5, 0.5]), 1000) == pytest.approx(
        binom.ppf(0.9875, 1000, 0.5) / 1000 - 0.5, abs=0.003
    )


def test_shares_that_agree_wholly_have_an_interval_from_0() -> None:
    known = np.array([0.25, 0.75])
    assert interval(known, known, 400) == (0, reached_by_chance(known, 400))
    lower, upper = interval(np.array([0.0, 1.0]), known, 400)
    assert 0.2 < lower <= 0.25
    assert upper == pytest.approx(0.25, abs=0.01)


def test_held_out_images_have_no_score_beside_themselves_and_points_have_no_look() -> None:
    held_out = coloured(200, 2)[0]
    assert measured(held_out)["class_score_heldout"] is None
    assert measured(held_out[:0])["saturation"] is None
    points = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    classes = (points[:, 0] > 0).astype(np.int64)
    values = measure(points, points, points[:0], classes, lambda x: x, shared).values
    assert values["saturation"] is values["class_score_heldout"] is None
    assert values["class_tv"] == 0
