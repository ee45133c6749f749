"""`difgen gate` on real runs: a network that hardly learnt passes, a copier fails, and what is not known is closed."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown import blocks
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

from difgen_cli import gate as gates
from difgen_cli.cli import app
from difgen_cli.engine.store import Store
from difgen_cli.gate import evidence, reading, show

Run = Callable[..., subprocess.CompletedProcess[str]]

GRID = """\
# Does this network copy?
base:
  data:   {{name: digits, held_out: {held_out}, size: {size}}}
  model:  {{name: mlp, width: {width}, depth: 2}}
  train:  {{batch: 64, lr: 0.005}}
  sample: {{name: {sampler}, count: {count}}}
  score:  {{{score}}}
axes:
  train.steps: [{train}]
"""
PASSING = GRID.format(
    size=440, held_out=460, width=8, train=100, sampler="euler, steps: 4", count=4100,
    score="memorization: {}, aligned: {shift: 0}, membership: {}, blind: {images: 60}",
)  # fmt: skip
COPIER = GRID.format(
    size=6,
    held_out=300,
    width=64,
    train=400,
    sampler="heun, steps: 12",
    count=150,
    score="memorization: {}, membership: {}",
)
SHIPPED = reading.file_of(Path("open-weights")).read_text(encoding="utf-8")
DECLARED = SHIPPED.replace("name =", "declared = 2000-01-01T00:00:00Z\nname =", 1)
NOT_RUN = (
    "Not run: attribute inference, exfiltration, model inversion, reconstruction, differential privacy lower bound. "
    "What was not run is not shown."
)
PROMISES = ("safe", "private", "secure", "no risk")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, difgen_in: Run) -> Path:
    """Two run directories, `passing` and `copier`, of one model each, with their weights and evidence.

    policy.toml: the shipped one, with a time.
    """
    folder = tmp_path_factory.mktemp("gate")
    for name, grid in (("passing", PASSING), ("copier", COPIER)):
        (folder / f"{name}.yaml").write_text(grid)
        run = difgen_in(folder, "sweep", f"{name}.yaml", "--runs", name, "--cluster", "inline")
        assert run.returncode == 0, run.stderr
        (snapshot,) = (folder / name / "trajectories").glob("*/snapshots/*.safetensors")
        shutil.copy(snapshot, folder / f"{name}.safetensors")
    (folder / "policy.toml").write_text(DECLARED)
    key, _ = gates.read_key(folder / "own.key", folder / "passing", make=True)
    for name in ("passing", "copier"):
        released = folder / f"{name}.safetensors"
        content = gates.judge(folder / "policy.toml", Store(folder / name), released=released, key=key)
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def gate(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command in this process, in a folder with links to these files, with a key of its own."""
    for entry in place.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "own.key").unlink()
    shutil.copy2(place / "own.key", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFGEN_GATE_KEY", str(tmp_path / "own.key"))
    return lambda *words: CliRunner().invoke(app, ["gate", *map(str, words)])


def written(name: str = "passing") -> dict[str, Any]:
    """The evidence of a run."""
    content: dict[str, Any] = json.loads(Path(f"{name}.json").read_text())
    return content


def rewritten(content: dict[str, Any]) -> Path:
    """Evidence that somebody changed, with the right hash of what it says now."""
    content["commitment"] = {"sha256": evidence.commitment(content)}
    path = Path("changed.json")
    path.write_text(json.dumps(content))
    return path


# The verdict ----------------------------------------------------------------------------------------------------------


def test_a_network_that_hardly_learnt_passes_the_shipped_policy(gate: Callable[..., Result]) -> None:
    result = gate("policy.toml", "passing", "--weights", "passing.safetensors")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "passes the policy open-weights: all 11 checks hold"
    assert all(line.startswith("PASS  ") for line in lines[1:-1])
    assert lines[-1] == NOT_RUN
    assert not any(word in result.stdout.lower() for word in PROMISES)


def test_a_copier_fails_it_and_each_reason_is_named(gate: Callable[..., Result]) -> None:
    result = gate("policy.toml", "copier", "--weights", "copier.safetensors")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert re.fullmatch(r"fails the policy open-weights: \d of 11 checks fails?, and \d are insufficient", lines[0])
    failing = next(line for line in lines if line.startswith("FAIL"))
    assert failing.startswith("FAIL  Does it copy? [mem_frac at most 0.001]  mem_frac is 0.")
    assert failing.endswith("above 0.001, even at the good end.")
    assert "INSUFFICIENT  Does it copy with small changes? [aligned_frac at most 0.002]  Nothing was measured: " in (
        result.stdout
    )


def test_without_a_name_of_the_weights_it_is_insufficient_which_is_a_word_of_its_own(
    gate: Callable[..., Result],
) -> None:
    result = gate("policy.toml", "passing")
    assert result.exit_code == 1
    assert result.stdout.startswith("insufficient for the policy open-weights: 1 of 11 checks is insufficient\n")


def test_the_shipped_policy_itself_does_not_say_when_it_was_written(
    gate: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("difgen_cli.gate.age._git", lambda *_: None)  # as installed, where no git holds it
    result = gate("open-weights", "passing", "--weights", "passing.safetensors")
    assert result.exit_code == 1
    assert "1 of 11 checks is insufficient" in result.stdout
    assert "That is not shown: no commit holds it, and it declares no time." in result.stdout


def test_one_bit_of_the_weights_closes_it(gate: Callable[..., Result]) -> None:
    bits = bytearray(Path("passing.safetensors").read_bytes())
    bits[-1] ^= 1
    Path("other.safetensors").write_bytes(bits)
    result = gate("policy.toml", "passing", "--weights", "other.safetensors")
    assert result.exit_code == 1
    assert "The command names weights with SHA-256" in result.stdout
    assert gate("policy.toml", "passing", "--weights", "copier.safetensors").exit_code == 1


def test_another_setting_of_the_same_weights_counts_and_the_worst_decides(
    gate: Callable[..., Result], difgen_in: Run, place: Path, tmp_path: Path
) -> None:
    shutil.copytree(place / "passing", tmp_path / "both")
    fewer = PASSING.replace("4100", "300").replace(", aligned: {shift: 0}, membership: {}, blind: {images: 60}", "")
    Path("fewer.yaml").write_text(fewer)
    run = difgen_in(tmp_path, "sweep", "fewer.yaml", "--runs", "both", "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    result = gate("policy.toml", "both", "--weights", "passing.safetensors", "--json")
    assert result.exit_code == 1
    content = json.loads(result.stdout)
    assert (content["verdict"], content["selection"]["thresholds_seen"]) == ("insufficient", 2)
    copies = next(one for one in content["checks"] if one["column"] == "mem_frac" and one["kind"] == "rule")
    assert (copies["outcome"], copies["n"]) == ("insufficient", 300)


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["policy.toml"], "policy.toml: name POLICY RUNS, such as policies/open-weights.toml audits"),
        (["open-weight", "passing"], "POLICY: open-weight: there is no such file; shipped are open-weights; did"),
        (["policy.toml", "nowhere"], "nowhere: no run directory"),
        (["policy.toml", "passing", "--cell", "step=7"], "step=7: no cell matches; step is 100"),
        (["policy.toml", "passing", "--weights", "no.safetensors"], "--weights: no.safetensors: cannot be read"),
        (["policy.toml", "passing", "--weights", "."], "--weights: .: a folder; name the file of the weights in it"),
        (["policy.toml", "passing", "--key", "passing/k"], "--key: passing/k: lies in the run directory"),
        (["--verify", "no.json", "passing"], "--verify: no.json: cannot be read (No such file or directory)"),
        (["--verify", "policy.toml", "passing"], "--verify: policy.toml: is no JSON of evidence"),
        (["--verify", "difgen.json", "passing"], "--verify: difgen.json: is no evidence of the layout"),
        (["--verify", "twice.json", "passing"], "--verify: twice.json: is no JSON of evidence (a key is given twice)"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(gate: Callable[..., Result], words: list[str], sentence: str) -> None:
    Path("difgen.json").write_text('{"schema": 1}')
    Path("twice.json").write_text('{"schema": 1, "schema": "difgen/evidence/1"}')
    result = gate(*words)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(sentence), result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_typo_in_the_policy_is_shown_with_its_line(gate: Callable[..., Result]) -> None:
    Path("typo.toml").write_text(DECLARED.replace("least_power", "least_powr", 1))
    result = gate("typo.toml", "passing")
    assert result.exit_code == 2
    place, line, caret = result.stderr.splitlines()
    number = DECLARED.splitlines().index("least_power = 0.5    # else most copies with a little noise would be missed, "
                                         "and few copies mean little") + 1  # fmt: skip
    assert place == f"typo.toml:{number}:1: rules[0].least_powr: unknown key; did you mean least_power?"
    assert line.strip().startswith("least_powr = 0.5")
    assert caret == "    ^"


def test_a_copy_of_a_shipped_policy_is_equal_and_replaces_nothing(gate: Callable[..., Result]) -> None:
    result = gate("open-weights", "--copy", "mine.toml")
    assert (result.exit_code, result.stdout) == (0, "mine.toml: written; commit it before anything is measured\n")
    assert Path("mine.toml").read_text(encoding="utf-8") == SHIPPED
    again = gate("open-weights", "--copy", "policy.toml")
    assert (again.exit_code, again.stderr) == (2, "--copy: policy.toml: exists; name another file\n")
    assert gate("open-weights", "passing", "--copy", "x.toml").exit_code == 2


DOCUMENT = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")


def masked(text: str) -> str:
    """Words alone: numbers differ between machines, and lines are broken elsewhere."""
    return " ".join(re.sub(r"[−-]?\d[\d.,]*", "#", text).split())


def test_the_commands_of_the_document_print_what_it_shows(gate: Callable[..., Result]) -> None:
    Path("runs").symlink_to("passing")
    Path("model.safetensors").symlink_to("passing.safetensors")
    for session in "".join(blocks(DOCUMENT, "console")).split("$ difgen gate ")[1:]:
        command, shown = session.split("\n", 1)
        result = gate(*shlex.split(command))
        assert result.exit_code == 0, result.output
        place, printed = 0, masked(result.stdout)
        for piece in filter(None, map(masked, shown.split("…"))):
            at = printed.find(piece, place)
            assert at >= 0, f"{piece}\nis not in\n{printed[place:]}"
            place = at + len(piece)


# Evidence -------------------------------------------------------------------------------------------------------------


def test_evidence_holds_what_is_printed_and_json_is_the_same(gate: Callable[..., Result]) -> None:
    result = gate("policy.toml", "passing", "--weights", "passing.safetensors", "--json", "--evidence", "here.json")
    printed, content = json.loads(result.stdout), json.loads(Path("here.json").read_text())
    assert printed == content
    content = written()
    assert {**printed, "created": 0, "commitment": 0} == {**content, "created": 0, "commitment": 0}
    assert content["verdict"] == "pass"
    assert content["subject"]["weights_sha256"] == hashlib.sha256(Path("passing.safetensors").read_bytes()).hexdigest()
    assert content["material"]["train"] | {"root": 0} == {
        "count": 440, "distinct": 440, "root": 0, "source": "trained_here",
    }  # fmt: skip
    assert content["material"]["held_out"]["count"] == 460
    assert content["declared"]["training_known"] is True
    assert content["controls"]["copycat"] == 1
    assert len(content["rows"]) == 1


def test_who_lacks_the_key_cannot_tell_whether_an_image_was_trained_on(
    gate: Callable[..., Result], place: Path, tmp_path: Path
) -> None:
    content = written()
    text = Path("passing.json").read_text()
    images = _training_images(place / "passing")
    assert len(images) == 440
    for image in images:
        for plain in (image.tobytes(), np.ascontiguousarray(image).data.tobytes(), _png(image)):
            for name in ("sha256", "sha1", "md5"):
                assert hashlib.new(name, plain).hexdigest() not in text
        # with a key of their own, and a set of that one image
        assert hmac.new(bytes(32), image.tobytes(), "sha256").hexdigest() not in text
    key = tmp_path / "own.key"
    assert key.read_text().strip() not in text
    assert ".png" not in text
    again = gate("policy.toml", "passing", "--weights", "passing.safetensors", "--key", "another.key", "--json")
    other = json.loads(again.stdout)
    assert key.read_text() not in again.output
    for side in ("train", "held_out"):  # the same images under two keys have nothing in common
        assert other["material"][side]["root"] != content["material"][side]["root"]
        assert other["material"][side] | {"root": 0} == content["material"][side] | {"root": 0}
    assert other["material"]["key_id"] != content["material"]["key_id"]
    same = json.loads(gate("policy.toml", "passing", "--weights", "passing.safetensors", "--json").stdout)
    assert same["material"] == content["material"]


def _training_images(runs: Path) -> np.ndarray:
    from difgen_cli.report.study import loading

    (folder,) = (one for one in Store(runs).run_folders() if "mlp" in one.path.name)
    return loading.training_images(Store(runs), folder).images(slice(None))


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image[..., 0]).save(file, "PNG")
    return file.getvalue()


def test_the_run_directory_is_not_written_to(gate: Callable[..., Result], place: Path) -> None:
    def files() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in (place / "passing").rglob("*") if p.is_file()}

    before = files()
    assert gate("policy.toml", "passing", "--evidence", "here.json", "--weights", "passing.safetensors").exit_code == 0
    assert gate("--verify", "here.json", "passing").exit_code == 0
    assert files() == before


# Verifying ------------------------------------------------------------------------------------------------------------


def test_evidence_that_nobody_changed_holds(gate: Callable[..., Result], tmp_path: Path) -> None:
    for words in (["passing"], ["policy.toml", "passing"], ["passing", "--key", "own.key"]):
        result = gate("--verify", "passing.json", *words)
        assert result.exit_code == 0, result.output
        assert result.stdout == "the evidence holds; it says: passes the policy open-weights: all 11 checks hold\n"
    (tmp_path / "own.key").unlink()
    result = gate("--verify", "passing.json", "passing")
    assert result.exit_code == 0
    assert "Not compared: the images: their roots need the auditor's key, --key FILE." in result.stdout


def test_evidence_of_a_copier_holds_too_and_says_that_it_fails(gate: Callable[..., Result]) -> None:
    result = gate("--verify", "copier.json", "copier")
    assert result.exit_code == 0
    assert "it says: fails the policy open-weights" in result.stdout


def test_one_changed_value_is_found_by_the_hash_and_by_the_rows(gate: Callable[..., Result]) -> None:
    content = written("copier")
    place, check = next((k, c) for k, c in enumerate(content["checks"]) if c["column"] == "mem_frac")
    value = check["value"]
    check["value"] = 0.0
    Path("changed.json").write_text(json.dumps(content))
    found = gate("--verify", "changed.json", "copier").stdout
    assert "- commitment: the evidence was changed after it was written\n" in found
    result = gate("--verify", rewritten(content), "copier")
    assert result.exit_code == 1
    assert result.stdout == (
        "the evidence does not hold: 1 difference\n"
        f"- checks[{place}].value: the evidence has 0.0, and the rows give {value}\n"
    )


FORGED: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "the verdict": (("verdict",), "pass", "verdict: the evidence has \"pass\", and the rows give \"fail\""),
    "an outcome": (("checks", 3, "outcome"), "pass", "checks[3].outcome: the evidence has \"pass\""),
    "a sentence": (("checks", 3, "sentence"), "It does not copy.", "checks[3].sentence: the evidence has \"It"),
    "what was run": (("coverage", 4, "status"), "run", "coverage[4].status: the evidence has \"run\""),
    "the choice": (("selection", "snapshots_seen"), 0, "selection.snapshots_seen: the evidence has 0, and the rows"),
    "the weights": (("subject", "weights_sha256"), "0" * 64, "subject.weights_sha256: the evidence has"),
    "the weights for release": (("subject", "released"), ["0" * 64], "checks[0].outcome: the evidence has \"pass\""),
    "the row": (("rows", 0, "sha256"), "0" * 64, "rows[0].sha256: the evidence has"),
    "the cell": (("subject", "cell"), "0" * 16, "rows: the evidence has"),
    "how many images": (("material", "train", "count"), 17, "material.train.count: the evidence has 17, and the rows"),
    "the images": (("material", "train", "root"), "0" * 64, "material.train.root: the evidence has"),
    "a limit that is left out": (("limits",), ["None."], "limits: the evidence has"),
    "a control": (("controls", "copycat"), 0.5, "controls.copycat: the evidence has 0.5, and the rows give 1"),
    "the policy's hash": (("policy", "sha256"), "0" * 64, "policy.sha256: is not that of policy.text"),
    "the policy's time": (
        ("policy", "written_at"), "1999-01-01T00:00:00+00:00", "policy.written_at: is not what policy.text declares",
    ),
    "the policy": (("policy", "text"), SHIPPED.replace("0.001", "0.9", 1), "policy.sha256: is not that of policy.text"),
    "a policy that is none": (("policy", "text"), "nonsense", "policy.text: is no policy"),
    "a word of no schema": (("verdict",), "passes", "evidence.verdict: 'passes' is none of pass, fail, insufficient"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_a_forgery_with_the_right_hash_is_found_by_the_rows(gate: Callable[..., Result], case: str) -> None:
    path, value, sentence = FORGED[case]
    content = written("copier")
    at: Any = content
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    result = gate("--verify", rewritten(content), "copier")
    assert result.exit_code == 1, result.output
    assert sentence in result.stdout


def test_other_rows_another_policy_and_another_key_are_found(gate: Callable[..., Result]) -> None:
    result = gate("--verify", "passing.json", "copier")
    assert result.exit_code == 1
    assert "rows: the evidence has" in result.stdout
    Path("milder.toml").write_text(DECLARED.replace("at_most = 0.6", "at_most = 0.9"))
    result = gate("--verify", "passing.json", "milder.toml", "passing")
    assert result.exit_code == 1
    assert "- policy: milder.toml is another policy (SHA-256" in result.stdout
    Path("other.key").write_text("0" * 64)
    Path("other.key").chmod(0o600)
    result = gate("--verify", "passing.json", "passing", "--key", "other.key", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["differences"] == ["material.key_id: the key is another one than that of the evidence"]
    assert found["holds"] is False


# Looks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_terminal_of_any_width_holds_every_reason(gate: Callable[..., Result], width: int) -> None:
    content = written("copier")
    content["policy"]["name"] = "[red]mine[/red]\x1b[2J"
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, markup=False, highlight=False, no_color=True)
    show.show(content, console)
    text = file.getvalue()
    assert "[red]mine[/red]" in text
    assert "\x1b[2J" not in text
    words = " ".join(_bare(text).split())
    assert words.startswith("fails the policy [red]mine[/red]\\x1b[2J: ")
    assert words.endswith(NOT_RUN)
    assert words.count("PASS") + words.count("INSUFFICIENT") + words.count("FAIL") == 11
    if width == 50:  # where each check has lines of its own, its sentence is in one piece
        assert all(check["sentence"] in words for check in content["checks"])
    assert max(len(_bare(line)) for line in text.splitlines()) <= width
    assert "\x1b[3" not in text  # no colour


def _bare(text: str) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", text)
