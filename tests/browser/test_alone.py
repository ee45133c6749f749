"""A page that was sent alone: all that it names is inside it, and can be taken out of it again."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from difgen_cli import report
from difgen_cli.report import Study

Visit = Callable[..., Any]
YAML = "base:\n  data: {name: digits}  # =1+1 </pre><script>window.planted = true</script>\n"
COLUMNS = ["mean", "lo", "hi"]


@pytest.fixture(scope="module")
def sent(four: tuple[Study, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A report with its grid: its folder, and its page alone in another one."""
    study = dataclasses.replace(four[0], grid=YAML)
    page = report.write(study, tmp_path_factory.mktemp("whole")).page
    return page.parent, Path(shutil.copy(page, tmp_path_factory.mktemp("alone") / "sent.html"))


def saved(opened: Any, link: Any) -> bytes:
    with opened.page.expect_download() as waiting:
        link.click()
    return Path(waiting.value.path()).read_bytes()


def test_every_link_leads_into_the_page_or_is_a_file_of_its_own(visit: Visit, sent: tuple[Path, Path]) -> None:
    opened = visit(sent[1])
    links = opened.page.locator("a").evaluate_all("some => some.map(a => a.getAttribute('href'))")
    assert {link.partition(":")[0] if not link.startswith("#") else "#" for link in links} == {"#", "data"}
    ids = set(opened.page.locator("[id]").evaluate_all("some => some.map(one => one.id)"))
    assert {link[1:] for link in links if link.startswith("#")} <= ids


def test_grid_and_figures_are_saved_from_the_page(visit: Visit, sent: tuple[Path, Path], tmp_path: Path) -> None:
    folder, page = sent
    opened = visit(page)
    grid = opened.page.locator("#grid .files")
    assert saved(opened, grid.get_by_text("Download")).decode() == YAML
    assert opened.page.locator("#grid pre").text_content() == YAML
    assert opened.page.evaluate("window.planted") is None
    figure = opened.page.locator(".chart[data-name=memorization-against-frechet]")
    table = saved(opened, figure.get_by_text("CSV"))
    assert table == (folder / "figures/memorization-against-frechet.csv").read_bytes()
    vector = saved(opened, figure.get_by_text("SVG"))
    assert b"var(--" not in vector
    assert vector.count(b"<path") == (folder / "figures/memorization-against-frechet.svg").read_bytes().count(b"<path")
    assert saved(opened, figure.get_by_text("PNG")).startswith(b"\x89PNG")
    assert opened.errors == []


def test_the_curves_are_saved_and_their_command_follows_the_choice(
    visit: Visit, sent: tuple[Path, Path], tmp_path: Path
) -> None:
    opened = visit(sent[1])
    opened.choose("y", "train_pref_excess")
    opened.choose("colour", "model.width")
    words = opened.page.locator("#command-words").inner_text()
    assert words == "difgen report runs/ --grid size --x fd_test --y train_pref_excess --by model.width"
    opened.page.evaluate("document.execCommand = undefined")  # not the old way, where the clipboard can be written
    command = opened.page.locator("#command")
    (tmp_path / "curves.csv").write_bytes(saved(opened, command.get_by_text("CSV")))
    table = pd.read_csv(tmp_path / "curves.csv")
    groups = opened.page.evaluate("Curves.groups().map(group => [group.x.mean, group.y.mean])")
    assert table[["fd_test", "train_pref_excess"]].to_numpy().tolist() == groups
    drawing = saved(opened, command.get_by_text("SVG")).decode()
    assert drawing.count("<svg") == 1 + opened.page.locator(".panel").count()
    assert saved(opened, command.get_by_text("PNG")).startswith(b"\x89PNG")
    assert opened.errors == []


def test_the_address_keeps_what_the_table_shows(visit: Visit, sent: tuple[Path, Path]) -> None:
    opened = visit(sent[1])
    opened.page.locator("#table-search").fill("model")
    opened.page.get_by_label("Filter mem_frac", exact=True).fill("> 0.2")
    opened.page.locator("#table th", has_text="fd_test").locator("button").click()
    opened.page.locator("#table th", has_text="fd_test").locator("button").click()
    opened.until("location.hash.includes('sort=-fd_test') && location.hash.includes('filter.mem_frac')")
    cells = "[...document.querySelectorAll('#table-rows .place')].map(one => one.textContent)"
    again = visit(sent[1], hash=f"#{opened.page.url.partition('#')[2]}")
    assert again.page.evaluate(cells) == opened.page.evaluate(cells) != []
    assert again.page.get_by_label("Filter mem_frac", exact=True).input_value() == "> 0.2"


def test_the_search_finds_a_cell_by_its_key(visit: Visit, sent: tuple[Path, Path], four: tuple[Study, Path]) -> None:
    key = four[0].rows["cell"].iloc[17]
    opened = visit(sent[1], hash=f"#?search={key}")
    assert opened.page.locator("#table-told").inner_text().startswith("1 of ")
