"""One key has one folder, under whatever slug it was begun; and nothing of two that 0.1.0 made is lost."""

from __future__ import annotations

import json
from pathlib import Path

from difgen_cli.engine.plan.work import Training
from difgen_cli.engine.store import RunFolder, Store
from difgen_cli.engine.store.attempts import Claimant
from difgen_cli.engine.worker.queue import Queue
from difgen_cli.engine.worker.submission_spec import StopFlag
from difgen_cli.engine.worker.worker_record import WorkerRecord

KEY = "0123456789abcdef"


def _queue(tmp_path: Path, slug: str) -> Queue:
    worker_record = WorkerRecord.register(tmp_path / f"{slug}.json", "cpu")
    store = Store(tmp_path / "runs")
    store.run_folder(KEY, slug)  # as planned before the other began
    return Queue(store, [Training(KEY, slug, (10,), 8)], Claimant(), worker_record)


def test_two_sweeps_that_call_one_trajectory_by_two_names_use_one_folder(tmp_path: Path) -> None:
    one, other = _queue(tmp_path, "npz-n16-mlp"), _queue(tmp_path, "folder-n16-mlp")
    claimed = one.next(StopFlag())
    assert claimed is not None
    assert claimed[1].path.name == f"npz-n16-mlp-{KEY}"
    assert other._claim() is None, "the first has it"
    assert other.store.run_folder_now(KEY, "folder-n16-mlp").path == claimed[1].path
    assert [h.path.name for h in Store(tmp_path / "runs").run_folders()] == [f"npz-n16-mlp-{KEY}"]
    again = Store(tmp_path / "runs").run_folder_now(KEY, "third", make=True)
    assert again.path == claimed[1].path


def test_of_two_folders_of_one_key_the_results_of_both_are_seen(tmp_path: Path) -> None:
    for slug, key in (("b", "one"), ("a", "two")):
        results = tmp_path / "trajectories" / f"{slug}-{KEY}" / "results"
        results.mkdir(parents=True)
        (results / f"{key}.json").write_text("{}")
    store = Store(tmp_path)
    assert [h.path.name for h in store.run_folders()] == [f"a-{KEY}", f"b-{KEY}"]
    assert {key for folder in store.run_folders() for key in folder.results()} == {"one", "two"}
    assert {Store(tmp_path).run_folder(KEY, slug).path.name for slug in "abc"} == {f"a-{KEY}"}


def test_a_name_on_record_leads_to_no_other_folder(tmp_path: Path) -> None:
    named = tmp_path / "shared" / "homes" / KEY
    named.parent.mkdir(parents=True)
    named.write_text('"../../elsewhere"')
    assert Store(tmp_path).run_folder_now(KEY, "mlp").path == tmp_path / "trajectories" / "elsewhere"


def test_losses_past_what_was_trained_again_stay(tmp_path: Path) -> None:
    """A trunk that is trained again to where another forks keeps the losses of its end."""
    folder = RunFolder(tmp_path)
    for number, steps in enumerate(([10, 20, 30, 40], [12, 22])):
        lines = [json.dumps({"step": step, "loss": number + 1.0}) for step in steps]
        folder.progress(number + 1).write_text("\n".join(lines))
    assert folder.losses() == [(10, 1.0), (12, 2.0), (22, 2.0), (30, 1.0), (40, 1.0)]
