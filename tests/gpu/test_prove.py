"""`make gpu-test` itself: what a CPU can do of it is as wanted, and what is not, or is not done in time, is red."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import prove
import pytest
import torch


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
    (line,) = prove.proved("names", "cpu", quick=True)
    assert (line.measured, line.ok) == ("its process ended with 1", False)


def test_it_takes_eight_minutes_at_most() -> None:
    assert sum(seconds for _, seconds in prove.PARTS.values()) <= prove.MOST_SECONDS == 480


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_card_it_says_so() -> None:
    done = _command("--device", "cuda")
    assert (done.returncode, done.stdout) == (prove.NO_DEVICE, "")
    assert done.stderr == "no card is at hand that torch can use; `make gpu-test DEVICE=cpu` runs what a CPU can show\n"
