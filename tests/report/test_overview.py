"""One page over several grids, and a page that opens itself."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

import pytest
import synthetic

from difgen_cli import report
from difgen_cli.cli import browser
from difgen_cli.report import overview

EVIL = '<script>alert("x")</script>'


def test_each_grid_has_its_line_with_finding_counts_date_link_and_picture(tmp_path: Path) -> None:
    one = synthetic.study({"data.size": [32, 128]}, seeds=2, failed=[0], name="first", question=EVIL)
    two = synthetic.study({"data.size": [32, 512]}, seeds=2, name="second")
    written = [(study, report.write(study, tmp_path / study.name)) for study in (one, two)]
    page = overview.write(written, tmp_path).read_text(encoding="utf-8")
    assert page.count("<tr>") == 1 + 2
    for study, line in zip((one, two), page.split("<tr>")[2:], strict=True):
        assert f'href="{study.name}/report.html"' in line
        assert (tmp_path / study.name / "report.html").exists()
        assert line.count("data:image/png;base64,") == 1
        assert report.sentences(study)
        assert escape(report.sentences(study)[0]) in line
    assert "3 done, 1 failed" in page
    assert "4 done" in page
    assert EVIL not in page
    assert "script-src 'none'" in page


@pytest.mark.parametrize("remote", [False, True])
def test_without_a_screen_it_says_where_the_page_is(remote: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    if remote:
        monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 5000 10.0.0.2 22")
    sentence = browser.show(Path("report/report.html"))
    assert ("remote shell" in sentence) == remote
    assert "report/report.html" in sentence


def test_the_page_is_opened_by_the_browser_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, seen = tmp_path / "browser.sh", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > "{seen}.part" && mv "{seen}.part" "{seen}"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr("webbrowser._tryorder", None)  # it reads BROWSER once
    monkeypatch.setenv("BROWSER", f"{program} %s")
    page = tmp_path / "a page.html"
    assert browser.show(page) == ""
    assert seen.read_text(encoding="utf-8") == page.as_uri()


def test_a_browser_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser._tryorder", None)
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setenv("BROWSER", "/nowhere/browser %s")
    assert "no browser was found" in browser.show(Path("report.html"))
