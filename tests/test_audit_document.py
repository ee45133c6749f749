"""docs/audit.md is true: its audits print what it shows, of models that were trained for them, and are right."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import models_of_others as others
import numpy as np
import pandas as pd
import pytest
from markdown import blocks
from PIL import Image

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
SESSIONS = blocks(DOCUMENT, "console")
(CODE,), (DESCRIBED,) = blocks(DOCUMENT, "python"), blocks(DOCUMENT, "json")
COPY, TELL, WHICH, LEAST, GENERAL, BEGIN, USED = (
    "Does it copy?", "Can one tell who was in?", "Which images?", "How much at least?", "Does it generalise?",
    "When did it begin?", "Was set X used?",
)  # fmt: skip

pytestmark = pytest.mark.long  # three models are trained and audited


def masked(text: str) -> str:
    """Words alone: numbers and the beginnings of hashes differ between machines, and lines are broken elsewhere."""
    text = re.sub(r"\b[0-9a-f]{12}\b", "#", text)
    return " ".join(re.sub(r"[−-]?\d[\d.,]*", "#", text).split())


def audited(folder: Path, session: str, difgen_in: Run) -> dict[str, dict[str, str]]:
    """Run a command of the document in a folder; its output must hold what is shown, in that order. The answers."""
    line, shown = session.split("\n", 1)
    command = shlex.split(line.removeprefix("$ difgen "))
    run = difgen_in(folder, *command)
    assert run.returncode == 0, run.stderr
    place, printed = 0, masked(run.stdout)
    for piece in filter(None, map(masked, shown.split("…"))):
        at = printed.find(piece, place)
        assert at >= 0, f"{piece}\nis not in\n{printed[place:]}"
        place = at + len(piece)
    again = difgen_in(folder, *command, "--json")
    assert "done" not in again.stderr
    return {one["question"]: one for one in json.loads(again.stdout)["answers"]}


def states(answers: dict[str, dict[str, str]]) -> dict[str, str]:
    return {question: one["state"] for question, one in answers.items()}


def test_images_that_stand_many_times_are_copied_by_a_model_in_the_layout_of_diffusers(
    tmp_path: Path, difgen_in: Run
) -> None:
    others.repeats_of_diffusers(tmp_path)
    answers = audited(tmp_path, SESSIONS[0], difgen_in)
    assert states(answers)[COPY] == states(answers)[WHICH] == states(answers)[BEGIN] == "yes"
    assert states(answers)[GENERAL] == "not_shown"
    copied = pd.read_csv(tmp_path / "report" / "out-checkpoint-step" / "copied.csv")
    often = copied[copied["times"] > 1]
    assert set(often["times"]) == {others.TIMES}
    assert often["samples"].sum() > copied["samples"].sum() / 2


def test_a_pickle_in_the_format_of_edm_that_saw_many_images_few_times_generalises(
    tmp_path: Path, difgen_in: Run
) -> None:
    others.general_of_edm(tmp_path)
    answers = audited(tmp_path, SESSIONS[1], difgen_in)
    assert BEGIN not in answers
    open_ = dict.fromkeys((COPY, TELL, WHICH), "not_shown")
    assert states(answers) == open_ | {LEAST: "cannot_be_told", GENERAL: "yes", USED: "not_asked"}


def test_a_module_of_its_author_that_learnt_few_images_by_heart_copies_them(tmp_path: Path, difgen_in: Run) -> None:
    assert json.loads(DESCRIBED) == others.DESCRIBED
    others.few_of_a_module(tmp_path, CODE)
    answers = audited(tmp_path, SESSIONS[2], difgen_in)
    copier = dict.fromkeys((COPY, TELL, WHICH), "yes")
    assert states(answers) == copier | {LEAST: "cannot_be_told", GENERAL: "not_shown", USED: "not_asked"}
    assert "None of them stands twice or more" in answers[WHICH]["text"]


def test_a_photographer_shows_that_what_she_published_was_used(tmp_path: Path, difgen_in: Run) -> None:
    """By twins that coins chose before anything was published; a model that saw none of them knows none better."""
    images, _ = others.shuffled()
    others.save(tmp_path / "pictures", images[100:148])
    line, shown = SESSIONS[3].split("\n", 1)
    run = difgen_in(tmp_path, *shlex.split(line.removeprefix("$ difgen ")))
    assert (run.returncode, run.stdout) == (0, shown)
    published = sorted((tmp_path / "my_claim" / "published").iterdir())
    seen = np.stack([np.asarray(Image.open(path)) for path in published])
    others.few_of_a_module(tmp_path, CODE, 700, np.concatenate([seen, images[:28]]))
    answers = audited(tmp_path, SESSIONS[4], difgen_in)
    assert answers["Was my_claim used?"]["state"] == "yes"
    assert states(answers)[COPY] == "cannot_be_told"
