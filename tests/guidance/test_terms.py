"""Guidance against closed forms: every term takes effect, and the right one."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from closed_forms import Conditional, Gaussian, Watched, batch, small_unet
from torch import Tensor

from difgen_cli.diffusion import preconditioning
from difgen_cli.guidance import Meter, Metered, auto, cfg, guided, swg, term, weight_decay
from difgen_cli.sampling import draw, drawn_together, euler, heun, noise_levels, starting_points, states

SHARES = np.array([1.0])  # one condition


FIRST = 60.0  # the sampler's first noise level


def drawn(denoiser: object, steps: int = 160, **settings: float) -> np.ndarray:
    """Samples of a denoiser of numbers, under its one condition."""
    even = {"steps": steps, "sigma_min": 1e-3, "sigma_max": FIRST} | settings
    return draw(denoiser, heun.sample, (1,), SHARES, count=64, **even).x[:, 0].astype(float)  # type: ignore[arg-type]


# CFG on Gaussian data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_cfg_moves_the_mean_of_gaussian_data_away_by_w_times_the_difference(weight: float) -> None:
    """D_pos − D_neg = (1 − g) (μ − μ₀): the guided flow is that of the Gaussian about μ + w (μ − μ₀)."""
    model = Conditional(Gaussian(0.4, 0.7), Gaussian(-0.1, 0.7))
    plain, moved = drawn(model), drawn(guided(model, [term(cfg.negative(model), weight=weight)]))
    begun = 1 - 0.7 / (0.7**2 + FIRST**2) ** 0.5  # of the way: it begins with noise about 0, not about the mean
    np.testing.assert_allclose(moved - plain, begun * weight * 0.5, atol=2e-4)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_cfg_narrows_what_the_condition_narrows(weight: float) -> None:
    """x(σ) ∝ (s² + σ²)^((1+w)/2) / (s₀² + σ²)^(w/2): the deviation falls from s to s (s/s₀)^w."""
    model = Conditional(Gaussian(0.0, 0.5), Gaussian(0.0, 0.8))
    plain, narrowed = drawn(model), drawn(guided(model, [term(cfg.negative(model), weight=weight)]))
    np.testing.assert_allclose(narrowed / plain, (0.5 / 0.8) ** weight, rtol=2e-3)


def test_within_an_interval_it_is_the_closed_form_of_that_interval() -> None:
    """From σ = b to a alone: x is multiplied by the ratio of ((s² + σ²) / (s₀² + σ²))^(w/2) at a and at b."""
    model, (low, high), weight = Conditional(Gaussian(0.0, 0.5), Gaussian(0.0, 0.8)), (0.3, 2.0), 1.0
    given = term(cfg.negative(model), weight=weight, interval=(low, high))

    def gain(sigma: float) -> float:
        return float(((0.25 + sigma**2) / (0.64 + sigma**2)) ** (weight / 2))

    ratio = drawn(guided(model, [given]), steps=1500) / drawn(model, steps=1500)
    np.testing.assert_allclose(ratio, gain(low) / gain(high), rtol=5e-3)  # the ends lie between two steps


def test_the_other_convention_of_the_weight_is_one_more() -> None:
    model, (x, sigma) = Conditional(Gaussian(0.4, 0.5), Gaussian(-0.1, 0.8)), batch()
    told, dropped, scale = model.told(x, sigma), model.dropped(x, sigma), 3.0
    found = guided(model, [term(cfg.negative(model), weight=scale - 1)])(x, sigma, torch.zeros(5, dtype=torch.int64))
    torch.testing.assert_close(found, dropped + scale * (told - dropped))


# Sums, weights and intervals --------------------------------------------------------------------------------------


def test_terms_add() -> None:
    positive, others, (x, sigma) = Gaussian(0.1, 0.5), [Gaussian(0.0, 0.9), Gaussian(-0.5, 0.4)], batch()
    terms = [
        term(auto.negative(others[0]), weight=0.7),
        term(weight_decay.negative(others[1], decay=1.0), weight=1.3, interval=(0.1, 2.0)),
    ]
    parts = [guided(positive, [one])(x, sigma) - positive(x, sigma) for one in terms]
    assert all(part.abs().max() > 0.05 for part in parts)
    torch.testing.assert_close(guided(positive, terms)(x, sigma) - positive(x, sigma), parts[0] + parts[1])
    inside = (sigma > 0.1) & (sigma <= 2.0)
    assert 0 < inside.sum() < 5
    assert not parts[1][~inside].any()
    assert parts[1][inside].flatten(1).any(1).all()


def test_a_weight_of_zero_is_the_denoiser_itself() -> None:
    model = Gaussian(0.1, 0.5)
    assert guided(model, [term(auto.negative(Gaussian(0, 1)), weight=0)]) is model
    assert guided(model, []) is model


def test_an_interval_beside_the_samplers_levels_changes_no_bit_and_costs_nothing() -> None:
    model, meters = small_unet(), (Meter(), Meter())
    walk, weak = partial(draw, steps=5, sigma_min=0.01, sigma_max=50.0), Gaussian(0, 1)
    plain = walk(Metered(model, meters[0]), heun.sample, (1, 12, 12), None, count=8)
    sigmas = (50.0, 1000.0), (1e-6, 0.009)
    beside = [term(Metered(weak, meters[1]), interval=each, weight=2.0) for each in sigmas]
    steered = walk(guided(Metered(model, meters[1]), beside), heun.sample, (1, 12, 12), None, count=8)
    assert np.array_equal(plain.x, steered.x)
    assert meters[0] == meters[1] == Meter(9 * 16, 9 * 16 * 144)


@pytest.mark.parametrize("interval", [(1.0, 0.5), (0.5, 0.5), (-1.0, 2.0), (1.0,), (0.1, 0.2, 0.3)])
def test_an_interval_that_is_none_is_refused(interval: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="interval: must be"):
        term(Gaussian(0, 1), interval=interval)


def test_early_stopping_takes_the_estimate_of_the_guided_denoiser() -> None:
    """At σ the estimate is D(x; σ), not the network's; and the states on the way are the guided ones."""
    model, even = Conditional(Gaussian(0.4, 0.7), Gaussian(-0.1, 0.7)), {"steps": 160, "sigma_max": 60.0}
    walk = partial(states, **even)  # type: ignore[arg-type]
    steered = guided(model, [term(cfg.negative(model), weight=2.0)])
    sigmas, on_the_way = walk(steered, heun.sample, (1,), SHARES, "cpu", at=[0.5], count=256)
    level, x, moved = float(sigmas[0]), torch.from_numpy(on_the_way[0]), 0.4 + 2 * 0.5
    stopped = draw(steered, heun.sample, (1,), SHARES, count=256, stop=level + 1e-9, **even).x  # type: ignore[arg-type]
    expected = moved + 0.49 / (0.49 + level**2) * (x - moved)  # the estimate of the Gaussian about the moved mean
    np.testing.assert_allclose(stopped, expected, atol=1e-4)
    assert walk(steered, heun.sample, (1,), SHARES, "cpu", at=[0.5], count=256, stop=0.6)[0][0] > 0.6


# Sliding windows ---------------------------------------------------------------------------------------------------


def test_a_crop_as_large_as_the_image_is_no_guidance() -> None:
    model, (x, sigma) = small_unet(), batch()
    whole = term(swg.negative(model, (1, 12, 12), crop=12, windows=3), weight=1.7)
    assert torch.equal(guided(model, [whole])(x, sigma), model(x, sigma))


@pytest.mark.parametrize(("crop", "windows"), [(8, 2), (8, 3), (6, 2), (4, 5)])
def test_windows_are_the_mean_of_the_crops_that_see_a_pixel(crop: int, windows: int) -> None:
    model, (x, sigma) = small_unet(classes=3), batch()
    labels = torch.tensor([0, 1, 2, 0, 1])
    found = swg.negative(model, (1, 12, 12), crop=crop, windows=windows)(x, sigma, labels)
    stride = (12 - crop) // (windows - 1)
    expected = torch.zeros_like(x)
    for row in range(12):
        for column in range(12):
            seeing = [
                model(x[:, :, a : a + crop, b : b + crop], sigma, labels)[:, :, row - a, column - b]
                for a in range(0, 13 - crop, stride)
                for b in range(0, 13 - crop, stride)
                if a <= row < a + crop and b <= column < b + crop
            ]
            expected[:, :, row, column] = torch.stack(seeing).mean(0)
    torch.testing.assert_close(found, expected)


def test_a_mask_changes_the_overlapped_pixels_alone() -> None:
    model, (x, sigma) = small_unet(), batch()
    plain = model(x, sigma)
    everywhere, masked = (
        guided(model, [term(swg.negative(model, (1, 12, 12), crop=8, windows=2, masked=m), weight=2.0)])(x, sigma)
        for m in (False, True)
    )
    overlapped = torch.zeros(12, 12, dtype=torch.bool)
    overlapped[4:8, :] = overlapped[:, 4:8] = True  # two crops of 8 along 12 pixels
    assert torch.equal(masked[:, :, ~overlapped], plain[:, :, ~overlapped])
    assert torch.equal(masked[:, :, overlapped], everywhere[:, :, overlapped])
    assert not torch.isclose(masked, plain)[:, :, overlapped].all(0).any()
    assert not torch.equal(everywhere[:, :, ~overlapped], plain[:, :, ~overlapped])


def test_a_crop_keeps_its_class_and_its_noise_level() -> None:
    model, (x, sigma), labels = Watched(), batch(), torch.tensor([3, 1, 4, 1, 5])
    guided(model, [term(swg.negative(model, (1, 12, 12), crop=8))])(x, sigma, labels)
    whole, *crops = model.asked
    assert whole[0] is x
    assert [tuple(asked[0].shape) for asked in crops] == [(5, 1, 8, 8)] * 4
    assert all(torch.equal(asked[1], sigma) and torch.equal(asked[2], labels) for asked in crops)  # type: ignore[arg-type]
    assert torch.equal(crops[1][0], x[:, :, :8, 4:])


@pytest.mark.parametrize(
    ("shape", "settings", "words"),
    [
        ((2,), {"crop": 1}, "these data are points"),
        ((1, 12, 12), {"crop": 13}, "13 pixels are more than the image's 12"),
        ((1, 12, 12), {"crop": 8, "windows": 1}, "leaves 4 of 12 unseen"),
        ((1, 12, 12), {"crop": 7, "windows": 3}, "a whole stride apart"),
        ((1, 12, 12), {"crop": 4, "windows": 2}, "unseen; use more windows"),
        ((1, 12, 12), {"crop": 6, "windows": 2, "masked": True}, "nothing would be guided"),
    ],
)
def test_crops_that_cannot_be_had_are_refused(shape: tuple[int, ...], settings: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        swg.negative(small_unet(), shape, **settings)  # type: ignore[arg-type]


# Adaptive skipping --------------------------------------------------------------------------------------------------


def skipped_by_hand(model: Conditional, weight: float, threshold: float, x: Tensor, levels: list[float]) -> Tensor:
    """Euler steps of one sample at a time: guided until the outputs agree once, and then no more."""
    ends = []
    for item in x:
        point, free, evaluations = item[None], False, 0
        for sigma, after in pairwise(levels):
            s = torch.full((1,), sigma)
            told = model.told(point, s)
            denoised, evaluations = told, evaluations + 1
            if not free:
                dropped = model.dropped(point, s)
                denoised, evaluations = told + weight * (told - dropped), evaluations + 1
                skip = preconditioning(s, 1.0)[0] * point
                free = bool(torch.cosine_similarity((told - skip), (dropped - skip)) >= threshold)
            point = point + (after - sigma) * (point - denoised) / sigma
        ends.append(torch.cat([point[0], torch.tensor([float(evaluations)])]))
    return torch.stack(ends)


def test_samples_are_let_go_one_by_one_once_their_terms_agree() -> None:
    model, threshold, weight, meter = Conditional(Gaussian(0.6, 0.3), Gaussian(-0.2, 0.6)), 0.9, 1.5, Meter()
    metered = Metered(model, meter)
    steered = guided(metered, [term(cfg.negative(metered), weight=weight, agreement=threshold)])
    walk = partial(draw, sample=euler.sample, steps=30, sigma_min=0.01, sigma_max=20.0)
    found = walk(steered, shape=(6,), proportions=SHARES, count=256).x
    plain = walk(model, shape=(6,), proportions=SHARES, count=256).x
    levels = noise_levels(30, 7.0, 0.01, 20.0, 1.0)
    noise = torch.from_numpy(starting_points((6,), 0, 0, 256)[0])
    by_hand = skipped_by_hand(model, weight, threshold, noise * levels[0], levels).numpy()
    np.testing.assert_allclose(found, by_hand[:, :6], atol=1e-4)
    each = by_hand[:, 6]
    assert len(set(each)) > 3, "samples are let go at different steps"
    assert meter.evaluations == each.sum()
    assert 30 < meter.evaluations / drawn_together(256, "cpu") < 60
    assert not np.allclose(found, plain, atol=1e-2)


def test_without_a_walk_nothing_is_remembered() -> None:
    """A metric that asks the guided denoiser at many noise levels gets the same answer in any order."""
    model, (x, sigma) = Conditional(Gaussian(0.6, 0.3), Gaussian(-0.2, 0.6)), batch()
    steered, labels = guided(model, [term(cfg.negative(model), agreement=1e-6)]), torch.zeros(5, dtype=torch.int64)
    first = steered(x, sigma, labels)
    assert torch.equal(steered(x, sigma, labels), first)
    never = guided(model, [term(cfg.negative(model))])
    assert torch.equal(never(x, sigma, labels), first)
