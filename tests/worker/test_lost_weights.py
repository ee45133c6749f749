"""Weights that nobody will make are not waited for: the unit is left, with its cause, and the same sweep trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from difgen_cli import sweep
from difgen_cli.engine.plan.work import Training
from difgen_cli.engine.store import StoreError, garbage
from difgen_cli.engine.store.attempts import Claimant
from difgen_cli.engine.worker.queue import Queue
from difgen_cli.engine.worker.submission_spec import StopFlag
from difgen_cli.engine.worker.worker_record import WorkerRecord
from difgen_cli.sweep import Options, Planned

GRID = """\
# Who makes the weights?
base:
  data:   {name: digits, held_out: 900, size: 8}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 4}
  sample: {name: euler, steps: 2, count: 16}
  score:  [memorization]
"""


@pytest.fixture
def planned(write_grid: Callable[..., Path], tmp_path: Path) -> Planned:
    """A grid of one training whose weights are there, and one scoring that is not."""
    made = sweep.prepare(write_grid(GRID), tmp_path / "runs", {})
    snapshot = _snapshot(made)
    snapshot.parent.mkdir(parents=True)
    snapshot.write_bytes(b"weights")
    return sweep.prepare(tmp_path / "tiny.yaml", tmp_path / "runs", {})


def _snapshot(planned: Planned) -> Path:
    (trajectory,) = planned.plan.trajectories.values()
    return planned.store.run_folder(trajectory.key, trajectory.slug).snapshot(4)


def _queue(planned: Planned, tmp_path: Path) -> Queue:
    units = [u for u in planned.state.work.units if getattr(u, "kind", "model") == "model"]
    return Queue(planned.store, units, Claimant(lease_seconds=0.2), WorkerRecord.register(tmp_path / "0.json", "cpu"))


def test_a_scoring_whose_weights_were_removed_ends_with_its_cause(planned: Planned, tmp_path: Path) -> None:
    assert not planned.state.work.trainings
    _snapshot(planned).unlink()
    queue = _queue(planned, tmp_path)
    (scoring,) = queue.units
    assert queue.next(StopFlag()) is None, "it does not wait for ever"
    ((_, record),) = planned.store.run_folder(scoring.run_key, scoring.slug).history(scoring.unit)
    assert (record["state"], record["ending"]) == ("interrupted", "weights_gone")
    assert str(_snapshot(planned)) in str(queue.lost)
    again = sweep.prepare(tmp_path / "tiny.yaml", tmp_path / "runs", {}).state
    assert (len(again.work.trainings), again.counts["failed"]) == (1, 0)


def test_weights_that_somebody_makes_are_waited_for(planned: Planned, tmp_path: Path) -> None:
    _snapshot(planned).unlink()
    queue = _queue(planned, tmp_path)
    (scoring,) = queue.units
    training = planned.store.run_folder(scoring.run_key, scoring.slug).claim("train", Claimant())
    assert training is not None
    assert queue._claim() is None
    assert queue.units == [scoring], "another submission trains"
    training.end("interrupted", ending="asked")
    queue.units.append(Training(scoring.run_key, scoring.slug, (4,), 16))
    unit, _, _ = queue.next(StopFlag()) or (None, None, None)
    assert isinstance(unit, Training), "it is a unit of this work"
    queue.put_back(unit)
    assert queue._claim() is None
    assert scoring in queue.units


def test_what_gc_removed_after_the_plan_is_trained_again(planned: Planned) -> None:
    garbage.remove(planned.store, garbage.chosen(garbage.find(planned.store), everything=True))
    assert not _snapshot(planned).exists()
    assert len(sweep._recorded(planned).state.work.trainings) == 1
    assert not [w for w in garbage.find(planned.store) if w.kind == "orphans"]


def test_a_sweep_whose_weights_are_removed_on_the_way_says_so(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = sweep._recorded
    monkeypatch.setattr(sweep, "_recorded", lambda p: (settled(p), _snapshot(p).unlink())[0])
    with pytest.raises(StoreError, match=r"4\.safetensors: weights that it needs are gone; run the .* again to train"):
        sweep.run(planned, Options(cluster="inline"), Console(quiet=True))
    monkeypatch.undo()
    again = sweep.prepare(tmp_path / "tiny.yaml", tmp_path / "runs", {})
    assert sweep.run(again, Options(cluster="inline"), Console(quiet=True)) == "done"
