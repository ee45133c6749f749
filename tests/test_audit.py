"""`difgen audit` as somebody uses it who has a model and images: what fits, what is refused, and what is said."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models_of_others as others
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from difgen_cli.cli import app
from difgen_cli.diffusion.training import train
from difgen_cli.engine.store import sample_files
from difgen_cli.models import mlp, unet2d

Audit = Callable[..., Result]
N = 60  # training images
COPIER = ("steps/600/w.safetensors", "--network", "mlp.json")
LABELLED = ("labelled.safetensors", "--network", "labelled.json")
IMAGES = ("--against", "train", "--held-out", "test")
CHEAP = ("--count", "20", "--metrics", "memorization", "--set", "sample.steps=2")
MEMBER = ("--count", "20", "--metrics", "membership", "--set", "sample.steps=2")
TELL = "Can one tell who was in?"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images in class folders, two checkpoints of a network that learnt 60 of them, and two others."""
    folder = tmp_path_factory.mktemp("people")
    images, labels = others.shuffled()
    others.save(folder / "train", images[:N], labels[:N])
    others.save(folder / "test", images[-200:], labels[-200:])
    shown, network = torch.from_numpy(images[:N])[:, None], mlp.build((1, 8, 8), 0, width=96, depth=2)
    for state in train(network, shown, None, float(others.scaled(images[:N]).std()), steps=600, batch=64):
        if state.step in (10, 600):
            place = folder / "steps" / str(state.step)
            place.mkdir(parents=True)
            save_file(state.ema.network.state_dict(), place / "w.safetensors")
    described = {"network": "mlp", "settings": {"width": 96, "depth": 2}, "shape": [1, 8, 8]}
    (folder / "mlp.json").write_text(json.dumps(described))
    labelled = mlp.build((1, 8, 8), 10, width=8, depth=1)
    save_file(others.others.random_state(labelled), folder / "labelled.safetensors")
    described |= {"settings": {"width": 8, "depth": 1}, "classes": 10}
    (folder / "labelled.json").write_text(json.dumps(described))
    config = others.UNET2D | {"block_out_channels": [4, 4, 4], "num_class_embeds": 10}
    table = unet2d.build((1, 8, 8), 10, dropped_row=False, **others.settings_of(config))
    others.others.diffusers_folder(folder / "table", table.state_dict(), config)
    return folder


@pytest.fixture
def audit(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """The command in this process, in a folder with links to these files."""
    for entry in people.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ)  # --device sets a variable
    return lambda *words: CliRunner().invoke(app, ["audit", *map(str, words)])


def told(result: Result) -> dict[str, Any]:
    """The JSON on stdout, which must be one document."""
    assert result.exit_code == 0, result.stderr
    whole: dict[str, Any] = json.loads(result.stdout)
    return whole


def answer(content: dict[str, Any], question: str = TELL) -> dict[str, Any]:
    return next(one for one in content["answers"] if one["question"] == question)


# Refused -------------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "a typo in MODEL": (
        ("steps/60/w.safetensors", *COPIER[1:], *IMAGES), "MODEL: {here}/steps/60/w.safetensors: there is no such file",
    ),
    "a typo in MODEL with steps": (
        ("steps/{step}/v.safetensors", *COPIER[1:], *IMAGES),
        "MODEL: steps/{step}/v.safetensors: there is no such file or folder, whatever the step: correct the path",
    ),
    "a typo in --against": ((*COPIER, "--against", "trian"), "--against: trian: there is no such file or folder"),
    "a typo in --held-out": (
        (*COPIER, "--against", "train", "--held-out", "tset"), "--held-out: tset: there is no such file or folder",
    ),
    "a typo in --network": (
        (COPIER[0], "--network", "mpl.json", *IMAGES), "MODEL: {here}/mpl.json: there is no such file: correct the",
    ),
    "no --network": ((COPIER[0], *IMAGES), "MODEL: {here}/steps/600/w.safetensors: it does not say which network"),
    "no images": (COPIER, "--against: name the images that the model was trained on"),
    "T itself as held-out images": (
        (*COPIER, "--against", "train", "--held-out", "train"),
        "--held-out: each of the 60 images is in --against too; give images that were not trained on",
    ),
    "one of two ways to hold out": (
        (*COPIER, *IMAGES, "--hold-out", "9"), "--hold-out: draws held-out images from --against, --held-out names",
    ),
    "steps of a path without them": (
        (*COPIER, *IMAGES, "--steps", "600"), "--steps: MODEL names one checkpoint; write {step} where the step stands",
    ),
    "a step that is none": (
        ("steps/{step}/w.safetensors", *COPIER[1:], *IMAGES, "--steps", "10,6oo"),
        "--steps 10,6oo: '6oo' is no step; write whole numbers, such as 500,1000",
    ),
    "a step without weights": (
        ("steps/{step}/w.safetensors", *COPIER[1:], *IMAGES, "--steps", "10,700"),
        "--steps: {here}/steps/{step}/w.safetensors: there are no weights of step 700; there are those of 10, 600",
    ),
    "labels for a model without classes": (
        (*COPIER, *IMAGES, "--class-labels", "images"),
        "--class-labels: these weights were trained without classes; leave it out",
    ),
    "no labels for a table of classes": (
        ("table", *IMAGES), "--class-labels: these weights were trained with 10 classes, and answer no image without",
    ),
    "a file of labels that is not there": (
        (*LABELLED, *IMAGES, "--class-labels", "no.csv"), "--class-labels: {here}/no.csv: there is no such file",
    ),
    "weights that are not there": ((*COPIER, *IMAGES, "--weights", "ema"), "MODEL: {here}/steps/600/w.safetensors: it"),
    "a choice of weights": ((*COPIER, *IMAGES, "--weights", "emma"), "--weights emma: choose from ema, raw"),
    "no GPU": ((*COPIER, *IMAGES, "--device", "cuda"), "--device cuda: there is no GPU here that torch can use"),
    "a metric": ((*COPIER, *IMAGES, "--metrics", "memorisation"), "no metrics plug-in is called 'memorisation'"),
    "a metric that needs more": (
        (*COPIER, *IMAGES, "--metrics", "twins"), "--metrics twins: needs a second network, trained on the other half",
    ),
    "a setting of the sampler": (
        (*COPIER, *IMAGES, "--set", "sample.stesp=3"), "--set sample.stesp: unknown setting of sampling/heun.py",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_one_sentence_and_nothing_is_written(audit: Audit, case: str, tmp_path: Path) -> None:
    words, sentence = REFUSED[case]
    if case == "no GPU" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    refused = audit(*words)
    assert refused.exit_code == 2, refused.output
    assert refused.stderr.startswith(sentence.replace("{here}", str(tmp_path))), refused.stderr
    assert refused.stderr.count("\n") == 1
    assert refused.stdout == ""
    assert not (tmp_path / "report").exists()
    assert not list((tmp_path / "audits").glob("grids/*"))


def test_images_of_another_size_are_refused_and_the_remedy_works(audit: Audit) -> None:
    images, _ = others.shuffled()
    others.save(Path("large"), images[:N].repeat(2, 1).repeat(2, 2))
    refused = audit(*COPIER, "--against", "large", "--held-out", "test")
    assert refused.exit_code == 2
    assert "--held-out: test holds images of 8 × 8 pixels grey, --against large images of 16 × 16" in refused.stderr
    assert refused.stderr.endswith("or convert them by --set data.resize=8\n")
    remedy = ("--set", "data.resize=8", "--set", "data.resize_filter=box")  # each pixel is the mean of four equal ones
    others.save(Path("unseen"), images[-200:].repeat(2, 1).repeat(2, 2))
    refused = audit(*COPIER, "--against", "large", "--held-out", "unseen")
    assert refused.stderr.endswith("pixels grey; convert them by --set data.resize=8\n"), refused.stderr
    content = told(audit(*COPIER, "--against", "large", "--held-out", "test", *remedy, *CHEAP, "--json"))
    as_it_was = told(audit(*COPIER, *IMAGES, *CHEAP, "--json"))
    assert content["rows"]["model"]["mem_frac"] == as_it_was["rows"]["model"]["mem_frac"]


def test_colours_that_the_model_does_not_have_are_refused_and_the_remedy_works(audit: Audit) -> None:
    images, _ = others.shuffled()
    others.save(Path("colour"), np.repeat(images[:N, :, :, None], 3, axis=3))
    given = (*COPIER, "--against", "colour", "--held-out", "test")
    refused = audit(*given)
    assert refused.exit_code == 2
    assert refused.stderr.endswith("or convert them by --set data.mode=rgb\n")
    refused = audit(*given, "--set", "data.mode=rgb")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("MODEL: steps/600/w.safetensors is for images of 8 × 8 pixels grey")
    assert refused.stderr.endswith("--set data.mode=grey\n"), refused.stderr
    content = told(audit(*given, "--set", "data.mode=grey", *CHEAP, "--json"))
    assert content["rows"]["model"] == told(audit(*COPIER, *IMAGES, *CHEAP, "--json"))["rows"]["model"]


def test_files_of_several_sizes_are_refused_with_what_makes_them_one(audit: Audit) -> None:
    images, _ = others.shuffled()
    others.save(Path("mixed"), images[: N - 1])
    Image.fromarray(images[N - 1].repeat(2, 0).repeat(2, 1)).save("mixed/zz.png")
    refused = audit(*COPIER, "--against", "mixed", "--held-out", "test")
    assert refused.exit_code == 2
    assert "zz.png" in refused.stderr
    assert "16 × 16" in refused.stderr
    assert "--set data.resize=8" in refused.stderr, refused.stderr
    content = told(
        audit(*COPIER, "--against", "mixed", "--held-out", "test", "--set", "data.resize=8", *CHEAP, "--json")
    )
    assert content["audited"]["train_images"] == N


# Labels --------------------------------------------------------------------------------------------------------------


def test_class_labels_come_by_folder_or_by_file(audit: Audit) -> None:
    """The same labels both ways give the same numbers; without any, it is said that none are given."""
    _, labels = others.shuffled()
    cheap = ("--count", "20", "--metrics", "frechet", "--set", "frechet.features=pixels", "--set", "sample.steps=2")
    by_folder = told(audit(*LABELLED, *IMAGES, "--class-labels", "images", *cheap, "--json"))
    assert any("in the order of their names, are taken for those of the weights" in note for note in by_folder["notes"])
    order = sorted(range(N), key=lambda k: (str(labels[k]), f"{k:04d}"))  # as the folders are read
    held = sorted(range(200), key=lambda k: (str(labels[-200:][k]), f"{k:04d}"))
    both = [*labels[:N][order], *labels[-200:][held]]
    Path("labels.csv").write_text("index,label\n" + "".join(f"{k},{label}\n" for k, label in enumerate(both)))
    by_file = told(audit(*LABELLED, *IMAGES, "--class-labels", "labels.csv", *cheap, "--json"))
    assert by_file["rows"]["model"]["fd_test"] == by_folder["rows"]["model"]["fd_test"]
    without = told(audit(*LABELLED, *IMAGES, *cheap, "--json"))
    assert any("trained with 10 classes, and are asked without any" in note for note in without["notes"])
    assert without["rows"]["model"]["fd_test"] != by_folder["rows"]["model"]["fd_test"]


# Held-out images -----------------------------------------------------------------------------------------------------


def test_held_out_images_that_were_trained_on_are_said_and_skipped(audit: Audit) -> None:
    images, _ = others.shuffled()
    others.save(Path("part"), np.concatenate([images[:20], images[-80:]]))
    content = told(audit(*COPIER, "--against", "train", "--held-out", "part", *CHEAP, "--json"))
    assert "20 of 100 held-out images are in --against too, byte for byte: skipped." in content["notes"]
    assert content["audited"]["held_out_images"] == 80


def test_without_held_out_images_membership_cannot_be_told(audit: Audit) -> None:
    content = told(audit(*COPIER, "--against", "train", "--count", "20", "--json"))
    for question in (TELL, "Does it generalise?"):
        given = answer(content, question)
        assert given["state"] == "cannot_be_told"
        assert "There are no held-out images: nothing says what the model does with images" in given["text"]
        assert "--held-out HELD_OUT" in given["remedy"]
    assert answer(content, "Does it copy?")["state"] in ("not_shown", "cannot_be_told")
    assert content["rows"]["model"]["mia_auc_025"] is None if "mia_auc_025" in content["rows"]["model"] else True
    assert {"membership", "gap"} <= content["left_out"].keys()


def test_images_drawn_from_the_training_images_are_said_to_be_that(audit: Audit) -> None:
    content = told(audit(*COPIER, "--against", "train", "--hold-out", "30", *CHEAP, "--json"))
    assert any("The 30 held-out images were drawn from --against" in note for note in content["notes"])
    assert content["audited"]["same_pool"]


def _noisy(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return np.clip(image.astype(int) + chance.integers(-1, 2, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["one grey level of noise", "JPEG"])
def test_held_out_images_of_another_source_are_told_without_the_model_and_membership_is_refused(
    audit: Audit, kind: str
) -> None:
    images, _ = others.shuffled()
    chance = np.random.default_rng(0)
    Path("foreign").mkdir()
    for k, image in enumerate(images[-200:]):
        if kind == "JPEG":
            Image.fromarray(image).save(f"foreign/{k:04d}.jpg", quality=75)
        else:
            Image.fromarray(_noisy(image, chance)).save(f"foreign/{k:04d}.png")
    content = told(audit(*COPIER, "--against", "train", "--held-out", "foreign", *MEMBER, "--json"))
    row, given = content["rows"]["model"], answer(content)
    assert row["blind_auc"] > 0.9
    assert row["blind_auc_lo"] > 0.52
    assert given["state"] == "cannot_be_told"
    assert "differ without the model: a classifier that never saw it tells one from the other" in given["text"]


def test_held_out_images_of_the_same_source_are_not_told_without_the_model(audit: Audit) -> None:
    content = told(audit(*COPIER, *IMAGES, *MEMBER, "--json"))
    row, given = content["rows"]["model"], answer(content)
    assert row["blind_auc_lo"] < 0.5 < row["blind_auc_hi"]
    assert row["mia_auc_025"] > 0.9  # 60 digits, learnt for 600 steps
    assert given["state"] == "yes"
    assert content["notes"] == []  # the classifier is no news to a reader: its number stands in the answer


# Images as people have them ------------------------------------------------------------------------------------------


def _npz(path: Path, images: np.ndarray) -> Path:
    np.savez(path.with_suffix(".npz"), arr_0=images)
    return path.with_suffix(".npz")


def _parquet(path: Path, images: np.ndarray) -> Path:
    path.mkdir()
    encoded = [{"bytes": sample_files.png(image[:, :, None]), "path": None} for image in images]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(pa.table({"image": pa.array(encoded, kind)}), path / "train-00000-of-00001.parquet")
    return path


def _zip(path: Path, images: np.ndarray) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for k, image in enumerate(images):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "png")
            archive.writestr(f"{k:04d}.png", file.getvalue())
    return path.with_suffix(".zip")


def _palette(path: Path, images: np.ndarray) -> Path:
    path.mkdir()
    for k, image in enumerate(images):
        Image.fromarray(image).convert("P").save(path / f"{k:04d}.png")
    return path


FORMS = {"npz": _npz, "parquet": _parquet, "zip": _zip}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_images_in_another_form_give_the_same_numbers(audit: Audit, form: str) -> None:
    images, _ = others.shuffled()
    others.save(Path("flat"), images[:N])
    whole = told(audit(*COPIER, "--against", "flat", "--held-out", "test", *CHEAP, "--json"))
    place = FORMS[form](Path("form"), images[:N])
    content = told(audit(*COPIER, "--against", place, "--held-out", "test", *CHEAP, "--json"))
    assert content["rows"]["model"] == whole["rows"]["model"]


def test_palette_images_are_taken_for_colours_until_they_are_converted(audit: Audit) -> None:
    images, _ = others.shuffled()
    _palette(Path("palette"), images[:N])
    given = (*COPIER, "--against", "palette", "--held-out", "test")
    refused = audit(*given, "--set", "data.mode=rgb")
    assert refused.exit_code == 2
    assert refused.stderr.endswith("; convert them by --set data.mode=grey\n"), refused.stderr
    content = told(audit(*given, "--set", "data.mode=grey", *CHEAP, "--json"))
    others.save(Path("flat"), images[:N])
    whole = told(audit(*COPIER, "--against", "flat", "--held-out", "test", *CHEAP, "--json"))
    assert content["rows"]["model"] == whole["rows"]["model"]


# Again, interrupted, piped -------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing_again(audit: Audit) -> None:
    first = audit(*COPIER, *IMAGES, *CHEAP)
    assert first.exit_code == 0, first.stderr
    before = {file: file.stat().st_mtime_ns for file in [*Path("audits").rglob("*.json"), *Path("report").rglob("*.*")]}
    again = audit(*COPIER, *IMAGES, *CHEAP)
    assert again.exit_code == 0
    assert again.stdout == first.stdout
    assert "done" not in again.stderr
    results = [file for file in before if "results" in file.parts or file.parts[0] == "report"]
    assert len(results) > 4
    assert all(file.stat().st_mtime_ns == before[file] for file in results)


def test_an_interrupt_keeps_what_is_done_and_the_same_command_ends(audit: Audit, tmp_path: Path) -> None:
    command = [*COPIER, *IMAGES, "--count", "50", "--metrics", "memorization,preference", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "difgen_cli", "audit", *command], cwd=tmp_path, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(Path("audits").glob("*/*/results/*.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    assert err.endswith("interrupted: everything so far is kept; run the same command again to resume\n")
    kept = {file: file.stat().st_mtime_ns for file in Path("audits").glob("*/*/results/*.json")}
    resumed = told(audit(*command))
    assert all(file.stat().st_mtime_ns == time_ for file, time_ in kept.items())
    whole = told(audit(*command, "--runs", "other"))
    assert resumed["rows"] == whole["rows"]


def test_json_is_one_document_and_a_pipe_has_the_answers_in_lines(audit: Audit) -> None:
    piped = audit(*COPIER, *IMAGES, *CHEAP)
    assert piped.exit_code == 0, piped.stderr
    content = told(audit(*COPIER, *IMAGES, *CHEAP, "--json"))
    lines = piped.stdout.splitlines()
    for one in content["answers"]:
        assert f"{one['question'].upper()}  {one['text']}" in lines
    assert piped.stderr.endswith("report.html\n")
    assert Path(content["report"]).is_file()


def test_sixty_columns_are_enough(audit: Audit, difgen_in: Callable[..., Any], tmp_path: Path) -> None:
    shutil.copytree(Path("steps").resolve(), tmp_path / "copied")
    run = difgen_in(tmp_path, "audit", *COPIER, *IMAGES, *CHEAP, COLUMNS="60", TERM="xterm", FORCE_COLOR="1")
    assert run.returncode == 0, run.stderr
    assert "DOES IT COPY?" in run.stdout
