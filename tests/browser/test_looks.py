"""How the page looks and whom it leaves out: screenshots for people to look at, and an audit of its accessibility."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from difgen_cli.report import Study

SCREENSHOTS = Path(os.environ.get("DIFGEN_SCREENSHOTS", Path(__file__).parents[2] / "build" / "screenshots"))
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
SERIOUS = ("serious", "critical")


def audited(page: Any) -> list[str]:
    """The serious and critical violations that axe-core finds."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:120]} {node['failureSummary']}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"][:3]
    ]


@pytest.mark.long
@pytest.mark.parametrize("wide", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_page_is_accessible_and_has_its_picture_taken(
    visit: Callable[..., Any], four: tuple[Study, Path], wide: int, scheme: str
) -> None:
    opened = visit(four[1], wide=wide, scheme=scheme)
    page = opened.page
    page.evaluate("State.set({cell: Object.keys(Data.pictures)[0]})")
    page.add_style_tag(content=".chart { content-visibility: visible !important; }")  # else what is not seen is blank
    page.evaluate("for (const one of document.images) one.loading = 'eager'")
    page.wait_for_timeout(500)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"report-{wide}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= wide
    assert audited(page) == []
    assert opened.errors == []


def test_the_audit_sees_a_picture_without_a_text_and_pale_letters(
    visit: Callable[..., Any], four: tuple[Study, Path]
) -> None:
    opened = visit(four[1])
    planted = "Dom.make('img', {src: 'data:,'}), Dom.make('p', {style: 'color: #ccc'}, 'pale letters')"
    opened.page.evaluate(f"document.querySelector('main').append({planted})")
    assert {one.partition(" ")[0] for one in audited(opened.page)} == {"image-alt", "color-contrast"}


def test_everything_opened_is_accessible_too(visit: Callable[..., Any], four: tuple[Study, Path]) -> None:
    opened = visit(four[1])
    opened.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    opened.choose("seeds", "points")
    opened.page.locator(".panel").first.focus()
    opened.page.keyboard.press("ArrowRight")
    assert audited(opened.page) == []


def test_every_control_is_reached_with_the_keyboard_and_is_seen_to_be(
    visit: Callable[..., Any], four: tuple[Study, Path]
) -> None:
    opened = visit(four[1])
    reached = set()
    for _ in range(70):
        opened.page.keyboard.press("Tab")
        reached.add(opened.page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"theme", "choose-x", "choose-y", "choose-colour", "choose-across", "step", "panel", "gallery-of"} <= reached
    opened.page.locator("#choose-x").focus()
    assert opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_the_button_changes_between_light_and_dark_and_the_curves_follow(
    visit: Callable[..., Any], four: tuple[Study, Path]
) -> None:
    opened = visit(four[1])
    paper = "getComputedStyle(document.body).backgroundColor"
    assert opened.page.evaluate(paper) == "rgb(255, 255, 255)"
    light = opened.page.locator("#legend button svg *").first.get_attribute("stroke")
    opened.page.locator("#theme").click()
    assert opened.page.evaluate(paper) == "rgb(23, 26, 33)"
    opened.until(f"document.querySelector('#legend button svg *').getAttribute('stroke') !== '{light}'")
