"""Evidence: its schema, its commitment, and that nobody without the key learns from it who was trained on."""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rows_of_a_run as planted

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.store import Store
from difgen_cli.gate import checks, evidence, material, schema

KEY, ANOTHER = bytes(range(32)), bytes(32)


def content(tmp_path: Path, **row: Any) -> dict[str, Any]:
    """Evidence of planted rows, which have no images."""
    of = planted.judging(row=row)
    return evidence.build(of, checks.judged(of), Store(tmp_path), None)


# The schema -----------------------------------------------------------------------------------------------------------


def test_evidence_fits_its_schema_and_nothing_else_does(tmp_path: Path) -> None:
    whole = content(tmp_path)
    assert list(schema.mistakes(whole)) == []
    for path, value, sentence in (
        (("verdict",), "passes", "evidence.verdict: 'passes' is none of pass, fail, insufficient"),
        (("created",), None, "evidence.created: is no string"),
        (("checks", 0, "value"), "0.1", "evidence.checks[0].value: is no number or null"),
        (("checks", 0, "value"), True, "evidence.checks[0].value: is no number or null"),
        (("subject", "files", 0), "abc", "evidence.subject.files[0]: 'abc' is not written as it must be"),
        (("limits",), [], "evidence.limits: has 0 entries, and needs 1"),
        (("images",), [], "evidence.images: is unknown"),
        (("tool", "metrics", "blind"), None, "evidence.tool.metrics.blind: is no integer or string"),
        (("material", "train"), {"count": 1}, "evidence.material.train: is none of what is allowed there"),
    ):
        changed = json.loads(json.dumps(whole))
        at = changed
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
        assert sentence in list(schema.mistakes(changed))
    for name in whole:
        assert f"evidence.{name}: is missing" in list(schema.mistakes({k: v for k, v in whole.items() if k != name}))


def test_a_keyword_that_is_not_checked_is_refused() -> None:
    with pytest.raises(ValueError, match="maxItems"):
        list(schema.mistakes([], {"maxItems": 1}))


def test_the_schema_means_the_same_to_a_library_for_schemas(tmp_path: Path) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    validator.check_schema(schema.schema())
    whole = content(tmp_path)
    assert list(validator(schema.schema()).iter_errors(whole)) == []
    assert list(validator(schema.schema()).iter_errors(whole | {"verdict": "passes"}))


def test_nan_is_null_and_the_commitment_is_of_all_the_rest(tmp_path: Path) -> None:
    whole = content(tmp_path, mem_frac=float("nan"), mem_frac_hi=float("inf"))
    check = next(one for one in whole["checks"] if one["column"] == "mem_frac")
    assert (check["value"], check["hi"], check["outcome"]) == (None, None, "insufficient")
    rest = {k: v for k, v in whole.items() if k != "commitment"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert whole["commitment"] == {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    assert evidence.commitment(whole) == whole["commitment"]["sha256"]
    json.dumps(whole, allow_nan=False)


def test_what_was_not_run_is_named_and_no_word_promises(tmp_path: Path) -> None:
    whole = content(tmp_path)
    status = {one["attack_class"]: one["status"] for one in whole["coverage"]}
    assert status["membership inference"] == status["regurgitation"] == "run"
    assert status["model inversion"] == status["differential privacy lower bound"] == "not_run"
    assert whole["limits"][0].startswith("Not run: attribute inference, exfiltration, model inversion")
    words = json.dumps({**whole, "policy": None}).lower()
    assert "safe" not in words
    assert "private" not in words


def test_a_class_that_does_not_apply_has_its_reason(tmp_path: Path) -> None:
    text = planted.POLICY + 'not_applicable = {"exfiltration" = "the weights are public"}\n'
    of = planted.judging(text)
    (line,) = (one for one in checks.coverage(of) if one[0] == "exfiltration")
    assert line[2:] == ("not_applicable", "the weights are public")


# The images -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)


def by_hand(key: bytes, images: np.ndarray) -> str:
    """The root of five images, written out."""
    about = b"difgen image train uint8 (4, 4, 1) "
    leaves = sorted(
        hashlib.sha256(b"\0" + hmac.digest(key, about + image.tobytes(), "sha256")).digest() for image in images
    )
    a, b, c, d, e = leaves

    def node(left: bytes, right: bytes) -> bytes:
        return hashlib.sha256(b"\1" + left + right).digest()

    top = node(node(node(a, b), node(c, d)), e)
    return hmac.new(key, b"difgen root train 5 " + top, hashlib.sha256).hexdigest()


def test_the_root_is_that_of_a_tree_written_out_and_knows_no_order(images: np.ndarray) -> None:
    assert material.root(KEY, "train", images) == by_hand(KEY, images)
    assert material.root(KEY, "train", images[::-1]) == by_hand(KEY, images)


def test_the_root_changes_with_every_image_their_number_the_set_and_the_key(images: np.ndarray) -> None:
    changed = images.copy()
    changed[3, 0, 0, 0] ^= 1
    roots = [
        *(material.root(key, "train", images) for key in (KEY, ANOTHER)), material.root(KEY, "held_out", images),
        *(material.root(KEY, "train", some) for some in (changed, images[:4], [*images, images[0]], images[:1], [])),
    ]  # fmt: skip
    assert len(set(roots)) == len(roots)


def test_two_sets_of_one_leaf_and_its_node_are_told_apart() -> None:
    """A node is no leaf: else a set of two images could be passed off as a set of one."""
    leaf = material._leaf(KEY, "train", np.zeros((1, 1, 1), np.uint8))
    assert material._node(leaf, leaf) != hashlib.sha256(b"\0" + leaf + leaf).digest()


# The key --------------------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path, runs = tmp_path / "own" / "gate.key", tmp_path / "runs"
    key, is_new = material.read_key(path, runs, make=True)
    assert is_new
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert material.read_key(path, runs, make=True) == (key, False)
    other, _ = material.read_key(tmp_path / "other.key", runs, make=True)
    assert other != key
    assert material.key_id(other) != material.key_id(key)
    assert key.hex() not in material.key_id(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "gate.key"
    material.read_key(path, tmp_path / "runs", make=True)
    path.chmod(mode)
    with pytest.raises(GridError, match=f"others may read or write it; run: chmod 600 {path}"):
        material.read_key(path, tmp_path / "runs", make=True)


def test_a_key_in_the_run_directory_is_refused_by_any_path(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (tmp_path / "link").symlink_to(runs)
    for path in (runs / "gate.key", runs / "shared" / "gate.key", tmp_path / "link" / "gate.key"):
        with pytest.raises(GridError, match="lies in the run directory, which is handed on"):
            material.read_key(path, runs, make=True)
    assert list(runs.iterdir()) == []


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path, runs = tmp_path / "gate.key", tmp_path / "runs"
    with pytest.raises(GridError, match="there is no such file"):
        material.read_key(path, runs, make=False)
    for text in ("", "abc", "00" * 31, "zz" * 32):
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(GridError, match="holds no key, which is 64 hexadecimal digits"):
            material.read_key(path, runs, make=True)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GridError, match="is no plain file"):
        material.read_key(path, runs, make=True)
