"""From the store to a study: what a user's metric declares reaches the report, and is missed by nobody without it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.engine.store import Store
from difgen_cli.report.study import curves, loading

METRIC = '''
"""A measure of one's own."""
import numpy as np
from difgen_cli.metrics import Result

COLUMNS = {
    "mine": ("float64", "share", "a half", {"label": "a half of all", "scale": "share"}),
    "mine_plain": ("float64", "rms", "one"),
    "mine_n": ("int64", "images", "samples", {"role": "count"}),
}
TABLES = {
    "mine_levels": {"sigma_rel": ("float64", "sigma_d", "noise level"), "value": ("float64", "", "a value")},
    "mine_samples": {"seed": ("int64", "", "number of the sample")},
}


def measure(samples: np.ndarray) -> Result:
    """samples (n, ...)."""
    tables = {
        "mine_levels": {"sigma_rel": np.array([0.5, 1.0]), "value": np.array([2.0, 3.0])},
        "mine_samples": {"seed": np.arange(len(samples))},
    }
    return Result({"mine": 0.5, "mine_plain": 1.0, "mine_n": len(samples)}, tables)
'''


def test_what_a_users_metric_declares_reaches_the_report_and_no_result(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "plugins" / "metrics").mkdir(parents=True)
    (tmp_path / "plugins" / "metrics" / "own.py").write_text(METRIC, encoding="utf-8")
    tiny = write_grid()
    tiny.write_text(
        tiny.read_text(encoding="utf-8").replace("[memorization, gap]", "[memorization, gap, own]"), "utf-8"
    )
    done = difgen("sweep", tiny, "--cluster", "inline")
    assert done.returncode == 0, done.stderr

    (study,) = loading.gather(Store(tmp_path / "runs"))
    assert study.columns["mine"] == ColumnSpec("share", "a half", "a half of all", "share")
    assert study.columns["mine_plain"] == ColumnSpec("rms", "one")
    assert study.columns["mem_frac"].label == "memorized share of samples"
    assert set(study.tables) == {"noise", "mine_levels"}, "those with lines per noise level, of the metrics in the grid"
    model = study.tables["mine_levels"].query("kind == 'model'")
    assert model.groupby("sigma_rel")["value"].unique().map(list).to_dict() == {0.5: [2.0], 1.0: [3.0]}
    read = curves.read(study)
    assert read.label("mine") == "a half of all"
    assert read.label("mine_plain") == "mine_plain (rms)"
    assert {"mine", "mine_plain"} <= set(read.metrics)
    assert "mine_n" not in read.metrics, "a count is drawn by nobody"
    results = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "runs").rglob("*.json")]
    (columns, *others) = [one["columns"] for one in results if "columns" in one and one["metric"] == "own"]
    assert columns["mine"] == ["float64", "share", "a half"]
    assert all(other == columns for other in others)

    for copy in (tmp_path / "runs" / "shared").glob("code-*"):
        shutil.rmtree(copy)
    (bare,) = loading.gather(Store(tmp_path / "runs"))
    assert bare.columns["mine"] == ColumnSpec("share", "a half"), "its file is gone: its results are not"
    assert curves.read(bare).label("mine") == "mine (share)"
