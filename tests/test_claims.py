"""`difgen audit --claim` and `difgen claim prepare` with real files and models: each test, and mistakes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models_of_others as others
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from difgen_cli import data
from difgen_cli.audit import twins
from difgen_cli.cli import app
from difgen_cli.data import digits
from difgen_cli.models import unet2d

Command = Callable[..., Result]
SEEDS, N, STEPS = 5, 40, 500
GRID = f"""# Which digits does a model of a few of them know?
base:
  data: {{name: digits, held_out: 900, size: {N}}}
  model: {{name: mlp, width: 64, depth: 2}}
  train: {{batch: 40, steps: {STEPS}}}
  sample: {{count: 2, steps: 2}}
  score: [clique]
seeds: {SEEDS}
"""
CHEAP = ("--count", "20", "--metrics", "clique", "--set", "sample.steps=2")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep's run directory, and folders of images: those that the model of seed 0 saw, others, and controls."""
    folder = tmp_path_factory.mktemp("claims")
    (folder / "grid.yaml").write_text(GRID, encoding="utf-8")
    command = ["sweep", str(folder / "grid.yaml"), "--runs", str(folder / "farm"), "--cluster", "inline"]
    swept = CliRunner().invoke(app, command)
    assert swept.exit_code == 0, swept.output
    pool = digits.load()
    assert pool.labels is not None
    split = data.split(pool, size=N, held_out=900, seed=0)
    unused = np.setdiff1d(split.rest, split.train)
    images = pool.images[:, :, :, 0]
    others.save(folder / "mine", images[split.train[:30]])
    others.save(folder / "theirs", images[unused[:30]])
    others.save(folder / "ones", images[unused[pool.labels[unused] == 1][:30]])
    others.save(folder / "control", images[split.held_out[:80]])
    others.save(folder / "test", images[split.held_out[80:140]])
    others.save(folder / "three", images[:3])
    others.save(folder / "large", images[:30].repeat(2, 1).repeat(2, 2))
    others.save(folder / "more", images[[*split.train, *unused[100:112]]])
    others.save(folder / "unseen", images[unused[30:90]])
    others.save(folder / "classes", images[:60], pool.labels[:60])
    config = others.UNET2D | {"block_out_channels": [4, 4, 4], "num_class_embeds": 10}
    table = unet2d.build((1, 8, 8), 10, dropped_row=False, **others.settings_of(config))
    others.others.diffusers_folder(folder / "table", table.state_dict(), config)
    model = next(path for path in folder.glob("farm/trajectories/*/snapshots/*") if "seed" not in str(path.parents[1]))
    (folder / "model.txt").write_text(str(model.relative_to(folder)))
    return folder


@pytest.fixture
def claim(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`difgen audit` of the model of seed 0 in this process, in a folder with links to these files."""
    for entry in people.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ)
    model = Path("model.txt").read_text()
    return lambda *words: CliRunner().invoke(app, ["audit", model, *map(str, words), *CHEAP])


def prepare(*words: str) -> Result:
    return CliRunner().invoke(app, ["claim", "prepare", *words])


def lines(result: Result) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """The answers about claims, their numbers, and the whole JSON."""
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    return [one for one in content["answers"] if one["question"].startswith("Was ")], content["claims"], content


def published_as_used(folder: Path, used: Path) -> None:
    """What `prepare` would have left if the coins had published the images that the model saw: `mine` was, `theirs`
    not; pairs whose coin kept the used one are left out."""
    key = bytes(range(32))
    pairs = []
    for path in sorted(used.iterdir()):
        other = Path("theirs") / path.name
        pair = [path, other]
        digests = [twins.hashlib.sha256(one.read_bytes()).hexdigest() for one in pair]
        if twins.coin(key, *digests) == 0:
            pairs.append(pair)
    for side, name in enumerate(("ours", "twins")):
        (folder / name).mkdir(parents=True)
        for number, pair in enumerate(pairs):
            shutil.copy(pair[side], folder / name / f"{number:03d}.png")
    (folder / "key").write_text(key.hex())


# Each test of the ladder ---------------------------------------------------------------------------------------------


def test_twins_show_use_where_the_published_ones_were_seen_and_not_where_none_was(claim: Command) -> None:
    published_as_used(Path("drawn"), Path("mine"))
    done = prepare("drawn/ours", "--twins", "drawn/twins", "--out", "my_claim", "--key", "drawn/key")
    assert done.exit_code == 0, done.output
    pairs = len(list(Path("drawn/ours").iterdir()))
    assert done.stdout.startswith(f"{pairs} pairs in my_claim\n")
    assert prepare("theirs", "--out", "no_claim", "--key", "second.key").exit_code == 0
    assert Path("second.key").stat().st_mode & 0o777 == 0o600
    result = claim("--claim", "my_claim", "--claim", "no_claim", "--claim-key", "drawn/key", "--claim-key",
                   "second.key", "--json")  # fmt: skip
    answers, numbers, content = lines(result)
    assert [one["claim_rung"] for one in numbers] == [1, 1]
    assert answers[0]["state"] == "yes"
    assert answers[0]["text"].startswith("Trained on: shown (p = ")
    assert "by random twins). " in answers[0]["text"]
    assert "This is evidence of use." in answers[0]["text"]
    assert numbers[0]["claim_n"] == pairs
    assert numbers[0]["claim_p_holm"] == pytest.approx(2 * numbers[0]["claim_p"])
    assert answers[1]["state"] in ("not_shown", "cannot_be_told")
    assert "not used" not in result.stdout
    assert "used in training" not in result.stdout
    assert content["rows"]["model"]["claim_sets"] == 2
    assert content["rows"]["model"]["claim_p"] is None  # of several the table says it


def test_reference_models_show_use_and_name_what_would_have_been_seen(claim: Command) -> None:
    given = ("--control", "control", "--references", "farm")
    answers, numbers, content = lines(claim("--claim", "mine", *given, "--json"))
    (answer,), (number,) = answers, numbers
    assert (number["claim_rung"], number["claim_references"]) == (3, SEEDS - 1)
    assert answer["state"] == "yes", answer
    assert ", by reference models). " in answer["text"]
    assert "p is corrected for 2 tests." in answer["text"]
    assert "evidence of use" not in answer["text"]
    assert number["claim_share_lo"] <= number["claim_share"] <= number["claim_share_hi"]
    assert content["rows"]["model"]["claim_p"] == number["claim_p"]
    (answer,), (number,), _ = lines(claim("--claim", "ones", *given, "--json"))
    assert answer["state"] == "not_shown", answer
    assert answer["text"].startswith("Trained on: not shown (p = ")
    assert "would have been shown in 80 % of cases" in answer["text"]
    assert "as the reference models have it on images that they saw, in " in answer["text"]
    assert "Stronger would be more samples (--count), to find copies, or twins" in answer["text"]


def test_control_images_alone_are_an_indication_and_none_where_they_differ(claim: Command) -> None:
    """A claim of one kind is told from the control without the model, and its p-value is never below 0.1."""
    given = ("--control", "control", "--json")
    answers, numbers, _ = lines(claim("--claim", "more", "--claim", "ones", *given))
    assert [one["claim_rung"] for one in numbers] == [4, 4]
    assert "an indication (p = " in answers[0]["text"]
    assert answers[0]["state"] == "cannot_be_told"
    assert "Images are not independent, so that this is no evidence." in answers[0]["text"]
    assert numbers[1]["claim_capped"] == 1
    assert numbers[1]["claim_p"] >= 0.1
    assert "claim and control are too few to check that they are alike" in answers[1]["text"]
    assert "--references RUNS" in answers[1]["remedy"]


def test_a_base_alone_is_one_reference_and_has_no_p_value_of_models(claim: Command) -> None:
    base = next(path for path in Path("farm").glob("trajectories/*seed1-*/snapshots/*"))
    (answer,), (number,), _ = lines(
        claim("--claim", "theirs", "--control", "control", "--reference", str(base), "--json")
    )
    assert (number["claim_rung"], number["claim_references_given"]) == (4, 1)
    assert number["claim_references"] == 0
    assert ", by reference models" not in answer["text"]


def test_copies_among_the_samples_are_evidence(claim: Command, people: Path) -> None:
    """A model that only copies 20 images: most of them are found among 200 samples, and no control image."""
    from difgen_cli.metrics import claim as metric
    from difgen_cli.metrics._claim_lines import ClaimModels

    images = data.scaled(digits.load().images)
    chance = np.random.default_rng(0)
    samples = images[chance.integers(20, size=200)] + chance.normal(0, 0.02, (200, 8, 8, 1)).astype(np.float32)
    models = ClaimModels(_Blind(), [], 0.2, False)
    line = metric.line(models, images[:20], images[100:180], samples, twins=False)
    assert line["claim_rung"] == 2
    assert line["claim_copies"] == 20
    assert line["claim_control_copies"] == 0
    assert line["claim_first_copy"] == 1
    assert line["claim_p"] < 1e-6
    unseen = metric.line(models, images[200:220], images[100:180], samples, twins=False)
    assert (unseen["claim_copies"], unseen["claim_copies_p"]) == (0, 1.0)
    assert "claim_first_copy" not in unseen or np.isnan(unseen["claim_first_copy"])


class _Blind:
    """A denoiser that knows no image better than another."""

    def __call__(self, x: Any, sigma: Any, labels: Any = None) -> Any:
        return x * 0


def test_nobody_asked_and_nothing_to_compare_with(claim: Command) -> None:
    result = claim("--held-out", "test", "--json")
    asked = next(one for one in json.loads(result.stdout)["answers"] if one["question"] == "Was set X used?")
    assert asked["state"] == "not_asked"
    assert "--claim DIR" in asked["text"]
    assert "whether a given set of images was used" not in json.loads(result.stdout)["not_tested"]
    (answer,), _, _ = lines(claim("--claim", "theirs", "--json"))
    assert answer["text"].startswith("Trained on: cannot be told, because there are no control images.")


def test_images_of_the_claim_elsewhere_are_said_and_are_no_controls(claim: Command) -> None:
    for path in list(Path("theirs").iterdir())[:10]:
        Path("mixed").mkdir(exist_ok=True)
        shutil.copy(path, Path("mixed") / path.name)
    for path in Path("test").iterdir():
        shutil.copy(path, Path("mixed") / f"t{path.name}")
    _, numbers, content = lines(
        claim("--claim", "theirs", "--control", "mixed", "--against", "more", "--held-out", "control", "--json")
    )
    assert "10 control images are in theirs too, byte for byte: skipped as controls." in content["notes"]
    assert numbers[0]["claim_control"] == 60
    twice = claim("--claim", "mine", "--control", "control", "--against", "more", "--held-out", "test", "--json")
    assert "30 of 30 images of mine are in --against too, byte for byte." in lines(twice)[2]["notes"]


# Mistakes ------------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "no such folder": (("--claim", "nowhere"), "--claim: nowhere: there is no such file or folder"),
    "an empty folder": (("--claim", "empty", "--control", "control"), "--claim: empty"),
    "few images": (("--claim", "three", "--control", "control"), "--claim: three holds 3 images, and below 5 nothing"),
    "another size": (
        ("--claim", "large", "--control", "control"),
        "--claim: large holds images of 16 × 16 pixels grey, --control control images of 8 × 8",
    ),
    "all controls in the claim": (("--claim", "mine", "--control", "mine"), "--control: each image is in mine too"),
    "the same claim twice": (("--claim", "mine", "--claim", "mine"), "--claim: mine is named twice"),
    "controls without a claim": (("--held-out", "test", "--control", "control"), "--control: belongs to --claim"),
    "no run directory": (
        ("--claim", "mine", "--control", "control", "--references", "control"),
        "--references: control is no run directory of difgen",
    ),
    "twins without their key": (("--claim", "kept"), "--claim: kept was made by `difgen claim prepare`; give its key"),
    "another key": (("--claim", "kept", "--claim-key", "wrong.key"), "--claim-key: kept/manifest.json was not made"),
    "no key": (("--claim", "kept", "--claim-key", "grid.yaml"), "grid.yaml: is no key of `difgen claim prepare`"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_one_sentence(claim: Command, case: str) -> None:
    words, sentence = REFUSED[case]
    Path("empty").mkdir()
    assert prepare("theirs", "--out", "kept", "--key", "my.key").exit_code == 0
    Path("wrong.key").write_text("0" * 64)
    refused = claim(*words)
    assert refused.exit_code == 2, refused.output
    assert refused.stderr.startswith(sentence), refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not Path("report").exists()


def test_a_model_that_answers_nothing_without_a_class_is_refused(claim: Command) -> None:
    words = ["table", "--against", "classes", "--class-labels", "images", "--claim", "mine", "--control", "control"]
    refused = CliRunner().invoke(app, ["audit", *words, *CHEAP])
    assert refused.exit_code == 2, refused.output
    assert refused.stderr.startswith("--claim: this model answers no image without a class")


def tampered(folder: Path, how: str) -> None:
    """Change what `prepare` left, as somebody might who wants another answer."""
    manifest = json.loads((folder / "manifest.json").read_text())
    first = sorted((folder / "published").iterdir())[0]
    twin = folder / "kept" / first.name
    match how:
        case "date":
            manifest["date"] = "2020-01-01"
        case "pairs":
            manifest["pairs"] = manifest["pairs"][1:]
        case "no JSON":
            (folder / "manifest.json").write_text("{" * 9)
            return
        case "another schema":
            manifest["schema"] = 2
        case "another image":
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(first)
        case "twins exchanged":
            content = first.read_bytes()
            first.write_bytes(twin.read_bytes())
            twin.write_bytes(content)
        case "a file more":
            shutil.copy(first, first.with_name("zz.png"))
        case "a link that leads out":
            first.unlink()
            first.symlink_to("/etc/hostname")
        case "a folder that leads out":
            shutil.rmtree(folder / "kept")
            (folder / "kept").symlink_to(Path("theirs").resolve())
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("date", "--claim-key: my/manifest.json was not made with my.key, or was changed since"),
        ("pairs", "--claim-key: my/manifest.json was not made with my.key, or was changed since"),
        ("no JSON", "--claim: my/manifest.json is no manifest of `difgen claim prepare`"),
        ("another schema", "--claim: my/manifest.json is no manifest of `difgen claim prepare`"),
        ("another image", "--claim: my/published/000001.png is not the file that the manifest commits to"),
        ("twins exchanged", "--claim: my/published/000001.png is not the file that the manifest commits to"),
        ("a file more", "--claim: my does not hold the files of the 15 pairs of its manifest"),
        ("a link that leads out", "--claim: my/published/000001.png is a link or a folder, which could lead elsewhere"),
        ("a folder that leads out", "--claim: my/kept is no folder of `difgen claim prepare`"),
    ],
)
def test_a_claim_that_was_changed_is_refused(claim: Command, how: str, sentence: str) -> None:
    assert prepare("theirs", "--out", "my", "--key", "my.key").exit_code == 0
    tampered(Path("my"), how)
    refused = claim("--claim", "my", "--claim-key", "my.key")
    assert refused.exit_code == 2, refused.output
    assert refused.stderr == f"{sentence}\n"


def test_what_prepare_refuses_leaves_nothing_behind(claim: Command) -> None:
    for words, sentence in (
        (("theirs", "--out", "my", "--key", "my/key"), "--key: my/key lies in my, and must stay with you alone"),
        (("theirs", "--out", "my", "--key", "theirs/key"), "--key: theirs/key lies in theirs, and must stay"),
        (("three", "--out", "my", "--key", "my.key"), "IMAGES: three gives 1 pairs of different images; at least 7"),
        (("nowhere", "--out", "my", "--key", "my.key"), "IMAGES: nowhere: there is no such folder"),
        (("theirs", "--out", "control", "--key", "my.key"), "--out: control is there already, and a second choice"),
    ):
        refused = prepare(*words)
        assert refused.exit_code == 2
        assert refused.stderr.startswith(sentence), refused.stderr
        assert refused.stderr.count("\n") == 1
        assert not Path("my").exists()
        assert not Path("my.key").exists()


def test_a_manifest_gives_nothing_away_and_coins_cannot_be_chosen(claim: Command) -> None:
    """No file name and no plain hash; the same key tosses the same coins, another one others, half of them heads."""
    assert prepare("theirs", "--out", "my", "--key", "my.key").exit_code == 0
    text = Path("my/manifest.json").read_text()
    for path in Path("theirs").iterdir():
        assert path.name not in text
        assert twins.hashlib.sha256(path.read_bytes()).hexdigest() not in text
    assert prepare("theirs", "--out", "again", "--key", "my.key").exit_code == 0
    assert json.loads(text)["pairs"] == json.loads(Path("again/manifest.json").read_text())["pairs"]
    key, words = b"k" * 32, [f"{number:064x}" for number in range(2000)]
    coins = [twins.coin(key, a, b) for a, b in zip(words[::2], words[1::2], strict=True)]
    assert 400 < sum(coins) < 600
    assert [twins.coin(key, b, a) for a, b in zip(words[::2], words[1::2], strict=True)] == [1 - c for c in coins]
    assert coins != [twins.coin(b"l" * 32, a, b) for a, b in zip(words[::2], words[1::2], strict=True)]


def test_what_a_system_left_is_no_image_of_a_claim_and_what_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (15, 8, 8), np.uint8)
    for number, image in enumerate(pixels):
        path = Path("ours") / ("a" if number < 8 else "b") / f"{number}.{'gif' if number % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    for name in ("__MACOSX/._0.png", "a/._0.png", "a/.ipynb_checkpoints/0.png", "notes.txt"):
        (Path("ours") / name).parent.mkdir(exist_ok=True)
        (Path("ours") / name).write_bytes(b"no image")
    made = prepare("ours", "--out", "my", "--key", "my.key")
    assert made.exit_code == 0, made.output
    assert "7 pairs in my; 1 image without a partner, or the same as another, is left out" in made.stdout
    assert "passed over in ours: " in made.output
    assert "1 .txt" in made.output
    published = list(Path("my").glob("*/0*"))
    assert len(published) == 14
    assert all(path.read_bytes() != b"no image" for path in published)
    for left in (".DS_Store", "Thumbs.db"):  # as whoever opens the folder leaves them
        (Path("my") / "published" / left).write_bytes(b"x")
    assert [len(side) for side in twins.check(Path("my"), [Path("my.key")])[:2]] == [7, 7]
    (Path("ours") / "b" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    refused = prepare("ours", "--out", "again", "--key", "other.key")
    assert (refused.exit_code, "b/broken.jpg: this is" in refused.output) == (2, True)
    assert not Path("again").exists()
    assert not Path("other.key").exists()
