"""The work of networks without torch in this process: known answers, kept answers, and none where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from difgen_cli.engine.cost import networks
from difgen_cli.engine.cost.networks import Network, count_flops

MLP = Network("mlp", 1, {"width": 8, "depth": 1}, (1, 4, 4), conditional=False)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_flops_of_an_mlp_are_those_of_its_matrices():
    """2 for a multiplication and an addition; backward twice forward, but for the gradient of the images and noise."""
    linear = [(16, 8), (8, 16), (8, 4), (4, 8)]  # first, last, and the block of half the width inside
    of_noise = [(16, 8), (16, 8), (16, 4), (16, 4)]  # noise level into hidden state, gate, scale and shift
    forward = 2 * sum(a * b for a, b in linear + of_noise)
    expected = 3 * forward - 2 * (16 * 8) - 2 * sum(a * b for a, b in of_noise)
    assert count_flops([MLP], None) == {MLP.key: expected}


def test_an_answer_is_kept_and_the_next_time_nobody_is_asked(monkeypatch: pytest.MonkeyPatch):
    first = count_flops([MLP], None)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert count_flops([MLP], None) == first
    assert count_flops([Network("mlp", 2, {}, (1, 4, 4), conditional=False)], None) == {}, "and nothing is an error"


def test_what_cannot_be_counted_is_left_out_and_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "odd.py").write_text(
        "def build(shape, classes, *, width: int = 1):\n    raise OSError('no network today')\n"
    )
    odd = Network("odd", "x", {}, (1, 4, 4), conditional=False)
    assert count_flops([odd, MLP], tmp_path).keys() == {MLP.key}
    monkeypatch.setattr(networks, "_answers_of_process", lambda *_: pytest.fail("asked again"))
    assert count_flops([odd, MLP], tmp_path).keys() == {MLP.key}


def test_one_that_never_ends_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "endless.py").write_text(
        "import time\ndef build(shape, classes, *, width: int = 1):\n    time.sleep(600)\n"
    )
    endless = Network("endless", "x", {}, (1, 4, 4), conditional=False)
    monkeypatch.setattr(networks, "COUNT_SECONDS", 1.0)
    assert count_flops([endless], tmp_path) == {}
