"""Gates of weights that somebody else trained, of columns by group, of several seeds, and of policies under git."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import models_of_others as others
import pytest
import rows_of_a_run as planted
import torch
from safetensors.torch import save_file

from difgen_cli import gate as gates
from difgen_cli.engine.store import Store
from difgen_cli.gate.age import written
from difgen_cli.models import mlp

Run = Callable[..., subprocess.CompletedProcess[str]]
SHORT = """\
name = "short"
declared = 2000-01-01T00:00:00Z
release = "internal"
attacker = "samples"
{more}
[[rules]]
question = "Asked?"
"""
COPIES = """\
column = "mem_frac"
at_most = 0.5
least_n = 5
least_power = 0.1

[controls.held_out_copies]
column = "mem_frac_control"
at_most = 0.9
"""


def judged(folder: Path, text: str, runs: str, more: str = "", **options: Any) -> dict[str, Any]:
    """The evidence of a short policy."""
    path = folder / "short.toml"
    path.write_text(SHORT.format(more=more) + text)
    return gates.judge(path, Store(folder / runs), **options)


def check(content: dict[str, Any], kind: str) -> dict[str, Any]:
    one: dict[str, Any] = next(one for one in content["checks"] if one["kind"] == kind)
    return one


# Weights of somebody else ---------------------------------------------------------------------------------------------


def test_weights_of_somebody_else_are_known_by_the_bytes_of_their_file(tmp_path: Path, difgen_in: Run) -> None:
    images, _ = others.shuffled()
    others.save(tmp_path / "train", images[:30])
    others.save(tmp_path / "test", images[-60:])
    torch.manual_seed(0)
    own, other = tmp_path / "own.safetensors", tmp_path / "other.safetensors"
    for path in (own, other):
        save_file(mlp.build((1, 8, 8), 0, width=8, depth=1).state_dict(), path)
    described = {"network": "mlp", "settings": {"width": 8, "depth": 1}, "shape": [1, 8, 8]}
    (tmp_path / "mlp.json").write_text(json.dumps(described))
    words = ("--against", "train", "--held-out", "test", "--count", "20", "--metrics", "memorization")
    more = ("--set", "sample.steps=2", "--network", "mlp.json")
    run = difgen_in(tmp_path, "audit", "own.safetensors", *words, *more)
    assert run.returncode == 0, run.stderr
    content = judged(tmp_path, COPIES, "audits", released=own)
    assert check(content, "weights")["outcome"] == "pass"
    assert content["material"]["train"]["source"] == "declared"
    assert content["material"]["held_out"]["source"] == "declared_same"
    assert any("is declared, and cannot be checked" in limit for limit in content["limits"])
    wrong = judged(tmp_path, COPIES, "audits", released=other)
    assert check(wrong, "weights")["outcome"] == "insufficient"
    shutil.copy(other, own)  # somebody puts others in their place
    gone = judged(tmp_path, COPIES, "audits", released=own)
    assert check(gone, "weights")["outcome"] == "insufficient"
    assert gone["subject"]["files"] == []


# Groups ---------------------------------------------------------------------------------------------------------------

BY_LABEL = '''\
"""How bright samples are, over all and label by label."""

import numpy as np

from difgen_cli.metrics import Result

COLUMNS = {
    "brightness": ("float64", "grey level", "mean of the samples", {"n": "bright_samples"}),
    "brightness_lo": ("float64", "grey level", "lower end"),
    "brightness_hi": ("float64", "grey level", "upper end"),
    "bright_samples": ("int64", "samples", "how many"),
}
TABLES = {"by_label": {
    "label": ("int64", "", "their label"), "brightness": ("float64", "grey level", "the same"),
    "brightness_lo": ("float64", "grey level", "lower end"), "brightness_hi": ("float64", "grey level", "upper end"),
    "bright_samples": ("int64", "samples", "how many"),
}}
VERSION = 1


def measure(samples: np.ndarray, train_labels: np.ndarray) -> Result:
    """Planted: label 3 is brighter than the rest."""
    values = {"brightness": 100.0, "brightness_lo": 99.0, "brightness_hi": 101.0, "bright_samples": len(samples)}
    bright = np.array([100.0, 100.0, 100.0, 140.0])
    table = {
        "label": np.arange(4), "brightness": bright, "brightness_lo": bright - 1, "brightness_hi": bright + 1,
        "bright_samples": np.full(4, 30),
    }
    return Result(values, {"by_label": table})
'''
GROUPED = """\
# Is any label bright?
base:
  data:      {name: digits, held_out: 100, size: 16}
  condition: {name: labels}
  model:     {name: mlp, width: 8, depth: 1}
  train:     {batch: 16}
  sample:    {name: euler, steps: 2, count: 16}
  score:     [brightness]
axes:
  train.steps: [5]
"""


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory, difgen_in: Run) -> Path:
    folder = tmp_path_factory.mktemp("grouped")
    (folder / "plugins" / "metrics").mkdir(parents=True)
    (folder / "plugins" / "metrics" / "brightness.py").write_text(BY_LABEL)
    (folder / "grouped.yaml").write_text(GROUPED)
    run = difgen_in(folder, "sweep", "grouped.yaml", "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    return folder


def test_the_worst_group_is_judged_as_well_as_the_mean(grouped: Path) -> None:
    rule = 'column = "brightness"\nat_most = {}\nleast_n = {}\n'
    (worst, mean, few) = (
        check(judged(grouped, rule.format(*limits), "runs"), "rule") for limits in ((120, 16), (150, 16), (150, 20))
    )
    assert (worst["outcome"], worst["group"], worst["value"]) == ("fail", "label 3", 140)
    assert "brightness (label 3) is 140 [139, 141]: above 120" in worst["sentence"]
    assert mean["outcome"] == "pass"
    assert (few["outcome"], few["group"], few["n"]) == ("insufficient", None, 16)  # the mean is of 16 samples alone


def test_a_column_of_somebody_elses_metric_has_its_suggestion(grouped: Path) -> None:
    with pytest.raises(ValueError, match="no metric has a column brightnes; did you mean brightness"):
        judged(grouped, 'column = "brightnes"\nat_most = 1\n', "runs")


# Seeds ----------------------------------------------------------------------------------------------------------------


def test_membership_calibrated_by_other_seeds_is_a_column_with_its_permuted_control(
    tmp_path: Path, difgen_in: Run
) -> None:
    grid = GROUPED.replace("held_out: 100, size: 16", "held_out: 1400, size: 128").replace("brightness", "exposure")
    (tmp_path / "seeds.yaml").write_text(grid.replace("  condition: {name: labels}\n", "") + "seeds: 3\n")
    run = difgen_in(tmp_path, "sweep", "seeds.yaml", "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    rule = 'column = "cal_auc"\nat_most = 0.8\nleast_n = 100\n'
    permuted = '[controls.permuted]\ncolumn = "cal_control_permuted"\nbound = "value"\nat_least = {}\nat_most = 0.6\n'
    content = judged(tmp_path, rule + permuted.format(0.4), "runs", words=["seed=1"])
    made = check(content, "rule")
    assert made["outcome"] == "pass", made["sentence"]
    assert made["lo"] < made["value"] < made["hi"]
    assert (made["n"], made["unit_of_n"]) == (128, "images")
    control = check(content, "control")
    assert control["outcome"] == "pass"
    assert content["controls"]["permuted_auc"] == control["value"] == made["control"]
    assert check(content, "selection")["n"] == 3
    tight = judged(tmp_path, rule + permuted.format(0.5999), "runs", words=["seed=1"])
    assert check(tight, "control")["outcome"] == "fail"


# When a policy was written --------------------------------------------------------------------------------------------

EARLY, LATE = "2001-02-03T04:05:06+00:00", "2002-02-03T04:05:06+00:00"


def committed(folder: Path, at: str) -> None:
    environment = {
        **os.environ, "GIT_COMMITTER_DATE": at, "GIT_AUTHOR_DATE": at, "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "--no-gpg-sign", "-m", "policy"]):
        subprocess.run(["git", *words], cwd=folder, env=environment, check=True, capture_output=True)


def test_the_commit_of_these_very_bytes_says_when_a_policy_was_written(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(planted.POLICY)
    policy = replace(planted.policy(), file=file)
    assert written(policy).time is None
    committed(tmp_path, EARLY)
    assert written(policy).time == datetime.fromisoformat(EARLY)
    assert written(policy).by.startswith("git commit ")
    (tmp_path / "other.txt").write_text("a later commit of something else")
    committed(tmp_path, LATE)
    assert written(policy).time == datetime.fromisoformat(EARLY)
    # changed since: neither the old commit nor what it declares counts
    declared = planted.POLICY.replace("name =", "declared = 2000-01-01T00:00:00Z\nname =")
    file.write_text(declared)
    changed = replace(planted.policy(declared), file=file)
    assert written(changed).time is None
    assert written(changed).why == "it was changed after its last commit"
    committed(tmp_path, LATE)
    assert written(changed).time == datetime.fromisoformat(LATE)


def test_a_declared_time_counts_where_no_git_knows_the_file(tmp_path: Path) -> None:
    declared = planted.POLICY.replace("name =", "declared = 2000-01-01T00:00:00Z\nname =")
    file = tmp_path / "policy.toml"
    file.write_text(declared)
    at = written(replace(planted.policy(declared), file=file))
    assert (at.time, at.by) == (datetime(2000, 1, 1, tzinfo=UTC), "declared")


def test_evidence_of_a_committed_policy_asks_for_its_file_to_be_sure(grouped: Path, tmp_path: Path) -> None:
    shutil.copytree(grouped / "runs", tmp_path / "runs")
    content = judged(grouped, 'column = "brightness"\nat_most = 150\nleast_n = 16\n', "runs")
    assert content["policy"]["shown_by"] == "declared"
    text = (grouped / "short.toml").read_text().replace("declared = 2000-01-01T00:00:00Z\n", "")
    file = tmp_path / "policies" / "p.toml"
    file.parent.mkdir()
    file.write_text(text)
    committed(file.parent, EARLY)
    whole = gates.judge(file, Store(tmp_path / "runs"))
    assert whole["policy"]["written_before"] == EARLY
    (tmp_path / "e.json").write_text(json.dumps(whole))
    alone = gates.check(tmp_path / "e.json", Store(tmp_path / "runs"))
    assert alone.differences == []
    assert "when the policy was written: give its file, POLICY, before RUNS" in alone.unchecked
    beside = gates.check(tmp_path / "e.json", Store(tmp_path / "runs"), file)
    assert beside.differences == []
    assert not any("policy" in one for one in beside.unchecked)
    file.write_text(text + "\n")
    assert any("is another policy" in one for one in gates.check(
        tmp_path / "e.json", Store(tmp_path / "runs"), file).differences)  # fmt: skip
    file.write_text(text)
    shutil.rmtree(file.parent / ".git")
    lost = gates.check(tmp_path / "e.json", Store(tmp_path / "runs"), file)
    assert any(one.startswith("policy.written_before: the evidence has") for one in lost.differences)
