"""The page and the spreadsheets as files: text stays text, nothing is loaded, what is missing is listed."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli import report
from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.report import spreadsheet
from difgen_cli.report.page import gallery
from difgen_cli.report.page.document import SCRIPTS
from difgen_cli.report.study import curves

EVIL = "<script>alert(1)</script>"
STEPS_SIZE = {"train.steps": [250, 1000, 4000], "data.size": [32, 128, 512]}
FOUR = {**STEPS_SIZE, "model.width": [64, 256], "condition.clusters": [1, 10]}


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    study = synthetic.study(FOUR, seeds=3, missing=[0, 1], failed=[2])
    return study, report.write(study, tmp_path_factory.mktemp("four"))


def test_missing_and_failed_cells_are_listed_with_their_causes(four):
    study, written = four
    page = written.page.read_text(encoding="utf-8")
    assert "1 failed: CUDA out of memory: tried to allocate 2.0 GiB" in page
    assert "2 missing" in page
    for place in (0, 1, 2):
        row = study.rows.iloc[place]
        where = f"data.size = {row['data.size']}; "
        assert re.search(rf"<li>[^<]*{re.escape(where)}[^<]*seed {row['seed']}; steps {row['step']}</li>", page) or (
            f"model.width = {row['model.width']}" in page
        )
    caption = written.figures[0].with_suffix(".txt").read_text(encoding="utf-8")
    assert "2 missing and 1 failed" in caption


def test_every_absent_cell_is_listed_exactly_once(tmp_path):
    study = synthetic.study(STEPS_SIZE, seeds=2, missing=[0, 3, 7], failed=[12, 13])
    page = report.write(study, tmp_path).page.read_text(encoding="utf-8")
    listed = set()
    for size, seed, steps in re.findall(r"<li>data\.size = (\d+); seed (\d+); steps ([\d, ]+)</li>", page):
        listed |= {(int(size), int(seed), int(step)) for step in steps.split(", ")}
    absent = study.rows[study.rows["state"] != "done"]
    expected = set(zip(absent["data.size"], absent["seed"], absent["step"], strict=True))
    assert listed == {tuple(map(int, cell)) for cell in expected}


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


def block_of(page):
    """The rows as the page's scripts read them."""
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL).group(1))


def planted(tmp_path):
    """A study with a script in every text that a person or a plug-in chooses."""
    axes = {"model.name": [EVIL, '"><img src=x onerror=alert(1)>'], "data.size": [32, 128]}
    study = synthetic.study(axes, seeds=2, failed=[0], cause=EVIL, features=EVIL, name=EVIL, question=EVIL)
    columns = {**study.columns, EVIL: ColumnSpec(EVIL, EVIL, EVIL)}
    rows = study.rows.assign(**{EVIL: 1.0, "cell": study.rows["cell"] + EVIL})
    provenance = {EVIL: EVIL, "command": '=HYPERLINK("http://x")'}
    study = dataclasses.replace(study, rows=rows, columns=columns, provenance=provenance)
    return study, report.write(study, tmp_path)


def test_planted_scripts_stay_text_everywhere(tmp_path):
    _, written = planted(tmp_path)
    page = written.page.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert tags.tags.count("script") == len(SCRIPTS) + 2  # the page's own, the plotting library and the block of rows
    assert not [entry for entry in tags.attributes if entry[1].startswith("on")]
    assert "&lt;script&gt;" in page
    for path in written.figures:
        assert "<script" not in path.with_suffix(".svg").read_text(encoding="utf-8")


def test_the_page_asks_nothing_of_the_network(four):
    tags = Tags()
    tags.feed(four[1].page.read_text(encoding="utf-8"))
    loading = [value for tag, name, value in tags.attributes if name == "src" or (tag == "link" and name == "href")]
    assert all(value.startswith("data:image/png;base64,") for value in loading)
    drawn = [value for _, name, value in tags.attributes if name == "xlink:href"]
    assert all(value.startswith("#") for value in drawn)
    assert any(value.startswith("default-src 'none'") for _, _, value in tags.attributes)


def test_ids_in_the_page_are_unique_and_every_reference_has_one(four):
    page = re.sub(r"<script.*?</script>", "", four[1].page.read_text(encoding="utf-8"), flags=re.DOTALL)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'xlink:href="#([^"]+)"', page))
    assert used <= set(ids)


def test_every_figure_has_an_alternative_text(four):
    page = four[1].page.read_text(encoding="utf-8")
    alts = re.findall(r'role="img" aria-label="([^"]+)"', page)
    assert len(alts) == len(four[1].figures)
    assert all(alt.startswith("Chart.") for alt in alts)


def test_every_colour_of_a_figure_changes_on_a_dark_page(four):
    page = four[1].page.read_text(encoding="utf-8")
    used = set(re.findall(r"var\(--c([0-9a-f]{6})", page)) - {"000000"}
    known = set(re.findall(r"--c([0-9a-f]{6}):", page))
    assert used <= known


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "a\r=1+1"])
def test_formulas_are_neutralised_in_text_cells_and_headers(tmp_path, text):
    spreadsheet.write(pd.DataFrame({text: ["a"], "cause": [text], "x": [-1.5]}), tmp_path / "t.csv")
    back = pd.read_csv(tmp_path / "t.csv")
    safe = ("" if text.startswith("a") else "'") + text.replace(
        "\r", "\n"
    )  # a bare carriage return would begin a new cell
    assert back.columns[0] == safe
    assert back["cause"][0] == safe
    assert back["x"][0] == -1.5  # a negative number is no formula


def test_texts_numbers_and_what_is_missing_are_kept_in_columns_of_every_type():
    frame = pd.DataFrame(
        {
            "words": pd.Series(["=a", None, "b"], dtype="str"),
            "levels": pd.Categorical(["+x", "y", None], categories=["y", "+x"]),
            "mixed": pd.Series([True, 1, "@z"], dtype=object),
            "numbers": [-1.5, np.nan, 2.0],
        }
    ).set_axis([3, 1, 2])
    safe = spreadsheet.neutralised(frame)
    assert safe.to_csv(index=False) == "words,levels,mixed,numbers\n'=a,'+x,True,-1.5\n,y,1,\nb,,'@z,2.0\n"
    assert list(safe.index) == [3, 1, 2]


def test_formulas_in_settings_reach_no_csv_of_the_report(tmp_path):
    axes = {"model.name": ["=cmd|' /C calc'!A0", "@sum", "-x", "+y"], "data.size": [32, 128]}
    written = report.write(synthetic.study(axes, seeds=1, failed=[0], cause="=1+1"), tmp_path)
    for path in tmp_path.rglob("*.csv"):
        frame = pd.read_csv(path)
        for column in frame.select_dtypes(exclude="number"):
            assert not frame[column].dropna().astype(str).str.startswith(spreadsheet.FORMULA).any()
    assert written.figures


def test_the_gallery_shows_the_most_and_the_least_copied_and_the_references(tmp_path):
    study = synthetic.study({"data.size": [32, 128, 512], "model.width": [64, 256]}, seeds=1)
    said = block_of(report.write(study, tmp_path).page)
    models = study.rows[study.rows["kind"] == "model"].set_index("cell")["mem_frac"]
    known = {models.idxmax(), models.idxmin(), "heldout-0", "copycat-0", "ideal-0"}
    assert known <= set(said["titles"]) <= set(said["pictures"])
    assert len(said["titles"]) == 4 + 3  # two corners are the extremes themselves
    assert said["titles"][models.idxmax()].startswith("Highest mem_frac")
    assert {len(pairs) for pairs in said["pictures"].values()} == {8}


def test_a_large_study_has_pictures_of_some_cells_the_last_snapshots_among_them(tmp_path):
    axes = {"data.size": [2**k for k in range(4, 12)], "train.steps": [250, 1000, 4000], "model.width": [32, 64, 128]}
    study = synthetic.study(axes, seeds=3)
    found = gallery.pictured(study, curves.read(study), ["heldout-0"])
    assert len(found) == gallery.CELLS
    rows = study.rows.set_index("cell").loc[list(found)[1:]]
    assert set(rows["step"]) == {4000}
    assert len(rows[rows["seed"] == 0].groupby(["data.size", "model.width"])) == 24
    heavy = dataclasses.replace(
        study,
        gallery=lambda cells, count: {
            c: [dataclasses.replace(p, sample_png=bytes(500_000)) for p in some]
            for c, some in synthetic.pictures(cells, 1).items()
        },
    )
    assert len(gallery.pictured(heavy, curves.read(heavy), [])) == gallery.MOST_BYTES // 500_000 - 1


def test_a_cell_without_pictures_says_so(tmp_path):
    study = synthetic.study({"data.size": [32, 128]}, seeds=1, gallery=lambda cells, count: {})
    assert block_of(report.write(study, tmp_path).page)["pictures"] == {}
