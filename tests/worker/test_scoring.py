"""What a metric's positional parameters stand for, in a sweep from grid to rows."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from difgen_cli.data import scaled, split
from difgen_cli.data.digits import load

PLUGIN = '''
import numpy as np

from difgen_cli.metrics import Result

COLUMNS = {"seen": ("string", "", "what the metric was given")}


def measure(train, held_out, rest, train_classes, held_out_classes, train_labels):
    """Says what it was given."""
    parts = train, held_out, rest, train_classes, held_out_classes
    said = ["none" if part is None else f"{len(part)}:{np.abs(part.astype(float)).sum():.6e}" for part in parts]
    return Result({"seen": " ".join([*said, "none" if train_labels is None else "some"])})
'''

GRID = """\
# Do metrics see what they name?
base:
  data:  {name: digits, held_out: 900, size: 16}
  model: {name: mlp, width: 8, depth: 1}
  train: {batch: 16, steps: 2}
  score: [seen]
"""


def said(part: np.ndarray) -> str:
    return f"{len(part)}:{np.abs(part.astype(float)).sum():.6e}"


def test_a_metric_sees_the_pool_and_the_classes_that_it_names(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "plugins" / "metrics").mkdir(parents=True)
    (tmp_path / "plugins" / "metrics" / "seen.py").write_text(PLUGIN)
    done = difgen("sweep", write_grid(GRID), "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    pool = load()
    parts = split(pool, size=16, held_out=900)
    assert pool.labels is not None
    images = [scaled(pool.images[places]) for places in (parts.train, parts.held_out, parts.rest)]
    expected = [said(part) for part in (*images, pool.labels[parts.train], pool.labels[parts.held_out])]
    assert table["seen"].drop_duplicates().tolist() == [" ".join([*expected, "none"])]  # no condition: classes are not
