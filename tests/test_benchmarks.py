"""The benchmarks run, and say what they measured: with --quick, where the numbers themselves mean nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def _quick(name: str, folder: Path, *arguments: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a benchmark says with --quick --json: the machine, and its measurements."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(BENCHMARKS / f"{name}.py"), "--quick", "--json", *arguments],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    about, *rows = (json.loads(line) for line in done.stdout.splitlines())
    assert {"benchmark", "processor", "cores", "versions", "command"} <= set(about)
    assert about["versions"]["torch"]
    assert rows
    assert all(row["benchmark"] == name for row in rows)
    return about, rows


def _compared(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Case -> contestant -> measurement; every contestant but difgen itself has its ratio."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["case"], {})[row["who"].split()[0]] = row
        assert row["wall_seconds"] > 0
        assert row["processor_seconds"] > 0
        assert row["who"].startswith("difgen") or min(row["ratio_wall"], row["ratio_processor"]) > 0
    return found


@pytest.mark.long
def test_training_stands_beside_a_textbook_loop_and_diffusers(tmp_path: Path) -> None:
    _, rows = _quick("training", tmp_path)
    cases = _compared(rows)
    diffusers = {"diffusers"} if importlib.util.find_spec("diffusers") else set()
    assert set(cases["digits mlp"]) == {"difgen", "textbook"}
    assert set(cases["small unet"]) == {"difgen", "textbook"} | diffusers
    for row in rows:
        assert row["share_of_matrix_rate"] > 0
        assert row["images_per_second"] == pytest.approx(row["images"] / row["wall_seconds"])
    mlp, unet = cases["digits mlp"], cases["small unet"]
    assert mlp["textbook"]["mflops_per_image"] == mlp["difgen"]["mflops_per_image"]
    if diffusers:
        assert abs(unet["diffusers"]["mflops_per_image"] / unet["difgen"]["mflops_per_image"] - 1) < 0.05


@pytest.mark.long
@pytest.mark.parametrize(("name", "case"), [("training", "digits mlp"), ("sampling", "1,000 digits, mlp")])
def test_on_two_cores_workers_stand_beside_one_process_of_two_threads_and_two_of_one(
    name: str, case: str, tmp_path: Path
) -> None:
    _, rows = _quick(name, tmp_path, "--only", case, "--threads", "--cores", "2", "--repeats", "1")
    told = [(row["case"], row["who"], row["threads"]) for row in rows]
    assert told == [(case, "difgen (eager)", "2 × 1"), (case, "textbook", "1 × 2"), (case, "textbook", "2 × 1")]
    unit = "images" if name == "training" else "samples"
    ours, *peers = rows
    assert [row[unit] / ours[unit] for row in rows] == [1, 0.5, 1]  # of a slice in each process
    for peer in peers:
        assert peer["ratio_wall"] == pytest.approx(ours[f"{unit}_per_second"] / peer[f"{unit}_per_second"])


@pytest.mark.long
def test_a_cards_work_stands_beside_plain_torch(tmp_path: Path) -> None:
    """On the CPU: that it runs, reckons with the processes, and that the peers compute the same."""
    quick = ("--device", "cpu", "--way", "eager", "--processes", "2", "--repeats", "1")
    _, rows = _quick("card", tmp_path, *quick)
    of_case: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        of_case.setdefault(row["case"], []).append(row)
    assert [(r["who"], r["processes"]) for r in of_case["quick"]] == [
        ("eager bf16", 1), ("eager in order bf16", 1), ("textbook fp32", 1), ("eager bf16", 2), ("eager bf16", 1),
    ]  # fmt: skip
    for ours, *peers in (of_case["quick"][:3], of_case["quick"][3:], of_case["quick ddpmpp"], of_case["quick dit"]):
        for peer in peers:
            assert peer["ratio_wall"] == pytest.approx(ours["images_per_second"] / peer["images_per_second"])
        assert min(ours["roofline"], ours["mfu"]) > 0
    for name in ("quick, samples", "neighbours", "frechet"):
        ours, peer = of_case[name]
        assert peer["ratio_wall"] == pytest.approx(ours["images_per_second"] / peer["images_per_second"])
    (places,), (apart,) = of_case["neighbours: the same as the peer's"], of_case["frechet: apart from the peer's"]
    assert places["agree"] == 1
    assert apart["agree"] < 1e-4


def test_who_is_late_is_left_out_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    measuring = importlib.import_module("measuring")
    calls: dict[str, int] = {}

    def late_from(call: int, name: str) -> None:
        calls[name] = calls.get(name, 0) + 1
        if calls[name] >= call:
            raise measuring.LateError

    def rounds(**late: int) -> dict[str, int]:
        calls.clear()
        times = measuring.in_turn({name: partial(late_from, call, name) for name, call in late.items()}, 3)
        return {name: len(spent) for name, spent in times.items()}

    never = 100
    assert rounds(ours=never, peer=never) == {"ours": 3, "peer": 3}
    assert rounds(unready=1, at_once=2, ours=never) == {"ours": 3}
    assert rounds(ours=never, later=4) == {"ours": 2, "later": 2}  # warm, and two rounds
    assert rounds(all_=1) == {}


@pytest.mark.long
def test_a_part_of_a_cards_benchmark_that_has_no_time_names_who_is_missing(tmp_path: Path) -> None:
    start = time.monotonic()
    _, rows = _quick("card", tmp_path, "--device", "cpu", "--way", "eager", "--only", "several", "--seconds", "0.01")
    assert [row["who"].partition(":")[2] for row in rows] == [" not done in its time, or its process has ended"] * 2
    assert time.monotonic() - start < 120


@pytest.mark.long
def test_sampling_stands_beside_a_textbook_sampler_that_makes_the_same_images(tmp_path: Path) -> None:
    _, rows = _quick("sampling", tmp_path)
    cases = _compared(rows)
    assert len(cases) == 2
    assert all(set(case) == {"difgen", "textbook"} for case in cases.values())
    assert all(row["largest_difference"] < 1e-5 for row in rows)


@pytest.mark.long
def test_a_sweep_trains_the_longest_runs_alone_and_one_by_one_all_of_them(tmp_path: Path) -> None:
    _, rows = _quick("grid", tmp_path, "--seeds", "1")
    ours, theirs, evenly = rows
    batch, steps = 16, (10, 20, 30)
    assert ours["images"] == batch * max(steps)
    assert theirs["images"] == batch * sum(steps)
    assert ours["share_of_images"] == 0.5
    assert theirs["cells_run"] == ours["cells"] == 3
    assert ours["wall_over_bound"] > 1
    assert evenly["share_of_images"] == pytest.approx(10 / 55)


@pytest.mark.long
def test_growth_is_a_slope_with_its_error_beside_what_must_be_expected(tmp_path: Path) -> None:
    _, rows = _quick("growth", tmp_path, "--only", "mlp", "plan")
    assert [row["study"] for row in rows] == ["mlp", "plan"]
    for row in rows:
        assert len(row["values"].split(", ")) == len(row["wall_seconds"].split(", ")) == 4
        assert row["time_slope_se"] > 0
        assert isinstance(row["faster_than_it_must"], bool)
    assert 0 < rows[0]["time_expected"] < 2  # operations of an MLP, between those of its first layer and of its blocks
    assert rows[1]["time_expected"] == 1


def test_the_slope_of_a_power_law_is_its_exponent() -> None:
    spec = importlib.util.spec_from_file_location("growth", BENCHMARKS / "growth.py")
    assert spec
    assert spec.loader
    growth = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        patch.setitem(sys.modules, "growth", growth)
        spec.loader.exec_module(growth)
    values = [1.0, 2.0, 4.0, 8.0]
    assert growth.slope(values, [3 * v**1.7 for v in values]) == pytest.approx((1.7, 0.0))
    exponent, error = growth.slope(values, [1.0, 4.0, 4.0, 16.0])  # by hand: slope 1.2, residuals ±0.2, ±0.6 of log 2
    assert (exponent, error) == pytest.approx((1.2, (0.8 / 2 / 5) ** 0.5))
    assert growth.slope(values, [1.0, 0.0, 1.0, 1.0]) == (None, None)


@pytest.mark.long
def test_stacked_networks_have_the_gradients_of_each(tmp_path: Path) -> None:
    _, rows = _quick("stacking", tmp_path)
    assert [row["who"] for row in rows] == ["stacked", "in a row"]
    assert rows[0]["images"] == rows[1]["images"]
    assert rows[1]["ratio_processor"] > 0
    assert all(row["largest_difference"] < 1e-5 for row in rows)


@pytest.mark.long
def test_expected_times_are_compared_with_what_was_left_out(tmp_path: Path) -> None:
    _, rows = _quick("estimate", tmp_path)
    counts = {(row["left_out"], row["unit"]): row["predictions"] for row in rows}
    assert counts == {(left, unit): 8 for left in ("trajectory", "network") for unit in ("train", "score")}
    assert all(row["error_factor"] >= 1 and 0 <= row["inside"] <= row["predictions"] for row in rows)


@pytest.mark.long
def test_claims_are_tested_in_worlds_without_use_and_with_it(tmp_path: Path) -> None:
    _, rows = _quick("claims", tmp_path)
    tests = [row for row in rows if "null_01" in row]
    assert {row["test"][0] for row in tests} == {"1", "3", "o", "4"}
    assert all(0 <= row["null_01"] <= row["null_05"] <= 1 for row in tests if row["null_01"] == row["null_01"])
    assert all(0 <= row["power_01"] <= row["power_05"] <= 1 for row in tests if row["power_01"] == row["power_01"])


@pytest.mark.long
def test_scores_of_membership_are_compared_for_each_number_of_references(tmp_path: Path) -> None:
    _, rows = _quick("calibrated", tmp_path)
    *scores, control = rows
    assert [row["references"] for row in scores] == [1] * 7 + [2] * 6
    assert {row["targets"] for row in rows} == {3}
    assert all(0 < row["auc"] < 1 and 0 <= row["tpr_1pct"] <= row["tpr_10fp"] <= 1 for row in scores)
    assert control["score"] == "pool without T against H"


@pytest.mark.long
def test_forecasts_are_compared_with_the_size_that_was_hidden(tmp_path: Path) -> None:
    _, (row,) = _quick("onset_forecast", tmp_path, "--only", "on the line")
    assert row["studies"] == 3
    assert all(0 <= row[name] <= 1 for name in ("censored", "coverage", "copied", "said", "held", "sure"))
    assert row["coverage"] > 0.8
    assert row["copied"] < 0.2
    assert row["width"] > 1


@pytest.mark.long
def test_what_spaces_see_is_listed_for_each_world_and_what_was_not_run(tmp_path: Path) -> None:
    _, rows = _quick("spaces", tmp_path, "--spaces", "pixels", "classifier")
    *seen, absent = rows
    assert [row["world"] for row in seen][:2] == ["exact copies", "copies + noise 0.1"]
    assert {row["space"] for row in seen} == {"pixels"}
    assert seen[0]["ratio"] == seen[0]["tail"] == 1
    assert len(seen) == 12
    assert (absent["space"], absent["world"]) == ("classifier", "not run: no weights, colours or labels for it")


def test_refine_finds_known_crossings_with_a_third_of_the_trainings_whatever_arrives_first(tmp_path: Path) -> None:
    """On few worlds: the numbers over 300 are in benchmarks/NOTES.md."""
    _, rows = _quick("refine", tmp_path)
    worlds = {row["kind"]: row for row in rows}
    assert all(row["orders"] == 1 and row["most_run"] <= 12 / 37 for row in rows)
    assert all(row["narrow"] >= 0.9 for row in rows)
    assert all(row["holds"] >= (0.6 if kind == "rough" else 0.9) for kind, row in worlds.items())
    assert worlds["steep, seeds agree"]["share_run"] < 0.28 < worlds["seeds disagree"]["share_run"]
    assert worlds["steep, seeds agree"]["width"] < 1.3  # two or three neighbours; disagreeing seeds are further apart
    assert worlds["all above"]["share_run"] == worlds["all below"]["share_run"] == pytest.approx(6 / 37)
