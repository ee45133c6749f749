"""Models that were really trained, audited as a stranger would: a copier, one that generalises, one with duplicates."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from difgen_cli.cli import app
from difgen_cli.data import digits
from difgen_cli.engine.store import Store, sample_files
from difgen_cli.report import audit
from difgen_cli.report.audit import Audited
from difgen_cli.report.findings.answers import NOT_TESTED, Answer, AuditedModel, State
from difgen_cli.report.study.calibrated import TEN

GRID = """\
# Does the model copy?
base:
  data:   {data}
  model:  {{name: mlp, width: 128}}
  train:  {{batch: 64}}
  sample: {{name: heun, steps: 12, count: 250}}
  score:  [memorization, aligned, preference, frechet, gap, membership, exposure]
axes:
  train.steps: {steps}
"""
REPEATED, TIMES, ONCE = 12, 40, 288  # images of the set with duplicates, how often they stand in it, and the others
COPY, MEMBER, WHICH, LEAST, GENERAL, BEGIN = (
    "Does it copy?", "Can one tell who was in?", "Which images?", "How much at least?", "Does it generalise?",
    "When did it begin?",
)  # fmt: skip


def with_duplicates() -> tuple[np.ndarray, np.ndarray]:
    """A training set of which 12 digits stand 40 times each, and other digits."""
    images = digits.load().images[np.random.default_rng(0).permutation(1797)]
    repeated = images[:REPEATED].repeat(TIMES, axis=0)
    return np.concatenate([repeated, images[REPEATED : REPEATED + ONCE]]), images[1000:]


def trained(folder: Path, data: str, steps: str, subject: AuditedModel) -> Audited:
    """Train, sample and score by a sweep in this process, and read the audit."""
    (folder / "audit.yaml").write_text(GRID.format(data=data, steps=steps), encoding="utf-8")
    done = CliRunner().invoke(
        app, ["sweep", str(folder / "audit.yaml"), "--cluster", "inline", "--runs", str(folder / "audits")]
    )
    assert done.exit_code == 0, done.output
    store = Store(folder / "audits")
    (grid,) = store.grids()
    return audit.gather(store, "audit", grid, subject)


@pytest.fixture(scope="module")
def copier(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """16 digits, learnt by heart; its first checkpoint draws noise."""
    subject = AuditedModel("copier", "train/", 16, held_out="test/", held_out_images=500, same_pool=True)
    data = "{name: digits, held_out: 500, size: 16}"
    return trained(tmp_path_factory.mktemp("copier"), data, "[1, 250, 1000]", subject)


@pytest.fixture(scope="module")
def generaliser(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    subject = AuditedModel("generaliser", "train/", 897, held_out="test/", held_out_images=900, same_pool=True)
    data = "{name: digits, held_out: 900, size: 897}"
    return trained(tmp_path_factory.mktemp("generaliser"), data, "[1200]", subject)


@pytest.fixture(scope="module")
def duplicates(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """300 digits of which 12 stand 40 times, and held-out digits from a file of their own."""
    folder = tmp_path_factory.mktemp("duplicates")
    for name, images in zip(("train", "test"), with_duplicates(), strict=True):
        np.savez(folder / f"{name}.npz", images=images)
    subject = AuditedModel(
        "dup", "train.npz", REPEATED * TIMES + ONCE, held_out="test.npz", held_out_images=797, same_pool=False
    )
    data = f"{{name: files, path: {folder / 'train.npz'}, held_out_path: {folder / 'test.npz'}, held_out: 797}}"
    return trained(folder, data, "[1500]", subject)


def answers(audited: Audited) -> dict[str, Answer]:
    return {answer.question: answer for answer in audited.answers}


def stored(audited: Audited) -> Store:
    """The run directory of an audit, as its command says."""
    return Store(Path(audited.study.provenance["command"].split("difgen report ")[-1].split(" --grid")[0]))


def until(audited: Audited, step: int) -> Audited:
    """The same audit with its checkpoints up to a step."""
    rows = audited.study.rows
    kept = rows[(rows["kind"] != "model") | (rows["step"] <= step)]
    return dataclasses.replace(audited, study=dataclasses.replace(audited.study, rows=kept))


# Known answers -------------------------------------------------------------------------------------------------------


def test_a_copier_copies_and_its_images_and_its_beginning_are_named(copier: Audited) -> None:
    given = answers(copier)
    assert given[COPY].state is State.YES
    assert given[COPY].lead == "Yes, mostly"
    assert re.search(r"of 250 samples \[\d+, \d+\] are copies of 16 training images; of held-out", given[COPY].text)
    assert given[MEMBER].state is State.YES
    assert given[WHICH].lead == "16 training images"
    assert "None of them stands twice or more" in given[WHICH].text
    assert given[GENERAL].state is State.NOT_SHOWN
    assert "times that on training images" in given[GENERAL].text
    assert given[BEGIN].state is State.YES
    assert re.fullmatch(r"Copies are first shown at step (250|1,000)", given[BEGIN].lead)


def test_a_model_that_generalises_is_not_said_to_copy(generaliser: Audited) -> None:
    given = answers(generaliser)
    assert list(given) == [COPY, MEMBER, WHICH, LEAST, GENERAL, "Was set X used?"]  # one checkpoint has no beginning
    assert given[COPY].state is given[WHICH].state is State.NOT_SHOWN
    assert "None of 250 samples counts as a copy: at most 3 in 250 would" in given[COPY].text
    assert re.search(r"A copy with noise of 0.1 a pixel would be seen in \d\d\.\d % of cases", given[COPY].text)
    assert given[GENERAL].state is State.YES
    assert given[MEMBER].lead in ("Yes, slightly better than by chance", "")
    assert given[MEMBER].state in (State.YES, State.NOT_SHOWN)


def test_images_that_stand_many_times_in_the_training_set_are_copied_and_said_to_stand_there(
    duplicates: Audited,
) -> None:
    """Its T has 768 images of which 300 are distinct; a rule that knows no duplicates would find nothing."""
    given = answers(duplicates)
    assert given[COPY].state is State.YES
    assert given[WHICH].state is State.YES
    assert duplicates.copied is not None
    images, (train, _) = duplicates.copied.images, with_duplicates()
    for line in images.to_dict("records"):
        assert line["times"] == (train == train[line["place"]]).all(axis=(1, 2, 3)).sum()
    assert (images["times"] > 1).mean() > 0.5
    row = duplicates.by_kind["model"]
    kinds = sum(row[f"aligned_{kind}"] for kind in ("shifted", "mirrored", "toned", "smoothed"))
    assert kinds > 0  # copies that the plain rule misses are in the list too
    assert images["samples"].sum() >= round(250 * (row["mem_frac"] + kinds))
    assert images["place"].max() > TIMES  # places are of the pool, not of the images once
    assert f"{TIMES} times in it" in given[WHICH].text
    assert "768 images, 300 distinct" in duplicates.heading
    assert given[MEMBER].state is State.YES  # the held-out images are digits too, as a classifier without it finds
    assert re.search(
        r"of cases, where chance gives 50 % and a classifier without the model \d\d\.\d %", given[MEMBER].text
    )


def test_the_copied_images_are_those_that_a_search_by_hand_finds(copier: Audited) -> None:
    """Brute force over samples and pool, both as 8-bit images: the nearest of T, and nearer than to any other by 3."""
    assert copier.copied is not None
    store, cell = stored(copier), str(copier.by_kind["model"]["cell"])
    row, images = copier.by_kind["model"], copier.copied.images
    samples, _ = sample_files.read(store.run_folder(str(row["trajectory"]), "").samples(cell))
    pool = digits.load().images[images["place"]]
    apart = np.linalg.norm(samples.reshape(250, 1, -1) - pool.reshape(1, 16, -1).astype(float), axis=2)
    nearest = np.sort(apart, axis=1)
    hits = np.flatnonzero(3 * nearest[:, 0] < nearest[:, 1])
    assert len(images) == row["mem_unique"] == 16
    assert len(hits) == round(row["mem_frac"] * 250)
    by_hand = np.bincount(apart.argmin(axis=1)[hits], minlength=16)
    changed = images["samples"].sum() - len(hits)  # that the plain rule misses
    assert 0 <= changed < 25
    assert (images["samples"] >= by_hand).all()
    first = [hits[apart.argmin(axis=1)[hits] == one].min() + 1 for one in range(16)]
    plain = images["samples"] == by_hand
    assert plain.sum() > 8
    assert images["first"][plain].to_list() == np.array(first)[plain].tolist()
    assert row["first_copy"] == hits.min() + 1
    said = next(one.text for one in copier.answers if one.question == "Does it copy?")
    assert f"The first copy is sample {hits.min() + 1} of 250: on average one in" in said
    assert row["copy_every"] == pytest.approx(1 / row["mem_frac"])
    assert row["copy_every_lo"] == pytest.approx(1 / row["mem_frac_hi"])
    assert row["copy_every_hi"] == pytest.approx(1 / row["mem_frac_lo"])
    shown = {pair.nearest_png for pair in copier.study.gallery([cell], 250)[cell] if pair.memorized}
    assert shown == {sample_files.png(image) for image in pool}  # the pictures are of the same training images


def test_samples_that_are_noise_give_no_comfort(copier: Audited, tmp_path: Path) -> None:
    """After one step of training the samples are noise: nothing found, and nothing follows from it."""
    early = until(copier, 1)
    cells = [str(early.by_kind[kind]["cell"]) for kind in ("model", "heldout")]
    early = dataclasses.replace(early, copied=audit.copied.read(stored(copier), *cells))
    assert early.copied is not None
    assert early.copied.far == 1.0
    given = answers(early)
    assert given[COPY].state is given[GENERAL].state is given[WHICH].state is State.UNKNOWN
    assert "The samples are not like the images: 100 % of them are farther" in given[COPY].text


def test_held_out_images_from_elsewhere_need_a_classifier_without_the_model(duplicates: Audited) -> None:
    rows = duplicates.study.rows.drop(columns=["blind_auc", "blind_auc_lo", "blind_auc_hi"], errors="ignore")
    bare = dataclasses.replace(duplicates, study=dataclasses.replace(duplicates.study, rows=rows))
    given = answers(bare)
    assert given[MEMBER].state is given[GENERAL].state is State.UNKNOWN
    assert given[COPY].state is State.YES  # copies are reported all the same
    assert given[MEMBER].remedy == "difgen audit dup --against train.npz --held-out test.npz"

    told = rows.assign(blind_auc=0.99, blind_auc_lo=0.97, blind_auc_hi=1.0)
    given = answers(dataclasses.replace(bare, study=dataclasses.replace(bare.study, rows=told)))
    assert (
        "differ without the model: a classifier that never saw it tells one from the other in 99.0 % [97.0 %, 100 %]"
        in (given[MEMBER].text)
    )
    assert given[GENERAL].state is State.UNKNOWN
    assert "weak control" in given[COPY].text


def test_a_checkpoint_that_failed_is_said_and_the_last_finished_one_is_answered_for(copier: Audited) -> None:
    rows = copier.study.rows.copy()
    last = rows.index[(rows["kind"] == "model") & (rows["step"] == 1000)]
    rows.loc[last, "state"], rows.loc[last, "cause"] = "failed", "no weights at step 1000"
    failed = dataclasses.replace(copier, study=dataclasses.replace(copier.study, rows=rows))
    assert failed.warnings == ["Failed: no weights at step 1000", "1 of 3 checkpoints have no numbers."]
    assert "at step 250" in failed.heading
    rows["state"] = "failed"
    none = dataclasses.replace(copier, copied=None, study=dataclasses.replace(copier.study, rows=rows))
    assert {answer.state for answer in none.answers} == {State.UNKNOWN, State.NOT_ASKED}
    assert none.answers[-1].question == "Was set X used?"
    assert "No checkpoint was measured: no weights at step 1000." in none.answers[0].text


# The page, the terminal and JSON -------------------------------------------------------------------------------------


def test_the_page_answers_first_in_plain_words(copier: Audited, tmp_path: Path) -> None:
    written = audit.write(copier, tmp_path)
    html = written.page.read_text(encoding="utf-8")
    above, below = html[html.index("<header>") :].split("</header>")
    for answer in copier.answers:
        assert answer.question in above
        assert answer.sentences[0].replace("'", "&#x27;") in above
    assert "What is not tested is not shown to be safe." in above
    measured = [name for name, spec in copier.study.columns.items() if spec.meaning]
    assert len(measured) > 50
    assert not [name for name in measured if re.search(rf"\b{name}\b", above)]
    titles = re.findall(r"<h2>(.*?)</h2>", below)
    assert titles == ["Copied training images", "Over the checkpoints", "Controls", "Methods and provenance"]
    assert copier.standing_out is None, "16 images are too few to say that they stand out"
    assert below.count('<figure class="pair memorized">') == 16
    assert written.figures
    assert len(pd.read_csv(tmp_path / "copied.csv")) == 16


def test_images_that_stand_out_are_shown_where_somebody_asks(duplicates: Audited, tmp_path: Path) -> None:
    """A model that copies 12 digits: those that it denoises better than nearly all held-out ones, by hand."""
    best, lines = duplicates.standing_out, duplicates.study.exposure
    assert best is not None
    assert lines is not None
    own = lines[lines["cell"] == duplicates.by_kind["model"]["cell"]]
    held_out, of_T = own[own["held_out"]], own[~own["held_out"] & own["trained"]].drop_duplicates("group")
    limit = np.sort(held_out["loss"])[TEN]
    assert set(best.images["place"]) == set(of_T.loc[of_T["loss"] < limit, "image"])
    assert best.images["loss"].is_monotonic_increasing
    assert (best.asked, best.unseen) == (len(of_T), len(held_out))
    random_part = dataclasses.replace(duplicates, subject=dataclasses.replace(duplicates.subject, same_pool=True))
    assert "It ranks images and convicts none" in answers(random_part)[WHICH].text
    plain = audit.write(random_part, tmp_path).page.read_text(encoding="utf-8")
    assert "<h2>The most exposed images</h2>" in plain
    assert "the same command with --images shows them" in plain
    assert not (tmp_path / "exposed.csv").exists()
    page = audit.write(random_part, tmp_path, images=True).page.read_text(encoding="utf-8")
    table = pd.read_csv(tmp_path / "exposed.csv")
    assert len(table) == len(best.images)
    assert table["d1"].min() < table["d1"].median()
    assert page.count('alt="nearest sample of image') == min(24, len(table))
    audit.write(random_part, tmp_path)
    assert not (tmp_path / "exposed.csv").exists()
    # Where training and held-out images differ without the model, nothing is said of who was in.
    differ = duplicates.study.rows.assign(blind_auc=0.95, blind_auc_lo=0.9, blind_auc_hi=1.0)
    apart = dataclasses.replace(duplicates, study=dataclasses.replace(duplicates.study, rows=differ))
    silent = audit.write(apart, tmp_path, images=True).page.read_text(encoding="utf-8")
    assert "The most exposed images" not in silent


def test_a_page_that_shows_the_same_is_left_as_it_is(generaliser: Audited, tmp_path: Path) -> None:
    page = audit.write(generaliser, tmp_path).page
    before = page.stat().st_mtime_ns
    assert audit.write(generaliser, tmp_path).page.stat().st_mtime_ns == before
    noted = dataclasses.replace(generaliser, notes=("T was given twice.",))
    assert "T was given twice." in audit.write(noted, tmp_path).page.read_text(encoding="utf-8")
    other = dataclasses.replace(noted, subject=dataclasses.replace(generaliser.subject, sha256="fe" * 32))
    assert "fefefefefefe" in audit.write(other, tmp_path).page.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_terminal_has_the_same_answers_at_any_width(copier: Audited, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    audit.show(copier, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, printed.splitlines())) <= width
    words = " ".join(printed.split())
    if width == 40:  # and the lines are filled
        assert len(printed.splitlines()) < 1.4 * len(words) / width
    assert ("mem_frac" in printed) == (width > 40)  # no table where none fits
    for answer in copier.answers:
        if width == 40:  # a question and its answer share their lines, so that words come in their order
            assert f"{answer.question.upper()} {answer.text}" in words.replace("  ", " ")
        else:
            assert answer.question.upper() in words


def test_json_has_the_same_answers_and_null_for_what_does_not_exist(copier: Audited) -> None:
    content = json.loads(json.dumps(audit.content(copier), allow_nan=False))
    assert [one["text"] for one in content["answers"]] == [answer.text for answer in copier.answers]
    assert {one["state"] for one in content["answers"]} <= {"yes", "not_shown", "cannot_be_told", "not_asked"}
    assert content["not_tested"] == list(NOT_TESTED)
    assert content["rows"]["heldout"]["mem_frac"] < 0.05
    assert content["rows"]["model"]["mia_auc_025"] > 0.9
    assert content["copied"][0]["samples"] >= content["copied"][-1]["samples"]


def test_what_strangers_write_stays_text(duplicates: Audited, tmp_path: Path) -> None:
    """Names of a model, of a folder and of training images as markup, as an escape of a terminal, turned around."""
    hostile = "<img src=x onerror=alert(1)>\x1b[31m\u202e[bold]"
    assert duplicates.copied is not None
    named = dataclasses.replace(
        duplicates.copied, images=duplicates.copied.images.assign(name="<script>alert(2)</script>")
    )
    subject = dataclasses.replace(duplicates.subject, model=hostile, held_out=None, held_out_images=0)
    study = dataclasses.replace(duplicates.study, question=hostile)
    odd = dataclasses.replace(
        duplicates, study=study, subject=subject, copied=named, notes=(hostile,), left_out={"gap": hostile}
    )
    html = audit.write(odd, tmp_path).page.read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert "<script>alert" not in html
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    audit.show(odd, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[31m" not in printed
    assert "\u202e" not in printed
    assert "[bold]" in printed


def test_training_images_looked_at_in_parts_are_the_same(duplicates: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [str(duplicates.by_kind[kind]["cell"]) for kind in ("model", "heldout")]
    names = [f"{place}.png" for place in range(REPEATED * TIMES + ONCE + 797)]
    monkeypatch.setattr(importlib.import_module("difgen_cli.neighbours.distinct"), "ROWS", 50)
    again = audit.copied.read(stored(duplicates), *cells, names)
    assert again is not None
    assert duplicates.copied is not None
    pd.testing.assert_frame_equal(again.images.drop(columns="name"), duplicates.copied.images)
    assert (again.images["name"] == again.images["place"].map("{}.png".format)).all()
