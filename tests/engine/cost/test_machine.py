"""Limits that are measured once a machine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from difgen_cli.engine.cost import cache, machine
from difgen_cli.engine.cost.machine import Limits


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of one's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    machine._limits.cache_clear()
    yield tmp_path / "difgen"
    machine._limits.cache_clear()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Limits]:
    """Every measurement gives the next of these, from the end."""
    given = [Limits(3.0, 1.0), Limits(2.0, 5.0), Limits(1.0, 4.0)]
    monkeypatch.setattr(machine, "measured", lambda device, precision: given.pop())
    return given


def test_the_matrix_rate_is_that_of_a_product_timed_by_hand() -> None:
    a = torch.randn(512, 512)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    found = machine.measured("cpu", "fp32")
    assert 0.5 < found.flops_per_second / (2 * 512**3 / min(seconds)) < 2.5
    assert 1e8 < found.bytes_per_second < 1e13


def test_it_is_measured_once_a_machine(folder: Path, measured: list[Limits]) -> None:
    assert machine.limits("cpu") == Limits(1.0, 4.0)
    machine._limits.cache_clear()  # as in another process
    assert machine.limits("cpu") == Limits(1.0, 4.0)
    assert len(measured) == 2
    assert machine.limits("cpu", "bf16") == Limits(2.0, 5.0), "another precision is another measurement"
    about = json.loads(next(folder.glob("machine-*.json")).read_text())["about"]
    assert {"device", "threads", "torch", "precision"} < set(about)


def test_measuring_again_keeps_the_best(folder: Path, measured: list[Limits]) -> None:
    machine.limits("cpu")
    assert machine.best("cpu", "fp32") == Limits(2.0, 5.0)
    assert machine.best("cpu", "fp32") == Limits(3.0, 5.0)
    assert machine.limits("cpu") == Limits(1.0, 4.0), "a process keeps what it has"
    machine._limits.cache_clear()
    assert machine.limits("cpu") == Limits(3.0, 5.0)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"found": null}', '{"found": {"flops_per_second": "x"}}',
                                     '{"found": {"flops_per_second": NaN, "bytes_per_second": 1}}'])  # fmt: skip
def test_a_broken_cache_is_no_error(folder: Path, measured: list[Limits], content: str) -> None:
    machine.limits("cpu")
    file = next(folder.glob("machine-*.json"))
    file.write_text(content)
    machine._limits.cache_clear()
    assert machine.limits("cpu") == Limits(2.0, 5.0)
    assert json.loads(file.read_text())["found"] == vars(Limits(2.0, 5.0))


def test_an_unwritable_cache_is_no_error(folder: Path, measured: list[Limits]) -> None:
    folder.write_text("a file in its way")
    assert machine.limits("cpu") == machine.limits("cpu") == Limits(1.0, 4.0)
    assert len(measured) == 2, "the process itself remembers"


def test_a_full_device_has_no_limits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(device: str, precision: str) -> Limits:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(machine, "measured", full)
    assert machine.limits("cpu") is None
    assert not folder.exists(), "to know nothing is not kept"


def test_the_cache_lies_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for said, place in (("/x", "/x"), ("relative", f"{tmp_path}/.cache"), ("", f"{tmp_path}/.cache")):
        monkeypatch.setenv("XDG_CACHE_HOME", said)
        assert cache.folder() == Path(place) / "difgen"
