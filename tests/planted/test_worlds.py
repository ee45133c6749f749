"""The short form of `make worlds`: a small synthetic set, and the worlds that were told most wrongly before."""

from __future__ import annotations

from pathlib import Path

import pytest

from planted.data import Data, load
from planted.read import judge, read
from planted.worlds import SHORT, WORLDS

TRAIN, HELD_OUT, NEW, SAMPLES = 300, 250, 120, 120


@pytest.fixture(scope="module")
def data() -> Data:
    return load("synthetic", TRAIN, HELD_OUT, NEW)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run directory for all, so that references are scored once."""
    return tmp_path_factory.mktemp("worlds")


@pytest.mark.parametrize("name", SHORT)
def test_a_planted_world_is_read_and_told_as_it_is(name: str, data: Data, folder: Path) -> None:
    world = next(world for world in WORLDS if world.name == name)
    found = read(world, data, SAMPLES, folder)
    assert not found.faults, "\n".join([*found.faults, *found.sentences])


def test_the_judge_sees_a_wrong_number_a_missing_sentence_and_a_false_one() -> None:
    world = next(world for world in WORLDS if world.name == "T exactly")
    row = {"mem_frac": 0.5, "train_pref_share": 1.0}
    faults = judge(world, row, ["No preference of the samples for the training images was found."]).faults
    assert "mem_frac 0.5 not in (1, 1)" in faults
    assert "does not say: identical to a training image" in faults
    assert "says: No preference of the samples for the training images was found" in faults
