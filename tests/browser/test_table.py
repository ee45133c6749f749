"""The table and the gallery in a browser: sorted, filtered and downloaded rows equal those of the study."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from difgen_cli.report import Study
from difgen_cli.report.plotting import labels

Visit = Callable[..., Any]
Four = tuple[Study, Path]


def column(opened: Any, name: str) -> list[str]:
    """What is written in a column of the page of the table that is shown."""
    found: list[str] = opened.page.locator(f'#table td[data-column="{name}"]').all_inner_texts()
    return found


def written(value: float) -> str:
    """A number as the table writes it: whole ones in full."""
    return str(int(value)) if float(value).is_integer() else labels.number(value)


def typed(opened: Any, name: str, text: str) -> None:
    before = opened.page.locator("#table-told").inner_text()
    opened.page.get_by_label(f"Filter {name}", exact=True).fill(text)
    opened.until(f"document.getElementById('table-told').textContent !== {before!r}")


def told(opened: Any) -> int:
    return int(opened.page.locator("#table-told").inner_text().split()[0])


def downloaded(opened: Any) -> pd.DataFrame:
    with opened.page.expect_download() as waiting:
        opened.page.locator("#download").click()
    assert waiting.value.suggested_filename == "cells.csv"
    return pd.read_csv(waiting.value.path(), dtype={"cell": str})


def test_every_number_of_the_table_is_the_one_of_the_rows(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    rows = study.rows.iloc[:25]
    for name in ("mem_frac", "fd_test", "train_pref_excess", "mem_frac_control"):
        assert column(opened, name) == [written(value) for value in rows[name]]
        exact = opened.page.locator(f'#table td[data-column="{name}"]').evaluate_all("some => some.map(td => td.title)")
        np.testing.assert_array_equal(np.array([float(x or "nan") for x in exact]), rows[name].to_numpy(float))
    assert column(opened, "data.size") == [str(v) for v in rows["data.size"]]


def test_the_table_sorts_by_the_number_and_keeps_what_is_missing_last(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    order = study.rows.sort_values("fd_test", kind="stable", na_position="last")
    head = opened.page.locator("#table th", has_text="fd_test")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(opened, "fd_test") == [labels.number(v) for v in order["fd_test"].iloc[:25]]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    known = study.rows["fd_test"].dropna().sort_values(ascending=False)
    assert column(opened, "fd_test") == [labels.number(v) for v in known.iloc[:25]]
    assert opened.page.evaluate("document.activeElement.textContent").startswith("fd_test")


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("mem_frac", "> 0.5", lambda rows: rows["mem_frac"] > 0.5),
        ("mem_frac", "0.1..0.5", lambda rows: rows["mem_frac"].between(0.1, 0.5)),
        ("mem_frac", "none", lambda rows: rows["mem_frac"].isna()),
        ("data.size", "128", lambda rows: rows["data.size"] == 128),
        ("state", "FAIL", lambda rows: rows["state"] == "failed"),
    ],
)
def test_a_filter_keeps_what_it_says(visit: Visit, four: Four, name: str, text: str, kept: Any) -> None:
    study, path = four
    opened = visit(path)
    typed(opened, name, text)
    expected = study.rows[kept(study.rows)]
    assert told(opened) == len(expected) > 0
    assert set(downloaded(opened)["cell"]) == set(expected["cell"])


def test_filters_of_columns_and_the_search_hold_together(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    typed(opened, "kind", "model")
    typed(opened, "seed", "1")
    opened.page.locator("#table-search").fill("10")
    expected = study.rows[(study.rows["kind"] == "model") & (study.rows["seed"] == 1)]
    opened.until(f"Number(document.getElementById('table-told').textContent.split(' ')[0]) < {len(expected)}")
    assert 0 < told(opened) < len(expected)


def test_the_download_equals_the_spreadsheet_beside_the_page(visit: Visit, four: Four) -> None:
    _, path = four
    page, beside = downloaded(visit(path)), pd.read_csv(path.parent / "rows.csv", dtype={"cell": str})
    shared = [name for name in beside if beside[name].notna().any()]
    assert list(page) == shared
    pd.testing.assert_frame_equal(page, beside[shared], check_dtype=False, check_exact=True)


def test_columns_can_be_shown_and_left_out(visit: Visit, four: Four) -> None:
    opened = visit(four[1])
    opened.page.locator("#table-controls summary").click()
    assert column(opened, "auth_pct") == []
    opened.page.locator("#table-controls").get_by_label("auth_pct", exact=True).check()
    assert len(column(opened, "auth_pct")) == 25


def test_a_cell_of_the_table_can_be_pinned_and_the_pages_turned(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    opened.page.get_by_role("button", name="Next").click()
    opened.page.locator("#table tbody button").first.click()
    assert opened.state()["cell"] == study.rows["cell"].iloc[25]
    assert opened.page.locator("#table tr.pinned").count() == 1


def test_the_gallery_shows_each_sample_beside_its_nearest_the_most_copied_first(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    cells = opened.page.evaluate("Object.keys(Data.pictures)")
    models = set(study.rows.loc[study.rows["kind"] == "model", "cell"])
    pairs = [pair for some in study.gallery([c for c in cells if c in models], 8).values() for pair in some]
    expected = sorted(pair.ratio for pair in pairs)
    shown = opened.page.locator("#gallery-pairs .place").all_inner_texts()
    assert len(set(shown)) == min(24, len(set(cells) & models))  # at first one of each cell
    opened.page.select_option("#gallery-order", "copied")
    ratios = opened.page.locator("#gallery-pairs .ratio").all_inner_texts()
    assert [text.split()[0] for text in ratios] == [labels.number(value, 2) for value in expected[:24]]
    assert [text.endswith("copy") for text in ratios] == [value < 1 / 3 for value in expected[:24]]
    assert opened.page.locator("#gallery-pairs img").count() == 48
    sizes = opened.page.locator("#gallery-pairs img").evaluate_all("some => some.map(i => i.naturalWidth)")
    assert set(sizes) == {8}
    opened.page.locator("#gallery-more").click()
    assert opened.page.locator("#gallery-pairs figure").count() == 48
    opened.page.select_option("#gallery-order", "new")
    first = opened.page.locator("#gallery-pairs .ratio").first.inner_text()
    assert first == labels.number(expected[-1], 2)


def test_the_gallery_of_one_cell_and_its_references(visit: Visit, four: Four) -> None:
    opened = visit(four[1])
    opened.page.select_option("#gallery-of", "copycat-0")
    assert opened.page.locator("#gallery-pairs figure").count() == 8
    opened.page.locator("#gallery-pairs button").first.click()
    assert opened.state()["cell"] == "copycat-0"
    assert opened.page.locator("#cell").evaluate("here => document.activeElement === here")


def test_the_csv_of_the_page_is_read_back_bit_for_bit(visit: Visit, four: Four) -> None:
    study, path = four
    text = visit(path).page.evaluate("Csv.write([...Array(Data.rows).keys()])")
    back = pd.read_csv(io.StringIO(text))
    for name in ("mem_frac", "fd_test", "train_pref_excess", "gap_max", "ct"):
        np.testing.assert_array_equal(back[name], study.rows[name])
