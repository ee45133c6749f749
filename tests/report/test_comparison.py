"""Two run directories: cells matched by what they are, changes with the intervals of textbooks, and what one lacks."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
import synthetic
from rich.console import Console
from scipy import stats

from difgen_cli.report import changes
from difgen_cli.report.plotting.paper import COLUMN
from difgen_cli.report.study import comparison

AXES = {"train.steps": [250, 1000], "data.size": [32, 128]}


def moved(study, **columns):
    return dataclasses.replace(study, rows=study.rows.assign(**columns))


def lines(made, **at):
    found = made.changes
    for name, value in at.items():
        found = found[found[name.replace("__", ".")].astype(str) == str(value)]
    return found.to_dict("records")


@pytest.fixture(scope="module")
def pair():
    a = synthetic.study(AXES, seeds=4)
    rng = np.random.default_rng(1)
    shift = rng.normal(0.05, 0.02, len(a.rows))
    b = moved(
        a,
        mem_frac=a.rows["mem_frac"] + shift,
        gap_max=a.rows["gap_max"] + shift,
        fd_test=a.rows["fd_test"] * np.exp(shift),
    )
    return a, b


def test_a_paired_change_has_the_interval_of_the_paired_t_test(pair):
    made = comparison.compare(("a", pair[0]), ("b", pair[1]))
    rows = [s.rows[(s.rows["kind"] == "model") & (s.rows["step"] == 1000) & (s.rows["data.size"] == 32)] for s in pair]
    a, b = (frame.sort_values("seed")["gap_max"].to_numpy() for frame in rows)
    interval = stats.ttest_rel(b, a).confidence_interval()
    (line,) = lines(made, train__steps=1000, data__size=32, metric="gap_max")
    assert line["mean"] == pytest.approx((b - a).mean())
    assert (line["lo"], line["hi"]) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert (line["pairs"], line["interval"], line["scale"]) == (4, "t over paired seeds", "difference")


def test_frechet_distances_change_by_a_ratio(pair):
    made = comparison.compare(("a", pair[0]), ("b", pair[1]))
    rows = [s.rows[(s.rows["kind"] == "model") & (s.rows["step"] == 250) & (s.rows["data.size"] == 128)] for s in pair]
    logs = [np.log(frame.sort_values("seed")["fd_test"].to_numpy()) for frame in rows]
    (line,) = lines(made, train__steps=250, data__size=128, metric="fd_test")
    assert line["scale"] == "ratio"
    assert line["mean"] == pytest.approx(np.exp((logs[1] - logs[0]).mean()))
    assert line["hi"] == pytest.approx(np.exp(stats.ttest_rel(logs[1], logs[0]).confidence_interval().high))


def test_other_seeds_give_welchs_interval():
    a = pd.DataFrame({"seed": [0, 1, 2], "a": [0.1, 0.2, 0.4], "x": 1})
    b = pd.DataFrame({"seed": [7, 8, 9, 10], "b": [0.5, 0.9, 0.6, 0.8], "x": 1})
    (line,) = comparison.changed(a, b, ["x"]).to_dict("records")
    interval = stats.ttest_ind(b["b"], a["a"], equal_var=False).confidence_interval()
    assert (line["lo"], line["hi"]) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert (line["pairs"], line["n_a"], line["n_b"], line["interval"]) == (0, 3, 4, "Welch t over seeds")


def test_a_single_pair_has_no_interval():
    a, b = (pd.DataFrame({"seed": [0], name: [value]}) for name, value in (("a", 1.0), ("b", 3.0)))
    (line,) = comparison.changed(a, b, []).to_dict("records")
    assert line["mean"] == 2
    assert pd.isna(line["lo"])
    assert line["interval"] == ""


def test_cells_match_by_settings_whatever_their_keys_and_order(pair):
    rows = pair[1].rows.sample(frac=1, random_state=0)
    rows = rows.assign(cell=[f"other{i}" for i in range(len(rows))])
    shuffled = dataclasses.replace(pair[1], rows=rows)
    one, other = (comparison.compare(("a", pair[0]), ("b", b)) for b in (pair[1], shuffled))
    keys = ["train.steps", "data.size", "metric"]
    texts = (made.changes.astype(dict.fromkeys(keys, str)) for made in (one, other))
    first, second = (frame.set_index(keys).sort_index() for frame in texts)
    pd.testing.assert_frame_equal(first, second)


def test_what_only_one_has_is_named(pair):
    a, b = pair
    lacking = dataclasses.replace(b, rows=b.rows[b.rows["data.size"] != 32].assign(**{"model.dropout": 0.1}))
    lacking = dataclasses.replace(lacking, provenance={**b.provenance, "torch": "9.9"})
    made = comparison.compare(("old", a), ("new", lacking))
    said = " | ".join(made.notes)
    assert "only old has 8 finished cells (train.steps 250, 1000; data.size 32)" in said
    assert "only new has the settings model.dropout" in said
    assert "torch: 2.6.0 in old, 9.9 in new" in said
    assert made.matched == 8
    assert set(made.changes["train.steps"].astype(str)) == {"250", "1000"}


def test_identical_directories_have_no_change(pair):
    made = comparison.compare(("a", pair[0]), ("b", pair[0]))
    differences = made.changes[made.changes["scale"] == "difference"]
    assert (differences["mean"] == 0).all()
    assert changes.draw(made, COLUMN) is None
    assert changes.summary(made).startswith(f"{made.matched} cells in both; 0 of ")


def test_nothing_in_common_is_said():
    a, b = (synthetic.study({"data.size": [size, 2 * size]}, seeds=1) for size in (32, 1000))
    made = comparison.compare(("a", a), ("b", b))
    file = io.StringIO()
    changes.show(made, Console(file=file))
    assert "no cell is finished in both" in file.getvalue()
    assert changes.draw(made, COLUMN) is None


def test_the_table_gives_both_values_and_the_change_and_fits_a_terminal(pair):
    made = comparison.compare(("old", pair[0]), ("new", pair[1]))
    file = io.StringIO()
    changes.show(made, Console(file=file, width=80, force_terminal=True, color_system=None))
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "old → new" in text
    (line,) = lines(made, train__steps=1000, data__size=32, metric="mem_frac")
    assert f"{line['a']:.3f} → {line['b']:.3f} ({line['mean']:.4f} [" in text


def test_the_figure_says_pairs_features_and_intervals(pair):
    drawn = changes.draw(comparison.compare(("old", pair[0]), ("new", pair[1])), COLUMN)
    still = "Changed nowhere and not drawn: train_pref_excess"
    kinds = "95 % intervals (score over paired seeds; t over paired seeds)"
    for words in ("4 paired seeds", kinds, "digits-cnn64", "Grey line", still):
        assert words in drawn.caption
    assert set(drawn.data["metric"]) == {"mem_frac", "fd_test", "gap_max"}
    assert set(drawn.data["train.steps"].astype(str)) == {"1000"}
