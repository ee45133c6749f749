"""Where training showed mirror images, copies of them are copies: what each metric makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from difgen_cli.data import scaled, sigma_data, split
from difgen_cli.data.digits import load
from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import authenticity, copying, deviation, memorization, path, preference, twins
from difgen_cli.neighbours import Repeats, mirror, with_mirrors

Arrays = dict[str, np.ndarray]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """64 training and 600 held-out images that differ from their mirror images."""
    found = split(load(), size=64, held_out=600)
    train, held_out = scaled(load().images[found.train]), scaled(load().images[found.held_out])
    return train, held_out


Measure = Callable[[np.ndarray, np.ndarray, np.ndarray, bool], dict[str, float]]
MEASURES: dict[str, Measure] = {
    "memorization": lambda g, t, h, m: memorization.measure(g, t, h, shared, m).values,  # type: ignore[return-value]
    "preference": lambda g, t, h, m: preference.measure(g, t, h, shared, m).values,  # type: ignore[return-value]
    "authenticity": lambda g, t, h, m: authenticity.measure(g, t, h, flat, shared, m).values,  # type: ignore[return-value]
    "copying": lambda g, t, h, m: copying.measure(g, t, h, flat, shared, m).values,  # type: ignore[return-value]
}


@pytest.mark.parametrize("metric", MEASURES)
def test_samples_and_their_mirror_images_score_the_same(metric: str, digits: tuple[np.ndarray, np.ndarray]) -> None:
    train, held_out = digits
    samples = np.concatenate([train[:40], held_out[:80]]) + np.float32(0.05)
    for measured in (True, False):
        plain, turned = (MEASURES[metric](g, train, held_out, measured) for g in (samples, mirror(samples)))
        numbers = [n for n, value in plain.items() if isinstance(value, float)]
        assert len(numbers) > 1
        first, second = (np.array([found[n] for n in numbers], float) for found in (plain, turned))
        assert np.allclose(first, second, rtol=1e-9, equal_nan=True) == measured


def test_mirrored_copies_are_copies_and_each_counts_for_its_image(digits: tuple[np.ndarray, np.ndarray]) -> None:
    train, held_out = digits
    samples = np.concatenate([mirror(train[:30]), train[:10], held_out[:60]])
    seen, unseen = (MEASURES["memorization"](samples, train, held_out, mirrored) for mirrored in (True, False))
    assert (seen["mem_frac"], seen["mem_unique"]) == (0.4, 30)
    assert unseen["mem_frac"] < 0.2
    assert seen["tile_copy_frac"] == 0.4
    assert seen["mem_frac_control"] < 0.01


def test_an_image_that_is_its_own_mirror_image_hides_no_copy() -> None:
    # Two training images, one of each and its mirror image, would be d1 = d2 = 0: a ratio of 1.
    train = np.random.default_rng(0).uniform(-1, 1, (12, 8, 8, 1)).astype(np.float32)
    train = (train + mirror(train)) / 2
    values = MEASURES["memorization"](train, train, train[:0], True)
    assert (values["mem_frac"], values["near_duplicates"]) == (1, 0)


def test_a_collage_may_take_each_quarter_from_either_side() -> None:
    rng = np.random.default_rng(1)
    train = rng.uniform(-1, 1, (20, 7, 7, 3)).astype(np.float32)
    collage, sides = np.empty((50, 7, 7, 3), np.float32), with_mirrors(train)
    for rows in (slice(3), slice(3, 7)):
        for columns in (slice(3), slice(3, 7)):
            collage[:, rows, columns] = sides[rng.integers(40, size=50), rows, columns]
    assert memorization.tile_ratio(collage, Repeats.of(train, True)) == pytest.approx(np.zeros(50))
    assert (memorization.tile_ratio(collage, Repeats.of(train)) > 1 / 3).mean() > 0.8  # type: ignore[operator]


def test_held_out_images_are_neither_preferred_nor_copies(digits: tuple[np.ndarray, np.ndarray]) -> None:
    train, held_out = digits
    values = MEASURES["preference"](mirror(held_out), train, held_out, True)
    assert values["train_pref_excess_lo"] <= 0 <= values["train_pref_excess_hi"]
    assert MEASURES["preference"](mirror(train), train, held_out, True)["train_pref"] == 1


def test_states_near_mirrored_training_images_overlap_with_noisy_training_images(
    digits: tuple[np.ndarray, np.ndarray],
) -> None:
    train, held_out = digits
    sigma_d = sigma_data(load().images)

    def near(images: np.ndarray) -> path.States:
        def made(_: Sequence[float], estimates: Sequence[float] = ()) -> tuple[np.ndarray, ...]:
            x = np.tile(images, (1 + 1000 // len(images), 1, 1, 1))
            passed = np.array([sigma_d]), (x + sigma_d * np.random.default_rng(9).standard_normal(x.shape))[None]
            return (*passed, np.array([sigma_d]), x[None], x) if estimates else passed

        return made

    def overlap(states: path.States, mirrored: bool) -> float:
        value = path.measure(states, train, held_out, sigma_d, mirrored).values["path_overlap_100"]
        assert isinstance(value, float)
        return value

    assert overlap(near(mirror(train)), True) == pytest.approx(1, abs=0.15)
    assert overlap(near(mirror(train)), False) < 0.6
    assert overlap(near(train), True) == pytest.approx(1, abs=0.15)


def test_twins_that_copy_mirror_images_never_win(digits: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = np.split(digits[0], 2)
    twin = SimpleNamespace(samples=mirror(b), train=b)
    assert twins.measure(mirror(a), a, twin, twin, True).values["twin_win"] == 0


def test_the_best_denoiser_of_mirrored_training_does_not_deviate(digits: tuple[np.ndarray, np.ndarray]) -> None:
    train = digits[0]
    sigma_d = sigma_data(load().images)
    labels = np.arange(len(train)) % 3
    best = IdealDenoiser(to_tensor(with_mirrors(train)), sigma_d, torch.from_numpy(np.tile(labels, 2)))
    values = {
        mirrored: deviation.measure(best, train, labels, train, sigma_d, shared, mirrored).values["ideal_dev_100"]
        for mirrored in (True, False)
    }
    assert values[True] == pytest.approx(0, abs=1e-9)
    assert values[False] > 1e-3  # type: ignore[operator]
