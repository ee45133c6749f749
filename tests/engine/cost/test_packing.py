"""How many workers share a device: the rule on made-up readings, and the probe for real on this machine's cores."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from difgen_cli import sweep
from difgen_cli.engine.cost import packing
from difgen_cli.engine.cost.bench import Subject
from difgen_cli.engine.cost.packing import Packing, ProbeError, Probes, Reading, choose, probe

GIB = float(1 << 30)
LONG = 1e12  # images: more than any probe trains
DIGITS = Subject("mlp", {"width": 64}, (1, 8, 8), images=768)


def _device(totals: dict[int, float], own: float = GIB, size: float = 1000 * GIB) -> Callable[[int], Sequence[Reading]]:
    """A device that gives so many images a second in all to so many processes; it has nothing for other counts."""

    def measure(count: int) -> list[Reading]:
        if count not in totals:
            raise ProbeError("CUDA out of memory")
        used, free = {"host": 0.1 * GIB, "device": own}, {"host": 1000 * GIB, "device": size - count * own}
        return [Reading(totals[count] / count, 1.0, used, free)] * count

    return measure


def test_doubling_goes_on_while_it_pays() -> None:
    found = choose(_device({1: 100, 2: 190, 4: 340, 8: 360}), 16, LONG)
    assert found == Packing(4, {1: 100, 2: 190, 4: 340, 8: 360}, "8 give 1.06 times the images a second of 4")


def test_a_device_that_one_worker_fills_gets_one() -> None:
    assert choose(_device({1: 100, 2: 104}), 16, LONG).jobs == 1


def test_no_more_are_tried_than_there_are_cores_and_units() -> None:
    found = choose(_device({1: 100, 2: 200, 3: 300}), 3, LONG)
    assert (found.jobs, found.why) == (3, packing.USED_UP)


def test_memory_must_have_room_for_the_heaviest_training_of_the_plan() -> None:
    endless = {n: 100.0 * n for n in range(1, 17)}
    assert choose(_device(endless, size=10 * GIB), 16, LONG).jobs == 9  # 0.9 of 10 GiB, 1 GiB each
    assert choose(_device(endless, size=10 * GIB), 16, LONG, heaviest={"host": 0.1 * GIB, "device": 2 * GIB}).jobs == 4
    found = choose(_device(endless, size=10 * GIB), 16, LONG, heaviest={"host": 0.1 * GIB, "device": 9 * GIB})
    assert (found.jobs, found.why) == (1, "memory has room for no more")
    assert choose(_device(endless), 16, LONG, heaviest={"host": 400 * GIB}).jobs == 2  # of the host's 1,000


def test_a_count_that_dies_is_not_taken() -> None:
    found = choose(_device({1: 100, 2: 200}), 16, LONG)
    assert (found.jobs, found.why) == (2, "4 workers could not be tried: CUDA out of memory")
    assert choose(_device({}), 16, LONG).jobs == 1


def test_a_plan_that_is_shorter_than_a_probe_is_not_probed() -> None:
    tried: list[int] = []

    def measure(count: int) -> Sequence[Reading]:
        tried.append(count)
        return _device({1: 100})(count)

    found = choose(measure, 16, images=100 * (packing.BUDGET_SECONDS - 1))
    assert (found.jobs, tried) == (1, [1])


@pytest.fixture
def two_cores() -> Iterator[None]:
    """This process and what it starts may use two cores alone; skipped where there are none."""
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("this machine has one core")
    os.sched_setaffinity(0, sorted(before)[:2])
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.long
@pytest.mark.usefixtures("two_cores")
def test_two_processes_on_two_cores_train_more_than_one_and_four_no_more_than_two() -> None:
    shares: dict[int, float] = {}
    rates: dict[int, float] = {}
    with Probes(None, None, 200) as probes:
        for count in (1, 2, 4):
            readings = probes.side_by_side(DIGITS, count, 1.5)
            assert len(readings) == count
            shares[count] = sum(reading.processor_share for reading in readings)
            rates[count] = sum(reading.images_per_second for reading in readings)
    # Whoever else uses these cores: what a process does in a second of processor is its own, and there are two of them.
    assert rates[2] / shares[2] > 0.6 * rates[1] / shares[1]
    assert shares[1] < 1.1
    assert shares[4] < 2.2
    if shares[1] > 0.95 and shares[2] > 1.9 and shares[4] > 1.9:  # nobody else does
        assert rates[2] > 1.4 * rates[1]
        assert rates[4] < 1.15 * rates[2]


@pytest.mark.long
@pytest.mark.usefixtures("two_cores")
def test_the_probe_takes_no_more_processes_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SLICE_SECONDS", 1.0)
    wide = Subject("mlp", {"width": 512}, (1, 8, 8), 10, images=768, training={"condition_dropout": 0.1})
    found = probe([(DIGITS, LONG), (wide, 1.0)], None, 4, None)
    assert 1 in found.images_per_second
    assert found.jobs in found.images_per_second
    assert found.images_per_second[found.jobs] >= found.images_per_second[1]


@pytest.mark.long
def test_the_heaviest_of_several_trainings_is_the_one_that_is_weighed() -> None:
    wide = Subject("mlp", {"width": 64}, (1, 8, 8), images=8_000_000)  # 488 MiB of images
    with Probes(None, None, 60) as probes:
        both = probes.heaviest([DIGITS, wide])
        small = probes.heaviest([DIGITS])
    assert both["host"] > small["host"] + 450 * (1 << 20)


def test_a_probe_ends_with_its_time_and_leaves_no_process_behind() -> None:
    with Probes(None, None, 0.5) as probes, pytest.raises(ProbeError, match="time for probing is up"):
        probes.side_by_side(DIGITS, 2, 1.0)
    assert len(probes.everyone) == 2
    assert all(member.returncode is not None for member in probes.everyone)


def test_what_ends_a_probe_is_said_and_one_worker_goes_on() -> None:
    broken = Subject("mlp", {"width": -4}, (1, 8, 8), images=768)
    found = probe([(broken, LONG)], None, 4, None)
    assert found.jobs == 1
    assert "negative dimension" in found.why


GRID = """# How many at a time?
base: {data: {name: digits, held_out: 900}, model: {name: mlp}, score: [memorization]}
axes:
  model.width: [16, 32]
  train.steps: [1000000, 2000000]
  data.size: [16, 64]
"""


@pytest.fixture
def planned(write_grid: Callable[..., Path], tmp_path: Path) -> sweep.Planned:
    """A long plan, its data at hand."""
    found = sweep.prepare(write_grid(GRID, "long.yaml"), tmp_path / "runs", {})
    sweep.record(found)
    return found


def test_the_distinct_trainings_of_a_plan_are_weighed(planned: sweep.Planned) -> None:
    found = packing.trainings(planned.state.work, planned.store)
    assert sorted((t.settings.get("width"), t.images) for t, _ in found) == [
        (16, 16),
        (16, 64),
        (32, 16),
        (32, 64),
    ]
    assert all(t.shape == (1, 8, 8) and t.batch == 128 for t, _ in found)
    assert sum(amount for _, amount in found) == planned.plan.images_planned == 4 * 2_000_000 * 128


@pytest.mark.usefixtures("two_cores")
def test_a_second_sweep_does_not_probe_again(
    planned: sweep.Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(packing, "SLICE_SECONDS", 0.5)
    arguments = (planned.state.work, planned.store, None, [None])
    first = packing.jobs_per_device(*arguments)
    assert set(first.images_per_second) == {1, 2}
    monkeypatch.setattr(packing, "probe", lambda *_: pytest.fail("probed again"))
    again = packing.jobs_per_device(*arguments)
    assert (again.jobs, again.why) == (first.jobs, "as measured before")
    assert packing.jobs_per_device(*arguments, workers=1).jobs == 1  # never more than are asked for


def test_a_device_that_is_not_there_gets_one_worker_and_is_asked_again(
    planned: sweep.Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = packing.jobs_per_device(planned.state.work, planned.store, None, ["no-such-card"], workers=4)
    assert found.jobs == 1
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_without_a_gpu_auto_is_what_one_is(
    write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    grid = write_grid()
    done = difgen("sweep", grid, "--cluster", "local", "--jobs-per-gpu", "auto", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    assert "probing" not in done.stderr


@pytest.mark.parametrize("said", ["0", "-1", "two", "1.5", "", "AUTO", "²"])
def test_a_wrong_number_of_jobs_is_one_sentence(
    said: str, write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = difgen("sweep", write_grid(), f"--jobs-per-gpu={said}")
    assert done.returncode == 2
    assert done.stderr == f"--jobs-per-gpu {said}: write a whole number of at least 1, or auto\n"
