"""What did not change is not drawn again; what did is, and nothing old is left beside it."""

import dataclasses

import pytest
import synthetic

from difgen_cli import report
from difgen_cli.report.page import stamp
from difgen_cli.report.page.document import RELOAD

AXES = {"data.size": [32, 128]}


@pytest.fixture
def study():
    return synthetic.study(AXES, seeds=1)


def times(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_second_report_writes_nothing(tmp_path, study):
    first = report.write(study, tmp_path)
    before = times(tmp_path)
    assert report.write(synthetic.study(AXES, seeds=1), tmp_path) == first
    assert times(tmp_path) == before


def test_one_other_number_draws_all_of_it_again(tmp_path, study):
    report.write(study, tmp_path)
    before = (tmp_path / "report.html").read_bytes()
    rows = study.rows.assign(mem_frac=study.rows["mem_frac"].where(study.rows.index != 0, 0.123))
    report.write(dataclasses.replace(study, rows=rows), tmp_path)
    assert (tmp_path / "report.html").read_bytes() != before
    assert "0.123" in (tmp_path / "rows.csv").read_text()


@pytest.mark.parametrize("name", ["report.html", "figures/against-data-size.svg", "rows.csv"])
def test_a_file_that_is_gone_or_was_changed_comes_back(tmp_path, study, name):
    report.write(study, tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    report.write(study, tmp_path)
    assert (tmp_path / name).read_bytes() == content
    (tmp_path / name).write_bytes(content + b" ")
    report.write(study, tmp_path)
    assert (tmp_path / name).read_bytes() == content


def test_a_papers_figures_are_drawn_on_request_kept_and_gone_when_the_numbers_are(tmp_path, study):
    report.write(study, tmp_path)
    assert not (tmp_path / "paper").exists()
    report.write(study, tmp_path, paper=True)
    for width in ("column", "text"):
        for ending in ("png", "svg", "pdf", "csv", "txt"):
            assert (tmp_path / "paper" / width / f"against-data-size.{ending}").exists()
    before = times(tmp_path)
    report.write(study, tmp_path, paper=True)
    report.write(study, tmp_path)
    assert times(tmp_path) == before
    rows = study.rows.assign(mem_frac=0.5)
    report.write(dataclasses.replace(study, rows=rows), tmp_path)
    assert not list((tmp_path / "paper").rglob("*.p*"))


def test_a_stamp_of_others_removes_nothing_outside_its_folder(tmp_path, study):
    out, outside = tmp_path / "report", tmp_path / "mine.txt"
    outside.write_text("mine")
    report.write(study, out)
    stamp.replace_json(out / stamp.NAME, {"paper": {"digest": "x", "files": {"../mine.txt": "x"}}})
    report.write(study, out)
    assert outside.read_text() == "mine"


def test_a_page_that_browsers_load_again_is_the_same_page_afterwards(tmp_path, study):
    page = report.write(study, tmp_path).page
    plain, before = page.read_bytes(), times(tmp_path / "figures")
    report.write(study, tmp_path, reload=True)
    assert page.read_text().count(RELOAD) == 1
    report.write(study, tmp_path)
    assert page.read_bytes() == plain
    assert times(tmp_path / "figures") == before, "nothing is drawn for that"
