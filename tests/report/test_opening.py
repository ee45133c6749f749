"""How a report opens: what was found stands before everything else, on the terminal, in a pipe and on the page."""

from __future__ import annotations

import dataclasses
import html
import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from test_first_findings import SIZES, planted, sets_in

from difgen_cli import report
from difgen_cli.report import Study, findings, page


@pytest.fixture(scope="module")
def study() -> Study:
    return planted({**SIZES, "model.width": [64, 256]}, sets_in)


def printed(study: Study, *, first: int | None = None, width: int = 200, terminal: bool = False) -> str:
    file = io.StringIO()
    report.show(study, Console(file=file, width=width, force_terminal=terminal), first=first)
    return file.getvalue()


def test_a_pipe_gets_one_line_a_sentence_without_colours_and_the_first_ones_above_the_table(study: Study) -> None:
    lines = printed(study, width=60).splitlines()
    written = report.sentences(study)
    assert len(written) >= 5
    assert lines[: len(written[: findings.FIRST])] == written[: findings.FIRST]
    assert "\x1b" not in "".join(lines)


def test_sentences_beyond_the_first_stand_below_the_table(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "FIRST", 2)
    text, written = printed(study), report.sentences(study)
    table = text.index("┏")
    assert [text.index(sentence) < table for sentence in written] == [True, True, *[False] * (len(written) - 2)]


def test_the_end_of_a_sweep_has_the_first_three(study: Study) -> None:
    text, written = printed(study, first=3), report.sentences(study)
    assert [sentence in text for sentence in written] == [True] * 3 + [False] * (len(written) - 3)
    assert "36 of 36" not in text
    assert "72 of 72 cells done" in text


def test_a_terminal_of_60_columns_breaks_between_words(study: Study) -> None:
    text = printed(study, width=60, terminal=True)
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    before = plain[: plain.index("┏")].rstrip().rpartition("planted")[0]
    assert max(map(len, before.splitlines())) <= 60
    lines = [" ".join(sentence.split()) for sentence in before.split("• ")[1:]]
    assert lines == report.sentences(study)[: findings.FIRST]


def test_a_page_opens_with_the_findings(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from difgen_cli.report.page import opening

    monkeypatch.setattr(opening, "FIRST", 2)
    text, written = page.compose(study, []), report.sentences(study)
    section = re.search(r'<section class="findings".*?</section>', text, flags=re.DOTALL)
    assert section
    assert text.index("<h1>") < section.start() < text.index('class="counts"') < text.index('id="curves"')
    shown, _, further = section[0].partition("<details>")
    for part, sentences in ((shown, written[:2]), (further, written[2:])):
        assert re.findall(r"<li>(.*?)</li>", part) == [html.escape(sentence) for sentence in sentences]


@pytest.mark.parametrize("state", ["failed", "missing"])
def test_a_study_without_a_finished_cell_says_only_that(study: Study, state: str, tmp_path: Path) -> None:
    empty = {name: None for name in study.rows if name.startswith("mem_")}
    rows = study.rows.assign(state=state, cause="out of memory" if state == "failed" else None, **empty)
    nothing = dataclasses.replace(study, rows=rows)
    again = "sweep again with --retry failed" if state == "failed" else "run the sweep again"
    assert report.sentences(nothing) == [f"It is not known (1) what the {state} cells show: 72 of 72 cells; {again}."]
    assert "0 of 72 cells done" in printed(nothing, first=3)
    assert report.write(nothing, tmp_path).page.exists()
