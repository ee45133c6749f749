"""Weights that 0.1.0 trained compiled and unchecked do not count, nor does what rests on them; nothing is destroyed."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from difgen_cli.engine.store import Store, untrusted
from difgen_cli.engine.store.files import StoreError
from difgen_cli.engine.store.processes import now, process_identity

Difgen = Callable[..., subprocess.CompletedProcess[str]]


def trajectory(runs: Path, key: str, way: str | None, network: tuple[str, dict[str, Any]], *, start: str | None = None,
               role: str = "start", checked: bool = False, **settings: Any) -> None:  # fmt: skip
    """A folder as a worker describes it; `key` is repeated to 16 digits."""
    name, own = network
    recipe: dict[str, Any] = {
        16 * key: {"kind": "trajectory", "name": "train", "settings": settings, "inputs": {"network": "net"}},
        "net": {"kind": "network", "name": name, "version": 1, "settings": own, "inputs": {}},
    }
    if start:
        recipe[16 * key]["inputs"][role] = "begun"
        recipe["begun"] = {"kind": "snapshot", "settings": {"step": 5}, "inputs": {"trajectory": 16 * start}}
    folder = runs / "trajectories" / f"{name}-{16 * key}"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps({"key": 16 * key, "recipe": recipe}))
    if way:
        mark = {"checked": 1} if checked else {}
        (folder / "env.json").write_text(json.dumps({"difgen": "0.1.0", "threads": 1, "way": way} | mark))


UNET, MLP = ("unet", {"width": 16}), ("mlp", {})
ONE_LEVEL = ("unet", {"multipliers": [1]})


@pytest.mark.parametrize(
    ("way", "network", "settings", "wrong"),
    [
        ("compiled", UNET, {}, True),  # of three levels by default
        ("graphed", UNET, {}, True),
        ("eager", UNET, {}, False),
        (None, UNET, {}, False),  # not begun, or begun before there were ways
        ("compiled", ("unet", {"multipliers": [1, 2]}), {}, True),
        ("compiled", ONE_LEVEL, {}, False),
        ("compiled", ("unet", {"multipliers": [1], "dropout": 0.1}), {}, True),  # other masks
        ("compiled", ONE_LEVEL, {"condition_perturbation": 0.1}, True),  # other noise
        ("compiled", MLP, {}, False),
        ("compiled", MLP, {"condition_perturbation": 0.1}, True),
        ("compiled", MLP, {"condition_dropout": 0.1, "flip": True}, False),  # drawn outside of what is compiled
        ("compiled", ("mine", {}), {}, True),
        ("eager", ("mine", {}), {}, False),
    ],
)
def test_what_counts(
    tmp_path: Path, way: str | None, network: tuple[str, dict[str, Any]], settings: dict[str, Any], wrong: bool
) -> None:
    trajectory(tmp_path, "a", way, network, **settings)
    assert bool(untrusted.find(Store(tmp_path))) is wrong


def test_a_mark_of_the_check_makes_it_count(tmp_path: Path) -> None:
    trajectory(tmp_path, "a", "compiled", UNET, checked=True)
    assert not untrusted.find(Store(tmp_path))


def test_a_description_that_cannot_be_read_vouches_for_nothing(tmp_path: Path) -> None:
    trajectory(tmp_path, "a", "compiled", MLP)
    (tmp_path / "trajectories" / f"mlp-{16 * 'a'}" / "spec.json").write_text("{")
    assert untrusted.find(Store(tmp_path))


def test_whoever_continues_from_it_counts_no_more(tmp_path: Path) -> None:
    trajectory(tmp_path, "a", "compiled", UNET)
    trajectory(tmp_path, "b", "eager", UNET, start="a")
    trajectory(tmp_path, "c", "eager", UNET, start="b", role="fork")
    trajectory(tmp_path, "d", "eager", UNET)
    store = Store(tmp_path)
    found = untrusted.find(store)
    assert set(found.folders) == {16 * key for key in "abc"}
    assert not untrusted.find(store, [16 * "d"]), "of what was asked for"
    assert "3 trajectories were trained compiled by difgen 0.1.0" in found.sentence(found.folders)


def test_a_trajectory_that_somebody_is_at_is_not_moved(tmp_path: Path) -> None:
    trajectory(tmp_path, "a", "compiled", UNET)
    attempts = tmp_path / "trajectories" / f"unet-{16 * 'a'}" / "attempts"
    attempts.mkdir()
    record = {"state": "running", "owner": process_identity(), "attempt": 1, "counter": 1, "time": now()}
    (attempts / "train.1.json").write_text(json.dumps(record))
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="a worker of an older difgen is running there"):
        untrusted.set_aside(store, untrusted.find(store), [16 * "a"])
    assert attempts.exists()


# A run directory of 0.1.0, end to end ------------------------------------------------------------------------------

GRID = """\
base:
  data:  {name: digits, held_out: 900, size: 64, half: A}
  model: {name: unet, width: 4, depth: 1}
  train: {batch: 8}
  sample: {name: euler, steps: 2, count: 16}
  score: [memorization, twins]
axes: {train.steps: [10, 20], model.multipliers: [[1], [1, 1]]}
"""


def content(folder: Path) -> str:
    """Of all files below a folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return hashlib.sha256(b"".join(str(p).encode() + p.read_bytes() for p in files)).hexdigest()


def as_of_0_1_0(runs: Path, which: Callable[[dict[str, Any]], bool]) -> list[Path]:
    """Trajectories of some networks as 0.1.0 would have left them, had it compiled them: with weights of their own."""
    made = []
    for folder in sorted((runs / "trajectories").iterdir()):
        spec = json.loads((folder / "spec.json").read_text())
        recipe = spec["recipe"]
        network = recipe[recipe[spec["key"]]["inputs"]["network"]]
        said = json.loads((folder / "env.json").read_text())
        said.pop("checked", None)
        if which(network["settings"]):
            said["way"] = "compiled"
            made.append(folder)
            for file in (folder / "snapshots").iterdir():
                save_file({k: 0 * v for k, v in load_file(file).items()}, file, metadata={"difgen": '{"step": 1}'})
        (folder / "env.json").write_text(json.dumps(said))
    return made


def marks(difgen: Difgen) -> dict[str, int]:
    done = difgen("plan", "old.yaml", "--json")
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    return {mark: sum(c["mark"] == mark for c in cells if c["kind"] == "model") for mark in ("done", "stale", "new")}


@pytest.mark.long
def test_a_run_directory_of_0_1_0_is_trained_anew_where_it_is_wrong(tmp_path: Path, difgen: Difgen) -> None:
    (tmp_path / "old.yaml").write_text(GRID)
    sweep = ("sweep", "old.yaml", "--cluster", "inline")
    assert difgen(*sweep).returncode == 0
    runs = tmp_path / "runs"
    right = {p.name: load_file(p / "snapshots" / "20.safetensors") for p in (runs / "trajectories").iterdir()}
    wrong = as_of_0_1_0(runs, lambda settings: settings["multipliers"] == [1, 1])
    assert len(wrong) == 3, "twin and sibling too"

    # Said by what only reads, and nothing is touched.
    before = content(runs)
    assert marks(difgen) == {"done": 2, "stale": 2, "new": 0}
    planned = difgen("plan", "old.yaml")
    assert "3 trajectories were trained compiled by difgen 0.1.0" in planned.stdout
    assert content(runs) == before
    assert "3 stale" in difgen("status", "runs").stdout
    reported = difgen("report", "runs", "--out", "out")
    assert reported.returncode == 0, reported.stderr
    assert "3 trajectories were trained compiled by difgen 0.1.0" in reported.stderr
    assert "2 of 4 cells done, 2 stale." in reported.stdout
    listed = pd.read_csv(tmp_path / "out" / "rows.csv").query("kind == 'model'")
    assert dict(zip(listed["model.multipliers"], listed["state"], strict=True)) == {"[1]": "done", "[1, 1]": "stale"}
    last = pd.read_csv(tmp_path / "out" / "last.csv").set_index("model.multipliers")
    assert last["mem_frac"].notna().to_dict() == {"[1]": True, "[1, 1]": False}, "not drawn, not averaged"
    rows = pd.read_parquet(runs / "tables" / "rows.parquet").query("kind == 'model'")
    assert list(rows["stale"]) == [home in {p.name[-16:] for p in wrong} for home in rows["home"]]
    assert all(p.exists() for p in wrong)

    # Trained anew, the old ones kept.
    done = difgen(*sweep)
    assert done.returncode == 0, done.stderr
    assert "3 trajectories were trained compiled by difgen 0.1.0" in done.stderr
    for folder in wrong:
        aside = runs / "distrusted" / folder.name
        assert not load_file(aside / "snapshots" / "20.safetensors")["last.bias"].any(), "the old one"
        assert json.loads((folder / "env.json").read_text())["way"] == "eager"
    for name, weights in right.items():
        anew = load_file(runs / "trajectories" / name / "snapshots" / "20.safetensors")
        assert all((anew[k] == v).all() for k, v in weights.items())
    assert marks(difgen) == {"done": 4, "stale": 0, "new": 0}
    rows = pd.read_parquet(runs / "tables" / "rows.parquet").query("kind == 'model'")
    assert not rows["stale"].any()
    assert set(rows["train_way"]) == set(rows["sample_way"]) == {"eager"}
    assert set(rows["frozen_parameters"].dropna()) == {0}
    again = difgen(*sweep)
    assert "nothing to do" in again.stderr
    wasted = difgen("gc", "runs", "--json")
    assert all(folder.name in wasted.stdout for folder in wrong), wasted.stderr


@pytest.mark.long
def test_what_was_measured_beside_such_weights_is_measured_anew(tmp_path: Path, difgen: Difgen) -> None:
    """The twin alone was trained wrong: of its partner the results that compare with it go, the weights stay."""
    (tmp_path / "old.yaml").write_text(GRID.replace("[[1], [1, 1]]", "[[1, 1]]"))
    sweep = ("sweep", "old.yaml", "--cluster", "inline")
    assert difgen(*sweep).returncode == 0
    runs = tmp_path / "runs"
    twins = pd.read_parquet(runs / "tables" / "rows.parquet").query("kind == 'model'").sort_values("step")["twin_cos"]
    (own,) = {p for p in (runs / "trajectories").iterdir() if list(p.glob("results/*.json"))}
    as_of_0_1_0(runs, lambda _: True)
    said = json.loads((own / "env.json").read_text())
    (own / "env.json").write_text(json.dumps(said | {"checked": 1}))
    weights = {p.name: p.stat().st_ino for p in (own / "snapshots").iterdir()}
    assert marks(difgen) == {"done": 0, "stale": 2, "new": 0}
    reported = difgen("report", "runs", "--out", "out")
    assert "0 of 2 cells done, 2 stale." in reported.stdout, reported.stderr
    old = {p.name for p in (own / "results").glob("*.json")}
    done = difgen(*sweep)
    assert done.returncode == 0, done.stderr
    assert {p.name: p.stat().st_ino for p in (own / "snapshots").iterdir()} == weights
    assert {p.name for p in (own / "results").glob("*.json")} == old
    assert {p.name for p in (runs / "distrusted" / own.name / "results").glob("*.json")} <= old
    assert marks(difgen) == {"done": 2, "stale": 0, "new": 0}
    rows = pd.read_parquet(runs / "tables" / "rows.parquet").query("kind == 'model'").sort_values("step")
    assert len(rows) == len(twins) == 2
