"""What a person types and reads: commands, their options and help, plain sentences, and how a failure is told."""

from __future__ import annotations

import dataclasses
import io
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from difgen_cli import __version__, report, sweep
from difgen_cli.cli import app, format
from difgen_cli.cli.app import FLAGS
from difgen_cli.cli.plan import print_brief
from difgen_cli.cli.status import print_status
from difgen_cli.engine.cost.bench import busy
from difgen_cli.engine.cost.estimate import Seconds
from difgen_cli.engine.cost.forecast import Forecast, Part
from difgen_cli.engine.cost.sentences import expected
from difgen_cli.engine.plan.work import Work
from difgen_cli.engine.progress import Progress, RunningUnit
from difgen_cli.engine.status import Status, TrajectoryStatus
from difgen_cli.engine.store import Store
from difgen_cli.format import counted, shortened
from difgen_cli.report import Study
from difgen_cli.report.study import loading

HEAD = "# Does it work?\nbase:\n  data: {name: digits, held_out: 900, size: 8}\n"
SMALL = HEAD + (
    "  model: {name: mlp, width: 8, depth: 1}\n  train: {batch: 16}\n  sample: {name: euler, steps: 2, count: 16}\n"
    "  score: {memorization: , gap: , frechet: {features: pixels}}\n"
    "axes:\n  train.steps: [2, 4]\n  data.size: [8, 16]\n"
)
COMMANDS = (
    "sweep",
    "plan",
    "report",
    "forecast",
    "score",
    "show",
    "status",
    "logs",
    "cancel",
    "gc",
    "data",
    "weights",
    "doctor",
)


def _said(*arguments: object, **environment: str | None) -> tuple[int, str]:
    """The exit code of a command, and all that it said."""
    FLAGS.update(debug=False, quiet=False)
    done = CliRunner().invoke(app, [str(a) for a in arguments], env=environment)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


# Commands ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--version"], ["--version", "plan"], ["--quiet", "--version"]])
def test_the_version_is_printed_with_and_without_a_command(arguments: list[str]) -> None:
    assert _said(*arguments) == (0, f"{__version__}\n")


def test_the_help_wraps_its_summaries_on_a_narrow_terminal(difgen: Callable[..., Any]) -> None:
    text = difgen("--help", COLUMNS="60").stdout
    assert "..." not in text.partition("Commands:")[2]
    assert max(map(len, text.splitlines())) <= 60


def test_the_help_cuts_no_summary_and_names_what_a_person_types() -> None:
    code, text = _said("--help", COLUMNS="80")
    assert code == 0
    assert "..." not in text.partition("Commands:")[2]
    for command in COMMANDS:
        _, own = _said(command, "--help", COLUMNS="80")
        assert not re.search(r"\{\w+\}|<\w+", own), own
        examples = own.count("Example: difgen ")
        assert examples >= 1
        assert len(re.findall(r"^ *Example: difgen ", own, flags=re.MULTILINE)) == examples, "each begins a line"


@pytest.mark.parametrize("command", ["status", "report", "gc", "cancel"])
def test_one_rule_names_the_run_directory(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIFGEN_RUNS", raising=False)
    other = tmp_path / "runs" / "grids"
    other.mkdir(parents=True)  # where ./runs exists, it is not taken in place of the one that is named
    for arguments, environment in (
        (["--runs", "x"], None),
        (["x"], None),
        ([], "x"),
        (["x"], "y"),
        (["--runs", "x"], "y"),
    ):
        code, text = _said(command, *arguments, DIFGEN_RUNS=environment)
        assert (code, text) == (2, "x: no run directory; make one with: difgen sweep grids/smoke.yaml\n")
    code, text = _said(command, "x", "--runs", "z")
    assert (code, "x and --runs z: name the run directory once" in text) == (2, True)


def test_compare_names_what_it_lacks(tmp_path: Path) -> None:
    code, text = _said("report", "--compare", tmp_path, "--out", "x")
    assert (code, "name two run directories" in text) == (2, True)


def test_a_run_directory_is_not_compared_with_itself(tmp_path: Path) -> None:
    (tmp_path / "runs" / "grids").mkdir(parents=True)
    (tmp_path / "again").symlink_to("runs")
    code, text = _said("report", "--compare", tmp_path / "runs", tmp_path / "again")
    assert (code, "name two run directories" in text) == (2, True)


# Text is no markup ---------------------------------------------------------------------------------------------------

WILD = "a[red]b [/bold] :smile: [link=x]y"


def test_no_text_of_a_user_is_markup(capsys: pytest.CaptureFixture[str]) -> None:
    FLAGS.update(quiet=False)
    format.output().print(WILD)
    format.messages().print(f"note: {WILD}", style="yellow")
    said = capsys.readouterr()
    assert said.out == f"{WILD}\n"
    assert said.err == f"note: {WILD}\n"


def test_brackets_in_paths_and_names_end_no_command(real: Path, tmp_path: Path) -> None:
    wild = tmp_path / "x[/b] [red]" / "runs"
    wild.parent.mkdir(parents=True)
    wild.symlink_to(real)
    for arguments in (
        ["status", wild],
        ["gc", wild, "--dry-run"],
        ["show", "0", "--runs", wild, "--out", tmp_path / "[/o]"],
    ):
        assert _said(*arguments)[0] == 0
    code, text = _said("report", wild, "--x", "data.size", "--y", "mem_frac", "--out", tmp_path / "out[/b]")
    assert code == 0
    assert "out[/b]" in text


def test_a_terminal_gets_lines_that_break_between_words(write_grid: Callable[..., Path], tmp_path: Path) -> None:
    grid = write_grid(f"{HEAD}  model: {{name: mlp}}\n", "g.yaml")
    planned, file = sweep.prepare(grid, tmp_path / "runs", {"train.steps": "50"}), io.StringIO()
    print_brief(planned, Console(file=file, width=40, force_terminal=True, color_system=None, markup=False))
    lines = file.getvalue().splitlines()
    assert all(len(line) <= 40 for line in lines)
    text = " ".join(" ".join(lines).split())
    assert text.startswith("g: 1 cell and 3 reference rows (4 new) in 1 trajectory note: ")
    assert text.endswith("averages over 200 steps, longer than the snapshot at 50")


# Sentences -----------------------------------------------------------------------------------------------------------


def test_counts_agree_with_their_nouns() -> None:
    assert [counted(n, "cell") for n in (0, 1, 2_000)] == ["0 cells", "1 cell", "2,000 cells"]
    assert [counted(n, "trajectory", "trajectories") for n in (1, 2)] == ["1 trajectory", "2 trajectories"]


def test_a_guess_is_one_sentence_of_doubt() -> None:
    guess = Seconds(6000.0, 4.0, "guess")
    found = Forecast(Work(), 2, (Part("training", 4, guess),), guess, guess, Part("frechet", 1, guess))
    assert expected(found) == "about 1h40 on 2 workers, a guess until the first training has run"


def test_what_is_done_before_the_first_step_is_named() -> None:
    assert Progress().activities == "starting"
    running = [
        RunningUnit("a", "loading data"),
        RunningUnit("b", "timing eager steps"),
        RunningUnit("c", "loading data"),
    ]
    assert Progress(running=running).activities == "loading data, timing eager steps"
    assert Progress(workers=Counter(starting=2)).activities == "2 workers starting"


def test_a_long_name_keeps_its_seed() -> None:
    assert shortened("digits-n16-kmeans10-mlp-width128-seed12", 20) == "digits-n1…128-seed12"
    assert shortened("short", 20) == "short"


# A sweep that fails --------------------------------------------------------------------------------------------------


def test_a_failed_sweep_says_why_and_so_does_the_next(write_grid: Callable[..., Path], tmp_path: Path) -> None:
    grid = write_grid(SMALL.replace("{batch: 16}", "{batch: 16, lr: 1.0e+30}").replace("[2, 4]", "[4]"), "f[x].yaml")
    runs = tmp_path / "r[/b]"
    code, text = _said("sweep", grid, "--runs", runs, "--cluster", "inline", CUDA_VISIBLE_DEVICES="")
    assert code == 1
    assert text.count("! 2 cells failed, the first with index 0: ArithmeticError: the loss is ") == 1
    assert f"difgen logs 0 --runs '{runs}' --grid 'f[x]'" in text
    assert "┃" not in text, "no table of nothing"
    code, text = _said("sweep", grid, "--runs", runs, "--cluster", "inline")
    assert code == 1
    assert text.count("! 2 cells failed, the first with index 0: ArithmeticError: the loss is ") == 1
    assert "…" not in text
    code, text = _said("report", runs, "--out", tmp_path / "report")
    assert code == 0, "where everything has failed there is a report that says so"


NETWORKS = {
    "width": ("{name: unet, width: 7}", "4:30: model.width must be a multiple of 4", HEAD),
    "attention": ("{name: unet, width: 8, attention: [5]}", "model.attention at height 5", HEAD),
    "levels": ("{name: unet, multipliers: [0]}", "model.multipliers must be one or more whole numbers", HEAD),
}


@pytest.mark.long
@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_that_cannot_be_built_is_refused_when_planning(
    case: str, write_grid: Callable[..., Path], tmp_path: Path
) -> None:
    model, words, head = NETWORKS[case]
    grid, runs = write_grid(f"{head}  model: {model}\n"), tmp_path / "runs"
    for arguments in (["plan"], ["sweep", "--dry-run"], ["sweep"]):
        code, text = _said(*arguments, grid, "--runs", runs)
        assert (code, words in text) == (2, True), text
    assert not runs.exists()


def test_a_network_of_ones_own_is_asked_the_same(write_grid: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "plugins" / "models"
    folder.mkdir(parents=True)
    (folder / "even.py").write_text(
        "from torch import nn\n\n\ndef build(shape, classes, *, width: int = 2) -> nn.Module:\n"
        "    if width % 2:\n        raise ValueError(f'width {width} is odd')\n    return nn.Linear(width, width)\n"
    )
    code, text = _said("plan", write_grid(f"{HEAD}  model: {{name: even, width: 3}}\n"), "--runs", tmp_path / "runs")
    assert (code, "model.width 3 is odd" in text) == (2, True)


# Reports at every stage of a sweep -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a whole small study."""
    folder = tmp_path_factory.mktemp("use")
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    planned = sweep.prepare(folder / "small.yaml", folder / "runs", {})
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        assert sweep.run(planned, sweep.Options(cluster="inline"), Console(quiet=True)) == "done"
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
    return folder / "runs"


def _without(study: Study, lost: dict[int, set[str]], metrics: dict[str, list[str]]) -> Study:
    """The study before some metrics of some rows were measured."""
    rows = study.rows.copy()
    for index, names in lost.items():
        rows.loc[index, [column for name in names for column in metrics[name]]] = None
        rows.loc[index, "state"] = "missing" if names else rows.loc[index, "state"]
    done = rows.loc[rows["state"] == "done", "cell"]
    tables = {n: t[t["cell"].isin(done)] if len(t) else t for n, t in study.tables.items()}
    return dataclasses.replace(study, rows=rows, tables=tables)


STAGES = ("references", "one cell", "models", "one metric", "one metric of references", "nothing", "one reference")


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_of_a_sweep_has_a_report(stage: str, real: Path, tmp_path: Path) -> None:
    (study,) = loading.gather(Store(real))
    metrics = {
        "memorization": [c for c in study.columns if c in study.rows and c.startswith("mem_")],
        "frechet": [c for c in study.columns if c in study.rows and c.startswith("fd_")],
        "gap": [c for c in study.columns if c in study.rows and c.startswith("gap_")],
    }
    assert all(metrics.values())
    every, rows = set(metrics), study.rows
    models, others = (list(rows.index[rows["kind"].eq("model") == is_model]) for is_model in (True, False))
    lost = {
        "references": dict.fromkeys(models, every),
        "one cell": dict.fromkeys([*models[1:], *others], every),
        "models": dict.fromkeys(others, every),
        "one metric": dict.fromkeys(rows.index, every - {"frechet"}),
        "one metric of references": dict.fromkeys(models, every) | dict.fromkeys(others, every - {"memorization"}),
        "nothing": dict.fromkeys(rows.index, every),
        "one reference": dict.fromkeys([*models, *others[1:]], every),
    }[stage]
    partial = _without(study, lost, metrics)
    written = report.write(partial, tmp_path)
    report.sentences(partial)
    report.summary(partial, width=80)
    assert written.page.exists()
    assert bool(written.figures) == (stage in ("models", "one cell")), "figures are of finished cells"
    assert len(pd.read_csv(tmp_path / "rows.csv")) == len(rows)


def test_a_report_while_only_references_are_scored_ends_well(real: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    _copied(real, runs)
    for result in (runs / "trajectories").glob("*/results/*"):
        result.unlink()
    code, text = _said("report", runs, "--out", tmp_path / "report")
    assert (code, "Traceback" in text) == (0, False)
    assert (tmp_path / "report" / "report.html").exists()


def _copied(source: Path, target: Path) -> None:
    import shutil

    shutil.copytree(source, target, ignore=shutil.ignore_patterns("tables"))


# Small things ---------------------------------------------------------------------------------------------------------


def test_the_data_sets_are_listed_with_what_they_are() -> None:
    code, text = _said("data")
    assert code == 0
    assert "digits: The 1,797 handwritten digits of 8 × 8 pixels that come with scikit-learn; no settings" in text
    assert "folder: " in text
    assert "path (needed)" in text
    code, text = _said("data", "digitz")
    assert (code, "did you mean digits?" in text) == (2, True)


def test_a_plan_of_some_cells_says_how_many(write_grid: Callable[..., Path], tmp_path: Path) -> None:
    code, text = _said("sweep", write_grid(SMALL), "--runs", tmp_path / "runs", "--only", "data.size=8", "--dry-run")
    assert code == 0
    assert "to run now: 5 rows in 1 training" in text, text
    _, text = _said("sweep", write_grid(SMALL), "--runs", tmp_path / "runs", "--dry-run")
    assert "of these" not in text


def test_a_busy_machine_is_said_beside_its_speeds() -> None:
    assert busy(0.3, 2) is None
    assert "a load of 9.1 on 2 cores" in (busy(9.1, 2) or "")


def test_status_writes_a_dash_for_a_measure_that_does_not_exist() -> None:
    console = Console(file=io.StringIO(), width=120)
    print_status(
        Status([TrajectoryStatus("digits", "0", "done", metrics={"mem_frac": 0.5, "fd_test": None})], []), console
    )
    assert "mem_frac 0.5 fd_test –" in console.file.getvalue()  # type: ignore[attr-defined]
