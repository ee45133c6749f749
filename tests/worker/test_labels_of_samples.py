"""A metric that asks for the labels of samples is given those that they were drawn under."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from difgen_cli.engine.inputs import mistake
from difgen_cli.engine.store import Store, sample_files
from difgen_cli.report.study import loading

METRIC = '''
"""Labels as a number: each sample's, times its place."""
import numpy as np
from difgen_cli.metrics import Result

COLUMNS = {"labelled": ("float64", "", "sum of labels times places")}


def measure(samples: np.ndarray, sample_labels: np.ndarray | None) -> Result:
    """samples (n, ...), sample_labels (n,)."""
    if sample_labels is None:
        return Result({"labelled": None})
    return Result({"labelled": float(sample_labels @ np.arange(len(samples)))})
'''
GRID = """# Which labels do samples have?
base:
  data:   {name: digits, held_out: 100, size: 64}
  model:  {name: mlp, width: 16}
  train:  {batch: 8, steps: 5}
  sample: {steps: 4, count: 30}
  score:  [labelled]
axes: {condition.name: [labels, none]}
"""


def test_labels_of_samples_are_those_of_their_file(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "plugins" / "metrics").mkdir(parents=True)
    (tmp_path / "plugins" / "metrics" / "labelled.py").write_text(METRIC, encoding="utf-8")
    done = difgen("sweep", write_grid(GRID), "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path / "runs")
    (study,) = loading.gather(store)
    rows = study.rows[study.rows["kind"] == "model"].set_index("condition.name")
    row = rows.loc["labels"]
    folder = store.run_folder(row["trajectory"], row["slug"])
    labels = sample_files.read(folder.samples(row["cell"]))[1]
    assert labels is not None
    assert len(set(labels)) > 3
    assert row["labelled"] == sum(place * label for place, label in enumerate(labels.tolist()))
    assert np.isnan(rows.loc["none"]["labelled"])
    real = study.rows[study.rows["kind"] == "heldout"]
    assert real["labelled"].isna().all()


@pytest.mark.parametrize(("parameters", "wrong"), [(("sample_labels",), True), (("samples", "sample_labels"), False)])
def test_labels_go_with_samples(parameters: tuple[str, ...], wrong: bool) -> None:
    assert ("goes with samples; name both" in mistake("score", parameters)) == wrong
