"""`make gpu-test` itself: what a CPU can do of it is as wanted, and what is not, or is not done in time, is red."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import prove
import pytest
import torch

from difgen_cli.engine.cost import flops
from difgen_cli.engine.grid import read
from difgen_cli.engine.plan.facts import Finder
from difgen_cli.engine.plan.planner import build
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store


def _command(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", str(Path(prove.__file__)), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_a_cpu_can_do_is_as_wanted() -> None:
    done = _command("--device", "cpu", "--quick", "--only", "training", "names")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    verdicts = {line[0].strip("| "): line[3] for line in lines}
    resumed = [name for name in verdicts if "stopped and resumed" in name]
    assert len(resumed) == 4
    assert {verdicts[name] for name in resumed} == {"pass"}
    assert verdicts["names of cards"] == "–"  # a CPU cannot show it


def test_a_part_that_is_not_done_in_time_is_red(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(prove.PARTS, "training", ("computing", 0))
    monkeypatch.setattr(sys, "argv", ["prove.py", "--device", "cpu", "--only", "training"])
    assert prove.main() == prove.RED
    assert "| training | done in 0 s | not done after 0 s | **FAIL** |" in capsys.readouterr().out


def test_a_part_that_breaks_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(prove.PARTS, "names", ("no_such_module", 60))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    (line,) = prove.proved("names", "cpu", quick=True, budget=60)
    assert (line.measured, line.ok) == ("its process ended with 1", False)


STUCK = """\
#!/bin/sh
echo '{"check": "first", "wanted": "w", "measured": "m", "ok": true, "seconds": 1.0}'
for last; do :; done
sleep 60 &
echo $! > PIDS
setsid sh -c 'echo $$ >> PIDS; sleep 60; :' "$last" &
sleep 60
"""


def test_a_part_that_hangs_is_ended_with_all_that_it_began_and_what_it_has_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script, pids = tmp_path / "stuck", tmp_path / "pids"
    script.write_text(STUCK.replace("PIDS", str(pids)), encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    first, last = prove.proved("names", "cpu", quick=True, budget=2.0)
    assert (first.check, first.ok) == ("first", True)
    assert (last.measured, last.ok) == ("not done after 2 s", False)
    assert [_lives(int(pid)) for pid in pids.read_text().split()] == [False, False]  # of its group, and its own session


def _lives(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"


def test_what_a_part_leaves_of_its_seconds_is_for_the_next_and_all_take_eight_minutes_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert sum(seconds for _, seconds in prove.PARTS.values()) <= prove.MOST_SECONDS == 480
    clock, budgets = [0.0], {}

    def proved(part: str, device: str, quick: bool, budget: float) -> list[prove.Line]:
        budgets[part] = budget
        clock[0] += 5.0 if part == "names" else budget  # all but one take what they may
        return []

    monkeypatch.setattr(prove, "proved", proved)
    monkeypatch.setattr(prove, "unusable", lambda device: None)
    monkeypatch.setattr(prove.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sys, "argv", ["prove.py", "--device", "cuda"])
    assert prove.main() == 0
    assert [*budgets] == [*prove.PARTS]
    assert (budgets["names"], budgets["precision"], budgets["training"]) == (20, 35, 50)
    assert clock[0] <= prove.MOST_SECONDS


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_card_it_says_so() -> None:
    done = _command("--device", "cuda")
    assert (done.returncode, done.stdout) == (prove.NO_DEVICE, "")
    assert done.stderr == "no card is at hand that torch can use; `make gpu-test DEVICE=cpu` runs what a CPU can show\n"


@pytest.mark.skipif("DIFGEN_TEST_DATA" not in os.environ, reason="DIFGEN_TEST_DATA names no folder with cifar10/")
def test_the_first_study_on_a_card_is_planned_as_its_page_says(tmp_path: Path) -> None:
    root, store = Path(prove.__file__).parent.parent.parent, Store(tmp_path / "runs")
    library = Library(None)
    grid = read(root / "grids" / "transition-cifar10.yaml")
    plan = build(grid, library, Finder(store, library, Path(os.environ["DIFGEN_TEST_DATA"])))
    (trajectory,) = plan.trajectories.values()
    assert (trajectory.settings["data.size"], trajectory.settings["model.width"]) == (500, 64)
    assert sorted(trajectory.steps) == [250 * 2**k for k in range(7)]
    page = (root / "docs" / "on_a_card.md").read_text(encoding="utf-8")
    settings = trajectory.recipe.inputs["network"].settings
    network = library.module("model", "unet").build((3, 32, 32), 0, **settings)
    work, images = flops.training(network, (3, 32, 32), 256, "bf16"), 16_000 * 256
    assert work is not None
    each, whole = f"{work.flops / 1e9:.1f} GFLOP", f"{work.flops * images / 1e16:.1f} × 10¹⁶"
    assert f"takes {each} there, all {images:,} of them {whole}" in " ".join(page.split())


def test_its_page_has_every_part_with_its_seconds() -> None:
    page = (Path(prove.__file__).parent.parent.parent / "docs" / "on_a_card.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"^\| (\w+) \| (\d+) \|", page, re.MULTILINE))
    assert {name: int(seconds) for name, seconds in named.items()} == {n: s for n, (_, s) in prove.PARTS.items()}
