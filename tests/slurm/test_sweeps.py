"""A sweep on a real SLURM cluster is the sweep at home: the same tables, within the throttle, nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from comparing import Content, content
from test_refined_sweeps import GRID as REFINED
from test_refined_sweeps import NEEDED, PLANTED

from slurm.cluster import Lab
from slurm.study import PACE_SECONDS, Counting, Study

NewStudy = Callable[..., Study]

SIXTY = """\
# Do sixty trajectories come out of an array as they do at home?
base:
  data:   {name: digits, held_out: 900}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16}
  sample: {name: euler, steps: 3, count: 32}
  score:  [memorization]
axes:
  train.steps: [10, 20]
  data.size:   [8, 16, 32]
  train.seed:  {lin: [0, 19, 20]}
"""


class Sampler(threading.Thread):
    """Asks squeue again and again how many tasks of difgen run, and where."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(daemon=True)
        self.lab, self.most, self.nodes, self.looks = lab, 0, set[str](), 0
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(0.3):
            running = self.lab.running()
            self.most, self.looks = max(self.most, len(running)), self.looks + 1
            self.nodes |= {j["node"] for j in running}


def test_sixty_trajectories_in_an_array_of_throttle_four_on_two_nodes_equal_those_at_home(
    new_study: NewStudy, lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at_home = Study.at(tmp_path / "home", None, SIXTY)
    done = at_home.difgen("-q", "sweep", "grid.yaml", "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    counting = Counting(tmp_path / "bin")
    study = new_study(grid=SIXTY, PATH=counting.path)
    sampler = Sampler(lab)
    sampler.start()
    done = study.sweep(workers=4)
    sampler.stopping.set()
    sampler.join()
    assert done.returncode == 0, done.stderr
    study.assert_whole(content(at_home.runs))
    assert len(study.attempts("train.*")) == 60
    assert sampler.most == 4, f"{sampler.most} tasks ran at once in {sampler.looks} looks"
    assert sampler.nodes == {"node1", "node2"}
    calls = counting.calls()  # of the command and of all its workers
    with capsys.disabled():
        print(f"\n60 trajectories: {calls['squeue']} calls of squeue, {calls['sacct']} of sacct")
    assert max(calls.values()) <= 16


def test_two_sweeps_of_one_run_directory_share_the_work(new_study: NewStudy, calm: Content) -> None:
    study = new_study(PACE_SECONDS=str(PACE_SECONDS))
    both = [study.begin(workers=2), study.begin(workers=2)]
    assert [p.wait(240) for p in both] == [0, 0], study.story()
    study.assert_whole(calm)


def test_workers_of_an_array_run_the_rounds_of_a_grid_that_refines(new_study: NewStudy, tmp_path: Path) -> None:
    """Tasks of one array ask the rule what is needed next, wait while a round is open, and end when nothing can be."""
    at_home = Study.at(tmp_path / "home", None, REFINED)
    study = new_study(grid=REFINED)
    for one in (at_home, study):
        (one.folder / "plugins" / "metrics").mkdir()
        (one.folder / "plugins" / "metrics" / "planted.py").write_text(PLANTED, encoding="utf-8")
    done = at_home.difgen("-q", "sweep", "grid.yaml", "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    done = study.sweep(workers=3)
    assert done.returncode == 0, done.stderr
    study.assert_whole(content(at_home.runs))
    assert len(study.attempts("train.*")) == 2 * len(NEEDED)
    assert len(list(study.runs.glob("grids/*/submissions/*"))) == 1  # all rounds in one array
