"""Training preference: its null, its control, its interval, and degenerate inputs."""

from collections.abc import Callable

import numpy as np
import pytest

from difgen_cli.data import scaled, split
from difgen_cli.data.digits import load
from difgen_cli.metrics.preference import COLUMNS, measure

DIGITS = scaled(load().images)
Arrays = dict[str, np.ndarray]
NAMES = ("train_pref", "train_pref_control", "train_pref_excess")


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def values_of(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, **settings: int) -> dict[str, float]:
    values = measure(samples, train, held_out, shared, **settings).values
    assert set(values) == set(COLUMNS)
    return values  # type: ignore[return-value]


def parts(seed: int, *sizes: int) -> list[np.ndarray]:
    """Disjoint draws of digits."""
    order = np.random.default_rng(seed).permutation(len(DIGITS))
    return [DIGITS[indices] for indices in np.split(order[: sum(sizes)], np.cumsum(sizes)[:-1])]


@pytest.mark.parametrize("size", [16, 128, 768])
def test_held_out_images_as_samples_have_no_excess(size: int) -> None:
    found = split(load(), size=size, held_out=900)
    train, held_out = DIGITS[found.train], DIGITS[found.held_out]
    values = values_of(held_out, train, held_out)
    assert values["train_pref_excess_lo"] <= 0 <= values["train_pref_excess_hi"]
    assert abs(values["train_pref_excess"]) < 0.03


def test_copies_prefer_the_training_set_and_so_does_the_interval() -> None:
    train, held_out = parts(0, 100, 500)
    values = values_of(train, train, held_out)
    assert values["train_pref"] == values["train_pref_hi"] == 1
    assert 0.95 < values["train_pref_lo"] < 1
    assert values["train_pref_excess_lo"] > 0.3


def test_a_mixture_of_copies_and_honest_samples_is_in_between() -> None:
    train, held_out, honest = parts(1, 128, 512, 300)
    samples = np.concatenate([train[:100], honest])
    values = values_of(samples, train, held_out)
    of_honest = values_of(honest, train, held_out)
    assert values["train_pref"] == pytest.approx((100 + 300 * of_honest["train_pref"]) / 400)


def test_preference_equals_a_brute_force_count_with_ties_as_halves() -> None:
    rng = np.random.default_rng(0)
    grid = np.argwhere(np.ones((7, 3))).astype(np.float32)  # T and H hold no point twice
    train, held_out = np.split(grid[rng.permutation(21)], [7])
    samples = rng.integers(0, 3, (40, 2)).astype(np.float32) + np.float32(0.5)
    values = values_of(samples, train, held_out, draws=400)
    to_train = np.linalg.norm(samples[:, None] - train, axis=2).min(axis=1)
    wins = []
    for _ in range(4000):
        chosen = held_out[rng.permutation(14)[:7]]
        to_held_out = np.linalg.norm(samples[:, None] - chosen, axis=2).min(axis=1)
        wins.append(((to_train < to_held_out) + (to_train == to_held_out) / 2).mean())
    assert values["train_pref_images"] == 7
    assert values["train_pref"] == pytest.approx(np.mean(wins), abs=0.02)


def test_a_large_training_set_is_subsampled_and_the_row_says_so() -> None:
    train, held_out, honest = parts(2, 900, 200, 600)
    values = values_of(honest, train, held_out)
    assert values["train_pref_images"] == 175
    assert values["train_pref_lo"] < 0.5 < values["train_pref_hi"]


@pytest.mark.parametrize("size", [8, 16, 128])
def test_intervals_cover_the_null_where_binomial_ones_do_not(size: int) -> None:
    """Over draws of samples, T and H from the digits: the truth is 1/2 and 0. Binomial intervals cover 63 % at 16."""
    covered, told = dict.fromkeys((*NAMES, "binomial"), 0), dict.fromkeys(NAMES, 0)
    repetitions = 60
    for seed in range(repetitions):
        train, held_out, honest = parts(seed, size, 400, 800)
        values = values_of(honest, train, held_out)
        for name, truth in zip(NAMES, (0.5, 0.5, 0.0), strict=True):
            if values[f"{name}_lo"] is not None:  # at 8 images a side, now and then fewer than ten decide
                told[name] += 1
                covered[name] += values[f"{name}_lo"] <= truth <= values[f"{name}_hi"]
        covered["binomial"] += abs(values["train_pref"] - 0.5) < 1.96 * 0.5 / np.sqrt(len(honest))
    assert all(told[name] > 0.8 * repetitions and covered[name] >= 0.85 * told[name] for name in NAMES), covered
    if size <= 16:
        assert covered["binomial"] < 0.8 * repetitions


def test_intervals_are_not_much_wider_than_they_must_be() -> None:
    """Their width estimates the spread of the estimate over draws of everything."""
    found = [
        values_of(honest, train, held_out) for train, held_out, honest in (parts(s, 200, 500, 900) for s in range(40))
    ]
    for name in NAMES:
        spread = np.std([v[name] for v in found], ddof=1)
        width = np.mean([v[f"{name}_hi"] - v[f"{name}_lo"] for v in found]) / (2 * 1.96)
        assert 0.7 < width / spread < 1.4, name


def test_the_control_is_the_same_for_all_snapshots() -> None:
    train, held_out, one, other = parts(3, 64, 300, 200, 100)
    assert (
        values_of(one, train, held_out)["train_pref_control"] == values_of(other, train, held_out)["train_pref_control"]
    )


def test_a_single_image_on_each_side_has_a_value_and_no_interval() -> None:
    train, held_out, samples = parts(4, 1, 20, 50)
    values = values_of(samples, train, held_out)
    assert values["train_pref_images"] == 1
    assert 0 <= values["train_pref"] <= 1
    assert all(values[f"{name}_{end}"] is None for name in NAMES for end in ("lo", "hi"))


@pytest.mark.parametrize(("size", "held_out"), [(1, 2), (2, 3), (2, 4), (50, 5), (3, 400)])
def test_few_images_give_values_or_none_and_never_nan(size: int, held_out: int) -> None:
    train, others, samples = parts(5, size, held_out, 9)
    values = values_of(samples, train, others)
    assert all(value is None or np.isfinite(value) for value in values.values())
    for name in NAMES:
        if values[f"{name}_lo"] is not None:
            assert values[f"{name}_lo"] <= values[name] <= values[f"{name}_hi"]


def test_identical_images_tie() -> None:
    train, held_out = parts(7, 12, 200)
    values = values_of(held_out[:40], np.concatenate([train, held_out[:40]]), held_out)
    assert values["train_pref"] == 1  # the same image in H is the sample itself and does not compete
    values = values_of(train[:12] + np.float32(0), train, np.concatenate([train, held_out]))
    assert values["train_pref"] == 1


def test_too_few_held_out_images_are_one_sentence() -> None:
    train, held_out = parts(6, 5, 1)
    with pytest.raises(ValueError, match="2 held-out images"):
        values_of(train, train, held_out)
