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
    "device": "here", "train_device": "here", "threads": 1, "train_seconds": 5.0, "images_seen": 1000,
    "images_per_second": 200.0, "sampling_seconds": 2.0,
    "memorization_seconds": 0.5, "gap_seconds": 1.5, "score.gap.pairs": 1024,
}  # fmt: skip


def known(folder: Path, *rows: dict[str, Any], device: str | None = "here", threads: int | None = 1) -> history.History:
    store = Store(folder)
    store.tables.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([ROW | row for row in rows]).to_parquet(store.tables / "rows.parquet")
    return history.read(store, Library(None), device, threads)


def values(measured: history.Measured) -> list[float]:
    """All seconds of a part."""
    return sorted(s for seconds in measured.values() for s in seconds)


def test_a_training_takes_its_rate_an_image_and_the_rest_is_its_start(tmp_path: Path):
    """1,000 images at 500 a second in 5 s."""
    found = known(tmp_path, {"images_per_second": 500.0})
    assert values(found["training"]) == [pytest.approx(2e-3)]
    assert values(found["start"]) == [pytest.approx(3.0)]
    [workload] = found["training"]
    assert (workload.name, workload.run_key) == ("mlp width 64", "a")


def test_of_many_trainings_of_a_network_the_median_counts(tmp_path: Path):
    trainings = known(tmp_path, *({"home": str(r), "images_per_second": r} for r in (1000.0, 500.0, 20.0)))["training"]
    expected = predict(trainings, next(iter(trainings)))
    assert expected.value == pytest.approx(2e-3)
    assert expected.high >= 50e-3, "the range holds what was measured"


@pytest.mark.parametrize("other", [{"train_device": "elsewhere"}, {"threads": 2}])
def test_trainings_of_another_device_or_with_other_threads_say_nothing(tmp_path: Path, other: dict[str, Any]):
    assert "training" not in known(tmp_path, {} | other)
    found = known(tmp_path, {}, other | {"home": "b", "images_per_second": 20.0})
    assert values(found["training"]) == [pytest.approx(5e-3)]


def test_where_the_device_is_not_known_that_of_most_rows_counts(tmp_path: Path):
    rows = [{"home": "a"}, {"home": "b"}, {"home": "c", "train_device": "there", "images_per_second": 1.0}]
    found = known(tmp_path, *rows, device=None, threads=None)
    assert values(found["training"]) == [pytest.approx(5e-3)] * 2


def test_networks_batches_and_precisions_are_kept_apart(tmp_path: Path):
    others = [{"model.width": 128}, {"train.batch": 20}, {"train.precision": "bf16"}, {"data.name": "npz"}]
    found = known(tmp_path, {}, *({"home": str(k)} | other for k, other in enumerate(others)))["training"]
    assert len(found) == 5
    assert len({workload.network for workload in found}) == 3, (
        "network and images: batch and precision are the training's"
    )


def test_subsets_seeds_and_learning_rates_are_not(tmp_path: Path):
    found = known(tmp_path, {}, {"home": "b", "data.size": 512, "train.lr": 0.1, "train.seed": 3})["training"]
    assert [len(seconds) for seconds in found.values()] == [2]


EDM = {"objective.name": "edm", "objective.noise_bank": None, "objective.target": "stochastic"}
DISTILL = {"objective.name": "distill", "objective.steps": 16.0, "objective.every": 2.0}


def test_trainings_by_another_objective_are_kept_apart_and_those_without_one_are_by_edm(tmp_path: Path):
    rows = [{}, {"home": "b"} | EDM, {"home": "c"} | DISTILL, {"home": "d"} | EDM | {"objective.noise_bank": 4.0}]
    found = known(tmp_path, *rows)["training"]
    assert sorted(len(seconds) for seconds in found.values()) == [1, 1, 2]
    assert len({workload.network for workload in found}) == 1


@pytest.mark.parametrize(
    ("objective", "size"),
    [
        (EDM, 1), (DISTILL, 1 + 2 / 3), ({"objective.name": "unlearn", "objective.method": "neggrad"}, 1),
        ({"objective.name": "unlearn", "objective.method": "erase"}, 1 + 1 / 3),
        ({"objective.name": "of a plug-in that is gone"}, 1),
    ],
)  # fmt: skip
def test_evaluations_of_a_teacher_count_a_third_of_a_forward_and_a_backward_pass_each(
    tmp_path: Path, objective: dict[str, Any], size: float
):
    """Where trainings by edm were measured, one by this objective takes so many times as long."""
    asked = Workloads(Library(None)).training(ROW | objective)
    assert asked.size == pytest.approx(size)
    measured = known(tmp_path, {})["training"]
    assert predict(measured, asked).value == pytest.approx(5e-3 * size)


def test_samples_are_drawn_in_whole_blocks_and_step_by_step(tmp_path: Path):
    assert [(w.size, s) for w, s in known(tmp_path, {})["sampling"].items()] == [(512.0 * 8, [2.0])]


def test_a_metrics_size_is_the_images_of_the_inputs_that_it_names(tmp_path: Path):
    found = known(tmp_path, {}, {"data.size": 128, "memorization_seconds": 0.7})
    sizes = sorted((s, w.size) for w, seconds in found["memorization"].items() for s in seconds)
    assert sizes == [(0.5, 300.0 + 64 + 900), (0.7, 300.0 + 128 + 900)]
    assert sorted(w.size for w in found["gap"]) == [64.0 + 900, 128.0 + 900]
    assert {w.network for w in found["gap"]} == {w.network for w in found["training"]}
    assert {w.network for w in found["memorization"]} == {""}


def test_planned_work_has_the_workloads_of_finished_work(tmp_path: Path):
    """A table's numbers may have become others than a plan's: 64 is 64.0 where a column lacks some."""
    workloads = Workloads(Library(None))
    found = known(tmp_path, {"model.dropout": None, "model.width": 64.0, "data.path": None})
    for part in ("training", "sampling", "gap"):
        assert list(found[part]) == [workloads.of(part, ROW)]


def test_rows_of_before_times_were_kept_are_no_error(tmp_path: Path):
    store = Store(tmp_path)
    assert not history.read(store, Library(None), "here", 1)
    store.tables.mkdir(parents=True)
    pd.DataFrame([{k: v for k, v in ROW.items() if k not in ("threads", "sampling_seconds")}]).to_parquet(
        store.tables / "rows.parquet"
    )
    found = history.read(store, Library(None), "here", 1)
    assert len(found["training"]) == 1
    assert "sampling" not in found


def test_what_a_worker_spends_beside_its_units():
    seconds = {"training": 10.0, "sampling": 2.0, "scoring": 3.0, "preparing": 4.0, "wall": 22.0, "waiting": 1.0}
    worker_records = [{"device": "cpu", "state": "done", "units": 5, "seconds": seconds}]
    others = [worker_records[0] | {"device": "cuda"}, worker_records[0] | {"state": "interrupted"}, {"device": "cpu"}]
    found = history.overhead([*worker_records, *others], "cpu")
    assert found == [6.0]
