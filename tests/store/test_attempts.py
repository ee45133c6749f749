"""Attempts: one claimant wins, a silent or dead owner is replaced, a failed unit stays failed until released."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from difgen_cli.engine.store import attempts
from difgen_cli.engine.store.attempts import (
    MOST_FRUITLESS,
    MOST_OUT_OF_MEMORY,
    Claimant,
    claim,
    history,
    record_death,
    release,
)
from difgen_cli.engine.store.files import publish, publish_json, read_json, replace_json
from difgen_cli.engine.store.processes import is_dead, process_identity


def _try_to_claim(folder: str, gate: object, won: object) -> None:
    gate.wait()  # type: ignore[attr-defined]
    if claim(Path(folder), "train", Claimant()) is not None:
        with won.get_lock():  # type: ignore[attr-defined]
            won.value += 1  # type: ignore[attr-defined]
        time.sleep(1)  # hold the claim: its owner must be alive while the others look


def test_of_many_claimants_one_wins(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    gate, won = context.Event(), context.Value("i", 0)
    racers = [context.Process(target=_try_to_claim, args=(str(tmp_path), gate, won)) for _ in range(6)]
    for racer in racers:
        racer.start()
    gate.set()
    for racer in racers:
        racer.join(60)
    assert won.value == 1
    assert len(history(tmp_path, "train")) == 1


def test_a_living_owner_keeps_its_claim_and_a_finished_one_does_not(tmp_path: Path) -> None:
    first = claim(tmp_path, "train", Claimant())
    assert first is not None
    assert claim(tmp_path, "train", Claimant()) is None
    first.end("interrupted", cause="asked to stop")
    second = claim(tmp_path, "train", Claimant())
    assert second is not None
    assert second.number == 2
    assert first.superseded()
    assert not second.superseded()


def test_an_owner_that_was_killed_is_replaced_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from difgen_cli.engine.store.attempts import *\n"
        "claim(Path(sys.argv[1]), 'train', Claimant()); print('claimed', flush=True); time.sleep(100)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    other.stdout.readline()
    assert claim(tmp_path, "train", Claimant()) is None
    other.send_signal(signal.SIGKILL)
    other.wait()
    other.stdout.close()
    taken = claim(tmp_path, "train", Claimant())
    assert taken is not None
    assert taken.number == 2


def _foreign(folder: Path, counter: int = 0) -> Path:
    """An attempt of another machine, whose process cannot be asked."""
    path = folder / "train.1.json"
    record = {"state": "running", "counter": counter, "owner": process_identity() | {"boot": "elsewhere"}, "step": 7}
    replace_json(path, record)
    return path


def test_a_foreign_owner_expires_by_the_claimants_own_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(attempts.time, "monotonic", lambda: clock[0])
    claimant = Claimant(lease_seconds=60)
    _foreign(tmp_path)
    assert claim(tmp_path, "train", claimant) is None
    clock[0] += 59
    _foreign(tmp_path, counter=1)  # a sign of life
    assert claim(tmp_path, "train", claimant) is None
    clock[0] += 59
    assert claim(tmp_path, "train", claimant) is None
    clock[0] += 2
    assert claim(tmp_path, "train", claimant) is not None


def test_an_unreadable_attempt_counts_as_lost(tmp_path: Path) -> None:
    (tmp_path / "train.1.json").write_text('{"state": "runn')
    taken = claim(tmp_path, "train", Claimant())
    assert taken is not None
    assert taken.number == 2


def test_a_failed_unit_stays_failed_until_it_is_released(tmp_path: Path) -> None:
    first = claim(tmp_path, "train", Claimant())
    assert first is not None
    first.end("failed", cause="ValueError: no")
    assert claim(tmp_path, "train", Claimant()) is None
    release(tmp_path, "train")
    assert [r["state"] for _, r in history(tmp_path, "train")] == ["failed", "released"]
    assert claim(tmp_path, "train", Claimant()) is not None


def test_a_unit_that_kills_its_workers_without_progress_is_given_up(tmp_path: Path) -> None:
    dead = process_identity() | {"started": "0"}
    for number in range(1, MOST_FRUITLESS + 2):  # the first one got to step 5
        record = {"state": "running", "counter": 0, "owner": dead, "step": 5, "submission": "1"}
        publish_json(tmp_path / f"train.{number}.json", record)
    assert claim(tmp_path, "train", Claimant(submission="1")) is None
    last = history(tmp_path, "train")[-1][1]
    assert last["state"] == "failed"
    assert "step 5" in last["cause"]


@pytest.mark.parametrize("what", ["progress", "another submission"])
def test_deaths_with_progress_or_of_another_submission_do_not_count(tmp_path: Path, what: str) -> None:
    dead = process_identity() | {"started": "0"}
    for number in range(1, MOST_FRUITLESS + 3):
        step = number if what == "progress" else 5
        record = {"state": "running", "counter": 0, "owner": dead, "step": step, "submission": "1"}
        publish_json(tmp_path / f"train.{number}.json", record)
    assert claim(tmp_path, "train", Claimant(submission="1" if what == "progress" else "2")) is not None


def _dead(folder: Path, number: int, **fields: object) -> None:
    record = {
        "state": "running",
        "counter": 0,
        "owner": process_identity() | {"started": "0"},
        "step": 0,
        "submission": "1",
    }
    publish_json(folder / f"train.{number}.json", record | fields)


@pytest.mark.parametrize("ending", ["preempted", "node_failure", "cancelled"])
def test_what_the_cluster_does_is_never_counted_against_a_unit(tmp_path: Path, ending: str) -> None:
    for number in range(1, 3 * MOST_FRUITLESS):
        _dead(tmp_path, number)
        record_death(tmp_path, "train", number, ending, "SLURM")
    assert claim(tmp_path, "train", Claimant(submission="1")) is not None


def test_a_time_limit_that_comes_before_any_progress_ends_in_a_failure_that_names_the_walltime(tmp_path: Path) -> None:
    for number in range(1, MOST_FRUITLESS + 1):
        _dead(tmp_path, number, state="interrupted", ending="time_limit")
    assert claim(tmp_path, "train", Claimant(submission="1")) is None
    last = history(tmp_path, "train")[-1][1]
    assert (last["state"], last["ending"]) == ("failed", "time_limit")
    assert "walltime_minutes" in last["cause"]


def test_running_out_of_memory_twice_names_the_setting_to_lower(tmp_path: Path) -> None:
    for number in range(1, MOST_OUT_OF_MEMORY + 1):
        _dead(tmp_path, number)
        record_death(tmp_path, "train", number, "out_of_memory", "the launcher")
    assert claim(tmp_path, "train", Claimant(submission="1")) is None
    last = history(tmp_path, "train")[-1][1]
    assert last["ending"] == "out_of_memory"
    assert "train.batch" in last["cause"]


def test_running_out_of_memory_a_little_later_each_time_is_given_up_too(tmp_path: Path) -> None:
    for number in range(1, MOST_OUT_OF_MEMORY + 1):
        _dead(tmp_path, number, step=10 * number)
        record_death(tmp_path, "train", number, "out_of_memory", "SLURM")
    assert claim(tmp_path, "train", Claimant(submission="2")) is not None, "another submission may have more memory"
    (tmp_path / f"train.{MOST_OUT_OF_MEMORY + 1}.json").unlink()
    assert claim(tmp_path, "train", Claimant(submission="1")) is None


def test_an_owner_whose_file_was_deleted_and_claimed_again_leaves(tmp_path: Path) -> None:
    first = claim(tmp_path, "train", Claimant())
    assert first is not None
    first.path.unlink()
    second = claim(tmp_path, "train", Claimant())
    assert second is not None
    assert second.number == first.number
    first.beat(step=7)
    assert first.superseded()
    assert not second.superseded()
    first.end("done")
    assert history(tmp_path, "train")[-1][1]["state"] == "running", "the second one's record stands"


def test_an_owner_whose_file_was_deleted_writes_it_again(tmp_path: Path) -> None:
    attempt = claim(tmp_path, "train", Claimant())
    assert attempt is not None
    attempt.path.unlink()
    attempt.beat(step=7)
    assert claim(tmp_path, "train", Claimant()) is None
    assert history(tmp_path, "train")[-1][1]["step"] == 7


def test_a_death_is_recorded_once_with_what_the_log_tells(tmp_path: Path) -> None:
    folder = tmp_path / "trajectories" / "x-1" / "attempts"
    log = tmp_path / "worker.out"
    log.write_text("step 5\nslurmstepd: error: *** JOB 12 ON node1 CANCELLED AT 2026 DUE TO TIME LIMIT ***\n")
    _dead(folder, 1, log={"path": "worker.out", "from": 0})
    record_death(folder, "train", 1, "killed", "the next worker")
    record_death(folder, "train", 1, "preempted", "SLURM")
    last = history(folder, "train")[-1][1]
    assert (last["state"], last["ending"], last["by"]) == ("lost", "time_limit", "the next worker")
    assert "step 5" in last["words"]


def test_of_an_attempt_that_has_ended_no_death_is_recorded(tmp_path: Path) -> None:
    attempt = claim(tmp_path, "train", Claimant())
    assert attempt is not None
    attempt.end("done")
    record_death(tmp_path, "train", 1, "killed", "SLURM")
    assert os.listdir(tmp_path) == ["train.1.json"]


def test_heartbeats_come_well_within_the_lease_and_end_with_the_attempt(tmp_path: Path) -> None:
    attempt = claim(tmp_path, "train", Claimant(lease_seconds=0.04))
    assert attempt is not None
    with attempt.beating():
        time.sleep(0.2)
    counted = json.loads(attempt.path.read_text())["counter"]
    assert counted > 3
    time.sleep(0.1)
    assert json.loads(attempt.path.read_text())["counter"] == counted


def test_this_process_is_not_gone_and_a_reused_pid_is_no_alibi() -> None:
    assert not is_dead(process_identity())
    assert is_dead(process_identity() | {"started": "1"})
    assert not is_dead(process_identity() | {"started": "1", "boot": "elsewhere"}), "nothing is known of other machines"


def test_results_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "a" / "result.json"
    assert publish_json(path, {"winner": 1})
    assert not publish_json(path, {"winner": 2})
    assert read_json(path) == {"winner": 1}
    assert os.listdir(path.parent) == ["result.json"], "no temporary file is left"


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_text("half")
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        publish(tmp_path / "x", write)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("way", ["absolute", "above", "link"])
def test_a_log_outside_the_run_directory_is_copied_into_no_record(tmp_path: Path, way: str) -> None:
    (tmp_path / "secret.txt").write_text("secret line\n")
    folder = tmp_path / "runs" / "trajectories" / "x-0123456789abcdef" / "attempts"
    folder.mkdir(parents=True)
    (tmp_path / "runs" / "log.out").symlink_to(tmp_path / "secret.txt")
    place = {"absolute": str(tmp_path / "secret.txt"), "above": "../secret.txt", "link": "log.out"}[way]
    dead = process_identity() | {"started": "0"}
    record = {"state": "running", "counter": 0, "owner": dead, "log": {"path": place, "from": 0}}
    (folder / "train.1.json").write_text(json.dumps(record))
    assert claim(folder, "train", Claimant()) is not None
    assert "secret" not in (folder / "train.1.ending.json").read_text()
