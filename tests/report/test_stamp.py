"""What did not change is not drawn again; what did is, and nothing old is left beside it."""

import dataclasses
import shutil

import pytest
import synthetic

from difgen_cli import report
from difgen_cli.report.page import stamp
from difgen_cli.report.page.document import RELOAD

AXES = {"data.size": [32, 128]}


@pytest.fixture(scope="module")
def study():
    return synthetic.study(AXES, seeds=1)


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    """A folder with its report, drawn once; `report.write` takes a copy for what it has written there."""
    folder = tmp_path_factory.mktemp("written")
    report.write(study, folder)
    return folder


@pytest.fixture
def out(written, tmp_path):
    """A copy of it, times of files included."""
    return shutil.copytree(written, tmp_path / "report")


def times(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_second_report_writes_nothing(tmp_path, study):
    first = report.write(study, tmp_path)
    before = times(tmp_path)
    assert report.write(synthetic.study(AXES, seeds=1), tmp_path) == first
    assert times(tmp_path) == before


def test_one_other_number_draws_all_of_it_again(out, study):
    before = (out / "report.html").read_bytes()
    rows = study.rows.assign(mem_frac=study.rows["mem_frac"].where(study.rows.index != 0, 0.123))
    report.write(dataclasses.replace(study, rows=rows), out)
    assert (out / "report.html").read_bytes() != before
    assert "0.123" in (out / "rows.csv").read_text()


@pytest.mark.parametrize("name", ["report.html", "figures/against-data-size.svg", "rows.csv"])
def test_a_file_that_is_gone_or_was_changed_comes_back(out, study, name):
    content = (out / name).read_bytes()
    (out / name).unlink()
    report.write(study, out)
    assert (out / name).read_bytes() == content
    (out / name).write_bytes(content + b" ")
    report.write(study, out)
    assert (out / name).read_bytes() == content


def test_a_papers_figures_are_drawn_on_request_kept_and_gone_when_the_numbers_are(out, study):
    assert not (out / "paper").exists()
    report.write(study, out, paper=True)
    for width in ("column", "text"):
        for ending in ("png", "svg", "pdf", "csv", "txt"):
            assert (out / "paper" / width / f"against-data-size.{ending}").exists()
    before = times(out)
    report.write(study, out, paper=True)
    report.write(study, out)
    assert times(out) == before
    rows = study.rows.assign(mem_frac=0.5)
    report.write(dataclasses.replace(study, rows=rows), out)
    assert not list((out / "paper").rglob("*.p*"))


def test_a_stamp_of_others_removes_nothing_outside_its_folder(out, tmp_path, study):
    outside = tmp_path / "mine.txt"
    outside.write_text("mine")
    stamp.replace_json(out / stamp.NAME, {"paper": {"digest": "x", "files": {"../mine.txt": "x"}}})
    report.write(study, out)
    assert outside.read_text() == "mine"


def test_a_page_that_browsers_load_again_is_the_same_page_afterwards(out, study):
    page = report.write(study, out).page
    plain, before = page.read_bytes(), times(out / "figures")
    report.write(study, out, reload=True)
    assert page.read_text().count(RELOAD) == 1
    report.write(study, out)
    assert page.read_bytes() == plain
    assert times(out / "figures") == before, "nothing is drawn for that"
