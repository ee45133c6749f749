"""What measuring cost: a shared cell counts once, a training run once."""

import pandas as pd
import pytest

from difgen_cli.report.study import costs

ROWS = pd.DataFrame(
    {
        "kind": ["model", "model", "model", "heldout", "model"],
        "state": ["done", "done", "done", "done", "missing"],
        "cell": ["a", "b", "b", "c", "d"],  # b stands in two lines of the grid
        "trajectory": ["t", "t", "t", "r", "u"],
        "train_seconds": [10.0, 20.0, 20.0, None, None],
        "gap_seconds": [1.0, 3.0, 3.0, 50.0, None],
        "frechet_seconds": [0.5, 0.5, 0.5, None, None],
        "twins_seconds": [None] * 5,
    }
)


def test_mean_seconds_a_cell_and_the_share_of_the_training():
    assert costs.seconds(ROWS) == {"gap": pytest.approx(2.0), "frechet": pytest.approx(0.5)}
    assert costs.words(ROWS) == "Seconds a cell: gap 2.0 (20 % of the training time), frechet 0.50 (5.0 %)."


def test_without_training_there_is_no_share():
    assert costs.words(ROWS.drop(columns="train_seconds")) == "Seconds a cell: gap 2.0, frechet 0.50."
    assert costs.words(ROWS[ROWS["state"] == "missing"]) == ""
