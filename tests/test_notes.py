"""Notes and tags of grids: kept beside the plan, shown wherever the grid is, and part of no key."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from difgen_cli.cli import app
from difgen_cli.engine import select
from difgen_cli.engine.store import Store, StoreError, notes
from difgen_cli.engine.store.notes import Annotation
from difgen_cli.report.page import head
from difgen_cli.report.study import loading
from difgen_cli.sweep import prepare, record

ONE = """\
# Is one cell enough?
base:
  data:   {name: digits, held_out: 900, size: 8}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 4}
  sample: {name: euler, steps: 2, count: 8}
  score:  [memorization]
seeds: 1
"""
MARKED = "[bold]lr[/bold] <b>bug</b> & fixed"


def _difgen(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def _files(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def recorded(tmp_path: Path, write_grid: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Store:
    """A run directory with the plans of `old`, twice, and of the newer `new`; nothing was run."""
    monkeypatch.chdir(tmp_path)
    texts = {"old": [ONE, ONE.replace("width: 8", "width: 12")], "new": [ONE.replace("width: 8", "width: 16")]}
    for age, (name, text) in enumerate((name, text) for name, some in texts.items() for text in some):
        planned = prepare(write_grid(text, f"{name}.yaml"), tmp_path / "runs", {})
        record(planned)
        moment = 1_700_000_000 + 86_400 * age
        os.utime(planned.folder / "plan.parquet", (moment, moment))
    return Store(tmp_path / "runs")


def test_notes_add_up_and_tags_are_those_that_were_not_removed_since(tmp_path: Path) -> None:
    assert notes.read(tmp_path) == notes.Notes()
    assert notes.read(tmp_path).sentences == []
    for one in (
        Annotation("first", ("v2", "paper")),
        Annotation(),
        Annotation("", ("draft",), ("v2",)),
        Annotation("second", ("v2",), ("draft",)),
    ):
        notes.add(tmp_path, one)
    read = notes.read(tmp_path)
    day = read.annotations[0].written[:10]
    assert read.tags == ["paper", "v2"]
    assert read.sentences == ["Tags: paper, v2.", f"Note of {day}: first", f"Note of {day}: second"]
    assert sorted(os.listdir(tmp_path / "notes")) == ["1.json", "2.json", "3.json"], "an empty one is not kept"


def test_notes_that_several_write_at_once_are_all_kept(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: notes.add(tmp_path, Annotation(f"note {number}")), range(24)))
    assert sorted(one.note for one in notes.read(tmp_path).annotations) == sorted(f"note {n}" for n in range(24))


@pytest.mark.parametrize(
    "content",
    [
        '{"schema": 1, "note": "\\u001b[31mred", "tags": [], "removed": [], "written": "2026-11-30T00:00:00+00:00"}',
        '{"schema": 1, "note": "a\\u202eb", "tags": [], "removed": [], "written": "2026-11-30T00:00:00+00:00"}',
        '{"schema": 1, "note": "a", "tags": ["<b>"], "removed": [], "written": "2026-11-30T00:00:00+00:00"}',
        '{"schema": 1, "note": "a", "tags": [3], "removed": [], "written": "2026-11-30T00:00:00+00:00"}',
        '{"schema": 1, "note": "a", "tags": [], "removed": [], "written": "\\u001b[31m2026-11-30"}',
        '{"schema": 1, "note": "a", "tags": [], "written": "2026-11-30T00:00:00+00:00"}',
        '{"schema": 1, "note": ' + json.dumps("a" * 501) + ', "tags": [], "removed": [], "written": "2026-11-30"}',
        '["note"]',
        '{"schema": 1, "note": "cut sho',
    ],
)
def test_a_file_that_difgen_could_not_have_written_is_no_note(content: str, tmp_path: Path) -> None:
    notes.add(tmp_path, Annotation("a" * 500, ("v2",)))
    (tmp_path / "notes" / "2.json").write_text(content, encoding="utf-8")
    assert [one.note for one in notes.read(tmp_path).annotations] == ["a" * 500]


def test_a_note_of_a_newer_difgen_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "1.json").write_text('{"schema": 2, "note": "a"}', encoding="utf-8")
    with pytest.raises(StoreError, match="newer difgen"):
        notes.read(tmp_path)


def test_a_note_changes_no_other_file_and_makes_no_grid_newer(recorded: Store) -> None:
    before, order = _files(recorded.root), recorded.grids()
    oldest = order[0]
    run = _difgen("note", oldest.name, "of the first", "--tag", "paper")
    assert run.exit_code == 0, run.output
    after = _files(recorded.root)
    assert {path: file for path, file in after.items() if "notes" not in path.parts} == before
    assert recorded.grids() == order
    assert select.folder_of(recorded, None) == order[-1]
    assert select.folder_of(recorded, "old") == order[1] != oldest
    assert [notes.read(folder).tags for folder in order] == [["paper"], [], []]


def test_a_name_means_the_newest_grid_that_has_it(recorded: Store) -> None:
    assert _difgen("note", "old", "of the second").exit_code == 0
    assert [len(notes.read(folder).annotations) for folder in recorded.grids()] == [0, 1, 0]


def test_status_shows_notes_as_they_are_and_nothing_of_grids_without(recorded: Store) -> None:
    old, second, new = recorded.grids()
    assert "Note" not in _difgen("status").output
    assert _difgen("status").output.startswith("3 trajectories"), "as before there were notes"
    notes.add(old, Annotation(MARKED, ("paper", "v2")))
    notes.add(new, Annotation(tags=("paper",)))
    day = notes.read(old).annotations[0].written[:10]
    lines = _difgen("status").output.splitlines()
    assert lines[:3] == ["old: Tags: paper, v2.", f"old: Note of {day}: {MARKED}", "new: Tags: paper."]
    grids = json.loads(_difgen("status", "--json").output)["grids"]
    written = notes.read(old).annotations[0].written
    assert grids[0] == {
        "grid": "old", "folder": old.name, "planned": "2023-11-14T22:13:20+00:00", "cells": 1,
        "tags": ["paper", "v2"], "notes": [{"written": written, "note": MARKED}],
    }  # fmt: skip
    assert [(one["folder"], one["tags"], one["notes"]) for one in grids[1:]] == [
        (second.name, [], []), (new.name, ["paper"], []),
    ]  # fmt: skip


def test_status_lists_grids_and_keeps_those_with_a_tag(recorded: Store) -> None:
    old, second, new = recorded.grids()
    notes.add(second, Annotation("two", ("v2",)))
    listed = [line.split() for line in _difgen("status", "--grids").output.splitlines()]
    assert listed == [
        ["grid", "planned", "cells", "tags", "last", "note"],
        [old.name, "2023-11-14", "1"],
        [second.name, "2023-11-15", "1", "v2", "two"],
        [new.name, "2023-11-16", "1"],
    ]
    every = json.loads(_difgen("status", "--json").output)
    tagged = json.loads(_difgen("status", "--json", "--tag", "v2").output)
    assert [one["folder"] for one in tagged["grids"]] == [second.name]
    assert len(every["trajectories"]) == 3
    assert [line["key"] for line in tagged["trajectories"]] == [
        cell.trajectory for cell in select.find(recorded, [], second.name)
    ]
    assert [one["folder"] for one in json.loads(_difgen("status", "--json", "--grid", "new").output)["grids"]] == [
        new.name
    ]


def test_the_head_of_a_page_shows_notes_as_text(recorded: Store) -> None:
    folder = select.folder_of(recorded, "new")
    (without,) = loading.gather(recorded, "new")
    assert "Note of" not in head.header(without, without.curves, [])
    notes.add(folder, Annotation(MARKED, ("paper",)))
    (study,) = loading.gather(recorded, "new")
    shown = head.header(study, study.curves, [])
    assert '<p class="note">Tags: paper.</p>' in shown
    assert "[bold]lr[/bold] &lt;b&gt;bug&lt;/b&gt; &amp; fixed</p>" in shown
    assert "<b>bug" not in shown
    assert "paper" in str(study.content), "a page that was drawn before the note is drawn again"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--note", "a\x1b[31mb"], "a note with the character U+001B: write one line of text that can be printed"),
        (["--note", "two\nlines"], "a note with the character U+000A"),
        (["--note", "a\u202eb"], "a note with the character U+202E"),
        (["--note", "a" * 501], "a note of 501 characters: write at most 500"),
        (["--tag", "two words"], "'two words' is no tag: write one word of at most 40 letters"),
        (["--tag", "a" * 41], "is no tag"),
        (["--tag", "-v"], "is no tag"),
        (["--tag", ""], "is no tag"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_written(
    arguments: list[str], reason: str, recorded: Store
) -> None:
    before = _files(recorded.root)
    for command in (["sweep", "new.yaml", *arguments], ["note", "new", *[a for a in arguments if a != "--note"]]):
        run = _difgen(*command)
        assert run.exit_code == 2
        assert reason in run.output
        assert "\x1b" not in run.output
    assert _files(recorded.root) == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["note", "new"], "note new: write a note, or name a tag with --tag or --untag"),
        (["note", "neww", "a"], "--grid neww: no such grid was swept into"),
        (["note", "new", "--untag", "v3"], "has no such tag (it has none)"),
        (["status", "--tag", "v3"], "--tag v3: no grid has this tag (none has any)"),
        (["note", "new", "a", "--runs", "nowhere"], "nowhere: no run directory"),
    ],
)
def test_notes_of_nothing_are_refused(arguments: list[str], reason: str, recorded: Store) -> None:
    run = _difgen(*arguments)
    assert run.exit_code == 2
    assert reason in run.output


def test_a_sweep_keeps_its_note_also_where_nothing_is_left_to_do(
    tmp_path: Path, write_grid: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_grid(ONE, "one.yaml")
    sweep = ["sweep", "one.yaml", "--cluster", "inline"]
    assert _difgen(*sweep, "--note", "planned", "--dry-run").exit_code == 0
    assert not (tmp_path / "runs").exists()
    assert _difgen(*sweep, "--note", "lr bug fixed", "--tag", "paper", "--tag", "v2").exit_code == 0
    (folder,) = Store(tmp_path / "runs").grids()
    assert [(one.note, one.tags) for one in notes.read(folder).annotations] == [("lr bug fixed", ("paper", "v2"))]
    again = _difgen(*sweep, "--note", "seen", "--tag", "v2")
    assert "nothing to do: every cell is done" in again.output
    assert [one.note for one in notes.read(folder).annotations] == ["lr bug fixed", "seen"]
    assert notes.read(folder).tags == ["paper", "v2"]
    assert len(Store(tmp_path / "runs").grids()) == 1, "a note is part of no key"
