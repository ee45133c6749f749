"""What `difgen explain` says is what the files say: of every setting, plug-in and column."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from difgen_cli.cli import app
from difgen_cli.engine.explain import every, explained
from difgen_cli.engine.plugins import SECTIONS, Library

MEANINGS = list(every(Library()))
SETTINGS = [one for one in MEANINGS if one.what.startswith("a setting")]


def _printed(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["explain", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def test_every_setting_has_a_text_a_type_and_a_cost() -> None:
    """Its function's docstring says what it means: a line that begins with its name and a colon."""
    assert [f"{one.name}: {one.what}" for one in SETTINGS if len(one.text) < 6 or not one.cost] == []
    assert [one.name for one in SETTINGS if "<" in one.summary or "typing" in one.summary] == []


def test_there_is_something_of_every_section() -> None:
    assert {one.name.partition(".")[0] for one in SETTINGS} >= set(SECTIONS)
    assert len(SETTINGS) > 150


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("data.size", "a whole number above 0 or null; default null"),
        ("sample.start", "noise, train or held_out; default noise"),
        ("train.flip", "true or false; default false"),
        ("data.unlearn", "a whole number or a number at least 0; default 0"),
        ("data.canaries.repeats", "a list, each a whole number above 0; default [1, 4, 16]"),
        ("train.momentum", "a number at least 0 and below 1; default 0.95"),
    ],
)
def test_types_are_in_words(name: str, summary: str) -> None:
    assert [one.summary for one in explained(name, Library())] == [summary]


def test_a_name_of_several_plugins_has_several_meanings() -> None:
    code, text = _printed("model.width")
    assert code == 0
    assert text.count("A setting of models/") == len(explained("model.width", Library())) > 3
    assert "A setting of models/mlp.py." in text


def test_a_plugin_or_a_setting_is_known_without_its_section() -> None:
    assert [one.name for one in explained("mlp", Library())] == ["model.mlp"]
    assert [one.name for one in explained("canaries", Library())] == ["score.canaries"]
    assert {one.name for one in explained("steps", Library())} >= {"train.steps", "sample.steps"}
    assert [one.name for one in explained("gap_max", Library())] == ["gap_max"], "what is called so comes first"


@pytest.mark.parametrize("name", ["base", "axes", "zip", "fork", "refine", "seeds", "include", "skip"])
def test_the_parts_of_a_grid_are_explained(name: str) -> None:
    code, text = _printed(name)
    assert code == 0
    assert text.startswith(f"{name}: a part of a grid")
    assert len(text.splitlines()) > 1


def test_steps_are_said_to_be_free_and_other_settings_not() -> None:
    assert "More steps continue the run" in _printed("train.steps")[1]
    assert "A change costs a training run." in _printed("train.batch")[1]


def test_a_column_is_explained_with_its_unit() -> None:
    code, text = _printed("mem_frac")
    assert (code, text.splitlines()[0]) == (0, "mem_frac: float64, share")
    assert "A column of metrics/memorization.py." in text


def test_a_typo_is_one_sentence() -> None:
    code, text = _printed("data.siz")
    assert code == 2
    assert text == ("explain data.siz: no section, plug-in, setting or column is called so; did you mean data.size?\n")
    assert _printed()[0] == 2


def test_a_plugin_of_a_user_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugins" / "models").mkdir(parents=True)
    (tmp_path / "plugins" / "models" / "small.py").write_text(
        '"""A small one."""\n\n\ndef build(shape, classes, *, sides: int = 3):\n    """F.\n\n    sides: how\n'
        '        many it has.\n    """\n',
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    code, text = _printed("model.sides", "--json")
    meaning = json.loads(text)["meanings"][0]
    assert (code, meaning["text"], meaning["summary"]) == (0, "how many it has.", "a whole number; default 3")
    assert "A small one." in _printed("model.small")[1]
