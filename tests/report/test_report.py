"""What is written: figures by axis, numbers that equal the rows', nothing dropped, nothing run."""

import dataclasses
import io
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import synthetic
from rich.console import Console

from difgen_cli import report
from difgen_cli.report import table
from difgen_cli.report.plotting import labels, style
from difgen_cli.report.study import curves, last_snapshots

STEPS_SIZE = {"train.steps": [250, 1000, 4000], "data.size": [32, 128, 512]}
FOUR = {**STEPS_SIZE, "model.width": [64, 256], "condition.clusters": [1, 10]}


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    study = synthetic.study(FOUR, seeds=3, missing=[0, 1], failed=[2])
    return study, report.write(study, tmp_path_factory.mktemp("four"))


def names(written):
    return [path.stem for path in written.figures]


def test_a_four_axis_grid_has_every_figure_with_its_numbers_and_caption(four):
    _, written = four
    assert names(written)[:4] == [
        "memorization-against-frechet",
        "against-data-size",
        "against-train-steps",
        "against-condition-clusters",
    ]
    assert {"against-model-width", "gap-over-noise"} <= set(names(written))
    for path in written.figures:
        assert path.read_bytes().startswith(b"\x89PNG")
        ElementTree.fromstring(path.with_suffix(".svg").read_text(encoding="utf-8"))  # noqa: S314 - our own file
        caption = path.with_suffix(".txt").read_text(encoding="utf-8")
        assert "3 seeds" in caption
        assert "95 % t interval" in caption
        assert "1000 generated samples; 512 reference images" in caption
        assert len(pd.read_csv(path.with_suffix(".csv")))


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"data.size": [32, 128]}, {"memorization-against-frechet", "against-data-size"}),
        ({"sample.steps": [6, 12, 24]}, {"memorization-against-frechet", "against-sample-steps"}),
        ({"model.name": ["mlp", "unet"]}, {"memorization-against-frechet", "against-model-name"}),
        ({"condition.clusters": [1, 10]}, {"memorization-against-frechet", "against-condition-clusters"}),
        ({"data.size": [32]}, {"memorization-against-frechet"}),
    ],
)
def test_a_figure_appears_only_for_an_axis_with_two_values(tmp_path, axes, expected):
    written = report.write(synthetic.study(axes, seeds=1), tmp_path)
    against = {name for name in names(written) if "against" in name}
    assert against == expected


def test_a_plugins_metric_is_drawn_where_no_known_one_is(tmp_path):
    known = [name for name in synthetic.UNITS if name != "auth_pct"]
    study = synthetic.study({"data.size": [32, 128]}, seeds=2, drop=known)
    written = report.write(study, tmp_path)
    assert "against-data-size" in names(written)
    data = pd.read_csv(tmp_path / "figures" / "against-data-size.csv")
    assert set(data["metric"]) == {"auth_pct"}


def test_nothing_finished_is_a_page_that_lists_every_cell(tmp_path):
    study = synthetic.study({"data.size": [32, 128]}, seeds=2, missing=range(4))
    written = report.write(study, tmp_path)
    page = written.page.read_text(encoding="utf-8")
    assert written.figures == []
    assert "4 missing" in page
    assert page.count("seed 0") == page.count("seed 1") == 2


def test_numbers_behind_a_figure_equal_the_rows_bit_for_bit(four):
    study, written = four
    data = pd.read_csv(written.figures[0].with_suffix(".csv"))
    rows = study.rows[(study.rows["kind"] == "model") & (study.rows["state"] == "done")]
    tall = data[data["metric"] == "fd_test"].melt(
        id_vars=list(FOUR), value_vars=["seed_0", "seed_1", "seed_2"], var_name="name", value_name="drawn"
    )
    tall["seed"] = tall["name"].str.removeprefix("seed_").astype(int)
    both = rows.merge(tall, on=[*FOUR, "seed"])
    assert len(both) == len(rows)
    np.testing.assert_array_equal(both["fd_test"].to_numpy(), both["drawn"].to_numpy())


def test_all_rows_are_in_the_csv_also_missing_and_failed_ones(four):
    study, written = four
    rows = pd.read_csv(written.page.parent / "rows.csv")
    assert len(rows) == len(study.rows)
    assert rows["state"].value_counts()["missing"] == 2
    np.testing.assert_array_equal(rows["mem_frac"], study.rows["mem_frac"])


def test_one_seed_is_announced_on_the_page_and_under_every_figure(tmp_path):
    written = report.write(synthetic.study(STEPS_SIZE, seeds=1), tmp_path)
    assert "One seed: it is not known" in written.page.read_text(encoding="utf-8")
    for path in written.figures:
        assert "One seed:" in path.with_suffix(".txt").read_text(encoding="utf-8")


def test_differing_sample_counts_are_said_to_be_incomparable(tmp_path):
    study = synthetic.study({"data.size": [32, 128]}, seeds=1)
    rows = study.rows.assign(n_gen=np.where(study.rows["data.size"] == 32, 1000.0, 500.0))
    written = report.write(dataclasses.replace(study, rows=rows), tmp_path)
    assert "differing counts" in written.figures[0].with_suffix(".txt").read_text(encoding="utf-8")
    assert "counts differ between cells" in written.page.read_text(encoding="utf-8")


def test_a_dollar_in_a_setting_is_not_a_formula(tmp_path):
    report.write(synthetic.study({"model.name": ["a$x", "$\\frac{1", "_b^"]}, seeds=1), tmp_path)
    assert "$\\frac{1" in (tmp_path / "figures" / "against-model-name.svg").read_text(encoding="utf-8")


def test_the_same_study_gives_the_same_bytes(tmp_path):
    study = synthetic.study(STEPS_SIZE, seeds=2)
    first, second = report.write(study, tmp_path / "a"), report.write(study, tmp_path / "b")
    for one, other in zip(first.figures, second.figures, strict=True):
        assert one.with_suffix(".svg").read_bytes() == other.with_suffix(".svg").read_bytes()
        assert one.read_bytes() == other.read_bytes()


def test_a_figure_whose_axis_is_gone_is_removed(tmp_path):
    report.write(synthetic.study({"data.size": [32, 128]}, seeds=1), tmp_path)
    report.write(synthetic.study({"model.width": [64, 128]}, seeds=1), tmp_path)
    assert not (tmp_path / "figures" / "against-data-size.png").exists()


def printed(study, **options):
    file = io.StringIO()
    report.show(study, Console(file=file, **options))
    return file.getvalue()


def test_a_piped_summary_is_never_cut():
    study = synthetic.study({**FOUR, "sample.steps": [6, 24]}, seeds=3)
    text = printed(study, width=80)
    for header in [*table.HEADERS.values(), "seeds", "clusters"]:
        assert header in text
    assert "…" not in text


def test_a_summary_in_80_columns_keeps_the_axes_and_the_main_numbers():
    text = printed(synthetic.study(FOUR, seeds=3), width=80, force_terminal=True, color_system=None)
    assert max(map(len, text.splitlines())) <= 80
    for header in ("width", "size", "clusters", "mem_frac", "fd_test", "floors"):
        assert header in text
    assert "radius" not in text


def test_the_summary_counts_missing_and_failed_and_marks_what_does_not_exist():
    study = synthetic.study({"data.size": [32, 128]}, seeds=2, missing=[0], failed=[1])
    text = printed(study)
    assert "2 of 4 cells done, 1 missing, 1 failed" in text
    line = next(line for line in text.splitlines() if re.match(r"│\s+32 │", line))
    assert set(re.split(r"[│\s]+", line)) == {"", "32", "0", labels.NONE}


def test_the_last_snapshots_are_computed_once(tmp_path, monkeypatch):
    """The page, its sentences and last.csv, and the sentences and the table of the terminal show the same frame."""
    calls = []
    compute = last_snapshots.read
    monkeypatch.setattr(last_snapshots, "read", lambda curves: calls.append(curves) or compute(curves))
    study = synthetic.study({"data.size": [32, 128]}, seeds=2)
    report.write(study, tmp_path)
    report.show(study, Console(file=io.StringIO(), width=200))
    assert report.sentences(study)
    assert len(calls) == 1


def test_the_summary_gives_means_floors_and_half_widths_of_the_last_snapshot():
    study = synthetic.study(STEPS_SIZE, seeds=3)
    frame = study.curves.last.set_index("data.size")
    rows = study.rows[(study.rows["kind"] == "model") & (study.rows["step"] == 4000)]
    for size, some in rows.groupby("data.size"):
        line = frame.loc[str(size)]
        assert line["mem_frac"] == pytest.approx(some["mem_frac"].mean())
        logs = np.log(some[["fd_test", "fd_floor"]]).mean()
        assert line["floors"] == pytest.approx(np.exp(logs["fd_test"] - logs["fd_floor"]))
        half = 4.302652729749464 * some["train_pref_excess"].std() / 3**0.5  # t(0.975, 2)
        assert (line["train_pref_excess_hi"] - line["train_pref_excess_lo"]) / 2 == pytest.approx(half)
        assert 0 <= line["mem_frac_lo"] <= line["mem_frac"] <= line["mem_frac_hi"] <= 1


def test_markup_in_a_name_is_printed_as_it_is():
    text = printed(synthetic.study({"model.name": ["[bold]x[/bold]", "y"]}, seeds=1))
    assert "[bold]x[/bold]" in text


def test_neighbouring_levels_have_different_colours_and_markers():
    axis = curves.CurveAxis("data.size", tuple(map(str, range(12))), tuple(range(12)), True)
    assert len(set(style.colours(axis).values())) == 12
    assert len(set(style.dark_colours(axis).values())) == 12
    assert len(set(style.markers(axis).values())) == 12


def test_importing_the_report_loads_neither_torch_nor_matplotlib_nor_pandas():
    code = (
        "import sys, difgen_cli.report; print([m for m in ('torch','matplotlib','pandas','scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_writing_a_report_never_loads_torch_or_pyplot(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import synthetic, pathlib; from difgen_cli import report;"
        "report.write(synthetic.study({'data.size': [32, 128]}, 1), pathlib.Path(sys.argv[2]));"
        "print([m for m in ('torch', 'matplotlib.pyplot') if m in sys.modules])"
    )
    folder = str(synthetic.__file__).rsplit("/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", code, folder, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
