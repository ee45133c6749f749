"""What finished work has cost, from rows whose prices are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from difgen_cli.engine.cost import history
from difgen_cli.engine.cost.estimate import predict
from difgen_cli.engine.cost.history import Workloads
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store

ROW = {
    "kind": "model", "home": "a", "step": 100, "data.name": "digits", "data.size": 64, "data.held_out": 900,
    "condition.name": "none", "model.name": "mlp", "model.width": 64, "train.batch": 10, "train.precision": "fp32",
    "train.flip": False, "sample.name": "heun", "sample.steps": 8, "sample.count": 300, "guide.name": "none",
    "device": "here", "train_device": "here", "threads": 1, "train_seconds": 5.0, "sampling_seconds": 2.0,
    "memorization_seconds": 0.5, "gap_seconds": 1.5, "score.gap.pairs": 1024,
}  # fmt: skip


def known(folder: Path, *rows: dict[str, Any], device: str | None = "here", threads: int | None = 1) -> history.History:
    store = Store(folder)
    store.tables.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([ROW | row for row in rows]).to_parquet(store.tables / "rows.parquet")
    return history.read(store, Library(None), device, threads)


def test_the_rate_of_a_training_is_that_between_its_snapshots_and_the_rest_its_start(tmp_path: Path):
    """3 s to begin with, then 2 ms an image: at steps 100 and 300 of ten images each."""
    found = known(tmp_path, {}, {"step": 300, "train_seconds": 9.0})
    assert [m.seconds for m in found.trainings] == [pytest.approx(2e-3)]
    assert found.start_seconds == pytest.approx(3.0)
    assert found.trainings[0].name == "mlp width 64"
    assert found.examples == {found.trainings[0].workload.network: "a"}


def test_of_many_trainings_of_a_network_the_median_counts(tmp_path: Path):
    rows = [{"home": home, "step": step, "train_seconds": 3 + step * 10 * rate}
            for home, rate in (("a", 1e-3), ("b", 2e-3), ("c", 50e-3)) for step in (100, 300)]  # fmt: skip
    trainings = known(tmp_path, *rows).trainings
    assert predict(trainings, trainings[0].workload).value == pytest.approx(2e-3)


@pytest.mark.parametrize("other", [{"train_device": "elsewhere"}, {"threads": 2}])
def test_trainings_of_another_device_or_with_other_threads_say_nothing(tmp_path: Path, other: dict[str, Any]):
    assert not known(tmp_path, {} | other).trainings
    assert known(tmp_path, {}, other | {"home": "b", "train_seconds": 50.0}).trainings[0].seconds == pytest.approx(5e-3)


def test_where_the_device_is_not_known_that_of_most_rows_counts(tmp_path: Path):
    rows = [{"home": "a"}, {"home": "b"}, {"home": "c", "train_device": "there", "train_seconds": 1.0}]
    found = known(tmp_path, *rows, device=None, threads=None)
    assert [m.seconds for m in found.trainings] == [pytest.approx(5e-3)] * 2


def test_networks_batches_and_precisions_are_kept_apart(tmp_path: Path):
    others = [{"model.width": 128}, {"train.batch": 20}, {"train.precision": "bf16"}, {"data.name": "npz"}]
    found = known(tmp_path, {}, *({"home": str(k)} | other for k, other in enumerate(others)))
    assert len({m.workload for m in found.trainings}) == 5
    assert len({m.workload.network for m in found.trainings}) == 3, (
        "network and images: batch and precision are the training's"
    )


def test_subsets_seeds_and_learning_rates_are_not(tmp_path: Path):
    found = known(tmp_path, {}, {"home": "b", "data.size": 512, "train.lr": 0.1, "train.seed": 3, "train_seconds": 7.0})
    assert len({m.workload for m in found.trainings}) == 1
    assert predict(found.trainings, found.trainings[0].workload).value == pytest.approx(6e-3)


def test_samples_are_drawn_in_whole_blocks_and_step_by_step(tmp_path: Path):
    found = known(tmp_path, {})
    assert [(m.seconds, m.workload.size) for m in found.sampling] == [(2.0, 512.0 * 8)]


def test_a_metrics_size_is_the_images_of_the_inputs_that_it_names(tmp_path: Path):
    found = known(tmp_path, {}, {"data.size": 128, "memorization_seconds": 0.7})
    sizes = sorted((m.seconds, m.workload.size) for m in found.metrics["memorization"])
    assert sizes == [(0.5, 300.0 + 64 + 900), (0.7, 300.0 + 128 + 900)]
    assert sorted(m.workload.size for m in found.metrics["gap"]) == [64.0 + 900, 128.0 + 900]
    assert found.metrics["gap"][0].workload.network == found.trainings[0].workload.network
    assert not found.metrics["memorization"][0].workload.network


def test_planned_work_has_the_workloads_of_finished_work(tmp_path: Path):
    """A table's numbers may have become others than a plan's: 64 is 64.0 where a column lacks some."""
    workloads = Workloads(Library(None))
    found = known(tmp_path, {"model.dropout": None, "model.width": 64.0, "data.path": None})
    assert workloads.training(ROW) == found.trainings[0].workload
    assert workloads.sampling("model", ROW) == found.sampling[0].workload
    assert workloads.metric("gap", "model", ROW) == found.metrics["gap"][0].workload


def test_rows_of_before_times_were_kept_are_no_error(tmp_path: Path):
    store = Store(tmp_path)
    assert history.read(store, Library(None), "here", 1).trainings == []
    store.tables.mkdir(parents=True)
    pd.DataFrame([{k: v for k, v in ROW.items() if k not in ("threads", "sampling_seconds")}]).to_parquet(
        store.tables / "rows.parquet"
    )
    found = history.read(store, Library(None), "here", 1)
    assert len(found.trainings) == 1
    assert found.sampling == []


def test_what_a_worker_spends_beside_its_units():
    seconds = {"training": 10.0, "sampling": 2.0, "scoring": 3.0, "preparing": 4.0, "wall": 22.0, "waiting": 1.0}
    worker_records = [{"device": "cpu", "state": "done", "units": 5, "seconds": seconds}]
    others = [worker_records[0] | {"device": "cuda"}, worker_records[0] | {"state": "interrupted"}, {"device": "cpu"}]
    found = history.overhead([*worker_records, *others], "cpu")
    assert [(m.workload.size, m.seconds) for m in found] == [(1.0, 6.0)]
