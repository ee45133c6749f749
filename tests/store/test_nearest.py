"""The order of samples beside their nearest training images: exact copies stand first, whatever else is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difgen_cli.engine.store import Store, nearest
from difgen_cli.engine.store.lines import lines_of
from difgen_cli.metrics import memorization

Arrays = dict[str, np.ndarray]


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


def table(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, key: str) -> pd.DataFrame:
    """What the metric leaves in the store."""
    found = pd.DataFrame(memorization.measure(samples, train, held_out, shared).tables["neighbours"])
    return found.assign(key=key, cell=f"cell-{key}", kind="model", home="home")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (60, 8, 8, 1)).astype(np.float32)


def kept(tmp_path: Path, *tables: pd.DataFrame) -> Store:
    store = Store(tmp_path / "runs")
    store.tables.mkdir(parents=True)
    pd.concat(tables).to_parquet(store.tables / "neighbours.parquet")
    return store


@pytest.mark.parametrize("size", [1, 2, 20])
@pytest.mark.parametrize("held_out", [0, 20])
def test_identical_samples_stand_first_at_any_size(
    size: int, held_out: int, images: np.ndarray, tmp_path: Path
) -> None:
    train, others = images[:size], images[40 : 40 + held_out]
    samples = np.concatenate([images[20:30], train[:1] + np.float32(0.01), train[:1], images[30:35]])
    found = nearest.neighbours(kept(tmp_path, table(samples, train, others, "a")), "key", ["a"])
    assert found["seed"].tolist()[:2] == [11, 10]
    assert found["identical"].tolist() == [True] + [False] * 16
    assert found["nearness"].iloc[0] == 0
    assert sorted(found["seed"]) == list(range(17))


def test_a_copy_that_the_ratio_cannot_tell_comes_before_new_images(images: np.ndarray, tmp_path: Path) -> None:
    # Two training images 0.06 rms apart are no near-duplicates, and a sample in between has d1/d2 = 1.
    train = images[:20].copy()
    train[1] = train[0] + np.float32(0.06)
    samples = np.concatenate([images[20:30], (train[:1] + train[1:2]) / 2])
    found = nearest.neighbours(kept(tmp_path, table(samples, train, images[40:], "a")), "cell", ["cell-a"])
    assert (found["seed"].iloc[0], round(found["ratio"].iloc[0], 3)) == (10, 1)


def test_tables_of_version_2_are_ordered_by_the_ratio_with_identical_ones_first(
    images: np.ndarray, tmp_path: Path
) -> None:
    old = pd.DataFrame(
        {"seed": [0, 1, 2, 3], "d1": [1.0, 0.0, 0.2, 3.0], "d2": [2.0, 0.0, 4.0, np.nan], "nn_index": 0,
         "memorized": [False, False, True, False], "key": "old", "cell": "old", "kind": "model", "home": "home"}
    )  # fmt: skip
    alone = kept(tmp_path / "alone", old)
    beside = kept(tmp_path / "beside", old, table(images[:5], images[:20], images[40:], "a"))
    for store in (alone, beside):
        found = nearest.neighbours(store, "key", ["old"])
        assert found["seed"].tolist() == [1, 2, 0, 3]
        assert found["identical"].tolist() == [True, False, False, False]


def test_without_a_table_there_are_no_lines(tmp_path: Path) -> None:
    assert nearest.neighbours(Store(tmp_path / "runs"), "key", ["a"]).empty


@pytest.mark.parametrize("values", [[], ["of no line"], ["a", "b", "a"]])
def test_lines_of_some_results_have_the_columns_of_the_table_also_where_there_are_none(
    values: list[str], images: np.ndarray, tmp_path: Path
) -> None:
    own = [table(images[:5], images[20:40], images[40:], key) for key in "abc"]
    path = kept(tmp_path, *own).tables / "neighbours.parquet"
    lines = lines_of(path, "key", iter(values))
    assert lines["key"].tolist() == [key for key in "ab" if key in values for _ in range(5)]
    assert list(lines) == list(own[0])
