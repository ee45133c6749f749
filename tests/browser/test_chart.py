"""The curves in a browser: what is hovered, clicked, slid and chosen is what is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from difgen_cli.report import Study
from difgen_cli.report.page import compose
from difgen_cli.report.plotting import labels
from difgen_cli.report.study import curves

Visit = Callable[..., Any]
Four = tuple[Study, Path]

# where the marks of a panel stand on the screen, with the settings of each
MARKS = """(panel) => {
  document.querySelectorAll(".panel")[panel].scrollIntoView({ block: "center", behavior: "instant" });
  const host = document.querySelectorAll(".panel")[panel].getBoundingClientRect();
  return Curves.marks()[panel].map(({ group, at }) => ({
    rows: group.rows, x: host.left + at[0], y: host.top + at[1], mean: [group.x.mean, group.y.mean],
  }));
}"""


def marks(opened: Any, panel: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = opened.page.evaluate(MARKS, panel)
    return found


def slide(opened: Any, step: int) -> None:
    opened.page.locator("#step").fill(str(step))


def test_the_page_opens_from_a_file_and_asks_nothing_of_any_host(visit: Visit, four: Four) -> None:
    opened = visit(four[1])
    opened.page.mouse.wheel(0, 20_000)
    opened.page.wait_for_timeout(300)
    foreign = [url for url in opened.requests if not url.startswith(("file://", "data:", "blob:"))]
    assert foreign == []
    assert [url for url in opened.requests if url.startswith("file://")] == [four[1].as_uri()]
    assert opened.errors == []


def test_a_script_that_is_not_the_pages_own_does_not_run(visit: Visit, four: Four, tmp_path: Path) -> None:
    text = four[1].read_text(encoding="utf-8")
    changed = tmp_path / "report.html"
    changed.write_text(text.replace("<main>", "<main><script>document.title = 'planted'</script>"), encoding="utf-8")
    opened = visit(changed)
    assert opened.page.title() != "planted"
    assert any("Content Security Policy" in error for error in opened.errors)


def test_hovering_a_mark_tells_its_settings_and_its_mean_over_seeds(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    mark = marks(opened)[0]
    opened.page.mouse.move(mark["x"], mark["y"])
    told = opened.page.locator("#tooltip").inner_text()
    rows = study.rows.iloc[mark["rows"]]
    assert f"N = {rows['data.size'].iloc[0]}" in told
    assert f"width {rows['model.width'].iloc[0]}" in told
    assert labels.number(rows["mem_frac"].mean()) in told
    assert labels.number(float(np.exp(np.log(rows["fd_test"]).mean()))) in told
    assert "over 3 seeds" in told
    opened.page.mouse.move(2, 2)
    assert opened.page.locator("#tooltip").is_hidden()


def test_clicking_a_mark_pins_its_cell_with_settings_metrics_and_pictures(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    pictured = set(opened.page.evaluate("Object.keys(Data.pictures)"))
    mark = next(m for m in marks(opened) if study.rows["cell"].iloc[m["rows"][0]] in pictured)
    opened.page.mouse.click(mark["x"], mark["y"])
    row = study.rows.iloc[mark["rows"][0]]
    pinned = opened.page.locator("#cell")
    assert opened.state()["cell"] == row["cell"]
    assert row["cell"] in pinned.inner_text()
    low, high = (labels.number(row[f"mem_frac_{end}"]) for end in ("lo", "hi"))
    expected = f"{labels.number(row['mem_frac'])} [{low}, {high}]"
    assert pinned.locator("[data-metric=mem_frac]").inner_text() == expected
    assert f"data.size\n{row['data.size']}".replace("\n", "") in pinned.text_content()
    assert pinned.locator("img").count() == 16
    pinned.get_by_role("button", name="seed 2").click()
    other = study.rows[study.rows["cell"] == opened.state()["cell"]].iloc[0]
    assert other["seed"] == 2
    assert (other[list(study.axes)] == row[list(study.axes)]).all()
    pinned.get_by_role("button", name="Unpin").click()
    assert opened.state()["cell"] == ""


def test_the_slider_moves_every_trajectory_to_its_step_at_once(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    for place, step in enumerate(study.axes["train.steps"]):
        slide(opened, place)
        assert opened.page.locator("#step").get_attribute("aria-valuetext") == f"step {step}"
        rows = [row for panel in range(4) for mark in marks(opened, panel) for row in mark["rows"]]
        shown = study.rows.iloc[rows]
        done = study.rows[(study.rows["kind"] == "model") & (study.rows["state"] == "done")]
        assert set(shown["cell"]) == set(done.loc[done["step"] == step, "cell"])


def test_along_a_setting_the_slider_chooses_the_snapshot_of_the_lines(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    opened.choose("x", "data.size")
    slide(opened, 0)
    for mark in marks(opened):
        assert set(study.rows.iloc[mark["rows"]]["step"]) == {250}
        assert mark["mean"][0] == study.rows.iloc[mark["rows"][0]]["data.size"]


@pytest.mark.parametrize(("across", "panels"), [("data.size", 3), ("", 1), ("seed", 3), ("train.steps", 3)])
def test_facets_are_the_levels_of_the_chosen_column(visit: Visit, four: Four, across: str, panels: int) -> None:
    opened = visit(four[1], hash="#?across=model.width&down=&colour=condition.clusters")
    opened.choose("across", across)
    assert opened.page.locator(".panel").count() == panels
    titles = opened.page.locator(".facet h3").all_inner_texts()
    assert len(set(titles)) == len(titles) == (panels if across else 0)
    assert opened.page.locator("#slider").is_hidden() == (across == "train.steps")
    assert opened.errors == []


def test_a_combination_that_a_grid_skips_has_no_panel(visit: Visit, four: Four, tmp_path: Path) -> None:
    study, _ = four
    skipped = (study.rows["data.size"] == 512) & (study.rows["model.width"] == 64) & (study.rows["kind"] == "model")
    ragged = replace(study, rows=study.rows[~skipped].reset_index(drop=True))
    page = tmp_path / "report.html"
    page.write_text(compose(ragged, []), encoding="utf-8")  # without figures, which are tested alone
    opened = visit(page, hash="#?across=data.size&down=model.width")
    titles = opened.page.locator(".facet h3").all_inner_texts()
    assert len(titles) == len(set(titles)) == 5
    assert not any("512" in title and "64" in title for title in titles)
    assert "more panels" not in opened.page.locator("main").inner_text()


@pytest.mark.long
def test_every_column_can_be_drawn_against_every_other(visit: Visit, four: Four) -> None:
    opened = visit(four[1])
    xs = opened.page.locator("#choose-x option").evaluate_all("some => some.map(o => o.value)")
    ys = opened.page.locator("#choose-y option").evaluate_all("some => some.map(o => o.value)")
    assert {"fd_test", "mem_frac", "epochs", "data.size", "train.steps"} <= set(xs)
    for x, y in zip(xs, [*ys[1:], *ys, *ys], strict=False):
        before = opened.state()
        if before["x"] != x:
            opened.choose("x", x)
        if before["y"] != y:
            opened.choose("y", y)
        assert sum(len(marks(opened, i)) for i in range(opened.page.locator(".panel").count()))
    assert opened.errors == []


def test_logarithmic_or_linear_is_as_asked(visit: Visit, four: Four) -> None:
    opened = visit(four[1])
    one, other = marks(opened)[:2]
    ratio = (one["x"] - other["x"]) / np.log(one["mean"][0] / other["mean"][0])
    third = marks(opened)[2]
    assert third["x"] - other["x"] == pytest.approx(ratio * np.log(third["mean"][0] / other["mean"][0]), abs=1e-6)
    opened.page.locator("#choose-xlog").uncheck()
    opened.until("!document.getElementById('across').textContent.includes('log') && Curves.marks().length === 4")
    one, other, third = marks(opened)[:3]
    ratio = (one["x"] - other["x"]) / (one["mean"][0] - other["mean"][0])
    assert third["x"] - other["x"] == pytest.approx(ratio * (third["mean"][0] - other["mean"][0]), abs=1e-6)


def test_single_seeds_can_be_seen_and_pinned(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    opened.choose("seeds", "points")
    seeds = opened.page.evaluate("Curves.seeds()[0].map((group) => [group.rows[0], group.x.mean, group.y.mean])")
    done = study.rows[(study.rows["state"] == "done") & (study.rows["kind"] == "model")]
    assert len(seeds) == len(done[(done["model.width"] == 64) & (done["condition.clusters"] == 1)])
    for row, x, y in seeds:
        assert (x, y) == (study.rows["fd_test"].iloc[row], study.rows["mem_frac"].iloc[row])


def test_means_and_intervals_equal_the_ones_in_the_tables(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    read = curves.read(study)
    metrics = ["fd_test", "mem_frac", "auth_pct", "gap_max", "mem_frac_control", "n_gen"]
    expected = curves.over_seeds(read.done, read.paths, metrics, read.columns).set_index([*read.paths, "metric"])
    assert {"score over seeds", "t over seeds", ""} <= set(expected["interval"])
    for across, up in (metrics[:2], metrics[2:4], metrics[4:]):
        groups = opened.page.evaluate(
            f"Groups.over('{across}', '{up}', false, {{}}).map(({{rows, x, y}}) => ({{row: rows[0], x, y}}))"
        )
        assert len(groups) * len(metrics) == len(expected)
        for group in groups:
            place = tuple(str(study.rows[path].iloc[group["row"]]) for path in read.paths)
            for metric, found in ((across, group["x"]), (up, group["y"])):
                line = expected.loc[(*place, metric)]
                assert found["n"] == line["n"]
                got = [found["mean"], found["lo"], found["hi"]]  # a number that is not there comes as None or NaN
                np.testing.assert_allclose(np.array(got, float), line[["mean", "lo", "hi"]].to_numpy(float), rtol=1e-9)
    assert opened.page.evaluate("Data.t[3]") == pytest.approx(t.ppf(0.975, 2))


def test_the_keyboard_goes_from_point_to_point_and_pins(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    opened.page.locator(".panel").nth(1).focus()
    opened.page.keyboard.press("ArrowRight")
    first = opened.page.locator("#spoken").text_content()
    opened.page.keyboard.press("ArrowRight")
    second = opened.page.locator("#spoken").text_content()
    assert "steps 250" in first
    assert "steps 1000" in second
    opened.page.keyboard.press("Enter")
    assert study.rows.set_index("cell").loc[opened.state()["cell"], "step"] == 1000


def test_the_legend_hides_and_shows_a_level(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    button = opened.page.locator("#legend button", has_text="128")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    sizes = {study.rows["data.size"].iloc[mark["rows"][0]] for mark in marks(opened)}
    assert sizes == {32, 512}
    button.click()
    assert len(marks(opened)) == 3


def test_a_part_of_the_grid_can_be_shown_alone(visit: Visit, four: Four) -> None:
    study, path = four
    opened = visit(path)
    opened.page.locator("#controls summary").click()
    opened.choose("only-data.size", "128")
    for panel in range(4):
        assert {study.rows["data.size"].iloc[m["rows"][0]] for m in marks(opened, panel)} == {128}


def test_a_link_shows_what_was_chosen_and_one_of_another_study_does_no_harm(visit: Visit, four: Four) -> None:
    opened = visit(four[1])
    opened.choose("x", "data.size")
    slide(opened, 1)
    opened.until("location.hash.includes('step=1000')")
    link = opened.page.url.partition("#")[2]
    again = visit(four[1], hash=f"#{link}")
    assert again.state() == opened.state()
    other = visit(four[1], hash="#?x=nothing&step=7&cell=<b>&only.nothing=1&colour=model.depth")
    assert other.errors == []
    assert other.state()["x"] == "fd_test"


def test_on_a_telephone_a_tap_pins_a_drag_scrolls_and_the_cell_is_a_tap_away(visit: Visit, four: Four) -> None:
    opened = visit(four[1], wide=390, has_touch=True, is_mobile=True)
    mark = marks(opened)[0]
    opened.page.touchscreen.tap(mark["x"], mark["y"])
    assert opened.state()["cell"] == four[0].rows["cell"].iloc[mark["rows"][0]]
    events = "document.querySelector('.plot > *').shadowRoot.querySelector('.bk-Canvas').shadowRoot"
    assert opened.page.evaluate(f"getComputedStyle({events}.querySelector('.bk-events')).touchAction") == "auto"
    opened.page.locator("#pinned").click()
    opened.until("document.getElementById('cell').getBoundingClientRect().top < innerHeight")


def test_a_drag_zooms_all_panels_alike_and_reset_takes_it_back(visit: Visit, four: Four) -> None:
    opened = visit(four[1])
    before = marks(opened, 1)
    box = opened.page.locator(".panel").first.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 40)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 180, steps=5)
    opened.page.mouse.up()
    opened.until(f"Math.abs(Curves.marks()[1][0].at[0] + {box['x']} - {before[0]['x']}) > 5")
    assert opened.state()["cell"] == ""
    zoomed = [(mark["x"], mark["y"]) for mark in marks(opened, 1)]
    opened.page.get_by_role("button", name="Reset").click()
    opened.until("Curves.marks().length === 4")
    assert [(mark["x"], mark["y"]) for mark in marks(opened, 1)] == [(m["x"], m["y"]) for m in before]
    assert zoomed != [(m["x"], m["y"]) for m in before]
