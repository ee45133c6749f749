"""Copies in a feature space: the plain rule in pixels, brute force, planted similarities, repeats, and few images."""

from __future__ import annotations

import numpy as np
import pytest
from denoisers import digit_parts, shared

from difgen_cli.features import random_conv
from difgen_cli.metrics import Value, flat, memorization, wilson
from difgen_cli.metrics._features import Embed
from difgen_cli.metrics.feature_copies import COLUMNS, TABLES, measure
from difgen_cli.neighbours import mirror

Values = dict[str, Value]
CONV = random_conv.fit(np.zeros((1, 8, 8, 1), np.float32))
NONE = np.zeros((0, 8, 8, 1), np.float32)


def conv(images: np.ndarray) -> np.ndarray:
    return random_conv.embed(images, CONV)


def run(
    samples: np.ndarray, train: np.ndarray, held_out: np.ndarray = NONE, embed: Embed = flat, **more: object
) -> tuple[Values, dict[str, np.ndarray]]:
    done = measure(samples, train, held_out, embed, shared, **more)  # type: ignore[arg-type]
    assert set(done.values) == set(COLUMNS)
    (table,) = done.tables.values()
    assert set(table) == set(TABLES["feature_neighbours"])
    return done.values, table


def noisy(images: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(images.shape)
    return (images + sigma * noise).astype(np.float32)


def unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)  # type: ignore[no-any-return]


def test_in_pixels_the_ratio_rule_is_that_of_memorization() -> None:
    train, held_out, _, _ = digit_parts(200)
    samples = np.concatenate([noisy(train[:40], 0.1), held_out[:60]])
    values, table = run(samples, train, held_out)
    plain = memorization.measure(samples, train, held_out, shared)
    for end in ("", "_lo", "_hi", "_control", "_control_lo", "_control_hi"):
        assert values[f"space_ratio{end}"] == plain.values[f"mem_frac{end}"]
    assert 0.1 < float(values["space_ratio"] or 0) < 0.45
    np.testing.assert_array_equal(table["nn_index"], plain.tables["neighbours"]["nn_index"])


def test_brute_force_in_a_space_of_features() -> None:
    train, held_out, _, _ = digit_parts(120)
    samples = np.concatenate([noisy(train[:30], 0.1), held_out[200:260]])
    values, table = run(samples, train, held_out[:150], conv, threshold=0.94, gl_threshold=0.96)
    real = conv(train).astype(np.float64)
    for name, images in (("", samples), ("_control", held_out[:150]), ("_train", train)):
        features = conv(images).astype(np.float64)
        distances = np.linalg.norm(features[:, None] - real, axis=2)
        similar = unit(features) @ unit(real).T
        if name == "_train":  # digits repeat none
            np.fill_diagonal(distances, np.inf)
            np.fill_diagonal(similar, -1)
        nearest = np.sort(distances, axis=1)
        assert values[f"space_ratio{name}"] == (nearest[:, 0] / nearest[:, 1] < 1 / 3).mean()
        top = similar.max(axis=1)
        assert values[f"space_near{name}"] == (top > 0.94).mean()
        assert values[f"gl{name}"] == (top <= 0.96).mean()
        assert 0 < float(values[f"space_near{name}"] or 0) < 1
        if not name:
            np.testing.assert_allclose(table["cosine"], top, atol=1e-6)
            np.testing.assert_allclose(table["ratio"], nearest[:, 0] / nearest[:, 1], atol=1e-5)
    assert values["space_near_control_lo"] == wilson(150 * float(values["space_near_control"] or 0), 150)[0]


def test_an_exact_copier_is_seen_by_every_rule_and_generalizes_nothing() -> None:
    train, held_out, _, _ = digit_parts(150)
    values, _ = run(train[np.arange(90) % 150], train, held_out, conv)
    assert (values["space_ratio"], values["space_near"], values["gl"], values["space_tail"]) == (1, 1, 0, 1)
    assert float(values["space_tail_lo"] or 0) > 0.9


def test_unseen_images_exceed_what_unseen_images_reach_in_one_of_a_hundred_cases() -> None:
    """The only rule here that needs no threshold of the space; T and both groups are drawn again each time."""
    chance, tails = np.random.default_rng(3), []
    for _ in range(120):
        drawn = chance.standard_normal((440, 6)).astype(np.float32)
        values, _ = run(drawn[:200], drawn[200:240], drawn[240:])
        tails.append(float(values["space_tail"] or 0))
    assert np.mean(tails) == pytest.approx(0.01, abs=4 * np.std(tails) / np.sqrt(len(tails)))


def test_the_background_is_that_of_training_images_among_one_another() -> None:
    """Twelve of T in six pairs a cosine of .8 apart, the others orthogonal: a copy of none of them is above .5."""
    axes = np.eye(64, dtype=np.float32)
    partners = 0.8 * axes[:6] + 0.6 * axes[40:46]
    train = np.concatenate([axes[:30], partners]).reshape(-1, 8, 8, 1)
    values, _ = run(axes[50:60].reshape(-1, 8, 8, 1), train)
    assert (values["space_near"], values["space_near_train"]) == (0, 12 / 36)
    assert values["gl_train"] == 24 / 36
    assert values["space_near_train_lo"] == wilson(6, 18)[0]  # six pairs, worth six images


def test_repeats_of_an_image_are_one_image_and_hide_no_copy() -> None:
    train = digit_parts(60)[0]
    repeated = np.concatenate([train, train[:20], noisy(train[:20], 0.02)])
    values, _ = run(train[:20], repeated, embed=conv)
    assert values["space_ratio"] == 1
    once, _ = run(train[:20], train, embed=conv)
    for name in ("space_ratio_train", "space_near_train", "gl_train", "gl_train_hi"):
        assert values[name] == once[name]


def test_features_that_are_all_zero_are_like_nothing() -> None:
    train = np.ones((5, 8, 8, 1), np.float32) * np.arange(5, dtype=np.float32)[:, None, None, None]
    values, table = run(np.zeros((3, 8, 8, 1), np.float32), train, train)
    np.testing.assert_array_equal(table["cosine"], 0)
    assert (values["space_near"], values["gl"]) == (0, 1)
    assert values["space_near_control"] == 0.8  # four of the five have a direction, and it is one


def test_mirror_images_count_where_training_showed_them() -> None:
    train, held_out, _, _ = digit_parts(80)
    plain, _ = run(mirror(train), train, held_out)
    shown, _ = run(mirror(train), train, held_out, mirrored=True)
    assert float(plain["space_ratio"] or 0) < 0.2
    assert (shown["space_ratio"], shown["space_tail"]) == (1, 1)


def test_samples_in_groups_have_intervals_over_groups() -> None:
    train, held_out, _, _ = digit_parts(80)
    samples, groups = np.repeat(np.concatenate([train[:5], held_out[:5]]), 20, axis=0), np.repeat(np.arange(10), 20)
    alone, _ = run(samples, train, held_out)
    together, _ = run(samples, train, held_out, groups=groups)
    assert alone["space_ratio"] == together["space_ratio"] == 0.5
    assert (together["space_ratio_lo"], together["space_ratio_hi"]) == pytest.approx(wilson(5, 10))
    assert (alone["space_ratio_lo"], alone["space_ratio_hi"]) == wilson(100, 200)


def test_what_does_not_exist_is_none() -> None:
    train = digit_parts(60)[0]
    one, table = run(train[:3], train[:1])
    assert (one["space_ratio"], one["space_near_train"], one["space_tail"]) == (None, None, None)
    assert one["space_near"] == (table["cosine"] > 0.5).mean()
    two, _ = run(train[:3], train[:2])
    assert (two["space_ratio_train"], two["space_ratio_control"]) == (None, None)
    assert two["space_ratio"] is not None
    with pytest.raises(ValueError, match="feature_copies needs samples and training images: 0 and 60"):
        run(NONE, train)
