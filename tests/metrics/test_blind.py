"""The blind baseline: worlds in which training and held-out images are alike, and in which they are not."""

from functools import cache

import numpy as np
import pytest
from denoisers import digit_parts, gaussian, shared

from difgen_cli.data import scaled, split
from difgen_cli.data.digits import load
from difgen_cli.metrics import Value
from difgen_cli.metrics._traces import traces
from difgen_cli.metrics.blind import COLUMNS, measure, told_apart

Parts = tuple[np.ndarray, np.ndarray]


@cache
def parts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T (448, ...) and H (900, ...) of the digits, uint8, and the classes of H."""
    pool = load()
    found = split(pool, size=448, held_out=900)
    return pool.images[found.train], pool.images[found.held_out], pool.labels[found.held_out]  # type: ignore[index]


def area(train: np.ndarray, held_out: np.ndarray, **settings: int) -> dict[str, Value]:
    values = measure(scaled(train), scaled(held_out), shared, **settings).values
    assert set(values) == set(COLUMNS)
    return values


def whole(levels: np.ndarray) -> np.ndarray:
    """As a file holds it: whole grey levels from 0 to 255."""
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def test_a_random_split_of_one_pool_is_not_told_apart() -> None:
    train, held_out, _ = parts()
    values = area(train, held_out)
    assert values["blind_auc_lo"] < 0.5 < values["blind_auc_hi"]  # type: ignore[operator]
    assert values["blind_images"] == 448


@pytest.mark.parametrize("change", ["one grey level of noise", "one per cent of brightness"])
def test_what_no_eye_sees_is_told_surely(change: str) -> None:
    """H is whole grey levels again, as in a file: the share of whole levels gives nothing away."""
    train, held_out, _ = parts()
    noise = np.random.default_rng(0).integers(-1, 2, held_out.shape)
    changed = whole(held_out + noise if "noise" in change else 1.01 * held_out)
    assert np.abs(changed.astype(int) - held_out).max() <= (1 if "noise" in change else 3)
    values = area(train, changed)
    assert values["blind_auc"] > 0.999  # type: ignore[operator]
    assert values["blind_auc_lo"] > 0.98  # type: ignore[operator]


def test_missing_classes_are_told() -> None:
    train, held_out, classes = parts()
    assert area(train, held_out[classes > 2])["blind_auc_lo"] > 0.52  # type: ignore[operator]


def test_points_are_told_by_where_they_lie() -> None:
    ones, others = gaussian(300, 1), gaussian(300, 2)
    assert area(ones, others)["blind_auc_lo"] < 0.5  # type: ignore[operator]
    assert area(ones, others + np.float32(0.7))["blind_auc_lo"] > 0.7  # type: ignore[operator]


def test_what_no_linear_rule_tells_is_told_by_the_other_classifier() -> None:
    """Along one axis the points of one side lie between those of the other, which are as often near as far."""
    chance = np.random.default_rng(0)
    ones, others = 0.5 * gaussian(300, 1), 0.5 * gaussian(300, 2)
    ones[:, 0] = chance.uniform(2, 4, 300) * chance.choice([-1, 1], 300)
    others[:, 0] = (chance.uniform(0, 2, 300) + 4 * (np.arange(300) % 2)) * chance.choice([-1, 1], 300)
    assert area(ones, others)["blind_auc_lo"] > 0.9  # type: ignore[operator]


def test_repeats_count_once() -> None:
    train, held_out, _ = parts()
    again = area(np.repeat(train[:60], 3, axis=0), np.repeat(held_out[:70], 2, axis=0))
    assert again == area(train[:60], held_out[:70])
    assert again["blind_images"] == 60


def test_few_images_have_no_value() -> None:
    train, held_out, _ = parts()
    values = area(train[:49], held_out)
    assert (values["blind_auc"], values["blind_auc_lo"], values["blind_images"]) == (None, None, 49)
    assert area(train[:50], held_out)["blind_auc"] is not None
    assert area(train, held_out, images=49)["blind_auc"] is None


def test_it_is_computed_once_for_all_that_share_the_images() -> None:
    asked, kept = [], {}

    def once(name: str, compute: object) -> dict[str, np.ndarray]:
        asked.append(name)
        if name not in kept:
            kept[name] = compute()  # type: ignore[operator]
        return kept[name]

    train, held_out = (scaled(part)[:60] for part in parts()[:2])
    first = measure(train, held_out, once).values
    assert measure(train[:1], held_out[:1], once).values == first
    assert asked == ["area", "area"]


def test_the_same_images_give_the_same_value() -> None:
    train, held_out = (scaled(part)[:80] for part in parts()[:2])
    assert told_apart(train, held_out) == told_apart(train, held_out)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (17, 40, 1), (70, 33, 3)])
def test_traces_of_images_of_any_size(shape: tuple[int, ...]) -> None:
    images = scaled(np.random.default_rng(0).integers(0, 256, (30, *shape), dtype=np.uint8))
    seen = traces(images)
    assert len(seen) == 30
    assert np.isfinite(seen).all()
    assert traces(np.zeros_like(images)).shape == seen.shape


def test_blocks_of_eight_pixels_leave_a_trace() -> None:
    """As JPEG leaves them: the mean of each block is changed a little. On the other side blocks begin elsewhere."""
    chance = np.random.default_rng(0)
    smooth = np.cumsum(chance.normal(0, 2, (400, 32, 32, 1)), axis=1) + 128
    blocks = np.kron(chance.normal(0, 8, (400, 4, 4)), np.ones((8, 8)))[..., None]
    blocks[200:] = np.roll(blocks[200:], (4, 4), axis=(1, 2))
    images = whole(smooth + blocks)
    assert area(images[:200], images[200:])["blind_auc_lo"] > 0.9  # type: ignore[operator]


@pytest.mark.long
def test_the_interval_of_a_random_split_holds_one_half() -> None:
    """240 worlds of 2 · 64 digits: the choice of the better classifier and the folds cost nothing."""
    images, held, above = digit_parts(64)[2], 0, 0
    for seed in range(240):
        order = np.random.default_rng(seed).permutation(len(images))[:128]
        found = told_apart(images[order[:64]], images[order[64:]])
        held += found.lower <= 0.5 <= found.upper  # type: ignore[operator]
        above += found.lower > 0.52  # type: ignore[operator]
    assert 0.92 <= held / 240 <= 0.98
    assert above <= 12  # refused by mistake
