"""`difgen report` and `difgen show` on a real small sweep: what is drawn, printed, refused, and how watching ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from difgen_cli.cli import app
from difgen_cli.cli.show import _measures, sparkline
from difgen_cli.engine.store import RunFolder, Store
from difgen_cli.report import cell, controls
from difgen_cli.report.page.document import RELOAD
from difgen_cli.report.redraw import Redraw
from difgen_cli.report.study import loading

Run = Callable[..., subprocess.CompletedProcess[str]]
GRID = """\
# Is a tiny grid enough to see that everything works?
base:
  data:      {name: digits, held_out: 900}
  model:     {name: mlp, width: 8, depth: 1}
  train:     {batch: 16}
  sample:    {name: euler, steps: 3, count: 32}
  score:     [memorization]
axes:
  train.steps: [10, 20]
  data.size:   [8, 16]
seeds: 2
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, difgen_in: Run) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    (folder / "tiny.yaml").write_text(GRID)
    done = difgen_in(folder, "sweep", "tiny.yaml", "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


# difgen forecast ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("runs", "--at", "data.size=32"), "grid tiny: settings with an onset of copying between two snapshots: 0"),
        (("runs", "--at", "data.size=32", "model.width=8"), "grid tiny: settings with an onset"),
        (("runs", "--at", "data.size=32", "model.width=9"), "--at model.width=9: model.width does not vary in"),
        (("runs", "other", "--at", "data.size=32"), "runs other: name one run directory; a setting of --at"),
        (("runs", "--at", "32"), "--at 32: write KEY=VALUE, such as model.width=128"),
        (("runs", "--at", "data.size=32", "--only", "data.size=9"), "data.size=9: no cell matches; data.size is 8"),
        (("runs", "--at", "data.size=32", "--only", "data.size=8"), "--at data.size=32: data.size does not vary"),
        (("runs", "--grid", "none", "--at", "data.size=32"), "--grid none: no such grid was swept into"),
        (("nowhere", "--at", "data.size=32"), "nowhere: no run directory; make one with:"),
    ],
)  # fmt: skip
def test_a_forecast_that_the_runs_do_not_answer_is_refused(copied: Path, words: tuple[str, ...], sentence: str) -> None:
    with contextlib.chdir(copied):
        done = CliRunner().invoke(app, ["forecast", *words])
    assert done.exit_code == 2
    assert done.output.startswith(sentence)
    assert done.output.count("\n") == 1


# difgen show ----------------------------------------------------------------------------------------------------------


def test_a_cell_is_shown_with_what_the_tables_hold(copied: Path, difgen: Run) -> None:
    done = difgen("show", "data.size=8", "train.steps=20", "seed=1", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    rows = pd.read_parquet(copied / "runs" / "tables" / "rows.parquet")
    row = rows[(rows["cell"] == said["cell"]) & (rows["seed"] == 1)].iloc[0]
    for name in ("mem_frac", "mem_frac_control", "mem_power", "copy_auc"):
        assert said["metrics"]["model"][name] == row[name]
    same = rows[(rows["data.size"] == 8) & (rows["data.seed"] == 1)].set_index("kind")
    for kind in ("heldout", "copycat", "ideal"):
        assert said["metrics"][kind]["mem_frac"] == same.loc[kind, "mem_frac"]
    assert said["changed"]["model.width"] == 8
    assert "train.lr" not in said["changed"]
    assert [step for step, _ in said["loss"]][-1] == 20


def test_what_is_printed_names_defaults_intervals_references_and_the_picture(copied: Path, difgen: Run) -> None:
    text = difgen("show", "data.size=8", "train.steps=20", "seed=0").stdout
    assert re.search(r"model\.width\s+8  \(default 256\)", text)
    assert re.search(r"\n +model +heldout +copycat +ideal\n", text)
    line = next(line for line in text.splitlines() if line.startswith("mem_frac "))
    assert len(re.findall(r"\[[\d.]+, [\d.]+\]", line)) == 4, "an interval in each column"
    assert "\x1b" not in text
    path = copied / text.rpartition("samples: ")[2].strip()
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) > 200


def test_a_failed_or_unfinished_cell_says_so(copied: Path, difgen: Run) -> None:
    grid = (copied / "tiny.yaml").read_text().replace("[10, 20]", "[10, 20, 30]")
    (copied / "tiny.yaml").write_text(grid)
    assert difgen("plan", "tiny.yaml").returncode == 0
    for result in (copied / "runs").glob("trajectories/*/results/*.json"):
        result.unlink()
    done = difgen("show", "data.size=8", "train.steps=20", "seed=0")
    assert done.returncode == 0, done.stderr
    assert ": missing" in done.stdout.splitlines()[0]
    assert "no metric yet" in done.stdout


def test_a_narrow_terminal_gets_fewer_columns_and_no_line_is_cut() -> None:
    wide = _measures(_shown(), 200)[0].splitlines()
    narrow = _measures(_shown(), 44)
    assert wide[0].split() == ["model", "heldout", "copycat", "ideal"]
    assert narrow[0].splitlines()[0].split() == ["model"]
    assert max(map(len, narrow[0].splitlines())) <= 44
    assert narrow[-1] == "columns skipped, because the terminal is narrow: heldout, copycat, ideal"


def _shown() -> Any:
    words = dict.fromkeys(("model", "heldout", "copycat", "ideal"), "0.500 [0.400, 0.600]")
    model = type("Cell", (), {"kind": "model"})()
    measures = [controls.MeasureLine("mem_frac", words, "a share"), controls.MeasureLine("mem_frac_control", words, "")]
    return type("Shown", (), {"cell": model, "measures": measures})()


def test_a_sparkline_rises_with_its_values_and_keeps_its_width() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([2.0, 2.0], 10) == "▁▁"
    assert sparkline([8, 8, 0, 0], 2) == "█▁"
    assert len(sparkline(list(range(1000)), 60)) == 60


def test_losses_of_several_attempts_are_one_curve(tmp_path: Path) -> None:
    """What a later attempt trained again replaces what the earlier one had; a line cut short is left out."""
    (tmp_path / "progress.1.jsonl").write_text('{"step": 5, "loss": 3}\n{"step": 9, "loss": 2}\n{"step": 12, "lo')
    (tmp_path / "progress.2.jsonl").write_text('{"step": 7, "loss": 2.5}\n{"step": 14, "loss": 1}\n')
    (tmp_path / "progress.10.jsonl").write_text('{"step": 20, "loss": 0.5}\n')
    assert RunFolder(tmp_path).losses() == [(5, 3.0), (7, 2.5), (14, 1.0), (20, 0.5)]


def test_settings_of_an_unknown_plugin_are_shown_without_a_default() -> None:
    settings = {"model.name": "mine", "model.rank": 3, "train.batch": 128, "train.lr": 0.5, "data.half": None}
    found = cell.changed(settings)
    assert found["model.rank"] == (3, None)
    assert found["train.lr"][0] == 0.5
    assert found["train.lr"][1] is not None
    assert not {"train.batch", "data.half"} & set(found)


# difgen report --------------------------------------------------------------------------------------------------------


def test_one_figure_of_any_columns_with_its_numbers(copied: Path, difgen: Run) -> None:
    done = difgen("report", "runs", "--x", "data.size", "--y", "mem_power", "--by", "train.steps")
    assert done.returncode == 0, done.stderr
    stem = copied / "report" / "chosen" / "column" / "mem_power-against-data-size-by-train-steps"
    for ending in ("png", "svg", "pdf", "csv", "txt"):
        assert stem.with_suffix(f".{ending}").exists()
    rows = pd.read_parquet(copied / "runs" / "tables" / "rows.parquet")
    expected = rows[rows["kind"] == "model"].groupby(["data.size", "step"])["mem_power"].mean()
    for line in pd.read_csv(stem.with_suffix(".csv")).to_dict("records"):
        assert line["mean"] == pytest.approx(expected[line["data.size"], line["train.steps"]])
    assert not (copied / "report" / "report.html").exists()


def test_a_typo_is_one_sentence_with_near_names(copied: Path, difgen: Run) -> None:
    done = difgen("report", "runs", "--x", "data.sise", "--y", "mem_frac")
    assert done.returncode == 2
    assert done.stderr.strip().startswith("--x data.sise: grid tiny has no such column; did you mean data.size")
    assert difgen("report", "runs", "--x", "data.size").returncode == 2
    assert difgen("report", "runs", "--watch", "--x", "data.size", "--y", "mem_frac").returncode == 2


def test_strict_refuses_and_names_the_cells_and_otherwise_it_is_a_note(copied: Path, difgen: Run) -> None:
    assert difgen("report", "runs", "--strict", "--x", "data.size", "--y", "mem_frac").returncode == 0
    shutil.rmtree(copied / "runs" / "tables")
    for number, result in enumerate(sorted((copied / "runs").glob("trajectories/*/results/*.json"))):
        found = json.loads(result.read_text())
        found["provenance"]["git_commit"] = "new" if number == 0 else "old"
        result.write_text(json.dumps(found))
    done = difgen("report", "runs", "--strict", "--out", "refused")
    assert done.returncode == 1
    assert (
        "refused: grid tiny: differing code versions in one curve: git_commit is old in 7 cells, new in 1"
        in done.stderr
    )
    assert re.search(r"apart: train.steps=\d+ data.size=\d+ seed=\d", done.stderr)
    assert not (copied / "refused").exists()
    drawn = difgen("report", "runs", "--x", "data.size", "--y", "mem_frac")
    assert drawn.returncode == 0
    assert "note: grid tiny: differing code versions" in drawn.stderr


def test_two_run_directories_side_by_side(copied: Path, difgen: Run) -> None:
    shutil.copytree(copied / "runs", copied / "other")
    for result in list((copied / "other").glob("trajectories/*/results/*.json"))[:1]:
        result.unlink()
    done = difgen("report", "--compare", "runs", "other")
    assert done.returncode == 0, done.stderr
    assert "7 cells in both" in done.stdout
    assert "only runs has 1 finished cells" in done.stdout
    changes = pd.read_csv(copied / "report" / "compare" / "tiny" / "changes.csv")
    assert (changes.loc[changes["scale"] == "difference", "mean"] == 0).all()
    assert not list((copied / "report").rglob("change.pdf")), "nothing changed: there is nothing to draw"
    missing = difgen("report", "--compare", "runs", "nowhere")
    assert missing.returncode == 2
    assert "nowhere: no run directory" in missing.stderr


def test_a_report_is_drawn_again_when_a_result_changes_the_rows(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied)
    store, lines = Store(Path("runs")), list[str]()
    result = min(Path("runs").glob("trajectories/*/results/*.json"))
    result.rename("elsewhere.json")
    with Redraw(store, lambda: [(loading.gather(store)[0], Path("report"))], lines.append) as redraw:
        assert not redraw.if_changed()
        page, rows = Path("report/report.html"), Path("runs/tables/rows.parquet")
        drawn, before = page.read_bytes(), rows.read_bytes()
        assert RELOAD.encode() in drawn
        redraw._due = 0.0
        assert not redraw.if_changed()
        assert (page.read_bytes(), rows.read_bytes(), len(lines)) == (drawn, before, 1), "no row has changed"
        Path("elsewhere.json").rename(result)
        assert not redraw.if_changed(), "too early: workers need the processor"
        redraw._due = 0.0
        assert redraw.if_changed(), "every cell is done"
        assert rows.read_bytes() != before
        assert page.read_bytes() != drawn
    done, planned = (int(number) for number in re.findall(r"\d+", lines[1])[:2])
    assert done == planned
    assert len(lines) == 2
    assert RELOAD not in page.read_text()


@pytest.mark.long
def test_watching_ends_by_itself_when_every_cell_is_done(copied: Path, difgen: Run) -> None:
    done = difgen("report", "runs", "--watch")
    assert done.returncode == 0, done.stderr
    assert "every cell is done" in done.stderr
    assert RELOAD not in (copied / "report" / "report.html").read_text()
    before = {p: p.stat().st_mtime_ns for p in (copied / "report").rglob("*.png")}
    assert difgen("report", "runs").returncode == 0
    assert {p: p.stat().st_mtime_ns for p in (copied / "report").rglob("*.png")} == before


@pytest.mark.long
def test_watching_follows_a_sweep_and_ctrl_c_leaves_a_whole_page(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text(GRID.replace("[10, 20]", "[10, 200000]").replace("seeds: 2", "seeds: 1"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "difgen_cli"]
    sweep = [*start, "sweep", "long.yaml", "--workers", "1", "--detach"]
    subprocess.run(sweep, cwd=tmp_path, env=environment, check=True, capture_output=True)
    page = tmp_path / "report" / "report.html"
    watch = subprocess.Popen([*start, "report", "runs", "--watch"], cwd=tmp_path, env=environment,
                             stderr=subprocess.PIPE, text=True)  # fmt: skip
    deadline = threading.Timer(240, watch.kill)
    deadline.start()
    try:
        assert watch.stderr is not None
        words = watch.stderr.readline()  # printed when the first page is there
        assert "cells: report/report.html" in words
        assert RELOAD in page.read_text()
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=60)
    finally:
        deadline.cancel()
        watch.kill()
        subprocess.run([*start, "cancel", "runs", "--yes"], cwd=tmp_path, env=environment, check=False,
                       capture_output=True)  # fmt: skip
    assert watch.returncode == 130
    text = page.read_text()
    assert RELOAD not in text
    assert text.rstrip().endswith("</html>")
